"""Checks of the files: readable, paired, of a kind, aligned, and not there twice."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from tinyunet.data.tiles import NAME
from tinyunet.data_checks.alignment import REACH, best_shift
from tinyunet.data_checks.findings import Finding, listed, plural, size
from tinyunet.data_checks.survey import PairSummary, Survey

CROP = 128  # of ``tinyunet train``, unless it is told otherwise
LIKENESS = 0.985  # of thumbnails: different photographs stay below 0.8, JPEG copies lie above 0.98


def check_files(seen: Survey, depth: int) -> Iterator[Finding]:
    """Make all checks that concern one set of files."""
    yield from check_readable(seen)
    yield from check_partners(seen)
    yield from check_mask_sizes(seen)
    yield from check_channels(seen)
    yield from check_number_types(seen)
    yield from check_constant(seen)
    yield from check_sizes(seen, depth)
    yield from check_alignment(seen)


def check_readable(seen: Survey) -> Iterator[Finding]:
    """Check that every file can be read."""
    problems = [problem for look in seen.looks for problem in look.problems]
    if problems:
        yield Finding(
            "problem",
            f"{plural(len(problems), 'file')} cannot be read",
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


def check_mask_sizes(seen: Survey) -> Iterator[Finding]:
    """Check that every mask has the size of its image."""
    wrong = [
        f"{look.pair.stem} (image {size(look.image_shape)}, mask {size(look.mask_shape)})"
        for look in seen.looks
        if look.image_shape and look.mask_shape and look.image_shape[:2] != look.mask_shape
    ]
    if wrong:
        yield Finding(
            "problem",
            f"{plural(len(wrong), 'mask')} of another size than the image",
            "it is not clear which pixel belongs to which, so training stops.",
            "export the mask for exactly this image; or, if it shows the same, resize it with "
            f"'nearest neighbor', as anything else invents classes: {listed(wrong)}.",
        )


def check_channels(seen: Survey) -> Iterator[Finding]:
    """Check that all images have the same number of channels."""
    stems = defaultdict(list)
    for look in seen.looks:
        if look.image_shape:
            stems[look.image_shape[2]].append(look.pair.stem)
    if len(stems) > 1:
        shown = "; ".join(
            f"{plural(channels, 'channel')}: {listed(group, 3)}"
            for channels, group in sorted(stems.items(), key=lambda item: -len(item[1]))
        )
        yield Finding(
            "problem",
            "The images differ in their number of channels",
            "the first convolution has weights for one number of channels, so training stops.",
            f"save all the same way, as gray or as RGB without transparency ({shown}).",
        )


def check_number_types(seen: Survey) -> Iterator[Finding]:
    """Check that all images have the same depth: 8 bits, 16 bits or floating point."""
    types = Counter(look.image_type for look in seen.looks if look.image_type)
    if len(types) > 1:
        shown = ", ".join(f"{count} {kind}" for kind, count in types.most_common())
        yield Finding(
            "warning",
            f"The images differ in their number type ({shown})",
            "8 bits end at 255 and 16 bits at 65535, but all images are standardized with the same "
            "mean and deviation: to the network some will look black.",
            "export all of them with the same depth.",
        )


def check_constant(seen: Survey) -> Iterator[Finding]:
    """Check that there is something to see on every image."""
    constant = [look.pair.image_path.name for look in seen.looks if look.is_constant]
    if constant:
        yield Finding(
            "warning",
            f"{plural(len(constant), 'image')} of a single color",
            "there is nothing to see; with a mask of several classes it teaches to guess.",
            f"look at them, and remove those that are broken: {listed(constant)}.",
        )


def check_sizes(seen: Survey, depth: int) -> Iterator[Finding]:
    """Check that the images are large enough for a crop, and multiples of what pools evenly."""
    looks, step = [look for look in seen.looks if look.image_shape], 2**depth
    small = [look for look in looks if min(look.image_shape[:2]) < CROP]
    if small:
        fits = min(min(look.image_shape[:2]) for look in small) // step * step
        advice = (
            f"train with --crop-size {fits}"
            if fits
            else "train with a smaller --depth and --crop-size"
        )
        yield Finding(
            "warning",
            f"{plural(len(small), 'image')} smaller than {CROP} x {CROP}",
            f"unless told otherwise, training cuts crops of {CROP} x {CROP}, and stops if an image "
            "is smaller.",
            f"{advice}, or leave out the small ones: {listed(look.pair.stem for look in small)}.",
        )
    odd = [look for look in looks if any(side % step for side in look.image_shape[:2])]
    if odd:
        yield Finding(
            "note",
            f"{plural(len(odd), 'image')} with sides that are no multiples of {step}",
            f"a U-Net of depth {depth} halves an image {depth} times and wants such multiples. "
            "Training cuts crops that fit; prediction mirrors the border until it fits, and cuts "
            "the result back.",
            "nothing.",
        )


def check_alignment(seen: Survey) -> Iterator[Finding]:
    """Check that the masks lie on their images."""
    looks = [look for look in seen.looks if look.agreement is not None]
    shifts = [(look.pair.stem, best_shift(look.agreement)) for look in looks]
    shifted = [f"{stem} (move it {shift})" for stem, shift in shifts if shift.is_clear]
    together = best_shift(np.mean([look.agreement for look in looks], axis=0)) if looks else None
    if len(looks) > 1 and together.is_clear:
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
    for severity, copies, how in copied(seen.looks, seen.looks):
        yield Finding(
            "note" if severity == "warning" else "warning",
            f"{plural(len(copies), 'image')} there more than once",
            f"they are {how}. A random split may train on one and validate on the other, and then "
            "the score is too good.",
            f"remove the copies: {listed(copies)}.",
        )


def check_leaks(seen: Survey, val_seen: Survey) -> Iterator[Finding]:
    """Check that no image is both in training and in validation."""
    for severity, copies, how in copied(seen.looks, val_seen.looks):
        yield Finding(
            severity,
            f"{plural(len(copies), 'image')} both in training and in validation",
            f"they are {how}. The network has seen the answer, so the score says nothing about new "
            "images.",
            f"remove them on one side: {listed(copies)}.",
        )


def copied(
    looks: Sequence[PairSummary], others: Sequence[PairSummary]
) -> Iterator[tuple[str, list[str], str]]:
    """Find images of one set in another, or in the same; gives severity, pairs, and how alike."""
    same = same_images(looks, others)
    alike = alike_images(looks, others)
    for severity, found, how in (
        ("problem", same, "the same, pixel by pixel"),
        ("warning", alike, "very much alike, as if saved again with loss"),
    ):
        if found:
            yield severity, [a if a == b else f"{a} as {b}" for a, b in found], how


def same_images(
    looks: Sequence[PairSummary], others: Sequence[PairSummary]
) -> list[tuple[str, str]]:
    """List stems of images with the same pixels; within one set, each pair once."""
    stems = defaultdict(list)
    for look in looks:
        if look.digest:
            stems[look.digest].append(look.pair.stem)
    if looks is others:
        return [(first, stem) for first, *more in stems.values() for stem in more]
    return [(stems[look.digest][0], look.pair.stem) for look in others if look.digest in stems]


def alike_images(
    looks: Sequence[PairSummary], others: Sequence[PairSummary]
) -> list[tuple[str, str]]:
    """List stems of images of the same size that look alike, but are not the same."""
    sizes = {look.image_shape[:2] for look in looks if look.digest}
    found = []
    for shape in sorted(sizes):
        rows = [look for look in looks if look.image_shape[:2] == shape]
        columns = [look for look in others if look.image_shape[:2] == shape]
        if not columns:
            continue
        # Thumbnails have length 1, so their products are correlation coefficients.
        likeness = _thumbnails(rows) @ _thumbnails(columns).T
        for row, column in np.argwhere(likeness > LIKENESS):
            first, second = rows[row], columns[column]
            if first.digest != second.digest and (looks is not others or row < column):
                found.append((first.pair.stem, second.pair.stem))
    return found


def _thumbnails(looks: Sequence[PairSummary]) -> np.ndarray:
    return np.stack([look.thumbnail for look in looks])


def check_tiles(seen: Survey) -> Iterator[Finding]:
    """Check that these are not tiles of a scene, whose neighbors a random split would mix."""
    stems = [look.pair.stem for look in seen.looks]
    if len(stems) > 1 and all(NAME.fullmatch(stem) for stem in stems):
        yield Finding(
            "warning",
            "The images are tiles of a scene",
            "neighbors resemble each other. A random split trains on the neighbors of what it "
            "validates on, and then the score is too good.",
            "train with --val-split spatial, or validate on another scene.",
        )
