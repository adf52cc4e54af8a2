"""The network of 2015, exactly: its table, its numbers, its U, and one step of training.

    python demos/paper.py                 # about a quarter of a minute on two cores
    python demos/paper.py --no-step       # without the step of training, at once

Source: O. Ronneberger, P. Fischer and T. Brox, U-Net: convolutional networks for biomedical image
segmentation (2015), figure 1.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from tinyunet.backend import DEVICES, use_device
from tinyunet.data.scenes import BUILDING, paint_scene
from tinyunet.distributed.replicas import Replicas
from tinyunet.errors import UserError
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.operations import operations
from tinyunet.nn.summary import summarize
from tinyunet.nn.unet import UNet
from tinyunet.plots.colors import PALETTE

try:
    import matplotlib

    matplotlib.use("Agg")  # draws into files, needs no screen
    from matplotlib import pyplot
    from matplotlib.patches import Patch, Rectangle
except ImportError as error:
    sys.exit(f"{error}: this demo needs more packages: python -m pip install '.[demos]'")

CONVOLUTIONS = ("Conv2d", "ConvTranspose2d")
COLORS = {  # what made the box
    "image": ("#dddddd", "the image"),
    "Conv2d": (PALETTE[0] / 255, "convolution and ReLU; at the end 1 x 1"),
    "MaxPool2d": (PALETTE[4] / 255, "max pooling"),
    "ConvTranspose2d": (PALETTE[2] / 255, "up-convolution"),
    "Concat": (PALETTE[1] / 255, "join with the skip"),
}


def level_of(row, depth):
    """Tell how far down in the U a layer's output lies."""
    part, _, rest = row.name.partition(".")
    number = int(rest.split(".")[0]) if part not in ("bottleneck", "head") else 0
    below = {"encoder": number, "pools": number + 1, "bottleneck": depth, "head": 0}
    return below.get(part, depth - 1 - number)


def draw(path, rows, size, depth):
    """Draw the U: a box for each output, as high as the image, the wider the more channels."""
    figure, axes = pyplot.subplots(figsize=(15, 9), dpi=130)
    boxes = [("image", 0, (1, size, size, 1))]
    boxes += [(row.kind, level_of(row, depth), row.output_shape) for row in rows]
    tallest = [max(shape[1] for _, at, shape in boxes if at == level) for level in range(depth + 1)]
    tops = [-sum(tallest[:level]) - 95 * level for level in range(depth + 1)]
    x, right_end, skips = 0, (0, 0), {}
    for kind, level, (_, height, _, channels) in boxes:
        if kind == "ReLU":  # changes the numbers, not the shape
            continue
        width = 4 + 2.2 * channels**0.5
        y = tops[level] - tallest[level] / 2
        place = (x, y - height / 2)
        axes.add_patch(Rectangle(place, width, height, facecolor=COLORS[kind][0], edgecolor="k"))
        axes.text(x + width / 2, y + height / 2 + 6, channels, ha="center", va="bottom", size=8.5)
        below = {"ha": "center", "va": "top", "size": 8, "color": "#555555", "rotation": 90}
        axes.text(x + width / 2, y - height / 2 - 6, height, **below)
        if kind == "MaxPool2d":  # what it took is also handed across
            skips[level - 1] = right_end
        if kind == "Concat":
            arrow = {"arrowstyle": "->", "color": COLORS[kind][0], "linewidth": 2.5}
            axes.annotate("", (x, y), skips[level], arrowprops=arrow, zorder=0)
        right_end = (x + width, y)
        x += width + 22
    axes.set(xlim=(-20, x), ylim=(tops[-1] - tallest[-1] - 40, 40))
    axes.set_axis_off()
    axes.legend(
        handles=[Patch(facecolor=c, edgecolor="k", label=name) for c, name in COLORS.values()],
        title="Above each box its channels, below it its height. It was made by:",
        **{"loc": "upper center", "ncols": 2, "frameon": False},
    )
    axes.set_title("The U-Net of 2015", fontsize=15)
    figure.savefig(path, format="png", bbox_inches="tight")
    pyplot.close(figure)


def training_step(network, size, seed):
    """Take one step on a painted scene in gray, "building or not"; gives loss and seconds."""
    image, mask = paint_scene((size, size), seed)
    gray = image.mean(axis=2, dtype=np.float32)[np.newaxis, :, :, np.newaxis]
    border = (size - network.output_length(size)) // 2  # what the valid convolutions take off
    labels = (mask == BUILDING)[np.newaxis, border : size - border, border : size - border]
    replicas = Replicas(network)
    optimizer = operations.SGD(network.parameters(), 1e-3, momentum=0.99)  # the paper's momentum
    start = time.perf_counter()
    images, labels = (gray - gray.mean()) / gray.std(), labels.astype(np.uint8)
    loss = float(replicas.loss_and_gradients(images, labels, CrossEntropy()))
    replicas.step(optimizer)
    return loss, time.perf_counter() - start


def main(arguments=None):
    """Print the table, draw the U, train for a step, and say what there was to see."""
    options = parse(arguments)
    network = UNet.paper(options.seed)
    table = summarize(network, options.size)
    print(table)
    draw(options.out, table.rows, options.size, network.depth)
    print(f"The picture: {options.out}")
    if not options.no_step:
        loss, seconds = training_step(network, options.size, options.seed)
        print(f"One step of training took {seconds:.1f} s, at a loss of {loss:.3f}.")
    count = sum(row.kind in CONVOLUTIONS for row in table.rows)
    seen = next(r for r in table.rows[::-1] if r.name.startswith("bottleneck")).receptive_field
    print(
        f"You should have seen {count} convolutions with {table.parameters:,} parameters "
        f"turn {options.size} x {options.size} pixels into {table.rows[-1].output_shape[1]} x "
        f"{table.rows[-1].output_shape[2]}, and at the bottom of the U each number sees {seen} x "
        f"{seen} pixels of the image."
    )


def parse(arguments):
    """Read the command line, and choose the device."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=572, help="side of the image in pixels (572)")
    parser.add_argument("--no-step", action="store_true", help="leave out the step of training")
    parser.add_argument("--out", type=Path, default="paper.png", help="picture to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    options = parser.parse_args(arguments)
    if options.seed < 0:
        parser.error("--seed must be 0 or more")
    if options.out.is_dir():
        options.out /= "paper.png"
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        use_device(options.device)
        UNet(1, 2, base_channels=1, padding="valid").check_size(options.size, options.size)
    except (UserError, OSError) as problem:
        parser.error(str(problem))
    return options


if __name__ == "__main__":
    main()
