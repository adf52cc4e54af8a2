r"""Is a backward right? Compare it with the slope that one can measure.

**The idea.** A gradient says how the result changes when the arguments change a little. So change
them a little and look. For a function f of one number, the *central difference* is

.. math:: f'(x) \approx \frac{f(x + h) - f(x - h)}{2 h}

**Many outputs.** A backward turns ``dy`` into ``dx``, so it stands for the gradient of one number,
:math:`L = \sum y \cdot dy`, with a fixed upstream gradient ``dy``. This must be *random*. With all
ones, a softmax whose backward returns zero passes, since its outputs always sum to one.

**Many inputs.** Move one entry at a time: this shows where an error is. Or move all of them at once
along a random direction: this costs no more than one entry, and an error anywhere shows in it with
near certainty.

`naive_error` is all of this in a dozen lines; read it first. `check_gradients` below is the same
idea made robust. It chooses h by itself, tells a kink from a wrong gradient, catches a function
that overwrites what it is given, and says in words what is wrong. `check_layer` does the same for
a layer and its parameters.

**No h at all** is needed for linear operations: backward must be the adjoint,
:math:`\langle A x, y \rangle = \langle x, A^T y \rangle`, to rounding (`check_adjoint`).

Sources: HIPS autograd's ``check_vjp`` and Chainer's ``gradient_check`` (random directions); the
course notes of Stanford's CS231n (what a relative error means, kinks).
"""

import copy

import numpy as np

from tinyunet.backend import to_device
from tinyunet.nn import diagnosis
from tinyunet.nn.diagnosis import GradientError, as_tuple


def naive_error(function, x, h=1e-5):
    """Measure the relative error of a backward: the whole idea, entry by entry.

    Parameters
    ----------
    function : callable
        Takes the array x, returns ``(y, backward)``.
    x : float64 array
    h : float
        How far an entry is moved to either side.

    Returns
    -------
    error : float
        The largest difference between ``dx`` and the measured slopes, over the largest of either.
    """
    y, backward = function(x)
    dy = np.random.default_rng(0).standard_normal(y.shape)
    dx, measured = backward(dy), np.zeros(x.shape)
    for entry in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[entry] = h
        rise = function(x + step)[0] - function(x - step)[0]  # of each output
        measured[entry] = (rise * dy).sum() / (2 * h)
    return abs(dx - measured).max() / max(abs(dx).max(), abs(measured).max())


# -- The same idea, made robust --------------------------------------------------------------------


class KinkError(AssertionError):
    """The function has no slope at this point, so there is nothing to compare a backward with."""


def check_gradients(function, *arguments, tolerance=1e-6, seed=0, coordinates=24, names=None):
    """Check the backward of ``function(*arguments)`` against measured slopes.

    Parameters
    ----------
    function : callable
        Takes the arguments, returns ``(y, backward)``. It must give the same result each time.
    *arguments : arrays and others
        Every floating array among them is checked; use float64. Others are passed on as they are.
    tolerance : float
        Largest relative error allowed: the largest difference between an argument's gradient and
        the measured one, over the largest entry of either.
    seed : int
        For the upstream gradient, the direction, and the choice of coordinates.
    coordinates : int
        How many entries of each argument are checked one by one.
    names : sequence of str, optional
        What the arguments are called; by default what the function itself calls them.

    Returns
    -------
    error : float
        The largest relative error found.

    Raises
    ------
    GradientError
        If a gradient is wrong, has another shape or dtype than its argument, or differs when
        backward is called again; or if forward or backward changes what it was given.
    KinkError
        If the function has a kink at the arguments.
    TypeError
        If no argument is a floating array, or one is not float64.
    """
    names = list(names or diagnosis.argument_names(function, len(arguments)))
    checked = diagnosis.floating_arguments(arguments, names)
    # Random numbers of its own: whoever draws x from default_rng(0) must not get dy = x.
    rng = np.random.default_rng((seed, 2015))
    y, dy, gradients = diagnosis.call_twice(function, arguments, checked, names, rng)

    # A difference is judged beside the size of the gradient. An argument whose gradient is tiny
    # next to the others' (a bias before batch normalization has none at all) is judged on their
    # scale: its own would be rounding noise. A function that is constant (a softmax over one
    # class) is judged on the scale of its values.
    sizes = [float(abs(gradient).max()) if gradient.size else 0.0 for gradient in gradients]
    smallest_scale = max(1e-3 * max(sizes), 1e-6 * float(((y * dy) ** 2).sum()) ** 0.5)

    def error_along(directions, scale, what):
        def loss(step):
            moved = list(arguments)
            for index, direction in directions.items():
                moved[index] = arguments[index] + step * direction
            return float((function(*moved)[0] * dy).sum())

        pairs = zip(checked, gradients, strict=True)
        claimed = float(sum((g * directions[k]).sum() for k, g in pairs if k in directions))
        measured = slope(loss, tolerance, scale)
        # A backward that gives zero everywhere has no size: the measured slope must count as well.
        error = abs(claimed - measured) / (max(scale, abs(measured)) or 1.0)
        if not error <= tolerance:  # written so that a NaN fails
            said = f"backward says {claimed:.9g}, measured is {measured:.9g}"
            beside = f"relative error {error:.2g}, allowed {tolerance:.2g}"
            raise GradientError(f"{what} is wrong: {said} ({beside})")
        return error

    errors = [0.0]
    try:
        for index, size in zip(checked, sizes, strict=True):
            argument, name = arguments[index], diagnosis.gradient_name(names[index])
            for entry in rng.permutation(argument.size)[:coordinates]:
                what = diagnosis.entry_name(name, argument, entry)
                directions = {index: along(argument, entry)}
                errors.append(error_along(directions, max(size, smallest_scale), what))
        directions = {k: diagnosis.random_like(arguments[k], rng) for k in checked}
        # The sum may cancel to nearly nothing by chance; its terms' size tells the scale.
        products = (g * d for g, d in zip(gradients, directions.values(), strict=True))
        scale = max(sum(float((p * p).sum()) for p in products) ** 0.5, smallest_scale)
        errors.append(error_along(directions, scale, "the slope along a random direction"))
    except GradientError as found:
        message, kind = diagnosis.explain(function, arguments, checked, names, dy)
        raise GradientError(message or str(found), kind) from None
    return max(errors)


def check_layer(layer, *inputs, seed=0, **options):
    """Check a layer's backward: the gradients of its inputs and of all its parameters.

    The check runs on a copy of the layer, in float64; the layer itself is left as it is.

    Parameters
    ----------
    layer : Layer
        In training mode, or after ``eval(save_backward=True)``.
    *inputs : float64 arrays
        What its forward takes.
    seed, **options
        As for `check_gradients`. Dropout draws its numbers from the seed.

    Returns
    -------
    error : float
        The largest relative error found.

    Raises
    ------
    GradientError
        If a gradient is wrong; names the input or the parameter, such as ``conv1.weight``.
    KinkError, TypeError
        As for `check_gradients`.
    """
    function, values = as_function(layer, len(inputs), seed)
    names = diagnosis.argument_names(layer.forward, len(inputs)) + list(values)
    return check_gradients(function, *inputs, *values.values(), seed=seed, names=names, **options)


def as_function(layer, inputs=1, seed=0):
    """Make a copy of a layer a pure function of its inputs and all its parameters' values.

    Returns
    -------
    function : callable
        Takes the inputs, then the parameters' values; returns ``(y, backward)``.
    values : dict of name to float64 array
        The parameters' values.
    """
    layer = copy.deepcopy(layer)
    parameters = {name: p for name, p in layer.named_parameters() if p.trainable}

    def run(arguments):
        for parameter, value in zip(parameters.values(), arguments[inputs:], strict=True):
            parameter.data, parameter.grad = value, None
        layer.set_seed(seed)
        return layer(*arguments[:inputs])

    def function(*arguments):
        def backward(dy):
            run(arguments)  # forward once more: a layer's backward can be called once only
            gradients = as_tuple(layer.backward(dy))
            return (*gradients, *(parameter.grad for parameter in parameters.values()))

        return run(arguments), backward

    return function, {name: p.data.astype("float64") for name, p in parameters.items()}


STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


def slope(f, tolerance, scale):
    """Measure the slope of a function of one number at 0, with the step that can be trusted most.

    There are two central differences, over h and over 2h. Both err by the third derivative, times
    h^2 / 6 and 4 h^2 / 6, so that (4 near - far) / 3 is free of that error. A large step errs by
    the curve, a small one by rounding; so several are tried, and the one with the smallest
    uncertainty counts. An uncertainty is judged beside `scale`.
    """
    best, smallest_uncertainty, here = np.nan, np.inf, f(0.0)
    for h in STEPS:
        at = {k: f(k * h) for k in (1, -1, 2, -2)}
        near, far = (at[1] - at[-1]) / (2 * h), (at[2] - at[-2]) / (4 * h)
        rounding = 1e-16 * sum(map(abs, at.values())) / h
        # A kink exactly here does not show in `near` and `far`: they agree, halfway between the
        # slopes of the two sides. It shows in how f leaves its tangent. A smooth f does so by the
        # square of h, so over 2h four times as far as over h; at a kink only twice as far.
        near_bend, far_bend = at[1] + at[-1] - 2 * here, at[2] + at[-2] - 2 * here
        uncertainty = abs(near - far) + abs(4 * near_bend - far_bend) / (2 * h) + rounding
        if not uncertainty >= smallest_uncertainty:
            best, smallest_uncertainty = (4 * near - far) / 3, uncertainty
        if smallest_uncertainty <= tolerance / 10 * scale:
            break
    # The combination errs less than its two parts differ, hence the factor.
    if not smallest_uncertainty <= 10 * tolerance * max(scale, abs(best)):
        raise KinkError(
            f"no slope can be measured here: it is {best:.6g}, uncertain by "
            f"{smallest_uncertainty:.2g}. The function has a kink at or very near this point "
            "(a ReLU at 0, a tie in a maximum): move the arguments away from it"
        )
    return best


def along(argument, entry):
    """Make the direction in which one entry of an argument, given by its number, moves alone."""
    row = np.eye(1, argument.size, entry, argument.dtype)
    return to_device(row.reshape(argument.shape))


def numerical_gradient(function, argument, dy=1.0):
    """Measure the gradient of ``sum(function(argument) * dy)``, entry by entry.

    Parameters
    ----------
    function : callable
        Takes the array, returns an array or number (not a pair with a backward).
    argument : floating array
    dy : array of the result's shape, or 1.0
        The upstream gradient.

    Returns
    -------
    gradient : array of the argument's shape
    """

    def slope_along(direction):
        return slope(lambda h: float((function(argument + h * direction) * dy).sum()), np.inf, 1.0)

    gradient = [slope_along(along(argument, entry)) for entry in range(argument.size)]
    return to_device(np.reshape(gradient, argument.shape))


def check_adjoint(function, x, tolerance=1e-12, seed=0):
    r"""Check that backward is the adjoint of a linear function: <A x, y> == <x, A' y>.

    Parameters
    ----------
    function : callable
        Linear in its only argument; returns ``(A x, backward)``.
    x : floating array
    tolerance : float
        Largest difference allowed, relative to the size of the vectors.
    seed : int
        For y.

    Returns
    -------
    error : float
        The relative difference.

    Raises
    ------
    GradientError
        If the two products differ.
    """
    names = diagnosis.argument_names(function, 1)
    rng = np.random.default_rng((seed, 2015))
    result, y, (adjoint,) = diagnosis.call_twice(function, [x], [0], names, rng)
    forth, back = float((result * y).sum()), float((x * adjoint).sum())
    scale = float(((result * y) ** 2).sum() ** 0.5 + ((x * adjoint) ** 2).sum() ** 0.5)
    error = abs(forth - back) / scale if scale else 0.0
    if not error <= tolerance:
        message, kind = diagnosis.explain(function, [x], [0], names, y)
        products = f"<A x, y> = {forth:.15g}, but <x, backward(y)> = {back:.15g}"
        raise GradientError(f"backward is not the adjoint: {products}\n{message or ''}", kind)
    return error
