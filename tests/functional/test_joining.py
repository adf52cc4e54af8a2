"""The center crop, and concatenation along channels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import definitions
from tests.comparing import EXACT, SMOOTH, assert_equals_definition, assert_has_manners
from tests.strategies import image_shapes, random_array, seeds
from tinyunet.nn.gradcheck import check_adjoint, check_gradients
from tinyunet.nn.operations import operations

extras = st.integers(0, 4)


@st.composite
def crops(draw):
    """Draw an image and a size that fits in it."""
    batch, height, width, channels = draw(image_shapes(largest=5), label="cropped shape")
    shape = (batch, height + draw(extras), width + draw(extras), channels)
    return random_array(draw(seeds), shape), height, width


@st.composite
def joints(draw):
    """Draw a skip, and a smaller or equally large image to join it with."""
    batch, height, width, channels = draw(image_shapes(largest=5), label="shape")
    skip_channels = draw(st.integers(1, 4), label="channels of the skip")
    skip_shape = (batch, height + draw(extras), width + draw(extras), skip_channels)
    seed = draw(seeds)
    x = random_array([seed, 1], (batch, height, width, channels))
    return random_array([seed, 0], skip_shape), x


@given(crops())
def test_crop_equals_its_definition(xp, case):
    assert_equals_definition(operations.crop, definitions.crop, *case)


@given(crops())
def test_gradients_of_crop(case):
    x, height, width = case
    check_gradients(lambda x: operations.crop(x, height, width), x, tolerance=SMOOTH)
    check_adjoint(lambda x: operations.crop(x, height, width), x, tolerance=EXACT)


@given(crops())
def test_crop_has_manners(xp, case):
    assert_has_manners(operations.crop, *case)


def test_as_much_is_cut_off_on_either_side(xp):
    x = xp.arange(35.0).reshape(1, 5, 7, 1)
    y, _ = operations.crop(x, 3, 3)
    assert y[0, :, :, 0].tolist() == [[9, 10, 11], [16, 17, 18], [23, 24, 25]]


def test_what_was_cut_off_gets_no_gradient(xp):
    _, backward = operations.crop(xp.zeros((1, 4, 5, 1)), 2, 1)
    expected = [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert backward(xp.ones((1, 2, 1, 1)))[0, :, :, 0].tolist() == expected


@pytest.mark.parametrize(("height", "width"), [(5, 5), (4, 6)])
def test_a_crop_larger_than_the_image_is_refused(height, width):
    with pytest.raises(ValueError):
        operations.crop(np.zeros((1, 4, 5, 1)), height, width)


@given(joints())
def test_concat_equals_its_definition(xp, joint):
    assert_equals_definition(operations.concat, definitions.concat, *joint)


@given(joints())
def test_gradients_of_concat(joint):
    skip, x = joint
    check_gradients(operations.concat, skip, x, tolerance=SMOOTH)
    only_skip = lambda skip: keep(0, skip, np.zeros_like(x))  # noqa: E731
    check_adjoint(only_skip, skip, tolerance=EXACT)
    check_adjoint(lambda x: keep(1, np.zeros_like(skip), x), x, tolerance=EXACT)


def keep(which, skip, x):
    """Join, and keep only one of the two gradients."""
    y, backward = operations.concat(skip, x)
    return y, lambda dy: backward(dy)[which]


@given(joints())
def test_concat_has_manners(xp, joint):
    assert_has_manners(operations.concat, *joint)


def test_the_skip_comes_first(xp):
    y, _ = operations.concat(xp.full((1, 2, 3, 2), 7.0), xp.full((1, 2, 3, 1), 8.0))
    assert y[0, 0, 0].tolist() == [7, 7, 8]


@pytest.mark.parametrize("skip", [(1, 3, 5, 2), (1, 4, 4, 2), (2, 4, 5, 2)])
def test_a_skip_that_is_too_small_or_of_another_batch_is_refused(skip):
    with pytest.raises(ValueError):
        operations.concat(np.zeros(skip), np.zeros((1, 4, 5, 2)))
