"""im2col and col2im: images into patches, and back."""

import numpy as np
import pytest
from hypothesis import given

from tests import definitions
from tests.comparing import (
    EXACT,
    SMOOTH,
    assert_close,
    assert_equals_definition,
    assert_has_manners,
)
from tests.strategies import random_array, seeds, windows
from tinyunet.nn.gradcheck import check_adjoint, check_gradients
from tinyunet.nn.operations import operations


@given(windows(), seeds)
def test_im2col_equals_its_definition(xp, window, seed):
    shape, kernel_size, stride = window
    x = random_array(seed, shape)
    assert_equals_definition(operations.im2col, definitions.im2col, x, kernel_size, stride)


@given(windows(), seeds)
def test_col2im_equals_its_definition(xp, window, seed):
    shape, kernel_size, stride = window
    columns = random_array(seed, definitions.im2col(np.zeros(shape), kernel_size, stride).shape)
    assert_equals_definition(
        operations.col2im, definitions.col2im, columns, shape, kernel_size, stride
    )


@given(windows(), seeds)
def test_im2col_and_col2im_are_adjoint(xp, window, seed):
    shape, kernel_size, stride = window
    x = xp.asarray(random_array(seed, shape))
    columns, _ = operations.im2col(x, kernel_size, stride)
    y = xp.asarray(random_array([seed, 1], columns.shape))
    image, _ = operations.col2im(y, shape, kernel_size, stride)
    assert_close((columns * y).sum(), (x * image).sum().item(), 1e-12)


@given(windows(), seeds)
def test_each_is_the_backward_of_the_other(window, seed):
    shape, kernel_size, stride = window
    x = random_array(seed, shape)
    columns, backward_of_im2col = operations.im2col(x, kernel_size, stride)
    dcolumns = random_array([seed, 1], columns.shape)
    image, backward_of_col2im = operations.col2im(dcolumns, shape, kernel_size, stride)
    np.testing.assert_array_equal(backward_of_im2col(dcolumns), image)
    np.testing.assert_array_equal(backward_of_col2im(x), columns)


@given(windows(), seeds)
def test_both_pass_the_adjoint_and_the_gradient_check(window, seed):
    shape, kernel_size, stride = window
    x = random_array(seed, shape)
    columns, _ = operations.im2col(x, kernel_size, stride)
    check_adjoint(lambda x: operations.im2col(x, kernel_size, stride), x, tolerance=EXACT)
    check_gradients(lambda x: operations.im2col(x, kernel_size, stride), x, tolerance=SMOOTH)
    check_adjoint(
        lambda c: operations.col2im(c, shape, kernel_size, stride), columns, tolerance=EXACT
    )
    check_gradients(
        lambda c: operations.col2im(c, shape, kernel_size, stride), columns, tolerance=SMOOTH
    )


@given(windows(), seeds)
def test_both_have_manners(xp, window, seed):
    shape, kernel_size, stride = window
    x = random_array(seed, shape)
    columns = definitions.im2col(x, kernel_size, stride)
    assert_has_manners(operations.im2col, x, kernel_size, stride)
    assert_has_manners(operations.col2im, columns, shape, kernel_size, stride)


def test_patches_in_reading_order(xp):
    x = xp.arange(12.0).reshape(1, 3, 4, 1)
    columns, _ = operations.im2col(x, (2, 3))
    assert columns.shape == (1, 2, 2, 2, 3, 1)
    assert columns[0, 0, 1].ravel().tolist() == [1, 2, 3, 5, 6, 7]
    assert columns[0, 1, 0].ravel().tolist() == [4, 5, 6, 8, 9, 10]


def test_col2im_counts_in_how_many_patches_a_pixel_lies(xp):
    columns, _ = operations.im2col(xp.ones((1, 4, 5, 1)), (3, 3))
    counts, _ = operations.col2im(columns, (1, 4, 5, 1), (3, 3))
    expected = [[1, 2, 3, 2, 1], [2, 4, 6, 4, 2], [2, 4, 6, 4, 2], [1, 2, 3, 2, 1]]
    assert counts[0, :, :, 0].tolist() == expected


def test_col2im_undoes_im2col_where_windows_do_not_overlap(xp):
    x = xp.asarray(random_array(0, (2, 4, 6, 3)))
    columns, _ = operations.im2col(x, (2, 2), stride=2)
    image, _ = operations.col2im(columns, x.shape, (2, 2), stride=2)
    assert bool((image == x).all())


def test_pixels_that_no_window_covers_stay_zero(xp):
    columns, _ = operations.im2col(xp.ones((1, 5, 6, 1)), (2, 2), stride=3)
    image, _ = operations.col2im(columns, (1, 5, 6, 1), (2, 2), stride=3)
    assert bool((image[:, 2] == 0).all()) and bool((image[:, :, [2, 5]] == 0).all())


@pytest.mark.parametrize("kernel_size", [(4, 1), (1, 5)])
def test_a_kernel_larger_than_the_image_is_refused(kernel_size):
    with pytest.raises(ValueError):
        operations.im2col(np.zeros((1, 3, 4, 1)), kernel_size)
