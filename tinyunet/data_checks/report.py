"""The doctor's report: all checks together, in words and as a picture."""

import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tinyunet.atomic_io import make_folder, save_picture, save_text
from tinyunet.data.dataset import read_image
from tinyunet.data.weight_maps import suggest_class_weights
from tinyunet.data_checks.alignment import best_shift
from tinyunet.data_checks.file_checks import check_copies, check_files, check_leaks, check_tiles
from tinyunet.data_checks.findings import SEVERITIES, Finding, plural, size
from tinyunet.data_checks.mask_checks import Classes, check_both, check_masks
from tinyunet.data_checks.repair import ColorTable, read_raw_mask, unpack_all, write_masks
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
    """

    survey: Survey
    classes: Classes | None
    findings: list[Finding]

    def text(self, width: int = 96) -> str:
        """Write it out, in lines of at most so many characters (tables and names may be longer)."""
        lines = [*self._overview(), "", *self._class_table(), ""]
        found = Counter(finding.severity for finding in self.findings)
        lines.append(", ".join(plural(found[severity], severity) for severity in SEVERITIES))
        for severity, title, meaning, advice in self.findings:
            lines += ["", *_wrapped(f"{severity.upper()}: {title}", "", width)]
            lines += _wrapped(f"What it means: {meaning}", "  ", width)
            lines += _wrapped(f"What to do: {advice}", "  ", width)
        return "\n".join(lines) + "\n"

    def _overview(self) -> list[str]:
        """Say how many pairs there are, of which sizes and kinds."""
        looks = [look for look in self.survey.looks if look.image_shape]
        sizes = Counter(size(look.image_shape) for look in looks).most_common()
        shown = [f"{shape} ({count})" for shape, count in sizes[:4]]
        shown += [f"{len(sizes) - 4} more"] if len(sizes) > 4 else []
        kinds = Counter((look.image_shape[2], look.image_type) for look in looks).most_common()
        return [
            f"{plural(len(self.survey.looks), 'pair')} of images in {self.survey.images_dir} and "
            f"masks in {self.survey.masks_dir}",
            f"height x width: {', '.join(shown) or 'no image could be read'}",
            *(f"{plural(kind[0], 'channel')} of {kind[1]} ({count})" for kind, count in kinds),
        ]

    def _class_table(self) -> list[str]:
        """Show how much there is of each class."""
        if self.classes is None:
            return ["It cannot be told yet which classes there are; see below."]
        pixels = self.classes.counts.sum(axis=0)
        masks = (self.classes.counts > 0).sum(axis=0)
        counted = self.classes.pixels
        weights = suggest_class_weights(counted)
        rows = [("class", "pixels", "share", "in masks", "weight")]
        for index in range(len(pixels)):
            share = f"{100 * counted[index] / max(counted.sum(), 1):.2f} %"
            weight = f"{weights[index]:.3f}"
            if index == self.classes.ignore_index:
                share, weight = "ignored", "0"
            name = self.classes.name(index)
            rows.append((name, f"{pixels[index]:,}", share, str(masks[index]), weight))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [
            *(
                "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
                for row in rows
            ),
            "The weight is 1 / sqrt(share), scaled so that the mean weight of a pixel is 1.",
            "It is what tinyunet train --class-weights auto uses.",
        ]


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def examine(
    images_dir: str | Path,
    masks_dir: str | Path,
    *,
    val_images_dir: str | Path | None = None,
    val_masks_dir: str | Path | None = None,
    colors: ColorTable | None = None,
    ignore_index: int | None = None,
    depth: int = 4,
    progress: bool = False,
) -> Report:
    """Examine the images and masks for training, and those for validation if there are any.

    Parameters
    ----------
    images_dir, masks_dir : path
        Folders of files that pair by stem.
    val_images_dir, val_masks_dir : path, optional
        The same for validation; both or none.
    colors : ColorTable, optional
        Which color means which class, from `read_colors`.
    ignore_index : int, optional
        The mask value of pixels that do not count.
    depth : int
        How often the network will halve the image.
    progress : bool
        Show progress bars.

    Raises
    ------
    UserError
        If a folder is missing or there is no pair. Whatever is wrong with a single file, or with
        the set, is a finding and no error.
    """
    if (val_images_dir is None) != (val_masks_dir is None):
        raise UserError("validation needs two folders, of images and of masks: give both or none")
    if not 1 <= depth <= 16:
        raise UserError(f"a network of depth {depth} cannot be built: choose 1 to 16")
    seen = survey(images_dir, masks_dir, progress)
    classes, findings = check_masks(seen, colors, ignore_index)
    findings += check_files(seen, depth)
    if val_images_dir is None:
        findings += [*check_copies(seen), *check_tiles(seen)]
    else:
        val_seen = survey(val_images_dir, val_masks_dir, progress)
        val_classes, val_findings = check_masks(val_seen, colors, ignore_index)
        val_findings += check_files(val_seen, depth)
        findings += [
            finding._replace(title=f"In the validation set: {finding.title}")
            for finding in val_findings
        ]
        findings += check_leaks(seen, val_seen)
        if classes is not None and val_classes is not None:
            findings += check_both(classes, val_classes)
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Report(seen, classes, findings)


def save_report(report: Report, out_dir: str | Path) -> None:
    """Leave ``report.txt`` and ``contact_sheet.png`` in a folder; older ones are replaced.

    Raises
    ------
    UserError
        If they cannot be written there. Without any pair to show there is no contact sheet.
    """
    out_dir = make_folder(out_dir)
    save_text(report.text(), out_dir / "report.txt")
    if any(look.agreement is not None for look in report.survey.looks):
        save_picture(draw_contact_sheet(report), out_dir / "contact_sheet.png")


def repair_masks(report: Report, out_dir: str | Path, progress: bool = False) -> int:
    """Write the masks for training as PNG files of class numbers; returns how many.

    Parameters
    ----------
    report : Report
        From `examine`.
    out_dir : path
        A folder that does not exist yet, or is empty. It appears when all masks are written.
    progress : bool
        Show a progress bar.

    Raises
    ------
    UserError
        If the masks need no repair, it cannot be told what they mean, or writing fails.
    """
    if report.classes is None:
        reasons = [finding.title for finding in report.findings if finding.severity == "problem"]
        reason = reasons[0] if reasons else "none could be read"
        raise UserError(f"no masks are written, as their meaning is not clear: {reason}")
    if not report.classes.repair.is_needed:
        raise UserError("no masks are written: they hold class numbers already")
    pairs = [look.pair for look in report.survey.looks if look.has_mask]
    write_masks(pairs, report.classes.repair, out_dir, progress)
    return len(pairs)


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
    looks = [look for look in report.survey.looks if look.agreement is not None]
    if not looks:
        raise UserError("there is no image with a mask of the same size, so nothing to show")
    first = [look for look in looks if best_shift(look.agreement).is_clear][:most]
    others = [look for look in looks if look not in first]
    spread = np.linspace(0, len(others) - 1, min(len(others), most - len(first)))
    chosen = first + [others[round(index)] for index in spread]
    panels = [_panel(look, report.classes) for look in chosen]
    if report.classes is None:
        return contact_sheet(panels, [])
    names = report.classes.repair.names or map(str, range(report.classes.counts.shape[1]))
    return contact_sheet(panels, list(names), ignore_index=report.classes.ignore_index)


def _panel(look: PairSummary, classes: Classes | None) -> tuple[str, np.ndarray, np.ndarray]:
    """Read an image and its mask; the mask as classes, or as a picture while they are not known."""
    image, raw = read_image(look.pair.image_path), read_raw_mask(look.pair.mask_path)
    if classes is not None:
        return look.pair.stem, image, classes.repair.apply(raw)
    if raw.colors is not None:
        return look.pair.stem, image, unpack_all(raw.colors)
    return look.pair.stem, image, as_rgb(raw.numbers.astype(np.float32))
