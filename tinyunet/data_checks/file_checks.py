"""Checks of the files: readable, paired, of a kind, aligned, and not there twice."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from tinyunet.data.splits import NAME
from tinyunet.data_checks.alignment import best_shift
from tinyunet.data_checks.findings import Finding, listed, plural
from tinyunet.data_checks.survey import Survey


def check_files(seen: Survey, depth: int, crop_size: int) -> Iterator[Finding]:
    """Make all checks that concern one set of files."""
    yield from check_pairs(seen)
    yield from check_images(seen)
    yield from check_sizes(seen, depth, crop_size)
    yield from check_alignment(seen)


def check_pairs(seen: Survey) -> Iterator[Finding]:
    """Check that every file can be read, and has a partner that fits."""
    problems = [problem for summary in seen.summaries for problem in summary.problems]
    if problems:
        title = f"{plural(len(problems), 'file')} cannot be used"
        yield Finding("problem", title, f"Fix or remove: {listed(problems, separator='; ')}.")
    for lone, kind, other in (
        (seen.lone_images, "image", "a mask"),
        (seen.lone_masks, "mask", "an image"),
    ):
        if lone:
            names = listed(path.name for path in lone)
            title = f"{plural(len(lone), kind)} without {other}"
            yield Finding("warning", title, f"Not used. Files pair by their names: {names}.")


def check_images(seen: Survey) -> Iterator[Finding]:
    """Check that the numbers of all images mean the same, and that there is something to see."""
    kinds = defaultdict(list)
    for summary in seen.summaries:
        if summary.image_format:
            kinds[summary.image_format].append(summary.pair.stem)
    if len(kinds) > 1:
        shown = "; ".join(f"{kind}: {listed(stems, 3)}" for kind, stems in kinds.items())
        text = f"The same number means something else in each; save all the same way ({shown})."
        yield Finding("problem", "The images are of different kinds", text)
    missing = [summary.missing for summary in seen.summaries if summary.missing > 0]
    if missing:
        yield Finding(
            "note",
            f"{plural(len(missing), 'image')} with missing data ({100 * np.mean(missing):.1f} %)",
            "Marked as nodata, by a mask, as transparent or NaN. Such pixels enter no mean and no "
            "score, have no label, and are nodata in a map.",
        )
    constant = [summary.pair.image_path.name for summary in seen.summaries if summary.is_constant]
    if constant:
        title = f"{plural(len(constant), 'image')} of a single color"
        yield Finding("warning", title, f"There is nothing to see. Look at {listed(constant)}.")


def check_sizes(seen: Survey, depth: int, crop_size: int) -> Iterator[Finding]:
    """Check that the images are large enough for a crop, mirrored at their borders if need be."""
    sides = {each.pair.stem: min(each.image_shape[:2]) for each in seen.summaries if each.digest}
    small = [stem for stem, side in sides.items() if side < crop_size <= 2 * side]
    tiny = [stem for stem, side in sides.items() if 2 * side < crop_size]
    if tiny:
        fits = 2 * min(sides.values()) // 2**depth * 2**depth
        advice = f"--crop-size {fits}" if fits else "a smaller --depth"
        title = f"{plural(len(tiny), 'image')} smaller than half a crop of {crop_size}"
        yield Finding("problem", title, f"Train with {advice}, or leave out {listed(tiny)}.")
    if small:
        title = f"{plural(len(small), 'image')} smaller than a crop of {crop_size}"
        yield Finding("note", title, f"Mirrored until they fill it: {listed(small)}.")


def check_alignment(seen: Survey) -> Iterator[Finding]:
    """Check that the masks lie on their images."""
    found = [
        (each.pair.stem, each.agreement) for each in seen.summaries if each.agreement is not None
    ]
    if not found:
        return
    together = best_shift(np.mean([agreement for _, agreement in found], axis=0))
    shifts = [(stem, best_shift(agreement)) for stem, agreement in found]
    shifted = [f"{stem} (move it {shift})" for stem, shift in shifts if shift.is_clear]
    if len(found) > 1 and together.is_clear:
        yield Finding(
            "warning",
            "The masks as a whole look shifted against their images",
            f"The edges of both agree best when the masks move by {together} (in pixels). Look at "
            "the contact sheet, and check the export: extent, resolution, map projection.",
        )
    elif shifted:
        yield Finding(
            "warning",
            f"{plural(len(shifted), 'mask')} that may be shifted against the image",
            f"Such masks teach wrong borders. On the contact sheet they come first: "
            f"{listed(shifted, 8)}.",
        )


# --- Copies and neighbors ----------------------------------------------------------------------


def check_copies(seen: Survey, val_seen: Survey | None = None) -> Iterator[Finding]:
    """Check that no image is there twice, or both in training and in validation."""
    stems = defaultdict(list)
    for summary in seen.summaries:
        if summary.digest:
            stems[summary.digest].append(summary.pair.stem)
    if val_seen is None:
        copies = [f"{copy} as {first}" for first, *more in stems.values() for copy in more]
        severity, where = "warning", "there more than once"
    else:
        copies = [
            f"{stems[summary.digest][0]} as {summary.pair.stem}"
            for summary in val_seen.summaries
            if summary.digest in stems
        ]
        severity, where = "problem", "both in training and in validation"
    if copies:
        yield Finding(
            severity,
            f"{plural(len(copies), 'image')} {where}",
            "The same, pixel by pixel. Where one is learned and the other judges, the score is too "
            f"good. Remove {listed(copies)}.",
        )


def check_tiles(seen: Survey) -> Iterator[Finding]:
    """Check that these are not tiles of a scene, whose neighbors a random split would mix."""
    stems = [summary.pair.stem for summary in seen.summaries]
    if len(stems) > 1 and all(NAME.fullmatch(stem) for stem in stems):
        yield Finding(
            "warning",
            "The images are tiles of a scene",
            "A random split trains on the neighbors of what it validates on, and the score is too "
            "good: train with --val-split spatial, or validate on another scene.",
        )
