"""Checks of the masks: that they hold classes, and enough of each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinyunet.data.class_table import REST, Ambiguous, ClassTable, work_out, written
from tinyunet.data_checks.findings import Finding, listed, plural
from tinyunet.data_checks.survey import Survey
from tinyunet.errors import UserError

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
        Pixels of each class in each mask.
    table : ClassTable
    """

    stems: list[str]
    counts: np.ndarray
    table: ClassTable

    @property
    def pixels(self) -> np.ndarray:
        """Pixels of each class, (K,)."""
        return self.counts.sum(axis=0)

    def name(self, index: int) -> str:
        """Call a class by its number, and by its name where it has one."""
        name = self.table.names[index]
        return str(index) if name == f"class {index}" else f"{index} ({name})"


def check_masks(
    seen: Survey,
    table: ClassTable | None,
    class_names=None,
    ignore_index: int | None = None,
) -> tuple[Classes | None, ClassTable | None, list[Finding]]:
    """Work out the class table, unless there is one, and make all checks of one set of masks.

    Returns
    -------
    classes : Classes or None
        None if it cannot be told what the masks mean.
    proposal : ClassTable or None
        One that could be meant, where that is unclear.
    findings : list of Finding
    """
    masks = [(each.pair.stem, each.mask) for each in seen.summaries if each.mask]
    if not masks:
        return None, None, []
    if table is None:
        try:
            table = work_out([mask for _, mask in masks], class_names, ignore_index)
        except Ambiguous as error:
            finding = Finding("problem", error.title, error.meaning, f"{error.advice}.")
            return None, error.table, [finding]
        except UserError as error:
            finding = Finding("problem", "The masks and the class names differ", f"{error}.", "")
            return None, None, [finding]
    counts = np.zeros((len(masks), len(table.names)), np.int64)
    strange = {}
    for row, (stem, mask) in enumerate(masks):
        for value, count in mask.counts.items():
            index = table.lookup.get(value)
            if index is not None and index < len(table.names):
                counts[row, index] += count
            elif index is None and REST not in table.ignored:
                strange.setdefault(value, stem)
    if strange:
        shown = listed(f"{written(value)} in {stem}" for value, stem in strange.items())
        finding = Finding(
            "problem",
            f"The masks hold values that the class table does not list: {shown}",
            "their class is not known, so training stops.",
            "add them to the table, to a class or to 'ignore', and give it as --classes FILE.",
        )
        return None, table, [finding]
    classes = Classes([stem for stem, _ in masks], counts, table)
    return classes, table, [*check_balance(classes), *check_empty(classes)]


def check_balance(classes: Classes) -> Iterator[Finding]:
    """Check that there is enough of every class."""
    pixels = classes.pixels
    share = pixels / max(pixels.sum(), 1)
    if np.count_nonzero(share) < 2:
        yield Finding(
            "problem",
            "All masks together hold a single class",
            "there is nothing to tell apart.",
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
            "use --class-weights auto, add images that show it, or merge it with another class: "
            "in a class table, several values may stand for one class.",
        )
    absent = np.flatnonzero(share == 0)
    if len(absent):
        yield Finding(
            "note",
            f"Without a pixel: class {listed(classes.name(index) for index in absent)}",
            "the network gets an output for it that it never learns to use.",
            "nothing, if it is to be found elsewhere; else leave it out of the class table.",
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
                f"{title}: class {listed(classes.name(index) for index in sorted(missing))}",
                meaning,
                "divide the images so that every class is on both sides.",
            )
