"""What each level of a U-Net sees: its strongest feature maps, and what a single map can tell.

On the way down the maps shrink and each of their pixels sees more of the image; on the way up the
skips bring back the sharp places. Strongest means: of the highest contrast, the standard deviation
over the image; a map that is bright everywhere says nothing about where something is. The chart
shows how well one map alone, the best of its level, tells a class from the others.

    python demos/feature_maps.py [MODEL] [IMAGE]    # without MODEL it trains one: about a minute
"""

import sys

import numpy as np
from parts.command_line import demo_parser, prepare
from parts.feature_levels import strongest, view
from parts.model_and_image import (
    add_arguments,
    check_arguments,
    class_colors,
    describe_part,
    model_and_image,
)

from tinyunet.errors import UserError
from tinyunet.plots.colors import as_rgb

try:
    import matplotlib

    matplotlib.use("Agg")  # draws into files, needs no screen
    from matplotlib import pyplot
    from parts.single_map import single_map
except ImportError as error:
    sys.exit(f"{error}: this demo needs more packages: python -m pip install '.[demos]'")

NO_SCORES = "no class has enough pixels in both halves of the image"
LINES = 8  # classes in the chart, the commonest: more lines than that nobody can follow


def draw(path, seen, class_names, scores, count):
    """Draw image, chart and prediction; below them, in the shape of the U, the strongest maps."""
    *levels, prediction = seen.levels
    depth = len(levels) // 2
    colors = class_colors(class_names)
    figure = pyplot.figure(figsize=(3 * count + 2.4, 4.4 + 1.95 * (depth + 1)), dpi=100)
    whole = figure.add_gridspec(2, 1, height_ratios=(3.6, 1.75 * (depth + 1)), hspace=0.12)
    whole.update(left=0.015, right=0.985, top=0.96, bottom=0.02)
    upper, lower = whole
    top = upper.subgridspec(1, 3, width_ratios=(1, 1.5, 1), wspace=0.16)
    classes = colors[prediction.maps.argmax(axis=-1)]
    panels = (("image", as_rgb(seen.image)), (f"prediction, sees {field(prediction)}", classes))
    for slot, (title, picture) in zip((top[0], top[2]), panels, strict=True):
        axes = figure.add_subplot(slot)
        axes.imshow(picture)
        axes.set_axis_off()
        axes.set_title(title, fontsize=12)
    draw_scores(figure.add_subplot(top[1]), class_names, scores, colors / 255)
    grid = lower.subgridspec(depth + 1, 2 * count + 1, hspace=0.32, wspace=0.06)
    for index, level in enumerate(levels):
        row = min(index, 2 * depth - index)
        first = (count + 1) // 2 if row == depth else (index > depth) * (count + 1)
        for column, channel in enumerate(strongest(level.maps)[:count]):
            axes = figure.add_subplot(grid[row, first + column])
            axes.imshow(level.maps[:, :, channel], cmap="cividis")
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(f"map {channel + 1} of {level.maps.shape[2]}", fontsize=8, labelpad=1)
            if column == 0:
                height, width = level.maps.shape[:2]
                title = f"{level.name}: {height} x {width} pixels, each sees {field(level)}"
                axes.set_title(title, fontsize=11, loc="left")
        if index < depth:
            axes = figure.add_subplot(grid[row, count])
            axes.text(0.5, 0.5, "skip\n→", ha="center", va="center", fontsize=12)
            axes.set_axis_off()
    figure.savefig(path, format="png")
    pyplot.close(figure)


def draw_scores(axes, class_names, scores, colors):
    """Draw, for each class, how well the best single map of each level tells it from the others."""
    for index, line in scores.items():
        axes.plot(list(line.values()), color="#404040", linewidth=4.2)
        style = {"markersize": 7, "markeredgecolor": "#404040", "linewidth": 3}
        axes.plot(
            list(line.values()),
            "osD^vP*X"[index % 8] + "-",
            color=colors[index],
            label=class_names[index],
            **style,
        )
    names = next(iter(scores.values()), {})
    axes.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names], fontsize=8)
    axes.axhline(0.5, color="#808080", linewidth=1, linestyle=":")
    axes.set_ylim(min([0.45, *(min(line.values()) - 0.03 for line in scores.values())]), 1.02)
    axes.set_title("one map alone: AUC for each class (0.5: guessing)", fontsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    if scores:
        axes.legend(frameon=False, loc="lower right", fontsize=10)
    else:
        axes.text(0.5, 0.75, NO_SCORES, ha="center", transform=axes.transAxes)


def field(level):
    """Write a receptive field as people say it."""
    return f"{level.receptive_field} x {level.receptive_field}"


def sentence(levels, class_names, scores):
    """Say what came out: how the maps change on the way, and which classes that helps or hurts."""
    way = first, bottom, _ = levels[0], levels[len(levels) // 2], levels[-1]
    sizes = ["{} x {}".format(*level.maps.shape) for level in (first, bottom)]
    said = (
        f"You should have seen the maps shrink from {sizes[0]} to {sizes[1]} pixels and what each "
        f"of these sees grow from {field(first)} to {field(bottom)}"
    )
    gains = {index: line[bottom.name] - line[first.name] for index, line in scores.items()}
    for index, gain in gains.items():
        if abs(gain) < 0.03 or gain not in (min(gains.values()), max(gains.values())):
            continue
        path = ", ".join(f"{scores[index][one.name]:.2f} in {one.name}" for one in way)
        said += f"; a single map tells {class_names[index]} from the rest with an AUC of {path}: "
        said += "better" if gain > 0 else "worse"
        said += f" at the bottom, where {'more is seen' if gain > 0 else 'pixels are large'}"
    return said + "."


def main(arguments=None):
    """Run the network, judge its maps, draw, and say what came out."""
    parser, options = parse(arguments)
    try:
        given = model_and_image(options)
        seen = view(given.model, given.image, options.size)
    except UserError as problem:
        parser.error(str(problem))
    print(describe_part(given, seen, options.size))
    names, prediction = given.model.class_names, seen.levels[-1].maps.argmax(axis=-1)
    truth = prediction if given.truth is None else given.truth
    counts = np.bincount(truth.ravel(), minlength=len(names))
    # What a map tells of one of two classes it tells of the other, too.
    classes = [1] if len(names) == 2 else sorted(np.argsort(-counts, kind="stable")[:LINES])
    scores = {}
    for index in classes:
        line = {level.name: single_map(level, truth, index) for level in seen.levels[:-1]}
        if not np.isnan(line["bottleneck"]):
            scores[index] = line
    draw(options.out, seen, names, scores, options.maps)
    source = "the network's own answer" if given.truth is None else "the truth"
    print(f"AUC of the best single map of each level, judged by {source}:")
    if not scores:
        print(f"  {NO_SCORES}")
    for index, line in scores.items():
        print(f"  {names[index]}:", ", ".join(f"{auc:.2f} {name}" for name, auc in line.items()))
    print(f"The picture: {options.out}")
    print(sentence(seen.levels[:-1], names, scores))


def parse(arguments):
    """Read the command line, and choose the device; gives the parser, for later errors, too."""
    parser = demo_parser(__doc__, "feature_maps.png")
    add_arguments(parser)
    parser.add_argument("--maps", type=int, default=4, help="to show of each level (4)")
    options = parser.parse_args(arguments)
    check_arguments(parser, options)
    if not 3 <= options.maps <= 8:
        parser.error("--maps must be 3 to 8")
    return parser, prepare(parser, options)


if __name__ == "__main__":
    main()
