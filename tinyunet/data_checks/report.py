"""The doctor's report: what was found, in words and as a picture."""

import itertools
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tinyunet.atomic_io import make_folder, save_picture, save_text
from tinyunet.data.class_table import ClassTable
from tinyunet.data.dataset import Dataset
from tinyunet.data.images import listed, plain
from tinyunet.plots.pictures import contact_sheet


@dataclass
class Report:
    """What the doctor has to say about images and their masks.

    Attributes
    ----------
    title : str
    dataset : Dataset
        The pairs that can be used.
    table : ClassTable or None
        The class table; where there is no usable pair, one that could be meant.
    counts : array (images, K), int64
        Pixels of each class in each mask.
    digests : list of bytes
        A number for each image, by which copies are found.
    findings : list of (severity, text)
        "problem": training stops, or its score would be worthless. "warning": it may learn
        nonsense.
    """

    title: str
    dataset: Dataset
    table: ClassTable | None
    counts: np.ndarray
    digests: list[bytes]
    findings: list[tuple[str, str]] = field(default_factory=list)

    def add(self, severity: str, *texts: str) -> None:
        """Add findings; problems stay before warnings."""
        self.findings += [(severity, text) for text in texts]
        self.findings.sort(key=lambda finding: finding[0])

    @property
    def pixels(self) -> np.ndarray:
        """Pixels of each class, (K,)."""
        return self.counts.sum(axis=0)

    def names(self, chosen: np.ndarray) -> str:
        """Name the classes for which an array (K,) is true."""
        return listed(self.table.names[index] for index in np.flatnonzero(chosen))

    def text(self, width: int = 96) -> str:
        """Write it out, in lines of at most so many characters (tables and names may be longer)."""
        lines = [self.title, *self._images(), "", *self._classes(), ""]
        found = [severity for severity, _ in self.findings]
        kinds = ("problem", "warning")
        lines.append(", ".join(plural(found.count(kind), kind) for kind in kinds))
        layout = {"break_long_words": False, "break_on_hyphens": False, "subsequent_indent": "  "}
        for severity, text in self.findings:
            lines += ["", *textwrap.wrap(f"{severity.upper()}: {text}.", width, **layout)]
        return "\n".join(map(plain, lines)) + "\n"

    def _images(self) -> list[str]:
        """Say of which kind and sizes the images are, and how much of them is missing."""
        data = self.dataset
        if not len(data):
            return []
        sizes = sorted((mask.shape for mask in data.masks), key=np.prod)
        shown = dict.fromkeys("{} x {}".format(*size) for size in (sizes[0], sizes[-1]))
        lines = [f"{data.image_format}, {' to '.join(shown)} pixels (height x width)"]
        if any(valid is not None for valid in data.valid):
            present = sum(map(len, data.valid_pixels())) / sum(map(np.prod, sizes))
            lines.append(f"{1 - present:.2%} of the pixels are missing data")
        return lines

    def _classes(self) -> list[str]:
        """Show the class table, and how much there is of each class."""
        if self.table is None:
            return ["It cannot be told which classes there are."]
        if not len(self.dataset):
            return ["A class table that could be meant:", "", *str(self.table).splitlines()]
        rows = [("class", "stored as", "pixels", "share", "in images")]
        columns = zip(
            self.table.names,
            self.table.values,
            self.pixels,
            self.pixels / max(self.pixels.sum(), 1),
            (self.counts > 0).sum(axis=0),
            strict=True,
        )
        for name, words, pixels, share, images in columns:
            numbers = (f"{pixels:,}", f"{share:.2%}", str(images))
            rows.append((name, " ".join(words), *numbers))
        if self.table.ignored:
            rows.append(("ignore", " ".join(self.table.ignored), "", "", ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        layout = "{:{}}" + "  {:>{}}" * (len(widths) - 1)
        cells = (itertools.chain(*zip(row, widths, strict=True)) for row in rows)
        return [layout.format(*each).rstrip() for each in cells]


def plural(count: int, noun: str) -> str:
    """Count things: "1 image", "2 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def save_report(report: Report, out_dir: str | Path) -> None:
    """Leave report, class table and contact sheet in a folder; older ones are replaced.

    Raises
    ------
    UserError
        If they cannot be written there. Without any pair to show there is no contact sheet.
    """
    out_dir = make_folder(out_dir)
    save_text(report.text(), out_dir / "report.txt")
    if report.table is not None:
        save_text(f"{report.table}\n", out_dir / "classes.txt")
    if len(report.dataset):
        save_picture(draw_contact_sheet(report), out_dir / "contact_sheet.png")


def draw_contact_sheet(report: Report, most: int = 12) -> Image.Image:
    """Show masks in color over their images: at most so many, spread over the data set."""
    data, table = report.dataset, report.table
    chosen = np.linspace(0, len(data) - 1, min(len(data), most)).round().astype(int)
    panels = [(data.stems[k], data.images[k], data.masks[k]) for k in chosen]
    return contact_sheet(panels, list(table.names), table.ignore_index)
