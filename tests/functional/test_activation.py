"""ReLU and dropout."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import definitions
from tests.comparing import EXACT, KINKED, assert_equals_definition, assert_has_manners
from tests.strategies import away_from_zero, image_shapes, random_array, seeds
from tinyunet import backend
from tinyunet.backend import to_host
from tinyunet.nn.gradcheck import check_adjoint, check_gradients
from tinyunet.nn.operations import operations


@given(image_shapes(), seeds)
def test_relu_equals_its_definition(xp, shape, seed):
    assert_equals_definition(operations.relu, definitions.relu, random_array(seed, shape))


@given(image_shapes(), seeds)
def test_gradients_of_relu(shape, seed):
    check_gradients(operations.relu, away_from_zero(seed, shape), tolerance=KINKED)


@given(image_shapes(), seeds)
def test_relu_has_manners(xp, shape, seed):
    assert_has_manners(operations.relu, random_array(seed, shape))


def test_relu_at_its_kink_lets_no_gradient_through(xp):
    y, backward = operations.relu(xp.asarray([-2.0, -0.0, 0.0, 3.0]))
    assert y.tolist() == [0, 0, 0, 3]
    assert backward(xp.full(4, 5.0)).tolist() == [0, 0, 0, 5]


def seeded_dropout(x, rate, seed):
    """Drop the same entries at every call, as the gradient check needs it."""
    return operations.dropout(x, rate, np.random.default_rng(seed))


@given(image_shapes(), st.sampled_from([0.0, 0.2, 0.5, 0.9]), seeds)
def test_gradients_of_dropout(shape, rate, seed):
    drop = partial(seeded_dropout, rate=rate, seed=seed)
    check_gradients(drop, random_array(seed, shape), tolerance=KINKED)
    check_adjoint(drop, random_array(seed, shape), tolerance=EXACT)


@given(image_shapes(), st.sampled_from([0.0, 0.2, 0.5, 0.9]), seeds)
def test_dropout_has_manners(xp, shape, rate, seed):
    drop = partial(seeded_dropout, rate=rate, seed=seed)
    assert_has_manners(drop, random_array(seed, shape))


@given(image_shapes(), seeds)
def test_what_dropout_keeps_is_scaled_up(xp, shape, seed):
    x = away_from_zero(seed, shape)
    y, _ = seeded_dropout(xp.asarray(x), 0.25, seed)
    y = to_host(y)
    kept = y != 0
    np.testing.assert_allclose(y[kept], x[kept] / 0.75, rtol=1e-14)


def test_dropout_keeps_the_mean_and_drops_the_rate(xp):
    y, _ = operations.dropout(xp.ones((4, 50, 60, 8)), 0.3, np.random.default_rng(0))
    assert abs(float(y.mean()) - 1) < 0.01
    assert abs(float((y == 0).mean()) - 0.3) < 0.01


def test_the_dropped_entries_depend_on_the_seed_only(xp):
    x = xp.ones((2, 5, 6, 3))
    first, again, other = (seeded_dropout(x, 0.5, seed)[0] for seed in (1, 1, 2))
    assert bool((first == again).all())
    assert not bool((first == other).all())


def test_both_devices_drop_the_same_entries(xp):
    y, _ = seeded_dropout(xp.ones((2, 5, 6, 3)), 0.5, 3)
    backend.use_device("cpu")
    on_the_host, _ = seeded_dropout(np.ones((2, 5, 6, 3)), 0.5, 3)
    np.testing.assert_array_equal(to_host(y), on_the_host)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_a_rate_outside_of_0_to_1_is_refused(rate):
    with pytest.raises(ValueError):
        operations.dropout(np.ones((1, 2, 3, 1)), rate, np.random.default_rng(0))
