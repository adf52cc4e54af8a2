"""The data-set doctor: what is wrong with these images and masks, and what to do about it.

Most failures of training are failures of the data, and show up late: as a black prediction, as an
accuracy of 93 % that means nothing, as a score that is too good to be true. All files are read as
training reads them: what it would refuse is a problem. The rest is counted, and compared with the
validation images.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinyunet.atomic_io import make_folder, save_picture, save_text
from tinyunet.data.augmentation import check_crop
from tinyunet.data.class_table import ClassTable
from tinyunet.data.dataset import Dataset, count_classes, load_pairs, refusals
from tinyunet.data.images import blocks, listed, plain
from tinyunet.data.pairing import match
from tinyunet.errors import UserError
from tinyunet.nn.unet import UNet
from tinyunet.plots.pictures import draw_grid

SHOWN = 12  # images on the contact sheet, at most


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
    problems : list of UserError or str
        Training stops at them, or its score would be worthless.
    warnings : list of str
        The network may learn nonsense.
    counts : array (images, K), int64
        Pixels of each class in each mask.
    digests : dict of bytes to str
        The name of each image by a number that is the same for copies.
    """

    title: str
    dataset: Dataset = field(default_factory=lambda: Dataset([], [], []))
    table: ClassTable | None = None
    problems: list = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    counts: np.ndarray | None = None
    digests: dict[bytes, str] = field(default_factory=dict)

    @property
    def pixels(self) -> np.ndarray:
        """Pixels of each class, (K,)."""
        return self.counts.sum(axis=0)

    def text(self) -> str:
        """Write it out: the images, a line for each class, a line for each finding."""
        lines = [self.title]
        if len(self.dataset):
            sizes = sorted((mask.shape for mask in self.dataset.masks), key=np.prod)
            shown = dict.fromkeys("{} x {}".format(*size) for size in (sizes[0], sizes[-1]))
            present = sum(map(len, self.dataset.valid_pixels())) / sum(map(np.prod, sizes))
            lines.append(f"{self.dataset.image_format}, {' to '.join(shown)} pixels")
            if present < 1:
                lines.append(f"{100 * (1 - present):.2f} % of the pixels are missing data")
            images, percent = (self.counts > 0).sum(axis=0), 100 / max(self.pixels.sum(), 1)
            table = str(self.table).splitlines()
            rows = zip(table, self.pixels, percent * self.pixels, images, strict=False)
            lines += ["", *("{:24} {:13,} pixels {:7.2f} % in {} images".format(*r) for r in rows)]
            lines += table[len(self.pixels) :]  # what is ignored
        elif self.table is not None:
            lines += ["", "A class table that could be meant:", *str(self.table).splitlines()]
        numbers = plural(self.problems, "problem"), plural(self.warnings, "warning")
        lines += ["", ", ".join(numbers)]
        lines += [f"PROBLEM: {problem}." for problem in self.problems]
        lines += [f"WARNING: {warning}." for warning in self.warnings]
        return "\n".join(map(plain, lines)) + "\n"


def plural(things, noun: str) -> str:
    """Count things: "1 image", "2 images"."""
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def examine(
    images: str | Path,
    masks: str | Path,
    *,
    val_images: str | Path | None = None,
    val_masks: str | Path | None = None,
    table: ClassTable | None = None,
    depth: int = 4,
    crop_size: int = 128,
    progress: bool = False,
    **options,
) -> Report:
    """Examine the images and masks for training, and those for validation if there are any.

    Parameters
    ----------
    images, masks : path
        Folders, or files.
    val_images, val_masks : path, optional
        The same for validation; both or none.
    depth : int
        How many times the network will halve a crop.
    crop_size : int
        Height and width of the crops that training will cut.
    table, progress, **options
        As in `tinyunet.data.dataset.load_pairs`.

    Raises
    ------
    UserError
        If a folder is missing or there is no pair. Whatever is wrong with a single file, or with
        the set, is a finding and no error.
    """
    if (val_images is None) != (val_masks is None):
        raise UserError("validation needs images and masks: give both or none")
    report = look(images, masks, table, progress=progress, **options)
    if not len(report.dataset):
        return report
    with refusals(report.problems):
        check_crop(report.dataset, crop_size)
        UNet(1, 2, base_channels=1, depth=depth).check_size(crop_size, crop_size)
    if np.count_nonzero(report.pixels) == 1:
        report.problems.append("the masks hold a single class: there is nothing to tell apart")
    if val_images is None:
        return report
    image_format = report.dataset.image_format
    judge = look(val_images, val_masks, report.table, image_format=image_format, progress=progress)
    report.problems += [f"in the validation set: {text}" for text in judge.problems]
    report.warnings += [f"in the validation set: {text}" for text in judge.warnings]
    lacking = (report.pixels > 0) & (judge.pixels == 0) if len(judge.dataset) else ()
    if absent := listed(report.table.names[k] for k in np.flatnonzero(lacking)):
        report.warnings.append(f"not in the validation set: {absent}; no score tells about it")
    both = [key for key in judge.digests if key in report.digests]
    if both:
        copies = listed(f"{judge.digests[key]} as {report.digests[key]}" for key in both)
        fault = f"{plural(both, 'image')} both in training and in validation ({copies})"
        report.problems.append(f"{fault}: the score is too good; remove one of them")
    return report


def look(images: str | Path, masks: str | Path, table: ClassTable | None, **options) -> Report:
    """Read two folders as training does; what it would refuse becomes a problem."""
    pairs, *lone = match(images, masks)
    report = Report(f"{plural(pairs, 'pair')} of images in {images} and masks in {masks}")
    dataset = Dataset([], [], [], table=table)
    with refusals(report.problems):
        dataset = load_pairs(pairs, table, refused=report.problems, **options)
    report.table = dataset.table or getattr(report.problems[-1], "table", None)
    usable, counts = [], []
    for index, (image, mask) in enumerate(zip(dataset.images, dataset.masks, strict=True)):
        with refusals(report.problems):  # a large scene is read only here
            counts.append(count_classes([mask], len(report.table.names), report.table.ignore_index))
            report.digests[digest(image)] = dataset.stems[index]
            usable.append(index)
    report.dataset, report.counts = dataset.subset(usable), np.array(counts)
    for files, kind, other in zip(lone, ("image", "mask"), ("mask", "image"), strict=True):
        if files:
            names = listed(path.name for path in files)
            report.warnings.append(f"{plural(files, kind)} without {other}, not used: {names}")
    if usable and not report.pixels.any():
        report.problems.append("every pixel of the masks is ignored")
    return report


def digest(image) -> bytes:
    """Give a number that is the same for images whose pixels are the same."""
    result = hashlib.sha256(f"{image.shape} {image.dtype}".encode())
    for window in blocks(image.shape):
        result.update(np.ascontiguousarray(image[window]))
    return result.digest()


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
    data, table = report.dataset, report.table
    if len(data):  # masks in color over their images, spread over the data set
        chosen = np.linspace(0, len(data) - 1, min(len(data), SHOWN)).round().astype(int)
        pairs = [(data.stems[k], data.images[k], data.masks[k]) for k in chosen]
        rows = [[(stem, image), ("with its mask", image, mask)] for stem, image, mask in pairs]
        sheet = draw_grid(rows, table.names, table.ignore_index)
        save_picture(sheet, out_dir / "contact_sheet.png")
