r"""Which mistake is it? From a wrong gradient to a sentence that names what is wrong with it.

**The plain things first**, in the order in which they mislead: did a pair ``(y, backward)`` come
back, and one gradient for each argument, of its shape and dtype? Was an argument overwritten? Is it
the same the second time? `call_forward` and `call_backward` see to these.

**Then the numbers.** For small arrays the whole *Jacobian* can be measured: row j, column i says
how much ``y[j]`` changes when ``x[i]`` is moved. Backward has one as well: ``backward(dy)`` with a
single 1 in ``dy`` gives a row of it. Each mistake leaves its mark on how the two differ: a factor
is a factor everywhere, a forgotten ``+=`` leaves zeros, a kernel that was not flipped gives the
very gradient that the flipped kernel would have. So each kind of mistake is a *hypothesis*, a small
function that compares the two and gives a sentence if they differ in just that way, to rounding, at
every entry. Where none does, the message says so and shows both arrays: a wrong name is worse than
none.
"""

# ruff: noqa: D401  (the first line of a hypothesis tells the mistake)

import inspect
import itertools
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinyunet.backend import to_device, to_host, xp


class GradientError(AssertionError):
    """A backward does not give the gradient of its forward; the message says where and how.

    Attributes
    ----------
    kinds : dict of str to str or None
        For each gradient that is wrong, by its name, the kind of its mistake; None where no
        hypothesis explains it.
    """

    def __init__(self, message, kinds=None):
        super().__init__(message)
        self.kinds = kinds or {}


# -- Calling a function as a careful user would ----------------------------------------------------


def floating_arguments(arguments, names):
    """List the places of the arguments whose gradients are checked: all floating arrays."""
    checked = [index for index, argument in enumerate(arguments) if is_floating(argument)]
    if not checked:
        raise TypeError("none of the arguments is a floating array: there is no gradient to check")
    for index in checked:
        if arguments[index].dtype != "float64":
            raise TypeError(
                f"{names[index]} is {arguments[index].dtype}, too coarse to tell a small mistake "
                f'from rounding: check in float64, {names[index]}.astype("float64")'
            )
    return checked


def call_forward(function, arguments, names):
    """Call a function twice, on copies of its arguments; returns ``(y, backward)`` if all is well.

    Raises
    ------
    GradientError
        If it does not return a pair (y, backward), overwrites an argument, gives float32 for
        float64 or numbers that are not finite, or gives something else the second time.
    """
    results = []
    for _call in range(2):
        given = [a.copy() if isinstance(a, xp.ndarray) else a for a in arguments]
        result = function(*given)
        if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
            raise GradientError(
                f"forward returns {describe(result)}, not the pair (y, backward): end it with "
                "`return y, backward`"
            )
        for name, before, after in zip(names, arguments, given, strict=True):
            refuse_overwriting("forward", name, before, after)
        results.append(result)
    (y, backward), (again, _) = results
    y = xp.asarray(y)
    precisions = {a.dtype for a in arguments if is_floating(a)}
    if y.dtype not in precisions:
        raise GradientError(
            f"forward returns {y.dtype} for arguments of {precisions.pop()}: an operation keeps "
            "the dtype that it is given (is one of its own arrays made with another dtype?)"
        )
    if not bool(xp.isfinite(y).all()):
        raise GradientError("forward's result has entries that are NaN or infinite")
    if not bool((y == xp.asarray(again)).all()):
        raise GradientError(
            "forward gives another result when called again with the same arguments: there is no "
            "slope to measure (if it draws random numbers, draw them from the same seed each time)"
        )
    return y, backward


def call_backward(backward, y, dy, arguments, checked, names):
    """Call a backward twice, watching what it returns and touches; returns the gradients.

    Raises
    ------
    GradientError
        If it returns something else than one gradient for each argument, with its shape and dtype,
        if the second call differs from the first, or if it overwrites what it was given.
    """
    dy_given, y_before = dy.copy(), y.copy()
    before = [arguments[index].copy() for index in checked]
    returned = backward(dy_given)
    refuse_overwriting("backward", "dy", dy, dy_given)
    refuse_overwriting("backward", "y, the result of forward,", y_before, y)
    for index, copied in zip(checked, before, strict=True):
        refuse_overwriting("backward", names[index], copied, arguments[index])
    gradients = as_tuple(returned)
    check_returned(gradients, returned, arguments, checked, names)
    gradients = tuple(gradient.copy() for gradient in gradients)
    again = as_tuple(backward(dy.copy()))
    for index, first, second in zip(checked, gradients, again, strict=True):
        if not bool((first == second).all()):
            raise GradientError(
                f"a second call of backward gives another {gradient_name(names[index])}: it must "
                "not change what it uses (does it draw random numbers, or overwrite an array?)"
            )
    return gradients


def check_returned(gradients, returned, arguments, checked, names):
    """See that backward returned one gradient for each argument, of its shape and dtype."""
    expected = [gradient_name(names[index]) for index in checked]
    order = expected[0] if len(expected) == 1 else f"({', '.join(expected)})"
    if returned is None:
        raise GradientError(f"backward returns nothing: end it with `return {order}`")
    if isinstance(returned, list):
        raise GradientError(f"backward returns a list, not a tuple: end it with `return {order}`")
    if len(gradients) != len(checked):
        raise GradientError(
            f"backward returns {count(len(gradients), 'gradient')} for "
            f"{count(len(checked), 'argument')}: it should return {order}"
        )
    shapes = [arguments[index].shape for index in checked]
    for index, gradient, name, shape in zip(checked, gradients, expected, shapes, strict=True):
        if gradient is None:
            raise GradientError(f"{name} is None: backward never computes it")
        if not isinstance(gradient, xp.ndarray | xp.generic):
            raise GradientError(f"{name} is {describe(gradient)}, not an array of shape {shape}")
        if gradient.shape != shape:
            given = [getattr(other, "shape", None) for other in gradients]
            swapped = given != shapes and sorted(map(str, given)) == sorted(map(str, shapes))
            raise GradientError(
                f"{name} has shape {gradient.shape}, but {names[index]} has {shape}: "
                + (
                    f"return the gradients in the order {order}"
                    if swapped
                    else why(gradient, shape)
                )
            )
        if gradient.dtype == bool:
            raise GradientError(f"{name} holds True and False, no numbers: multiply dy by them")
        if gradient.dtype != arguments[index].dtype:
            raise GradientError(
                f"{name} is {gradient.dtype}, but {names[index]} is {arguments[index].dtype}: an "
                "array made in backward needs that dtype too (np.zeros_like keeps it)"
            )
        if not bool(xp.isfinite(gradient).all()):
            raise GradientError(f"{name} has entries that are NaN or infinite")


def why(gradient, shape):
    """Say how a gradient could come to a wrong shape."""
    if gradient.size == int(np.prod(shape)) and sorted(gradient.shape) == sorted(shape):
        return "its axes are in another order"
    if gradient.size == int(np.prod(shape)):
        return "the same number of entries, so a reshape is missing, or a keepdims=True too much"
    if gradient.shape[gradient.ndim - len(shape) :] == shape:
        return "sum over the axes before these, too"
    return "a gradient always has the shape of its namesake"


def refuse_overwriting(who, name, before, after):
    """Raise if an array is no longer what it was."""
    if not isinstance(before, xp.ndarray) or before.dtype.kind not in "fiub":
        return
    changed = to_host((before != after) & ((before == before) | (after == after)))
    if changed.any():
        where = tuple(int(i) for i in np.argwhere(changed)[0])
        raise GradientError(
            f"{who} overwrites {name} (at {int(changed.sum())} of {changed.size} entries, first at "
            f"{where}). Others still need that array: make a new one, or work on a copy"
        )


def argument_names(function, wanted):
    """Name a function's first arguments as it does itself; `argument 2` where it does not."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions written in C have no signature
        parameters = ()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return named[:wanted] + [f"argument {index}" for index in range(len(named), wanted)]


def gradient_name(name):
    """Name the gradient of an argument: ``dx`` for ``x`` (``dy`` means the upstream alone)."""
    return f"d{name}" if name.isidentifier() and name != "y" else f"the gradient of {name}"


def describe(value):
    """Say what a value is: "None", "a tuple of 3", "an array of shape (2, 3)"."""
    if value is None:
        return "None"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, xp.ndarray):
        return f"an array of shape {value.shape}"
    return f"a {type(value).__name__}"


def count(number, noun):
    """Write a number with its noun: "1 gradient", "2 gradients"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def as_tuple(value):
    """Read one gradient alone as a tuple of one."""
    return value if isinstance(value, tuple) else (value,)


def is_floating(argument):
    """Whether an argument is an array of floating-point numbers."""
    return isinstance(argument, xp.ndarray) and argument.dtype.kind == "f"


# -- Measuring -------------------------------------------------------------------------------------

LARGEST_ARGUMENT, LARGEST_JACOBIAN = 1500, 1_000_000
TOLERANCE = 1e-6  # beside the largest number; what is measured is good to about 1e-9


@dataclass
class Evidence:
    """What backward claims of one argument's gradient, and what was measured.

    Attributes
    ----------
    name : str
        Of the argument, such as ``"x"``.
    x, y, dy : arrays
        The argument, the result, and the upstream gradient.
    claimed, measured : arrays of the argument's shape
        Its gradient.
    claims, truth : arrays (y.size, x.size)
        Its Jacobian: how much each entry of y changes with each entry of x.
    others : dict of str to array
        The other arguments, by their names.
    claimed_gradients, measured_gradients : dict of str to array
        Those of all arguments.
    call : function
        Calls backward; gives this argument's gradient.
    fits : function
        ``fits(name, array)``: is what is claimed the gradient that one measures with another
        argument replaced by this array?
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    dy: np.ndarray
    claimed: np.ndarray
    measured: np.ndarray
    claims: np.ndarray
    truth: np.ndarray
    others: dict
    claimed_gradients: dict
    measured_gradients: dict
    call: Callable
    fits: Callable

    def __post_init__(self):
        self.gradient = gradient_name(self.name)
        self.axes = axis_names(self.name, self.x.shape)
        self.wrong = ~close(self.claimed, self.measured)
        size = 1e-7 * max(abs(self.truth).max(), abs(self.claims).max())
        self.flows, self.should_flow = abs(self.claims) > size, abs(self.truth) > size
        self.differs = ~close(self.claims, self.truth)


def explain(function, arguments, checked, names, dy):
    """Say in at most six lines which of a function's gradients are wrong, and how.

    Parameters
    ----------
    function, arguments, checked, names
        As in `tinyunet.nn.gradcheck.check_gradients`.
    dy : array of the result's shape

    Returns
    -------
    message : str or None
        None where the arrays are too large to be measured whole, or nothing is found wrong.
    kinds : dict of str to str or None
    """
    size = sum(arguments[index].size for index in checked)
    if size > LARGEST_ARGUMENT or size * dy.size > LARGEST_JACOBIAN:
        return explain_smaller(function, arguments, checked, names)
    y, backward = function(*arguments)
    upstream, found = to_host(dy), [names[index] for index in checked]

    def call(dy):
        return [to_host(gradient).copy() for gradient in as_tuple(backward(to_device(dy)))]

    claimed, truths = call(upstream), [jacobian(function, arguments, k) for k in checked]
    measured = [
        (upstream.ravel() @ t).reshape(c.shape) for t, c in zip(truths, claimed, strict=True)
    ]
    # An argument that hardly matters beside the others is right if it is as small as they see it.
    noise = 1e-9 * max(abs(gradient).max(initial=0) for gradient in measured)
    wrong = [
        k
        for k, (mine, true) in enumerate(zip(claimed, measured, strict=True))
        if not same(mine, true) and not abs(mine - true).max(initial=0) <= noise
    ]
    if not wrong:
        return None, {}
    single = np.eye(upstream.size).reshape(-1, *upstream.shape)  # each dy has one 1
    rows = [call(one) for one in single]
    values = {name: to_host(a) for name, a in zip(names, arguments, strict=True) if is_floating(a)}
    evidence = [
        Evidence(
            name=found[k],
            x=values[found[k]],
            y=to_host(xp.asarray(y)),
            dy=upstream,
            claimed=claimed[k],
            measured=measured[k],
            claims=np.stack([row[k].ravel() for row in rows]),
            truth=truths[k],
            others={name: value for name, value in values.items() if name != found[k]},
            claimed_gradients=dict(zip(found, claimed, strict=True)),
            measured_gradients=dict(zip(found, measured, strict=True)),
            call=lambda dy, k=k: call(dy)[k],
            fits=counterfactual(function, arguments, names, checked[k], upstream, claimed[k]),
        )
        for k in wrong
    ]
    return report(evidence, [gradient_name(found[k]) for k in range(len(found)) if k not in wrong])


def explain_smaller(function, arguments, checked, names):
    """Explain what is wrong on images cut to a few pixels, if the function takes them."""
    shape = next((a.shape[:3] for a in arguments if is_floating(a) and a.ndim == 4), None)
    cut = [
        a[:2, :6, :8].copy() if shape and isinstance(a, xp.ndarray) and a.shape[:3] == shape else a
        for a in arguments
    ]
    if all(a.shape == b.shape for a, b in zip(cut, arguments, strict=True) if is_floating(a)):
        return None, {}
    try:
        y, _ = function(*cut)
    except Exception:  # it needs its arguments as large as they were: there is no smaller example
        return None, {}
    return explain(function, cut, checked, names, to_device(another(np.shape(y), seed=2)))


def jacobian(function, arguments, index):
    """Measure how y changes with each entry of one argument: (y.size, argument.size)."""
    argument = to_host(arguments[index])
    h = 1e-5 * max(1.0, abs(argument).max(initial=0))
    columns = []
    for place in range(argument.size):
        step = np.zeros(argument.size)
        step[place] = h
        columns.append(rise(function, arguments, index, step.reshape(argument.shape)) / (2 * h))
    return np.stack(columns, axis=1)


def rise(function, arguments, index, step):
    """Measure how much y grows as one argument goes from - step to + step: flat, on the host."""
    ends = []
    for moved in (arguments[index] + to_device(step), arguments[index] - to_device(step)):
        y, _ = function(*arguments[:index], moved, *arguments[index + 1 :])
        ends.append(to_host(xp.asarray(y)).ravel())
    return ends[0] - ends[1]


def counterfactual(function, arguments, names, index, dy, claimed):
    """Make `Evidence.fits`: would a claim be right with another argument replaced by an array."""

    def fits(name, array):
        changed = list(arguments)
        if array.shape != changed[names.index(name)].shape:
            return False
        changed[names.index(name)] = to_device(np.ascontiguousarray(array))
        # Along one direction first: that takes two calls, the whole gradient hundreds.
        terms = another(claimed.shape) * claimed
        measured = rise(function, changed, index, 1e-6 * another(claimed.shape)) @ dy.ravel() / 2e-6
        if not abs(measured - terms.sum()) <= 1e-4 * (abs(measured) + abs(terms).max()):
            return False
        gradient = dy.ravel() @ jacobian(function, changed, index)
        return same(claimed, gradient.reshape(claimed.shape))

    return fits


def another(shape, seed=1):
    """Draw normal numbers in a shape, for a seed always the same."""
    return np.asarray(np.random.default_rng((seed, 2016)).standard_normal(shape))


# -- The message -----------------------------------------------------------------------------------


def report(evidence, right):
    """Write the message: each wrong gradient with its mistake, then those that are right."""
    kinds, sentences, lines = {}, {}, []
    for e in evidence:
        kinds[e.gradient], sentence = name_the_mistake(e)
        if sentence in sentences:
            lines.append(f"{e.gradient} is wrong in the same way as {sentences[sentence]}.")
        else:
            lines += textwrap.wrap(f"{e.gradient} is wrong{sentence}", 100)
        sentences.setdefault(sentence, e.gradient)
    if len(lines) > 5:
        lines[4:] = [f"More are wrong: {listed(kinds)}. Begin with the first."]
    if len(evidence) == 1:
        lines.append(worst_entry(e))
        if kinds[e.gradient] is None:
            lines += [f"  backward: {shown(e.claimed)}", f"  measured: {shown(e.measured)}"]
    if right and len(lines) < 6:
        lines.append(f"{listed(right)} {'is' if len(right) == 1 else 'are'} right.")
    return "\n".join(lines), kinds


def name_the_mistake(e):
    """Ask one hypothesis after the other; returns the first that fits, as (kind, sentence)."""
    for kind, sentence_for in HYPOTHESES:
        sentence = sentence_for(e)
        if sentence:
            return kind, sentence
    return None, ", in a way that none of the known mistakes explains."


def worst_entry(e):
    """Write the entry that is off most, both ways."""
    place = int(abs(e.claimed - e.measured).argmax())
    return (
        f"Off at {int(e.wrong.sum())} of {e.x.size} entries, most at "
        f"{entry(e.gradient, e.x, place)}: backward says {e.claimed.flat[place] + 0:.9g}, measured "
        f"is {e.measured.flat[place] + 0:.9g}."
    )


# -- Hypotheses, in the order in which they are asked ----------------------------------------------
# Each takes the evidence and returns a sentence that goes on after "dx is wrong", or nothing.

HYPOTHESES = []


def hypothesis(kind):
    """Enter a function into the list, under the kind of mistake that it names."""

    def enter(function):
        HYPOTHESES.append((kind, function))
        return function

    return enter


@hypothesis("zero")
def zero(e):
    """Nothing comes back."""
    if not e.claimed.any():
        return f": it is zero everywhere, though y depends on {e.name}."


@hypothesis("ignores dy")
def ignores_dy(e):
    """Dy plays no part."""
    if np.array_equal(e.call(another(e.dy.shape)), e.call(e.dy)):
        return (
            ": it is the same whatever dy is. Multiply by dy, the gradient that comes from above."
        )


@hypothesis("added")
def added(e):
    """Something is added that dy does not multiply."""
    if e.call(0 * e.dy).any():
        return ": it is not zero where dy is zero. Something is added that is not multiplied by dy."


@hypothesis("not linear")
def not_linear(e):
    """Dy plays the part that belongs to an argument or to y."""
    other = another(e.dy.shape)
    if close(e.call(e.dy) + e.call(other), e.call(e.dy + other)).all():
        return None
    for name, gradient in e.claimed_gradients.items():
        if name != e.name and e.fits(name, gradient):
            return f": {gradient_name(name)} stands where {name} belongs."
    return (
        ": it is not linear in dy (for the sum of two dy it should be the sum of two gradients). "
        "What it multiplies by, or chooses by, must come from forward and not from dy."
    )


@hypothesis("sign")
def sign(e):
    """A minus too many, or too few."""
    if same(e.claims, -e.truth):
        return ": it has the opposite sign."
    if same(e.claims, abs(e.truth)):
        return ": the minus signs are lost."


@hypothesis("mean for sum")
def mean_for_sum(e):
    """Each entry goes to several places: its gradients must be summed, and were averaged."""
    parts = e.should_flow.sum(axis=0)
    if parts.max() > 1 and same(e.claims * parts, e.truth):
        many = f"up to {parts.max()}" if parts.min() < parts.max() else f"{parts.max()}"
        return (
            f": it is a mean where the sum belongs. Each entry of {e.name} has a part in {many} "
            "entries of y, and what comes back from them must be added up, not averaged."
        )


@hypothesis("factor")
def factor(e):
    """A constant factor."""
    ratio = constant_ratio(e.claims, e.truth)
    if ratio:
        return f": everywhere it is {times(ratio, e)} what it should be."


@hypothesis("order")
def order(e):
    """The gradient of another argument of the same shape."""
    for name, gradient in e.measured_gradients.items():
        if name != e.name and same(e.claimed, gradient):
            return f": it is the gradient of {name}. Return them in the order of the arguments."


@hypothesis("region")
def region_with_a_reason(e):
    """A part is zero, or off by a factor, and the rest is right."""
    where = box(e.wrong, e.axes, (e.claimed != 0) | (e.measured != 0))
    if where:
        mine, true = e.claimed[e.wrong], e.measured[e.wrong]
        ratio = constant_ratio(mine, true) if mine.size > 2 else None
        if ratio or not mine.any():
            what = f"{times(ratio, e)} what it should be" if ratio else "zero"
            return f" in {where}, where it is {what}; elsewhere it is right."


@hypothesis("flipped")
def flipped(e):
    """The right numbers, in reverse along some axes."""
    found = [what for what, array in flips(e.measured, e.axes) if same(e.claimed, array)]
    if found:
        return f": it is {' or '.join(found[:2])}."


@hypothesis("transposed")
def transposed(e):
    """The right numbers, with two axes exchanged."""
    for what, array in transposes(e.measured, e.axes):
        if same(e.claimed, array):
            return f": it is {what}."


@hypothesis("reshaped")
def reshaped(e):
    """The right numbers, reshaped with the axes in another order."""
    for axes in itertools.permutations(range(min(e.x.ndim, 5))):
        turned = e.measured.transpose(axes) if e.x.ndim < 6 else e.measured
        if same(e.claimed.ravel(), turned.ravel()):
            return (
                ": its numbers are right, but laid out in another order, as a reshape does with an "
                "array whose axes come in another order. Transpose it first."
            )


@hypothesis("shifted")
def shifted(e):
    """The right numbers, some places further along an axis."""
    for axes in [(k,) for k in range(e.x.ndim)] + [(1, 2)] * (e.x.ndim > 2):
        for steps in itertools.product((1, -1, 2, -2), repeat=len(axes)):
            here, there = [slice(None)] * e.x.ndim, [slice(None)] * e.x.ndim
            for k, d in zip(axes, steps, strict=True):
                n = e.x.shape[k]
                here[k] = slice(max(d, 0), n + min(d, 0))
                there[k] = slice(max(-d, 0), n + min(-d, 0))
            mine, true = e.claimed[tuple(here)], e.measured[tuple(there)]
            if 4 * mine.size >= e.x.size and (true != 0).sum() > 3 and same(mine, true):
                moves = [
                    f"{d:+d} along its {plural(e.axes[k])} (axis {k})"
                    for k, d in zip(axes, steps, strict=True)
                ]
                return f": its numbers are right but shifted, {listed(moves)}."


@hypothesis("axes")
def axes_summed(e):
    """A sum or mean over other axes than it should be."""
    for kept in range(e.dy.ndim * (e.x.ndim == 1 < e.dy.ndim)):
        if same(e.claimed, e.dy.sum(axis=tuple(k for k in range(e.dy.ndim) if k != kept))):
            return f": it is dy summed over the wrong axes, all but axis {kept}."
    for over in subsets(range(e.x.ndim)):
        for what, reduce in (("sum", np.sum), ("mean", np.mean)):
            flat = np.broadcast_to(reduce(e.measured, axis=over, keepdims=True), e.x.shape)
            if same(e.claimed, flat) and not same(e.measured, flat):
                return f": it is the {what} over its {some_axes(e, over)}, but each has its own."


@hypothesis("raw")
def product_summed(e):
    """The sum of dy times something else than what belongs there."""
    candidates = {"dy": e.dy, "dy * y": e.dy * e.y}
    candidates |= {f"dy * {n}": e.dy * a for n, a in e.others.items() if a.shape == e.dy.shape}
    for what, product in candidates.items():
        total = product.sum(axis=tuple(range(e.dy.ndim - e.x.ndim)))
        if e.x.ndim < e.dy.ndim and same(e.claimed, total):
            return (
                f": it is the sum of {what}, but that is not what forward multiplied {e.name} by."
            )


@hypothesis("lost")
def lost(e):
    """Some of what each entry should sum up is missing; what is there is right."""
    missing = e.should_flow & ~e.flows
    if not missing.any() or (e.differs & ~missing).any():
        return None
    # Do some entries of dy count for nothing at all?
    silent = missing.any(axis=1)
    if not e.flows[silent].any():
        matters = e.should_flow.any(axis=1).reshape(e.y.shape)
        where = box(silent.reshape(e.y.shape), axis_names("y", e.y.shape), matters)
        if where:
            return (
                f": nothing comes back from dy in {where}; what comes from the rest is right. "
                "Does a loop end too early, or does = overwrite what += should add to?"
            )
    # Does each entry keep a single one of the pixels of dy that it should sum?
    channels = e.y.shape[-1] if e.y.ndim > 1 else 1
    due, kept = (
        m.reshape(-1, channels, e.x.size).any(axis=1).sum(axis=0) for m in (e.should_flow, e.flows)
    )
    if due.max() > 1 and (kept == np.minimum(due, 1)).all():
        return (
            f": of up to {due.max()} contributions that should be added up, each entry holds only "
            "one. Were they written with = where += belongs, or is only one of them read?"
        )
    elsewhere = ~np.eye(*e.flows.shape, dtype=bool)
    if (e.should_flow & elsewhere).any() and not (e.flows & elsewhere).any():
        return (
            f": each entry comes from the dy at its own place alone, but {e.name} there changes "
            "other entries of y as well. What comes back from those is missing."
        )
    j, i = np.argwhere(missing)[0]
    return (
        f": contributions are lost. {entry('y', e.y, j)} depends on {entry(e.name, e.x, i)}, but "
        f"{entry(e.gradient, e.x, i)} gets nothing from {entry('dy', e.y, j)}. The rest is right."
    )


@hypothesis("extra")
def extra(e):
    """Gradient flows where y does not depend on the argument; what belongs there is right."""
    surplus = e.flows & ~e.should_flow
    if surplus.any() and not (e.differs & ~surplus).any():
        j, i = np.argwhere(surplus)[0]
        as_it_is = ", dy as it is" if same(e.claimed, e.dy) else ""
        return (
            f": gradient flows where it should be zero{as_it_is}. {entry(e.gradient, e.x, i)} gets "
            f"something from {entry('dy', e.y, j)}, though {entry('y', e.y, j)} does not depend on "
            f"{entry(e.name, e.x, i)}. Is a mask missing, or too wide?"
        )


@hypothesis("shared")
def shared(e):
    """What belongs to one entry is dealt out to several in equal parts."""
    many, total = e.flows.sum(axis=1), e.claims.sum(axis=1)
    even = close(e.claims, e.flows * (total / np.maximum(many, 1))[:, None]).all()
    if even and (e.should_flow <= e.flows).all() and same(total, e.truth.sum(axis=1)):
        j = int(many.argmax())
        return (
            f": {entry('dy', e.y, j)} is shared among {many[j]} entries, but y depends there on "
            f"{int(e.should_flow[j].sum())} of them, which should get all of it."
        )


@hypothesis("stride")
def stride(e):
    """Each patch is put back, or read, the further off the further along: another stride."""
    # A convolution puts each dy back as a patch of dx; a transposed one reads each dx from a patch
    # of dy. The steps from one patch to the next are the stride.
    for what, turn, many, few in (("dy", np.array, e.x, e.y), (e.gradient, np.transpose, e.y, e.x)):
        if e.x.ndim == e.y.ndim == 4:
            mine, true = (patch_steps(turn(m), many.shape, few.shape) for m in (e.claims, e.truth))
            numbers = [np.sort(turn(m), axis=1) for m in (e.claims, e.truth)]
            if mine and true and mine[0] != true[0] and mine[1] == true[1] and same(*numbers):
                return (
                    f": from one entry of {what} to the next it moves by {mine[0]} pixels (down, "
                    f"right), where forward moved by {true[0]}. Is the stride forgotten?"
                )


@hypothesis("places")
def places(e):
    """Each dy arrives with the right weight, at another entry."""
    moved = (e.flows != e.should_flow).any(axis=1)
    if moved.any() and same(np.sort(e.claims, axis=1), np.sort(e.truth, axis=1)):
        j = int(moved.argmax())
        got = int((e.flows[j] & ~e.should_flow[j]).argmax())
        due = int((e.should_flow[j] & ~e.flows[j]).argmax())
        return (
            f": the right numbers go to wrong places. {entry('dy', e.y, j)} goes to "
            f"{entry(e.gradient, e.x, got)}, but {entry('y', e.y, j)} came from "
            f"{entry(e.name, e.x, due)}."
        )


@hypothesis("inverted")
def inverted(e):
    """A mask the wrong way round."""
    mine, true = e.flows.any(axis=0), e.should_flow.any(axis=0)
    if mine.any() and true.any() and (mine != true).all():
        return (
            ": it is zero where gradient should flow, and flows where it should be zero. Is a mask "
            "the wrong way round?"
        )


@hypothesis("times")
def times_once_more(e):
    """Multiplied by an array once too often or too seldom, or by one where another belongs."""
    known = {e.name: e.x, **e.others, "the result": e.y, "1 - the result": 1 - e.y}
    if e.x.ndim > 1:
        known[f"softmax({e.name})"] = softmax(e.x)
    # An array may weigh the places of x (the columns of the Jacobian) or those of y (its rows).
    for shape, turn in ((e.x.shape, (1, -1)), (e.y.shape, (-1, 1))):
        weighing = {
            name: np.broadcast_to(array, shape).reshape(turn)
            for name, array in known.items()
            if np.ptp(array) > 1e-3 and can_broadcast(array.shape, shape)
        }
        for name, weights in weighing.items():
            if same(e.claims, e.truth * weights):
                return f": it is multiplied by {name} once too often."
            if same(e.claims * weights, e.truth):
                return f": the factor {name} is missing."
        for one, other in itertools.permutations(weighing, 2):
            if same(e.claims * weighing[other], e.truth * weighing[one]):
                return f": it is multiplied by {one} where {other} belongs."


@hypothesis("weights")
def off_by_place(e):
    """Off by a factor that depends on the place along some axes alone."""
    if (e.flows != e.should_flow).any():
        return None
    ratio = np.divide(e.claims, e.truth, out=np.zeros(e.truth.shape), where=e.should_flow)
    for what, axis, array in ((e.gradient, 0, e.x), ("dy", 1, e.y)):
        factors = ratio.sum(axis=axis) / np.maximum(e.should_flow.sum(axis=axis), 1)
        if not same(e.claims, e.truth * np.expand_dims(factors, axis)):
            continue
        factors = np.ma.masked_equal(factors.reshape(array.shape), 0)  # where nothing flows
        spread = [factors.max(axis=k) - factors.min(axis=k) for k in range(array.ndim)]
        varies = [k for k, differences in enumerate(spread) if differences.max() > 1e-6]
        if varies and len(varies) < sum(n > 1 for n in array.shape):
            labels = axis_names(what, array.shape)
            values = [f"{v:.3g}" for v in dict.fromkeys(np.round(factors.compressed(), 6))][:4]
            known = deviations(e.x, factors) if what == e.gradient else ""
            return (
                f": it is off by a factor that depends on the {listed(labels[k] for k in varies)} "
                f"of {what} alone ({', '.join(values)}, ...){known}."
            )


def deviations(x, factors):
    """Say so if factors are the standard deviations of the channels, or one over them."""
    deviation = x.std(axis=tuple(range(x.ndim - 1)))
    for power, words in ((1, "the standard deviation"), (-1, "one over the standard deviation")):
        # To a thousandth: a normalization adds a small epsilon.
        if np.allclose(factors, deviation**power, rtol=1e-3, atol=0):
            return f", which is {words} of each channel"
    return ""


@hypothesis("mean not taken off")
def mean_left(e):
    """A mean that should be subtracted was not, or one was that should not be."""
    for axes in subsets(range(e.x.ndim)):
        mine, true = (g - g.mean(axis=axes, keepdims=True) for g in (e.claimed, e.measured))
        if same(mine, e.measured):
            return f": its mean over {some_axes(e, axes)} was not subtracted, or not rightly."
        if same(true, e.claimed):
            return f": its mean over {some_axes(e, axes)} was subtracted, and should not be."


@hypothesis("normalization")
def softmax_sum_left(e):
    """What is wrong is a multiple of the probabilities: the way through the sum of a softmax."""
    p = softmax(e.x) if e.x.ndim > 1 else np.zeros(1)
    if same(e.claimed - p * e.claimed.sum(axis=-1, keepdims=True), e.measured):
        return (
            f": in each pixel it is off by a multiple of softmax({e.name}). That is the path "
            "through the sum that softmax divides by: its term is missing, or wrong."
        )


@hypothesis("variance")
def variance_left(e):
    """What is wrong is a multiple of x - mean(x) in each channel: the way through the variance."""
    if e.x.ndim < 2 or e.x[..., 0].size < 6:
        return None
    x, off = (array.reshape(-1, e.x.shape[-1]) for array in (e.x, e.claimed - e.measured))
    x = x - x.mean(axis=0)
    rest = off - x * (x * off).sum(axis=0) / np.maximum((x * x).sum(axis=0), 1e-30)
    allowed = TOLERANCE * abs(e.measured).max()
    if abs(rest).max() < allowed:
        return (
            f": it is off by a multiple of {e.name} - mean({e.name}) in each channel. That is the "
            "path through the variance: its term is missing, or has a wrong sign or factor."
        )
    if abs(rest - rest.mean(axis=0)).max() < allowed:
        return (
            f": it is off by a constant plus a multiple of {e.name} in each channel. Those are the "
            f"paths through the mean and the variance, which move when {e.name} does: both are "
            "missing, or have a wrong sign or factor."
        )


@hypothesis("argument")
def argument_misused(e):
    """Exactly the gradient that there would be if another argument were turned around."""
    found = []
    for name, array in e.others.items():
        names = axis_names(name, array.shape)
        turned = [*flips(array, names), *transposes(array, names), ("replaced by the result", e.y)]
        turned += [(f"replaced by {n}", a) for n, a in e.others.items() if n != name]
        found += [(name, what) for what, other in turned if e.fits(name, other)]
    if found:
        or_so = " or ".join(f"{name} {what}" for name, what in found[:2])
        return (
            f": it is the gradient that would be right with {or_so}. So backward uses "
            f"{found[0][0]} the wrong way."
        )


@hypothesis("dy rearranged")
def upstream_misused(e):
    """Exactly the gradient that there would be if dy were turned around."""
    names = axis_names("y", e.dy.shape)
    for what, dy in [*flips(e.dy, names), *transposes(e.dy, names)]:
        if same(e.claimed.ravel(), dy.ravel() @ e.truth):
            return f": it is the gradient that would be right with dy {what}."


@hypothesis("chain")
def softmax_left_out(e):
    """The gradient of the probabilities, handed on as that of the scores."""
    p = softmax(e.x) if e.x.ndim > 1 else np.zeros(1)
    if same(p * (e.claimed - (e.claimed * p).sum(axis=-1, keepdims=True)), e.measured):
        return f": it is the gradient of softmax({e.name}). The softmax's own backward is missing."


@hypothesis("region")
def region(e):
    """A part is wrong, in a way that has no simpler name, and the rest is right."""
    if not (~e.wrong & (e.measured != 0)).any():
        return None
    where = box(e.wrong, e.axes, (e.claimed != 0) | (e.measured != 0))
    if e.x.ndim > 2:
        inside = np.zeros(e.x.shape, bool)
        inside[:, 1:-1, 1:-1] = True
        if inside.any() and not e.wrong[inside].any() and not where:
            return " along the border (the first or last row or column), and right inside."
        if e.wrong[inside].all() and not e.wrong[~inside].any():
            return " inside, and right along the border."
    if where:
        return f" in {where}; elsewhere it is right."
    many = e.wrong.sum(axis=-1)
    for number, words in ((1, "exactly one"), (e.x.shape[-1] - 1, "all but one")):
        if e.x.ndim > 1 and e.x.shape[-1] > 2 and (many == number).all():
            return f" at {words} {e.axes[-1]} of each pixel, and right elsewhere."


# -- Helpers ---------------------------------------------------------------------------------------


def close(a, b):
    """Where two arrays agree, beside their largest entry."""
    return abs(a - b) <= TOLERANCE * max(abs(a).max(initial=0), abs(b).max(initial=0))


def same(a, b):
    """Whether two arrays have one shape and agree at every entry, and are not zero."""
    return a.shape == b.shape and bool(close(a, b).all()) and bool(a.any() or b.any())


def constant_ratio(a, b):
    """Find the c for which a = c b at every entry, or None."""
    ratio = float((a * b).sum() / ((b * b).sum() or 1))
    return ratio if same(a, ratio * b) else None


def times(ratio, e):
    """Write a factor in words: "3 times", "1/24 of", and what there are 24 of."""
    size = max(abs(ratio), 1 / abs(ratio))
    whole = round(size)
    if whole == 1 or abs(size - whole) > 1e-6 * whole:
        return f"{ratio:.6g} times"
    minus = "-" if ratio < 0 else ""
    text = f"{minus}{whole} times" if abs(ratio) > 1 else f"{minus}1/{whole} of"
    sizes = set()
    for name, array in {e.name: e.x, "y": e.y, **e.others}.items():
        names, last = axis_names(name, array.shape), array.ndim - 1
        for axes in [*subsets(range(last)), (last,) * (last >= 0), tuple(range(array.ndim))]:
            # 2, 3 and 4 are the size of too many things.
            if math.prod(array.shape[k] for k in axes) == whole > 4:
                sizes.add(" * ".join(plural(names[k]) for k in axes))
    return f"{text} (is {whole} {sizes.pop()}?)" if len(sizes) == 1 else text


def softmax(x):
    """Turn scores into probabilities over the last axis."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def subsets(items):
    """List all nonempty subsets, small ones first."""
    items = list(items)
    return [s for size in range(1, len(items) + 1) for s in itertools.combinations(items, size)]


def flips(array, names):
    """Flip an array along one axis or more: pairs of what was done and the result."""
    for axes in subsets(k for k in range(array.ndim) if array.shape[k] > 1):
        yield f"flipped along its {listed(plural(names[k]) for k in axes)}", np.flip(array, axes)


def transposes(array, names):
    """Exchange two axes of the same length: pairs of what was done and the result."""
    for a, b in itertools.combinations(range(array.ndim), 2):
        if array.shape[a] == array.shape[b] > 1:
            what = f"transposed: its {plural(names[a])} and {plural(names[b])} are exchanged"
            yield what, array.swapaxes(a, b)


def patch_steps(matrix, shape, pixels_shape):
    """Find how far apart (down, right) the patches of neighboring rows are, and how large.

    Each row of the matrix is an image of `shape`, and belongs to an entry of `pixels_shape`. None
    if they do not lie on a grid.
    """
    rows = abs(matrix).reshape(-1, *shape) > 1e-7 * abs(matrix).max()
    if not rows.any(axis=(1, 2, 3, 4)).all():
        return None
    steps, sizes = [], []
    for axis in (1, 2):
        line = rows.any(axis=(1, 4 - axis, 4))  # which rows, then which columns, a patch touches
        starts, ends = line.argmax(axis=1), line.shape[1] - line[:, ::-1].argmax(axis=1)
        sizes.append(int((ends - starts).max()))
        moves = np.moveaxis(starts.reshape(pixels_shape), axis, 0)
        grid = moves[0].flat[0] + (moves[1:2] - moves[:1]).max(initial=0) * np.arange(len(moves))
        if len(moves) < 2 or (moves.reshape(len(moves), -1) != grid[:, None]).any():
            return None
        steps.append(int(grid[1] - grid[0]))
    return (tuple(steps), sizes) if min(steps) > 0 else None


def box(mask, names, matters):
    """Say in words where a mask is True, if that is a block of rows, channels and so on.

    Entries that don't matter (both gradients are zero there) may be True or not.
    """
    if not mask.any() or (mask | ~matters).all():
        return None
    chosen = [np.unique(axis) for axis in np.nonzero(mask)]
    block = np.zeros(mask.shape, bool)
    block[np.ix_(*chosen)] = True
    if (block & ~mask & matters).any():
        return None
    if mask.sum() == 1:
        return "a single entry"
    parts = zip(names, chosen, mask.shape, strict=True)
    words = [some(name, indices, n) for name, indices, n in parts if len(indices) < n]
    return " of ".join(words[::-1]) or None


def some(name, indices, length):
    """Write which places along an axis: "the last row", "channels 1 to 3"."""
    first, last = int(indices[0]), int(indices[-1])
    if len(indices) == 1:
        return {0: f"the first {name}", length - 1: f"the last {name}"}.get(
            first, f"{name} {first}"
        )
    if last - first == len(indices) - 1:
        return f"{plural(name)} {first} to {last}"
    return f"{plural(name)} {listed(map(str, indices))}"


def axis_names(name, shape):
    """Name the axes of an array, by how many there are and by what it is."""
    image, kernel = ("image", "row", "column"), ("kernel row", "kernel column")
    if len(shape) == 4 and name.split(".")[-1] in ("weight", "dweight", "kernel", "w"):
        return (*kernel, "input channel", "filter")
    known = {1: ("entry",), 2: image[1:], 3: image, 4: (*image, "channel")}
    known[6] = (*image, *kernel, "channel")  # the patches of im2col
    return known.get(len(shape), [f"axis-{k} place" for k in range(len(shape))])


def some_axes(e, axes):
    """Name some axes of the argument: "images, rows and columns"."""
    return listed(plural(e.axes[k]) for k in axes)


def can_broadcast(small, shape):
    """Whether an array of one shape broadcasts to the other."""
    pairs = zip(small[::-1], shape[::-1], strict=False)
    return len(small) <= len(shape) and all(a in (1, b) for a, b in pairs)


def plural(name):
    """Write several: "rows", "entries"."""
    return "entries" if name == "entry" else f"{name}s"


def listed(words):
    """Write a list: "a", "a and b", "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def entry(name, array, place):
    """Write an entry of an array: ``dx[0, 1, 2]``; a single number has no places."""
    where = ", ".join(str(int(k)) for k in np.unravel_index(place, array.shape))
    return f"{name}[{where}]" if array.ndim else name


def shown(array):
    """Write the first numbers of an array, of its first rows and columns, in one line."""
    while array.ndim > 2:
        array = array[0] if array.ndim > 3 else array[..., 0]
    rows = [", ".join(f"{value:.3g}" for value in row[:4]) for row in np.atleast_2d(array)[:3]]
    return "; ".join(rows) + ("; ..." if array.size > 12 else "")
