"""Pictures drawn by matplotlib: curves of a training, previews, mistakes, contact sheets.

Matplotlib takes a second to import, so each function imports it when it draws. None uses pyplot,
whose figures belong to the whole program.
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
from tinyunet.checkpoint import Model
from tinyunet.data.images import plain
from tinyunet.inference.evaluation import THRESHOLDS, Scores
from tinyunet.plots.colors import IGNORED, PALETTE, as_rgb, color_mask, overlay, palette

DPI = 100  # pixels per inch, the unit of matplotlib's sizes
PANEL = 240  # pixels, the longest side of an image in a sheet
BLUE, GREEN, VERMILION = PALETTE[[0, 2, 4]] / 255
MISTAKE = (150, 0, 60)  # dark red, which is the color of no class


@contextlib.contextmanager
def plain_style() -> Iterator[None]:
    """Draw with matplotlib's own defaults, whatever style this computer or program is set to."""
    from matplotlib import style

    ours = {"font.size": 10, "axes.titlesize": 11, "legend.frameon": False, "savefig.dpi": DPI}
    with style.context(["default", ours]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that no font has becomes a box
        yield


def as_image(figure) -> Image.Image:
    """Draw a matplotlib figure, cut to what is on it; returns an RGB image."""
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight", pil_kwargs={"compress_level": 1})
    return Image.open(file).convert("RGB")


def shortened(title: str, most: int = 24) -> str:
    """Cut a long title in the middle, where names of files differ least; escape odd letters."""
    title = plain(title)
    if len(title) <= most:
        return title
    return title[: most // 2 - 1] + "..." + title[-(most // 2 - 2) :]


def thinned(array: np.ndarray, longest: int) -> np.ndarray:
    """Leave out rows and columns so that no side has more pixels than `longest`."""
    every = max(1, -(-max(array.shape[:2]) // longest))
    return array[::every, ::every]


# -- Images beside each other ----------------------------------------------------------------------


@plain_style()
def draw_grid(
    rows: Sequence[Sequence[tuple[str, np.ndarray]]],
    legend: Sequence[tuple[str, np.ndarray]] = (),
    panel: int = PANEL,
) -> Image.Image:
    """Lay out images in rows and columns, a title above each, a legend of colors below.

    Parameters
    ----------
    rows : sequence of rows, each a sequence of (title, image)
        Images (H, W, C) of any kind. In a row all are drawn to the scale of the first, smaller ones
        in its middle.
    legend : sequence of (name, color)
        Colors from 0 to 255.
    panel : int
        Longest side of the first image in a row, in pixels of the result.

    Returns
    -------
    PIL.Image.Image, RGB
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    columns = max(len(row) for row in rows)
    titles = [shortened(title) for row in rows for title, _ in row]
    sides = np.array([row[0][1].shape[:2] for row in rows])
    heights, widths = (sides * panel / sides.max(axis=1, keepdims=True)).T
    total_width = columns * max(widths.max() + 10, 8 * max(map(len, titles)))  # a letter is 8 wide
    size = (total_width / DPI, ((heights + 30).sum() + 30) / DPI)
    figure = Figure(size, dpi=DPI, layout="constrained")
    places = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for row, (height, width), row_of_places in zip(rows, sides, places, strict=True):
        for place in row_of_places[len(row) :]:
            place.set_axis_off()
        for (title, image), place in zip(row, row_of_places, strict=False):
            bottom, right = np.array(image.shape[:2]) / 2
            rgb = as_rgb(thinned(image, 4 * panel))
            place.imshow(rgb, extent=(-right, right, bottom, -bottom))
            place.set(xlim=(-width / 2, width / 2), ylim=(height / 2, -height / 2))
            place.set(xticks=[], yticks=[])
            place.set_title(shortened(title), parse_math=False)
    if legend:
        swatches = [Patch(facecolor=np.array(color) / 255, edgecolor="gray") for _, color in legend]
        # Matplotlib leaves out names that begin with _, and takes what is between $ for formulas.
        names = [" " + shortened(name).replace("$", r"\$") for name, _ in legend]
        fitting = int(total_width / (60 + 8 * max(map(len, names))))
        figure.legend(swatches, names, loc="outside lower center", ncols=max(1, fitting))
    return as_image(figure)


def legend_of(
    class_names: Sequence[str],
    masks: Sequence[np.ndarray],
    ignore_index: int | None = None,
    colors: np.ndarray | None = None,
) -> list[tuple[str, np.ndarray]]:
    """List name and color of each class that occurs in some masks, and of what is ignored in them.

    Parameters
    ----------
    class_names : sequence of str
    masks : sequence of arrays (H, W)
        The masks that are shown.
    ignore_index : int, optional
        The mask value that is painted gray.
    colors : array (K, 3), optional
        Of the classes; without it, those of `palette`.
    """
    present = sorted(set().union(*(np.unique(mask).tolist() for mask in masks)))
    names = dict(enumerate(class_names))
    colors = palette(len(names)) if colors is None else colors
    entries = [(names[k], colors[k]) for k in present if k in names and k != ignore_index]
    if ignore_index in present:
        ours = (
            f"{names[ignore_index]} (ignored)" if ignore_index in names else "ignored, or no data"
        )
        entries.append((ours, np.array(IGNORED)))
    return entries


def preview(
    rows: Sequence[Sequence[np.ndarray]],
    class_names: Sequence[str],
    *,
    ignore_index: int | None = None,
    titles: Sequence[str] = ("image", "truth", "prediction"),
    panel: int = PANEL,
) -> Image.Image:
    """Show images and masks side by side, titles above, the legend of classes below.

    Parameters
    ----------
    rows : sequence of rows, each a sequence of arrays
        As many arrays in a row as there are titles: (H, W, C) is shown as an image, (H, W) as a
        mask in colors.
    class_names : sequence of str
    ignore_index : int, optional
        The mask value that is painted gray.
    titles : sequence of str
        One over each column.
    panel : int
        Longest side of the first array in a row, in pixels of the result.

    Returns
    -------
    PIL.Image.Image, RGB
    """
    masks = [array for row in rows for array in row if array.ndim == 2]
    images = [[a if a.ndim == 3 else color_mask(a, ignore_index) for a in row] for row in rows]
    cells = [[("", image) for image in row] for row in images]
    cells[0] = list(zip(titles, images[0], strict=True))
    return draw_grid(cells, legend_of(class_names, masks, ignore_index), panel)


def contact_sheet(
    panels: Sequence[tuple[str, np.ndarray, np.ndarray]],
    class_names: Sequence[str],
    ignore_index: int | None = None,
    colors: np.ndarray | None = None,
) -> Image.Image:
    """Show many images at a glance, each beside itself in gray under the colors of its mask.

    Parameters
    ----------
    panels : sequence of (title, image, mask)
        Images (H, W, C); masks (H, W) of classes.
    class_names : sequence of str
        For the legend below.
    ignore_index : int, optional
        The mask value that is painted gray.
    colors : array (K, 3), uint8, optional
        Of the classes; without it, those of `palette`.

    Returns
    -------
    PIL.Image.Image, RGB
    """
    cells = []
    for title, image, mask in panels:
        image, mask = thinned(image, 4 * PANEL), thinned(mask, 4 * PANEL)
        painted = overlay(image, mask if colors is None else colors[mask], ignore_index)
        cells += [(title, image), ("with its mask", painted)]
    rows = [cells[start : start + 4] for start in range(0, len(cells), 4)]
    masks = [mask for _, _, mask in panels]
    return draw_grid(rows, legend_of(class_names, masks, ignore_index, colors))


# -- Mistakes --------------------------------------------------------------------------------------


def worst_images(confusions: Sequence[np.ndarray], most: int = 6) -> list[int]:
    """Pick the images that cost the most: those with the most wrong pixels, the worst first."""
    wrong = [int(confusion.sum() - np.trace(confusion)) for confusion in confusions]
    return [index for index in np.argsort([-w for w in wrong], stable=True)[:most] if wrong[index]]


def draw_mistakes(
    cases: Sequence[tuple], class_names: Sequence[str], ignore_index: int | None = None
) -> Image.Image:
    """Show images with their truth, the prediction, and in red where the two disagree.

    A score says how good a model is, not why it is no better. Often one sees here that the mistake
    is in the mask.

    Parameters
    ----------
    cases : sequence of (name, image, truth, prediction)
        Image (H, W, C), masks (H, W) of classes.
    class_names : sequence of str
        For the legend below.
    ignore_index : int, optional
        Pixels whose truth has this value are neither right nor wrong.

    Returns
    -------
    PIL.Image.Image, RGB
    """
    rows = []
    for name, image, truth, prediction in cases:
        counted = truth != ignore_index
        wrong = (truth != prediction) & counted
        title = f"{100 * wrong.sum() / max(counted.sum(), 1):.1f} % wrong (red)"
        masks = [color_mask(mask, ignore_index) for mask in (truth, prediction)]
        titles = (name, "truth", "prediction", title)
        rows.append(list(zip(titles, (image, *masks, marked(image, wrong)), strict=True)))
    masks = [mask for case in cases for mask in case[2:]]
    return draw_grid(rows, legend_of(class_names, masks, ignore_index))


def marked(image: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Show an image in pale gray with some pixels in dark red."""
    pale = 255 - (255 - as_rgb(image).mean(axis=2, keepdims=True)) / 3
    return np.where(wrong[:, :, np.newaxis], MISTAKE, pale).astype(np.uint8)


@plain_style()
def draw_confusion(
    scores: Scores, class_names: Sequence[str], ignore_index: int | None = None
) -> Image.Image:
    """Draw the confusion matrix: of 100 pixels of a class, how many were predicted as each.

    Parameters
    ----------
    scores : Scores
    class_names : sequence of K str
    ignore_index : int, optional
        If it is a class, it is left out.

    Returns
    -------
    PIL.Image.Image, RGB
        What is right, on the diagonal, is blue, and what is wrong is red; the more, the darker.
    """
    from matplotlib.figure import Figure

    shown = [index for index in range(len(class_names)) if index != ignore_index]
    pixels = scores.confusion[np.ix_(shown, shown)]
    total = pixels.sum(axis=1)
    shares = pixels / np.maximum(total, 1)[:, np.newaxis]
    names = [shortened(class_names[index]) for index in shown]
    inches = max(2.5, min(0.55 * len(shown), 10))
    figure = Figure((inches + 2, inches + 2), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    full = 255 * np.where(np.eye(len(shown), dtype=bool)[:, :, np.newaxis], BLUE, VERMILION)
    shades = 255 - np.sqrt(shares)[:, :, np.newaxis] * (255 - full)
    axes.imshow(np.rint(shades).astype(np.uint8))
    style = {"ha": "center", "va": "center", "size": min(10, 14 * inches / len(shown))}
    for (row, column), share in np.ndenumerate(shares):
        style["color"] = "white" if share > 0.4 else "black"
        axes.text(column, row, f"{100 * share:.1f}" if total[row] else "-", **style)
    ticks = range(len(shown))
    axes.set_xticks(ticks, names, rotation=45, ha="left", parse_math=False)
    axes.xaxis.tick_top()
    axes.set_yticks(ticks, names, parse_math=False)
    axes.set(xlabel="predicted as", ylabel="truth")
    axes.set_title("Of 100 pixels of a class, how many were predicted as each")
    return as_image(figure)


@plain_style()
def draw_calibration(scores: Scores) -> Image.Image:
    """Draw how often the network is right over how sure it is, and how many pixels that is.

    Parameters
    ----------
    scores : Scores
        With a calibration.

    Returns
    -------
    PIL.Image.Image, RGB
    """
    from matplotlib.figure import Figure

    figure = Figure((5, 5.6), dpi=DPI, layout="constrained")
    above, below = figure.subplots(2, sharex=True, gridspec_kw={"height_ratios": (3, 1)})
    pixels, sure, right = scores.calibration[scores.calibration[:, 0] > 0].T
    above.plot([0, 1], [0, 1], "--", color="gray", label="as sure as it is right")
    above.plot(sure / pixels, right / pixels, "o-", color=BLUE, label="this model")
    above.set(ylim=(0, 1.02), ylabel="share that is right")
    above.legend(loc="upper left")
    middles = (np.arange(len(scores.calibration)) + 0.5) / len(scores.calibration)
    shares = scores.calibration[:, 0] / max(pixels.sum(), 1)
    below.bar(middles, 100 * shares, width=0.8 / len(middles), color=BLUE)
    below.set(xlim=(0, 1.02), xlabel="probability of the chosen class", ylabel="% of pixels")
    for axes in (above, below):
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return as_image(figure)


@plain_style()
def draw_threshold_curve(model: Model, scores: Scores) -> Image.Image:
    """Draw the mean IoU of a model of two classes over the probability of class 1 asked for."""
    from matplotlib.figure import Figure

    figure = Figure((5, 3.6), dpi=DPI, layout="constrained")
    axes, curve, best = figure.subplots(), scores.threshold_curve, model.threshold
    iou = curve[THRESHOLDS == best].item()
    axes.plot(THRESHOLDS, curve, color=BLUE)
    axes.plot(best, iou, "o", color=VERMILION, label=f"{iou:.3f} at {best:.2f}")
    axes.axvline(0.5, color="gray", linestyle="--", label=f"{curve[49]:.3f} at 0.50")
    axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="validation mean IoU")
    name = shortened(model.class_names[1])
    axes.set_xlabel(f"{name} where its probability is above", parse_math=False)
    axes.legend(loc="lower center")
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    return as_image(figure)


@plain_style()
def draw_folds(
    folds: Mapping[str, Sequence[Scores]], together: Mapping[str, Scores], names: Sequence[str]
) -> Image.Image:
    """Draw the IoU of each class, and their mean, by split: a dot for each fold, a line for all.

    Parameters
    ----------
    folds : mapping of str to sequence of Scores
        For each split, the scores of its folds.
    together : mapping of str to Scores
        For each split, the scores of all folds together.
    names : sequence of K str

    Returns
    -------
    PIL.Image.Image, RGB
    """
    from matplotlib.figure import Figure

    ticks = ["mean", *map(shortened, names)]
    figure = Figure((max(4, 1.1 * len(ticks)), 3.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for number, (split, scores) in enumerate(folds.items()):
        style = {"color": (BLUE, VERMILION)[number % 2]}
        for tick in range(len(ticks)):
            x = tick + 0.3 * (number - (len(folds) - 1) / 2)
            *each, all_folds = (
                s.mean_iou if tick == 0 else s.iou[tick - 1] for s in (*scores, together[split])
            )
            known = [value for value in each if value is not None]
            axes.plot([x] * len(known), known, "o", alpha=0.5, markeredgewidth=0, **style)
            if all_folds is not None:
                label = split if tick == 0 else None
                axes.plot([x - 0.12, x + 0.12], [all_folds] * 2, linewidth=3, label=label, **style)
    axes.set_xticks(range(len(ticks)), ticks, parse_math=False)
    axes.set(ylim=(0, 1), ylabel="IoU", title="A dot is a fold, a line all of them together")
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), title="split")
    return as_image(figure)


# -- Curves ----------------------------------------------------------------------------------------


@plain_style()
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
    from matplotlib.figure import Figure

    rows = list(metrics)
    loss, val_loss, iou = (points(rows, name) for name in ("loss", "val_loss", "val_mean_iou"))
    figure = Figure((9, 6.4), dpi=DPI, layout="constrained")
    above, below = figure.subplots(2, sharex=True)

    dot = "." if loss.shape[1] == 1 else ""  # a line needs two points
    above.plot(*loss, marker=dot, color=BLUE, label="training loss")
    above.plot(*val_loss, ".-", color=VERMILION, label="validation loss")
    values = np.concatenate([loss[1], val_loss[1]])
    # One wild step in the beginning should not flatten all the others.
    highest = min(values.max(), 3 * np.percentile(values, 95)) if values.size else 1.0
    above.set(ylim=(0, 1.05 * highest or 1.0), ylabel="loss")
    above.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)

    below.plot(*iou, ".-", color=GREEN)
    if iou.size:
        step, best = iou[:, iou[1].argmax()]
        below.plot(step, best, "o", color=GREEN, label=f"best {best:.3f}, at step {step:g}")
        below.legend(loc="lower right", bbox_to_anchor=(1, 1))
    else:
        below.text(0.5, 0.5, "not measured yet", transform=below.transAxes, ha="center")
    last = max([10, *loss[0], *iou[0]])
    below.set(ylim=(0, 1.02), xlim=(0, 1.01 * last), ylabel="validation mean IoU", xlabel="step")
    for axes in (above, below):
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    save_picture(as_image(figure), path)


def points(rows: Sequence[Mapping], name: str) -> np.ndarray:
    """Collect steps and values where the value is a finite number; returns an array (2, n)."""
    pairs = [(float(row["step"]), float(row.get(name) or "nan")) for row in rows]
    return np.array([pair for pair in pairs if math.isfinite(pair[1])]).reshape(-1, 2).T
