"""Max pooling, and nearest upsampling, which goes the other way."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import definitions
from tests.comparing import (
    EXACT,
    KINKED,
    SMOOTH,
    assert_equals_definition,
    assert_has_manners,
)
from tests.strategies import all_different, image_shapes, random_array, seeds
from tinyunet.nn.gradcheck import check_adjoint, check_gradients
from tinyunet.nn.operations import operations

sizes = st.integers(1, 3)


@st.composite
def pools(draw):
    """Draw images that windows of the drawn size tile, and no two equal numbers in them."""
    size = draw(sizes, label="size")
    batch, height, width, channels = draw(image_shapes(largest=4), label="windows")
    shape = (batch, height * size, width * size, channels)
    return all_different(draw(seeds), shape), size


@given(pools())
def test_max_pool2d_equals_its_definition(xp, pool):
    assert_equals_definition(operations.max_pool2d, definitions.max_pool2d, *pool)


@given(pools())
def test_gradients_of_max_pool2d(pool):
    x, size = pool
    check_gradients(partial(operations.max_pool2d, size=size), x, tolerance=KINKED)


@given(pools())
def test_max_pool2d_has_manners(xp, pool):
    assert_has_manners(operations.max_pool2d, *pool)


@given(pools(), seeds)
def test_the_whole_gradient_goes_to_the_winner(xp, pool, seed):
    x, size = pool
    y, backward = operations.max_pool2d(xp.asarray(x), size)
    dy = xp.asarray(random_array(seed, y.shape))
    dx = backward(dy)
    assert int((dx != 0).sum()) == y.size
    repeated, _ = operations.upsample_nearest2d(y, size)
    spread, _ = operations.upsample_nearest2d(dy, size)
    winners = xp.asarray(x) == repeated
    assert bool((dx[winners] == spread[winners]).all())


def assert_that_the_first_wins_a_tie(pool, xp):
    """Ask a max pooling who gets the gradient where two are equal."""
    x = xp.asarray([[1.0, 7.0, 4.0, 4.0], [7.0, 7.0, 4.0, 4.0]]).reshape(1, 2, 4, 1)
    y, backward = pool(x)
    assert y.ravel().tolist() == [7, 4]
    dx = backward(xp.asarray([10.0, 20.0]).reshape(y.shape))
    assert dx[0, :, :, 0].tolist() == [[0, 10, 20, 0], [0, 0, 0, 0]]


def test_on_a_tie_the_first_in_reading_order_wins(xp):
    assert_that_the_first_wins_a_tie(operations.max_pool2d, xp)


@given(image_shapes(largest=4), st.integers(2, 3), seeds)
def test_ties_lose_nothing_and_count_nothing_twice(xp, windows, size, seed):
    batch, height, width, channels = windows
    shape = (batch, height * size, width * size, channels)
    x = np.random.default_rng(seed).integers(0, 2, shape).astype("float64")
    y, backward = operations.max_pool2d(xp.asarray(x), size)
    dx = backward(xp.ones(y.shape)).reshape(batch, height, size, width, size, channels)
    assert bool((dx.sum(axis=(2, 4)) == 1).all())
    in_order = x.reshape(batch, height, size, width, size, channels).transpose(0, 1, 3, 5, 2, 4)
    first = in_order.reshape(batch, height, width, channels, -1).argmax(-1)
    given = dx.transpose(0, 1, 3, 5, 2, 4).reshape(batch, height, width, channels, -1).argmax(-1)
    assert bool((given == xp.asarray(first)).all())


def test_a_window_of_negative_numbers_has_a_negative_maximum(xp):
    y, _ = operations.max_pool2d(xp.asarray([[-4.0, -3.0], [-2.0, -9.0]]).reshape(1, 2, 2, 1))
    assert y.ravel().tolist() == [-2]


def test_a_window_of_one_pixel_changes_nothing(xp):
    x = xp.asarray(random_array(0, (2, 3, 4, 2)))
    y, backward = operations.max_pool2d(x, 1)
    assert bool((y == x).all()) and bool((backward(y) == y).all())


@pytest.mark.parametrize("shape", [(1, 5, 4, 1), (1, 4, 5, 1)])
def test_a_size_that_windows_do_not_tile_is_refused(shape):
    with pytest.raises(ValueError):
        operations.max_pool2d(np.zeros(shape), 2)


@given(image_shapes(largest=5), sizes, seeds)
def test_upsample_nearest2d_equals_its_definition(xp, shape, scale, seed):
    x = random_array(seed, shape)
    assert_equals_definition(
        operations.upsample_nearest2d, definitions.upsample_nearest2d, x, scale
    )


@given(image_shapes(largest=5), sizes, seeds)
def test_gradients_of_upsample_nearest2d(shape, scale, seed):
    x = random_array(seed, shape)
    check_gradients(partial(operations.upsample_nearest2d, scale=scale), x, tolerance=SMOOTH)
    check_adjoint(partial(operations.upsample_nearest2d, scale=scale), x, tolerance=EXACT)


@given(image_shapes(largest=5), sizes, seeds)
def test_upsample_nearest2d_has_manners(xp, shape, scale, seed):
    assert_has_manners(operations.upsample_nearest2d, random_array(seed, shape), scale)


def test_each_pixel_becomes_a_square(xp):
    y, _ = operations.upsample_nearest2d(xp.asarray([[1.0, 2.0]]).reshape(1, 1, 2, 1))
    assert y[0, :, :, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]


def test_pooling_undoes_upsampling(xp):
    x = xp.asarray(random_array(0, (2, 3, 4, 2)))
    up, _ = operations.upsample_nearest2d(x, 3)
    down, _ = operations.max_pool2d(up, 3)
    assert bool((down == x).all())
