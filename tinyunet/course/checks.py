"""What is asked of each exercise, and what is said to a wrong answer.

An operation is checked as tinyunet's own are: its forward must still be what it was, its gradients
are compared with measured slopes, and `tinyunet.nn.diagnosis` says what is wrong with them. Where
more can be said than about an operation in general, a check says it itself: which arrow of a
picture was not walked back, which line of Adam is off.
"""

from collections.abc import Callable
from types import ModuleType

import numpy as np

from tinyunet.nn import functional
from tinyunet.nn.diagnosis import GradientError, as_tuple, describe
from tinyunet.nn.gradcheck import KinkError, check_gradients, numerical_gradient


class Wrong(Exception):
    """An answer is wrong; the message says how."""


class NotWritten(Exception):
    """There are still three dots where an answer should be."""


def random(seed, *shape):
    """Draw normal numbers in a shape."""
    return np.random.default_rng(seed).standard_normal(shape)


def distinct(seed, *shape):
    """Draw numbers of both signs, any two of them well apart: no kink, no tie."""
    ranks = np.random.default_rng(seed).permutation(int(np.prod(shape)))
    return 0.1 * (ranks.reshape(shape) - ranks.size // 2) + 0.05


# -- Operations ------------------------------------------------------------------------------------


def check_operation(
    mine: Callable, ours: Callable, arguments: tuple, order: tuple[str, ...]
) -> None:
    """Check an operation against ours and against measured slopes.

    Parameters
    ----------
    mine : function
        The student's; takes the arguments and returns ``(y, backward)``.
    ours : function
        What its forward should be, with a backward for the gradients that `mine` does not give.
    arguments : tuple
    order : tuple of str
        The gradients that `mine` gives, such as ``("dx", "dbias")``.

    Raises
    ------
    Wrong, NotWritten
    """
    arguments = tuple(np.array(a) if isinstance(a, np.ndarray) else a for a in arguments)
    given = tuple(a.copy() if isinstance(a, np.ndarray) else a for a in arguments)
    result = mine(*given)
    if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
        raise Wrong(f"forward returns {describe(result)}: it should end with `return y, backward`.")
    right, our_backward = ours(*arguments)
    if np.shape(result[0]) != np.shape(right) or not np.allclose(result[0], right):
        raise Wrong(
            "forward no longer gives what it gave at first. It was right as it was: undo the "
            "change, or move your file away and run this again for a new one."
        )
    refuse_dots(result[1](np.ones(np.shape(right))))
    names = argument_names(ours)
    all_gradients = [f"d{name}" for name in names]
    others = [name for name in all_gradients if name not in order]

    def both(*arguments):
        y, backward = mine(*arguments)
        if not others:
            return y, backward
        _, our_backward = ours(*arguments)

        def backward_of_both(dy):
            gradients = backward(dy)
            if len(as_tuple(gradients)) != len(order) or isinstance(gradients, list):
                return gradients
            by_name = dict(zip(all_gradients, as_tuple(our_backward(dy)), strict=True))
            by_name |= dict(zip(order, as_tuple(gradients), strict=True))
            return tuple(by_name[name] for name in all_gradients)

        return y, backward_of_both

    check_number(result[1](np.ones(np.shape(right))), order)
    try:
        check_gradients(both, *arguments, names=[*names, *map(str, range(9))][: len(arguments)])
    except (GradientError, KinkError) as error:
        raise Wrong(shorten(str(error), order, others)) from None


def argument_names(function: Callable) -> list[str]:
    """Name the floating arguments of one of our functions, as its signature does."""
    code = function.__code__
    return [name for name in code.co_varnames[: code.co_argcount] if name != "labels"]


def check_number(returned, order: tuple[str, ...]) -> None:
    """See that backward returned as many gradients as were asked for, in a tuple."""
    expected = order[0] if len(order) == 1 else f"({', '.join(order)})"
    if returned is None:
        raise Wrong(f"backward returns nothing: end it with `return {', '.join(order)}`.")
    if isinstance(returned, list) or len(as_tuple(returned)) != len(order):
        raise Wrong(f"backward returns {describe(returned)}: it should return {expected}.")


def shorten(message: str, order: tuple[str, ...], others: list[str]) -> str:
    """Say nothing of the gradients that the exercise did not ask for."""
    lines = message.splitlines()
    if others and lines[-1].endswith(" right."):
        lines.pop()
    return "\n".join(lines)


def refuse_dots(*returned) -> None:
    """Raise if something that should be an array is still three dots."""
    for value in returned:
        if any(part is ... for part in (value if isinstance(value, tuple | list) else (value,))):
            raise NotWritten


# What forward should give, in terms of tinyunet's own operations. Where tinyunet has no such
# operation by itself (a bias is part of a convolution), NumPy has it.


def relu(x):
    """Set what is negative to zero."""
    return functional.relu(x)


def add_bias(x, bias):
    """Add a bias, as a convolution with the kernel [[1]] does."""
    return x + bias, None


def linear(x, weight):
    """Multiply two matrices."""
    return x @ weight, None


def cross_entropy(logits, labels):
    """Compare scores with the true classes."""
    return functional.softmax_cross_entropy(logits, labels)


def conv2d(x, weight, bias):
    """Convolve with stride 1 and no padding."""
    return functional.conv2d(x, weight, bias)


def conv_transpose2d(x, weight, bias):
    """Double the size by stamps of 2 x 2."""
    return functional.conv_transpose2d(x, weight, bias)


def max_pool2d(x):
    """Keep the largest of each 2 x 2."""
    return functional.max_pool2d(x)


def concat(skip, x):
    """Join channels."""
    return functional.concat(skip, x)


def batch_norm2d(x, gamma, beta):
    """Normalize each channel."""
    return functional.batch_norm2d(x, gamma, beta)


def check_relu(module: ModuleType) -> None:
    """Check exercise 1."""
    for shape in ((3, 4), (2, 3, 5, 2)):
        check_operation(module.relu, relu, (distinct(0, *shape),), ("dx",))


def check_bias(module: ModuleType) -> None:
    """Check exercise 2."""
    for shape in ((2, 3, 4, 2), (1, 5, 2, 3)):
        arguments = random(0, *shape), random(1, shape[3])
        check_operation(module.add_bias, add_bias, arguments, ("dx", "dbias"))


def check_linear(module: ModuleType) -> None:
    """Check exercise 3."""
    for rows, channels, filters in ((3, 2, 4), (5, 3, 3)):
        arguments = random(0, rows, channels), random(1, channels, filters)
        check_operation(module.linear, linear, arguments, ("dx", "dweight"))


def check_cross_entropy(module: ModuleType) -> None:
    """Check exercise 4."""
    for shape in ((2, 3, 5, 3), (1, 4, 3, 4)):
        labels = np.random.default_rng(1).integers(0, shape[3], shape[:3])
        check_operation(
            module.softmax_cross_entropy,
            cross_entropy,
            (random(0, *shape), labels),
            ("dlogits",),
        )


def check_im2col(module: ModuleType) -> None:
    """Check exercise 5."""
    for shape, kernel_size in (((2, 4, 5, 2), (2, 3)), ((1, 5, 4, 1), (3, 2))):
        check_operation(
            lambda x: module.im2col(x, kernel_size),  # noqa: B023 (called in this very round)
            lambda x: functional.im2col(x, kernel_size),  # noqa: B023
            (random(0, *shape),),
            ("dx",),
        )


def convolution_arguments(seed: int) -> tuple:
    """Draw images, a kernel and a bias."""
    shapes = ((2, 4, 5, 2), (2, 3, 2, 3), (3,)), ((1, 5, 4, 3), (3, 3, 3, 2), (2,))
    return tuple(random([seed, k], *shape) for k, shape in enumerate(shapes[seed]))


def check_convolution_weights(module: ModuleType) -> None:
    """Check exercise 6."""
    for seed in (0, 1):
        arguments = convolution_arguments(seed)
        check_operation(module.conv2d, conv2d, arguments, ("dweight", "dbias"))


def check_convolution_image(module: ModuleType) -> None:
    """Check exercise 7."""
    for seed in (0, 1):
        check_operation(module.conv2d, conv2d, convolution_arguments(seed), ("dx",))


def check_convolution(module: ModuleType) -> None:
    """Check exercise 8."""
    for stride, padding in ((1, 1), (2, 0), (2, 1)):
        options = {"stride": stride, "padding": padding}
        try:
            check_operation(
                lambda x, weight, bias: module.conv2d(x, weight, bias, **options),  # noqa: B023
                lambda x, weight, bias: functional.conv2d(x, weight, bias, **options),  # noqa: B023
                (random(0, 2, 5, 6, 2), random(1, 3, 3, 2, 3), random(2, 3)),
                ("dx", "dweight", "dbias"),
            )
        except Wrong as wrong:
            raise Wrong(f"With stride={stride} and padding={padding}:\n{wrong}") from None


def check_max_pooling(module: ModuleType) -> None:
    """Check exercise 9."""
    for shape in ((2, 4, 6, 2), (1, 2, 4, 3)):
        check_operation(module.max_pool2d, max_pool2d, (distinct(0, *shape),), ("dx",))


def check_upsampling(module: ModuleType) -> None:
    """Check exercise 10."""
    for scale, shape in ((2, (2, 3, 4, 2)), (3, (1, 2, 3, 2))):
        check_operation(
            lambda x: module.upsample_nearest2d(x, scale),  # noqa: B023
            lambda x: functional.upsample_nearest2d(x, scale),  # noqa: B023
            (random(0, *shape),),
            ("dx",),
        )


def check_transposed_convolution(module: ModuleType) -> None:
    """Check exercise 11."""
    for channels, filters in ((3, 2), (2, 4)):
        arguments = (
            random(0, 2, 3, 4, filters),
            random(1, 2, 2, channels, filters),
            random(2, channels),
        )
        check_operation(
            module.conv_transpose2d, conv_transpose2d, arguments, ("dx", "dweight", "dbias")
        )


def check_concatenation(module: ModuleType) -> None:
    """Check exercise 12."""
    for channels in ((2, 3), (2, 2)):
        arguments = tuple(random(k, 2, 3, 4, n) for k, n in enumerate(channels))
        check_operation(module.concat, concat, arguments, ("dskip", "dx"))


def check_batch_normalization(module: ModuleType) -> None:
    """Check exercise 13."""
    for shape in ((2, 3, 4, 3), (1, 4, 5, 2)):
        arguments = 2 * random(0, *shape) + 1, random(1, shape[3]), random(2, shape[3])
        try:
            check_operation(module.batch_norm2d, batch_norm2d, arguments, ("dx", "dgamma", "dbeta"))
        except Wrong as wrong:
            by_channel = "each channel of dx has a factor" in " ".join(str(wrong).split())
            question = "\nIs it divided by the deviation, once?" if by_channel else ""
            raise Wrong(f"{wrong}{question}") from None


# -- Wiring ----------------------------------------------------------------------------------------


def matrix_step(name: str, weight: np.ndarray, called: list[str]) -> Callable:
    """Make an operation that multiplies each pixel by a matrix, and notes each way back."""

    def operation(x):
        y = x @ weight
        return y, noting(name, y, called, lambda dy: dy @ weight.T)

    return operation


def noting(name: str, y: np.ndarray, called: list[str], backward: Callable) -> Callable:
    """Wrap a backward: it notes that it was called, and refuses a gradient of another shape."""

    def noted(dy):
        if np.shape(dy) != y.shape:
            raise Wrong(
                f"the backward of {name} is given {describe(dy)}, but {name} had given an array of "
                f"shape {y.shape}. It wants the gradient of its own result, which has that shape."
            )
        called.append(name)
        return backward(dy)

    return noted


def check_wiring(run: Callable, names: list[str], x: np.ndarray, ways: dict) -> None:
    """Check a wiring: each backward is called once, and every way back is there.

    Parameters
    ----------
    run : function
        ``run(x, called, cut)`` gives (y, backward): the student's wiring of operations that note
        in `called` when they are walked back, and among which `cut` passes no change on.
    names : list of str
        All operations.
    x : array
    ways : dict of str to str
        What to cut, and what to say if the gradient is just the one that is left then.

    Raises
    ------
    Wrong, NotWritten
    """
    called: list[str] = []
    y, backward = run(x, called, None)
    dy = random(9, *y.shape)
    dx = backward(dy)
    refuse_dots(dx)
    if not isinstance(dx, np.ndarray) or dx.shape != x.shape:
        raise Wrong(
            f"backward returns {describe(dx)}: it should return dx, an array of the shape of x, "
            f"{x.shape}."
        )
    measured = numerical_gradient(lambda x: run(x, [], None)[0], x, dy)
    if np.allclose(dx, measured, atol=1e-6):
        twice = [name for name in names if called.count(name) > 1]
        if twice:
            raise Wrong(f"the backward of {twice[0]} is called twice: keep what it gave.")
        return
    for cut, says in ways.items():
        if np.allclose(dx, numerical_gradient(lambda x, c=cut: run(x, [], c)[0], x, dy), atol=1e-6):
            raise Wrong(f"dx is wrong: {says}")
    missing = [name for name in names if name not in called]
    twice = [name for name in names if called.count(name) > 1]
    if missing:
        raise Wrong(f"dx is wrong: the backward of {' and of '.join(missing)} is never called.")
    if twice:
        raise Wrong(
            f"dx is wrong: the backward of {twice[0]} is called {called.count(twice[0])} times."
        )
    ratio = float((dx * measured).sum() / (measured * measured).sum())
    if np.allclose(dx, ratio * measured, atol=1e-6):
        raise Wrong(f"dx is wrong: everywhere it is {ratio:.4g} times what it should be.")
    raise Wrong(
        "dx is wrong, though every backward is called once. Follow each array in the picture "
        "backwards: does each backward get the gradient of what that operation gave, and are "
        "gradients added where an arrow forked off?"
    )


def check_fork(module: ModuleType) -> None:
    """Check exercise 14."""
    x = random(0, 2, 3, 4)

    def run(moved, called, cut):
        left, right = (
            matrix_step(name, random(k, 4, 4), called) for k, name in ((1, "left"), (2, "right"))
        )
        if cut == "left then right":
            return right(left(moved)[0])
        if cut == "right then left":
            return left(right(moved)[0])
        if cut == "left":
            left = constant(left, x)
        if cut == "right":
            right = constant(right, x)
        return module.fork(moved, left, right)

    two = "Two gradients arrive at the fork, and are added."
    side_by_side = (
        "one backward is given what the other one returns. Left and right stand side by side: each "
        "of them gets dy."
    )
    ways = {
        "right": f"only what comes back through left is there. {two}",
        "left": f"only what comes back through right is there. {two}",
        "left then right": side_by_side,
        "right then left": side_by_side,
    }
    check_wiring(run, ["left", "right"], x, ways)


def constant(operation: Callable, *inputs: np.ndarray) -> Callable:
    """Make an operation that gives always what it gave for these inputs: no change passes."""
    y, backward = operation(*inputs)
    return lambda *_: (y, backward)


UNET_STEPS = [
    *("encoder0", "pool0", "encoder1", "pool1", "bottleneck"),
    *("up1", "concat1", "decoder1", "up0", "concat0", "decoder0", "head"),
]


def check_unet(module: ModuleType) -> None:
    """Check exercise 16."""
    x = random(0, 1, 4, 8, 2)
    usual: dict[str, tuple] = {}  # what each step was given, with this x

    def run(x, called, cut):
        steps = unet_steps(called)

        def remembering(name):
            def step(*inputs):
                usual.setdefault(name, inputs)
                return steps[name](*inputs)

            return step

        def with_a_cut(name):
            where, what = cut
            if name != where:
                return steps[name]
            if what == "swap":  # concatenated the other way round
                return lambda skip, y: steps[name](y, skip)
            frozen = usual[name]

            def step(*inputs):
                kept = [
                    old if what in ("all", k) else new
                    for k, (old, new) in enumerate(zip(frozen, inputs, strict=True))
                ]
                return steps[name](*kept)

            return step

        choose = remembering if cut is None else with_a_cut
        return module.unet(x, {name: choose(name) for name in steps})

    ways = {}
    for level in (0, 1):
        ways[f"concat{level}", 0] = (
            f"nothing comes back through skip{level}. The first gradient that the backward of "
            f"concat{level} returns belongs to it, and is added where skip{level} forked off."
        )
        ways[f"concat{level}", "swap"] = (
            f"the two gradients that the backward of concat{level} returns are exchanged: first "
            "that of the skip, then that of what came from below."
        )
        ways[f"pool{level}", "all"] = (
            f"nothing comes back through pool{level}: the way below it is lost where skip{level} "
            "forked off. There the two gradients must be added."
        )
    check_wiring(run, UNET_STEPS, x, ways)


def unet_steps(called: list[str]) -> dict[str, Callable]:
    """Make the steps of a U of linear operations, in which every way back can be told apart."""
    channels = {"encoder0": (2, 3), "encoder1": (3, 3), "bottleneck": (3, 3), "decoder1": (6, 3)}
    channels |= {"decoder0": (6, 3), "head": (3, 2)}
    steps = {
        name: matrix_step(name, random(k + 10, *shape), called)
        for k, (name, shape) in enumerate(channels.items())
    }

    def wrapped(name, operation):
        def step(*inputs):
            y, backward = operation(*inputs)
            return y, noting(name, y, called, backward)

        return step

    def mean_pool(x):
        images, height, width, c = x.shape
        mean = x.reshape(images, height // 2, 2, width // 2, 2, c).mean(axis=(2, 4))
        return mean, lambda dy: dy.repeat(2, axis=1).repeat(2, axis=2) / 4

    for level in (0, 1):
        steps[f"pool{level}"] = wrapped(f"pool{level}", mean_pool)
        steps[f"up{level}"] = wrapped(f"up{level}", functional.upsample_nearest2d)
        steps[f"concat{level}"] = wrapped(f"concat{level}", functional.concat)
    return {name: steps[name] for name in UNET_STEPS}


# -- Optimizers ------------------------------------------------------------------------------------


def compare(what: str, mine, right: np.ndarray, others: list[tuple[np.ndarray, str]]) -> None:
    """Compare one array with what it should be, and with what well-known mistakes give."""
    refuse_dots(mine)
    if not isinstance(mine, np.ndarray) or mine.shape != right.shape:
        raise Wrong(f"{what} is {describe(mine)}: it should be an array of shape {right.shape}.")
    if not np.isfinite(mine).all():
        raise Wrong(f"{what} has entries that are NaN or infinite: is something divided by 0?")
    if np.allclose(mine, right, rtol=1e-9, atol=1e-12):
        return
    for wrong, says in others:
        if np.allclose(mine, wrong, rtol=1e-9, atol=1e-12):
            raise Wrong(f"{what} is wrong: {says}")
    raise Wrong(
        f"{what} is wrong. Its first number is {mine.flat[0]:.6g}, and should be "
        f"{right.flat[0]:.6g}. Compare your line with the formula, symbol by symbol."
    )


def call(function: Callable, count: int, names: list[str], *arrays, **settings) -> tuple:
    """Call an optimizer's function; see that it returns as many arrays and overwrites none."""
    before = [np.array(array) for array in arrays]
    returned = function(*arrays, **settings)
    refuse_dots(returned)
    for name, old, new in zip(names, before, arrays, strict=False):
        if not np.array_equal(old, new):
            raise Wrong(
                f"{function.__name__} overwrites {name}, which it was given: make a new array."
            )
    if not isinstance(returned, tuple) or len(returned) != count:
        raise Wrong(
            f"{function.__name__} returns {describe(returned)}, not a tuple of {count} arrays."
        )
    return returned


def check_sgd(sgd: Callable) -> None:
    """Check the first half of exercise 15: two steps, line by line."""
    value, g1, g2 = random(0, 2, 3), random(1, 2, 3), random(2, 2, 3)
    velocity, lr, momentum = np.zeros((2, 3)), 0.1, 0.75
    names = ["value", "g", "velocity"]
    value1, velocity1 = call(sgd, 2, names, value, g1, velocity, lr=lr, momentum=momentum)
    compare(
        "after the first step the velocity",
        velocity1,
        g1,
        [
            ((1 - momentum) * g1, "g is multiplied by 1 - momentum. Here the whole g is added."),
            (-lr * g1, "lr and the minus belong to the value, not to the velocity."),
            (lr * g1, "lr belongs to the value, not to the velocity."),
            (momentum * g1, "momentum multiplies g too. It belongs to the old velocity alone."),
            (-g1, "g is subtracted. The minus comes with the value."),
            (0 * g1, "g does not reach it."),
            (value1, "the two results are exchanged: return the value first."),
        ],
    )
    value2, velocity2 = call(sgd, 2, names, value1, g2, velocity1, lr=lr, momentum=momentum)
    compare(
        "after the second step the velocity",
        velocity2,
        momentum * g1 + g2,
        [
            (g2, "the old velocity is forgotten."),
            (g1 + g2, "the old velocity is kept whole, not times momentum."),
            (
                momentum * (g1 + g2),
                "momentum multiplies g too. It belongs to the old velocity alone.",
            ),
            (g1 + momentum * g2, "momentum multiplies g in place of the old velocity."),
        ],
    )
    uphill = "it goes uphill. The gradient points to where the loss grows: subtract."
    compare(
        "after the second step the value",
        value2,
        value1 - lr * velocity2,
        [
            (value1 + lr * velocity2, uphill),
            (value1 - velocity2, "lr is missing."),
            (value1 - lr * g2, "it moves by g, not by the velocity."),
            (value1 - lr * velocity1, "it moves by the old velocity, not by the new one."),
            (value1, "it does not move."),
        ],
    )
    compare(
        "after the first step the value",
        value1,
        value - lr * velocity1,
        [(value + lr * velocity1, uphill)],
    )


def check_adam(adam: Callable) -> None:
    """Check the second half of exercise 15: two steps, line by line."""
    value, g1, g2 = random(0, 2, 3), random(1, 2, 3), random(2, 2, 3)
    lr, b1, b2, epsilon = 0.1, 0.75, 0.96, 0.01
    settings = {"lr": lr, "beta1": b1, "beta2": b2, "epsilon": epsilon}
    names = ["value", "g", "mean", "mean_square"]
    zeros = np.zeros((2, 3))
    value1, mean1, square1 = call(adam, 3, names, value, g1, zeros, zeros, 1, **settings)
    compare(
        "after the first step the mean",
        mean1,
        (1 - b1) * g1,
        [
            (
                g1,
                "1 - beta1 is missing, or it is the corrected m that is returned. Return the mean.",
            ),
            (b1 * g1, "beta1 and 1 - beta1 are exchanged."),
            ((1 - b2) * g1, "it uses beta2. That belongs to the mean of the squares."),
            (0 * g1, "g does not reach it."),
        ],
    )
    compare(
        "after the first step the mean of the squares",
        square1,
        (1 - b2) * g1**2,
        [
            (
                g1**2,
                "1 - beta2 is missing, or it is the corrected s that is returned. Return the mean.",
            ),
            ((1 - b2) * g1, "g is not squared."),
            ((1 - b1) * g1**2, "it uses beta1. That belongs to the mean of the gradients."),
            (((1 - b2) * g1) ** 2, "1 - beta2 is squared too. Only g is."),
            (b2 * g1**2, "beta2 and 1 - beta2 are exchanged."),
        ],
    )
    value2, mean2, square2 = call(adam, 3, names, value1, g2, mean1, square1, 2, **settings)
    compare(
        "after the second step the mean",
        mean2,
        b1 * mean1 + (1 - b1) * g2,
        [
            ((1 - b1) * g2, "the old mean is forgotten."),
            (mean1 + (1 - b1) * g2, "beta1 is missing."),
        ],
    )
    compare(
        "after the second step the mean of the squares",
        square2,
        b2 * square1 + (1 - b2) * g2**2,
        [
            ((1 - b2) * g2**2, "the old mean is forgotten."),
            (square1 + (1 - b2) * g2**2, "beta2 is missing."),
        ],
    )
    m, s = mean2 / (1 - b1**2), square2 / (1 - b2**2)
    compare(
        "after the second step the value",
        value2,
        value1 - lr * m / (np.sqrt(s) + epsilon),
        [
            (value1 + lr * m / (np.sqrt(s) + epsilon), "it goes uphill: subtract."),
            (
                value1 - lr * mean2 / (np.sqrt(square2) + epsilon),
                "the corrections m and s are not used.",
            ),
            (value1 - lr * mean2 / (np.sqrt(s) + epsilon), "mean stands where m belongs."),
            (value1 - lr * m / (np.sqrt(square2) + epsilon), "mean_square stands where s belongs."),
            (value1 - lr * m / (s + epsilon), "the square root is missing."),
            (value1 - lr * m / np.sqrt(s + epsilon), "epsilon belongs outside of the square root."),
            (value1 - lr * m / np.sqrt(s), "epsilon is missing."),
            (value1 - m / (np.sqrt(s) + epsilon), "lr is missing."),
            (value1 - lr * g2 / (np.sqrt(s) + epsilon), "g stands where m belongs."),
            (
                value1 - lr * mean2 / (1 - b1) / (np.sqrt(square2 / (1 - b2)) + epsilon),
                "the corrections need the power t of beta1 and beta2.",
            ),
            (value1, "it does not move."),
        ],
    )
    # In the first step the corrected m is g itself, and the root of s is its size.
    right = value - lr * g1 / (abs(g1) + epsilon)
    compare("after the first step the value", value1, right, [])


def check_optimizers(module: ModuleType) -> None:
    """Check exercise 15."""
    for name, check in (("sgd", check_sgd), ("adam", check_adam)):
        try:
            check(getattr(module, name))
        except Wrong as wrong:
            raise Wrong(f"{name}: {wrong}") from None
