"""What the skips carry: cut them, and borders blur; listen to them, and hear the gradient.

A small U-Net learns to tell gray (roofs, roads) from green on painted scenes. Color decides it, so
what is left to learn is *where* exactly a thing ends. It learns with all skips, with each of them
cut in turn, and with all cut. A join that is cut gets zeros: shapes and parameters stay the same,
only what the skip knew is gone, and no gradient comes back. At each fork of the way down two
gradients meet, the skip's and that from below, and the demo measures the length of both.

    python demos/skip_connections.py      # about a minute on two cores
"""

import sys
from collections import deque

import numpy as np
from parts.command_line import demo_parser, percent, prepare
from PIL import Image, ImageFilter
from tqdm import tqdm

from tinyunet.backend import to_host, xp
from tinyunet.data.scenes import BUILDING, paint_scenes
from tinyunet.distributed.replicas import Replicas
from tinyunet.nn.functional import softmax
from tinyunet.nn.layers import Concat, MaxPool2d
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.operations import operations
from tinyunet.nn.schedules import cosine
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet
from tinyunet.plots.colors import PALETTE
from tinyunet.training.loop import random_batches, training_steps

try:
    import matplotlib

    matplotlib.use("Agg")  # draws into files, needs no screen
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle
except ImportError as error:
    sys.exit(f"{error}: this demo needs more packages: python -m pip install '.[demos]'")

LEVELS = ("64 x 64", "32 x 32", "16 x 16")  # of crops of 64 x 64; below them is the bottleneck
CUTS = {"all skips": (), **{f"cut at {size}": (k,) for k, size in enumerate(LEVELS)}}
CUTS["all cut"] = tuple(range(len(LEVELS)))
FINEST = f"cut at {LEVELS[0]}"
ZOOM = 18  # side of the square that is shown enlarged, in pixels


class Join(Concat):
    """A join that can be cut, and that tells how large the gradient is that goes to its skip."""

    def __init__(self, cut, tell):
        self.cut, self.tell = cut, tell

    def forward(self, skip, x):
        """Join, with zeros for the skip if it is cut."""
        return super().forward(xp.zeros_like(skip) if self.cut else skip, x)

    def backward(self, dy):
        """Split; the zeros did not come from the skip, so it gets no gradient for them."""
        dskip, dx = super().backward(dy)
        if self.cut:
            dskip = xp.zeros_like(dskip)
        self.tell(xp.square(dskip).sum())
        return dskip, dx


class Pool(MaxPool2d):
    """A pooling that tells how large the gradient is that it brings up from below."""

    def __init__(self, tell):
        super().__init__(2)
        self.tell = tell

    def backward(self, dy):
        """Give each window's gradient to its winner."""
        dx = super().backward(dy)
        self.tell(xp.square(dx).sum())
        return dx


def paint(count, seed):
    """Paint scenes whose masks know two classes: green 0, gray 1."""
    scenes = paint_scenes(count, (128, 128), seed)
    scenes.masks[:] = [(mask >= BUILDING).astype(np.uint8) for mask in scenes.masks]
    return scenes


def train(cut, scenes, held_out, options, classes=2):
    """Train a U-Net with the skips of these levels cut.

    Returns
    -------
    probabilities : array (scenes, H, W, classes)
        On the held-out scenes.
    lengths : array (steps, 2, levels)
        Of the gradients that meet at each fork: the skip's, and the one from below.
    """
    depth = len(LEVELS)
    told = [[deque() for _ in LEVELS] for _ in range(2)]  # the threads tell their sums of squares
    network = UNet(3, classes, base_channels=8, depth=depth, norm="batch", seed=options.seed)
    network.concats = [Join(k in cut, told[0][k].append) for k in reversed(range(depth))]
    network.pools = [Pool(told[1][k].append) for k in range(depth)]
    standardization = Standardization.fit(scenes.images)
    replicas, cross_entropy = Replicas(network), CrossEntropy()
    optimizer = operations.Adam(network.parameters())
    schedule = cosine(1e-2, options.steps, warmup_steps=options.steps // 20)
    batches = random_batches(scenes, standardization, crop_size=64, seed=options.seed)
    bar = tqdm(range(options.steps), "training", unit="step", leave=False)
    squares = []
    for _ in training_steps(bar, batches, replicas, optimizer, cross_entropy, schedule=schedule):
        squares.append([[sum(parts) for parts in way] for way in told])
        for parts in told[0] + told[1]:
            parts.clear()
    logits = replicas.logits(standardization.transform(np.stack(held_out.images)))
    lengths = [[[float(to_host(s)) ** 0.5 for s in way] for way in both] for both in squares]
    return to_host(softmax(logits)[0]), np.array(lengths)


def errors(probabilities, masks):
    """Give the share of wrong pixels: of those beside another class, and of all others."""
    wrong = probabilities.argmax(axis=-1) != np.stack(masks)
    most, least = (
        np.stack([Image.fromarray(mask).filter(of_neighbors(3)) for mask in masks])
        for of_neighbors in (ImageFilter.MaxFilter, ImageFilter.MinFilter)
    )
    return wrong[most != least].mean(), wrong[most == least].mean()


def corner_of_most_borders(mask):
    """Find the square of ZOOM pixels with the most borders in it; gives its row and column."""
    border = np.zeros(mask.shape, int)
    border[:, 1:] += mask[:, 1:] != mask[:, :-1]
    border[1:] += mask[1:] != mask[:-1]
    corners = np.ndindex(mask.shape[0] - ZOOM + 1, mask.shape[1] - ZOOM + 1)
    return max(corners, key=lambda at: border[at[0] : at[0] + ZOOM, at[1] : at[1] + ZOOM].sum())


def draw(path, held_out, results, wrong):
    """Draw a scene with the predictions, and below the gradients that meet at each fork."""
    pyplot.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure = pyplot.figure(figsize=(15, 11.5), dpi=100, layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(2.2, 1))
    part = np.s_[32:96, 32:96]
    truth = held_out.masks[0][part]
    panels = {"photograph, true outline": held_out.images[0][part]}
    panels |= {name: results[name][0][0][..., 1][part] for name in ("all skips", FINEST, "all cut")}
    row, column = corner_of_most_borders(truth)
    wholes, zooms = upper.subplots(2, len(panels))
    for whole, zoom, (name, panel) in zip(wholes, zooms, panels.items(), strict=True):
        for axes in (whole, zoom):
            axes.imshow(panel, cmap="gray", vmin=0, vmax=1)  # (a photograph has its own colors)
            axes.contour(truth, [0.5], colors=[PALETTE[4] / 255], linewidths=2)
            axes.set(xticks=[], yticks=[])
        whole.set_title(name)
        style = {"fill": False, "edgecolor": PALETTE[5] / 255, "linewidth": 2}
        whole.add_patch(Rectangle((column - 0.5, row - 0.5), ZOOM, ZOOM, **style))
        zoom.set(xlim=(column - 0.5, column + ZOOM - 0.5), ylim=(row + ZOOM - 0.5, row - 0.5))
        if name in wrong:
            beside, elsewhere = percent(wrong[name][0], 1), percent(wrong[name][1], 2)
            zoom.set_xlabel(f"{beside} wrong beside borders,\n{elsewhere} elsewhere")
    lengths = results["all skips"][1]
    for axes, size, (skip, below) in zip(
        lower.subplots(1, len(LEVELS)), LEVELS, lengths.transpose(2, 1, 0), strict=True
    ):
        axes.semilogy(skip, color=PALETTE[0] / 255, label="through the skip")
        axes.semilogy(below, "--", color=PALETTE[4] / 255, label="from below")
        axes.set(title=f"gradient at {size}", xlabel="step", ylim=(lengths.min(), lengths.max()))
    axes.legend(frameon=False)
    figure.savefig(path, format="png")
    pyplot.close(figure)


def main(arguments=None):
    """Train with skips and without, compare, draw, and say what came out."""
    options = parse(arguments)
    scenes, held_out = paint(options.scenes, options.seed), paint(8, options.seed + 1)
    results = {name: train(cut, scenes, held_out, options) for name, cut in CUTS.items()}
    wrong = {name: errors(found, held_out.masks) for name, (found, _) in results.items()}
    draw(options.out, held_out, results, wrong)
    shares = {name: (percent(one, 1), percent(two, 2)) for name, (one, two) in wrong.items()}
    for name, (beside, elsewhere) in shares.items():
        print(f"{name:15} wrong beside a border {beside:>6}, elsewhere {elsewhere:>6}")
    skip, below = results["all skips"][1][options.steps // 2 :].mean(axis=0)
    (some, elsewhere), (many, elsewhere_too) = shares["all skips"], shares["all cut"]
    print(f"The picture: {options.out}")
    print(
        f"You should have seen borders blur: of the pixels beside one {some} are wrong with "
        f"all skips, {shares[FINEST][0]} without the finest and {many} without any, of the "
        f"others {elsewhere} with all and {elsewhere_too} without any; in the second half "
        f"of the training the gradient that reaches the first block through its skip is "
        f"{skip[0] / below[0]:.1f} times as long as the one from below."
    )


def parse(arguments):
    """Read the command line, and choose the device."""
    parser = demo_parser(__doc__, "skip_connections.png")
    parser.add_argument("--steps", type=int, default=120, help="steps of each training (120)")
    parser.add_argument("--scenes", type=int, default=20, help="scenes to learn from (20)")
    options = parser.parse_args(arguments)
    if min(options.steps, options.scenes) < 1 or options.seed < 0:
        parser.error("--steps and --scenes must be 1 or more, --seed 0 or more")
    return prepare(parser, options)


if __name__ == "__main__":
    main()
