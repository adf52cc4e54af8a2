"""Checks of the masks: that they hold classes, and enough of each."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinyunet.data_checks.findings import Finding, listed, plural
from tinyunet.data_checks.repair import GRAY, ColorTable, Repair, Unclear, plan_repair
from tinyunet.data_checks.survey import PairSummary, Survey

LARGE = 0.8  # share of the pixels from which on a class dominates
RARE = 0.005  # share below which a class is rare


@dataclass
class Classes:
    """What the masks of a set mean.

    Attributes
    ----------
    stems : list of str
        Of the masks that could be read.
    counts : array (masks, K), int64
        Pixels of each class in each mask. An ignored value that is a class is counted too.
    repair : Repair
        What each value in the masks stands for.
    ignore_index : int or None
    """

    stems: list[str]
    counts: np.ndarray
    repair: Repair
    ignore_index: int | None

    @property
    def pixels(self) -> np.ndarray:
        """Pixels of each class that count, (K,)."""
        pixels = self.counts.sum(axis=0)
        if self.ignore_index is not None and 0 <= self.ignore_index < len(pixels):
            pixels[self.ignore_index] = 0
        return pixels

    def name(self, index: int) -> str:
        """Call a class by its number, and by its name where it has one."""
        names = self.repair.names
        return f"{index} ({names[index]})" if index < len(names) else str(index)


def check_masks(
    seen: Survey, table: ColorTable | None, ignore_index: int | None
) -> tuple[Classes | None, list[Finding]]:
    """Work out the classes, and make all checks that concern one set of masks.

    Returns
    -------
    classes : Classes or None
        None if it cannot be told what the masks mean.
    findings : list of Finding
    """
    looks = [look for look in seen.looks if look.has_mask]
    by_color = speak_in_colors(looks, table)
    findings = [*check_mixture(looks)] if by_color else [*check_palettes(looks)]
    if findings or not looks:
        return None, findings
    values = [values_of(look, by_color) for look in looks]
    try:
        repair = plan_repair(values, by_color=by_color, table=table, ignore_index=ignore_index)
    except Unclear as error:
        return None, [Finding("problem", error.title, error.meaning, error.advice)]
    if by_color and all(palette_says(look, repair) for look in looks):
        repair = replace(repair, kind="classes")
    found = [repair.count(mask) for mask in values]
    largest = max([index for index in repair.lookup.values() if index != ignore_index], default=0)
    number = max(largest + 1, len(repair.names))
    counts = np.array([[mask[index] for index in range(number)] for mask in found], dtype=np.int64)
    classes = Classes([look.pair.stem for look in looks], counts, repair, ignore_index)
    findings += [*check_form(repair, looks), *check_balance(classes), *check_empty(classes)]
    return classes, findings


# --- What the values are -----------------------------------------------------------------------


def speak_in_colors(looks: Sequence[PairSummary], table: ColorTable | None) -> bool:
    """Tell whether colors carry the meaning: where there is no number, or a table is given."""
    only_colors = any(
        look.numbers is None and any(unpacked % GRAY for unpacked in look.colors) for look in looks
    )
    return only_colors or (table is not None and any(look.colors for look in looks))


def values_of(look: PairSummary, by_color: bool) -> Counter:
    """Give the counts of a mask's values, as `mask_values` in `repair` gives the values."""
    if by_color:
        if look.colors is not None:
            return look.colors
        return Counter({value * GRAY: count for value, count in look.numbers.items()})
    if look.numbers is not None:
        return look.numbers
    return Counter({color & 255: count for color, count in look.colors.items()})


def palette_says(look: PairSummary, repair: Repair) -> bool:
    """Tell whether a mask has a palette, and its numbers are the classes of its colors."""
    return look.palette != {} and all(
        repair.lookup[color] == number for number, color in look.palette.items()
    )


def check_mixture(looks: Sequence[PairSummary]) -> Iterator[Finding]:
    """Check that no masks are gray (with more than black and white) while others are in color."""
    gray = [
        look.pair.stem for look in looks if look.colors is None and set(look.numbers) - {0, 255}
    ]
    if gray:
        yield Finding(
            "problem",
            "Some masks are in color, others in gray",
            "a class has two different values, and nobody can tell which belong together.",
            f"save all masks the same way; gray are {listed(gray)}.",
        )


def check_palettes(looks: Sequence[PairSummary]) -> Iterator[Finding]:
    """Check that each number has the same color in every mask that has a palette."""
    colors_of, numbers_of = defaultdict(set), defaultdict(set)
    for look in looks:
        for number, color in look.palette.items():
            colors_of[number].add(color)
            numbers_of[color].add(number)
    for number, colors in sorted(colors_of.items()):
        if len(colors) > 1 and any(len(numbers_of[color]) > 1 for color in colors):
            shown = [f"#{color:06x}" for color in sorted(colors)]
            yield Finding(
                "problem",
                "The palettes differ from mask to mask",
                f"the number in the file is the class, and {number} is {shown[0]} in one mask and "
                f"{shown[1]} in another: a program numbered the colors anew in every file.",
                "write a table of colors, a line for each class such as 'building: #3c1098', and "
                "run this again with --colors FILE --write DIR.",
            )
            return


def check_form(repair: Repair, looks: Sequence[PairSummary]) -> Iterator[Finding]:
    """Check that the masks hold class numbers, not something that stands for them."""
    write = "run this again with --write DIR, and train with the masks that it writes there"
    values = sorted(set(repair.lookup.values()) if repair.kind == "classes" else repair.lookup)
    shown = listed(map(str, values), 6)
    if repair.kind == "black and white":
        between = set(values) - {0, 255}
        smoothed = (
            " The values between come from smoothing or compression; from 128 on they are white."
        )
        yield Finding(
            "problem",
            f"The masks are drawn for the eye, in black and white ({shown})",
            "255 would be class 255 of 256, nearly all of them without a pixel."
            + (smoothed if between else ""),
            f"{write}: black becomes class 0, white class 1.",
        )
    elif repair.kind == "objects":
        yield Finding(
            "problem",
            f"The masks number objects (0 to {values[-1]}), not classes",
            "every number would be a class of its own.",
            f"{write}: 0 stays 0, and every object becomes class 1. Keep the numbers, too: border "
            "weights (--weight-map) can be made from them.",
        )
    elif repair.kind == "gaps":
        mapping = ", ".join(f"{value} becomes {index}" for value, index in repair.lookup.items())
        yield Finding(
            "problem",
            f"The mask values have large gaps ({shown})",
            f"the largest makes {values[-1] + 1} classes, most of them without a pixel.",
            f"{write}: {mapping}.",
        )
    elif repair.kind == "colors":
        yield Finding(
            "problem",
            "The masks hold colors, all of which the table explains",
            "training reads numbers, not colors.",
            f"{write}.",
        )
    elif max(values) <= 20 and not any(look.palette for look in looks):
        yield Finding(
            "note",
            f"The masks hold class numbers ({shown}), as they should",
            "in an image viewer such small numbers look black. That is right.",
            "look at the contact sheet instead (--out DIR), where classes are in color.",
        )


# --- How much of each class --------------------------------------------------------------------


def check_balance(classes: Classes) -> Iterator[Finding]:
    """Check that there is enough of every class."""
    pixels = classes.pixels
    share = pixels / max(pixels.sum(), 1)
    if np.count_nonzero(share) < 2:
        yield Finding(
            "problem",
            "All masks together hold a single class",
            "there is nothing to tell apart, so training stops.",
            "check that these are the right masks, and were not exported all black.",
        )
        return
    if share.max() > LARGE:
        yield Finding(
            "warning",
            f"{100 * share.max():.1f} % of the pixels are class {classes.name(share.argmax())}",
            "a network that answers this class everywhere is right that often, and has learned "
            "nothing: accuracy hides it, and an IoU of 0 for the other classes shows it.",
            "judge by the IoU of each class; if training stays with one class, go on for longer or "
            "use --class-weights auto.",
        )
    rare = [classes.name(index) for index in np.flatnonzero((share > 0) & (share < RARE))]
    if rare:
        yield Finding(
            "warning",
            f"Rare: class {listed(rare)}",
            f"with less than {100 * RARE:g} % of the pixels it hardly moves the loss, and few "
            "crops show it.",
            "use --class-weights auto, add images that show it, or merge it with another class.",
        )
    absent = [index for index in np.flatnonzero(share == 0) if index != classes.ignore_index]
    if absent:
        yield Finding(
            "note",
            f"Without a pixel: class {listed(classes.name(index) for index in absent)}",
            "the network gets an output for it that it never learns to use.",
            "nothing, if it is to be found elsewhere; else number the classes without gaps.",
        )


def check_empty(classes: Classes) -> Iterator[Finding]:
    """Check that no mask is of a single class, while others have more."""
    single = np.flatnonzero((classes.counts > 0).sum(axis=1) == 1)
    if len(single) == len(classes.stems):
        return  # then the balance has been called a problem, or ever another class fills a mask
    for index in np.unique(classes.counts[single].argmax(axis=1)):
        stems = [classes.stems[mask] for mask in single if classes.counts[mask, index]]
        yield Finding(
            "note",
            f"{plural(len(stems), 'mask')} with nothing but class {classes.name(index)}",
            "where that is true it is worth keeping: it teaches where nothing is, and prevents "
            "false alarms. A mask that was forgotten or exported black teaches to overlook things.",
            f"look at them: {listed(stems)}.",
        )


def check_both(classes: Classes, val_classes: Classes) -> Iterator[Finding]:
    """Check that training and validation have the same classes."""
    present = [set(np.flatnonzero(each.pixels).tolist()) for each in (classes, val_classes)]
    for missing, title, meaning in (
        (present[0] - present[1], "Not in the validation set", "no score tells how well it works."),
        (present[1] - present[0], "Only in the validation set", "nobody teaches it."),
    ):
        if missing:
            yield Finding(
                "warning",
                f"{title}: class {listed(map(str, sorted(missing)))}",
                meaning,
                "divide the images so that every class is on both sides.",
            )
