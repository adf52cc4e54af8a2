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
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from tinyunet.data.images import ALL, Raster, blocks, is_opaque, open_raster
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
        lines = [
            f"{name}: {' '.join(words)}".rstrip()
            for name, words in zip(self.names, self.values, strict=True)
        ]
        return "\n".join(lines + [f"{IGNORE}: {' '.join(self.ignored)}"] * bool(self.ignored))

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
            value: index
            for index, words in entries
            for word in words
            if word != REST
            for value in values_of(word)
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
                f"{name}: holds {listed}, which the class table does not list ({table}): give "
                "--classes FILE with a line for it"
            )
        return result


def values_of(word: str) -> range:
    """Give the values that a word of the table stands for.

    Raises
    ------
    UserError
        If it is no number, range or color.
    """
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


def read_class_table(path: str | Path) -> ClassTable:
    """Read a class table, or the list of classes that CVAT or Roboflow writes beside its masks.

    Raises
    ------
    UserError
        If the file cannot be read, a line is not understood, or a name or value comes twice.
    """
    if Path(path).exists() and not Path(path).is_file():  # a pipe would be waited for
        raise UserError(f"{path}: the class table cannot be read (it is no file)")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UserError(f"{path}: the class table cannot be read ({reason})") from error
    try:
        return parse_class_table(text)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def parse_class_table(text: str) -> ClassTable:
    """Understand the text of a class table, CVAT's ``labelmap.txt`` or Roboflow's list."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and re.match(r"#\s*label\s*:\s*color_rgb", lines[0]):
        rows = [_row_of_cvat(line) for line in lines[1:]]
    elif lines and re.match(r"pixel value\s*,\s*class", lines[0], re.IGNORECASE):
        rows = [
            (name.strip(), [value.strip()])
            for value, _, name in (line.partition(",") for line in lines[1:])
        ]
    else:
        rows = []
        for line in lines:
            name, colon, words = line.rpartition(":")
            if line.startswith("#") and not colon:
                continue
            if not colon or not name.strip():
                raise UserError(f"{line!r} is not understood: write a class as 'building: 255'")
            rows.append((name.strip(), words.replace(",", " ").split()))
    classes = [(name, words) for name, words in rows if name.lower() != IGNORE]
    ignored = [word for name, words in rows if name.lower() == IGNORE for word in words]
    listed = [words for _, words in classes] + [ignored]
    counts = Counter(
        value for words in listed for word in words if word != REST for value in values_of(word)
    )
    twice = [written(value) for value, count in counts.items() if count > 1]
    twice += [name for name, count in Counter(name for name, _ in classes).items() if count > 1]
    if twice:
        raise UserError(f"{twice[0]} comes twice in the class table")
    if len(classes) < 2:
        raise UserError("a class table has at least two classes, a line each: 'building: 255'")
    if any(REST in words for _, words in classes):
        raise UserError(f"{REST} may stand only after 'ignore'")
    return ClassTable(
        tuple(name for name, _ in classes),
        tuple(tuple(words) for _, words in classes),
        tuple(ignored),
    )


def _row_of_cvat(line: str) -> tuple[str, list[str]]:
    """Understand ``car:250,50,83::``."""
    match = re.match(r"(.+?):(\d+),(\d+),(\d+)(:|$)", line)
    if not match:
        raise UserError(f"{line!r} is not understood: CVAT writes 'car:250,50,83::'")
    return match[1].strip(), ["#" + "".join(f"{int(match[k]) & 255:02x}" for k in (2, 3, 4))]


def find_class_list(masks: str | Path) -> Path | None:
    """Find CVAT's or Roboflow's list beside masks, in their folder or the one above."""
    folder = Path(masks) if Path(masks).is_dir() else Path(masks).parent
    candidates = [
        place / name
        for place in (folder, Path(os.path.realpath(folder)).parent)
        for name in ("labelmap.txt", "_classes.csv")
    ]
    return next((path for path in candidates if path.is_file()), None)


# --- What a mask stores ------------------------------------------------------------------------


def open_mask(path: str | Path) -> Raster:
    """Open a mask: one number or one color for each pixel.

    Raises
    ------
    UserError
        If it cannot be read, or holds something else.
    """
    raster = open_raster(path)
    names = raster.band_names
    if "alpha" in names:
        if not is_opaque(raster):
            raise UserError(
                f"{path}: is partly transparent, as a layer of a drawing is; where it is "
                "transparent nothing tells the class: flatten it onto a background and save a gray "
                "or RGB image"
            )
        raster = raster.bands([k for k, name in enumerate(names) if name != "alpha"])
    if raster.shape[2] != 1 and (raster.shape[2] != 3 or raster.dtype.kind == "f"):
        raise UserError(
            f"{path}: has {raster.shape[2]} channels of {raster.dtype}, but a mask holds one "
            "number or one color for each pixel, its class"
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
        data = values if valid is None else np.where(valid, values, 0)
        if (data != np.round(data)).any() or np.abs(data).max(initial=0) > 2**31:
            raise UserError(
                f"{raster.path}: holds numbers that are not whole, such as "
                f"{data[data != np.round(data)][:1].tolist() or data.max()}; are they "
                "probabilities? A mask holds one whole number for each class"
            )
        values = data.astype(np.int64)
    return values, valid


@dataclass
class MaskSummary:
    """What one mask stores.

    Attributes
    ----------
    path : Path
    counts : Counter
        Pixels of each value, without missing ones.
    inner : Counter
        How many of these have the same value below and to the right: lines and edges have few.
    palette : dict
        The color of each number, if the mask has a palette.
    nodata : number or None
    has_nodata : bool
        Whether a pixel holds it.
    lossy : bool
        It is a JPEG.
    """

    path: Path
    counts: Counter
    inner: Counter
    palette: dict = field(default_factory=dict)
    nodata: float | None = None
    has_nodata: bool = False
    lossy: bool = False


def summarize_mask(
    raster: Raster, by_color: bool = False, image: Raster | None = None
) -> MaskSummary:
    """Count the values of a mask from `open_mask`, block by block, where its image has data."""
    summary = MaskSummary(raster.path, Counter(), Counter(), nodata=raster.nodata)
    summary.lossy = raster.lossy
    for rows, columns in blocks(raster.shape):
        values, valid = stored_values(raster, rows, columns, by_color)
        same = values[:-1, :-1] == values[1:, :-1]
        same &= values[:-1, :-1] == values[:-1, 1:]
        if valid is not None:
            summary.has_nodata |= not valid.all()
        if image is not None and not image.complete:
            shown = image.valid(rows, columns)
            valid = shown if valid is None else valid & shown
        if valid is not None:
            same &= valid[:-1, :-1]
        for counter, chosen in (
            (summary.counts, values.ravel() if valid is None else values[valid]),
            (summary.inner, values[:-1, :-1][same]),
        ):
            found, counts = np.unique(chosen, return_counts=True)
            counter.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
    if raster.palette is not None:
        summary.palette = {
            number: int.from_bytes(raster.palette[number].tobytes(), "big")
            for number in summary.counts
        }
    return summary


# --- From the masks ----------------------------------------------------------------------------


class Ambiguous(UserError):
    """It cannot be told what the values in the masks mean; `table` is one that could be meant."""

    def __init__(self, title: str, text: str, table: ClassTable | None = None):
        lines = f" (for instance: {'; '.join(str(table).splitlines()[:12])})" if table else ""
        super().__init__(f"{title}: {text}{lines}")
        self.table = table


def numbered(values: Iterable[int], names: Sequence[str] = (), ignored=()) -> ClassTable:
    """Make the table in which each value is a class, in that order."""
    values = list(values)
    as_numbers = max(values, default=0) < MOST_CLASSES
    names = names or [f"class {value if as_numbers else k}" for k, value in enumerate(values)]
    words = tuple((written(value),) for value in values)
    return ClassTable(tuple(names), words, tuple(map(written, ignored)))


def two_classes(first: str, second: str) -> ClassTable:
    """Make the table of a background and one class, each a range of values."""
    return ClassTable(("background", "foreground"), ((first,), (second,)))


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
    """
    total = sum((mask.counts for mask in masks), Counter())
    ignored = {ignore} if ignore is not None else set()
    nodata = {int(mask.nodata) for mask in masks if mask.has_nodata and mask.nodata is not None}
    if 0 in nodata - ignored:
        raise Ambiguous(
            "The masks mark 0 as missing data (nodata)",
            "many programs write that for the background, but it could mean that nobody looked "
            "there. Give --ignore-index 0 if these pixels do not count, else --classes FILE",
            numbered([0, *sorted(value for value in total if value)]),
        )
    values = sorted(set(total) - ignored - nodata)
    refuse_pictures(masks, values, total)
    refuse_what_is_no_class(masks, values, ignored | nodata)
    if len(values) > 2 and values[-1] == 255 and values[-2] < SMALL:
        raise Ambiguous(
            f"The masks hold numbers up to {values[-2]}, and 255",
            "255 usually marks pixels that do not count: give --ignore-index 255 if so, else "
            "--classes FILE",
            numbered(values[:-1], ignored=(255,)),
        )
    ignored |= nodata
    if names:
        if values[0] >= 0 and values[-1] < len(names):
            values = range(len(names))
        if len(values) != len(names):
            strange = next(mask for mask in masks if values[-1] in mask.counts)
            shown = ", ".join(map(str, values[:8]))
            raise UserError(
                f"{strange.path}: holds the value {values[-1]}; the masks hold {len(values)} "
                f"values ({shown}), but there are {len(names)} class names: {', '.join(names)}"
            )
    elif 2 * len(values) >= values[-1] + 1 - values[0]:
        values = [v for v in range(values[0], values[-1] + 1) if v not in ignored]
    return numbered(values, names or (), sorted(ignored))


def refuse_pictures(masks: Sequence[MaskSummary], values: Sequence[int], total: Counter) -> None:
    """Refuse what was drawn for the eye: lossy, colored, smooth masks, and photographs."""
    lossy = [mask.path.name for mask in masks if mask.lossy]
    if lossy:
        raise Ambiguous(
            f"The masks are compressed with loss, as JPEG ({', '.join(lossy[:3])})",
            "that changes the values near every border. Export them as PNG; or, where they are "
            "black and white, give --classes FILE",
            two_classes("0-127", "128-255"),
        )
    if 0 < sum(value >= COLOR for value in values) <= MOST_CLASSES:
        common = sorted(value for value, _ in total.most_common(12))
        names = ["background" if value == 0 else f"name{k}" for k, value in enumerate(common)]
        raise Ambiguous(
            f"The masks are colored ({len(values)} colors)",
            "only you know which color is which class. Give --classes FILE with a line for each",
            numbered(common, names),
        )
    color_of = {}
    for number, color in (entry for mask in masks for entry in mask.palette.items()):
        if color_of.setdefault(number, color) != color:
            raise Ambiguous(
                "The palettes differ from mask to mask",
                f"{number} is #{color_of[number]:06x} in one and #{color:06x} in another. Give "
                "--classes FILE that lists colors, such as 'building: #3c1098'",
            )
    inner = sum((mask.inner for mask in masks), Counter())
    between = values[1:-1] if values and values[-1] >= MOST_CLASSES and values[0] >= 0 else []
    soft = [value for value in between if inner[value] < 0.3 * total[value]]
    share = sum(total[value] for value in between) / max(1, sum(total[value] for value in values))
    if 2 * len(soft) > len(between) and share < 0.3:
        half = (values[0] + values[-1]) // 2
        raise Ambiguous(
            f"The masks hold {len(between)} values between {values[0]} and {values[-1]} that "
            f"nowhere form an area ({100 * share:.1f} % of the pixels)",
            "they seem to be smoothed borders, or probabilities. Export the masks without "
            "smoothing, or give --classes FILE",
            two_classes(f"{values[0]}-{half}", f"{half + 1}-{max(255, values[-1])}"),
        )
    if len(values) > MOST_CLASSES:
        kind = "colors" if values[-1] >= COLOR else "values"
        raise Ambiguous(
            f"The masks hold {len(values):,} different {kind}",
            "that is too many for classes: they may be photographs, probabilities, numbered "
            "objects, or masks that were resized smoothly. Export one number for each class",
        )


def refuse_what_is_no_class(masks: Sequence[MaskSummary], values, ignored: set) -> None:
    """Refuse numbers of objects, negative numbers, and a single value."""
    if not values or len(values) < 2:
        shown = ", ".join(map(written, values)) or "all pixels are ignored"
        raise Ambiguous(
            f"The masks hold a single class ({shown})",
            "there is nothing to tell apart. Check that these are the right masks",
        )
    if values[0] < 0:
        raise Ambiguous(
            f"The masks hold the value {values[0]}",
            f"it may mark pixels that do not count: give --ignore-index {values[0]}, or --classes "
            "FILE",
            numbered([value for value in values if value >= 0], ignored=(values[0],)),
        )
    # Objects are numbered 0 to n without gaps, n large, and another in every mask.
    found = [set(mask.counts) - ignored for mask in masks]
    largest = [max(each) for each in found if each and each == set(range(max(each) + 1))]
    if len(set(largest)) > 3 and max(largest) > 20 and len(largest) > 0.8 * len(masks):
        raise Ambiguous(
            f"The masks seem to number objects (0 to {values[-1]}), not classes",
            "every number would be a class of its own. Give --classes FILE in which all are one",
            two_classes("0", f"1-{values[-1]}"),
        )
