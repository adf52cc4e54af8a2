"""The gradient checker: what it accepts, what it refuses, and what it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import random_array, seeds
from tinyunet.backend import to_host
from tinyunet.nn.functional import conv2d, max_pool2d, relu, softmax
from tinyunet.nn.gradcheck import (
    GradientError,
    KinkError,
    check_adjoint,
    check_gradients,
    numerical_gradient,
)


def power(x, exponent=3, factor=1.0):
    """Raise to a power, with a gradient that is wrong by a factor."""
    return x**exponent, lambda dy: factor * exponent * x ** (exponent - 1) * dy


def product(x, y):
    """Multiply two arrays."""
    return x * y, lambda dz: (dz * y, dz * x)


def test_a_right_gradient_passes_and_its_error_is_told(xp):
    error = check_gradients(power, xp.asarray(random_array(0, (3, 4))))
    assert isinstance(error, float)
    assert 0 <= error < 1e-9
    convolution = (
        xp.asarray(random_array(n, s)) for n, s in [(1, (1, 4, 5, 2)), (2, (3, 2, 2, 3))]
    )
    assert check_gradients(conv2d, *convolution) < 1e-9


@given(st.sampled_from([1e-5, 1e-3, 0.1, 1.0, -2.0]), seeds)
def test_a_wrong_factor_is_caught_however_small(error, seed):
    with pytest.raises(GradientError):
        check_gradients(lambda x: power(x, factor=1 + error), random_array(seed, (2, 3)))


def test_the_tolerance_decides(xp):
    x = xp.asarray(random_array(0, (2, 3)))
    check_gradients(lambda x: power(x, factor=1 + 1e-5), x, tolerance=1e-4)
    with pytest.raises(GradientError):
        check_gradients(lambda x: power(x, factor=1 + 1e-5), x, tolerance=1e-6)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0, 1e6, 1e12])
def test_the_error_is_relative(scale):
    def scaled(x, factor=1.0):
        y, backward = power(x, factor=factor)
        return scale * y, lambda dy: backward(scale * dy)

    x = random_array(0, (2, 3))
    assert check_gradients(scaled, x) < 1e-8
    with pytest.raises(GradientError):
        check_gradients(lambda x: scaled(x, factor=1 + 1e-5), x)


@given(st.integers(0, 2), st.integers(0, 3))
def test_one_wrong_entry_is_found_and_named(row, column):
    def function(x):
        y, backward = power(x)

        def wrong(dy):
            dx = backward(dy)
            dx[row, column] += 0.01
            return dx

        return y, wrong

    with pytest.raises(GradientError) as caught:
        check_gradients(function, random_array(0, (3, 4)))
    message = str(caught.value)
    assert f"({row}, {column})" in message
    assert "1 of 12" in message


def test_the_message_names_the_argument_and_prints_both_numbers():
    def function(x, y):
        z, backward = product(x, y)
        return z, lambda dz: (backward(dz)[0], 3 * backward(dz)[1])

    arguments = np.array([[2.0]]), np.array([[5.0]])
    with pytest.raises(GradientError) as caught:
        check_gradients(function, *arguments, seed=0)
    message = str(caught.value)
    dz = np.random.default_rng(0).standard_normal((1, 1)).item()
    assert "argument 1" in message
    assert f"{3 * 2 * dz:.9g}" in message and f"{2 * dz:.9g}" in message


def test_an_error_in_any_one_of_many_entries_shows_along_a_random_direction():
    x = random_array(0, (50, 40))
    for entry in (0, 777, 1999):

        def function(x, entry=entry):
            y, backward = power(x)

            def wrong(dy):
                dx = backward(dy)
                dx.flat[entry] += 1
                return dx

            return y, wrong

        with pytest.raises(GradientError, match="direction"):
            check_gradients(function, x, coordinates=0)


def test_arguments_without_a_gradient_are_passed_on(xp):
    def chosen(x, indices, name):
        assert name == "rows"

        def backward(dy):
            dx = xp.zeros(x.shape)
            dx[indices] = dy
            return dx

        return x[indices], backward

    check_gradients(chosen, xp.asarray(random_array(0, (4, 3))), xp.asarray([2, 0]), "rows")


def test_without_a_floating_array_there_is_nothing_to_check():
    with pytest.raises(TypeError):
        check_gradients(power, 3, "text", np.arange(3))


@pytest.mark.parametrize(
    "gradients",
    [
        lambda dx, dy: dx,
        lambda dx, dy: (dx, dy, dx),
        lambda dx, dy: (dx, None),
        lambda dx, dy: (dx, dy[:1]),
        lambda dx, dy: (dx, dy.T),
        lambda dx, dy: (dx.astype("float32"), dy),
        lambda dx, dy: (dx, np.full_like(dy, np.nan)),
        lambda dx, dy: (dx, np.full_like(dy, np.inf)),
        lambda dx, dy: (np.zeros_like(dx), np.zeros_like(dy)),
    ],
    ids=["too few", "too many", "none", "short", "turned", "dtype", "nan", "inf", "zero"],
)
def test_what_is_no_gradient_is_refused(gradients):
    def function(x, y):
        z, backward = product(x, y)
        return z, lambda dz: gradients(*backward(dz))

    with pytest.raises(GradientError):
        check_gradients(function, random_array(0, (2, 3)), random_array(1, (2, 3)))


def test_a_result_that_is_nan_is_refused():
    def function(x):
        return x * np.nan, lambda dy: dy * np.nan

    with pytest.raises(AssertionError):
        check_gradients(function, random_array(0, (2, 3)))


def test_a_backward_that_writes_into_its_upstream_is_refused():
    def function(x):
        def backward(dy):
            dy *= 3 * x**2
            return dy

        return x**3, backward

    with pytest.raises(GradientError):
        check_gradients(function, random_array(0, (2, 3)))


def test_a_backward_that_writes_into_an_argument_is_refused():
    def function(x):
        def backward(dy):
            dx = 3 * x**2 * dy
            x[0, 0] += 1
            return dx

        return x**3, backward

    with pytest.raises(GradientError):
        check_gradients(function, random_array(0, (2, 3)))


def test_a_backward_that_changes_its_mind_is_refused():
    def function(x):
        calls = []

        def backward(dy):
            calls.append(dy)
            return len(calls) * 3 * x**2 * dy

        return x**3, backward

    with pytest.raises(GradientError, match="second call"):
        check_gradients(function, random_array(0, (2, 3)))


@pytest.mark.parametrize("function", [relu, lambda x: (abs(x), lambda dy: dy * np.sign(x))])
def test_a_kink_is_told_apart_from_a_wrong_gradient(function):
    x = random_array(0, (2, 3))
    x[1, 2] = 0
    with pytest.raises(KinkError, match="kink"):
        check_gradients(function, x)


def test_a_tie_in_a_maximum_is_a_kink():
    with pytest.raises(KinkError):
        check_gradients(max_pool2d, np.ones((1, 2, 4, 1)))


def test_a_kink_close_by_does_no_harm():
    x = np.array([[0.1, -0.001, 1e-5, 3.0]])
    assert check_gradients(relu, x) < 1e-6


def test_a_constant_function_has_the_gradient_zero():
    check_gradients(softmax, random_array(0, (3, 1)))
    check_gradients(lambda x: (0 * x + 5, lambda dy: 0 * dy), random_array(0, (2, 3)))
    with pytest.raises(GradientError):
        check_gradients(lambda x: (0 * x + 5, lambda dy: dy), random_array(0, (2, 3)))


def test_an_array_without_entries_is_no_obstacle():
    check_gradients(product, np.zeros((0, 3)), np.zeros((0, 3)))


@given(seeds)
def test_numerical_gradient_equals_the_formula(seed):
    x, dy = random_array([seed, 0], (2, 3)), random_array([seed, 1], (2, 3))
    measured = numerical_gradient(np.sin, x, dy)
    np.testing.assert_allclose(measured, np.cos(x) * dy, rtol=0, atol=1e-9)


def test_numerical_gradient_works_on_every_device(xp):
    x = xp.asarray(random_array(0, (2, 3)))
    measured = numerical_gradient(lambda x: x**2, x)
    assert isinstance(measured, xp.ndarray)
    np.testing.assert_allclose(to_host(measured), 2 * to_host(x), rtol=1e-8)


MATRIX = random_array(0, (3, 4))


def test_the_adjoint_of_a_matrix_is_its_transpose(xp):
    matrix = xp.asarray(MATRIX)
    assert check_adjoint(lambda x: (matrix @ x, lambda dy: matrix.T @ dy), xp.ones(4)) < 1e-14


@pytest.mark.parametrize(
    "wrong",
    [
        lambda dy: MATRIX.T @ dy * (1 + 1e-10),
        lambda dy: np.linalg.pinv(MATRIX) @ dy,
        lambda dy: (MATRIX.T @ dy)[::-1],
        lambda dy: (MATRIX.T @ dy)[:3],
        lambda dy: MATRIX.T @ np.ones_like(dy),
        lambda dy: np.full(4, np.nan),
        lambda dy: np.zeros(4),
    ],
    ids=["a hair off", "inverse", "reversed", "short", "upstream ignored", "nan", "zero"],
)
def test_what_is_not_the_adjoint_is_refused(wrong):
    with pytest.raises(GradientError):
        check_adjoint(lambda x: (MATRIX @ x, wrong), random_array(1, 4))


def test_the_same_seed_gives_the_same_error():
    x = random_array(0, (2, 3))
    assert check_gradients(power, x, seed=3) == check_gradients(power, x, seed=3)
