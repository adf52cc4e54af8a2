"""Three backwards that are wrong, and a loss that falls all the same.

A U-Net learns four times from the same start and the same batches: once with the right gradients,
and once with each of three mistakes that people make. Every forward is right, so nothing crashes.
Looking at the loss one would call all four fine; the gradient checker is not deceived.

    python demos/wrong_gradients.py       # well under a minute on two cores
"""

import sys
from unittest import mock

import numpy as np
from parts.command_line import demo_parser, percent, prepare

from tinyunet.backend import to_device, xp
from tinyunet.data.scenes import CLASSES, paint_scenes
from tinyunet.distributed.replicas import Replicas
from tinyunet.nn.gradcheck import GradientError, check_gradients
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.operations import operations
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet
from tinyunet.plots.colors import PALETTE
from tinyunet.training.loop import random_batches, training_steps

try:
    import matplotlib

    matplotlib.use("Agg")  # draws into files, needs no screen
    from matplotlib import pyplot
except ImportError as error:
    sys.exit(f"{error}: this demo needs more packages: python -m pip install '.[demos]'")

CROP = 64
RIGHT = {name: getattr(operations, name) for name in ("conv_transpose2d", "max_pool2d", "concat")}


# --- The mistakes: a right forward with a wrong backward -------------------------------------


def conv_transpose2d(x, weight, bias=None, **settings):
    """Forget to store the gradients of weight and bias: they stay as random as they began."""
    y, right = RIGHT["conv_transpose2d"](x, weight, bias, **settings)

    def backward(dy):
        dx, *others = right(dy)
        return dx, *(xp.zeros_like(gradient) for gradient in others)

    return y, backward


def max_pool2d(x, size=2):
    """Give the gradient to every pixel of the window, not to the largest alone."""
    y, _ = RIGHT["max_pool2d"](x, size)
    return y, lambda dy: dy.repeat(size, axis=1).repeat(size, axis=2)


def concat(skip, x):
    """Lose the gradient of the skip: the encoder hears only what comes through the bottleneck."""
    y, right = RIGHT["concat"](skip, x)

    def backward(dy):
        dskip, dx = right(dy)
        return xp.zeros_like(dskip), dx

    return y, backward


MISTAKES = {
    "up-convolution never learns": conv_transpose2d,
    "pooling gives to all four": max_pool2d,
    "skip loses its gradient": concat,
}
STYLES = [(PALETTE[7], "-"), (PALETTE[4], "--"), (PALETTE[0], "-."), (PALETTE[2], ":")]


# --- What is measured ------------------------------------------------------------------------


def verdict(function):
    """Ask the gradient checker about an operation; gives None if it is right, else the message."""
    rng = np.random.default_rng(0)
    shapes = {
        "conv_transpose2d": [(2, 3, 3, 4), (2, 2, 3, 4), (3,)],
        "max_pool2d": [(2, 4, 4, 3)],
        "concat": [(2, 4, 4, 3), (2, 4, 4, 2)],
    }
    arguments = [to_device(rng.normal(size=shape)) for shape in shapes[function.__name__]]
    try:
        check_gradients(function, *arguments)
    except GradientError as error:
        return str(error)
    return None


def train(scenes, options):
    """Train a small U-Net on crops of the scenes; gives the loss of each step."""
    network = UNet(3, len(CLASSES), base_channels=8, depth=2, seed=options.seed)
    standardization = Standardization.fit(scenes.images)
    replicas, cross_entropy = Replicas(network), CrossEntropy()
    optimizer = operations.Adam(network.parameters(), 2e-3)
    batches = random_batches(scenes, standardization, crop_size=CROP, seed=options.seed)
    steps = training_steps(range(options.steps), batches, replicas, optimizer, cross_entropy)
    return [float(loss) for _, loss in steps]


def ends(losses):
    """Average the first and the last tenth of the losses: where it began, where it ended."""
    part = max(1, len(losses) // 10)
    return np.mean(losses[:part]), np.mean(losses[-part:])


def fall(losses):
    """Tell by which share of itself the loss has fallen."""
    first, last = ends(losses)
    return 1 - last / first


def draw(path, curves, verdicts):
    """Draw the four losses as a riddle; what the checker says stands below, upside down."""
    pyplot.rcParams.update({"font.size": 12})
    figure, axes = pyplot.subplots(figsize=(10, 6.4), dpi=130)
    answers = []
    # Sorted by name, so that the order tells nothing.
    for letter, name, (color, style) in zip("ABCD", sorted(curves), STYLES, strict=True):
        losses = curves[name]
        reach = max(1, len(losses) // 10)  # a running mean: single batches jump up and down
        smooth = np.convolve(losses, np.ones(reach) / reach, mode="valid")
        steps = np.arange(len(smooth)) + reach
        axes.plot(steps, smooth, style, color=color / 255, linewidth=2.5, label=letter)
        answers.append(f"{letter}: {name} ({'wrong' if verdicts[name] else 'right'})")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlabel="step", ylabel="training loss (running mean)")
    axes.set_ylim(bottom=0)
    axes.set_title("Which of these gradients are wrong?", loc="left")
    axes.legend(frameon=False)
    said = "What the gradient checker says:\n" + "; ".join(answers)
    figure.text(0.5, -0.02, said, rotation=180, ha="center", va="top", fontsize=9)
    figure.savefig(path, format="png", bbox_inches="tight")
    pyplot.close(figure)


def main(arguments=None):
    """Train with right and wrong gradients, ask the checker, draw, and say what came out."""
    options = parse(arguments)
    scenes = paint_scenes(options.scenes, seed=options.seed)
    curves = {"right gradients": train(scenes, options)}
    wrong = [verdict(function) for function in RIGHT.values()]
    verdicts = {"right gradients": next(filter(None, wrong), None)}
    for name, broken in MISTAKES.items():
        with mock.patch.object(operations, broken.__name__, broken):  # the layers call this one
            curves[name] = train(scenes, options)
        verdicts[name] = verdict(broken)
    for name, losses in curves.items():
        print("{}: loss {:.2f} -> {:.2f}".format(name, *ends(losses)))
        print(f"  the checker: {verdicts[name] or 'right'}")
    draw(options.out, curves, verdicts)
    print(f"The picture: {options.out}")
    falls = {name: fall(losses) for name, losses in curves.items()}
    right = falls.pop("right gradients")
    caught = sum(verdicts[name] is not None for name in MISTAKES)
    print(
        f"You should have seen that with the right gradients the loss fell by "
        f"{percent(right)}, with the wrong ones by {percent(min(falls.values()))} to "
        f"{percent(max(falls.values()))}, so a falling loss proves little; the "
        f"gradient checker caught {caught} of {len(MISTAKES)}."
    )


def parse(arguments):
    """Read the command line, and choose the device."""
    parser = demo_parser(__doc__, "wrong_gradients.png")
    parser.add_argument("--steps", type=int, default=100, help="steps of each training (100)")
    parser.add_argument("--scenes", type=int, default=20, help="scenes to learn from (20)")
    options = parser.parse_args(arguments)
    if min(options.steps, options.scenes) < 1 or options.seed < 0:
        parser.error("--steps and --scenes must be 1 or more, --seed 0 or more")
    return prepare(parser, options)


if __name__ == "__main__":
    main()
