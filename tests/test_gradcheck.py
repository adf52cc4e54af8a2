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
    check_layer,
    naive_error,
    numerical_gradient,
)
from tinyunet.nn.layers import BatchNorm2d, Concat, Conv2d, Dropout, Layer, Sequential


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
    assert f"most at dx[{row}, {column}]" in message
    assert "1 of 12 entries" in message


def test_the_message_names_the_argument_and_prints_both_numbers():
    def function(x, y):
        z, backward = product(x, y)
        return z, lambda dz: (backward(dz)[0], 3 * backward(dz)[1])

    arguments = np.array([[2.0]]), np.array([[5.0]])
    with pytest.raises(GradientError) as caught:
        check_gradients(function, *arguments, seed=0)
    message = str(caught.value)
    dz = np.random.default_rng((0, 2015)).standard_normal((1, 1)).item()
    assert "the gradient of y" in message
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

        # A smaller array shows the mistake at the first entry, for the others there is none.
        said = "not linear in dy" if entry == 0 else "direction"
        with pytest.raises(GradientError, match=said):
            check_gradients(function, x, coordinates=0)


def test_the_naive_checker_tells_right_from_wrong():
    x = random_array(0, (2, 3))
    assert naive_error(power, x) < 1e-8
    assert naive_error(lambda x: power(x, factor=1.01), x) == pytest.approx(0.01, rel=0.02)


def test_an_entry_is_held_to_the_tolerance_itself():
    # One entry of 2500 that is ten times the tolerance off: among all the others a random direction
    # does not see it, so it is up to the check of single entries.
    x = np.linspace(1, 2, 2500)

    def function(x):
        def wrong(dy):
            dx = dy.copy()
            dx[77] += 1e-5 * abs(dy).max()
            return dx

        return x.copy(), wrong

    with pytest.raises(GradientError, match=r"dx\[77\] is wrong"):
        check_gradients(function, x, tolerance=1e-6, coordinates=2500)
    check_gradients(function, x, tolerance=1e-6, coordinates=0)
    check_gradients(function, x, tolerance=2e-5, coordinates=2500)


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

    with pytest.raises(GradientError, match="a second call gives another dx"):
        check_gradients(function, random_array(0, (2, 3)))


def square(x):
    """Square each entry."""
    return x**2, lambda dy: 2 * x * dy


def square_that_overwrites_after_use(x):
    kept = x.copy()
    y = x**2
    x[0, 1] = 0
    return y, lambda dy: 2 * kept * dy


def square_that_overwrites_before_use(x):
    x -= 1
    return square(x)


def square_that_returns_its_overwritten_input(x):
    kept = x.copy()
    x *= x
    return x, lambda dy: 2 * kept * dy


@pytest.mark.parametrize(
    "function",
    [
        square_that_overwrites_after_use,
        square_that_overwrites_before_use,
        square_that_returns_its_overwritten_input,
    ],
)
def test_a_forward_that_overwrites_its_input_is_refused_and_the_input_is_intact(function):
    x = random_array(0, (2, 3))
    before = x.copy()
    with pytest.raises(GradientError, match="forward overwrites x .first at"):
        check_gradients(function, x)
    np.testing.assert_array_equal(x, before)


def test_overwritten_labels_are_noticed_too():
    def function(x, labels):
        labels += 1
        return square(x)

    with pytest.raises(GradientError, match="forward overwrites labels"):
        check_gradients(function, random_array(0, (2, 3)), np.zeros(2, dtype=int))


def test_a_backward_that_overwrites_the_result_is_refused():
    def function(x):
        y = x**2

        def backward(dy):
            dx = 2 * x * dy
            y[0] = 0
            return dx

        return y, backward

    with pytest.raises(GradientError, match="backward overwrites y, the result"):
        check_gradients(function, random_array(0, (2, 3)))


def test_a_backward_that_overwrites_an_argument_is_refused():
    def function(x):
        def backward(dy):
            np.multiply(x, dy, out=x)
            return 2 * x

        return x**2, backward

    x = random_array(0, (2, 3))
    with pytest.raises(GradientError, match="backward overwrites x .first at .0, 0"):
        check_gradients(function, x)
    np.testing.assert_array_equal(x, random_array(0, (2, 3)))


def test_a_float32_argument_is_refused_with_its_cure():
    for function in (square, relu):
        with pytest.raises(TypeError, match='x is float32.*x.astype."float64"'):
            check_gradients(function, random_array(0, (2, 3), "float32"))


def test_a_forward_that_loses_precision_is_refused():
    def function(x):
        return (x**2).astype("float32"), lambda dy: 2 * x * dy

    with pytest.raises(GradientError, match="y is float32 for float64 arguments"):
        check_gradients(function, random_array(0, (2, 3)))


def test_a_forward_that_draws_anew_each_time_is_no_kink():
    rng = np.random.default_rng(0)

    def noisy(x):
        return x + rng.normal(size=x.shape), lambda dy: dy

    with pytest.raises(GradientError, match="a second call gives another y"):
        check_gradients(noisy, random_array(0, (2, 3)))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x**2, r"forward returns an array of shape \(2, 3\): end it with"),
        (lambda x: None, "forward returns None: end it with"),
        (lambda x: (x**2, 2 * x), "forward returns a tuple of 2: end it with"),
        (lambda x: (x**2, lambda dy: None), "backward returns None: end it with `return dx`"),
        (lambda x: (x**2, lambda dy: [2 * x * dy]), "backward returns a list"),
        (lambda x: (x**2, lambda dy: 1.0), "dx is a float, but x has shape"),
        (
            lambda x: (x**2, lambda dy: (dy, dy)),
            "backward returns a tuple of 2: end it with `return dx`",
        ),
        (lambda x: (x**2, lambda dy: dy.T), "dx is an array of shape .* the shape of its namesake"),
        (
            lambda x: (x**2, lambda dy: dy.ravel()),
            "dx is an array of shape .* the shape of its namesake",
        ),
    ],
)
def test_what_was_returned_is_named(function, message):
    with pytest.raises(GradientError, match=message):
        check_gradients(function, random_array(0, (2, 3)))


def test_gradients_in_another_order_are_named_by_their_shapes():
    def function(x, weight):
        return x @ weight, lambda dy: (x.T @ dy, dy @ weight.T)

    with pytest.raises(GradientError, match="the order is dx, dweight"):
        check_gradients(function, random_array(0, (2, 3)), random_array(1, (3, 4)))


def test_a_layer_is_checked_with_its_parameters_and_left_as_it_was():
    layer = Sequential(conv=Conv2d(2, 3, 3, padding=1), norm=BatchNorm2d(3), drop=Dropout(0.5))
    before = layer.state_dict()
    x = random_array(0, (2, 4, 5, 2))
    assert check_layer(layer, x) < 1e-6
    assert layer.state_dict().keys() == before.keys()
    for name, values in layer.state_dict().items():
        np.testing.assert_array_equal(values, before[name])
        assert values.dtype == "float32"
    assert all(parameter.grad is None for parameter in layer.parameters())
    skip = random_array(1, (2, 6, 7, 3))
    assert check_layer(Concat(), skip, x) < 1e-9


class Biased(Layer):
    """Adds a bias, with a mistake to choose."""

    def __init__(self, mistake):
        self.inner = Conv2d(2, 2, 1)
        self.mistake = mistake

    def forward(self, x):
        return self.inner(x)

    def backward(self, dy):
        dx = self.inner.backward(dy)
        bias = self.inner.bias
        if self.mistake == "factor":
            bias.grad = 2 * bias.grad
        if self.mistake == "forgotten":
            bias.grad = None
        if self.mistake == "input":
            dx = 2 * dx
        return dx


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("factor", "the gradient of inner.bias"),
        ("forgotten", "the gradient of inner.bias is None"),
        ("input", "dx"),
    ],
)
def test_a_wrong_gradient_in_a_layer_is_named(mistake, message):
    x = random_array(0, (2, 3, 4, 2))
    check_layer(Biased(None), x)
    with pytest.raises(GradientError, match=message):
        check_layer(Biased(mistake), x)


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


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_upstream_is_none_of_the_arrays_that_people_draw(seed):
    # With dy = x the gradient of a normalization is zero, and a wrong one hides behind it.
    x = random_array(seed, (2, 3, 4, 2))
    seen = []

    def function(x):
        return x.copy(), lambda dy: seen.append(dy) or dy

    check_gradients(function, x, seed=seed)
    assert all(abs(dy - x).max() > 0.1 for dy in seen)


def test_the_same_seed_gives_the_same_error():
    x = random_array(0, (2, 3))
    assert check_gradients(power, x, seed=3) == check_gradients(power, x, seed=3)
