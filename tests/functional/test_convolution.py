"""Convolution."""

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
from tests.strategies import convolutions, random_array
from tinyunet.nn.gradcheck import check_adjoint, check_gradients
from tinyunet.nn.operations import operations


@given(convolutions(), st.booleans())
def test_conv2d_equals_its_definition(xp, case, with_bias):
    bias = case.bias if with_bias else None
    assert_equals_definition(
        operations.conv2d, definitions.conv2d, case.x, case.weight, bias, **case.options
    )


@given(convolutions())
@settings(max_examples=50)
def test_gradients_of_conv2d(case):
    convolve = partial(operations.conv2d, **case.options)
    check_gradients(convolve, case.x, case.weight, case.bias, tolerance=SMOOTH)
    check_gradients(convolve, case.x, case.weight, tolerance=SMOOTH)


@given(convolutions())
def test_conv2d_is_linear_in_the_image_and_in_the_kernel(case):
    check_adjoint(lambda x: one_of(0, x, case.weight), case.x, tolerance=EXACT)
    check_adjoint(lambda w: one_of(1, case.x, w), case.weight, tolerance=EXACT)


def one_of(which, x, weight, **options):
    """Convolve, and keep only one of the two gradients."""
    y, backward = operations.conv2d(x, weight, **options)
    return y, lambda dy: backward(dy)[which]


@given(convolutions())
def test_conv2d_has_manners(xp, case):
    assert_has_manners(operations.conv2d, case.x, case.weight, case.bias, **case.options)


def test_a_kernel_of_one_tap_only_scales_the_image(xp):
    x = xp.asarray(random_array(0, (2, 4, 5, 1)))
    y, _ = operations.conv2d(x, xp.full((1, 1, 1, 1), 3.0))
    assert_close(y, 3 * definitions.crop(np.asarray(random_array(0, (2, 4, 5, 1))), 4, 5), 1e-15)


def test_a_tap_right_of_the_center_moves_the_image_to_the_left(xp):
    weight = xp.zeros((3, 3, 1, 1))
    weight[1, 2] = 1
    x = xp.arange(12.0).reshape(1, 3, 4, 1)
    y, _ = operations.conv2d(x, weight, padding="same")
    assert y[0, :, :, 0].tolist() == [[1, 2, 3, 0], [5, 6, 7, 0], [9, 10, 11, 0]]


def test_a_kernel_of_ones_counts_the_pixels_under_it(xp):
    y, _ = operations.conv2d(xp.ones((1, 3, 4, 1)), xp.ones((3, 3, 1, 1)), padding="same")
    assert y[0, :, :, 0].tolist() == [[4, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]]


def test_a_kernel_of_one_pixel_mixes_only_channels(xp):
    x, weight = random_array(0, (2, 3, 4, 5)), random_array(1, (1, 1, 5, 2))
    y, _ = operations.conv2d(xp.asarray(x), xp.asarray(weight))
    assert_close(y, x @ weight[0, 0], 1e-13)


def test_the_bias_is_what_remains_of_a_black_image(xp):
    bias = xp.asarray([1.0, -2.0])
    y, _ = operations.conv2d(
        xp.zeros((1, 3, 4, 3)), xp.asarray(random_array(0, (3, 3, 3, 2))), bias
    )
    assert bool((y == bias).all())


@pytest.mark.parametrize("kernel_size", [(1, 1), (3, 3), (5, 3), (2, 2), (4, 3), (1, 2)])
def test_same_padding_keeps_height_and_width(xp, kernel_size):
    y, _ = operations.conv2d(xp.zeros((1, 6, 7, 2)), xp.zeros((*kernel_size, 2, 3)), padding="same")
    assert y.shape == (1, 6, 7, 3)


@pytest.mark.parametrize(
    ("stride", "padding", "expected"),
    [(1, 0, (8, 11)), (2, 0, (4, 6)), (3, 0, (3, 4)), (1, (0, 2), (8, 15)), (2, (1, 0), (5, 6))],
)
def test_sizes_follow_the_formula(stride, padding, expected):
    y, _ = operations.conv2d(
        np.zeros((1, 10, 13, 1)), np.zeros((3, 3, 1, 1)), stride=stride, padding=padding
    )
    assert y.shape[1:3] == expected


def test_same_padding_and_a_stride_contradict_each_other():
    with pytest.raises(ValueError, match="stride 1"):
        operations.conv2d(np.zeros((1, 4, 5, 1)), np.zeros((3, 3, 1, 1)), stride=2, padding="same")


def test_whoever_needs_no_gradient_of_the_image_can_leave_it_out(xp):
    x, weight = xp.asarray(random_array(0, (1, 4, 5, 2))), xp.asarray(random_array(1, (3, 3, 2, 2)))
    y, backward = operations.conv2d(x, weight)
    dx, dweight = backward(y, input_gradient=False)
    assert dx is None
    assert bool((dweight == backward(y)[1]).all())


def test_a_pair_of_strides_is_height_first(xp):
    x, weight = random_array(0, (2, 7, 8, 2)), xp.asarray(random_array(1, (3, 3, 2, 2)))
    y, _ = operations.conv2d(xp.asarray(x), weight, stride=(2, 1))
    every_row, _ = operations.conv2d(xp.asarray(x), weight)
    assert_close(every_row[:, ::2] - y, np.zeros(y.shape), 1e-13)


def test_a_pair_of_paddings_is_height_first(xp):
    y, _ = operations.conv2d(xp.zeros((1, 4, 5, 1)), xp.zeros((1, 1, 1, 1)), padding=(1, 0))
    assert y.shape == (1, 6, 5, 1)


def test_a_large_image_equals_itself_in_parts(xp):
    # Large enough for several bands, as they are.
    x = random_array(0, (2, 90, 70, 16), "float32")
    weight, bias = random_array(1, (3, 3, 16, 24), "float32"), random_array(2, 24, "float32")
    y, _ = operations.conv2d(*map(xp.asarray, (x, weight, bias)), padding=1)
    padded = definitions.pad_with_zeros(x, ((1, 1), (1, 1)))
    expected = bias + sum(
        padded[:, a : a + 90, b : b + 70] @ weight[a, b] for a in range(3) for b in range(3)
    )
    assert_close(y, expected, 1e-5)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_gradients_of_a_large_image(stride):
    x, weight = random_array(0, (2, 61, 83, 9)), random_array(1, (3, 3, 9, 17))
    bias = random_array(2, 17)
    convolve = partial(operations.conv2d, stride=stride, padding=(1, 2))
    check_gradients(convolve, x, weight, bias, tolerance=SMOOTH, coordinates=6)


def test_images_of_a_batch_do_not_touch_each_other(xp):
    x, weight = random_array(0, (3, 5, 6, 2)), xp.asarray(random_array(1, (3, 2, 2, 2)))
    together, _ = operations.conv2d(xp.asarray(x), weight, padding=1)
    for n in range(3):
        alone, _ = operations.conv2d(xp.asarray(x[n : n + 1]), weight, padding=1)
        assert_close(together[n : n + 1] - alone, np.zeros(alone.shape), 1e-13)


def test_an_image_that_is_not_contiguous_gives_the_same(xp):
    x, weight = random_array(0, (2, 6, 5, 3)), xp.asarray(random_array(1, (3, 3, 3, 2)))
    turned = xp.asarray(np.ascontiguousarray(x.transpose(0, 2, 1, 3))).transpose(0, 2, 1, 3)
    expected, backward = operations.conv2d(xp.asarray(x), weight)
    y, backward_turned = operations.conv2d(turned, weight)
    assert_close(y - expected, np.zeros(y.shape), 1e-13)
    dy = xp.asarray(np.asfortranarray(random_array(2, y.shape)))
    for a, b in zip(backward(dy), backward_turned(dy), strict=True):
        assert_close(a - b, np.zeros(a.shape), 1e-12)


@pytest.mark.parametrize(
    ("x", "weight", "bias"),
    [
        ((1, 4, 5, 3), (3, 3, 2, 4), None),  # channels that do not fit
        ((1, 2, 5, 3), (3, 3, 3, 4), None),  # an image smaller than the kernel
        ((4, 5, 3), (3, 3, 3, 4), None),  # no batch
        ((1, 4, 5, 3), (3, 3, 3, 4), (3,)),  # a bias for the wrong side
        ((1, 4, 5, 3), (3, 3, 3, 4), (1,)),  # one that would be broadcast, with a gradient of four
    ],
)
def test_shapes_that_do_not_fit_are_refused(x, weight, bias):
    with pytest.raises(ValueError):
        operations.conv2d(np.zeros(x), np.zeros(weight), None if bias is None else np.zeros(bias))
