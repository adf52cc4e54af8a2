"""The examination: what training would refuse, and what would make it learn nonsense."""

import hashlib
from pathlib import Path

import numpy as np

from tinyunet.data.augmentation import check_crop
from tinyunet.data.class_table import ClassTable
from tinyunet.data.dataset import Dataset, count_classes, load_pairs, refusals
from tinyunet.data.images import blocks, listed
from tinyunet.data.pairing import match
from tinyunet.data_checks.report import Report, plural
from tinyunet.errors import UserError

LARGE = 0.8  # share of the pixels from which on a class dominates
RARE = 0.005  # share below which a class is rare


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
    refused: list[UserError] = []
    with refusals(refused):
        check_crop(report.dataset, crop_size)
    report.add("problem", *map(str, refused))
    if crop_size % 2**depth:
        text = f"crops of {crop_size} cannot be halved {depth} times: give a multiple of {2**depth}"
        report.add("problem", text)
    check_balance(report)
    if val_images is None:
        check_copies(report, report)
    else:
        image_format = report.dataset.image_format
        keywords = {"image_format": image_format, "progress": progress}
        judge = look(val_images, val_masks, report.table, **keywords)
        for severity, text in judge.findings:
            report.add(severity, f"in the validation set: {text}")
        absent = report.names((report.pixels > 0) & (judge.pixels == 0))
        if absent and len(judge.dataset):
            text = f"not in the validation set: {absent}; no score tells how well it is found"
            report.add("warning", text)
        check_copies(report, judge)
    return report


def look(images: str | Path, masks: str | Path, table: ClassTable | None, **options) -> Report:
    """Read two folders as training does; what it would refuse becomes a problem."""
    pairs, *lone = match(images, masks)
    refused: list[UserError] = []
    dataset = Dataset([], [], [], table=table)
    with refusals(refused):
        dataset = load_pairs(pairs, table, refused=refused, **options)
    table = dataset.table or getattr(refused[-1], "table", None)
    usable, counts, digests = [], [], []
    for index, (image, mask) in enumerate(zip(dataset.images, dataset.masks, strict=True)):
        with refusals(refused):  # a large scene is read only here
            counted = count_classes([mask], len(table.names), table.ignore_index)
            digests.append(digest(image))
            counts.append(counted)
            usable.append(index)
    title = f"{plural(len(pairs), 'pair')} of images in {images} and masks in {masks}"
    report = Report(title, dataset.subset(usable), table, np.array(counts), digests)
    report.add("problem", *map(str, refused[-5:]))  # what concerns all masks comes last
    if len(refused) > 5:
        report.add("problem", f"{plural(len(refused) - 5, 'more file')} cannot be used")
    for files, kind, other in zip(lone, ("image", "mask"), ("mask", "image"), strict=True):
        if files:
            names = listed(path.name for path in files)
            report.add("warning", f"{plural(len(files), kind)} without {other}, not used: {names}")
    if usable and not report.pixels.any():
        report.add("problem", "every pixel of the masks is ignored")
    return report


def check_balance(report: Report) -> None:
    """Check that there is enough of every class."""
    share = report.pixels / max(report.pixels.sum(), 1)
    if np.count_nonzero(share) == 1:
        alone = report.names(share > 0)
        report.add("problem", f"a single class ({alone}) fills the masks: nothing to tell apart")
    elif share.max() > LARGE:
        report.add(
            "warning",
            f"{share.max():.1%} of the pixels are {report.names(share == share.max())}: a "
            "network that answers this everywhere is right that often. Look at the IoU, not at the "
            "accuracy, and consider --class-weights auto",
        )
    if rare := report.names((share > 0) & (share < RARE)):
        report.add(
            "warning",
            f"rare: {rare}. Less than {RARE:.1%} of the pixels hardly move the loss: use "
            "--class-weights auto, add images that show it, or merge classes in the class table",
        )


def digest(image) -> bytes:
    """Give a number that is the same for images whose pixels are the same."""
    result = hashlib.sha256(f"{image.shape} {image.dtype}".encode())
    for window in blocks(image.shape):
        result.update(np.ascontiguousarray(image[window]))
    return result.digest()


def check_copies(report: Report, judge: Report) -> None:
    """Check that no image is there twice, or both in training and in validation."""
    first = dict(zip(reversed(report.digests), reversed(report.dataset.stems), strict=True))
    copies = [
        f"{stem} as {first[number]}"
        for number, stem in zip(judge.digests, judge.dataset.stems, strict=True)
        if number in first and (judge is not report or first[number] != stem)
    ]
    if copies:
        where = "there more than once" if judge is report else "both in training and in validation"
        report.add(
            "warning" if judge is report else "problem",
            f"{plural(len(copies), 'image')} {where}, the same pixel by pixel: {listed(copies)}. "
            "Where one is learned and the other judges, the score is too good: remove one of them",
        )
