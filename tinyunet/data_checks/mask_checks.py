"""Checks of the masks: that they hold classes, and enough of each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinyunet.data.class_table import REST, ClassTable, work_out, written
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
        except UserError as error:
            return None, getattr(error, "table", None), [Finding("problem", *split_off(error))]
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
        title = f"The masks hold values that the class table does not list: {shown}"
        text = "Add them to the table, to a class or to 'ignore', and give it as --classes FILE."
        return None, table, [Finding("problem", title, text)]
    classes = Classes([stem for stem, _ in masks], counts, table)
    return classes, table, [*check_balance(classes), *check_empty(classes)]


def split_off(error: UserError) -> tuple[str, str]:
    """Divide a message into what it is and what it means."""
    title, _, rest = str(error).partition(": ")
    return title, rest[:1].upper() + rest[1:] + "."


def check_balance(classes: Classes) -> Iterator[Finding]:
    """Check that there is enough of every class."""
    pixels = classes.pixels
    share = pixels / max(pixels.sum(), 1)
    if np.count_nonzero(share) < 2:
        text = "There is nothing to tell apart. Check that these are the right masks."
        yield Finding("problem", "All masks together hold a single class", text)
        return
    if share.max() > LARGE:
        yield Finding(
            "warning",
            f"{100 * share.max():.1f} % of the pixels are class {classes.name(share.argmax())}",
            "A network that answers this class everywhere is right that often: accuracy hides it, "
            "an IoU of 0 for the other classes shows it. Consider --class-weights auto.",
        )
    rare = [classes.name(index) for index in np.flatnonzero((share > 0) & (share < RARE))]
    if rare:
        yield Finding(
            "warning",
            f"Rare: class {listed(rare)}",
            f"Less than {100 * RARE:g} % of the pixels hardly move the loss. Use --class-weights "
            "auto, add images that show it, or merge classes in the class table.",
        )
    absent = [classes.name(index) for index in np.flatnonzero(share == 0)]
    if absent:
        title = f"Without a pixel: class {listed(absent)}"
        yield Finding("note", title, "The network gets an output that it never learns to use.")


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
            "If true, worth keeping: it prevents false alarms. A mask that was forgotten teaches "
            f"to overlook things. Look at {listed(stems)}.",
        )


def check_both(classes: Classes, val_classes: Classes) -> Iterator[Finding]:
    """Check that every class that is learned is also judged."""
    missing = np.flatnonzero((classes.pixels > 0) & (val_classes.pixels == 0))
    if len(missing):
        title = f"Not in the validation set: class {listed(map(classes.name, missing))}"
        yield Finding("warning", title, "No score tells how well it is found.")
