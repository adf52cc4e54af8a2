r"""Which mistake is it? From a wrong gradient to a sentence that names what is wrong with it.

**The plain things first**, in the order in which they mislead: did a pair ``(y, backward)`` come
back, and one gradient for each argument, of its shape and dtype? Was an argument overwritten? Is it
the same the second time? `call_twice` sees to these.

**Then the numbers.** For small arrays the whole *Jacobian* can be measured: row j, column i says
how much ``y[j]`` changes when ``x[i]`` is moved. Backward has one as well: ``backward(dy)`` with a
single 1 in ``dy`` gives a row of it. Each mistake leaves its mark on how the two differ: a factor
is a factor everywhere, a forgotten ``+=`` leaves zeros, a kernel that was not flipped gives the
very gradient that the flipped kernel would have. So each kind of mistake is a *hypothesis*: two
arrays, one from backward and one from what was measured, that agree at every entry, to rounding, if
just this mistake was made; and a sentence. Where no two agree, the message says so and shows both
gradients: a wrong name is worse than none.
"""

import contextlib
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
    kind : str or None
        The kind of the mistake, if one is known that explains it.
    """

    def __init__(self, message, kind=None):
        super().__init__(message)
        self.kind = kind


def require(holds, message):
    """Raise a GradientError unless a condition holds."""
    if not holds:
        raise GradientError(message)


# -- The plain things ------------------------------------------------------------------------------


def floating_arguments(arguments, names):
    """List the places of the arguments whose gradients are checked: all floating arrays."""
    checked = [
        k for k, a in enumerate(arguments) if isinstance(a, xp.ndarray) and a.dtype.kind == "f"
    ]
    if not checked:
        raise TypeError("none of the arguments is a floating array: there is no gradient to check")
    for name, dtype in ((names[index], arguments[index].dtype) for index in checked):
        if dtype != "float64":
            raise TypeError(f'{name} is {dtype}, too coarse: check {name}.astype("float64")')
    return checked


def call_twice(function, arguments, checked, names, rng):
    """Call a function and its backward twice, watching what they return and touch.

    All is given to them as copies; the upstream gradient dy is random.

    Returns
    -------
    y, dy, gradients : array, array, list of arrays

    Raises
    ------
    GradientError
        If forward does not return a pair (y, backward), or backward something else than one
        gradient for each argument that is checked, of its shape; if one of them overwrites what it
        was given, loses precision, or gives something else the second time.
    """
    given = copied(arguments)
    result = function(*given)
    is_pair = isinstance(result, tuple) and len(result) == 2 and callable(result[1])
    require(is_pair, f"forward returns {describe(result)}: end it with `return y, backward`")
    refuse_overwriting("forward", names, arguments, given)
    y, backward = xp.asarray(result[0]), result[1]
    refuse_result("y", y, function(*copied(arguments))[0])

    dy = random_like(y, rng)
    watched = [dy.copy(), y, *given]
    before = copied(watched)
    returned = backward(watched[0])
    refuse_overwriting("backward", ["dy", "y, the result of forward,", *names], before, watched)
    gradients, d_names = copied(as_tuple(returned)), [gradient_name(names[k]) for k in checked]
    order = ", ".join(d_names)
    as_many = len(gradients) == len(checked) and not isinstance(returned, list | None)
    require(as_many, f"backward returns {describe(returned)}: end it with `return {order}`")
    hint = f"a gradient has the shape of its namesake, and the order is {order}"
    again = as_tuple(backward(dy.copy()))
    for k, d_name, gradient, second in zip(checked, d_names, gradients, again, strict=True):
        said = f"{d_name} is {describe(gradient)}, but {names[k]} has shape {arguments[k].shape}"
        require(getattr(gradient, "shape", None) == arguments[k].shape, f"{said}: {hint}")
        refuse_result(d_name, gradient, second)
    return y, dy, gradients


def refuse_result(name, array, again):
    """Raise if a result is not float64, as what it is made of, not finite, or not repeated."""
    cure = "numpy.zeros_like keeps a dtype, numpy.zeros does not"
    require(array.dtype == "float64", f"{name} is {array.dtype} for float64 arguments: {cure}")
    require(xp.isfinite(array).all(), f"{name} has entries that are NaN or infinite")
    why = "does it draw random numbers, or overwrite an array that it keeps?"
    require((array == again).all(), f"a second call gives another {name}: {why}")


def refuse_overwriting(who, names, before, after):
    """Raise if one of several arrays is no longer what it was."""
    for name, old, new in zip(names, before, after, strict=True):
        if isinstance(old, xp.ndarray) and old.dtype.kind in "fiub":
            changed = np.argwhere(to_host((old != new) & ((old == old) | (new == new)))).tolist()
            place = next(map(tuple, changed), None)
            cure = "others still need that array: make a new one, or work on a copy"
            require(place is None, f"{who} overwrites {name} (first at {place}); {cure}")


def random_like(array, rng):
    """Draw normal numbers in the shape and dtype of an array, on its device."""
    return to_device(np.asarray(rng.standard_normal(array.shape), dtype=array.dtype))


def copied(values):
    """Copy the arrays among some values."""
    return [value.copy() if isinstance(value, xp.ndarray) else value for value in values]


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
    if isinstance(value, xp.ndarray | xp.generic):
        return f"an array of shape {value.shape}"
    size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return "None" if value is None else f"a {type(value).__name__}{size}"


def as_tuple(value):
    """Read one gradient alone as a tuple of one."""
    return value if isinstance(value, tuple) else (value,)


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
    call : function
        Gives what backward claims for another dy.
    claimed, measured : arrays of the argument's shape
        Its gradient.
    claims, truth : arrays (y.size, x.size)
        Its Jacobian: how much each entry of y changes with each entry of x.
    flows, should_flow : boolean arrays (y.size, x.size)
        Where these are not zero.
    others : dict of Evidence
        That of the other arguments, by their names.
    """

    def __init__(self, function, arguments, names, index, y, dy, call):
        self.function, self.arguments, self.names, self.index = function, arguments, names, index
        self.name, self.d_name = names[index], gradient_name(names[index])
        self.x, self.y, self.dy, self.call = to_host(arguments[index]), y, dy, call
        self.axes = axis_names(self.name, self.x.shape)
        self.claimed, self.truth = call(dy), jacobian(function, arguments, index)
        self.claims = np.stack([call(row).ravel() for row in one_at_a_time(dy)])
        self.measured = self.flow_back(dy)
        # An argument that hardly matters has a gradient of rounding noise, which may be anything.
        noise = 1e-9 * abs(self.y).max() * abs(self.dy).max() / max(1.0, abs(self.x).max())
        self.wrong = ~close(self.claimed, self.measured, noise)
        size = 1e-7 * max(abs(self.truth).max(), abs(self.claims).max())
        self.flows, self.should_flow = abs(self.claims) > size, abs(self.truth) > size

    def flow_back(self, dy):
        """Give the gradient that is right for a dy."""
        return (dy.ravel() @ self.truth).reshape(self.x.shape)


def explain(function, arguments, checked, names, dy):
    """Say in at most six lines which of a function's gradients are wrong, and how.

    Where the arrays are too large to be measured whole, smaller ones are cut from them.

    Parameters
    ----------
    function, arguments, checked, names
        As in `tinyunet.nn.gradcheck.check_gradients`.
    dy : array of the result's shape

    Returns
    -------
    message : str or None
        None where nothing is found wrong, or nothing can be measured whole.
    kind : str or None
        The kind of the mistake.
    """
    size = sum(arguments[index].size for index in checked)
    tries = [(arguments, dy)]
    if size > LARGEST_ARGUMENT or size * dy.size > LARGEST_JACOBIAN:
        tries = itertools.islice(smaller(function, arguments), 5)
    for small, small_dy in tries:
        wrong, right = measure(function, small, checked, names, small_dy)
        if wrong:
            shapes = [f"{names[index]} cut to {small[index].shape}" for index in checked]
            return report(wrong, right, "" if small is arguments else f"With {listed(shapes)}, ")
    return None, None


def measure(function, arguments, checked, names, dy):
    """Measure all gradients of a function: of those that are wrong, and of the others."""
    y, backward = function(*arguments)
    y, dy, found = to_host(xp.asarray(y)), to_host(dy), []
    for place, index in enumerate(checked):

        def call(dy, place=place):
            return to_host(as_tuple(backward(to_device(dy)))[place]).copy()

        found.append(Evidence(function, arguments, names, index, y, dy, call))
    for e in found:
        e.others = {other.name: other for other in found if other is not e}
    return [e for e in found if e.wrong.any()], [e for e in found if not e.wrong.any()]


def smaller(function, arguments):
    """Cut large arguments short, the shortest first: yields those that a function takes, and a dy.

    Axes of one length stay of one length, for images must fit their labels, and channels their
    weights. Axes of different lengths stay different, so that a swap shows.
    """
    arrays = [index for index, a in enumerate(arguments) if isinstance(a, xp.ndarray)]
    lengths = {n for index in arrays for n in arguments[index].shape}
    long = sorted(n for n in lengths if n > 4)
    for short in sorted(itertools.permutations({2, 3, 4, 5, 6, 7} - lengths, len(long)), key=sum):
        new, cut = dict(zip(long, short, strict=True)), list(arguments)
        for index in arrays:
            cut[index] = cut[index][tuple(slice(new.get(n, n)) for n in cut[index].shape)].copy()
        with contextlib.suppress(Exception):  # it needs its arguments as long as they were
            y, backward = function(*cut)
            dy = to_device(np.random.default_rng(0).standard_normal(np.shape(y)))
            backward(dy.copy())
            yield cut, dy


def jacobian(function, arguments, index):
    """Measure how y changes with each entry of one argument: (y.size, argument.size)."""
    argument = to_host(arguments[index])
    h = 1e-5 * max(1.0, abs(argument).max(initial=0))

    def y_at(argument):
        y, _ = function(*arguments[:index], to_device(argument), *arguments[index + 1 :])
        return to_host(xp.asarray(y)).ravel()

    steps = [h * one for one in one_at_a_time(argument)]
    columns = [(y_at(argument + step) - y_at(argument - step)) / (2 * h) for step in steps]
    return np.stack(columns, axis=1)


def one_at_a_time(array):
    """For each entry of an array, make one of its shape with 1 there and 0 elsewhere."""
    return np.eye(array.size).reshape(-1, *array.shape)


# -- The message -----------------------------------------------------------------------------------


def report(wrong, right, cut):
    """Write the message: the first wrong gradient with its mistake, then how the others are."""
    e = wrong[0]
    kind, sentence = name_the_mistake(e)
    lines = textwrap.wrap(f"{cut}{e.d_name} is wrong: {sentence}", 100)
    place = int(abs(e.claimed - e.measured).argmax())
    mine, true = (f"{array.flat[place] + 0:.9g}" for array in (e.claimed, e.measured))
    where = f"{e.wrong.sum()} of {e.x.size} entries, most at {entry_name(e.d_name, e.x, place)}"
    lines.append(f"Off at {where}: backward says {mine}, measured is {true}.")
    if kind is None:
        for what, array in (("backward", e.claimed), ("measured", e.measured)):
            lines.append(f"  {what}: {', '.join(f'{value:.3g}' for value in array.flat[:8])}")
    others = {"Wrong too": wrong[1:], "Right": right}
    said = [f"{word}: {listed(e.d_name for e in some)}." for word, some in others.items() if some]
    return "\n".join([*lines, " ".join(said)]).rstrip(), kind


# -- Hypotheses ------------------------------------------------------------------------------------
# Each family yields hypotheses: the kind of a mistake, the sentence that goes on after "dx is
# wrong: ", and two arrays that agree if this mistake was made. The first that holds is told. If
# none does, they are tried once more, up to a factor: two mistakes in one are not rare.


def name_the_mistake(e):
    """Try the hypotheses in turn; returns the kind of the first that holds, and its sentence."""
    other = np.random.default_rng((1, 2016)).standard_normal(e.dy.shape)
    if not e.claimed.any():
        return "zero", f"it is zero everywhere, though y depends on {e.name}."
    if same(e.call(other), e.claimed):
        return "ignores dy", "it is the same whatever dy is. Multiply by dy, the upstream gradient."
    if not close(e.call(other) + e.claimed, e.call(other + e.dy)).all():
        return "not linear", "it is not linear in dy. Multiply dy by what forward had; add nothing."
    for any_factor in (False, True):
        for kind, sentence, mine, true in itertools.chain(*(family(e) for family in FAMILIES)):
            few = kind != "factor" and np.count_nonzero(true) < 4  # which agree by chance
            factor = fit(mine, true) if any_factor and not few and mine.shape == true.shape else 1
            if same(mine, factor * true):
                also = "everywhere" if kind == "factor" else f"{sentence} Apart from that,"
                return kind, sentence if factor == 1 else f"{also} it is {times(factor, e)}."
    return None, "in a way that none of the known mistakes explains."


def multiplied(e):
    """Look for a minus or a factor too much or too few, or a mean where a sum belongs."""
    yield "factor", "", e.claims, e.truth
    yield "sign", "it has the opposite sign.", e.claimed, -e.measured
    parts = e.should_flow.sum(axis=0).reshape(e.x.shape)  # of how many entries of y is x a part?
    sentence = f"it is a mean where the sum belongs: {parts.max()} entries of y add their parts."
    yield "mean for sum", sentence, e.claimed * np.maximum(parts, 1), e.measured
    known = {e.name: e.x, "the result": e.y, "1 - the result": 1 - e.y}
    known |= {f"softmax({e.name})": softmax(e.x)} | {n: other.x for n, other in e.others.items()}
    for one, a in known.items():
        too_often = f"it is multiplied by {one} once too often."
        missing = f"the factor {one} is missing."
        if spreads_over(a, e.x.shape):
            yield "times", too_often, e.claimed, e.measured * a
            yield "times", missing, e.claimed * a, e.measured
        if spreads_over(a, e.y.shape):
            yield "times", too_often, e.claimed, e.flow_back(e.dy * a)
            yield "times", missing, e.call(e.dy * a), e.measured


def rearranged(e):
    """Look for the right numbers of another argument, or in other places."""
    for other in e.others.values():
        sentence = f"it is the gradient of {other.name}. Return them in the order of the arguments."
        yield "order", sentence, e.claimed, other.measured
    for what, array in turned(e.measured, e.axes):
        yield "turned", f"it is {what}.", e.claimed, array
    for steps in itertools.product((0, 1, -1, 2, -2), repeat=e.x.ndim):
        moves = [f"{d:+d} along its {e.axes[k]}s" for k, d in enumerate(steps) if d]
        mine, true = shifted(e.claimed, steps), shifted(e.measured, [-d for d in steps])
        if moves and 4 * mine.size >= e.x.size and np.count_nonzero(true) > 3:
            yield "shifted", f"its numbers are right but shifted, {listed(moves)}.", mine, true


def off_by_factors(e):
    """Look for a factor: one for all, or one for each place of dx or of dy."""
    of_dx, of_dy = (e.d_name, "its part", e.x, 0), ("dy", "what comes back from dy", e.y, 1)
    for what, part, array, axis in (of_dx, of_dy):
        factors = fit(e.claims, e.truth, axis)
        agree = e.claims, e.truth * np.expand_dims(factors, axis)
        flows = e.should_flow.any(axis=axis).reshape(array.shape)  # what never flows has no factor
        factors = np.ma.array(factors.round(9).reshape(array.shape), mask=~flows)
        values = list(dict.fromkeys(float(f"{value:.6g}") for value in factors.compressed()))
        names = axis_names(what, array.shape)
        where = box(np.ma.filled(abs(factors - 1) > 1e-6, False), names, flows)
        varies = [name for k, name in enumerate(names) if np.ma.ptp(factors, axis=k).max() > 1e-6]
        if where and len(values) == 2 and 1 in values:
            where = f"{part} in {where} is {times(sum(values) - 1, e)}; the rest is right."
            yield "region", where, *agree
        elif 0 not in values and 0 < len(varies) < sum(n > 1 for n in array.shape):
            some = ", ".join(f"{value:.3g}" for value in values[:4])
            yield "weights", f"each {listed(varies)} of {what} has a factor: {some} ...", *agree


def summed(e):
    """Look for a sum over the wrong axes, or of the wrong product."""
    others = {n: other.x for n, other in e.others.items() if other.x.shape == e.dy.shape}
    products = {f"dy * {n}": e.dy * a for n, a in ({"y": e.y} | others).items()} | {"dy": e.dy}
    for (what, product), axes in itertools.product(products.items(), subsets(range(e.dy.ndim))):
        over = listed(f"{axis_names('dy', e.dy.shape)[k]}s" for k in axes)
        yield "sum", f"it is {what} summed over its {over}.", e.claimed, product.sum(axis=axes)


def misled(e):
    """Look for gradient that is lost on its way, or goes where it should not."""
    missing, surplus = e.should_flow & ~e.flows, e.flows & ~e.should_flow
    lost = "contributions are lost: {} gets nothing from {}. Is there = where += belongs?"
    yield "lost", lost.format(*example(e, missing)), e.claims, e.truth * e.flows
    stray = "{} should get nothing from {}".format(*example(e, surplus))
    extra = f"gradient flows where it should be zero: {stray}. Is a mask missing, or too wide?"
    yield "extra", extra, e.claims * e.should_flow, e.truth
    if surplus.any():
        places = f"the right numbers go to wrong places: {stray}. Is an index off?"
        for axis in (0, 1):  # by what each dx takes, or by where each dy goes
            yield "places", places, np.sort(e.claims, axis=axis), np.sort(e.truth, axis=axis)
    mine, true = e.flows.any(axis=0), e.should_flow.any(axis=0)
    yield "inverted", "it flows only where it should not. Is a mask inverted?", 1 * mine, 1 - true


def normalized(e):
    """Look for a path that was forgotten: by a mean, a sum, or a variance."""
    for axes in subsets(range(e.x.ndim)):
        sentence = f"its mean over {listed(f'{e.axes[k]}s' for k in axes)} was not subtracted."
        centered = e.claimed - e.claimed.mean(axis=axes, keepdims=True)
        yield "mean not taken off", sentence, centered, e.measured
    sentence = f"in each pixel a multiple of softmax({e.name}) is missing: the path by the sum."
    rest = e.claimed - softmax(e.x) * e.claimed.sum(axis=-1, keepdims=True)
    yield "normalization", sentence, rest, e.measured
    pixels = tuple(range(e.x.ndim - 1))
    x, off = e.x - e.x.mean(axis=pixels), e.claimed - e.measured
    off = off - x * (x * off).sum(axis=pixels) / np.maximum((x * x).sum(axis=pixels), 1e-30)
    if x.size > 5 * off.mean(axis=pixels).size:
        sentence = f"in each channel a multiple of {e.name} is missing: the path by the variance."
        yield "variance", sentence, e.measured + off - off.mean(axis=pixels), e.measured


def misused(e):
    """Look for the gradient that there would be if another argument were turned around."""
    for name, other in e.others.items():
        for what, instead in turned(other.x, other.axes):
            sentence = f"it would be right with {name} {what}. It uses {name} the wrong way."
            changed = list(e.arguments)
            changed[other.index] = to_device(np.ascontiguousarray(instead))
            truth = jacobian(e.function, changed, e.index)
            yield "argument", sentence, e.claimed, (e.dy.ravel() @ truth).reshape(e.x.shape)


def somewhere(e):
    """Look for a part that is wrong, in a way that has no simpler name."""
    inside, few = np.zeros(e.x.shape, bool), e.wrong.sum(axis=-1)
    inside[(slice(None), slice(1, -1), slice(1, -1))[: e.x.ndim]] = e.x.ndim > 2
    block = box(e.wrong, e.axes, (e.claimed != 0) | (e.measured != 0))
    places = {block: block, "its border": inside.any() and not e.wrong[inside].any()}
    if e.x.ndim > 2 and not np.ptp(few):
        places[f"{few.max()} of the {e.x.shape[-1]} {e.axes[-1]}s of each pixel"] = True
    right, known = e.claimed[~e.wrong], e.measured[~e.wrong]
    for where, is_there in places.items():
        if is_there and 4 * np.count_nonzero(known) >= np.count_nonzero(e.measured):
            yield "region", f"in {where}; elsewhere it is right.", right, known


FAMILIES = [multiplied, rearranged, off_by_factors, summed, misled, normalized, misused, somewhere]


# -- Helpers ---------------------------------------------------------------------------------------


def close(a, b, noise=0.0):
    """Where two arrays agree, beside their largest entry, or but for some noise."""
    return abs(a - b) <= max(noise, TOLERANCE * max(abs(a).max(initial=0), abs(b).max(initial=0)))


def same(a, b):
    """Whether two arrays have one shape and agree at every entry, and are not zero."""
    return a.shape == b.shape and bool(close(a, b).all()) and bool(a.any() or b.any())


def fit(mine, true, axis=None):
    """Find the factor for which it times `true` comes nearest to `mine`, by least squares."""
    return (mine * true).sum(axis=axis) / np.maximum((true * true).sum(axis=axis), 1e-300)


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
    many = round(max(ratio, 1 / ratio)) if ratio > 0 else 0
    if many < 2 or abs(max(ratio, 1 / ratio) - many) > 1e-5 * many:
        return f"{ratio:.6g} times what it should be" if ratio else "zero"
    all_axes = [*subsets(range(e.x.ndim - 1)), range(e.x.ndim)]
    found = [axes for axes in all_axes if math.prod(e.x.shape[k] for k in axes) == many]
    names = " * ".join(f"{e.axes[k]}s" for k in found[0]) if len(found) == 1 else ""
    which = f" ({many} = {names}?)" if names and many > 4 else ""  # fewer are of too many things
    return f"{f'{many} times' if ratio > 1 else f'1/{many} of'} what it should be{which}"


def softmax(x):
    """Turn scores into probabilities over the last axis."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def subsets(items):
    """List all nonempty subsets, small ones first."""
    sizes = range(1, len(items) + 1)
    return [some for size in sizes for some in itertools.combinations(items, size)]


def turned(array, names):
    """Flip an array along some axes, or exchange two of one length: (what, result)."""
    for axes in subsets([k for k in range(array.ndim) if array.shape[k] > 1]):
        which = listed(f"{names[k]}s" for k in axes)
        yield f"flipped along its {which}", np.flip(array, axes)
    for a, b in itertools.combinations(range(array.ndim), 2):
        if array.shape[a] == array.shape[b] > 1:
            what = f"transposed, with its {names[a]}s and {names[b]}s exchanged"
            yield what, array.swapaxes(a, b)


def example(e, pairs):
    """Name the first pair of an entry of dx and one of dy that is marked."""
    j, i = np.unravel_index(pairs.argmax(), pairs.shape)
    return entry_name(e.d_name, e.x, i), entry_name("dy", e.y, j)


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
