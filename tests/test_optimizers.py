"""Optimizers against their formulas, written out; schedules; and resuming."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.comparing import assert_close
from tests.strategies import random_array, seeds
from tinyunet import fast
from tinyunet.backend import to_host
from tinyunet.fast.optimizers import CHUNK_SIZE
from tinyunet.nn import optimizers as plain
from tinyunet.nn.module import Parameter
from tinyunet.nn.operations import operations, use_operations
from tinyunet.nn.schedules import cosine

SHAPES = [(3, 2, 1, 4), (4,), (1,)]


@pytest.fixture(autouse=True, params=["plain", "fast"])
def operations_in_use(request):
    """Run every test with the plain optimizers and with the fast ones."""
    before = operations.name
    use_operations(request.param)
    yield
    use_operations(before)


def parameters_on(xp, dtype="float64"):
    """Make some parameters of different shapes."""
    return [
        Parameter(xp.asarray(random_array(index, shape, dtype)))
        for index, shape in enumerate(SHAPES)
    ]


def take_steps(xp, optimizer, steps, first=0):
    """Take steps with gradients that depend on the step's number only; change the rate halfway."""
    for step in range(first, first + steps):
        if step == 3:
            optimizer.lr /= 2
        for index, parameter in enumerate(optimizer.parameters):
            gradient = random_array([step, index], parameter.data.shape, parameter.data.dtype)
            parameter.grad = xp.asarray(gradient)
        optimizer.step()


def values(optimizer):
    """Copy the parameters to the host."""
    return [to_host(parameter.data).copy() for parameter in optimizer.parameters]


def plain_sgd(theta, gradients, lr, momentum, weight_decay):
    """Plain: v = mu v + g + decay theta; theta = theta - lr v."""
    velocity = np.zeros_like(theta)
    for step, gradient in enumerate(gradients):
        rate = lr if step < 3 else lr / 2
        velocity = momentum * velocity + gradient + weight_decay * theta
        theta = theta - rate * velocity
    return theta


def plain_adam(theta, gradients, lr, beta1, beta2, epsilon, weight_decay):
    """Plain: m, v = running means of g and g^2, corrected; the decay is apart from the gradient."""
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for step, gradient in enumerate(gradients, start=1):
        rate = lr if step <= 3 else lr / 2
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
        m_hat, v_hat = m / (1 - beta1**step), v / (1 - beta2**step)
        theta = theta - rate * weight_decay * theta
        theta = theta - rate * m_hat / (np.sqrt(v_hat) + epsilon)
    return theta


def gradients_for(index, steps):
    """Repeat the gradients that `take_steps` gives a parameter."""
    return [random_array([step, index], SHAPES[index]) for step in range(steps)]


@given(
    lr=st.floats(1e-3, 1.0), momentum=st.floats(0, 0.99), decay=st.sampled_from([0.0, 0.01, 0.3])
)
def test_sgd_follows_its_formula(xp, lr, momentum, decay):
    optimizer = operations.SGD(parameters_on(xp), lr, momentum, decay)
    take_steps(xp, optimizer, 6)
    for index, value in enumerate(values(optimizer)):
        start = random_array(index, SHAPES[index])
        expected = plain_sgd(start, gradients_for(index, 6), lr, momentum, decay)
        assert_close(value, expected, 1e-12)


@given(
    lr=st.floats(1e-3, 1.0),
    beta1=st.floats(0, 0.99),
    beta2=st.floats(0.1, 0.9999),
    epsilon=st.sampled_from([1e-8, 1e-3]),
    decay=st.sampled_from([0.0, 0.01, 0.3]),
)
def test_adam_follows_its_formula(xp, lr, beta1, beta2, epsilon, decay):
    optimizer = operations.Adam(parameters_on(xp), lr, (beta1, beta2), epsilon, decay)
    take_steps(xp, optimizer, 6)
    for index, value in enumerate(values(optimizer)):
        start = random_array(index, SHAPES[index])
        gradients = gradients_for(index, 6)
        expected = plain_adam(start, gradients, lr, beta1, beta2, epsilon, decay)
        assert_close(value, expected, 1e-11)


def test_the_first_step_of_adam_is_as_long_as_the_learning_rate(xp):
    parameters = parameters_on(xp)
    optimizer = operations.Adam(parameters, lr=0.1)
    before = values(optimizer)
    take_steps(xp, optimizer, 1)
    for old, new in zip(before, values(optimizer), strict=True):
        assert_close(abs(new - old), np.full(old.shape, 0.1), 1e-6)


def test_with_a_gradient_of_zero_only_the_decay_is_left(xp):
    for make in (operations.SGD, operations.Adam):
        parameters = parameters_on(xp)
        optimizer = make(parameters, lr=0.1, weight_decay=0.5)
        before = values(optimizer)
        for parameter in parameters:
            parameter.grad = xp.zeros_like(parameter.data)
        optimizer.step()
        for old, new in zip(before, values(optimizer), strict=True):
            assert_close(new, 0.95 * old, 1e-14)


MAKERS = [
    lambda parameters: operations.SGD(parameters, 0.1, momentum=0.9, weight_decay=0.01),
    lambda parameters: operations.Adam(parameters, 0.1, weight_decay=0.01),
]
EVERY_OPTIMIZER = pytest.mark.parametrize("make", MAKERS, ids=["sgd", "adam"])


@EVERY_OPTIMIZER
def test_parameters_change_in_place_and_keep_float32(xp, make):
    parameters = parameters_on(xp, "float32")
    optimizer = make(parameters)
    take_steps(xp, optimizer, 1)
    arrays = [parameter.data for parameter in parameters]
    take_steps(xp, optimizer, 1)
    for parameter, array in zip(parameters, arrays, strict=True):
        assert parameter.data is array
        assert str(array.dtype) == "float32"


@EVERY_OPTIMIZER
def test_a_step_leaves_the_gradients_as_they_are(xp, make):
    optimizer = make(parameters_on(xp))
    take_steps(xp, optimizer, 2)
    for index, parameter in enumerate(optimizer.parameters):
        np.testing.assert_array_equal(to_host(parameter.grad), gradients_for(index, 2)[1])
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in optimizer.parameters)


@EVERY_OPTIMIZER
def test_a_parameter_without_a_gradient_is_noticed(xp, make):
    parameters = parameters_on(xp)
    optimizer = make(parameters)
    take_steps(xp, optimizer, 1)
    before = [to_host(parameter.data).copy() for parameter in parameters]
    parameters[1].grad = None
    parameters[1].name = "upsamplers.0.weight"
    with pytest.raises(RuntimeError, match=r"upsamplers\.0\.weight has no gradient"):
        optimizer.step()
    for parameter, values in zip(parameters, before, strict=True):
        np.testing.assert_array_equal(to_host(parameter.data), values)


@EVERY_OPTIMIZER
def test_a_parameter_that_was_given_another_array_learns_on(xp, make):
    changed, untouched = make(parameters_on(xp)), make(parameters_on(xp))
    for optimizer in (changed, untouched):
        take_steps(xp, optimizer, 1)
    for optimizer in (changed, untouched):
        for parameter in optimizer.parameters:
            if optimizer is changed:
                parameter.data = 2 * parameter.data
            else:
                parameter.data[...] = 2 * parameter.data
        take_steps(xp, optimizer, 2, first=1)
    for one, other in zip(values(changed), values(untouched), strict=True):
        np.testing.assert_array_equal(one, other)


@EVERY_OPTIMIZER
def test_a_parameter_that_was_given_another_shape_is_refused(make):
    optimizer = make(parameters_on(np))
    take_steps(np, optimizer, 1)
    optimizer.parameters[1].data = np.zeros(7)
    with pytest.raises(RuntimeError, match=r"number 1 is \(7,\) now, was \(4,\)"):
        optimizer.step()


@EVERY_OPTIMIZER
def test_an_optimizer_says_what_it_is(make):
    optimizer = make(parameters_on(np))
    take_steps(np, optimizer, 1)
    assert repr(optimizer) == (f"{type(optimizer).__name__}(lr=0.1): 29 numbers, step 1")


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("resume_with", ["plain", "fast"])
def test_the_fast_optimizers_go_on_from_the_state_of_the_plain_ones_and_back(xp, name, resume_with):
    rest = {"SGD": {"lr": 0.1, "momentum": 0.9}, "Adam": {"lr": 0.1}}[name]
    by_name = {"plain": getattr(plain, name), "fast": getattr(fast, name)}
    straight = by_name[resume_with](parameters_on(xp), **rest)
    take_steps(xp, straight, 3)
    (other,) = by_name.keys() - {resume_with}
    first = by_name[other](parameters_on(xp), **rest)
    take_steps(xp, first, 2)
    second = by_name[resume_with]([Parameter(xp.asarray(array)) for array in values(first)], **rest)
    second.load_state_dict(first.state_dict())
    take_steps(xp, second, 1, first=2)
    for one, another in zip(values(straight), values(second), strict=True):
        assert_close(one, another, 1e-13)


@EVERY_OPTIMIZER
def test_taking_parameters_over_does_not_change_them(xp, make):
    before = [to_host(parameter.data) for parameter in parameters_on(xp)]
    for old, new in zip(before, values(make(parameters_on(xp))), strict=True):
        np.testing.assert_array_equal(old, new)


@EVERY_OPTIMIZER
def test_the_size_of_the_chunks_does_not_matter(xp, make, monkeypatch):
    results = []
    for size in (2**15, 5):
        for device in CHUNK_SIZE:
            monkeypatch.setitem(CHUNK_SIZE, device, size)
        optimizer = make(parameters_on(xp))
        take_steps(xp, optimizer, 3)
        results.append(values(optimizer))
    for one, other in zip(*results, strict=True):
        assert_close(one, other, 1e-15)


@EVERY_OPTIMIZER
@given(before=st.integers(0, 5), after=st.integers(1, 5))
def test_a_state_lets_an_optimizer_go_on_bit_for_bit(xp, make, before, after):
    straight = make(parameters_on(xp, "float32"))
    take_steps(xp, straight, before + after)

    first = make(parameters_on(xp, "float32"))
    take_steps(xp, first, before)
    state, weights, lr = first.state_dict(), values(first), first.lr
    assert all(isinstance(array, np.ndarray) for array in state.values())
    take_steps(xp, first, 1, first=before)  # what was saved must be a copy

    second = make([Parameter(xp.asarray(array.copy())) for array in weights])
    second.load_state_dict(state)
    second.lr = lr
    take_steps(xp, second, after, first=before)
    for one, other in zip(values(straight), values(second), strict=True):
        np.testing.assert_array_equal(one, other)


@EVERY_OPTIMIZER
def test_the_state_of_something_else_is_refused(make):
    optimizer = make(parameters_on(np))
    state = optimizer.state_dict()
    name = next(name for name in state if state[name].ndim)
    for change in (
        lambda changed: changed.pop(name),
        lambda changed: changed.update(extra=np.zeros(2)),
        lambda changed: changed.update({name: np.zeros((7, 7))}),
    ):
        changed = dict(state)
        change(changed)
        with pytest.raises(ValueError):
            optimizer.load_state_dict(changed)


def test_the_state_of_adam_is_not_that_of_sgd():
    with pytest.raises(ValueError):
        operations.Adam(parameters_on(np)).load_state_dict(
            operations.SGD(parameters_on(np), 0.1).state_dict()
        )


@given(lr=st.floats(1e-6, 10), steps=st.integers(2, 500), warmup=st.integers(0, 100))
def test_a_cosine_rises_then_falls_and_stays_between_0_and_its_top(lr, steps, warmup):
    schedule = cosine(lr, steps + warmup, warmup)
    rates = [schedule(step) for step in range(steps + warmup)]
    assert max(rates) == pytest.approx(lr)
    assert all(rate > 0 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


def test_points_on_a_cosine():
    schedule = cosine(2.0, steps=100)
    assert schedule(0) == 2.0
    assert math.isclose(schedule(25), 1 + math.sqrt(0.5))
    assert math.isclose(schedule(50), 1.0)
    assert math.isclose(schedule(100), 0.0, abs_tol=1e-12)
    assert schedule(1000) == schedule(100), "after the end it stays"


def test_a_warmup_rises_in_equal_steps():
    schedule = cosine(1.0, steps=20, warmup_steps=4)
    assert [schedule(step) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


@pytest.mark.parametrize("steps", [0, 1])
def test_a_very_short_training_has_a_rate_too(steps):
    assert math.isfinite(cosine(1.0, steps)(0))


@EVERY_OPTIMIZER
@given(seed=seeds)
def test_every_optimizer_finds_the_bottom_of_a_bowl(make, seed):
    parameter = Parameter(random_array(seed, 5))
    optimizer = make([parameter])
    optimizer.weight_decay = 0.0
    for step in range(500):
        optimizer.lr = 0.1 * (1 - step / 500)
        parameter.grad = 2 * (parameter.data - 3)
        optimizer.step()
    assert_close(parameter.data, np.full(5, 3.0), 1e-2)
