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

import functools
import inspect
import itertools
import math
import textwrap

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
    for name, dtype in ((names[index], arguments[index].dtype) for index in checked):
        if dtype != "float64":
            raise TypeError(f'{name} is {dtype}, too coarse: check {name}.astype("float64")')
    return checked


def call_forward(function, arguments, names):
    """Call a function twice, on copies of its arguments; returns y, backward and the copies.

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
        is_pair = isinstance(result, tuple) and len(result) == 2 and callable(result[1])
        require(is_pair, f"forward returns {describe(result)}: end it with `return y, backward`")
        refuse_overwriting("forward", names, arguments, given)
        results.append((*result, given))
    (y, backward, given), (again, *_) = results
    y = xp.asarray(y)
    made = f"forward returns {y.dtype} for float64 arguments: does it make an array without dtype?"
    require(y.dtype == "float64", made)
    require(xp.isfinite(y).all(), "forward's result has entries that are NaN or infinite")
    anew = "forward gives another result when called again: does it draw from the same seed?"
    require((y == xp.asarray(again)).all(), anew)
    return y, backward, given


def call_backward(backward, y, dy, arguments, checked, names):
    """Call a backward twice, watching what it returns and touches; returns the gradients.

    Raises
    ------
    GradientError
        If it returns something else than one gradient for each argument, with its shape and dtype,
        if the second call differs from the first, or if it overwrites what it was given.
    """
    names, arguments = [names[index] for index in checked], [arguments[index] for index in checked]
    given = [dy.copy(), y, *arguments]
    before = [array.copy() for array in given]
    returned = backward(given[0])
    refuse_overwriting("backward", ["dy", "y, the result of forward,", *names], before, given)
    check_returned(returned, arguments, names)
    gradients = tuple(gradient.copy() for gradient in as_tuple(returned))
    for name, first, second in zip(names, gradients, as_tuple(backward(dy.copy())), strict=True):
        anew = f"a second call of backward gives another {gradient_name(name)}: does it draw "
        anew += "random numbers, or overwrite an array that it keeps?"
        require((first == second).all(), anew)
    return gradients


def check_returned(returned, arguments, names):
    """See that backward returned one gradient for each argument, of its shape and dtype."""
    gradients, order = as_tuple(returned), ", ".join(map(gradient_name, names))
    as_many = len(gradients) == len(arguments) and not isinstance(returned, list | None)
    require(as_many, f"backward returns {describe(returned)}: end it with `return {order}`")
    shapes = sorted(np.shape(gradient) for gradient in gradients)
    for gradient, argument, name in zip(gradients, arguments, names, strict=True):
        d_name, shape = gradient_name(name), argument.shape
        is_array = isinstance(gradient, xp.ndarray | xp.generic)
        require(is_array, f"{d_name} is {describe(gradient)}, not an array {shape}")
        hint = "a gradient always has the shape of its namesake"
        if shapes == sorted(argument.shape for argument in arguments):
            hint = f"that is the shape of another argument (the order is {order})"
        elif sorted(gradient.shape) == sorted(shape):
            hint = "its axes are in another order"
        elif gradient.size == argument.size:
            hint = "a reshape is missing, or there is a keepdims=True too much"
        given = f"{d_name} has shape {gradient.shape}, but {name} has {shape}"
        require(gradient.shape == shape, f"{given}: {hint}")
        given = f"{d_name} is {gradient.dtype}, but {name} is {argument.dtype}"
        require(gradient.dtype == argument.dtype, f"{given}: np.zeros_like keeps it, np.zeros not")
        require(xp.isfinite(gradient).all(), f"{d_name} has entries that are NaN or infinite")


def refuse_overwriting(who, names, before, after):
    """Raise if one of several arrays is no longer what it was."""
    for name, old, new in zip(names, before, after, strict=True):
        if isinstance(old, xp.ndarray) and old.dtype.kind in "fiub":
            changed = to_host((old != new) & ((old == old) | (new == new)))
            place = tuple(np.argwhere(changed)[0].tolist()) if changed.any() else ()
            cure = "others still need that array: make a new one, or work on a copy"
            require(not changed.any(), f"{who} overwrites {name} (first at {place}); {cure}")


def argument_names(function, wanted):
    """Name a function's first arguments as it does itself; `argument 2` where it does not."""
    parameters = inspect.signature(function).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return named[:wanted] + [f"argument {index}" for index in range(len(named), wanted)]


def gradient_name(name):
    """Name the gradient of an argument: ``dx`` for ``x`` (``dy`` means the upstream alone)."""
    return f"d{name}" if name.isidentifier() and name != "y" else f"the gradient of {name}"


def describe(value):
    """Say what a value is: "None", "a tuple of 3", "an array of shape (2, 3)"."""
    if isinstance(value, xp.ndarray):
        return f"an array of shape {value.shape}"
    size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return "None" if value is None else f"a {type(value).__name__}{size}"


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
    others, other_gradients : dict of str to array
        The other arguments, and their measured gradients.
    """

    def __init__(self, function, arguments, names, index, y, dy, call, claims):
        self.function, self.arguments, self.names, self.index = function, arguments, names, index
        self.name, self.d_name = names[index], gradient_name(names[index])
        self.x, self.y, self.dy = to_host(arguments[index]), y, dy
        self.axes = axis_names(self.name, self.x.shape)
        self.call, self.claimed, self.claims = call, call(dy), claims
        self.truth = jacobian(function, arguments, index)
        self.measured = self.flow_back(dy)
        self.wrong = ~close(self.claimed, self.measured)
        self.differs = ~close(claims, self.truth)
        size = 1e-7 * max(abs(self.truth).max(), abs(claims).max())
        self.flows, self.should_flow = abs(claims) > size, abs(self.truth) > size

    def flow_back(self, dy, truth=None):
        """Give the gradient that is right for a dy (and for another Jacobian)."""
        return (dy.ravel() @ (self.truth if truth is None else truth)).reshape(self.x.shape)

    def measure_with(self, other, array):
        """Measure the gradient with another argument replaced by an array."""
        changed = list(self.arguments)
        changed[self.names.index(other)] = to_device(np.ascontiguousarray(array))
        return self.flow_back(self.dy, jacobian(self.function, changed, self.index))


def explain(function, arguments, checked, names, dy, cut=""):
    """Say in at most six lines which of a function's gradients are wrong, and how.

    Where the arrays are too large to be measured whole, smaller ones are cut from them.

    Parameters
    ----------
    function, arguments, checked, names
        As in `tinyunet.nn.gradcheck.check_gradients`.
    dy : array of the result's shape
    cut : str
        Of arrays that were cut already: which, and to what shape.

    Returns
    -------
    message : str or None
        None where nothing is found wrong, or nothing can be measured whole.
    kinds : dict of str to str or None
    """
    size = sum(arguments[index].size for index in checked)
    if size > LARGEST_ARGUMENT or size * dy.size > LARGEST_JACOBIAN:
        return (None, {}) if cut else explain_smaller(function, arguments, checked, names)
    y, backward = function(*arguments)
    y, dy = to_host(xp.asarray(y)), to_host(dy)

    def call(dy):
        return [to_host(gradient).copy() for gradient in as_tuple(backward(to_device(dy)))]

    rows = [call(row) for row in np.eye(dy.size).reshape(-1, *dy.shape)]
    found = []
    for place, index in enumerate(checked):
        claims = np.stack([row[place].ravel() for row in rows])
        own = functools.partial(lambda place, dy: call(dy)[place], place)
        found.append(Evidence(function, arguments, names, index, y, dy, own, claims))
    for e in found:
        e.beside = [other for other in found if other is not e]
        e.others = {other.name: other.x for other in e.beside}
    # An argument that hardly matters beside the others is right if it is as small as they see it.
    noise = 1e-9 * max(abs(e.measured).max(initial=0) for e in found)
    wrong = [e for e in found if (e.wrong & (abs(e.claimed - e.measured) > noise)).any()]
    right = [e.d_name for e in found if e not in wrong]
    return report(wrong, right, cut) if wrong else (None, {})


def explain_smaller(function, arguments, checked, names):
    """Explain a mistake on small arrays, cut from those given; on the smallest that show it.

    Axes of one length stay of one length, for images must fit their labels, and channels their
    weights. Axes of different lengths stay different, so that a swap shows.
    """
    lengths = {n for a in arguments if isinstance(a, xp.ndarray) for n in a.shape}
    long, tried = sorted(n for n in lengths if n > 4), 0
    for short in sorted(itertools.permutations({2, 3, 4, 5, 6, 7} - lengths, len(long)), key=sum):
        new = {n: n for n in lengths} | dict(zip(long, short, strict=True))
        cut = [
            a[tuple(slice(new[n]) for n in a.shape)].copy() if isinstance(a, xp.ndarray) else a
            for a in arguments
        ]
        try:
            y, backward = function(*cut)
            dy = to_device(np.random.default_rng(tried).standard_normal(np.shape(y)))
            backward(dy.copy())
        except Exception:  # it needs its arguments as long as they were
            continue
        which = f"With {listed(f'{names[k]} cut to {cut[k].shape}' for k in checked)}, "
        message, kinds = explain(function, cut, checked, names, dy, which)
        tried += 1
        if message or tried == 5:
            return message, kinds
    return None, {}


def jacobian(function, arguments, index):
    """Measure how y changes with each entry of one argument: (y.size, argument.size)."""
    argument = to_host(arguments[index])
    h = 1e-5 * max(1.0, abs(argument).max(initial=0))

    def y_at(argument):
        y, _ = function(*arguments[:index], to_device(argument), *arguments[index + 1 :])
        return to_host(xp.asarray(y)).ravel()

    steps = h * np.eye(argument.size).reshape(-1, *argument.shape)
    columns = [(y_at(argument + step) - y_at(argument - step)) / (2 * h) for step in steps]
    return np.stack(columns, axis=1)


# -- The message -----------------------------------------------------------------------------------


def report(evidence, right, cut):
    """Write the message: each wrong gradient with its mistake, then those that are right."""
    kinds, lines = {}, []
    for e in evidence:
        kinds[e.d_name], sentence = name_the_mistake(e)
        lines += textwrap.wrap(f"{cut * (not lines)}{e.d_name} is wrong{sentence}", 100)
    if len(lines) > 5:
        lines[4:] = [f"More are wrong: {listed(kinds)}. Begin with the first."]
    if len(evidence) == 1:
        place = int(abs(e.claimed - e.measured).argmax())
        mine, true = (f"{array.flat[place] + 0:.9g}" for array in (e.claimed, e.measured))
        where = f"{e.wrong.sum()} of {e.x.size} entries, most at {entry_name(e.d_name, e.x, place)}"
        lines.append(f"Off at {where}: backward says {mine}, measured is {true}.")
        if kinds[e.d_name] is None:
            short = {"precision": 3, "threshold": 9, "edgeitems": 4, "max_line_width": 100}
            for what, array in (("backward", e.claimed), ("measured", e.measured)):
                lines.append(f"  {what}: {np.array2string(array.ravel(), **short)}")
    if right and len(lines) < 6:
        lines.append(f"{listed(right)} {'is' if len(right) == 1 else 'are'} right.")
    return "\n".join(lines), kinds


# -- Hypotheses ------------------------------------------------------------------------------------
# Each kind of mistake with its sentence, which goes on after "dx is wrong". Where a kind has more
# than one sentence, a number tells them apart.

SENTENCES = {
    "zero": ": it is zero everywhere, though y depends on {x}.",
    "ignores dy": ": it is the same whatever dy is. Multiply by dy, the gradient from above.",
    "added": ": it is not zero where dy is zero. What is added that dy does not multiply?",
    "not linear": ": it is not linear in dy. What dy is multiplied by must come from forward only.",
    "sign": ": it has the opposite sign.",
    "mean for sum": ": it is a mean where the sum belongs: {many} entries of y add their parts.",
    "times 1": ": it is multiplied by {one} once too often.",
    "times 2": ": the factor {one} is missing.",
    "factor": ": everywhere it is {factor}.",
    "weights": ": it is off by a factor that depends on the {names} of {what} alone ({values}).",
    "region 1": " in {where}, where it is {factor}; elsewhere it is right.",
    "region 2": ": what comes back from dy in {where} is {factor}; the rest is right.",
    "region 3": " in {where}; elsewhere it is right.",
    "order": ": it is the gradient of {other}. Return them in the order of the arguments.",
    "turned": ": it is {what}.",
    "shifted": ": its numbers are right but shifted, {moves}.",
    "sum": ": it is {what} summed over its {over}. Sum something else, or over other axes.",
    "lost 1": ": nothing comes back from dy in {where}. Is a loop too short, or = written for +=?",
    "lost 2": ": contributions are lost, and the rest is right. {y_j} depends on {x_i}, but {dx_i} "
    "gets nothing from {dy_j}. Is there = where += belongs, or a mask or a loop too narrow?",
    "extra": ": gradient flows where it should be zero{as_it_is}. {stray}. "
    "Is a mask missing, or too wide?",
    "shared": ": {dy_j} is shared among {many} entries, but all of it belongs to {few} of them.",
    "places": ": the right numbers go to wrong places. {stray}. Is an index off, or the stride?",
    "inverted": ": it is zero where gradient should flow, and only there. Is a mask inverted?",
    "mean not taken off": ": its mean over {over} was not subtracted, or not rightly.",
    "variance": ": in each channel it is off by a multiple of {x}, plus a constant. That is the "
    "path through the variance (and the mean): its term is missing, or has a wrong factor.",
    "normalization": ": in each pixel it is off by a multiple of softmax({x}). That is the path "
    "through the sum that softmax divides by: its term is missing, or wrong.",
    "argument": ": it would be right with {what}. So backward uses {other} the wrong way.",
}


def name_the_mistake(e):
    """Try the hypotheses in turn; returns the kind of the first that holds, and its sentence."""
    families = (about_dy, multiplied, rearranged, off_by_factors, summed, misled, normalized)
    for family in (*families, misused, somewhere):
        for name, holds, words in family(e):
            if holds:
                return name.rstrip(" 123"), SENTENCES[name].format(x=e.name, **words)
    return None, ", in a way that none of the known mistakes explains."


# Each family yields the names of hypotheses, whether each explains *all* of the difference, and
# the words for its sentence.


def about_dy(e):
    """Find that dy plays no part, or the wrong one."""
    other = np.random.default_rng((1, 2016)).standard_normal(e.dy.shape)
    yield "zero", not e.claimed.any(), {}
    yield "ignores dy", np.array_equal(e.call(other), e.claimed), {}
    yield "added", e.call(0 * e.dy).any(), {}
    yield "not linear", not close(e.claimed + e.call(other), e.call(e.dy + other)).all(), {}


def multiplied(e):
    """Find a minus or an array too much or too few, or a mean where a sum belongs."""
    yield "sign", same(e.claimed, -e.measured), {}
    parts = e.should_flow.sum(axis=0).reshape(e.x.shape)  # of how many entries of y is x a part?
    many, is_mean = parts.max(), same(e.claimed * parts, e.measured)
    yield "mean for sum", many > 1 and is_mean, {"many": f"{'up to ' * bool(np.ptp(parts))}{many}"}
    known = {e.name: e.x, **e.others, "the result": e.y, "1 - the result": 1 - e.y}
    for one, array in {**known, f"softmax({e.name})": softmax(e.x)}.items():
        if spreads_over(array, e.x.shape):
            yield "times 1", same(e.claimed, e.measured * array), {"one": one}
            yield "times 2", same(e.claimed * array, e.measured), {"one": one}
        if spreads_over(array, e.y.shape):
            yield "times 1", same(e.claimed, e.flow_back(e.dy * array)), {"one": one}
            yield "times 2", same(e.call(e.dy * array), e.measured), {"one": one}


def off_by_factors(e):
    """Find a factor: one for all, or one for each place of dx or of dy."""
    for what, array, axis in ((e.d_name, e.x, 0), ("dy", e.y, 1)):
        size = (e.truth**2).sum(axis=axis)
        factors = (e.claims * e.truth).sum(axis=axis) / np.maximum(size, 1e-300)  # least squares
        if not same(e.claims, e.truth * np.expand_dims(factors, axis)):
            continue
        flows = e.should_flow.any(axis=axis).reshape(array.shape)  # what never flows has no factor
        factors = np.ma.array(factors.round(9).reshape(array.shape), mask=~flows)
        values = list(dict.fromkeys(float(f"{value:.6g}") for value in factors.compressed()))
        yield "factor", len(values) == 1, {"factor": times(values[0], e)}
        names, changed = axis_names(what, array.shape), (abs(factors - 1) > 1e-6).filled(False)
        where = box(changed, names, flows)
        if where and len(values) == 2 and 1 in values:
            kind = "lost 1" if axis and 0 in values else f"region {axis + 1}"
            yield kind, True, {"where": where, "factor": times(sum(values) - 1, e)}
        varies = [name for k, name in enumerate(names) if np.ma.ptp(factors, axis=k).max() > 1e-6]
        few = 0 not in values and len(varies) < sum(n > 1 for n in array.shape)
        shown = ", ".join([*(f"{value:.3g}" for value in values[:4]), "..."])
        yield "weights", few, {"names": listed(varies), "what": what, "values": shown}


def rearranged(e):
    """Find the right numbers of another argument, or in other places."""
    for other in e.beside:
        yield "order", same(e.claimed, other.measured), {"other": other.name}
    for what, array in turned(e.measured, e.axes):
        yield "turned", same(e.claimed, array), {"what": what}
    for steps in itertools.product((0, 1, -1, 2, -2), repeat=e.x.ndim):
        moves = [f"{d:+d} along its {e.axes[k]}s" for k, d in enumerate(steps) if d]
        mine, true = shifted(e.claimed, steps), shifted(e.measured, [-d for d in steps])
        much = 4 * mine.size >= e.x.size and (true != 0).sum() > 3
        yield "shifted", much and moves and same(mine, true), {"moves": listed(moves or [""])}


def summed(e):
    """Find a sum over the wrong axes, or of the wrong product."""
    products = {"dy": e.dy, "dy * y": e.dy * e.y}
    products |= {f"dy * {n}": e.dy * a for n, a in e.others.items() if a.shape == e.dy.shape}
    for what, product in products.items():
        for axes in subsets(range(e.dy.ndim)):
            over = listed(f"{axis_names('dy', e.dy.shape)[k]}s" for k in axes)
            yield "sum", same(e.claimed, product.sum(axis=axes)), {"what": what, "over": over}


def misled(e):
    """Find that gradient is lost on its way, or goes where it should not."""
    missing, surplus = e.should_flow & ~e.flows, e.flows & ~e.should_flow
    if missing.any():
        yield "lost 2", not (e.differs & ~missing).any(), example(e, missing)
    if not surplus.any():
        return
    words = example(e, surplus)
    as_it_is = ", dy as it is" if same(e.claimed, e.dy) else ""
    yield "extra", not (e.differs & ~surplus).any(), {"as_it_is": as_it_is, **words}
    many, few, total = e.flows.sum(axis=1), e.should_flow.sum(axis=1), e.claims.sum(axis=1)
    even = (e.should_flow <= e.flows).all() and same(total, e.truth.sum(axis=1))
    yield "shared", even, {"many": many.max(), "few": few[many.argmax()], **words}
    for axis in (0, 1):  # by what each dx takes, or by where each dy goes
        mine, true = np.sort(e.claims, axis=axis), np.sort(e.truth, axis=axis)
        yield "places", same(mine, true), words
    mine, true = e.flows.any(axis=0), e.should_flow.any(axis=0)
    yield "inverted", true.any() and (mine != true).all(), {}


def normalized(e):
    """Find that a term of a normalization is missing: through a mean, a variance, a sum."""
    for axes in subsets(range(e.x.ndim)):
        centered = e.claimed - e.claimed.mean(axis=axes, keepdims=True)
        over = listed(f"{e.axes[k]}s" for k in axes)
        yield "mean not taken off", same(centered, e.measured), {"over": over}
    rest = e.claimed - softmax(e.x) * e.claimed.sum(axis=-1, keepdims=True)
    yield "normalization", same(rest, e.measured), {}
    pixels = tuple(range(e.x.ndim - 1))
    x, off = e.x - e.x.mean(axis=pixels), e.claimed - e.measured
    off = off - x * (x * off).sum(axis=pixels) / np.maximum((x * x).sum(axis=pixels), 1e-30)
    explained = same(e.measured + off - off.mean(axis=pixels), e.measured)
    yield "variance", e.x[..., :1].size > 5 and explained, {}


def misused(e):
    """Find the gradient that there would be if another argument were turned around."""
    for name, array in e.others.items():
        instead = [(f"replaced by {n}", a) for n, a in e.others.items() if n != name]
        instead += list(turned(array, axis_names(name, array.shape)))
        for what, a in instead:
            fits = a.shape == array.shape and same(e.claimed, e.measure_with(name, a))
            yield "argument", fits, {"other": name, "what": f"{name} {what}"}


def somewhere(e):
    """Find that a part is wrong, in a way that has no simpler name, and the rest right."""
    if 4 * (~e.wrong & (e.measured != 0)).sum() < (e.measured != 0).sum():
        return  # too little is right
    inside, wrong = np.zeros(e.x.shape, bool), e.wrong.sum(axis=-1)
    inside[(slice(None), slice(1, -1), slice(1, -1))[: e.x.ndim]] = e.x.ndim > 2
    yield "region 3", np.array_equal(e.wrong, inside), {"where": "its interior"}
    block = box(e.wrong, e.axes, (e.claimed != 0) | (e.measured != 0))
    yield "region 3", block, {"where": block}
    border = "its border (the first or last row or column)"
    yield "region 3", inside.any() and not e.wrong[inside].any(), {"where": border}
    few = f"{wrong.flat[0]} of the {e.x.shape[-1]} {e.axes[-1]}s of each pixel"
    yield "region 3", e.x.ndim > 2 and not np.ptp(wrong), {"where": few}


# -- Helpers ---------------------------------------------------------------------------------------


def close(a, b):
    """Where two arrays agree, beside their largest entry."""
    return abs(a - b) <= TOLERANCE * max(abs(a).max(initial=0), abs(b).max(initial=0))


def same(a, b):
    """Whether two arrays have one shape and agree at every entry, and are not zero."""
    return a.shape == b.shape and bool(close(a, b).all()) and bool(a.any() or b.any())


def spreads_over(array, shape):
    """Whether an array has different numbers, and can weigh each entry of one of a shape."""
    sides = list(zip(array.shape[::-1], shape[::-1], strict=False))
    return np.ptp(array) and len(sides) == array.ndim and all(a in (1, b) for a, b in sides)


def shifted(array, steps):
    """Cut off what an array loses, or gains, when it is moved by some steps along its axes."""
    ends = zip(steps, array.shape, strict=True)
    return array[tuple(slice(max(d, 0), n + min(d, 0)) for d, n in ends)]


def times(ratio, e):
    """Write a factor in words: "1/24 of what it should be", and what there may be 24 of."""
    whole = round(max(abs(ratio), 1 / abs(ratio))) if ratio else 0
    if whole < 2 or ratio < 0 or abs(max(ratio, 1 / ratio) - whole) > 1e-5 * whole:
        return f"{ratio:.6g} times what it should be" if ratio else "zero"
    sizes = set()
    for name, array in {e.name: e.x, "y": e.y, **e.others}.items():
        names = axis_names(name, array.shape)
        for axes in [*subsets(range(array.ndim - 1)), tuple(range(array.ndim))]:
            # 2, 3 and 4 are the size of too many things.
            if math.prod(array.shape[k] for k in axes) == whole > 4:
                sizes.add(" * ".join(names[k] + "s" for k in axes))
    which = f" ({whole} = {sizes.pop()}?)" if len(sizes) == 1 else ""
    return f"{f'{whole} times' if ratio > 1 else f'1/{whole} of'} what it should be{which}"


def softmax(x):
    """Turn scores into probabilities over the last axis."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def subsets(items):
    """List all nonempty subsets, small ones first."""
    items = list(items)
    return [s for size in range(1, len(items) + 1) for s in itertools.combinations(items, size)]


def turned(array, names):
    """Flip an array along some axes, or exchange two of one length: (what, result)."""
    for axes in subsets(k for k in range(array.ndim) if array.shape[k] > 1):
        which = listed(f"{names[k]}s" for k in axes)
        yield f"flipped along its {which}", np.flip(array, axes)
    for a, b in itertools.combinations(range(array.ndim), 2):
        if array.shape[a] == array.shape[b] > 1:
            what = f"transposed, with its {names[a]}s and {names[b]}s exchanged"
            yield what, array.swapaxes(a, b)


def example(e, pairs):
    """Name the first pair (entry of y, entry of x) that is marked, as the sentences want it."""
    j, i = np.argwhere(pairs)[0]
    words = {"y_j": entry_name("y", e.y, j), "dy_j": entry_name("dy", e.y, j)}
    words |= {"x_i": entry_name(e.name, e.x, i), "dx_i": entry_name(e.d_name, e.x, i)}
    stray = "{dx_i} gets something from {dy_j}, though {y_j} does not depend on {x_i}"
    return words | {"stray": stray.format(**words)}


def box(mask, names, matters):
    """Say in words where a mask is True, if that is a block of rows, channels and so on.

    Entries that don't matter (both gradients are zero there) may be True or not.
    """
    if not mask.any() or (mask | ~matters).all():
        return None
    chosen = [np.unique(axis) for axis in np.nonzero(mask)]
    block = np.zeros(mask.shape, bool)
    block[np.ix_(*chosen)] = True
    parts = zip(names, chosen, mask.shape, strict=True)
    words = [some(name, indices, n) for name, indices, n in parts if len(indices) < n]
    return " of ".join(words[::-1]) if not (block & ~mask & matters).any() else None


def some(name, indices, length):
    """Write which places along an axis: "the last row", "channels 1, 2 and 3"."""
    if len(indices) > 1:
        return f"{name}s {listed(map(str, indices))}"
    ends = {0: f"the first {name}", length - 1: f"the last {name}"}
    return ends.get(int(indices[0]), f"{name} {indices[0]}")


def axis_names(name, shape):
    """Name the axes of an array, by how many there are and by what it is."""
    image, kernel = ("image", "row", "column"), ("kernel row", "kernel column")
    if len(shape) == 4 and name.split(".")[-1] in ("weight", "dweight", "kernel", "w"):
        return (*kernel, "input channel", "filter")
    known = {1: ("element",), 2: image[1:], 3: image, 4: (*image, "channel")}
    known[6] = (*image, *kernel, "channel")  # the patches of im2col
    return known.get(len(shape), [f"axis-{k} place" for k in range(len(shape))])


def listed(words):
    """Write a list: "a", "a and b", "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def entry_name(name, array, place):
    """Write an entry of an array: ``dx[0, 1, 2]``; a single number has no places."""
    where = ", ".join(str(int(k)) for k in np.unravel_index(place, array.shape))
    return f"{name}[{where}]" if array.ndim else name
