"""What one output pixel sees: the theory, and what a gradient measures.

Theory counts: each 3 x 3 convolution adds two pixels, each pooling doubles what comes below it. A
gradient measures: put 1 into `dlogits` at one pixel and 0 elsewhere, run backward, and |dx| says
how much each pixel of the image would move that one pixel's logits. The square is what it could
see; the glow is what it does see, and it fades long before the edges of the square.

    python demos/receptive_field.py       # a few seconds
"""

import sys

import numpy as np
from parts.command_line import demo_parser, prepare
from parts.influence import half_side

from tinyunet.backend import to_device, to_host, xp
from tinyunet.data.scenes import CLASSES, paint_scene
from tinyunet.nn.operations import operations, use_operations
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet
from tinyunet.plots.colors import PALETTE

try:
    import matplotlib

    matplotlib.use("Agg")  # draws into files, needs no screen
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle
except ImportError as error:
    sys.exit(f"{error}: this demo needs more packages: python -m pip install '.[demos]'")


def measure(depth, image, center, options):
    """Measure how much each pixel of the image moves the logits at `center`.

    Returns
    -------
    theory : int
        Side of the square that the output pixel can see.
    influence : array (H, W)
        |dx|, summed over the channels and over networks with different initial weights.
    """
    # The plain operations: rounding errors of the fast ones would count as influence.
    influence, before = 0, operations.name
    use_operations("plain")
    for seed in range(options.seed, options.seed + options.networks):
        network = UNet(3, len(CLASSES), base_channels=8, depth=depth, seed=seed)
        dlogits = xp.zeros_like(network(image))
        dlogits[0, center, center] = 1
        influence = influence + to_host(abs(network.backward(dlogits))[0].sum(axis=-1))
    use_operations(before)
    return network.receptive_field, influence


def box(influence):
    """Give the first row, first column, height and width of what is not zero."""
    rows, columns = np.flatnonzero(influence.any(axis=1)), np.flatnonzero(influence.any(axis=0))
    return rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1


def draw(path, photo, center, results):
    """Draw a column for each depth: the glow over the scene, and a profile through its center.

    The scale is linear: a pixel twice as bright has twice the influence. So one sees how little of
    what the network can see it listens to.
    """
    pyplot.rcParams.update({"font.size": 11})
    figure, (upper, lower) = pyplot.subplots(
        2,
        len(results),
        figsize=(4 * len(results), 6.4),
        dpi=120,
        squeeze=False,
        layout="constrained",
        height_ratios=(3, 1),
        sharex=True,
    )
    gray = 0.6 * photo.mean(axis=2, keepdims=True) / 255
    for axes, below, (depth, (theory, influence, half)) in zip(
        upper, lower, results.items(), strict=True
    ):
        level = influence / influence.max()
        glow = pyplot.get_cmap("inferno")(level)[:, :, :3]
        axes.imshow(gray + (1 - gray) * glow)
        row, column, height, width = box(influence)
        corner = (column - 0.5, row - 0.5)
        style = {"fill": False, "edgecolor": PALETTE[5] / 255, "linewidth": 2.5}
        axes.add_patch(Rectangle(corner, width, height, **style))
        corner = (center - half / 2, center - half / 2)
        axes.add_patch(Rectangle(corner, half, half, fill=False, edgecolor="white", linewidth=1.5))
        axes.set_title(f"depth {depth}\ntheory {theory}, measured {height} x {width}", fontsize=12)
        axes.set(xticks=[], yticks=[])
        profile = influence.sum(axis=0)
        below.fill_between(range(len(profile)), profile / profile.max(), color=PALETTE[4] / 255)
        for edge in (column, column + width - 1):
            below.axvline(edge, color=PALETTE[5] / 255, linewidth=2)
        below.set(yticks=[], xlabel=f"half of it within {half} x {half} (white)")
        below.spines[["top", "right", "left"]].set_visible(False)
    lower[0].set_ylabel("influence,\nby column")
    figure.savefig(path, format="png")
    pyplot.close(figure)


def main(arguments=None):
    """Measure, draw, and say what came out."""
    options = parse(arguments)
    deepest = 2**options.depth
    widest = UNet(depth=options.depth, base_channels=1).receptive_field
    size = -(-max(options.size, widest + 2 * deepest) // deepest) * deepest
    photo, _ = paint_scene((size, size), seed=options.seed)
    image = to_device(Standardization.fit([photo]).transform(photo[None]))
    # Four pixels into a pooling block: the outermost two of a block of 8 or more see a little less.
    center = size // 2 // deepest * deepest + 4
    results = {}
    for depth in range(1, options.depth + 1):
        theory, influence = measure(depth, image, center, options)
        results[depth] = theory, influence, half_side(influence, center, center)
    draw(options.out, photo, center, results)
    _, _, height, width = box(influence)
    print(f"The picture: {options.out}")
    print(
        f"You should have seen the field grow with every level: at depth {depth} one output pixel "
        f"can see {theory} x {theory} pixels and the gradient reaches {height} x {width} of them, "
        f"but half of its weight lies within the nearest {results[depth][2]} x {results[depth][2]}."
    )


def parse(arguments):
    """Read the command line, and choose the device."""
    parser = demo_parser(__doc__, "receptive_field.png")
    parser.add_argument("--depth", type=int, default=3, help="deepest network to try (3)")
    parser.add_argument(
        "--size", type=int, default=160, help="least side of the scene (160 pixels)"
    )
    parser.add_argument("--networks", type=int, default=8, help="networks to add up (8)")
    options = parser.parse_args(arguments)
    if not 1 <= options.depth <= 5 or options.networks < 1 or options.seed < 0 or options.size < 32:
        parser.error("--depth must be 1 to 5, --size 32, --networks 1, --seed 0 or more")
    return prepare(parser, options)


if __name__ == "__main__":
    main()
