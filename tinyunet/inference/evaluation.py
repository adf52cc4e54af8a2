"""How good is it? Every score is computed from one table, the confusion matrix.

The confusion matrix counts pixels: row *t*, column *p* holds how many pixels of the true class *t*
were predicted as class *p*. Right answers are on the diagonal. For one class, with TP the entry on
the diagonal, FN the rest of its row (missed) and FP the rest of its column (false alarms)::

    IoU  = TP / (TP + FP + FN)          intersection over union, or Jaccard index
    Dice = 2 TP / (2 TP + FP + FN)      the same ranking on another scale, or F1 score

The pixel accuracy, the share of the diagonal in the whole table, is what most people look at first
and what misleads them: where 93 % of the pixels are background, predicting background everywhere
is 93 % accurate. Its IoU for the other class is 0, and the mean IoU tells.

Three rules:

- **Ignored pixels don't count.** Where the truth is `ignore_index`, nothing enters the table.
- **The ignored class is no class.** When `ignore_index` is one of the classes (say 0, "unlabeled"),
  it has no IoU, does not enter the mean, and is never predicted: the network chooses among the
  other classes only (see `tinyunet.inference.sliding_window`).
- **An absent class is left out.** A class with no pixel in the truth and none in the prediction has
  0 / 0; its scores are None and the mean is over the others. The counts of all images are summed
  before any score is computed, so a class must be absent from the whole set to be left out.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from tqdm import tqdm

from tinyunet.distributed.replicas import Replicas
from tinyunet.errors import UserError
from tinyunet.inference.sliding_window import DEFAULT_TILE, predict_classes


def confusion_matrix(truth, prediction, classes: int, ignore_index: int | None = None):
    """Count the pixels of each true class by the class that was predicted for them.

    Parameters
    ----------
    truth, prediction : integer arrays of one shape
        Class indices 0 to K - 1; the truth may also hold `ignore_index`.
    classes : int
        K, the number of classes.
    ignore_index : int, optional
        Pixels whose truth has this value don't count.

    Returns
    -------
    array (K, K) of int64
        Rows are the truth, columns the prediction.

    Raises
    ------
    UserError
        If the shapes differ or a value is not a class.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise UserError(f"the truth is {truth.shape} and the prediction {prediction.shape}")
    if ignore_index is not None:
        counts = truth != ignore_index
        truth, prediction = truth[counts], prediction[counts]
    for name, values in (("truth", truth), ("prediction", prediction)):
        if values.size and not 0 <= int(values.min()) <= int(values.max()) < classes:
            raise UserError(
                f"the {name} holds classes {values.min()} to {values.max()}, "
                f"and there are {classes}: 0 to {classes - 1}"
            )
    pairs = truth.astype(np.int64).ravel() * classes + prediction.ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class Scores:
    """The scores that follow from a confusion matrix.

    Attributes
    ----------
    confusion : array (K, K) of int64
        Pixels by true class (row) and predicted class (column).
    iou, dice : list of float or None
        For each class, 0 to 1; None for a class that does not count.
    mean_iou : float or None
        The mean over the classes that count; None if there are none.
    pixel_accuracy : float or None
        The share of pixels that are right; None if no pixel counts.
    """

    confusion: np.ndarray
    iou: list
    dice: list
    mean_iou: float | None
    pixel_accuracy: float | None

    @classmethod
    def from_confusion(cls, confusion, ignore_index: int | None = None) -> "Scores":
        """Compute all scores from a confusion matrix (K, K); see the top of this module."""
        confusion = np.asarray(confusion, dtype=np.int64)
        iou, dice = [], []
        for index, row in enumerate(confusion):
            right = int(confusion[index, index])
            wrong = int(row.sum() + confusion[:, index].sum()) - 2 * right  # FP + FN
            counts = right + wrong > 0 and index != ignore_index
            iou.append(right / (right + wrong) if counts else None)
            dice.append(2 * right / (2 * right + wrong) if counts else None)
        known = [value for value in iou if value is not None]
        mean_iou = sum(known) / len(known) if known else None
        total = int(confusion.sum())
        accuracy = int(np.trace(confusion)) / total if total else None
        return cls(confusion, iou, dice, mean_iou, accuracy)

    @property
    def predicted_classes(self) -> list[int]:
        """The classes that were predicted for at least one pixel that counts."""
        return [int(index) for index in np.flatnonzero(self.confusion.sum(axis=0))]

    def as_json(self, class_names) -> dict:
        """Return everything in a form that `json.dumps` takes.

        The keys are ``classes`` (the names), ``iou`` and ``dice`` (a list each, None for a class
        that does not count), ``mean_iou``, ``pixel_accuracy`` and ``confusion`` (a list of rows).
        """
        return {
            "classes": list(class_names),
            "iou": self.iou,
            "dice": self.dice,
            "mean_iou": self.mean_iou,
            "pixel_accuracy": self.pixel_accuracy,
            "confusion": self.confusion.tolist(),
        }

    def table(self, class_names) -> str:
        """Return the scores as a table to read, one line a class, and the confusion in percent."""
        width = max([len("pixel accuracy"), *(len(name) for name in class_names)])
        column = min(14, max(5, *(len(name) for name in class_names)))
        true_pixels = self.confusion.sum(axis=1)
        percent = 100 * true_pixels / max(1, true_pixels.sum())
        lines = [f"{'class':{width}}     IoU    Dice   share of the truth"]
        for index, name in enumerate(class_names):
            scores = f"{figure(self.iou[index])} {figure(self.dice[index])}"
            lines.append(f"{name:{width}} {scores} {percent[index]:8.1f} %")
        lines += [
            "",
            f"{'mean IoU':{width}} {figure(self.mean_iou)}",
            f"{'pixel accuracy':{width}} {figure(self.pixel_accuracy)}",
            "",
            "Of 100 pixels of the class on the left, how many were predicted as each class:",
            " " * width + "".join(f" {name[:column]:>{column}}" for name in class_names),
        ]
        for name, row in zip(class_names, self.confusion, strict=True):
            shares = [f"{100 * count / row.sum():.1f}" if row.sum() else "-" for count in row]
            cells = [f" {share:>{column}}" for share in shares]
            lines.append(f"{name:{width}}" + "".join(cells))
        return "\n".join(lines)


def figure(value: float | None) -> str:
    """Print a score in seven characters, a dash where there is none."""
    return "      -" if value is None else f"{value:7.4f}"


def evaluate(model, dataset, **how) -> Scores:
    """Predict every image of a data set and compare with its mask.

    Parameters
    ----------
    model : Model
        The network and what belongs to it; its `ignore_index` decides which pixels count.
    dataset : Dataset
        Images and masks.
    **how
        `tile`, `margin`, `threads`, `progress`: see `confusion_of_each`.

    Returns
    -------
    Scores
        Of all pixels of all images together.
    """
    confusion = sum(confusion_of_each(model, dataset, **how))
    return Scores.from_confusion(confusion, model.ignore_index)


def confusion_of_each(
    model, dataset, *, tile=DEFAULT_TILE, margin=None, threads=None, progress=False
) -> list:
    """Predict every image of a data set and count its pixels by true and predicted class.

    Parameters
    ----------
    model : Model
    dataset : Dataset
    tile, margin : int
        As in `tinyunet.inference.sliding_window.predict_classes`.
    threads : int, optional
        How many images are predicted at once; without it, as many as there are cores.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of arrays (K, K) of int64
        The confusion matrix of each image.
    """
    classes = model.network.config["classes"]
    replicas = Replicas(model.network, threads)  # for its threads: each takes an image
    count = len(replicas.replicas)
    results = []

    def compare(first, offset):
        index = first + offset
        prediction = predict_classes(
            model,
            dataset.images[index],
            valid=dataset.valid_of(index),
            tile=tile,
            margin=margin,
            threads=1,
        )
        truth = dataset.masks[index][:, :]
        return confusion_matrix(truth, prediction, classes, model.ignore_index)

    model.network.eval()
    with tqdm(total=len(dataset), desc="evaluating", unit="image", disable=not progress) as bar:
        for first in range(0, len(dataset), count):
            results += replicas.run(partial(compare, first), min(count, len(dataset) - first))
            bar.update(len(results) - bar.n)
    return results
