r"""Is a backward right? Compare it with the slope that one can measure.

**The idea.** A gradient says how the result changes when the arguments change a little. So change
them a little and look. For a function f of one number, the *central difference*

.. math:: f'(x) \approx \frac{f(x + h) - f(x - h)}{2 h}

errs by about :math:`h^2` (f bends) plus :math:`10^{-16} / h` (floating-point rounding): for float64
there is a best h in between. We do not guess it. Differences over h and 2h are compared; what they
differ by shows how far to trust them, and of several h the most trustworthy is taken. Where even
that one is poor, the function has a kink (a ReLU at 0, a tie in a maximum) and no slope to compare
with: the checker says so instead of blaming the backward.

**Many outputs.** A backward turns ``dy`` into ``dx``, so it stands for the scalar function
:math:`\sum y \cdot dy` with a fixed upstream gradient ``dy``. This must be *random*. With all ones,
a softmax whose backward returns zero passes, since its outputs always sum to one.

**Many inputs.** Going coordinate by coordinate shows exactly where an error sits, but f has to be
evaluated anew for each entry. One random direction through all arguments at once costs no more than
one entry, and an error anywhere shows in it with near certainty. Both are done, the coordinates on
a random sample.

**No epsilon at all** is needed for linear operations: backward must be the adjoint,
:math:`\langle A x, y \rangle = \langle x, A^T y \rangle`, to rounding (`check_adjoint`).

Sources: HIPS autograd's ``check_vjp`` and Chainer's ``gradient_check`` (random directions); the
course notes of Stanford's CS231n (what a relative error means, kinks).
"""

import numpy as np

from tinyunet.backend import to_device, to_host, xp

STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


class GradientError(AssertionError):
    """A backward does not give the gradient of its forward; the message says where."""


class KinkError(AssertionError):
    """The function has no slope at this point, so there is nothing to compare a backward with."""


def check_gradients(function, *arguments, tolerance=1e-6, seed=0, coordinates=24):
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

    Returns
    -------
    error : float
        The largest relative error found.

    Raises
    ------
    GradientError
        If a gradient is wrong, has another shape or dtype than its argument, differs when backward
        is called again, or if backward changes what it was given.
    KinkError
        If the function has a kink at the arguments.
    TypeError
        If no argument is a floating array.
    """
    rng = np.random.default_rng(seed)
    checked = [index for index, argument in enumerate(arguments) if is_floating(argument)]
    if not checked:
        raise TypeError("none of the arguments is a floating array: there is no gradient to check")
    y, backward = function(*arguments)
    dy = random_like(y, rng)
    gradients = call_backward(backward, dy, arguments, checked)

    def loss(*moved):
        return float((function(*moved)[0] * dy).sum())

    # An argument whose gradient is tiny beside the others' (a bias before batch normalization has
    # none at all) is measured on their scale: its own would be rounding noise. So is a function
    # that is constant (a softmax over one class) on the scale of its values.
    floor = max(
        1e-3 * max((float(abs(g).max()) for g in gradients if g.size), default=0.0),
        1e-6 * float(((y * dy) ** 2).sum()) ** 0.5,
    )
    worst = 0.0
    for index, gradient in zip(checked, gradients, strict=True):
        error = check_coordinates(
            loss, arguments, index, gradient, floor, tolerance, rng, coordinates
        )
        worst = max(worst, error)
    return max(worst, check_direction(loss, arguments, checked, gradients, floor, tolerance, rng))


def check_coordinates(loss, arguments, index, gradient, floor, tolerance, rng, coordinates):
    """Compare one argument's gradient with measured slopes, entry by entry on a random sample."""
    argument = arguments[index]
    sample = rng.permutation(argument.size)[:coordinates]
    if not len(sample):
        return 0.0
    analytical = to_host(gradient).ravel()[sample]
    known_scale = max(abs(analytical).max(), floor)
    measured = np.empty(len(sample))
    for place, entry in enumerate(sample):
        direction = np.zeros(argument.size)
        direction[entry] = 1
        direction = to_device(direction.reshape(argument.shape).astype(argument.dtype))
        measured[place] = slope(loss, arguments, {index: direction}, tolerance, known_scale)
    differences = abs(analytical - measured)
    scale = max(known_scale, abs(measured).max())
    if scale == 0:
        return 0.0
    error = differences.max() / scale
    if not error <= tolerance:  # written so that a NaN fails
        worst = int(differences.argmax())
        wrong = int((~(differences <= tolerance * scale)).sum())
        where = tuple(int(i) for i in np.unravel_index(sample[worst], argument.shape))
        raise GradientError(
            f"the gradient of argument {index}, shape {argument.shape}, is wrong at {wrong} of "
            f"{len(sample)} entries looked at. The worst is {where}: backward says "
            f"{analytical[worst]:.9g}, measured is {measured[worst]:.9g} "
            f"(relative error {error:.2g}, allowed {tolerance:.2g})"
        )
    return float(error)


def check_direction(loss, arguments, checked, gradients, floor, tolerance, rng):
    """Compare with the slope along one random direction through all arguments at once."""
    directions = {index: random_like(arguments[index], rng) for index in checked}
    products = [
        gradient * directions[index] for index, gradient in zip(checked, gradients, strict=True)
    ]
    analytical = sum(float(product.sum()) for product in products)
    # The sum may cancel to nearly nothing by chance; its terms' size tells what to compare with.
    size = sum(float((product * product).sum()) for product in products) ** 0.5
    scale = max(abs(analytical), size, floor)
    measured = slope(loss, arguments, directions, tolerance, scale)
    # A backward that gives zero everywhere has no size: the measured slope must count as well.
    scale = max(scale, abs(measured))
    error = abs(analytical - measured) / scale if scale else 0.0
    if not error <= tolerance:
        raise GradientError(
            f"the slope along a random direction through all arguments is wrong: backward says "
            f"{analytical:.9g}, measured is {measured:.9g} (relative error {error:.2g}, allowed "
            f"{tolerance:.2g})"
        )
    return float(error)


def slope(loss, arguments, directions, tolerance, scale):
    """Measure the slope of `loss` along a direction, with the step that can be trusted most.

    `directions` maps an argument's index to an array of its shape. The formula
    (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h combines two central differences so that their
    errors of order h^2 cancel. How far the two are apart bounds how far the result can be off.
    """
    best, trust = np.nan, np.inf
    here = loss(*arguments)
    for step in STEPS:
        forth, back, far_forth, far_back = (
            loss(*moved(arguments, directions, factor * step)) for factor in (1, -1, 2, -2)
        )
        near, far = (forth - back) / (2 * step), (far_forth - far_back) / (4 * step)
        combined = (4 * near - far) / 3
        rounding = 1e-16 * (abs(forth) + abs(back) + abs(far_forth) + abs(far_back)) / step
        # At a kink exactly here both differences agree on a slope that is none. But f then rises to
        # both sides in proportion to h, where a smooth function bends away by the square of h.
        kink = abs(2 * (forth + back) - (far_forth + far_back) / 2 - 3 * here) / step
        uncertainty = abs(near - far) + kink + rounding
        if not uncertainty >= trust:
            best, trust = combined, uncertainty
        if trust <= tolerance / 10 * scale:
            break
    # The combination errs less than its two parts differ, hence the factor.
    if not trust <= 10 * tolerance * max(scale, abs(best)):
        raise KinkError(
            f"no slope can be measured here: it is {best:.6g}, uncertain by {trust:.2g}. The "
            "function has a kink (a ReLU at 0, a tie in a maximum), so move the arguments away "
            "from it; or it is not the same each time it is called"
        )
    return best


def moved(arguments, directions, step):
    """Copy the arguments, those in `directions` moved by `step` along theirs."""
    return [
        argument + step * directions[index] if index in directions else argument
        for index, argument in enumerate(arguments)
    ]


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

    def loss(moved_argument):
        return float((function(moved_argument) * dy).sum())

    gradient = np.empty(argument.size)
    for entry in range(argument.size):
        direction = np.zeros(argument.size)
        direction[entry] = 1
        direction = to_device(direction.reshape(argument.shape).astype(argument.dtype))
        gradient[entry] = slope(loss, [argument], {0: direction}, np.inf, 1.0)
    return to_device(gradient.reshape(argument.shape))


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
    result, backward = function(x)
    y = random_like(result, np.random.default_rng(seed))
    adjoint = backward(y)
    if adjoint.shape != x.shape:
        raise GradientError(f"backward gives shape {adjoint.shape} for an argument of {x.shape}")
    forth, back = float((result * y).sum()), float((x * adjoint).sum())
    scale = float(((result * y) ** 2).sum() ** 0.5 + ((x * adjoint) ** 2).sum() ** 0.5)
    error = abs(forth - back) / scale if scale else 0.0
    if not error <= tolerance:
        raise GradientError(
            f"backward is not the adjoint: <A x, y> = {forth:.15g}, but <x, backward(y)> = "
            f"{back:.15g} (relative difference {error:.2g}, allowed {tolerance:.2g})"
        )
    return error


def call_backward(backward, dy, arguments, checked):
    """Call a backward as a careful user would: twice, watching what it returns and touches."""
    dy_before = dy.copy()
    arguments_before = [arguments[index].copy() for index in checked]
    gradients = as_tuple(backward(dy))
    if len(gradients) != len(checked):
        raise GradientError(
            f"backward gives {len(gradients)} gradients for {len(checked)} floating arguments"
        )
    for index, gradient in zip(checked, gradients, strict=True):
        argument = arguments[index]
        if gradient is None or gradient.shape != argument.shape:
            shape = None if gradient is None else gradient.shape
            raise GradientError(
                f"the gradient of argument {index} has shape {shape}, not {argument.shape}"
            )
        if gradient.dtype != argument.dtype:
            raise GradientError(
                f"the gradient of argument {index} is {gradient.dtype}, not {argument.dtype}"
            )
        if not bool(xp.isfinite(gradient).all()):
            raise GradientError(f"the gradient of argument {index} has entries that are not finite")
    gradients = tuple(gradient.copy() for gradient in gradients)
    again = as_tuple(backward(dy))
    for index, first, second in zip(checked, gradients, again, strict=True):
        if not bool((first == second).all() | (first != first).any()):
            raise GradientError(
                f"a second call of backward gives argument {index} another gradient"
            )
    if not bool((dy == dy_before).all()):
        raise GradientError("backward changes the upstream gradient it was given")
    for index, before in zip(checked, arguments_before, strict=True):
        if not bool((arguments[index] == before).all()):
            raise GradientError(f"argument {index} was changed")
    return gradients


def as_tuple(value):
    """Read one gradient alone as a tuple of one."""
    return value if isinstance(value, tuple) else (value,)


def random_like(array, rng):
    """Draw normal numbers in the shape and dtype of an array, on its device."""
    return to_device(np.asarray(rng.standard_normal(array.shape), dtype=array.dtype))


def is_floating(argument):
    """Whether an argument is an array of floating-point numbers."""
    return isinstance(argument, xp.ndarray) and argument.dtype.kind == "f"
