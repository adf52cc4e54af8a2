"""The doctor's report: all checks together, in words and as a picture."""

import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tinyunet.atomic_io import make_folder, save_picture, save_text
from tinyunet.data.class_table import (
    COLOR,
    ClassTable,
    find_class_list,
    open_mask,
    read_class_table,
    stored_values,
)
from tinyunet.data.dataset import Windowed, fit_together
from tinyunet.data.images import open_raster, plain, prepare
from tinyunet.data.weight_maps import suggest_class_weights
from tinyunet.data_checks.alignment import best_shift
from tinyunet.data_checks.file_checks import check_copies, check_files, check_tiles
from tinyunet.data_checks.findings import SEVERITIES, Finding, plural
from tinyunet.data_checks.mask_checks import Classes, check_both, check_masks
from tinyunet.data_checks.survey import PairSummary, Survey, survey
from tinyunet.errors import UserError
from tinyunet.plots.colors import as_rgb
from tinyunet.plots.pictures import contact_sheet


@dataclass
class Report:
    """All that the doctor has to say.

    Attributes
    ----------
    survey : Survey
        Of the images and masks for training.
    classes : Classes or None
        What their masks mean; None if that cannot be told yet.
    findings : list of Finding
        The worst first.
    table : ClassTable or None
        The class table, or one that could be meant.
    """

    survey: Survey
    classes: Classes | None
    findings: list[Finding]
    table: ClassTable | None = None

    def text(self, width: int = 96) -> str:
        """Write it out, in lines of at most so many characters (tables and names may be longer)."""
        lines = [*self._overview(), "", *self._class_table(), ""]
        found = Counter(finding.severity for finding in self.findings)
        lines.append(", ".join(plural(found[severity], severity) for severity in SEVERITIES))
        for severity, title, advice in self.findings:
            lines += ["", f"{severity.upper()}: {title}"]
            lines += textwrap.wrap(
                advice,
                width,
                initial_indent="  ",
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        return "\n".join(map(plain, lines)) + "\n"

    def _overview(self) -> list[str]:
        """Say how many pairs there are, of which sizes and kinds."""
        summaries = [each for each in self.survey.summaries if each.image_shape]
        sizes = Counter("{} x {}".format(*each.image_shape) for each in summaries).most_common()
        shown = [f"{shape} ({count})" for shape, count in sizes[:4]]
        shown += [f"{len(sizes) - 4} more"] if len(sizes) > 4 else []
        kinds = Counter(str(each.image_format) for each in summaries).most_common()
        return [
            f"{plural(len(self.survey.summaries), 'pair')} of images in {self.survey.images_dir} "
            f"and masks in {self.survey.masks_dir}",
            f"height x width: {', '.join(shown) or 'no image could be read'}",
            *(f"{kind} ({count})" for kind, count in kinds),
        ]

    def _class_table(self) -> list[str]:
        """Show the class table, and how much there is of each class."""
        if self.classes is None:
            could = ["It cannot be told yet which classes there are; see below."]
            if self.table is not None:
                could += ["A class table that could be meant:", ""]
                could += [f"    {line}" for line in str(self.table).splitlines()]
            return could
        table, pixels = self.classes.table, self.classes.pixels
        masks = (self.classes.counts > 0).sum(axis=0)
        weights = suggest_class_weights(pixels)
        rows = [("class", "stored as", "pixels", "share", "in masks", "weight")]
        for index, words in enumerate(table.values):
            share = f"{100 * pixels[index] / max(pixels.sum(), 1):.2f} %"
            count, weight = f"{pixels[index]:,}", f"{weights[index]:.3f}"
            rows.append(
                (self.classes.name(index), " ".join(words), count, share, str(masks[index]), weight)
            )
        if table.ignored:
            rows.append(("ignore", " ".join(table.ignored), "", "", "", ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [
            *(
                "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
                for row in rows
            ),
            "The weight is 1 / sqrt(share), scaled so that the mean weight of a pixel is 1.",
            "It is what tinyunet train --class-weights auto uses.",
        ]


def examine(
    images: str | Path,
    masks: str | Path,
    *,
    val_images: str | Path | None = None,
    val_masks: str | Path | None = None,
    table: ClassTable | None = None,
    class_names=None,
    ignore_index: int | None = None,
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
    table : ClassTable, optional
        Without it, that of CVAT or Roboflow beside the masks, or one that is worked out.
    class_names : sequence of str, optional
        For a table that is worked out.
    ignore_index : int, optional
        Likewise: the mask value of pixels that do not count.
    depth : int
        How many times the network will halve the image.
    crop_size : int
        Height and width of the crops that training will cut.
    progress : bool
        Show progress bars.
    **options
        `bands`, `alpha` and `exif`, as in `tinyunet.data.dataset.load_pairs`.

    Raises
    ------
    UserError
        If a folder is missing or there is no pair. Whatever is wrong with a single file, or with
        the set, is a finding and no error.
    """
    if (val_images is None) != (val_masks is None):
        raise UserError("validation needs images and masks: give both or none")
    if not 1 <= depth <= 16:
        raise UserError(f"a network of depth {depth} cannot be built: choose 1 to 16")
    listing = find_class_list(masks) if table is None else None
    table = read_class_table(listing) if listing else table
    seen = survey(images, masks, table, progress, **options)
    classes, table, findings = check_masks(seen, table, class_names, ignore_index)
    findings += check_files(seen, depth, crop_size)
    if val_images is None:
        findings += [*check_copies(seen), *check_tiles(seen)]
    else:
        val_seen = survey(val_images, val_masks, table, progress, **options)
        val_classes, _, val_findings = check_masks(val_seen, classes and table)
        val_findings += check_files(val_seen, depth, crop_size)
        findings += [
            finding._replace(title=f"In the validation set: {finding.title}")
            for finding in val_findings
        ]
        findings += check_copies(seen, val_seen)
        if classes is not None and val_classes is not None:
            findings += check_both(classes, val_classes)
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Report(seen, classes, findings, table)


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
    if any(summary.agreement is not None for summary in report.survey.summaries):
        save_picture(draw_contact_sheet(report), out_dir / "contact_sheet.png")


def draw_contact_sheet(report: Report, most: int = 12) -> Image.Image:
    """Show masks in color over their images: first those that look shifted, then others.

    Masks whose meaning is not clear yet are shown in their own colors.

    Parameters
    ----------
    report : Report
        From `examine`.
    most : int
        How many pairs to show at most, spread over the data set.

    Raises
    ------
    UserError
        If there is no image with a mask of the same size.
    """
    summaries = [summary for summary in report.survey.summaries if summary.agreement is not None]
    if not summaries:
        raise UserError("there is no image with a mask of the same size, so nothing to show")
    first = [summary for summary in summaries if best_shift(summary.agreement).is_clear][:most]
    others = [summary for summary in summaries if summary not in first]
    spread = np.linspace(0, len(others) - 1, min(len(others), most - len(first)))
    chosen = first + [others[round(index)] for index in spread]
    panels = [_panel(summary, report) for summary in chosen]
    if report.classes is None:
        return contact_sheet(panels, [])
    table = report.classes.table
    return contact_sheet(panels, list(table.names), ignore_index=table.ignore_index)


def _panel(summary: PairSummary, report: Report) -> tuple[str, np.ndarray, np.ndarray]:
    """Read an image and its mask; the mask as classes, or as a picture while they are not known."""
    options = report.survey.options
    image, mask = open_raster(summary.pair.image_path), open_mask(summary.pair.mask_path)
    image = prepare(
        fit_together(image, mask, options.get("exif")), options.get("bands"), options.get("alpha")
    )
    every = slice(None, None, max(1, max(image.shape[:2]) // 1024))
    table = report.classes and report.classes.table

    def values(rows, columns):
        stored, valid = stored_values(mask, rows, columns, table is not None and table.by_color)
        if table is None:
            return stored
        labels = table.labels(stored, valid, nodata=mask.nodata)
        labels[~image.valid(rows, columns)] = table.ignore_index
        return labels

    pixels = Windowed(image.shape, image.dtype, image.pixels)[every, every]
    shown = Windowed(mask.shape[:2], np.int64, values)[every, every]
    if table is None:
        parts = (shown >> 16 & 255, shown >> 8 & 255, shown & 255)
        gray = as_rgb(shown.astype(np.float32))
        shown = np.where((shown >= COLOR)[:, :, None], np.stack(parts, axis=2), gray)
        shown = shown.astype(np.uint8)
    return plain(summary.pair.stem), pixels, shown
