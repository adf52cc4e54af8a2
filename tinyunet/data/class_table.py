"""What the masks store for each class, and the class of each pixel.

A network knows the classes 0, 1, 2, ...; masks store what the program that drew them liked: 0 and
255, colors, numbers with gaps. The **class table** says which is which, a line a class, in the
order of their numbers::

    background: 0
    building: 255
    ignore: 128 #ff00ff

A class may have several values: numbers, ranges of numbers (``128-255``) or colors; the pixels of
the values after ``ignore`` do not count, and ``*`` there stands for all that is not listed. Without
such a file the table is worked out from the training masks, where their values leave no doubt.
Either way it goes into the model, and every command reads masks through it: the same value is
always the same class.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tinyunet.data.images import Raster, blocks, is_opaque, listed, open_raster, prepare, warn_once
from tinyunet.errors import UserError, problems_named

COLOR = 1 << 24  # is added to 0xRRGGBB: a color is no number; grays are numbers, 0 to 255
MOST_CLASSES = 64  # more values than that are no classes, unless a table says so
NO_CLASS = 255  # what labels and maps hold where a pixel does not count, or is missing
IGNORE, REST = "ignore", "*"


@dataclass(frozen=True)
class ClassTable:
    """The values in masks that stand for each class.

    Attributes
    ----------
    names : tuple of K str
    values : tuple of K tuples of str
        For each class, as written in the file: "255", "128-255", "#ff00ff".
    ignored : tuple of str
        The same for pixels that do not count.
    """

    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    ignored: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Write the table as it stands in a file."""
        rows = [*zip(self.names, self.values, strict=True)] + [(IGNORE, self.ignored)]
        rows = rows if self.ignored else rows[:-1]
        return "\n".join(f"{name}: {' '.join(words)}".rstrip() for name, words in rows)

    ignore_index = NO_CLASS

    def __post_init__(self) -> None:
        """See that labels fit into a byte."""
        if len(self.names) > NO_CLASS:
            raise UserError(f"{len(self.names)} classes are too many: at most {NO_CLASS}")

    @property
    def by_color(self) -> bool:
        """Whether masks with a palette are read by color, not by number."""
        return any("#" in word for words in (*self.values, self.ignored) for word in words)

    @cached_property
    def lookup(self) -> dict[int, int]:
        """The class of each value that the table lists; colors as `COLOR` + 0xRRGGBB."""
        entries = [*enumerate(self.values), (self.ignore_index, self.ignored)]
        return {
            value: index for index, words in entries for word in words for value in values_of(word)
        }

    def labels(self, values: np.ndarray, valid=None, name="a mask", nodata=None) -> np.ndarray:
        """Give the class of each pixel, `ignore_index` where it does not count.

        Parameters
        ----------
        values : array (H, W)
            As `stored_values` gives them.
        valid : array (H, W) of bool, optional
            False where there is no label.
        name : str
            Of the mask, for messages.
        nodata : number, optional
            Marks pixels without a label, unless the table lists it.

        Returns
        -------
        array (H, W), uint8

        Raises
        ------
        UserError
            If the mask holds a value that is not in the table.
        """
        known = np.array(sorted(self.lookup), dtype=np.int64)
        place = np.searchsorted(known, values).clip(max=len(known) - 1)
        result = np.array([self.lookup[value] for value in known.tolist()], np.uint8)[place]
        strange = known[place] != values
        if valid is not None:
            labeled = values == nodata if nodata in self.lookup else False
            result[~(valid | labeled)] = self.ignore_index
            strange &= valid
        if REST in self.ignored:
            result[strange] = self.ignore_index
        elif strange.any():
            shown = tally(values[strange]).most_common(4)
            shown = ", ".join(f"{written(value)} ({count:,} pixels)" for value, count in shown)
            table = "; ".join(str(self).splitlines()[:12])
            fault = f"{name}: holds {shown}, which the class table does not list ({table})"
            raise UserError(f"{fault}: list it, as a class or after 'ignore' (--classes FILE)")
        return result


def values_of(word: str) -> range:
    """Give the values that a word of the table lists; none for `REST`.

    Raises
    ------
    UserError
        If it is no number, range or color.
    """
    if word == REST:
        return range(0)
    if match := re.fullmatch(r"#([0-9a-fA-F]{6})", word):
        value = int(match[1], 16)
        gray = value // 0x010101 if value % 0x010101 == 0 else value + COLOR
        return range(gray, gray + 1)
    if match := re.fullmatch(r"(-?\d{1,9})(?:-(\d{1,9}))?", word):
        first, last = int(match[1]), int(match[2] or match[1])
        if first <= last < first + 65536:
            return range(first, last + 1)
    raise UserError(f"{word!r} is no number, range of numbers or color (255, 128-255, #ff00ff)")


def written(value: int) -> str:
    """Write a value as the table does."""
    return f"#{value - COLOR:06x}" if value >= COLOR else str(value)


# --- From a file -------------------------------------------------------------------------------

# How CVAT (car:250,50,83::) and Roboflow (1, car) write a class; we write car: 1.
CVAT = re.compile(r"(.*\S)\s*:(\d{1,3}),(\d{1,3}),(\d{1,3}):.*")
ROBOFLOW = re.compile(r"(\d+)\s*,([^:]*\S)")
HEADING = re.compile(r"#.*|pixel value\s*,.*", re.IGNORECASE)  # of the two, or a comment


def read_class_table(path: str | Path) -> ClassTable:
    """Read a class table, or the list of classes that CVAT or Roboflow writes beside its masks.

    Raises
    ------
    UserError
        If the file cannot be read, a line is not understood, or a name or value comes twice.
    """
    with problems_named(path, "is no class table that can be read"):
        if not Path(path).is_file():  # a pipe would be waited for
            raise UserError("no such file")
        return parse_class_table(Path(path).read_text(encoding="utf-8-sig"))


def parse_class_table(text: str) -> ClassTable:
    """Understand the text of a class table, CVAT's ``labelmap.txt`` or Roboflow's list."""
    classes: dict[str, list[str]] = {}
    ignored: list[str] = []
    seen: set[int] = set()
    for line in filter(None, map(str.strip, text.splitlines())):
        if HEADING.fullmatch(line):
            continue
        if match := CVAT.fullmatch(line):
            line = "{}: #{:02x}{:02x}{:02x}".format(match[1], *map(int, match.groups()[1:]))
        elif match := ROBOFLOW.fullmatch(line):
            line = f"{match[2]}: {match[1]}"
        name, _, written_values = map(str.strip, line.rpartition(":"))
        if not name:
            raise UserError(f"{line!r} is not understood: write a class as 'building: 255'")
        words = written_values.replace(",", " ").split()
        values = [value for word in words for value in values_of(word)]
        if name in classes or seen.intersection(values):
            twice = name if name in classes else written(min(seen.intersection(values)))
            raise UserError(f"{twice} comes twice in the class table")
        seen.update(values)
        if name.lower() == IGNORE:
            ignored += words
        elif REST in words:
            raise UserError(f"{REST} may stand only after 'ignore'")
        else:
            classes[name] = words
    if len(classes) < 2:
        raise UserError("a class table has at least two classes, a line each: 'building: 255'")
    return ClassTable(tuple(classes), tuple(map(tuple, classes.values())), tuple(ignored))


def table_beside(mask: str | Path) -> ClassTable | None:
    """Read the table that was left beside a mask.

    `tinyunet rasterize` leaves one named after the mask, CVAT and Roboflow their lists in its
    folder or the one above.
    """
    mask = Path(os.path.realpath(mask))
    names = (f"{mask.stem}_classes.txt", "labelmap.txt", "_classes.csv")
    candidates = [folder / name for folder in mask.parents[:2] for name in names]
    listing = next(filter(Path.is_file, candidates), None)
    if listing is None:
        return None
    warn_once(f"the classes are those of {listing}")
    return read_class_table(listing)


# --- What a mask stores ------------------------------------------------------------------------


def open_mask(path: str | Path | Raster) -> Raster:
    """Open a mask: one number or one color for each pixel.

    Raises
    ------
    UserError
        If it cannot be read, or holds something else.
    """
    raster = open_raster(path)
    if "alpha" in raster.band_names:
        if not is_opaque(raster):
            raise UserError(f"{raster.path}: is partly transparent: save it as gray or RGB")
        raster = prepare(raster, alpha="drop")
    if raster.shape[2] not in (1, 3) or raster.shape[2] == 3 and raster.dtype.kind == "f":
        found = f"{raster.shape[2]} channels of {raster.dtype}"
        raise UserError(f"{raster.path}: has {found}, but a mask holds a number or a color")
    return raster


def stored_values(raster: Raster, rows=slice(None), columns=slice(None), by_color: bool = False):
    """Read what a mask stores: numbers, and colors that are no gray as `COLOR` + 0xRRGGBB.

    Parameters
    ----------
    raster : Raster
        From `open_mask`.
    rows, columns : slice
    by_color : bool
        Read a mask with a palette by color, not by number.

    Returns
    -------
    values : array (h, w), integers
    valid : array (h, w) of bool, or None if all have a value

    Raises
    ------
    UserError
        If the numbers are not whole.
    """
    pixels, valid = raster.read(rows, columns)
    if raster.palette is not None and by_color:
        pixels = raster.palette[pixels[:, :, 0]]
    if pixels.shape[2] == 3:
        red, green, blue = np.moveaxis(pixels.astype(np.int64), 2, 0)
        gray = (red == green) & (green == blue)
        if pixels.dtype != np.uint8 and not gray.all():
            raise UserError(f"{raster.path}: has colors of {pixels.dtype}: save it with 8 bits")
        return np.where(gray, red, COLOR + (red << 16 | green << 8 | blue)), valid
    values = pixels[:, :, 0]
    if values.dtype.kind == "f":
        values = values if valid is None else np.where(valid, values, 0)
        strange = values[(values != np.round(values)) | (np.abs(values) > 2**31)]
        if len(strange):
            found = f"holds numbers such as {strange[0]:g}"
            raise UserError(f"{raster.path}: {found}, but a class is a whole number")
        values = values.astype(np.int64)
    return values, valid


def count_values(raster: Raster) -> Counter:
    """Count the pixels of each value that a mask from `open_mask` stores, without missing ones."""
    counts = Counter()
    for window in blocks(raster.shape):
        values, valid = stored_values(raster, *window)
        counts.update(tally(values if valid is None else values[valid]))
    return counts


def tally(values: np.ndarray) -> Counter:
    """Count how often each value is there."""
    found, counts = np.unique(values, return_counts=True)
    return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))


# --- From the masks ----------------------------------------------------------------------------


REMEDY = "export one number for each class, or list what they mean (--classes FILE, --ignore-index)"


class Ambiguous(UserError):
    """It cannot be told what the values in the masks mean; `table` is one that could be meant."""

    def __init__(self, text: str, table: ClassTable | None = None):
        example = f" (for instance: {'; '.join(str(table).splitlines()[:12])})" if table else ""
        super().__init__(f"the masks {text}: {REMEDY}{example}")
        self.table = table


def numbered(values: Iterable[int], names: Sequence[str] = (), ignored=()) -> ClassTable:
    """Make the table in which each value is a class, in that order."""
    values = list(values)
    as_numbers = max(values, default=0) < MOST_CLASSES
    names = names or [f"class {value if as_numbers else k}" for k, value in enumerate(values)]
    words = tuple((written(value),) * (value not in ignored) for value in values)
    return ClassTable(tuple(names), words, tuple(map(written, ignored)))


def work_out(
    masks: Sequence[tuple[Raster, Counter]],
    names: Sequence[str] | None = None,
    ignore: int | None = None,
) -> ClassTable:
    """Work out the class table from the values of all training masks together.

    Clear are 0, 1, 2, ..., with gaps or without, and any two numbers, such as 0 and 255.

    Parameters
    ----------
    masks : sequence of (Raster, Counter)
        From `open_mask` and `count_values`.
    names : sequence of str, optional
        Of the classes; then there are so many.
    ignore : int, optional
        A value whose pixels do not count.

    Raises
    ------
    Ambiguous
        If the values could mean several things, or are no classes.
    UserError
        If there are not as many values as names.
    """
    nodata = {raster.nodata for raster, _ in masks} - {None}
    # A float may be marked by a number beyond all classes; it is not valid anyway.
    ignored = {int(value) for value in nodata if abs(value) < 2**31} | {ignore} - {None}
    total = sum((counts for _, counts in masks), Counter())
    values = sorted(set(total) - ignored)
    if 0 in nodata - {ignore}:
        text = "mark 0 as missing data (nodata), as many programs do with the background"
        raise Ambiguous(text, numbered([0, *values]))
    if doubt := doubt_of(masks, values, total):
        raise Ambiguous(*doubt)
    if names and values[-1] < len(names):  # a class may lack pixels
        values = range(len(names))
    if names and len(values) != len(names):
        strange = next(raster.path for raster, counts in masks if values[-1] in counts)
        fault = f"holds the value {values[-1]}, and all masks {len(values)} values"
        raise UserError(f"{strange}: {fault}, but there are {len(names)} class names")
    return numbered(values, names or (), sorted(ignored))


def divided(last: int, high: int) -> ClassTable:
    """Make the table in which the values up to `last` are the background."""
    ranges = ((f"0-{last}",), (f"{last + 1}-{high}",))
    return ClassTable(("background", "foreground"), ranges)


def doubt_of(masks, values: Sequence[int], total: Counter) -> tuple[str, ClassTable | None] | None:
    """Say what else the values could be than classes, with a table that could be meant."""
    if len(values) < 2:
        shown = listed(map(written, values)) or "all pixels are ignored"
        return f"hold a single class ({shown}), so there is nothing to tell apart", None
    low, high = values[0], values[-1]
    common = dict(sorted(total.most_common(12)))
    if high >= COLOR and sum(common.values()) > total.total() / 2:  # unlike a photograph
        rest = (REST,) * (len(values) > len(common))
        return f"are colored ({len(values)} colors)", replace(numbered(common), ignored=rest)
    if any(raster.lossy for raster, _ in masks):
        table = divided(127, 255) if high < COLOR else None
        return "are compressed with loss, as JPEG, which changes the values near borders", table
    palettes = [(raster.palette, counts) for raster, counts in masks if raster.palette is not None]
    shown = {(value, palette[value].tobytes()) for palette, counts in palettes for value in counts}
    if len(shown) > len({value for value, _ in shown}):
        return "have palettes that show the same number in different colors", None
    # Objects are numbered 0 to n without gaps, n large, and another in every mask.
    found = [set(counts) & set(values) for _, counts in masks]
    largest = [len(each) - 1 for each in found if each == set(range(len(each)))]
    if len(set(largest)) > 3 and max(largest) > 20 and len(largest) > 0.8 * len(masks):
        return "seem to number objects, and all objects may be one class", divided(0, high)
    usual = [value for value in values if 0 <= value < MOST_CLASSES]
    odd = sorted(set(values) - set(usual))
    if not odd or len(values) == 2 and low >= 0:
        return None
    if len(odd) > 6 and low >= 0 and total[low] + total[high] > 0.7 * total.total():
        text = f"hold few pixels of {len(values) - 2} values between {low} and {high}"
        return f"{text}, as smoothed borders do", divided((low + high) // 2, max(255, high))
    if len(values) <= MOST_CLASSES:
        table = numbered(usual, ignored=odd) if len(odd) == 1 < len(usual) else numbered(values)
        return f"hold {len(values)} values from {low} to {high}", table
    text = f"hold {len(values):,} different values or colors, too many for classes"
    return f"{text}; they may be photographs, probabilities or numbered objects", None
