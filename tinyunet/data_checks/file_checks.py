"""Checks of the files: readable, paired, of a kind, aligned, and not there twice."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from tinyunet.data.splits import NAME
from tinyunet.data_checks.alignment import REACH, best_shift
from tinyunet.data_checks.findings import Finding, listed, plural
from tinyunet.data_checks.survey import PairSummary, Survey

LIKENESS = 0.985  # of thumbnails: different photographs stay below 0.8, JPEG copies lie above 0.98


def check_files(seen: Survey, depth: int, crop_size: int) -> Iterator[Finding]:
    """Make all checks that concern one set of files."""
    yield from check_readable(seen)
    yield from check_partners(seen)
    yield from check_formats(seen)
    yield from check_missing(seen)
    yield from check_constant(seen)
    yield from check_sizes(seen, depth, crop_size)
    yield from check_alignment(seen)


def check_readable(seen: Survey) -> Iterator[Finding]:
    """Check that every file can be read."""
    problems = [problem for summary in seen.summaries for problem in summary.problems]
    if problems:
        yield Finding(
            "problem",
            f"{plural(len(problems), 'file')} cannot be used",
            "training stops at the first one.",
            f"mend or remove: {listed(problems, separator='; ')}.",
        )


def check_partners(seen: Survey) -> Iterator[Finding]:
    """Check that every image has a mask, and every mask an image."""
    for lone, kind, other in (
        (seen.lone_images, "image", "a mask"),
        (seen.lone_masks, "mask", "an image"),
    ):
        if lone:
            yield Finding(
                "warning",
                f"{plural(len(lone), kind)} without {other}",
                f"files pair by their name before the ending, and a lone {kind} is not used.",
                f"rename, add or remove: {listed(path.name for path in lone)}.",
            )


def check_formats(seen: Survey) -> Iterator[Finding]:
    """Check that the numbers of all images mean the same."""
    stems = defaultdict(list)
    for summary in seen.summaries:
        if summary.image_format:
            stems[summary.image_format].append(summary.pair.stem)
    if len(stems) > 1:
        groups = sorted(stems.items(), key=lambda item: -len(item[1]))
        shown = "; ".join(f"{kind}: {listed(group, 3)}" for kind, group in groups)
        yield Finding(
            "problem",
            "The images are of different kinds",
            "8 bits end at 255 and 16 bits at 65535, a gray image has one channel and a color "
            "image three: the same number means something else, so training stops.",
            f"save all the same way ({shown}).",
        )


def check_missing(seen: Survey) -> Iterator[Finding]:
    """Say how much of the images is no data."""
    missing = [each for each in seen.summaries if each.missing > 0]
    if missing:
        share = 100 * np.mean([each.missing for each in missing])
        yield Finding(
            "note",
            f"{plural(len(missing), 'image')} with missing data ({share:.1f} % of their pixels)",
            "marked as nodata, by a mask in the file, as transparent or as NaN. Such pixels enter "
            "no mean and no score, have no label, and are nodata in a map.",
            "nothing.",
        )


def check_constant(seen: Survey) -> Iterator[Finding]:
    """Check that there is something to see on every image."""
    constant = [summary.pair.image_path.name for summary in seen.summaries if summary.is_constant]
    if constant:
        yield Finding(
            "warning",
            f"{plural(len(constant), 'image')} of a single color",
            "there is nothing to see; with a mask of several classes it teaches to guess.",
            f"look at them, and remove those that are broken: {listed(constant)}.",
        )


def check_sizes(seen: Survey, depth: int, crop_size: int) -> Iterator[Finding]:
    """Check that the images are large enough for a crop."""
    sides = {
        each.pair.stem: min(each.image_shape[:2]) for each in seen.summaries if each.image_shape
    }
    tiny = [stem for stem, side in sides.items() if 2 * side < crop_size]
    small = [stem for stem, side in sides.items() if side < crop_size <= 2 * side]
    step = 2**depth
    if tiny:
        fits = 2 * min(sides.values()) // step * step
        advice = f"train with --crop-size {fits}" if fits else "train with a smaller --depth"
        yield Finding(
            "problem",
            f"{plural(len(tiny), 'image')} smaller than half a crop of {crop_size} x {crop_size}",
            "training cuts crops of that size, and stops there.",
            f"{advice}, or leave out the small ones: {listed(tiny)}.",
        )
    if small:
        yield Finding(
            "note",
            f"{plural(len(small), 'image')} smaller than a crop of {crop_size} x {crop_size}",
            "they are mirrored at their borders until they fill it.",
            f"nothing, or a smaller --crop-size: {listed(small)}.",
        )


def check_alignment(seen: Survey) -> Iterator[Finding]:
    """Check that the masks lie on their images."""
    summaries = [summary for summary in seen.summaries if summary.agreement is not None]
    shifts = [(summary.pair.stem, best_shift(summary.agreement)) for summary in summaries]
    shifted = [f"{stem} (move it {shift})" for stem, shift in shifts if shift.is_clear]
    together = (
        best_shift(np.mean([summary.agreement for summary in summaries], axis=0))
        if summaries
        else None
    )
    if len(summaries) > 1 and together.is_clear:
        yield Finding(
            "warning",
            "The masks as a whole look shifted against their images",
            f"the edges of both agree best when the masks move by {together} (in pixels). A "
            "network learns to answer beside the point from them, and scores punish what is right.",
            "look at the contact sheet; check the export (extent, resolution, map projection, "
            "corner or center of pixels), and export the masks again.",
        )
    elif shifted:
        yield Finding(
            "warning",
            f"{plural(len(shifted), 'mask')} that may be shifted against the image",
            f"the edges of both agree clearly better some pixels away (up to {REACH} are tried). "
            "Such masks teach wrong borders.",
            f"look at the contact sheet, where they come first: {listed(shifted, 8)}.",
        )


# --- Copies ------------------------------------------------------------------------------------


def check_copies(seen: Survey) -> Iterator[Finding]:
    """Check that no image is there twice: a random split may put it on both sides."""
    for severity, copies, how in copied(seen.summaries, seen.summaries):
        yield Finding(
            "note" if severity == "warning" else "warning",
            f"{plural(len(copies), 'image')} there more than once",
            f"they are {how}. A random split may train on one and validate on the other, and then "
            "the score is too good.",
            f"remove the copies: {listed(copies)}.",
        )


def check_leaks(seen: Survey, val_seen: Survey) -> Iterator[Finding]:
    """Check that no image is both in training and in validation."""
    for severity, copies, how in copied(seen.summaries, val_seen.summaries):
        yield Finding(
            severity,
            f"{plural(len(copies), 'image')} both in training and in validation",
            f"they are {how}. The network has seen the answer, so the score says nothing about new "
            "images.",
            f"remove them on one side: {listed(copies)}.",
        )


def copied(
    summaries: Sequence[PairSummary], others: Sequence[PairSummary]
) -> Iterator[tuple[str, list[str], str]]:
    """Find images of one set in another, or in the same; gives severity, pairs, and how alike."""
    same = same_images(summaries, others)
    alike = alike_images(summaries, others)
    for severity, found, how in (
        ("problem", same, "the same, pixel by pixel"),
        ("warning", alike, "very much alike, as if saved again with loss"),
    ):
        if found:
            yield severity, [a if a == b else f"{a} as {b}" for a, b in found], how


def same_images(
    summaries: Sequence[PairSummary], others: Sequence[PairSummary]
) -> list[tuple[str, str]]:
    """List stems of images with the same pixels; within one set, each pair once."""
    stems = defaultdict(list)
    for summary in summaries:
        if summary.digest:
            stems[summary.digest].append(summary.pair.stem)
    if summaries is others:
        return [(first, stem) for first, *more in stems.values() for stem in more]
    return [
        (stems[summary.digest][0], summary.pair.stem)
        for summary in others
        if summary.digest in stems
    ]


def alike_images(
    summaries: Sequence[PairSummary], others: Sequence[PairSummary]
) -> list[tuple[str, str]]:
    """List stems of images of the same size that look alike, but are not the same."""
    sizes = {summary.image_shape[:2] for summary in summaries if summary.digest}
    found = []
    for shape in sorted(sizes):
        rows = [summary for summary in summaries if summary.image_shape[:2] == shape]
        columns = [summary for summary in others if summary.image_shape[:2] == shape]
        if not columns:
            continue
        # Thumbnails have length 1, so their products are correlation coefficients.
        likeness = _thumbnails(rows) @ _thumbnails(columns).T
        for row, column in np.argwhere(likeness > LIKENESS):
            first, second = rows[row], columns[column]
            if first.digest != second.digest and (summaries is not others or row < column):
                found.append((first.pair.stem, second.pair.stem))
    return found


def _thumbnails(summaries: Sequence[PairSummary]) -> np.ndarray:
    return np.stack([summary.thumbnail for summary in summaries])


def check_tiles(seen: Survey) -> Iterator[Finding]:
    """Check that these are not tiles of a scene, whose neighbors a random split would mix."""
    stems = [summary.pair.stem for summary in seen.summaries]
    if len(stems) > 1 and all(NAME.fullmatch(stem) for stem in stems):
        yield Finding(
            "warning",
            "The images are tiles of a scene",
            "neighbors resemble each other. A random split trains on the neighbors of what it "
            "validates on, and then the score is too good.",
            "train with --val-split spatial, or validate on another scene.",
        )
