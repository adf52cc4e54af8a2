"""How small should h be? The error of a measured slope against its step: a V, not a line.

A backward is checked by a central difference, (f(x + h) - f(x - h)) / 2h. Theory says that it errs
by about h**2, because f bends, plus eps / h, because numbers are rounded. This demo measures both,
in float32 and float64, for a convolution alone (it does not bend at all) and for a convolution
under a softmax cross-entropy (it does).

    python demos/gradient_check.py        # a second
"""

import sys

import numpy as np
from parts.command_line import demo_parser, prepare

from tinyunet.backend import random_generator, to_device, to_host
from tinyunet.nn.functional import conv2d, softmax_cross_entropy
from tinyunet.plots.colors import PALETTE

try:
    import matplotlib

    matplotlib.use("Agg")  # draws into files, needs no screen
    from matplotlib import pyplot
except ImportError as error:
    sys.exit(f"{error}: this demo needs more packages: python -m pip install '.[demos]'")

STEPS = 10.0 ** np.arange(-12, 0.6, 0.25)
LINES = {"float64": (PALETTE[0] / 255, "-", "o"), "float32": (PALETTE[4] / 255, "--", "s")}


def functions(rng):
    """Make both scalar functions of a kernel: each gives its value and its gradient."""
    image = rng.normal(size=(1, 8, 8, 3))
    upstream, labels = rng.normal(size=(1, 8, 8, 2)), rng.integers(0, 2, (1, 8, 8))

    def convolution(weight):
        y, backward = conv2d(to_device(image.astype(weight.dtype)), weight, padding="same")
        dy = to_device(upstream.astype(weight.dtype))
        return (y * dy).sum(), lambda: backward(dy)[1]

    def with_loss(weight):
        y, backward = conv2d(to_device(image.astype(weight.dtype)), weight, padding="same")
        loss, loss_backward = softmax_cross_entropy(y, to_device(labels))
        return loss, lambda: backward(loss_backward(1.0))[1]

    return {
        "a convolution alone: nothing bends": convolution,
        "under a softmax cross-entropy: the V": with_loss,
    }


def errors(function, weight, directions, dtype):
    """Measure the relative error of a central difference, for each step of STEPS.

    The typical (root mean square) error over the directions, on the scale of the true slopes.
    """
    gradient = to_host(function(to_device(weight))[1]())  # what backward says, in float64
    true = (directions * gradient).sum(axis=(1, 2, 3, 4))

    def value(moved):
        return float(function(to_device(moved.astype(dtype)))[0])

    measured = [
        [(value(weight + h * d) - value(weight - h * d)) / (2 * h) for d in directions]
        for h in STEPS
    ]
    return np.sqrt(((measured - true) ** 2).mean(axis=1) / (true**2).mean())


def draw(path, curves):
    """Draw a panel for each function, with a line for each number type and what theory says."""
    pyplot.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.6), dpi=120, sharey=True)
    for axes, (title, by_type) in zip(panels, curves.items(), strict=True):
        for dtype, error in by_type.items():
            color, line, marker = LINES[dtype]
            style = {"color": color, "linestyle": line, "marker": marker, "markersize": 4}
            axes.loglog(STEPS, error.clip(1e-17), label=dtype, **style)
            rounding = np.finfo(dtype).eps / STEPS
            axes.loglog(STEPS, rounding, color="gray", linestyle=":", linewidth=1.2)
        axes.set_title(title, loc="left", fontsize=12)
        axes.set(xlabel="step h", ylim=(1e-17, 1e6))
        axes.annotate("dotted: eps / h", (1.5e-12, 1e-8), color="dimgray", fontsize=10)
    panels[1].loglog(STEPS, STEPS**2, color="gray", linestyle="-.", linewidth=1.2)
    panels[1].annotate("h²", (1e-7, 1e-12), color="dimgray", fontsize=10)
    panels[0].annotate("x + h rounds to x", (1.5e-12, 0.02), color="dimgray", fontsize=10)
    panels[0].set_ylabel("relative error of the measured slope")
    panels[0].legend(frameon=False, loc="upper right")
    figure.tight_layout()
    figure.savefig(path, format="png")
    pyplot.close(figure)


def main(arguments=None):
    """Measure, draw, and say what came out."""
    options = parse(arguments)
    rng = random_generator(options.seed)
    weight = rng.normal(size=(3, 3, 3, 2))
    directions = rng.normal(size=(options.directions, *weight.shape))
    curves = {
        title: {dtype: errors(function, weight, directions, dtype) for dtype in LINES}
        for title, function in functions(rng).items()
    }
    draw(options.out, curves)
    curved = list(curves.values())[1]
    (h64, e64), (h32, e32) = ((STEPS[error.argmin()], error.min()) for error in curved.values())
    smallest = curved["float64"][0]
    print(f"The picture: {options.out}")
    print(
        f"You should have seen a V: a float64 slope is best at h = {h64:.0e} (error {e64:.0e}), a "
        f"float32 one at h = {h32:.0e} (error {e32:.0e}), and the smallest step of all, "
        f"{STEPS[0]:.0e}, makes the float64 error {smallest / e64:.0e} times as large."
    )


def parse(arguments):
    """Read the command line, and choose the device."""
    parser = demo_parser(__doc__, "gradient_check.png")
    parser.add_argument("--directions", type=int, default=16, help="random directions (16)")
    options = parser.parse_args(arguments)
    if options.directions < 1 or options.seed < 0:
        parser.error("--directions must be 1 or more, --seed 0 or more")
    return prepare(parser, options)


if __name__ == "__main__":
    main()
