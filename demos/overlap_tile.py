"""Seams, and how to be rid of them: a scene predicted in tiles, with and without a margin.

A small U-Net is trained for a moment, and predicts a scene at once and in tiles. At the edge of a
tile it sees zeros where the neighboring tile is, so it answers differently: seams. With a margin
around each tile, of which the answer is thrown away, they fade; with half the receptive field they
are gone.

    python demos/overlap_tile.py          # about half a minute
"""

import sys

from parts.command_line import demo_parser, percent, prepare
from tqdm import tqdm

from tinyunet.data.scenes import CLASS_COLORS, CLASSES, paint_scene, paint_scenes
from tinyunet.distributed.replicas import Replicas, available_cores
from tinyunet.inference.sliding_window import full_margin, predict_probabilities
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.operations import operations
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet
from tinyunet.training.loop import random_batches, training_steps

try:
    import matplotlib

    matplotlib.use("Agg")  # draws into files, needs no screen
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle
except ImportError as error:
    sys.exit(f"{error}: this demo needs more packages: python -m pip install '.[demos]'")

DEPTH = 3
SMALL_MARGIN = 16


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


def draw(path, photo, whole, tiled, tile):
    """Draw the class maps made in tiles; below, a part of each three times as large.

    Pixels whose class is not that of the prediction at once are red; thin lines are where tiles
    meet.
    """
    pyplot.rcParams.update({"font.size": 11})
    classes = {margin: found.argmax(axis=-1) for margin, found in tiled.items()}
    at_once = whole.argmax(axis=-1)
    red = {margin: found != at_once for margin, found in classes.items()}
    pictures = {"a painted scene": photo, "predicted at once": CLASS_COLORS[at_once]}
    for margin, found in classes.items():
        picture = CLASS_COLORS[found] // 2 + 127  # paler, so that red stands out
        picture[red[margin]] = (220, 0, 0)
        pictures[f"tiles of {tile}, margin {margin}"] = picture
    # The part to look at: the third of the scene in which most pixels change without a margin.
    part = len(photo) // 3
    starts = range(0, len(photo) - part + 1, max(part // 8, 1))
    row, column = max(
        ((r, c) for r in starts for c in starts),
        key=lambda place: red[0][place[0] : place[0] + part, place[1] : place[1] + part].sum(),
    )
    figure, rows = pyplot.subplots(
        2, len(pictures), figsize=(16, 7), dpi=110, layout="constrained", squeeze=False
    )
    for (above, below), (title, picture) in zip(rows.T, pictures.items(), strict=True):
        above.imshow(picture, interpolation="nearest")
        above.set_title(title, fontsize=12)
        frame = Rectangle((column, row), part, part, fill=False, edgecolor="black", linewidth=2)
        above.add_patch(frame)
        inset = picture[row : row + part, column : column + part]
        extent = (column, column + part, row + part, row)
        below.imshow(inset, interpolation="nearest", extent=extent)
        for axes in (above, below):
            axes.set(xticks=[], yticks=[])
            if title.startswith("tiles"):
                low, high = axes.get_xlim()
                for seam in range(tile, len(photo), tile):
                    if low < seam < high:
                        axes.axvline(seam - 0.5, color="black", linewidth=0.6)
                bottom, top = axes.get_ylim()
                for seam in range(tile, len(photo), tile):
                    if top < seam < bottom:
                        axes.axhline(seam - 0.5, color="black", linewidth=0.6)
    for below, (margin, changed) in zip(rows[1, 2:], red.items(), strict=True):
        difference = abs(tiled[margin] - whole).max()
        below.set_xlabel(
            f"{percent(changed.mean(), 2)} of all pixels change (red);\na probability by up "
            f"to {difference:.1g}"
        )
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
    tiled = {margin: predict(options.tile, margin) for margin in (0, SMALL_MARGIN, full)}
    differences = {margin: abs(found - whole).max(axis=-1) for margin, found in tiled.items()}
    changed = {
        margin: (found.argmax(axis=-1) != whole.argmax(axis=-1)).mean()
        for margin, found in tiled.items()
    }
    draw(options.out, photo, whole, tiled, options.tile)
    print(f"The picture: {options.out}")
    print(
        f"You should have seen seams: without a margin the tiles change the class of "
        f"{percent(changed[0], 2)} of all pixels and a probability by up to "
        f"{differences[0].max():.1g}, with {SMALL_MARGIN} pixels "
        f"{percent(changed[SMALL_MARGIN], 2)} and {differences[SMALL_MARGIN].max():.1g}, with "
        f"{full}, half the receptive field rounded up, "
        f"{percent(changed[full], 2)} and {differences[full].max():.1g}, which is rounding."
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
