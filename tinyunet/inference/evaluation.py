"""How good is it? Every score is computed from one table, the confusion matrix.

The confusion matrix counts pixels: row *t*, column *p* holds how many pixels of the true class *t*
were predicted as class *p*. Right answers are on the diagonal. For one class, with TP the entry on
the diagonal, FN the rest of its row (missed) and FP the rest of its column (false alarms)::

    IoU       = TP / (TP + FP + FN)         intersection over union, or Jaccard index
    Dice      = 2 TP / (2 TP + FP + FN)     the same ranking on another scale, or F1 score
    precision = TP / (TP + FP)              of what was found, the share that is right: the
                                            user's accuracy of remote sensing
    recall    = TP / (TP + FN)              of what is there, the share that was found: the
                                            producer's accuracy

The pixel accuracy, the share of the diagonal in the whole table, is what most people look at first
and what misleads them: where 93 % of the pixels are background, predicting background everywhere
is 93 % accurate. Its IoU for the other class is 0, and the mean IoU tells. So does Cohen's kappa,
which is 0 for a prediction no better than guessing with the same shares, and 1 for a perfect one
(J. Cohen, A coefficient of agreement for nominal scales, 1960).

Three rules:

- **Ignored pixels don't count.** Where the truth is `ignore_index`, nothing enters the table.
- **The ignored class is no class.** When `ignore_index` is one of the classes (say 0, "unlabeled"),
  it has no IoU, does not enter the mean, and is never predicted: the network chooses among the
  other classes only (see `tinyunet.inference.sliding_window`).
- **What would be 0 / 0 is left out.** A class with no pixel in the truth and none in the prediction
  has no scores: they are None, and the mean IoU is over the others. (A class that was never
  predicted has no precision, one that is not there no recall.) The counts of all images are summed
  before any score is computed, so a class must be absent from the whole set to be left out.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tinyunet.backend import to_host
from tinyunet.distributed.replicas import Replicas
from tinyunet.errors import UserError
from tinyunet.inference.sliding_window import DEFAULT_TILE, choose_class, predict_tiles
from tinyunet.progress import tqdm


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
    iou, dice, precision, recall : list of float or None
        For each class, 0 to 1; None where it would be 0 / 0.
    mean_iou : float or None
        The mean over the classes that count; None if there are none.
    pixel_accuracy : float or None
        The share of pixels that are right; None if no pixel counts.
    kappa : float or None
        Cohen's kappa, -1 to 1; None if truth and prediction are one and the same class.
    loss : float or None
        The loss that `evaluate` was asked for.
    """

    confusion: np.ndarray
    iou: list[float | None]
    dice: list[float | None]
    precision: list[float | None]
    recall: list[float | None]
    mean_iou: float | None
    pixel_accuracy: float | None
    kappa: float | None
    loss: float | None = None

    @classmethod
    def from_confusion(cls, confusion, ignore_index: int | None = None) -> "Scores":
        """Compute all scores from a confusion matrix (K, K); see the top of this module."""
        confusion = np.asarray(confusion, dtype=np.int64)
        true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)  # TP + FN, TP + FP
        right, total = np.diagonal(confusion), int(confusion.sum())
        # What guessing with the same shares would get right, times the total, in whole numbers.
        by_chance = sum(int(t) * int(p) for t, p in zip(true, predicted, strict=True))

        def of_each_class(part, whole):
            return [
                None if index == ignore_index else ratio(*both)
                for index, both in enumerate(zip(part, whole, strict=True))
            ]

        iou = of_each_class(right, true + predicted - right)
        known = [value for value in iou if value is not None]
        return cls(
            confusion,
            iou,
            dice=of_each_class(2 * right, true + predicted),
            precision=of_each_class(right, predicted),
            recall=of_each_class(right, true),
            mean_iou=ratio(sum(known), len(known)),
            pixel_accuracy=ratio(right.sum(), total),
            kappa=ratio(total * int(right.sum()) - by_chance, total**2 - by_chance),
        )

    @property
    def predicted_classes(self) -> list[int]:
        """The classes that were predicted for at least one pixel that counts."""
        return [int(index) for index in np.flatnonzero(self.confusion.sum(axis=0))]

    def as_json(self, class_names) -> dict:
        """Return everything in a form that `json.dumps` takes.

        The keys are ``classes`` (the names), ``iou``, ``dice``, ``precision`` and ``recall`` (a
        list each, None for a class that does not count), ``mean_iou``, ``pixel_accuracy``,
        ``kappa`` and ``confusion`` (a list of rows).
        """
        names = ("iou", "dice", "precision", "recall", "mean_iou", "pixel_accuracy", "kappa")
        scores = {name: getattr(self, name) for name in names}
        return {"classes": list(class_names), **scores, "confusion": self.confusion.tolist()}

    def table(self, class_names) -> str:
        """Return the scores as a table to read, one line a class, and the confusion in percent."""
        width = max([len("pixel accuracy"), *(len(name) for name in class_names)])
        column = min(14, max(5, *(len(name) for name in class_names)))
        true_pixels = self.confusion.sum(axis=1)
        percent = 100 * true_pixels / max(1, true_pixels.sum())
        lines = [f"{'class':{width}}     IoU    Dice  precis.  recall   share of the truth"]
        columns = (self.iou, self.dice, self.precision, self.recall, percent)
        for name, iou, dice, precision, recall, share in zip(class_names, *columns, strict=True):
            scores = [format_score(score) for score in (iou, dice, precision, recall)]
            lines.append(f"{name:{width}} {' '.join(scores)} {share:8.1f} %")
        lines += [
            "",
            f"{'mean IoU':{width}} {format_score(self.mean_iou)}",
            f"{'pixel accuracy':{width}} {format_score(self.pixel_accuracy)}",
            f"{'kappa':{width}} {format_score(self.kappa)}",
            "",
            "Of 100 pixels of the class on the left, so many were predicted as each class:",
            " " * width + "".join(f" {name[:column]:>{column}}" for name in class_names),
        ]
        for name, row in zip(class_names, self.confusion, strict=True):
            shares = [f"{100 * count / row.sum():.1f}" if row.sum() else "-" for count in row]
            cells = [f" {share:>{column}}" for share in shares]
            lines.append(f"{name:{width}}" + "".join(cells))
        return "\n".join(lines)


def ratio(part, whole) -> float | None:
    """Divide; None where there is nothing to divide by."""
    return float(part / whole) if whole else None


def format_score(value: float | None) -> str:
    """Print a score in seven characters, a dash where there is none."""
    return "      -" if value is None else f"{value:7.4f}"


def evaluate(model, dataset, loss=None, **options) -> Scores:
    """Predict every image of a data set and compare with its mask.

    Parameters
    ----------
    model : Model
        The network and what belongs to it; its `ignore_index` decides which pixels count.
    dataset : Dataset
        Images and masks.
    loss : CrossEntropy, Dice or CrossEntropyAndDice, optional
        Computed as well: the mean over the tiles, each counting by its `weight`.
    **options
        `tile`, `margin`, `threads`, `tta`, `progress`: see `evaluate_each`.

    Returns
    -------
    Scores
        Of all pixels of all images together.
    """
    confusions, losses = zip(*evaluate_each(model, dataset, loss, **options), strict=True)
    value, weight = np.sum(losses, axis=0)
    scores = Scores.from_confusion(sum(confusions), model.ignore_index)
    return replace(scores, loss=ratio(value, weight))


def evaluate_each(
    model,
    dataset,
    loss=None,
    *,
    tile=DEFAULT_TILE,
    margin=None,
    threads=None,
    tta=False,
    progress=False,
) -> list[tuple]:
    """Predict every image of a data set, and compare each by itself with its mask.

    Parameters
    ----------
    model : Model
    dataset : Dataset
    loss : CrossEntropy, Dice or CrossEntropyAndDice, optional
    tile, margin : int
        As in `tinyunet.inference.sliding_window.sliding_window`.
    threads : int, optional
        How many images are predicted at once; without it, as many as there are cores.
    tta : bool
        As in `tinyunet.inference.sliding_window.sliding_window`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of tuple
        For each image the confusion matrix (K, K) of int64, and a pair of floats: the loss, summed
        over the tiles by their weights, and the sum of the weights. Without a loss both are 0.
    """
    classes = model.network.config["classes"]
    replicas = Replicas(model.network, threads)  # for its threads: each takes an image
    count = len(replicas.replicas)
    options = {"tile": tile, "margin": margin, "threads": 1, "tta": tta}
    results = []

    def compare(first, offset):
        image, mask = dataset.images[first + offset], dataset.masks[first + offset]
        valid = dataset.valid_of(first + offset)
        confusion, total, weight_of_all = np.zeros((classes, classes), np.int64), 0.0, 0.0
        for rows, columns, logits in predict_tiles(model, image, valid=valid, **options):
            truth = mask[rows, columns]
            prediction = to_host(choose_class(logits, model.ignore_index))
            confusion += confusion_matrix(truth, prediction, classes, model.ignore_index)
            weight = loss.weight(truth[np.newaxis]) if loss else 0.0
            if weight:
                value, _ = loss(logits[np.newaxis], truth[np.newaxis])
                total += weight * float(value)
                weight_of_all += weight
        return confusion, (total, weight_of_all)

    model.network.eval()
    with tqdm(total=len(dataset), desc="evaluating", unit="image", disable=not progress) as bar:
        for first in range(0, len(dataset), count):
            results += replicas.run(partial(compare, first), min(count, len(dataset) - first))
            bar.update(len(results) - bar.n)
    return results
