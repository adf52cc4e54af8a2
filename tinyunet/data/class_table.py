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

import itertools
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tinyunet.data.images import ALL, Raster, blocks, open_raster, prepare
from tinyunet.errors import UserError

COLOR = 1 << 24  # is added to 0xRRGGBB: a color is no number; grays are numbers, 0 to 255
MOST_CLASSES = 64  # more values than that are no classes, unless a table says so
SMALL = 32  # class numbers stay below it where 255 means "ignore"
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

    @property
    def ignore_index(self) -> int:
        """The number that stands for "does not count" in labels; it is no class."""
        return 255 if len(self.names) <= 255 else 65535

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
        array (H, W), uint8, or uint16 where there are more than 255 classes

        Raises
        ------
        UserError
            If the mask holds a value that is not in the table.
        """
        dtype = np.uint8 if self.ignore_index == 255 else np.uint16
        known = np.array(sorted(self.lookup), dtype=np.int64)
        place = np.searchsorted(known, values).clip(max=len(known) - 1)
        result = np.array([self.lookup[value] for value in known.tolist()], dtype)[place]
        strange = known[place] != values
        if valid is not None:
            missing = ~valid
            if nodata is not None and nodata in self.lookup:
                missing &= values != nodata
            result[missing] = self.ignore_index
            strange &= valid
        if REST in self.ignored:
            result[strange] = self.ignore_index
        elif strange.any():
            shown = Counter(values[strange].tolist()).most_common(4)
            listed = ", ".join(f"{written(value)} ({count:,} pixels)" for value, count in shown)
            table = "; ".join(str(self).splitlines()[:12])
            raise UserError(
                f"{name}: holds {listed}, which the class table does not list ({table}): list "
                "it there, as a class or after 'ignore' (--classes FILE)"
            )
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

# What the first line of a list of classes is, and what each line after it: those of CVAT
# (car:250,50,83::) and Roboflow (1, car) have a heading, ours (car: 1) has none.
GRAMMARS = (
    (r"#\s*label\s*:\s*color_rgb.*", r"(?P<name>.*\S)\s*:(?P<rgb>\d{1,3},\d{1,3},\d{1,3})(:.*)?"),
    (r"pixel value\s*,\s*class.*", r"(?P<words>\d+)\s*,(?P<name>.*\S)"),
    (r"", r"(?P<name>.*\S)\s*:(?P<words>[^:]*)"),
)


def read_class_table(path: str | Path) -> ClassTable:
    """Read a class table, or the list of classes that CVAT or Roboflow writes beside its masks.

    Raises
    ------
    UserError
        If the file cannot be read, a line is not understood, or a name or value comes twice.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():  # a pipe would be waited for
            raise UserError("the class table cannot be read (it is no file)")
        return parse_class_table(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UserError(f"{path}: the class table cannot be read ({reason})") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def parse_class_table(text: str) -> ClassTable:
    """Understand the text of a class table, CVAT's ``labelmap.txt`` or Roboflow's list."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    heading, pattern = next(
        grammar for grammar in GRAMMARS if re.match(grammar[0], "".join(lines[:1]), re.IGNORECASE)
    )
    classes: dict[str, list[str]] = {}
    ignored: list[str] = []
    seen = set()
    for line in lines[bool(heading) :]:
        if line.startswith("#") and ":" not in line:
            continue  # a comment
        match = re.fullmatch(pattern, line)
        if not match:
            raise UserError(f"{line!r} is not understood: write a class as 'building: 255'")
        name, parts = match["name"].strip(), match.groupdict()
        if "rgb" in parts:
            words = ["#{:02x}{:02x}{:02x}".format(*map(int, parts["rgb"].split(",")))]
        else:
            words = parts["words"].replace(",", " ").split()
        if name in classes:
            raise UserError(f"{name} comes twice in the class table")
        if name.lower() == IGNORE:
            ignored += words
        elif REST in words:
            raise UserError(f"{REST} may stand only after 'ignore'")
        else:
            classes[name] = words
        for value in itertools.chain.from_iterable(map(values_of, words)):
            if value in seen:
                raise UserError(f"{written(value)} comes twice in the class table")
            seen.add(value)
    if len(classes) < 2:
        raise UserError("a class table has at least two classes, a line each: 'building: 255'")
    return ClassTable(tuple(classes), tuple(map(tuple, classes.values())), tuple(ignored))


def find_class_list(masks: str | Path) -> Path | None:
    """Find CVAT's or Roboflow's list beside masks, in their folder or the one above."""
    folder = Path(os.path.realpath(masks))
    folder = folder if folder.is_dir() else folder.parent
    places = (folder / "labelmap.txt", folder / "_classes.csv")
    candidates = (*places, *(folder.parent / path.name for path in places))
    return next((path for path in candidates if path.is_file()), None)


# --- What a mask stores ------------------------------------------------------------------------


def open_mask(path: str | Path | Raster) -> Raster:
    """Open a mask: one number or one color for each pixel.

    Raises
    ------
    UserError
        If it cannot be read, or holds something else.
    """
    raster = open_raster(path)
    try:
        raster = prepare(raster) if "alpha" in raster.band_names else raster
    except UserError as error:
        raise UserError(
            f"{raster.path}: is partly transparent, and nothing tells the class there: flatten it, "
            "and save it as gray or RGB"
        ) from error
    if raster.shape[2] not in (1, 3) or raster.shape[2] == 3 and raster.dtype.kind == "f":
        raise UserError(
            f"{raster.path}: has {raster.shape[2]} channels of {raster.dtype}, but a mask holds "
            "one number or one color for each pixel, its class"
        )
    return raster


def stored_values(raster: Raster, rows=ALL, columns=ALL, by_color: bool = False):
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
            raise UserError(
                f"{raster.path}: holds numbers such as {strange[0]:g}; are they probabilities? "
                "A mask holds one whole number for each class"
            )
        values = values.astype(np.int64)
    return values, valid


@dataclass
class MaskSummary:
    """What one mask stores.

    Attributes
    ----------
    raster : Raster
    counts : Counter
        Pixels of each value, without missing ones.
    inner : Counter
        How many of these have the same value below and to the right: lines and edges have few.
    nodata : set
        The number that marks missing data, if there are any.
    """

    raster: Raster
    counts: Counter = field(default_factory=Counter)
    inner: Counter = field(default_factory=Counter)
    nodata: set = field(default_factory=set)


def summarize_mask(raster: Raster) -> MaskSummary:
    """Count the values of a mask from `open_mask`, block by block."""
    summary = MaskSummary(raster)
    for rows, columns in blocks(raster.shape):
        values, valid = stored_values(raster, rows, columns)
        valid = np.ones(values.shape, bool) if valid is None else valid
        if raster.nodata is not None and not valid.all():
            summary.nodata.add(raster.nodata)
        same = valid[:-1, :-1] & (values[:-1, :-1] == values[1:, :-1])
        same &= values[:-1, :-1] == values[:-1, 1:]
        for counter, chosen in (
            (summary.counts, values[valid]),
            (summary.inner, values[:-1, :-1][same]),
        ):
            found, counts = np.unique(chosen, return_counts=True)
            counter.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
    return summary


# --- From the masks ----------------------------------------------------------------------------


class Ambiguous(UserError):
    """It cannot be told what the values in the masks mean; `table` is one that could be meant."""

    def __init__(self, text: str, table: ClassTable | None = None):
        lines = f" (for instance: {'; '.join(str(table).splitlines()[:12])})" if table else ""
        super().__init__(f"the masks {text}{lines}")
        self.table = table


def numbered(values: Iterable[int], names: Sequence[str] = (), ignored=()) -> ClassTable:
    """Make the table in which each value is a class, in that order."""
    values = list(values)
    as_numbers = max(values, default=0) < MOST_CLASSES
    names = names or [f"class {value if as_numbers else k}" for k, value in enumerate(values)]
    words = tuple((written(value),) * (value not in ignored) for value in values)
    return ClassTable(tuple(names), words, tuple(map(written, ignored)))


def work_out(
    masks: Sequence[MaskSummary], names: Sequence[str] | None = None, ignore: int | None = None
) -> ClassTable:
    """Work out the class table from the values of all training masks together.

    Parameters
    ----------
    masks : sequence of MaskSummary
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
    nodata = set().union(*(mask.nodata for mask in masks))
    ignored = {int(value) for value in nodata | {ignore} if value is not None and value == value}
    total = sum((mask.counts for mask in masks), Counter())
    values = sorted(set(total) - ignored)
    if 0 in nodata - {ignore}:
        raise Ambiguous(
            "mark 0 as missing data (nodata), as many programs do with the background: give "
            "--ignore-index 0 if these pixels do not count, else --classes FILE",
            numbered([0, *values]),
        )
    for doubt in doubts(masks, values, total, ignored):
        raise Ambiguous(*doubt)
    if names:
        if values[0] >= 0 and values[-1] < len(names):
            values = range(len(names))
        if len(values) != len(names):
            strange = next(mask.raster.path for mask in masks if values[-1] in mask.counts)
            raise UserError(
                f"{strange}: holds the value {values[-1]}, and the masks together "
                f"{len(values)} values, but there are {len(names)} class names"
            )
    elif 2 * len(values) >= values[-1] + 1 - values[0]:  # a class may lack pixels
        values = [v for v in range(values[0], values[-1] + 1) if v not in ignored]
    return numbered(values, names or (), sorted(ignored))


def doubts(
    masks: Sequence[MaskSummary], values: Sequence[int], total: Counter, ignored: set[int]
) -> Iterator[tuple]:
    """Say what else the values could be than classes, and give a table that could be meant."""
    both = ("background", "foreground")
    if len(values) < 2:
        shown = ", ".join(map(written, values)) or "all pixels are ignored"
        yield (f"hold a single class ({shown}): there is nothing to tell apart",)
        return
    low, high = values[0], values[-1]
    inner = sum((mask.inner for mask in masks), Counter())
    if high >= COLOR:
        common = sorted(value for value, _ in inner.most_common(12))
        areas = sum(inner[value] for value in common) > total.total() / 2
        if len(values) <= MOST_CLASSES or areas:
            names = ["background" if value == 0 else f"name{k}" for k, value in enumerate(common)]
            table = replace(numbered(common, names), ignored=(REST,) * (len(values) > len(common)))
            text = f"are colored ({len(values)} colors): give --classes FILE that names the colors"
            yield text, table
    if any(mask.raster.lossy for mask in masks):
        yield (
            "are compressed with loss, as JPEG, which changes the values near borders: export them "
            "as PNG, or give --classes FILE",
            ClassTable(both, (("0-127",), ("128-255",))) if high < COLOR else None,
        )
    color_of: dict[int, bytes] = {}
    for mask in (mask for mask in masks if mask.raster.palette is not None):
        for value in mask.counts:
            color = mask.raster.palette[value].tobytes()
            if color_of.setdefault(value, color) != color:
                colors = f"#{color_of[value].hex()} and #{color.hex()}"
                yield (f"show {value} as {colors}: give --classes FILE that names the colors",)
    between = values[1:-1] if high >= MOST_CLASSES and low >= 0 else []
    soft = [value for value in between if inner[value] < 0.3 * total[value]]
    few = sum(total[value] for value in between) < 0.3 * sum(total[value] for value in values)
    if 2 * len(soft) > len(between) and few:
        half = (low + high) // 2
        yield (
            f"hold {len(between)} values between {low} and {high} that nowhere form an area, as "
            "smoothed borders do: export them without smoothing, or give --classes FILE",
            ClassTable(both, ((f"{low}-{half}",), (f"{half + 1}-{max(255, high)}",))),
        )
    # Objects are numbered 0 to n without gaps, n large, and another in every mask.
    found = [set(mask.counts) - ignored for mask in masks]
    largest = [max(each) for each in found if each and each == set(range(max(each) + 1))]
    if len(set(largest)) > 3 and max(largest) > 20 and len(largest) > 0.8 * len(masks):
        yield (
            "seem to number objects: give --classes FILE in which all objects are one class",
            ClassTable(both, (("0",), (f"1-{high}",))),
        )
    if len(values) > MOST_CLASSES:
        yield (
            f"hold {len(values):,} different values or colors, too many for classes: they may be "
            "photographs, probabilities or numbered objects. Export one number for each class",
        )
    marker = low if low < 0 else high
    if low < 0 or (high == 255 and len(values) > 2 and values[-2] < SMALL):
        yield (
            f"hold the value {marker}, which may mark pixels that do not count: give "
            f"--ignore-index {marker} if so, else --classes FILE",
            numbered([value for value in values if value != marker], ignored=(marker,)),
        )
