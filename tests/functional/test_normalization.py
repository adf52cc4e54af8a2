"""Batch normalization."""

from functools import partial
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import definitions
from tests.comparing import SMOOTH, assert_close, assert_equals_definition, assert_has_manners
from tests.strategies import image_shapes, random_array, seeds
from tinyunet.backend import to_host
from tinyunet.nn.gradcheck import check_gradients
from tinyunet.nn.operations import operations


class Normalization(NamedTuple):
    """Images, scale and shift, and statistics from elsewhere."""

    x: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    statistics: dict


@st.composite
def normalizations(draw):
    """Draw images whose channels differ in mean and spread."""
    shape = draw(image_shapes(smallest=(2, 2), largest=5), label="image shape")
    channels = shape[3]
    seed = draw(seeds)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) * rng.uniform(0.5, 3, channels) + rng.normal(size=channels)
    statistics = {"mean": rng.normal(size=channels), "variance": rng.uniform(0.5, 3, channels)}
    return Normalization(x, rng.normal(size=channels), rng.normal(size=channels), statistics)


@given(normalizations())
def test_batch_norm2d_equals_its_definition(xp, case):
    x, gamma, beta, statistics = case
    assert_equals_definition(operations.batch_norm2d, definitions.batch_norm2d, x, gamma, beta)
    assert_equals_definition(
        operations.batch_norm2d, definitions.batch_norm2d, x, gamma, beta, epsilon=0.1
    )
    assert_equals_definition(
        operations.batch_norm2d, definitions.batch_norm2d, x, gamma, beta, **statistics
    )


@given(normalizations())
@settings(max_examples=50)
def test_gradients_of_batch_norm2d_in_training(case):
    x, gamma, beta, _ = case
    check_gradients(operations.batch_norm2d, x, gamma, beta, tolerance=SMOOTH)


@given(normalizations())
def test_gradients_of_batch_norm2d_with_given_statistics(case):
    x, gamma, beta, statistics = case
    check_gradients(
        partial(operations.batch_norm2d, **statistics), x, gamma, beta, tolerance=SMOOTH
    )


@given(normalizations())
def test_batch_norm2d_has_manners(xp, case):
    x, gamma, beta, statistics = case
    assert_has_manners(operations.batch_norm2d, x, gamma, beta)
    assert_has_manners(operations.batch_norm2d, x, gamma, beta, **statistics)


def test_each_channel_gets_mean_0_and_variance_1(xp):
    x = 50 + 7 * random_array(0, (3, 8, 9, 4))
    y, _ = operations.batch_norm2d(xp.asarray(x), xp.ones(4), xp.zeros(4))
    assert_close(y.mean(axis=(0, 1, 2)), np.zeros(4), 1e-12)
    assert_close(y.var(axis=(0, 1, 2)), np.ones(4), 1e-6)


def test_brightness_and_contrast_of_the_input_do_not_matter(xp):
    x, gamma, beta = random_array(0, (2, 5, 6, 3)), xp.full(3, 2.0), xp.full(3, 1.0)
    y, _ = operations.batch_norm2d(xp.asarray(x), gamma, beta, epsilon=0)
    brighter, _ = operations.batch_norm2d(xp.asarray(5 * x + 3), gamma, beta, epsilon=0)
    assert_close(brighter, to_host(y), 1e-12)


def test_the_gradient_of_batch_norm_is_blind_to_brightness_and_contrast(xp):
    x = xp.asarray(random_array(0, (2, 5, 6, 3)))
    y, backward = operations.batch_norm2d(x, xp.full(3, 2.0), xp.full(3, 1.0), epsilon=0)
    dx, _, _ = backward(xp.asarray(random_array(1, y.shape)))
    assert_close(dx.sum(axis=(0, 1, 2)), np.zeros(3), 1e-11)
    assert_close((dx * x).sum(axis=(0, 1, 2)), np.zeros(3), 1e-11)


def test_a_channel_of_one_value_gives_beta_and_no_nan(xp):
    x = xp.full((2, 3, 4, 2), 9.0, dtype="float32")
    gamma, beta = xp.ones(2, dtype="float32"), xp.full(2, 0.5, dtype="float32")
    y, backward = operations.batch_norm2d(x, gamma, beta)
    assert_close(y, np.full(x.shape, 0.5), 1e-6)
    for gradient in backward(xp.ones_like(y)):
        assert bool(xp.isfinite(gradient).all())


def test_a_large_mean_costs_no_accuracy(xp):
    x = (1000 + random_array(0, (4, 20, 30, 2))).astype("float32")
    gamma, beta = np.ones(2), np.zeros(2)
    y, _ = operations.batch_norm2d(*(xp.asarray(a.astype("float32")) for a in (x, gamma, beta)))
    exact = definitions.batch_norm2d(x.astype("float64"), gamma, beta)
    assert_close(y, exact, 1e-3)
