"""Transposed convolution, the adjoint of convolution."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import definitions
from tests.comparing import (
    EXACT,
    SMOOTH,
    assert_close,
    assert_equals_definition,
    assert_has_manners,
)
from tests.strategies import random_array, seeds, transposed_convolutions
from tinyunet.nn.gradcheck import check_adjoint, check_gradients
from tinyunet.nn.operations import operations


@given(transposed_convolutions(), st.booleans())
def test_conv_transpose2d_equals_its_definition(xp, case, with_bias):
    bias = case.bias if with_bias else None
    assert_equals_definition(
        operations.conv_transpose2d,
        definitions.conv_transpose2d,
        case.x,
        case.weight,
        bias,
        **case.options,
    )


@given(transposed_convolutions())
@settings(max_examples=50)
def test_gradients_of_conv_transpose2d(case):
    spread = partial(operations.conv_transpose2d, **case.options)
    check_gradients(spread, case.x, case.weight, case.bias, tolerance=SMOOTH)
    check_gradients(spread, case.x, case.weight, tolerance=SMOOTH)


@given(transposed_convolutions(), seeds)
def test_a_transposed_convolution_is_the_adjoint_of_the_convolution_with_its_weight(xp, case, seed):
    y, weight = xp.asarray(case.x), xp.asarray(case.weight)
    spread, _ = operations.conv_transpose2d(y, weight, **case.options)
    x = xp.asarray(random_array(seed, spread.shape))
    convolved, _ = operations.conv2d(x, weight, **case.options)
    assert convolved.shape == y.shape
    assert_close((convolved * y).sum(), (x * spread).sum().item(), 1e-12)


@given(transposed_convolutions())
def test_conv_transpose2d_is_linear_in_the_image_and_in_the_kernel(case):
    def keep(which, x, weight):
        y, backward = operations.conv_transpose2d(x, weight, **case.options)
        return y, lambda dy: backward(dy)[which]

    check_adjoint(lambda x: keep(0, x, case.weight), case.x, tolerance=EXACT)
    check_adjoint(lambda w: keep(1, case.x, w), case.weight, tolerance=EXACT)


@given(transposed_convolutions())
def test_conv_transpose2d_has_manners(xp, case):
    assert_has_manners(operations.conv_transpose2d, case.x, case.weight, case.bias, **case.options)


def test_one_pixel_stamps_the_kernel(xp):
    x = xp.zeros((1, 2, 3, 1))
    x[0, 1, 2] = 5
    weight = xp.arange(1.0, 5.0).reshape(2, 2, 1, 1)
    y, _ = operations.conv_transpose2d(x, weight, stride=2)
    assert y[0, 2:, 4:, 0].tolist() == [[5, 10], [15, 20]]
    assert float(y.sum()) == 50


def test_stamps_add_up_where_they_overlap(xp):
    y, _ = operations.conv_transpose2d(xp.ones((1, 2, 3, 1)), xp.ones((3, 3, 1, 1)), stride=2)
    row = [1, 1, 2, 1, 2, 1, 1]
    assert y[0, :, :, 0].tolist() == [row, row, [2 * n for n in row], row, row]


def test_a_kernel_of_ones_is_nearest_upsampling(xp):
    x = xp.asarray(random_array(0, (2, 3, 4, 1)))
    y, _ = operations.conv_transpose2d(x, xp.ones((2, 2, 1, 1)), stride=2)
    repeated, _ = operations.upsample_nearest2d(x, 2)
    assert bool((y == repeated).all())


def test_pixels_between_the_stamps_hold_only_the_bias(xp):
    y, _ = operations.conv_transpose2d(
        xp.ones((1, 2, 3, 1)), xp.ones((2, 2, 1, 1)), xp.ones(1), stride=3
    )
    row = [2, 2, 1, 2, 2, 1, 2, 2]
    assert y[0, :, :, 0].tolist() == [row, row, [1] * 8, row, row]


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 0), (2, 1), (3, (1, 0)), (3, 1)])
def test_sizes_follow_the_formula(stride, padding):
    x, weight = np.zeros((1, 4, 5, 2)), np.zeros((3, 2, 1, 2))
    above, beside = padding if isinstance(padding, tuple) else (padding, padding)
    y, _ = operations.conv_transpose2d(x, weight, stride=stride, padding=padding)
    assert y.shape == (1, 3 * stride + 3 - 2 * above, 4 * stride + 2 - 2 * beside, 1)


@pytest.mark.parametrize(
    ("x", "weight", "bias"),
    [
        ((1, 4, 5, 3), (2, 2, 3, 4), None),  # the weight is (KH, KW, C, F): x has its F channels
        ((4, 5, 3), (2, 2, 4, 3), None),  # no batch
        ((1, 4, 5, 3), (2, 2, 4, 3), (3,)),  # the bias has C entries
        ((1, 4, 5, 3), (2, 2, 4, 3), (1,)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(x, weight, bias):
    with pytest.raises(ValueError):
        operations.conv_transpose2d(
            np.zeros(x), np.zeros(weight), None if bias is None else np.zeros(bias)
        )
