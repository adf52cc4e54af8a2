"""Pictures drawn by matplotlib: images and masks beside each other, scores, a training's curves.

Matplotlib takes a second to import, so that is done when something is drawn. Nothing here uses
pyplot, whose figures belong to the whole program.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tinyunet.atomic_io import save_picture
from tinyunet.data.images import plain
from tinyunet.inference.evaluation import THRESHOLDS, Scores
from tinyunet.plots.colors import PALETTE, as_rgb, color_mask, overlay

DPI = 100  # pixels per inch, the unit of matplotlib's sizes
PANEL = 240  # pixels, the longest side of an image in a grid
BLUE, GREEN, VERMILION = PALETTE[[0, 2, 4]] / 255
MISTAKE = (150, 0, 60)  # dark red, which is the color of no class
STYLE = {
    **{"font.size": 10, "axes.titlesize": 11, "legend.frameon": False, "savefig.dpi": DPI},
    **{"axes.grid": True, "grid.color": "0.9", "axes.axisbelow": True},
    **{"axes.spines.top": False, "axes.spines.right": False},
    "text.parse_math": False,  # what is between two $ in a name is no formula
}


@contextlib.contextmanager
def figure_of(width: float, height: float) -> Iterator:
    """Draw a figure of this size in inches, whatever style this computer or program is set to."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that no font has becomes a box
        yield Figure((width, height), dpi=DPI, layout="constrained")


def as_image(figure) -> Image.Image:
    """Draw a matplotlib figure, cut to what is on it; returns an RGB image."""
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight", pil_kwargs={"compress_level": 1})
    return Image.open(file).convert("RGB")


def shortened(title: str) -> str:
    """Cut a long title in the middle, where names of files differ least; escape odd letters."""
    title = plain(title)
    return title if len(title) <= 24 else f"{title[:11]}...{title[-10:]}"


# -- Images beside each other ----------------------------------------------------------------------


def draw_grid(
    rows: Sequence[Sequence[tuple]],
    class_names: Sequence[str] = (),
    ignore_index: int | None = None,
    *,
    colors: np.ndarray = PALETTE,
    panel: int = PANEL,
) -> Image.Image:
    """Lay out images and masks in rows, a title above each, the colors of the classes below.

    Parameters
    ----------
    rows : sequence of rows
        Each a sequence of (title, image), (title, mask) or (title, image, mask). An image
        (H, W, C) is shown as it is, a mask (H, W) in the colors of its classes, alone or over the
        image.
    class_names : sequence of str
        Those that occur in the masks are in the legend.
    ignore_index : int, optional
        The mask value that is painted gray.
    colors : array (K, 3), uint8
        Of the classes.
    panel : int
        Longest side of an image in pixels of the result.

    Returns
    -------
    PIL.Image.Image, RGB
    """
    rows = [[(title, *thinned(layers, 4 * panel)) for title, *layers in row] for row in rows]
    masks = [cell[-1] for row in rows for cell in row if cell[-1].ndim == 2]
    legend = legend_of(class_names, masks, ignore_index, colors)
    columns = max(map(len, rows))
    shapes = [row[0][1].shape[:2] for row in rows]
    heights = [panel * height / max(height, width) for height, width in shapes]
    total_height = sum(heights) + 34 * len(rows) + 20 * math.ceil(len(legend) / columns)
    with figure_of(columns * (panel + 10) / DPI, total_height / DPI) as figure:
        from matplotlib.patches import Patch

        places = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
        for place in places.flat:
            place.set_axis_off()
        for row, row_of_places in zip(rows, places, strict=True):
            for (title, *layers), place in zip(row, row_of_places, strict=False):
                place.imshow(painted(layers, ignore_index, colors))
                place.set_title(shortened(title))
        swatches = [Patch(facecolor=color / 255, edgecolor="gray") for _, color in legend]
        names = [" " + shortened(name) for name, _ in legend]  # without " ", _ would hide a name
        if names:
            figure.legend(swatches, names, loc="outside lower center", ncols=columns)
        return as_image(figure)


def thinned(layers: Sequence, longest: int) -> list[np.ndarray]:
    """Leave out rows and columns of an image and its mask: `longest` pixels a side at most."""
    every = -(-max(layers[0].shape[:2]) // longest)
    return [array[::every, ::every] for array in layers]


def painted(layers: Sequence[np.ndarray], ignore_index: int | None, colors) -> np.ndarray:
    """Paint an image, a mask, or an image under its mask."""
    *image, last = layers
    if image:
        return overlay(*image, last, ignore_index, colors)
    return as_rgb(last) if last.ndim == 3 else color_mask(last, ignore_index, colors)


def legend_of(
    class_names: Sequence[str], masks: Sequence[np.ndarray], ignore_index=None, colors=PALETTE
) -> list[tuple[str, np.ndarray]]:
    """List name and color of each class that occurs in some masks, and of what is ignored there."""
    names = dict(enumerate(class_names))
    ignored = f"{names[ignore_index]} (ignored)" if ignore_index in names else "ignored, or no data"
    names[ignore_index] = ignored
    present = sorted(set().union(*map(np.unique, masks)) & set(names))
    swatches = color_mask(np.array(present), ignore_index, colors)
    return [(names[k], color) for k, color in zip(present, swatches, strict=True)]


def marked(image: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Show an image in pale gray with some pixels in dark red."""
    pale = 255 - (255 - as_rgb(image).mean(axis=2, keepdims=True)) / 3
    return np.where(wrong[:, :, np.newaxis], MISTAKE, pale).astype(np.uint8)


# -- Scores ----------------------------------------------------------------------------------------


def draw_confusion(scores: Scores, class_names: Sequence[str]) -> Image.Image:
    """Draw the confusion matrix: of 100 pixels of a class, how many were predicted as each.

    What is right is on the diagonal; the more, the darker.
    """
    pixels, count = scores.confusion, len(class_names)
    percent = 100 * pixels / np.maximum(pixels.sum(axis=1, keepdims=True), 1)
    inches = min(max(2.5, 0.55 * count), 10)
    with figure_of(inches + 2, inches + 2) as figure:
        axes = figure.subplots()
        axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
        style = {"ha": "center", "va": "center", "size": min(10, 14 * inches / count)}
        for (row, column), share in np.ndenumerate(percent):
            color = "white" if share > 50 else "black"
            axes.text(column, row, f"{share:.1f}", color=color, **style)
        names = list(map(shortened, class_names))
        axes.set_xticks(range(count), names, rotation=45, ha="right")
        axes.set_yticks(range(count), names)
        axes.set(xlabel="predicted as", ylabel="truth", title="Of 100 pixels of a class")
        axes.grid(False)
        return as_image(figure)


def draw_calibration(scores: Scores) -> Image.Image:
    """Draw how often the network is right over how sure it is; see `count_by_confidence`.

    The area of a dot tells how many pixels it stands for.
    """
    pixels, sure, right = scores.calibration[scores.calibration[:, 0] > 0].T
    with figure_of(5, 4.6) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], "--", color="gray", label="as sure as it is right")
        axes.plot(sure / pixels, right / pixels, color=BLUE, label="this model")
        axes.scatter(sure / pixels, right / pixels, 20 + 400 * pixels / pixels.sum(), color=BLUE)
        axes.set(xlabel="probability of the chosen class", ylabel="share that is right")
        axes.set(xlim=(0, 1.03), ylim=(0, 1.03))
        axes.legend(loc="upper left")
        return as_image(figure)


def draw_threshold_curve(scores: Scores, class_name: str) -> Image.Image:
    """Draw the mean IoU of a model of two classes over the probability of class 1 asked for."""
    curve, best = scores.mean_iou_by_threshold, scores.best_threshold
    with figure_of(5, 3.6) as figure:
        axes = figure.subplots()
        axes.plot(THRESHOLDS, curve, color=BLUE)
        for place, color in ((best, VERMILION), (0.5, "gray")):
            label = f"{np.interp(place, THRESHOLDS, curve):.3f} at {place:.2f}"
            axes.axvline(place, color=color, linestyle="--", label=label)
        axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="validation mean IoU")
        axes.set_xlabel(f"{shortened(class_name)} where its probability is above")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
        return as_image(figure)


# -- Curves ----------------------------------------------------------------------------------------


def plot_curves(metrics: Iterable[Mapping], path: str | Path) -> None:
    """Draw how training went: the losses above, the mean IoU on the validation images below.

    Parameters
    ----------
    metrics : iterable of mappings
        The rows of ``metrics.csv``: one for each step that was recorded, with ``"step"``,
        ``"loss"`` and, where they were measured, ``"val_loss"`` and ``"val_mean_iou"``. Numbers
        may be strings, as `csv.DictReader` gives them; empty, None and NaN are skipped.
    path : path
        The picture; replaced in one go.
    """
    rows = list(metrics)
    loss, val_loss, iou = (points(rows, name) for name in ("loss", "val_loss", "val_mean_iou"))
    with figure_of(9, 6.4) as figure:
        above, below = figure.subplots(2, sharex=True)
        above.plot(*loss, ".-", markersize=2, color=BLUE, label="training loss")
        above.plot(*val_loss, ".-", color=VERMILION, label="validation loss")
        # One wild step in the beginning should not flatten all the others.
        values = [1e-9, *loss[1], *val_loss[1]]
        above.set(ylim=(0, 1.05 * min(max(values), 3 * np.percentile(values, 95))), ylabel="loss")
        above.legend(loc="upper right", ncols=2)
        below.plot(*iou, ".-", color=GREEN)
        below.set(ylim=(0, 1.02), ylabel="validation mean IoU", xlabel="step")
        below.set_xlim(left=0)
        save_picture(as_image(figure), path)


def points(rows: Sequence[Mapping], name: str) -> np.ndarray:
    """Collect steps and values where the value is a finite number; returns an array (2, n)."""
    pairs = [(float(row["step"]), float(row.get(name) or "nan")) for row in rows]
    return np.array([pair for pair in pairs if math.isfinite(pair[1])]).reshape(-1, 2).T
