"""Seams, and how to be rid of them: a scene predicted in tiles, with and without a margin.

A small U-Net is trained for a moment, and predicts a scene at once and in tiles. At the edge of a
tile it sees zeros where the neighboring tile is, so it answers differently: seams. With a margin
around each tile, of which the answer is thrown away, they fade; with half the receptive field they
are gone.

    python demos/overlap_tile.py          # about half a minute
"""

import sys

import numpy as np
from parts.command_line import demo_parser, prepare
from tqdm import tqdm

from tinyunet.data.scenes import CLASSES, paint_scene, paint_scenes
from tinyunet.distributed.replicas import Replicas, available_cores
from tinyunet.inference.sliding_window import full_margin, predict_probabilities
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.operations import operations
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet
from tinyunet.plots.colors import color_mask
from tinyunet.training.loop import random_batches, training_steps

try:
    import matplotlib

    matplotlib.use("Agg")  # draws into files, needs no screen
    from matplotlib import pyplot
except ImportError as error:
    sys.exit(f"{error}: this demo needs more packages: python -m pip install '.[demos]'")

DEPTH = 3
SMALL_MARGIN = 16
SMALLEST = 1e-8  # difference that is drawn


def train(options):
    """Train a small U-Net on a few scenes; returns it and its standardization."""
    scenes = paint_scenes(12, size=(128, 128), seed=options.seed)
    standardization = Standardization.fit(scenes.images)
    network = UNet(3, len(CLASSES), base_channels=8, depth=DEPTH, norm="batch", seed=options.seed)
    replicas, cross_entropy = Replicas(network, options.threads), CrossEntropy()
    optimizer = operations.Adam(network.parameters(), lr=4e-3)
    batches = random_batches(scenes, standardization, crop_size=64, seed=options.seed)
    bar = tqdm(range(options.steps), "training", unit="step", leave=False)
    for _ in training_steps(bar, batches, replicas, optimizer, cross_entropy):
        pass
    return network, standardization


def draw(path, photo, whole, differences, tile):
    """Draw the scene, its classes, and how the tiles differ from them, with each margin."""
    pyplot.rcParams.update({"font.size": 11})
    columns = 2 + len(differences)
    figure, panels = pyplot.subplots(1, columns, figsize=(15, 3.5), dpi=110, layout="constrained")
    panels[0].imshow(photo)
    panels[0].set_title("a painted scene", fontsize=12)
    panels[1].imshow(color_mask(whole.argmax(axis=-1)))
    panels[1].set_title("predicted at once", fontsize=12)
    for axes, (margin, difference) in zip(panels[2:], differences.items(), strict=True):
        logs = np.log10(np.maximum(difference, SMALLEST))
        shown = axes.imshow(logs, cmap="cividis", vmin=np.log10(SMALLEST), vmax=0)
        axes.set_title(f"tiles of {tile}, margin {margin}", fontsize=12)
        axes.set_xlabel(f"differs by at most {difference.max():.1g}")
    for axes in panels:
        axes.set(xticks=[], yticks=[])
    bar = figure.colorbar(shown, ax=panels[2:], shrink=0.75, ticks=[-8, -6, -4, -2, 0])
    bar.ax.set_yticklabels(["$10^{-8}$", "$10^{-6}$", "$10^{-4}$", "$10^{-2}$", "1"])
    bar.set_label("difference of probability")
    figure.savefig(path, format="png")
    pyplot.close(figure)


def main(arguments=None):
    """Train, predict at once and in tiles, draw, and say what came out."""
    options = parse(arguments)
    network, standardization = train(options)
    side = 4 * options.tile
    photo, _ = paint_scene((side, side), seed=options.seed + 1)
    image = standardization.transform(photo)

    def predict(tile, margin):
        return predict_probabilities(
            network, image, tile=tile, margin=margin, threads=options.threads
        )

    full = full_margin(network)
    whole = predict(side, full)
    differences, changed = {}, {}
    for margin in (0, SMALL_MARGIN, full):
        tiled = predict(options.tile, margin)
        differences[margin] = abs(tiled - whole).max(axis=-1)
        changed[margin] = (tiled.argmax(axis=-1) != whole.argmax(axis=-1)).mean()
    draw(options.out, photo, whole, differences, options.tile)
    print(f"The picture: {options.out}")
    print(
        f"You should have seen seams: without a margin the tiles change the class of "
        f"{changed[0]:.2%} of all pixels and a probability by up to {differences[0].max():.1g}, "
        f"with {SMALL_MARGIN} pixels {changed[SMALL_MARGIN]:.2%} and "
        f"{differences[SMALL_MARGIN].max():.1g}, with {full}, half the receptive field rounded up, "
        f"{changed[full]:.2%} and {differences[full].max():.1g}, which is rounding."
    )


def parse(arguments):
    """Read the command line, and choose the device."""
    parser = demo_parser(__doc__, "overlap_tile.png")
    parser.add_argument("--steps", type=int, default=80, help="steps of training (80)")
    parser.add_argument("--tile", type=int, default=64, help="side of a tile in pixels (64)")
    parser.add_argument("--threads", type=int, default=available_cores())
    options = parser.parse_args(arguments)
    if options.tile < 16 or options.tile % 2**DEPTH:
        parser.error(f"--tile must be 16 or more and divisible by {2**DEPTH}")
    if min(options.steps, options.threads) < 1 or options.seed < 0:
        parser.error("--steps and --threads must be 1 or more, --seed 0 or more")
    return prepare(parser, options)


if __name__ == "__main__":
    main()
