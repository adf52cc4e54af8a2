"""Masks as people have them, and the class numbers that training needs.

A mask should hold 0, 1, 2, ... Many are drawn for the eye instead: 0 and 255, because 1 would look
black; or a color for each class; or a number for each object. All of these are a **lookup**: each
value that occurs stands for a class. `plan_repair` works out the lookup from the values of all the
masks together, and `write_masks` applies it.
"""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tinyunet.atomic_io import new_folder, save_picture
from tinyunet.data.dataset import (
    FORMATS,
    Pair,
    read_image,
    read_mask,
    without_pillows_limit,
)
from tinyunet.errors import UserError
from tinyunet.progress import tqdm

GRAY = 0x010101  # times 0 to 255: the colors from black to white
DARK, LIGHT = 32, 224  # below and from which on a gray value is nearly black and nearly white
MOST_CLASSES = 64  # more values than that are no classes
FEW = 0.02  # share of pixels with colors that are in no table, from smoothed edges


# --- Reading, whatever it is -------------------------------------------------------------------


class RawMask(NamedTuple):
    """What a mask file holds, before anybody decides what it means.

    Attributes
    ----------
    numbers : array (H, W), integers, or None
        The number of each pixel, where the file has one: gray value or palette index.
    colors : array (H, W), int32, or None
        The color of each pixel as 0xRRGGBB, where the file has colors.
    """

    numbers: np.ndarray | None
    colors: np.ndarray | None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return (self.colors if self.numbers is None else self.numbers).shape


def read_raw_mask(path: str | Path) -> RawMask:
    """Read a mask of any form: class numbers, gray picture, palette, colors, even a JPEG.

    Raises
    ------
    UserError
        If the file cannot be read at all, or holds numbers that are not whole.
    """
    try:
        numbers = read_mask(path)
    except UserError as error:
        with contextlib.suppress(UserError):
            picture = read_image(path)
            if picture.dtype.kind in "iu":  # otherwise the complaint stands
                if picture.shape[2] < 3:
                    return RawMask(picture[:, :, 0], None)
                return RawMask(None, pack(picture))
        raise error
    return RawMask(numbers, pack(read_image(path)) if has_palette(path) else None)


def has_palette(path: str | Path) -> bool:
    """Tell whether a file, one that can be read, stores indices into a table of colors."""
    with without_pillows_limit(), Image.open(path, formats=FORMATS) as image:
        return image.mode == "P"


def pack(picture: np.ndarray) -> np.ndarray:
    """Make one number of each color: (H, W, 3 or more) uint8 to (H, W) int32, 0xRRGGBB."""
    red, green, blue = np.moveaxis(picture[:, :, :3].astype(np.int32), 2, 0)
    return (red << 16) | (green << 8) | blue


def unpack_all(colors: np.ndarray) -> np.ndarray:
    """Split (H, W) of 0xRRGGBB into (H, W, 3), uint8."""
    return np.stack(unpack(colors), axis=2).astype(np.uint8)


def unpack(color) -> tuple:
    """Split 0xRRGGBB into red, green and blue."""
    return color >> 16, color >> 8 & 255, color & 255


def count_values(values: np.ndarray) -> Counter:
    """Count how often each value occurs."""
    found, counts = np.unique(values, return_counts=True)
    return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))


# --- Color tables -----------------------------------------------------------------------------


class ColorTable(NamedTuple):
    """The classes by name, in order, and the color of each as 0xRRGGBB."""

    names: tuple[str, ...]
    colors: tuple[int, ...]


def read_colors(path: str | Path) -> ColorTable:
    """Read which color means which class.

    Either a text file, a class a line, the first being class 0::

        background: #000000
        building: #3c1098

    or JSON: ``{"background": "#000000", "building": "#3c1098"}``, or with two lists of the same
    length, ``{"classes": ["background", ...], "palette": ["#000000", ...]}``.

    Raises
    ------
    UserError
        If the file cannot be read, a line is not understood, or a name or color comes twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UserError(f"{path}: the color table cannot be read ({reason})") from error
    if path.suffix.lower() == ".json":
        rows = _rows_of_json(path, text)
    else:
        rows = [line.rpartition(":")[::2] for line in text.splitlines() if line.strip()]
    names, colors = [], []
    for name, color in rows:
        found = re.fullmatch(r"\s*#?([0-9a-fA-F]{6})\s*", str(color))
        if not found or not str(name).strip():
            raise UserError(
                f"{path}: {name}: {color} is not understood; write a class in each line, as in "
                "'building: #3c1098', the first being class 0"
            )
        names.append(str(name).strip())
        colors.append(int(found[1], 16))
    for kind, entries in (("class", names), ("color", [f"#{color:06x}" for color in colors])):
        entry, count = max(Counter(entries).items(), key=lambda item: item[1], default=("", 0))
        if count != 1:
            problem = f"names the {kind} {entry} {count} times" if count else "holds no classes"
            raise UserError(f"{path}: the color table {problem}")
    return ColorTable(tuple(names), tuple(colors))


def _rows_of_json(path: Path, text: str) -> list[tuple]:
    """List (name, color) of a JSON color table."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid JSON ({error})") from error
    if isinstance(content, dict):
        names, colors = content.get("classes"), content.get("palette")
        if isinstance(names, list) and isinstance(colors, list) and len(names) == len(colors):
            return list(zip(names, colors, strict=True))
        return list(content.items())
    raise UserError(f'{path}: a color table in JSON looks like {{"building": "#3c1098", ...}}')


# --- What the values mean ----------------------------------------------------------------------


class Unclear(UserError):
    """It cannot be told what the values in the masks mean.

    Attributes
    ----------
    title, meaning, advice : str
        As of a finding.
    """

    def __init__(self, title: str, meaning: str, advice: str):
        super().__init__(f"{title}: {meaning} {advice}")
        self.title, self.meaning, self.advice = title, meaning, advice


@dataclass(frozen=True)
class Repair:
    """A lookup from the values in masks to classes.

    Attributes
    ----------
    kind : str
        What the masks are: "classes" (nothing to repair), "black and white", "gaps", "objects",
        or "colors".
    lookup : mapping of int to int
        The class of each value that occurs.
    names : tuple of str
        Of the classes, where known.
    by_color : bool
        Whether the values are colors, 0xRRGGBB, instead of numbers.
    """

    kind: str
    lookup: Mapping[int, int]
    names: tuple[str, ...] = ()
    by_color: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether the masks differ from the classes that they stand for."""
        return self.kind != "classes"

    def apply(self, raw: RawMask) -> np.ndarray:
        """Give the class of each pixel, (H, W), in the smallest type of whole numbers."""
        values = mask_values(raw, self.by_color)
        known = np.array(sorted(self.lookup))
        classes = np.array([self.lookup[value] for value in known.tolist()])
        smallest = np.min_scalar_type(classes.max()) if classes.min() >= 0 else np.int32
        return classes.astype(smallest)[np.searchsorted(known, values)]

    def count(self, values: Mapping[int, int]) -> Counter:
        """Turn counts of values into counts of classes."""
        counts = Counter()
        for value, count in values.items():
            counts[self.lookup[value]] += count
        return counts


def mask_values(raw: RawMask, by_color: bool) -> np.ndarray:
    """Give the values to look up. Gray is a color too, and a gray color a number."""
    if by_color:
        return raw.colors if raw.colors is not None else raw.numbers.astype(np.int32) * GRAY
    return raw.numbers if raw.numbers is not None else raw.colors & 255


def plan_repair(
    masks: Sequence[Mapping[int, int]],
    *,
    by_color: bool = False,
    table: ColorTable | None = None,
    ignore_index: int | None = None,
) -> Repair:
    """Work out which class each value in a set of masks stands for.

    ==================================  =======================================================
    values                              classes
    ==================================  =======================================================
    colors, with a table               the table's; a few odd ones from smoothed edges go to
                                        the nearest color
    0 and 255, or nearly                0 and 1: from 128 on it is white
    0 to n, n differing from mask to    0 and 1: each number is an object
    mask, large
    a few with large gaps               0, 1, 2, ... in ascending order
    others                              as they are
    ==================================  =======================================================

    Parameters
    ----------
    masks : sequence of mappings
        How often each value occurs, a mapping for each mask.
    by_color : bool
        The values are colors; a table is needed then.
    table : ColorTable, optional
        For masks that hold class numbers it gives their names only.
    ignore_index : int, optional
        A value that stays as it is and is no class.

    Raises
    ------
    Unclear
        If the values make no classes: too many, below 0, or colors that no table explains.
    """
    total = Counter()
    for mask in masks:
        total.update(mask)
    if by_color:
        return _plan_colors(total, table)
    keep = {ignore_index: ignore_index} if ignore_index in total else {}
    total = Counter({value: count for value, count in total.items() if value != ignore_index})
    values = sorted(total)
    if _is_black_and_white(total):
        return Repair("black and white", keep | {value: int(value >= 128) for value in values})
    if _are_objects([set(mask) - {ignore_index} for mask in masks]):
        return Repair("objects", keep | {value: int(value > 0) for value in values})
    if values and values[0] < 0:
        raise Unclear(
            f"The masks hold the value {values[0]}",
            "classes are 0, 1, 2, ...",
            "if it marks pixels that do not count, give it with --ignore-index; else mend the "
            "masks.",
        )
    largest = max(values, default=-1)
    if 2 * len(values) >= largest + 1:
        known = table is not None and largest < len(table.names)
        names = table.names if known else ()
        return Repair("classes", keep | {value: value for value in values}, names)
    if _are_classes_and_255(values):
        raise Unclear(
            f"The masks hold numbers up to {values[-2]}, and 255",
            "255 usually marks pixels that do not count, such as borders.",
            "if so, add --ignore-index 255, here and in training.",
        )
    if len(values) > MOST_CLASSES:
        raise Unclear(
            f"The masks hold {len(values):,} different values",
            "that is too many for classes; they may be photographs, or masks that were resized "
            "smoothly or compressed with loss.",
            "export the masks anew, as PNG with a number for each class.",
        )
    return Repair("gaps", keep | {value: index for index, value in enumerate(values)})


def _is_black_and_white(total: Mapping[int, int]) -> bool:
    """Tell whether nearly all is black or white, both within an eighth, with white in it."""
    if not total or min(total) < 0 or not LIGHT <= max(total) <= 255:
        return False
    if _are_classes_and_255(total):
        return False
    ends = sum(count for value, count in total.items() if value < DARK or value >= LIGHT)
    return ends >= 0.9 * sum(total.values())


def _are_classes_and_255(values: Iterable[int]) -> bool:
    """Tell whether there are small numbers and 255, but none of the grays that smoothing leaves."""
    others = set(values) - {0, 255}
    return bool(others) and 255 in values and max(others) < DARK


def _are_objects(masks: Sequence[set[int]]) -> bool:
    """Tell whether the values number objects: 0 to n without gaps, n large and ever another."""
    largest = [max(mask) for mask in masks if mask and mask == set(range(max(mask) + 1))]
    return len(set(largest)) > 3 and max(largest) > 20 and len(largest) > 0.8 * len(masks)


def _plan_colors(total: Mapping[int, int], table: ColorTable | None) -> Repair:
    """PairSummary every color up in the table."""
    if table is None:
        shown = ", ".join(
            f"#{color:06x} ({count:,} pixels)" for color, count in total.most_common(12)
        )
        raise Unclear(
            f"The masks are color images, with {len(total):,} colors",
            "a mask holds a number for each pixel, its class. Which color is which class, only "
            "you know.",
            "write a text file with a line for each class, such as 'building: "
            f"#{next(iter(total)):06x}', class 0 first, and run this again with --colors FILE "
            f"--write DIR. The most frequent colors: {shown}.",
        )
    lookup = {color: index for index, color in enumerate(table.colors)}
    strange = Counter({color: count for color, count in total.items() if color not in lookup})
    share = strange.total() / max(sum(total.values()), 1)
    if share > FEW:
        shown = ", ".join(f"#{color:06x} ({count:,})" for color, count in strange.most_common(8))
        raise Unclear(
            f"{100 * share:.1f} % of the mask pixels have a color that is not in the table",
            "their class is not known.",
            f"add to the table: {shown}.",
        )
    listed = np.array([unpack(color) for color in table.colors])
    for color in strange:
        distance = np.square(listed - unpack(color)).sum(axis=1)
        lookup[color] = int(distance.argmin())
    return Repair("colors", lookup, table.names, by_color=True)


# --- Writing -----------------------------------------------------------------------------------


def write_masks(
    pairs: Sequence[Pair], repair: Repair, out_dir: str | Path, progress: bool = False
) -> None:
    """Write the classes of all masks as PNG files into a new folder, named as the masks are.

    Parameters
    ----------
    pairs : sequence of Pair
        Whose masks to read; they stay as they are.
    repair : Repair
        From `plan_repair`, for the values of these masks.
    out_dir : path
        A folder that does not exist yet, or is empty. It appears when all masks are written.
    progress : bool
        Show a progress bar.

    Raises
    ------
    UserError
        If the classes do not fit into a PNG, a mask cannot be read, or the folder is not empty.
    """
    for index in (min(repair.lookup.values()), max(repair.lookup.values())):
        if not 0 <= index <= 65535:
            raise UserError(f"class {index} does not fit into a PNG file, which holds 0 to 65535")
    with new_folder(out_dir) as folder:
        for pair in tqdm(pairs, "writing", unit="mask", disable=not progress):
            classes = repair.apply(read_raw_mask(pair.mask_path))
            save_picture(classes, folder / f"{pair.mask_path.stem}.png")
