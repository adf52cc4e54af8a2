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

**Calibration** asks something else: when the network gives its answer a probability of 0.9, is it
right nine times in ten? The pixels are divided by the probability of the class that was chosen, in
ten bins; in each, the mean probability is compared with the share that is right. The expected
calibration error is the mean of the differences, each bin counting by its pixels.

**Objects.** Where things are counted, such as cells or roofs, look at connected pieces of a class.
One of the truth is *found* if a predicted one shares more than half of what the two cover together;
else *merged* if more than half of it lies in a predicted one that holds more than half of another,
too; else *split* if two or more predicted ones lie in it by more than half; else *missed*. A
predicted one is a *false alarm* if no more than half of it is of the class.

**A threshold.** Of two classes the more probable one is not always the best answer: with balanced
crops or weighted classes a network finds too much of the rare class, and the mean IoU is highest
where more than a probability of 0.5 is asked for. So it is computed for 99 thresholds, 0.01 to
0.99, from the counts of pixels that exceed each. The curve is flat at its top, and where exactly it
is highest is chance, so the threshold nearest to 0.5 that is almost as good is taken.

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
from typing import NamedTuple

import numpy as np

from tinyunet.backend import to_host
from tinyunet.data.weight_maps import scipys_ndimage
from tinyunet.distributed.replicas import Replicas
from tinyunet.errors import UserError
from tinyunet.inference.sliding_window import choose_class, predict_tiles, without
from tinyunet.nn.operations import operations
from tinyunet.progress import tqdm

BINS = 10  # of the probabilities, for the calibration
THRESHOLDS = np.arange(1, 100) / 100
CHANCE = 0.005  # of an IoU: a smaller difference of two thresholds may be that of other images
OUTCOMES = ("found", "missed", "merged", "split", "false alarms")


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


def count_by_confidence(probabilities, right) -> np.ndarray:
    """Count pixels by the probability of the class that was chosen for them.

    Parameters
    ----------
    probabilities : array of float
    right : array of bool, of the same shape
        Whether that class is the true one.

    Returns
    -------
    array (BINS, 3)
        For each bin of probabilities: pixels, the sum of their probabilities, how many are right.
    """
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probabilities.ravel())
    weights = (None, probabilities.ravel(), right.ravel())
    return np.stack([np.bincount(bins, weight, minlength=BINS) for weight in weights], axis=1)


def count_by_threshold(probabilities, truth) -> np.ndarray:
    """Count pixels by how many of the `THRESHOLDS` the probability of class 1 exceeds.

    Parameters
    ----------
    probabilities : array of float
    truth : array of the same shape
        The class of each pixel, 0 or 1.

    Returns
    -------
    array (2, 100) of int64
        For each true class: the pixels that exceed none, only the first, the first two, ...
    """
    exceeded = np.searchsorted(THRESHOLDS, probabilities.ravel())
    return np.bincount(truth.ravel() * 100 + exceeded, minlength=200).reshape(2, 100)


def count_objects(truth, prediction) -> np.ndarray:
    """Count what became of the connected pieces of a class; see the top of this module.

    Parameters
    ----------
    truth, prediction : array (H, W) of bool
        Where the class is, and where it was predicted.

    Returns
    -------
    array (5,) of int64
        How many were found, missed, merged and split, and how many are false alarms.
    """
    label = scipys_ndimage().label
    (true, true_count), (predicted, predicted_count) = label(truth), label(prediction)
    true_area, predicted_area = np.bincount(true.ravel()), np.bincount(predicted.ravel())
    both = truth & prediction
    pairs = true[both].astype(np.int64) * (predicted_count + 1) + predicted[both]
    pairs, shared = np.unique(pairs, return_counts=True)
    i, j = np.divmod(pairs, predicted_count + 1)  # true object i and predicted object j overlap

    iou = shared / (true_area[i] + predicted_area[j] - shared)
    found = set(i[iou > 0.5])
    inside = 2 * shared > true_area[i]  # most of i lies in j
    held = np.bincount(j[inside], minlength=predicted_count + 1)
    merged = set(i[inside & (held[j] > 1)]) - found
    pieces = np.bincount(i[2 * shared > predicted_area[j]], minlength=true_count + 1)
    split = set(np.flatnonzero(pieces > 1)) - found - merged
    missed = true_count - len(found) - len(merged) - len(split)
    of_the_class = np.bincount(j, shared, minlength=predicted_count + 1)
    false_alarms = np.count_nonzero(2 * of_the_class[1:] <= predicted_area[1:])
    return np.array([len(found), missed, len(merged), len(split), false_alarms])


class Counts(NamedTuple):
    """What is counted on an image; counts of several images are added."""

    confusion: np.ndarray  # (K, K) of int64
    loss: float  # summed over the tiles by their weights; 0 if none was asked for
    weight: float  # the sum of these weights
    calibration: np.ndarray  # (BINS, 3), see `count_by_confidence`
    objects: np.ndarray  # (K, 5) of int64, see `count_objects`; 0 if not asked for
    by_threshold: np.ndarray  # (2, 100) of int64, see `count_by_threshold`; 0 unless K is 2


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
    calibration : array (BINS, 3), optional
        See `count_by_confidence`.
    objects : array (K, 5), optional
        See `count_objects`.
    threshold_curve : array (99,), optional
        The mean IoU for each of the `THRESHOLDS` of the probability of class 1.
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
    calibration: np.ndarray | None = None
    objects: np.ndarray | None = None
    threshold_curve: np.ndarray | None = None

    @classmethod
    def from_counts(cls, counts: list[Counts], ignore_index: int | None = None) -> "Scores":
        """Compute all scores of images from what was counted on each."""
        total = Counts(*(sum(parts) for parts in zip(*counts, strict=True)))
        curve = None
        if total.by_threshold[1].any():
            below = total.by_threshold.cumsum(axis=1)
            # (99, 2, 2): a confusion matrix for each threshold
            confusions = np.stack([below, below[:, -1:] - below], axis=-1).swapaxes(0, 1)[:99]
            curve = np.array([cls.from_confusion(c, ignore_index).mean_iou for c in confusions])
        return replace(
            cls.from_confusion(total.confusion, ignore_index),
            loss=ratio(total.loss, total.weight),
            calibration=total.calibration,
            objects=total.objects if total.objects.any() else None,
            threshold_curve=curve,
        )

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

    @property
    def calibration_error(self) -> float | None:
        """The expected calibration error, 0 to 1; None if no pixel counts."""
        if self.calibration is None:
            return None
        pixels, sure, right = self.calibration.T
        return ratio(abs(sure - right).sum(), pixels.sum())

    @property
    def best_threshold(self) -> float | None:
        """The threshold nearest to 0.5 whose mean IoU is almost, by `CHANCE`, the highest."""
        if self.threshold_curve is None:
            return None
        good = THRESHOLDS[self.threshold_curve >= self.threshold_curve.max() - CHANCE]
        return float(min(good, key=lambda threshold: abs(threshold - 0.5)))

    def as_json(self, class_names) -> dict:
        """Return everything in a form that `json.dumps` takes.

        The keys are ``classes`` (the names), ``iou``, ``dice``, ``precision`` and ``recall`` (a
        list each, None for a class that does not count), ``mean_iou``, ``pixel_accuracy``,
        ``kappa`` and ``confusion`` (a list of rows); where they were counted ``calibration``, with
        a list for the bins each, ``objects``, with a list for the classes each, and, of two
        classes, ``mean_iou_by_threshold`` for the thresholds 0.01 to 0.99.
        """
        names = ("iou", "dice", "precision", "recall", "mean_iou", "pixel_accuracy", "kappa")
        scores = {name: getattr(self, name) for name in names}
        result = {"classes": list(class_names), **scores, "confusion": self.confusion.tolist()}
        if self.calibration is not None:
            result["calibration"] = {
                "error": self.calibration_error,
                "pixels": self.calibration[:, 0].tolist(),
                "probability": [ratio(sure, pixels) for pixels, sure, _ in self.calibration],
                "share_right": [ratio(right, pixels) for pixels, _, right in self.calibration],
            }
        if self.objects is not None:
            result["objects"] = {
                name.replace(" ", "_"): counts
                for name, counts in zip(OUTCOMES, self.objects.T.tolist(), strict=True)
            }
        if self.threshold_curve is not None:
            result["mean_iou_by_threshold"] = self.threshold_curve.tolist()
        return result

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
            *[f"{'calibr. error':{width}} {format_score(self.calibration_error)}"]
            * (self.calibration is not None),
            "",
            "Of 100 pixels of the class on the left, so many were predicted as each class:",
            " " * width + "".join(f" {name[:column]:>{column}}" for name in class_names),
        ]
        for name, row in zip(class_names, self.confusion, strict=True):
            shares = [f"{100 * count / row.sum():.1f}" if row.sum() else "-" for count in row]
            cells = [f" {share:>{column}}" for share in shares]
            lines.append(f"{name:{width}}" + "".join(cells))
        if self.objects is not None:
            lines += ["", f"{'objects':{width}} " + " ".join(f"{name:>7}" for name in OUTCOMES)]
            for name, row in zip(class_names, self.objects, strict=True):
                lines.append(f"{name:{width}} " + " ".join(f"{count:7}" for count in row))
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
    counts = evaluate_each(model, dataset, loss, **options)
    return Scores.from_counts(counts, model.ignore_index)


def evaluate_each(
    model,
    dataset,
    loss=None,
    *,
    threads=None,
    objects=False,
    progress=False,
    **options,
) -> list[Counts]:
    """Predict every image of a data set, and compare each by itself with its mask.

    Parameters
    ----------
    model : Model
    dataset : Dataset
    loss : CrossEntropy, Dice or CrossEntropyAndDice, optional
    threads : int, optional
        How many images are predicted at once; without it, as many as there are cores.
    objects : bool
        Count connected pieces of each class, too.
    progress : bool
        Show a progress bar.
    **options
        `tile`, `margin`, `batch_size`, `tta`: see
        `tinyunet.inference.sliding_window.sliding_window`.

    Returns
    -------
    list of Counts
        For each image.
    """
    classes = model.network.config["classes"]
    replicas = Replicas(model.network, threads)  # for its threads: each takes an image
    count = len(replicas.replicas)
    results = []

    def compare(first, offset):
        image, mask = dataset.images[first + offset], dataset.masks[first + offset]
        valid = dataset.valid_of(first + offset)
        confusion, total, weight_of_all = np.zeros((classes, classes), np.int64), 0.0, 0.0
        calibration, of_objects = np.zeros((BINS, 3)), np.zeros((classes, len(OUTCOMES)), np.int64)
        whole = np.empty(mask.shape, np.int64) if objects else None
        by_threshold = np.zeros((2, 100), np.int64)
        for rows, columns, logits in predict_tiles(model, image, valid=valid, threads=1, **options):
            truth = mask[rows, columns]
            prediction = to_host(choose_class(model, logits))
            confusion += confusion_matrix(truth, prediction, classes, model.ignore_index)
            shares, _ = operations.softmax(without(model.ignore_index, logits))
            counted, shares = truth != model.ignore_index, to_host(shares)
            sure = np.take_along_axis(shares, prediction[..., np.newaxis], axis=-1)[..., 0]
            calibration += count_by_confidence(sure[counted], (prediction == truth)[counted])
            if classes == 2:
                by_threshold += count_by_threshold(shares[..., 1][counted], truth[counted])
            if whole is not None:
                whole[rows, columns] = prediction
            weight = loss.weight(truth[np.newaxis]) if loss else 0.0
            if weight:
                value, _ = loss(logits[np.newaxis], truth[np.newaxis])
                total += weight * float(value)
                weight_of_all += weight
        if whole is not None:
            truth = mask[:, :]
            whole[truth == model.ignore_index] = -1
            of_objects += [
                count_objects(truth == k, whole == k) * (k != model.ignore_index)
                for k in range(classes)
            ]
        return Counts(confusion, total, weight_of_all, calibration, of_objects, by_threshold)

    model.network.eval()
    with tqdm(total=len(dataset), desc="evaluating", unit="image", disable=not progress) as bar:
        for first in range(0, len(dataset), count):
            results += replicas.run(partial(compare, first), min(count, len(dataset) - first))
            bar.update(len(results) - bar.n)
    return results
