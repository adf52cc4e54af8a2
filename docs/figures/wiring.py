"""Figures of the chapter on wiring the U."""

import functools
from argparse import Namespace

import numpy as np
from figure_style import (
    BLUE,
    INK,
    LEVEL,
    ORANGE,
    VERMILION,
    arrow,
    bare,
    canvas,
    demo,
    frame,
    is_narrow,
    measured,
    on,
    panels,
    write,
)
from matplotlib.patches import Rectangle

from tinyunet.backend import to_device
from tinyunet.data.scenes import paint_scene
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.summary import named_layers, summarize
from tinyunet.nn.unet import UNet

PAPER = LEVEL(0)
GAP = 14.0  # between two boxes of a level; all measures are of a sheet 640 wide


def wiring_u(quick):
    """Draw a U-Net as `summarize` sees it: boxes as high as the image, as wide as its channels."""
    size, tall, wide = 128, 0.7, 0.5  # tall for a pixel, wide for a channel
    rows = [
        row
        for row in summarize(UNet(3, 5, base_channels=16, depth=3), size).rows
        if row.kind != "ReLU"
    ]
    narrow = is_narrow()
    figure, axes = canvas(690, 362) if narrow else canvas(640, 362)
    first_left, small = (110, 8) if narrow else (78, 10)
    tops = {}  # of the levels, by the images' size
    top = 30.0
    for row in rows:
        height = row.output_shape[1]
        if height not in tops:
            tops[height] = top
            top += tall * height + 46

    def box(left, shape, color, label=True):
        """Draw the output of a layer; gives its right edge."""
        _, height, _, channels = shape
        low, width = tops[height], max(wide * channels, 3)
        style = {"facecolor": color, "edgecolor": INK, "linewidth": 0.8}
        axes.add_patch(Rectangle((left, low), width, tall * height, **style))
        if label:
            write(axes, low - 9, left + width / 2, f"{channels}", size=small)
        return left + width

    def middle(shape):
        return tops[shape[1]] + tall * shape[1] / 2

    def size_label(left, shape):
        write(axes, middle(shape), left - 8, f"{shape[1]} x {shape[2]}", size=10, ha="right")

    first = (1, size, size, 3)
    size_label(first_left, first)
    right = box(first_left, first, PAPER)
    write(axes, tops[size] + tall * size + 10, right - 1, "image", size=10)
    before, color, forks = first, BLUE, []
    for row in rows:
        shape = row.output_shape
        width = max(wide * shape[3], 3)
        if row.kind == "Conv2d":
            left = right + GAP
            arrow(axes, (middle(shape), right + 1), (middle(shape), left - 1), mutation_scale=8)
            right = box(left, shape, PAPER if row.name == "head" else color)
            if row.name == "head":
                write(axes, tops[size] + tall * size + 10, right - 1, "logits", size=10)
        elif row.kind == "MaxPool2d":
            forks.append((right, before))
            center = right - wide * before[3] / 2
            begin = tops[before[1]] + tall * before[1] + 2
            arrow(axes, (begin, center), (tops[shape[1]] - 18, center))
            write(axes, begin + 11, center + 7, "pool", size=10, ha="left")
            size_label(center - width / 2, shape)
            right = box(center - width / 2, shape, color)
        elif row.kind == "ConvTranspose2d":
            color = ORANGE
            center = right - wide * before[3] / 2
            end = tops[shape[1]] + tall * shape[1] + 3
            arrow(axes, (tops[before[1]] - 18, center), (end, center))
            write(axes, end + 11, center + 7, "up", size=10, ha="left")
            left = center - width / 2
        else:  # the join: the skip, and beside it what came up
            start, skip = forks.pop()
            box(left, before, ORANGE, label=False)
            box(left - wide * skip[3], skip, BLUE, label=False)
            write(axes, tops[shape[1]] - 9, left, f"{shape[3]}", size=small)
            right = left + wide * before[3]
            end = left - wide * skip[3] - 2
            arrow(axes, (middle(shape), start + 2), (middle(shape), end))
            write(axes, middle(shape) - 9, (start + end) / 2, "skip", size=10)
        before = shape
    return figure


def order_of_calls(network, image):
    """Run forward and backward, and list the network's parts in the order they were called."""
    calls = {"forward": [], "backward": []}

    def listen(layer, name, way):
        method = getattr(layer, way)

        def noted(*arguments):
            calls[way].append(name)
            return method(*arguments)

        setattr(layer, way, noted)

    for layer, name in named_layers(network):
        if name and name.rpartition(".")[2] not in ("conv1", "conv2", "relu1", "relu2"):
            listen(layer, name, "forward")
            listen(layer, name, "backward")
    network.backward(network(image))
    return calls


def wiring_mirror(quick):
    """Draw forward and backward side by side, each part with the number of its call."""
    image = np.zeros((1, 8, 8, 1), np.float32)
    calls = order_of_calls(UNet(1, 2, base_channels=2, depth=2), image)
    figure, axes = canvas(640, 345)
    draw_way(axes, 0, "forward", calls["forward"])
    draw_way(axes, 330, "backward", calls["backward"])
    return figure


def draw_way(axes, left, way, names):
    """Draw a U of depth 2, `left` at its left edge, the parts numbered as they are named.

    Backward is the mirror image: the way down is at the right, and every arrow is turned round.
    """
    back = way == "backward"
    number = {name: 1 + index for index, name in enumerate(names)}
    down, up = (left + 235, left + 75) if back else (left + 75, left + 235)

    def box(name, text, row, column, color):
        style = {"facecolor": color, "edgecolor": INK, "linewidth": 0.8}
        axes.add_patch(Rectangle((column - 38, row - 11), 76, 22, **style))
        write(axes, row, column, f"{number[name]}  {text}", size=11, color=on(color))

    def connect(start, end):
        arrow(axes, *((end, start) if back else (start, end)), mutation_scale=10)

    def knot(row, column, text):
        axes.plot(column, row, "o", color=INK, markersize=5)
        side = -1 if column - left < 150 else 1
        write(axes, row, column + side * 12, text, ha="right" if side < 0 else "left")

    write(axes, 8, left + 155, way, size=13)
    write(axes, 34, down, "dx" if back else "image")
    write(axes, 34, up, "dlogits" if back else "logits")
    connect((43, down), (94, down))
    box("head", "head", 66, up, PAPER)
    connect((55, up), (43, up))
    for level in range(2):
        row, step = 105 + 106 * level, 1 - level  # the steps of the way up count from below
        box(f"encoder.{level}", "block", row, down, BLUE)
        box(f"decoder.{step}", "block", row, up, ORANGE)
        connect((row - 11, up), (row - 28 if level == 0 else row - 40, up))
        knot(row + 28, down, "sum" if back else "fork")
        knot(row + 28, up, f"{number[f'concats.{step}']}  {'split' if back else 'join'}")
        connect((row + 11, down), (row + 44, down))
        connect((row + 44, up), (row + 11, up))
        side = 8 if up > down else -8
        connect((row + 28, down + side), (row + 28, up - side))
        write(axes, row + 19, left + 155, "dskip" if back else "skip")
        box(f"pools.{level}", "pool", row + 55, down, PAPER)
        box(f"upsamplers.{step}", "up", row + 55, up, PAPER)
        if level == 0:
            connect((row + 66, down), (row + 95, down))
    row = 105 + 2 * 106 + 5
    box("bottleneck", "block", row, left + 155, BLUE)
    for column in (down, up):
        above, beside = (
            (row - 44, column),
            (row, left + 155 + np.sign(column - left - 155) * 39),
        )
        into = (column == down) != back
        start, end = (above, beside) if into else (beside, above)
        corner = f"angle,angleA={90 if into else 0},angleB={0 if into else 90}"
        arrow(axes, start, end, mutation_scale=10, connectionstyle=corner)


def seen_level_by_level(place, depth):
    """Count back from one output pixel of a U-Net, along a row, to all that it depends on.

    Lists what each step back reaches, from the output to the image: the level (a pixel there is
    2**level pixels of the image wide), the first and the last pixel, and which step it was.
    """
    first = last = place
    steps = [(0, first, last, "output")]
    for level in range(depth):
        first, last = (
            first - 2,
            last + 2,
        )  # a 3 x 3 convolution looks one pixel further; there are two
        steps.append((level, first, last, "convolutions"))
        first, last = first // 2, last // 2
        steps.append((level + 1, first, last, "up"))
    first, last = first - 2, last + 2
    steps.append((depth, first, last, "bottleneck"))
    for level in reversed(range(depth)):
        first, last = 2 * first, 2 * last + 1
        steps.append((level, first, last, "pooling"))
        first, last = first - 2, last + 2
        steps.append((level, first, last, "convolutions down"))
    return steps


def wiring_rows(quick):
    """Draw along one row which pixels of each level one output pixel of a U-Net depends on."""
    depth = 2
    ways = [seen_level_by_level(place, depth) for place in range(2**depth)]
    steps = max(ways, key=lambda steps: steps[-1][2] - steps[-1][1])
    assert (
        steps[-1][2] - steps[-1][1] + 1 == UNet(3, 2, base_channels=2, depth=depth).receptive_field
    )
    said = {
        "output": "one pixel of the output",
        "convolutions": "two convolutions: 4 more",
        "up": "up: half, rounded down, plus 1",
        "bottleneck": "two convolutions: 4 more",
        "pooling": "pooling: twice as many",
        "convolutions down": "two convolutions: 4 more",
    }
    left = min(first * 2**level for level, first, _, _ in steps)
    figure, axes = canvas(82, 43)
    for number, (level, first, last, step) in enumerate(steps):
        top, wide = 4.2 * number + 0.5, 2**level
        on_the_way_up = number <= 2 * depth
        color = ORANGE if on_the_way_up else BLUE
        for pixel in range(first, last + 1):
            corner = (pixel * wide - left, top)
            style = {"facecolor": color, "edgecolor": PAPER, "linewidth": 1}
            axes.add_patch(Rectangle(corner, wide, 2.4, **style))
        count = last - first + 1
        write(axes, top + 1.2, 49, f"{count}", size=12, ha="right")
        write(axes, top + 1.2, 51, said[step], size=10.5, ha="left")
        if number:
            _, first_above, last_above, _ = steps[number - 1]
            above = 2 ** steps[number - 1][0]
            for start, end in (
                (first_above * above, first * wide),
                ((last_above + 1) * above, (last + 1) * wide),
            ):
                ends = ((start - left, end - left), (top - 1.8, top))
                axes.plot(*ends, color=INK, linewidth=0.8, linestyle=":")
    return figure


def wiring_receptive_field(quick):
    """Show over a painted scene how much of it one output pixel sees, for three depths."""
    field = demo("receptive_field")
    size, center = 120, 60  # four pixels into a pooling block of eight
    photo, _ = paint_scene((size, size), seed=0)
    image = to_device(Standardization.fit([photo]).transform(photo[None]))
    options = Namespace(seed=0, networks=1 if quick else 8)
    figure, axes = panels(1, 3, height=3.1)
    said = {}
    for depth, panel in enumerate(axes, start=1):
        theory, influence = field.measure(depth, image, center, options)
        said[f"depth {depth}"] = f"{theory} x {theory}"
        bare(panel, f"depth {depth}: {theory} x {theory}")
        panel.imshow(photo, interpolation="none")  # stored as it is: a small file
        row, column, height, width = field.box(influence)
        frame(panel, row, column, height, width, linewidth=2.5)
        half = field.half_side(influence, center, center)
        frame(
            panel, center - half // 2, center - half // 2, half, half, color="white", linewidth=1.5
        )
        panel.set_xlabel(f"half within {half} x {half}")
    return measured(figure, said)


@functools.cache
def looked_inside(quick):
    """Train a small U-Net, and look at a scene with it; gives model, truth and its levels."""
    feature_maps, source = demo("feature_maps"), demo("parts/model_and_image")
    steps, size = (2, 64) if quick else (200, 256)
    given = source.model_and_image(
        Namespace(model=None, image=None, steps=steps, size=size, seed=0, threads=2)
    )
    *levels, _ = feature_maps.view(given.model, given.image, size).levels
    return given, levels


def wiring_levels(quick):
    """Show each level's strongest map of a trained U-Net, and what its best map tells alone."""
    feature_maps = demo("feature_maps")
    given, levels = looked_inside(quick)
    columns = -(-len(levels) // 2) if is_narrow() else len(levels)
    rows, height = (3, 5.6) if is_narrow() else (2, 4.3)
    figure, axes = panels(rows, columns, height=height, height_ratios=[1] * (rows - 1) + [2.2])
    # The way down above, and the way up below it in turned order, is a U on a narrow page.
    places = [*axes[0], *axes[1, ::-1][columns * 2 - len(levels) :]] if is_narrow() else axes[0]
    for panel, level in zip(places, levels, strict=True):
        strongest = feature_maps.strongest(level.maps)[0]
        panel.imshow(level.maps[:, :, strongest], interpolation="nearest")
        bare(panel, level.name.replace("encoder ", "down ").replace("decoder ", "up "))
        panel.set_title(panel.get_title(), fontsize=10.5)
        panel.set_xlabel(f"sees {level.receptive_field}", fontsize=10)
    for panel in set(axes.ravel()) - set(places):
        panel.remove()
    chart = figure.add_subplot(axes[-1, 0].get_gridspec()[-1, :])
    said = {}
    for index, color, line in ((0, BLUE, "o-"), (4, VERMILION, "s--")):
        name = given.model.class_names[index]
        scores = [feature_maps.single_map(level, given.truth, index) for level in levels]
        chart.plot(scores, line, color=color, label=name)
        for level in (levels[0], levels[len(levels) // 2], levels[-1]):
            said[f"{name}, {level.name}"] = f"{scores[levels.index(level)]:.2f}"
    chart.axhline(0.5, color=INK, linestyle=":")
    chart.set(xlim=(-0.5, len(levels) - 0.5), ylim=(0.4, 1.03), xticks=[])
    end = "\n" if is_narrow() else " "
    chart.set_title(f"how well one map alone tells a class{end}(0.5: guessing)", loc="left")
    chart.legend(loc="lower right", bbox_to_anchor=(1, 0.25))
    return measured(figure, said)


FIGURES = {
    "wiring_u": wiring_u,
    "wiring_mirror": wiring_mirror,
    "wiring_rows": wiring_rows,
    "wiring_receptive_field": wiring_receptive_field,
    "wiring_levels": wiring_levels,
}
