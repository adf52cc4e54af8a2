"""Pictures of what goes in and what comes out: masks in color, previews, training curves.

Drawn with Pillow alone. Every color is chosen so that people who see colors differently can
tell the classes apart; what is not counted is gray.
"""

import contextlib
import functools
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tinyunet.atomic_io import save_picture
from tinyunet.errors import UserError

# Okabe and Ito, "Color Universal Design", 2008: https://jfly.uni-koeln.de/color/
# Ordered so that the first ones, which are needed most, differ most.
PALETTE = np.array(
    [
        (0, 114, 178),  # blue
        (230, 159, 0),  # orange
        (0, 158, 115),  # bluish green
        (240, 228, 66),  # yellow
        (213, 94, 0),  # vermilion
        (86, 180, 233),  # sky blue
        (204, 121, 167),  # reddish purple
        (0, 0, 0),  # black
    ],
    dtype=np.uint8,
)
IGNORED = (205, 205, 205)

PAPER = (255, 255, 255)
INK = (40, 40, 40)
FAINT = (225, 225, 225)
FRAME = (150, 150, 150)


# --- Colors ---------------------------------------------------------------------------------


# How linear red, green, blue look to people without red, green, or blue cones.
# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency", 2009, severity 1.
COLOR_BLINDNESS = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


@functools.cache
def palette(classes: int) -> np.ndarray:
    """Give each class a color that is easily told from the others.

    The first eight are those of `PALETTE`. Each further one is, among the colors of a regular
    grid, the one farthest from the nearest color taken so far (and from white and the gray of
    ignored pixels). After some three hundred, colors repeat.

    Returns
    -------
    array (classes, 3), uint8
        Read-only.
    """
    levels = np.linspace(0, 255, 7).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    colors = list(PALETTE)
    nearest = color_distance(grid[:, np.newaxis], [*colors, IGNORED, PAPER]).min(axis=1)
    while len(colors) < min(classes, len(PALETTE) + len(grid)):
        colors.append(grid[nearest.argmax()])
        nearest = np.minimum(nearest, color_distance(grid, colors[-1]))
    chosen = np.array(colors)[np.arange(classes) % len(colors)]
    chosen.flags.writeable = False  # the next caller gets the same array, from the cache
    return chosen


def color_distance(colors, others) -> np.ndarray:
    """Measure how different colors look, to those who see the smallest difference.

    The distance in CIELAB (where about 2 is just noticeable), at its smallest over common vision
    and the three kinds of `COLOR_BLINDNESS`.

    Parameters
    ----------
    colors, others : arrays (..., 3), sRGB from 0 to 255
        Compared element by element, as NumPy broadcasts them.
    """
    visions = [np.eye(3), *COLOR_BLINDNESS.values()]
    differences = [_lab(colors, vision) - _lab(others, vision) for vision in visions]
    return np.min([np.linalg.norm(difference, axis=-1) for difference in differences], axis=0)


def _lab(colors, vision) -> np.ndarray:
    """Convert sRGB to CIELAB (white point D65), as seen through a matrix on linear RGB."""
    srgb = np.asarray(colors) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = (linear @ np.transpose(vision)).clip(0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.transpose(to_xyz) / [0.9505, 1.0, 1.089]
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def color_mask(
    mask: np.ndarray, ignore_index: int | None = None, colors: np.ndarray | None = None
) -> np.ndarray:
    """Paint each pixel of a mask in the color of its class.

    Parameters
    ----------
    mask : array (H, W), integers
    ignore_index : int, optional
        Pixels of this value are painted gray.
    colors : array (K, 3), uint8, optional
        A color for each class, instead of those of `palette`.

    Returns
    -------
    array (H, W, 3), uint8

    Raises
    ------
    UserError
        If the mask holds a value for which there is no color.
    """
    ignored = np.zeros(mask.shape, bool) if ignore_index is None else mask == ignore_index
    classes = np.where(ignored, 0, mask)
    largest = int(classes.max(initial=0))
    if colors is None:
        colors = palette(max(largest + 1, len(PALETTE)))
    if largest >= len(colors) or classes.min(initial=0) < 0:
        raise UserError(
            f"the mask holds values from {classes.min()} to {largest}, but there are "
            f"{len(colors)} colors, for 0 to {len(colors) - 1}"
        )
    painted = np.asarray(colors, dtype=np.uint8)[classes]
    painted[ignored] = IGNORED
    return painted


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Make any image visible.

    Three or more channels: the first three are red, green and blue. Fewer: the first is gray.
    Numbers other than bytes are stretched so that the darkest and lightest hundredth of them
    become black and white.

    Parameters
    ----------
    image : array (H, W, C) or (H, W), any number type

    Returns
    -------
    array (H, W, 3), uint8
    """
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
    image = image[:, :, :3] if image.shape[2] >= 3 else image[:, :, [0, 0, 0]]
    if image.dtype == np.uint8:
        return image
    values = np.nan_to_num(image.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = np.percentile(values, [1, 99]) if values.size else (0.0, 0.0)
    scaled = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    return (scaled.clip(0, 1) * 255).round().astype(np.uint8)


# --- Preview ---------------------------------------------------------------------------------


def preview(
    rows: Sequence[Sequence[np.ndarray]],
    class_names: Sequence[str],
    *,
    ignore_index: int | None = None,
    titles: Sequence[str] = ("image", "truth", "prediction"),
    colors: np.ndarray | None = None,
    panel: int = 256,
) -> Image.Image:
    """Lay out images and masks in rows and columns, titles above, the legend of classes below.

    Parameters
    ----------
    rows : sequence of rows, each a sequence of arrays
        As many arrays in a row as there are titles: (H, W, C) is shown as an image, (H, W) as a
        mask in colors. In a row all are drawn to the same scale, that of the first.
    class_names : sequence of str
        For the legend. Of more than 24 classes only those in the picture are listed.
    ignore_index : int, optional
        The mask value that is painted gray.
    titles : sequence of str
        One over each column; may hold line breaks.
    colors : array (K, 3), uint8, optional
        A color for each class, instead of those of `palette`.
    panel : int
        Longest side of the first picture in a row, in pixels of the result.

    Returns
    -------
    PIL.Image.Image, RGB
    """
    colors = palette(max(len(class_names), len(PALETTE))) if colors is None else colors
    pictures = [_row_of_pictures(row, ignore_index, colors, panel) for row in rows]
    margin, gap = 16, 10
    title_height = max(text_size(title, 18)[1] for title in titles) + 8
    widths = [
        max([text_size(title, 18)[0], *(row[column].width for row in pictures)])
        for column, title in enumerate(titles)
    ]
    entries = _legend_entries(rows, class_names, ignore_index, colors)
    entry_widths = [_entry_width(name) for name, _ in entries]
    width = max([sum(widths) + gap * (len(widths) - 1), *entry_widths])
    if sum(entry_widths) > width:  # several lines: in columns, like a table
        entry_widths = [max(entry_widths)] * len(entries)
    per_line = width // entry_widths[0] if sum(entry_widths) > width else max(len(entries), 1)
    heights = [max(picture.height for picture in row) for row in pictures]
    legend_height = math.ceil(len(entries) / per_line) * 28
    height = title_height + sum(heights) + gap * len(heights) + legend_height

    canvas = Image.new("RGB", (width + 2 * margin, height + 2 * margin), PAPER)
    draw = ImageDraw.Draw(canvas)
    lefts = [margin + sum(widths[:column]) + column * gap for column in range(len(widths))]
    for left, column_width, title in zip(lefts, widths, titles, strict=True):
        write_text(draw, (left + column_width / 2, margin + title_height - 8), title, 18, "md")
    top = margin + title_height
    for row, row_height in zip(pictures, heights, strict=True):
        for left, column_width, picture in zip(lefts, widths, row, strict=True):
            x = left + (column_width - picture.width) // 2
            y = top + (row_height - picture.height) // 2
            canvas.paste(picture, (x, y))
            draw.rectangle((x - 1, y - 1, x + picture.width, y + picture.height), outline=FRAME)
        top += row_height + gap
    for index, ((name, color), entry_width) in enumerate(zip(entries, entry_widths, strict=True)):
        if index % per_line == 0:
            left, top = margin, top + 28 * (index > 0)
        draw.rectangle((left, top + 6, left + 18, top + 24), fill=color, outline=FRAME)
        write_text(draw, (left + 26, top + 15), name, 16, "lm")
        left += entry_width
    return canvas


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Put pictures below each other, at the left, on a sheet as wide as the widest."""
    width, height = max(one.width for one in pictures), sum(one.height for one in pictures)
    sheet = Image.new("RGB", (width, height), PAPER)
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet


def _row_of_pictures(row, ignore_index, colors, panel) -> list[Image.Image]:
    """Turn the arrays of a row into pictures, all to the scale at which the first fits."""
    scale = panel / max(row[0].shape[:2])
    pictures = []
    for array in row:
        is_mask = array.ndim == 2
        rgb = color_mask(array, ignore_index, colors) if is_mask else as_rgb(array)
        # A mask has no colors in between, and magnified pixels should look like pixels.
        nearest = is_mask or scale >= 1
        size = [max(1, round(scale * side)) for side in (array.shape[1], array.shape[0])]
        method = Image.Resampling.NEAREST if nearest else Image.Resampling.LANCZOS
        pictures.append(Image.fromarray(np.ascontiguousarray(rgb)).resize(size, method))
    return pictures


def _legend_entries(rows, class_names, ignore_index, colors):
    """List (name, color) of each class to explain, and of ignored pixels where there are any."""
    masks = [array for row in rows for array in row if array.ndim == 2]
    present = set(np.unique(np.concatenate([np.unique(mask) for mask in masks] or [[]])).tolist())
    entries = [
        (name, tuple(int(value) for value in colors[index]))
        for index, name in enumerate(class_names)
        if index != ignore_index and (len(class_names) <= 24 or index in present)
    ]
    if ignore_index in present:
        name = class_names[ignore_index] if 0 <= ignore_index < len(class_names) else ""
        entries.append((f"{name} (not counted)" if name else "not counted", IGNORED))
    return entries


def _entry_width(name: str) -> int:
    return 26 + text_size(name, 16)[0] + 22


# --- Curves ----------------------------------------------------------------------------------


def plot_curves(metrics: Iterable[Mapping], path: str | Path) -> None:
    """Draw how training went: the loss above, the mean IoU on the validation images below.

    Parameters
    ----------
    metrics : iterable of mappings
        One for each step that was recorded, with ``"step"``, ``"loss"`` and, where it was
        measured, ``"mean_iou"``. Numbers may be strings, as `csv.DictReader` gives them; empty,
        None and NaN are skipped.
    path : path
        The picture; replaced in one go.
    """
    rows = list(metrics)
    loss, mean_iou = _points(rows, "loss"), _points(rows, "mean_iou")
    last_step = max([10.0, *(step for step, _ in loss + mean_iou)])

    # Pillow draws hard edges: draw twice as large and scale down, and lines come out smooth.
    canvas = Image.new("RGB", (2 * 900, 2 * 640), PAPER)
    draw = ImageDraw.Draw(canvas)
    left, right = 2 * 84, 2 * 876
    blue, orange = tuple(PALETTE[0].tolist()), tuple(PALETTE[4].tolist())
    pale = tuple(round(0.35 * value + 0.65 * 255) for value in blue)

    top, bottom = 2 * 46, 2 * 300
    values = [value for _, value in loss]
    # One wild step in the beginning should not flatten all the others.
    highest = min(max(values), 3 * float(np.percentile(values, 95))) if values else 1.0
    y_ticks = _ticks(0.0, highest or 1.0, 5)
    place = _axes(draw, (left, top, right, bottom), last_step, y_ticks, "training loss")
    smooth = _smooth(loss)
    curves = [("as logged", pale, 2), ("running mean", blue, 5)]
    for points, (_, color, width) in zip((loss, smooth), curves, strict=True):
        _curve(draw, place, points, color, width)
    _key(draw, right, top, [(name, color) for name, color, _ in curves])

    top, bottom = 2 * 362, 2 * 576
    y_ticks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    place = _axes(draw, (left, top, right, bottom), last_step, y_ticks, "validation mean IoU")
    _curve(draw, place, mean_iou, orange, 5)
    for point in mean_iou:
        _dot(draw, place(point), 7, orange)
    if mean_iou:
        best = max(mean_iou, key=lambda point: point[1])
        _dot(draw, place(best), 12, INK)
        _dot(draw, place(best), 7, orange)
        _key(draw, right, top, [(f"best {best[1]:.3f}, at step {best[0]:g}", orange)])
    else:
        write_text(draw, ((left + right) / 2, (top + bottom) / 2), "not measured yet", 32, "mm")
    write_text(draw, ((left + right) / 2, 2 * 612), "step", 32, "mm")
    save_picture(canvas.resize((900, 640), Image.Resampling.LANCZOS), path)


def _points(rows: Sequence[Mapping], name: str) -> list[tuple[float, float]]:
    """Collect (step, value) where the value is a finite number."""
    points = []
    for row in rows:
        value = row.get(name)
        value = float("nan" if value in (None, "") else value)
        if math.isfinite(value):
            points.append((float(row["step"]), value))
    return points


def _smooth(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Average each value with its neighbors, a fiftieth of the curve to either side."""
    reach = max(1, len(points) // 50)
    sums = np.cumsum([0.0, *(value for _, value in points)])
    smooth = []
    for index, (step, _) in enumerate(points):
        low, high = max(0, index - reach), min(len(points), index + reach + 1)
        smooth.append((step, (sums[high] - sums[low]) / (high - low)))
    return smooth


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Choose about `count` round numbers (1, 2 or 5 times a power of ten) that span low to high."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.6g}") for index in range(first, last + 1)]


def _axes(draw, box, last_step, y_ticks, title):
    """Draw a panel's grid, tick labels and title; returns the function (x, y) -> pixel."""
    left, top, right, bottom = box
    lowest, highest = y_ticks[0], y_ticks[-1]

    def place(point):
        x = left + (right - left) * point[0] / last_step
        y = bottom - (bottom - top) * (point[1] - lowest) / (highest - lowest)
        return x, min(max(y, top), bottom)

    for value in y_ticks:
        _, y = place((0, value))
        draw.line((left, y, right, y), fill=FAINT, width=2)
        write_text(draw, (left - 14, y), f"{value:g}", 28, "rm")
    for step in _ticks(0, last_step, 8):
        if step <= last_step:
            x, _ = place((step, lowest))
            draw.line((x, bottom, x, bottom + 10), fill=INK, width=2)
            write_text(
                draw, (x, bottom + 16), f"{step:g}" if step < 1e6 else f"{step:.1e}", 28, "ma"
            )
    draw.line((left, top, left, bottom, right, bottom), fill=INK, width=2)
    write_text(draw, (left, top - 18), title, 34, "ld")
    return place


def _curve(draw, place, points, color, width) -> None:
    if len(points) > 1:
        draw.line([place(point) for point in points], fill=color, width=width, joint="curve")
    elif points:
        _dot(draw, place(points[0]), width, color)


def _dot(draw, center, radius, color) -> None:
    x, y = center
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)


def _key(draw, right, top, entries) -> None:
    """Explain the curves in a line right above the panel, at its right end."""
    x, y = right, top - 32
    for name, color in reversed(entries):
        x -= text_size(name, 30)[0]
        write_text(draw, (x, y), name, 30, "lm")
        draw.line((x - 60, y, x - 14, y), fill=color, width=8)
        x -= 100


# --- Text and files --------------------------------------------------------------------------


@functools.cache
def _font(size: int, name: str | None = None):
    return ImageFont.truetype(name, size) if name else ImageFont.load_default(size=size)


def _readable(text: str, size: int):
    """Choose a font that has the letters of a text; returns the text as it can be drawn, the font.

    The font inside Pillow knows ASCII only. Others are looked for on the computer; where there
    is none, accents are dropped, which reads better than empty boxes.
    """
    if text.isascii():
        return text, _font(size)
    for name in ("DejaVuSans.ttf", "Arial.ttf", "arial.ttf", "NotoSans-Regular.ttf"):
        with contextlib.suppress(OSError):
            return text, _font(size, name)
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return plain or "?", _font(size)


def write_text(draw, position, text: str, size: int, anchor: str, color=INK) -> None:
    """Write a text, of one or more lines, with its anchor (as Pillow names them) at a position."""
    text, font = _readable(text, size)
    if "\n" not in text:
        draw.text(position, text, fill=color, font=font, anchor=anchor)
        return
    draw.multiline_text(position, text, fill=color, font=font, anchor=anchor, align="center")


def text_size(text: str, size: int) -> tuple[int, int]:
    """Measure a text in pixels: its width and height."""
    text, font = _readable(text, size)
    box = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text, font=font)
    line = sum(font.getmetrics())
    return math.ceil(box[2]), max(line, math.ceil(box[3]))
