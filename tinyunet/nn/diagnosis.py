r"""Which mistake is it? From a wrong gradient to a sentence that names what is wrong with it.

**The plain things first**, in the order in which they mislead: did a pair ``(y, backward)`` come
back, and one gradient for each argument, of its shape and dtype? Was an argument overwritten? Is it
the same the second time? `call_forward` and `call_backward` see to these.

**Then the numbers.** For small arrays the whole *Jacobian* can be measured: row j, column i says
how much ``y[j]`` changes when ``x[i]`` is moved. Backward has one as well: ``backward(dy)`` with a
single 1 in ``dy`` gives a row of it. Each mistake leaves its mark on how the two differ: a factor
is a factor everywhere, a forgotten ``+=`` leaves zeros, a kernel that was not flipped gives the
very gradient that the flipped kernel would have. So each kind of mistake is a *hypothesis* that
compares the two, and gives a sentence if they differ in just that way, to rounding, at
every entry. Where none does, the message says so and shows both arrays: a wrong name is worse than
none.
"""

import inspect
import itertools
import math
import textwrap
from types import SimpleNamespace

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


def require(holds, message):
    """Raise a GradientError unless a condition holds."""
    if not holds:
        raise GradientError(message)


# -- The plain things ------------------------------------------------------------------------------


def floating_arguments(arguments, names):
    """List the places of the arguments whose gradients are checked: all floating arrays."""
    checked = [index for index, argument in enumerate(arguments) if is_floating(argument)]
    if not checked:
        raise TypeError("none of the arguments is a floating array: there is no gradient to check")
    for index in checked:
        dtype = arguments[index].dtype
        if dtype != "float64":
            raise TypeError(
                f"{names[index]} is {dtype}, too coarse to tell a small mistake from rounding: "
                f'check in float64, {names[index]}.astype("float64")'
            )
    return checked


def call_forward(function, arguments, names):
    """Call a function twice, on copies of its arguments; returns ``(y, backward)`` if all is well.

    Raises
    ------
    GradientError
        If it does not return a pair (y, backward), overwrites an argument, gives another dtype or
        numbers that are not finite, or gives something else the second time.
    """
    results = []
    for _call in range(2):
        given = [a.copy() if isinstance(a, xp.ndarray) else a for a in arguments]
        result = function(*given)
        require(
            isinstance(result, tuple) and len(result) == 2 and callable(result[1]),
            f"forward returns {describe(result)}, not the pair (y, backward): end it with "
            "`return y, backward`",
        )
        for name, before, after in zip(names, arguments, given, strict=True):
            refuse_overwriting("forward", name, before, after)
        results.append(result)
    (y, backward), (again, _) = results
    y = xp.asarray(y)
    require(
        y.dtype == "float64",
        f"forward returns {y.dtype} for arguments of float64: an operation keeps the dtype that it "
        "is given (is one of its own arrays made with another dtype?)",
    )
    require(xp.isfinite(y).all(), "forward's result has entries that are NaN or infinite")
    require(
        (y == xp.asarray(again)).all(),
        "forward gives another result when called again with the same arguments: there is no slope "
        "to measure (if it draws random numbers, draw them from the same seed each time)",
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
    check_returned(returned, [arguments[index] for index in checked], [names[k] for k in checked])
    gradients = tuple(gradient.copy() for gradient in as_tuple(returned))
    for index, first, second in zip(checked, gradients, as_tuple(backward(dy.copy())), strict=True):
        require(
            (first == second).all(),
            f"a second call of backward gives another {gradient_name(names[index])}: it must not "
            "change what it uses (does it draw random numbers, or overwrite an array?)",
        )
    return gradients


def check_returned(returned, arguments, names):
    """See that backward returned one gradient for each argument, of its shape and dtype."""
    expected = [gradient_name(name) for name in names]
    order = f"({', '.join(expected)})" if len(expected) > 1 else expected[0]
    gradients, wanted = as_tuple(returned), [argument.shape for argument in arguments]
    require(returned is not None, f"backward returns nothing: end it with `return {order}`")
    require(
        len(gradients) == len(arguments) and not isinstance(returned, list),
        f"backward returns {describe(returned)}: end it with `return {order}`",
    )
    shapes = [np.shape(gradient) for gradient in gradients]
    swapped = shapes != wanted and sorted(shapes) == sorted(wanted)
    for gradient, argument, name, d_name in zip(gradients, arguments, names, expected, strict=True):
        is_array = isinstance(gradient, xp.ndarray | xp.generic)
        require(is_array, f"{d_name} is {describe(gradient)}, not an array {argument.shape}")
        hint = "a gradient always has the shape of its namesake"
        if swapped:
            hint = f"return the gradients in the order {order}"
        elif sorted(gradient.shape) == sorted(argument.shape):
            hint = "its axes are in another order"
        elif gradient.size == argument.size:
            hint = "a reshape is missing, or there is a keepdims=True too much"
        require(
            gradient.shape == argument.shape,
            f"{d_name} has shape {gradient.shape}, but {name} has {argument.shape}: {hint}",
        )
        require(
            gradient.dtype == argument.dtype,
            f"{d_name} is {gradient.dtype}, but {name} is {argument.dtype}: each array that "
            "backward makes needs that dtype (np.zeros_like keeps it)",
        )
        require(xp.isfinite(gradient).all(), f"{d_name} has entries that are NaN or infinite")


def refuse_overwriting(who, name, before, after):
    """Raise if an array is no longer what it was."""
    if isinstance(before, xp.ndarray) and before.dtype.kind in "fiub":
        changed = to_host((before != after) & ((before == before) | (after == after)))
        places = np.argwhere(changed).tolist() or [[]]
        require(
            not changed.any(),
            f"{who} overwrites {name} (at {changed.sum()} of {changed.size} entries, first at "
            f"{tuple(places[0])}). Others still need that array: make a new one, or work on a copy",
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
    if isinstance(value, xp.ndarray):
        return f"an array of shape {value.shape}"
    size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"a {type(value).__name__}{size}"


def as_tuple(value):
    """Read one gradient alone as a tuple of one."""
    return value if isinstance(value, tuple) else (value,)


def is_floating(argument):
    """Whether an argument is an array of floating-point numbers."""
    return isinstance(argument, xp.ndarray) and argument.dtype.kind == "f"


# -- Measuring -------------------------------------------------------------------------------------

LARGEST_ARGUMENT, LARGEST_JACOBIAN = 1500, 1_000_000
TOLERANCE = 1e-6  # beside the largest number; what is measured is good to about 1e-9


class Evidence:
    """What backward claims of one argument's gradient, and what was measured.

    Attributes
    ----------
    name, d_name : str
        Such as ``"x"`` and ``"dx"``.
    x, y, dy : arrays
        The argument, the result, and the upstream gradient.
    claimed, measured : arrays of the argument's shape
        Its gradient.
    claims, truth : arrays (y.size, x.size)
        Its Jacobian: how much each entry of y changes with each entry of x.
    flows, should_flow, differs : boolean arrays (y.size, x.size)
        Where these are not zero, and where they differ.
    others : dict of str to array
        The other arguments.
    all : namespace
        What `explain` found for all arguments.
    """

    def __init__(self, name, everything):
        self.name, self.d_name, self.all = name, gradient_name(name), everything
        self.x, self.y, self.dy = everything.values[name], everything.y, everything.dy
        self.others = {other: a for other, a in everything.values.items() if other != name}
        self.axes = axis_names(name, self.x.shape)
        self.claimed, self.measured = everything.claimed[name], everything.measured[name]
        self.claims = np.stack([row[name].ravel() for row in everything.rows])
        self.truth = everything.truths[name]
        self.wrong = ~close(self.claimed, self.measured)
        self.differs = ~close(self.claims, self.truth)
        size = 1e-7 * max(abs(self.truth).max(), abs(self.claims).max())
        self.flows, self.should_flow = abs(self.claims) > size, abs(self.truth) > size

    def call(self, dy):
        """Call backward; give this argument's gradient."""
        return self.all.call(dy)[self.name]

    def fits(self, other, array):
        """Whether the claim is what one measures with another argument replaced by an array."""
        changed, names = list(self.all.arguments), self.all.names
        if array.shape != self.others[other].shape:
            return False
        changed[names.index(other)] = to_device(np.ascontiguousarray(array))
        truth = jacobian(self.all.function, changed, names.index(self.name))
        return same(self.claimed.ravel(), self.dy.ravel() @ truth)


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
    y, dy, found = to_host(xp.asarray(y)), to_host(dy), [names[index] for index in checked]

    def call(dy):
        gradients = as_tuple(backward(to_device(dy)))
        return {name: to_host(g).copy() for name, g in zip(found, gradients, strict=True)}

    values = {names[index]: to_host(arguments[index]) for index in checked}
    claimed, truths = call(dy), {names[k]: jacobian(function, arguments, k) for k in checked}
    measured = {name: (dy.ravel() @ truths[name]).reshape(values[name].shape) for name in found}
    # An argument that hardly matters beside the others is right if it is as small as they see it.
    noise = 1e-9 * max(abs(gradient).max(initial=0) for gradient in measured.values())
    off = {name: abs(claimed[name] - measured[name]).max(initial=0) for name in found}
    wrong = [n for n in found if not same(claimed[n], measured[n]) and not off[n] <= noise]
    if not wrong:
        return None, {}
    rows = [call(single) for single in np.eye(dy.size).reshape(-1, *dy.shape)]
    everything = SimpleNamespace(
        **{"function": function, "arguments": arguments, "names": names, "y": y, "dy": dy},
        **{"call": call, "values": values, "claimed": claimed, "measured": measured},
        **{"truths": truths, "rows": rows},
    )
    right = [gradient_name(name) for name in found if name not in wrong]
    return report([Evidence(name, everything) for name in wrong], right)


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
    for step in h * np.eye(argument.size).reshape(-1, *argument.shape):
        ends = []
        for moved in (argument + step, argument - step):
            y, _ = function(*arguments[:index], to_device(moved), *arguments[index + 1 :])
            ends.append(to_host(xp.asarray(y)).ravel())
        columns.append((ends[0] - ends[1]) / (2 * h))
    return np.stack(columns, axis=1)


def another(shape, seed=1):
    """Draw normal numbers in a shape, for a seed always the same."""
    return np.asarray(np.random.default_rng((seed, 2016)).standard_normal(shape))


# -- The message -----------------------------------------------------------------------------------


def report(evidence, right):
    """Write the message: each wrong gradient with its mistake, then those that are right."""
    kinds, first_with, lines = {}, {}, []
    for e in evidence:
        kinds[e.d_name], sentence = name_the_mistake(e)
        if sentence in first_with:
            lines.append(f"{e.d_name} is wrong in the same way as {first_with[sentence]}.")
        else:
            lines += textwrap.wrap(f"{e.d_name} is wrong{sentence}", 100)
        first_with.setdefault(sentence, e.d_name)
    if len(lines) > 5:
        lines[4:] = [f"More are wrong: {listed(kinds)}. Begin with the first."]
    if len(evidence) == 1:
        place = int(abs(e.claimed - e.measured).argmax())
        lines.append(
            f"Off at {e.wrong.sum()} of {e.x.size} entries, most at {entry(e.d_name, e.x, place)}: "
            f"backward says {e.claimed.flat[place] + 0:.9g}, measured is "
            f"{e.measured.flat[place] + 0:.9g}."
        )
        if kinds[e.d_name] is None:
            lines += [f"  backward: {shown(e.claimed)}", f"  measured: {shown(e.measured)}"]
    if right and len(lines) < 6:
        lines.append(f"{listed(right)} {'is' if len(right) == 1 else 'are'} right.")
    return "\n".join(lines), kinds


# -- Hypotheses ------------------------------------------------------------------------------------
# Each kind of mistake with its sentence, which goes on after "dx is wrong". Where a kind has more
# than one sentence, a number tells them apart.

SENTENCES = {
    "zero": ": it is zero everywhere, though y depends on {x}.",
    "ignores dy": ": it is the same whatever dy is. Multiply by dy, the gradient from above.",
    "added": ": it is not zero where dy is zero. Something is added that dy does not multiply.",
    "not linear": ": it is not linear in dy (for the sum of two dy it should be the sum of two "
    "gradients). What it multiplies by, or chooses by, must come from forward and not from dy.",
    "sign": ": it has the opposite sign.",
    "mean for sum": ": it is a mean where the sum belongs. Each entry of {x} has a part in {many} "
    "entries of y, and what comes back from them must be added up, not averaged.",
    "factor": ": everywhere it is {factor}.",
    "region 1": " in {where}, where it is {what}; elsewhere it is right.",
    "region 2": " inside, and right along the border.",
    "region 3": " along the border (the first or last row or column), and right inside.",
    "region 4": " in {where}; elsewhere it is right.",
    "region 5": " at {words} {axis} of each pixel, and right elsewhere.",
    "order": ": it is the gradient of {other}. Return them in the order of the arguments.",
    "flipped": ": it is {what}.",
    "transposed": ": it is {what}.",
    "reshaped": ": its numbers are right, but laid out in another order, as a reshape does with an "
    "array whose axes come in another order. Transpose it first.",
    "shifted": ": its numbers are right but shifted, {moves}.",
    "axes": ": it is dy summed over the wrong axes, all but axis {kept}.",
    "raw": ": it is the sum of {what}, but that is not what forward multiplied {x} by.",
    "lost 1": ": nothing comes back from dy in {where}; what comes from the rest is right. Does a "
    "loop end too early, or does = overwrite what += should add to?",
    "lost 2": ": of up to {many} contributions that should be added up, each entry holds only one. "
    "Were they written with = where += belongs, or is only one of them read?",
    "lost 3": ": contributions are lost. {y_j} depends on {x_i}, but {dx_i} gets nothing from "
    "{dy_j}. The rest is right.",
    "extra": ": gradient flows where it should be zero{as_it_is}. {dx_i} gets something from "
    "{dy_j}, though {y_j} does not depend on {x_i}. Is a mask missing, or too wide?",
    "shared": ": {dy_j} is shared among {many} entries, but y depends there on {few} of them, "
    "which should get all of it.",
    "places": ": the right numbers go to wrong places. {dx_i} gets something from {dy_j}, though "
    "{y_j} does not depend on {x_i}. Is an index off, or the stride?",
    "inverted": ": it is zero where gradient should flow, and flows where it should be zero. Is a "
    "mask the wrong way round?",
    "times 1": ": it is multiplied by {one} once too often.",
    "times 2": ": the factor {one} is missing.",
    "times 3": ": it is multiplied by {one} where {other} belongs.",
    "weights": ": it is off by a factor that depends on the {names} of {what} alone ({values}).",
    "mean not taken off": ": its mean over {over} was not subtracted, or not rightly.",
    "variance 1": ": it is off by a multiple of {x} - mean({x}) in each channel. That is the path "
    "through the variance: its term is missing, or has a wrong sign or factor.",
    "variance 2": ": it is off by a constant plus a multiple of {x} in each channel. Those are the "
    "paths through the mean and the variance: both are missing, or wrong.",
    "normalization": ": in each pixel it is off by a multiple of softmax({x}). That is the path "
    "through the sum that softmax divides by: its term is missing, or wrong.",
    "argument": ": it is the gradient that would be right with {what}. So backward uses {other} "
    "the wrong way.",
}


def name_the_mistake(e):
    """Ask the families of hypotheses in turn; returns the first that holds: kind, sentence."""
    for family in FAMILIES:
        for name, words in family(e):
            return name.rstrip(" 12345"), SENTENCES[name].format(x=e.name, **words)
    return None, ", in a way that none of the known mistakes explains."


def about_dy(e):
    """Find that dy plays no part, or the wrong one."""
    other = another(e.dy.shape)
    if not e.claimed.any():
        yield "zero", {}
    if np.array_equal(e.call(other), e.call(e.dy)):
        yield "ignores dy", {}
    if e.call(0 * e.dy).any():
        yield "added", {}
    if not close(e.call(e.dy) + e.call(other), e.call(e.dy + other)).all():
        yield "not linear", {}


def scaled(e):
    """Find that everything is right but a sign or a factor."""
    if same(e.claims, -e.truth):
        yield "sign", {}
    parts = e.should_flow.sum(axis=0)  # of how many entries of y is each x a part?
    if parts.max() > 1 and same(e.claims * parts, e.truth):
        yield "mean for sum", {"many": f"{'up to ' if np.ptp(parts) else ''}{parts.max()}"}
    if ratio := constant_ratio(e.claims, e.truth):
        yield "factor", {"factor": times(ratio, e)}


def in_a_part(e):
    """Find that a part is zero, or off by a factor, and the rest is right."""
    where = box(e.wrong, e.axes, (e.claimed != 0) | (e.measured != 0))
    mine, true = e.claimed[e.wrong], e.measured[e.wrong]
    ratio = constant_ratio(mine, true) if mine.size > 2 else None
    if where and (ratio or not mine.any()):
        what = times(ratio, e) if ratio else "zero"
        yield "region 1", {"where": where, "what": what}


def rearranged(e):
    """Find the right numbers of another argument, or in other places."""
    for name, gradient in e.all.measured.items():
        if name != e.name and same(e.claimed, gradient):
            yield "order", {"other": name}
    for kind, what, array in turned(e.measured, e.axes):
        if same(e.claimed, array):
            yield kind, {"what": what}
    for axes in itertools.permutations(range(e.x.ndim)) if e.x.ndim < 6 else ():
        if same(e.claimed.ravel(), e.measured.transpose(axes).ravel()):
            yield "reshaped", {}
    for steps in itertools.product((0, 1, -1, 2, -2), repeat=e.x.ndim if e.x.ndim < 5 else 0):
        ends = list(zip(steps, e.x.shape, strict=False))
        mine = e.claimed[tuple(slice(max(d, 0), n + min(d, 0)) for d, n in ends)]
        true = e.measured[tuple(slice(max(-d, 0), n + min(-d, 0)) for d, n in ends)]
        if 4 * mine.size >= e.x.size and (true != 0).sum() > 3 and same(mine, true):
            moves = [f"{d:+d} along its {plural(e.axes[k])}" for k, d in enumerate(steps) if d]
            yield "shifted", {"moves": listed(moves)}


def summed(e):
    """Find a sum over the wrong axes, or of the wrong product."""
    for kept in range(e.dy.ndim * (e.x.ndim == 1 < e.dy.ndim)):
        if same(e.claimed, e.dy.sum(axis=tuple(k for k in range(e.dy.ndim) if k != kept))):
            yield "axes", {"kept": kept}
    products = {"dy": e.dy, "dy * y": e.dy * e.y}
    products |= {f"dy * {n}": e.dy * a for n, a in e.others.items() if a.shape == e.dy.shape}
    for what, product in products.items():
        total = product.sum(axis=tuple(range(e.dy.ndim - e.x.ndim)))
        if e.x.ndim < e.dy.ndim and same(e.claimed, total):
            yield "raw", {"what": what}


def lost(e):
    """Find that some of what each entry should sum up is missing; what is there is right."""
    missing = e.should_flow & ~e.flows
    if not missing.any() or (e.differs & ~missing).any():
        return
    silent = missing.any(axis=1)  # entries of dy from which something does not come back
    matters = e.should_flow.any(axis=1).reshape(e.y.shape)
    where = box(silent.reshape(e.y.shape), axis_names("y", e.y.shape), matters)
    if where and not e.flows[silent].any():
        yield "lost 1", {"where": where}
    # Does each entry keep a single one of the pixels of dy that it should sum?
    pixels = (-1, e.y.shape[-1] if e.y.ndim > 1 else 1, e.x.size)
    due, kept = (m.reshape(pixels).any(axis=1).sum(axis=0) for m in (e.should_flow, e.flows))
    if due.max() > 1 and (kept == np.minimum(due, 1)).all():
        yield "lost 2", {"many": due.max()}
    yield "lost 3", example(e, missing)


def misled(e):
    """Find that gradient goes where it should not."""
    surplus = e.flows & ~e.should_flow
    if surplus.any() and not (e.differs & ~surplus).any():
        as_it_is = ", dy as it is" if same(e.claimed, e.dy) else ""
        yield "extra", {"as_it_is": as_it_is, **example(e, surplus)}
    many, total = e.flows.sum(axis=1), e.claims.sum(axis=1)
    even = close(e.claims, e.flows * (total / np.maximum(many, 1))[:, None]).all()
    if even and (e.should_flow <= e.flows).all() and same(total, e.truth.sum(axis=1)):
        few, words = e.should_flow.sum(axis=1), example(e, surplus)
        yield "shared", {"many": many.max(), "few": few[many.argmax()], **words}
    for axis in (0, 1):  # by what each dx takes, or by where each dy goes
        same_numbers = same(np.sort(e.claims, axis=axis), np.sort(e.truth, axis=axis))
        if surplus.any() and same_numbers:
            yield "places", example(e, surplus)
    mine, true = e.flows.any(axis=0), e.should_flow.any(axis=0)
    if mine.any() and true.any() and (mine != true).all():
        yield "inverted", {}


def weighed(e):
    """Find an array by which it is multiplied once too often or too seldom."""
    known = {e.name: e.x, **e.others, "the result": e.y, "1 - the result": 1 - e.y}
    known[f"softmax({e.name})"] = softmax(e.x)
    # An array may weigh the places of x (the columns of the Jacobian) or those of y (its rows).
    for shape, turn in ((e.x.shape, (1, -1)), (e.y.shape, (-1, 1))):
        weights = {}
        for name, array in known.items():
            sides = list(zip(array.shape[::-1], shape[::-1], strict=False))
            if np.ptp(array) and len(sides) == array.ndim and all(a in (1, b) for a, b in sides):
                weights[name] = np.broadcast_to(array, shape).reshape(turn)
        for name, array in weights.items():
            if same(e.claims, e.truth * array):
                yield "times 1", {"one": name}
            if same(e.claims * array, e.truth):
                yield "times 2", {"one": name}
        for one, other in itertools.permutations(weights, 2):
            if same(e.claims * weights[other], e.truth * weights[one]):
                yield "times 3", {"one": one, "other": other}
    ratio = np.divide(e.claims, e.truth, out=np.zeros(e.truth.shape), where=e.should_flow)
    for what, axis, array in ((e.d_name, 0, e.x), ("dy", 1, e.y)):
        factors = ratio.sum(axis=axis) / np.maximum(e.should_flow.sum(axis=axis), 1)
        right = same(e.claims, e.truth * np.expand_dims(factors, axis))
        if right and (e.flows == e.should_flow).all():
            factors = np.ma.masked_equal(factors.reshape(array.shape), 0)  # where nothing flows
            spread = [factors.max(axis=k) - factors.min(axis=k) for k in range(array.ndim)]
            varies = [k for k, differences in enumerate(spread) if differences.max() > 1e-6]
            if varies and len(varies) < sum(n > 1 for n in array.shape):
                names = listed(axis_names(what, array.shape)[k] for k in varies)
                values = [f"{v:.3g}" for v in dict.fromkeys(np.round(factors.compressed(), 6))]
                values = ", ".join([*values[:4], "..."])
                yield "weights", {"names": names, "what": what, "values": values}


def normalized(e):
    """Find that a term of a normalization is missing: the way through a mean, a variance, a sum."""
    for axes in subsets(range(e.x.ndim)):
        if same(e.claimed - e.claimed.mean(axis=axes, keepdims=True), e.measured):
            yield "mean not taken off", {"over": listed(plural(e.axes[k]) for k in axes)}
    p = softmax(e.x)
    if same(e.claimed - p * e.claimed.sum(axis=-1, keepdims=True), e.measured):
        yield "normalization", {}
    x, off = (a.reshape(-1, *a.shape[-1:]) for a in (e.x, e.claimed - e.measured))
    x = x - x.mean(axis=0)
    rest = off - x * (x * off).sum(axis=0) / np.maximum((x * x).sum(axis=0), 1e-30)
    allowed = TOLERANCE * abs(e.measured).max()
    if len(x) > 5 and abs(rest).max() < allowed:
        yield "variance 1", {}
    if len(x) > 5 and abs(rest - rest.mean(axis=0)).max() < allowed:
        yield "variance 2", {}


def misused(e):
    """Find the gradient that there would be if another argument were turned around."""
    found = []
    for name, array in e.others.items():
        others = [(f"replaced by {n}", a) for n, a in e.others.items() if n != name]
        others += [(what, other) for _, what, other in turned(array, axis_names(name, array.shape))]
        found += [(name, f"{name} {what}") for what, other in others if e.fits(name, other)]
    if found:
        yield "argument", {"other": found[0][0], "what": " or ".join(w for _, w in found[:2])}


def somewhere(e):
    """Find that a part is wrong, in a way that has no simpler name, and the rest is right."""
    if not (~e.wrong & (e.measured != 0)).any():
        return
    inside = np.zeros(e.x.shape, bool)
    inside[(slice(None), slice(1, -1), slice(1, -1))[: e.x.ndim]] = e.x.ndim > 2
    if inside.any() and e.wrong[inside].all() and not e.wrong[~inside].any():
        yield "region 2", {}
    if where := box(e.wrong, e.axes, (e.claimed != 0) | (e.measured != 0)):
        yield "region 4", {"where": where}
    if inside.any() and not e.wrong[inside].any():
        yield "region 3", {}
    for number, words in ((1, "exactly one"), (e.x.shape[-1] - 1, "all but one")):
        if e.x.shape[-1] > 2 and (e.wrong.sum(axis=-1) == number).all():
            yield "region 5", {"words": words, "axis": e.axes[-1]}


FAMILIES = (about_dy, scaled, in_a_part, rearranged, summed, lost, misled, weighed, normalized)
FAMILIES += (misused, somewhere)


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
    """Write a factor in words: "1/24 of what it should be", and what there may be 24 of."""
    whole = round(max(abs(ratio), 1 / abs(ratio)))
    if whole < 2 or ratio < 0 or abs(max(ratio, 1 / ratio) - whole) > 1e-6 * whole:
        return f"{ratio:.6g} times what it should be"
    sizes = set()
    for name, array in {e.name: e.x, "y": e.y, **e.others}.items():
        names = axis_names(name, array.shape)
        for axes in [*subsets(range(array.ndim - 1)), tuple(range(array.ndim))]:
            # 2, 3 and 4 are the size of too many things.
            if math.prod(array.shape[k] for k in axes) == whole > 4:
                sizes.add(" * ".join(plural(names[k]) for k in axes))
    which = f" ({whole} = {sizes.pop()}?)" if len(sizes) == 1 else ""
    amount = f"{whole} times" if ratio > 1 else f"1/{whole} of"
    return f"{amount} what it should be{which}"


def softmax(x):
    """Turn scores into probabilities over the last axis."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def subsets(items):
    """List all nonempty subsets, small ones first."""
    items = list(items)
    return [s for size in range(1, len(items) + 1) for s in itertools.combinations(items, size)]


def turned(array, names):
    """Flip an array along some axes, or exchange two of one length: (kind, what, result)."""
    for axes in subsets(k for k in range(array.ndim) if array.shape[k] > 1):
        which = listed(plural(names[k]) for k in axes)
        yield "flipped", f"flipped along its {which}", np.flip(array, axes)
    for a, b in itertools.combinations(range(array.ndim), 2):
        if array.shape[a] == array.shape[b] > 1:
            what = f"transposed, with its {plural(names[a])} and {plural(names[b])} exchanged"
            yield "transposed", what, array.swapaxes(a, b)


def example(e, pairs):
    """Name the first pair (entry of y, entry of x) that is marked, as the sentences want it."""
    j, i = np.argwhere(pairs)[0]
    arrays = {"y_j": ("y", e.y, j), "dy_j": ("dy", e.y, j), "x_i": (e.name, e.x, i)}
    return {key: entry(*place) for key, place in {**arrays, "dx_i": (e.d_name, e.x, i)}.items()}


def box(mask, names, matters):
    """Say in words where a mask is True, if that is a block of rows, channels and so on.

    Entries that don't matter (both gradients are zero there) may be True or not.
    """
    if not mask.ndim or not mask.any() or (mask | ~matters).all():
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
    if first == last:
        ends = {0: f"the first {name}", length - 1: f"the last {name}"}
        return ends.get(first, f"{name} {first}")
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
