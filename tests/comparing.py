"""What the tests of all operations ask: the plain definition's numbers, and good manners."""

import numpy as np

from tinyunet.backend import to_device, to_host

TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
SMOOTH = 1e-7
KINKED = 1e-6
EXACT = 1e-12


def on_device(argument):
    """Bring an array to the device in use; leave anything else as it is."""
    return to_device(argument) if isinstance(argument, np.ndarray) else argument


def all_on_device(options):
    """Bring the arrays among the options to the device in use."""
    return {name: on_device(option) for name, option in options.items()}


def as_tuple(gradients):
    """Give one gradient the form of several."""
    return gradients if isinstance(gradients, tuple) else (gradients,)


def is_floating(argument):
    """Tell the arrays that have a gradient from labels, sizes and generators."""
    return hasattr(argument, "dtype") and argument.dtype.kind == "f"


def assert_close(actual, expected, tolerance):
    """Compare by the largest difference, relative to the largest number expected."""
    actual, expected = to_host(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=tolerance)


def assert_equals_definition(operation, definition, *arguments, **options):
    """Ask the operation for the definition's numbers, in float64 and float32, on this device."""
    for dtype, tolerance in TOLERANCE.items():
        cast = [a.astype(dtype) if is_floating(a) else a for a in arguments]
        options = {k: v.astype(dtype) if is_floating(v) else v for k, v in options.items()}
        result, _ = operation(*map(on_device, cast), **all_on_device(options))
        assert result.dtype == dtype
        exact = [a.astype("float64") if is_floating(a) else a for a in cast]
        assert_close(result, definition(*exact, **options), tolerance)


def assert_has_manners(operation, *arguments, **options):
    """Ask for what every operation promises, whatever it computes.

    A gradient for each floating argument, of its shape and dtype; neither the arguments nor the
    upstream gradient are written to; and backward gives the same when it is asked again.
    """
    rng = np.random.default_rng(0)
    for dtype in TOLERANCE:
        cast = [a.astype(dtype) if is_floating(a) else a for a in arguments]
        options = {k: v.astype(dtype) if is_floating(v) else v for k, v in options.items()}
        given = [on_device(argument) for argument in cast]
        result, backward = operation(*given, **all_on_device(options))
        dy = rng.normal(size=result.shape).astype(dtype)
        given_dy = to_device(dy)
        gradients = as_tuple(backward(given_dy))
        floating = [argument for argument in cast if is_floating(argument)]
        assert [g.shape for g in gradients] == [a.shape for a in floating]
        assert [g.dtype for g in gradients] == [a.dtype for a in floating]
        first = [to_host(gradient).copy() for gradient in gradients]
        for before, after in zip([*cast, dy], [*given, given_dy], strict=True):
            if isinstance(before, np.ndarray):
                assert np.array_equal(to_host(after), before), "an argument was written to"
        for before, after in zip(first, as_tuple(backward(given_dy)), strict=True):
            assert np.array_equal(to_host(after), before), "backward gave two answers"
