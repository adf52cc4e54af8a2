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

import numpy as np

from tinyunet.backend import to_host
from tinyunet.data.weight_maps import scipys_ndimage
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
    counts = truth != ignore_index
    truth, prediction = truth[counts].astype(np.int64), prediction[counts].astype(np.int64)
    for name, values in (("truth", truth), ("prediction", prediction)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            held = f"{values.min()} to {values.max()}"
            raise UserError(f"the {name} holds {held}, and classes are 0 to {classes - 1}")
    return np.bincount(truth * classes + prediction, minlength=classes**2).reshape(classes, -1)


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
    truth : array of bool, of the same shape
        Whether class 1 is the true one.

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

    outcome = np.full(true_count + 1, OUTCOMES.index("missed"))  # of each true object
    pieces = np.bincount(i[2 * shared > predicted_area[j]], minlength=true_count + 1)
    outcome[pieces > 1] = OUTCOMES.index("split")
    inside = 2 * shared > true_area[i]  # most of i lies in j
    held = np.bincount(j[inside], minlength=predicted_count + 1)
    outcome[i[inside & (held[j] > 1)]] = OUTCOMES.index("merged")
    outcome[i[2 * shared > true_area[i] + predicted_area[j] - shared]] = OUTCOMES.index("found")
    of_the_class = np.bincount(j, shared, minlength=predicted_count + 1)
    false_alarms = np.count_nonzero(2 * of_the_class[1:] <= predicted_area[1:])
    return np.append(np.bincount(outcome[1:], minlength=4), false_alarms)


def add(counts: list[dict]) -> dict:
    """Add what was counted on several images, or tiles; in a dict each."""
    return {name: sum(each[name] for each in counts) for name in counts[0]}


class Scores:
    """The scores that follow from what was counted; see the top of this module.

    Parameters
    ----------
    counts : dict of arrays, or array (K, K)
        All that was counted: the ``confusion`` matrix (K, K); where they are known, also the
        ``calibration`` (BINS, 3), see `count_by_confidence`; of two classes, counts
        ``by_threshold`` (2, 100), see `count_by_threshold`; the ``loss``, summed over the tiles by
        their weights, and the sum of these; and ``objects`` (K, 5), see `count_objects`. Or the
        confusion matrix alone.
    ignore_index : int, optional
        If it is a class, it has no scores.

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
    calibration : array (BINS, 3) or None
        See `count_by_confidence`.
    calibration_error : float or None
        The expected calibration error, 0 to 1.
    objects : array (K, 5) or None
        Of each class how many were found, missed, merged and split, and how many are false alarms.
    mean_iou_by_threshold : array (99,) or None
        The mean IoU for each of the `THRESHOLDS` of the probability of class 1.
    best_threshold : float or None
        The threshold nearest to 0.5 whose mean IoU is almost, by `CHANCE`, the highest.
    """

    def __init__(self, counts: dict | np.ndarray, ignore_index: int | None = None):
        counts = counts if isinstance(counts, dict) else {"confusion": np.asarray(counts, np.int64)}
        self.confusion = confusion = counts["confusion"]
        rows, columns = confusion.sum(axis=1), confusion.sum(axis=0)  # TP + FN, TP + FP
        # A masked array leaves out the ignored class and, in a division, what would be 0 / 0.
        ignored = np.arange(len(confusion)) == ignore_index
        scored = (np.diagonal(confusion), rows, columns)
        right, true, predicted = (np.ma.array(each, mask=ignored) for each in scored)
        iou = right / (true + predicted - right)
        self.iou, self.dice = iou.tolist(), (2 * right / (true + predicted)).tolist()
        self.precision, self.recall = (right / predicted).tolist(), (right / true).tolist()
        self.mean_iou = ratio(iou.sum(), iou.count())
        hits, total = int(confusion.trace()), int(confusion.sum())
        self.pixel_accuracy = ratio(hits, total)
        # What guessing with the same shares would get right, times the total, in whole numbers.
        by_chance = rows.astype(object) @ columns.astype(object)
        self.kappa = ratio(total * hits - by_chance, total**2 - by_chance)
        self.loss, self.objects = ratio(*counts.get("loss", (0, 0))), counts.get("objects")

        self.calibration, self.calibration_error = counts.get("calibration"), None
        if self.calibration is not None:
            pixels, sure, right = self.calibration.T
            self.calibration_error = ratio(abs(sure - right).sum(), pixels.sum())

        self.mean_iou_by_threshold = self.best_threshold = None
        if "by_threshold" in counts and counts["by_threshold"][1].any():
            below = counts["by_threshold"].cumsum(axis=1)
            # (99, 2, 2): a confusion matrix for each threshold
            confusions = np.stack([below, below[:, -1:] - below], axis=-1).swapaxes(0, 1)[:99]
            curve = np.array([Scores(each, ignore_index).mean_iou for each in confusions])
            good = THRESHOLDS[curve >= curve.max() - CHANCE]
            self.mean_iou_by_threshold = curve
            self.best_threshold = float(min(good, key=lambda threshold: abs(threshold - 0.5)))

    def as_json(self, class_names) -> dict:
        """Return everything in a form that `json.dumps` takes: lists for arrays, by these names.

        And ``classes``, the names. What was not counted, or would be 0 / 0, is None.
        """
        scores = vars(self).items()
        lists = {n: each.tolist() if isinstance(each, np.ndarray) else each for n, each in scores}
        return {"classes": list(class_names), **lists}

    def table(self, class_names) -> str:
        """Return the scores as a table to read, one line a class."""
        true = self.confusion.sum(axis=1)
        shares = 100 * true / max(true.sum(), 1)
        width = max(map(len, [*class_names, "calibration error"]))

        def row(name, *cells):
            return f"{name:{width}}" + "".join(f"{cell:>13}" for cell in cells)

        lines = [row("class", "IoU", "Dice", "precision", "recall", "% of truth")]
        columns = (self.iou, self.dice, self.precision, self.recall)
        for name, share, *scores in zip(class_names, shares, *columns, strict=True):
            lines.append(row(name, *map(format_score, scores), f"{share:.1f}"))
        totals = {"mean IoU": self.mean_iou, "pixel accuracy": self.pixel_accuracy}
        totals |= {"kappa": self.kappa, "calibration error": self.calibration_error}
        lines += ["", *(row(name, format_score(total)) for name, total in totals.items())]
        if self.objects is not None:
            lines += ["", row("objects", *OUTCOMES), *map(row, class_names, *self.objects.T)]
        return "\n".join(lines)


def ratio(part, whole) -> float | None:
    """Divide; None where there is nothing to divide by."""
    return float(part / whole) if whole else None


def format_score(value: float | None) -> str:
    """Print a score, or a dash where there is none."""
    return "-" if value is None else f"{value:.4f}"


def evaluate(model, dataset, loss=None, *, objects=False, progress=False, **options) -> Scores:
    """Predict every image of a data set and compare each by itself with its mask.

    Parameters
    ----------
    model : Model
        The network and what belongs to it; its `ignore_index` decides which pixels count.
    dataset : Dataset
        Images and masks.
    loss : CrossEntropy, Dice or CrossEntropyAndDice, optional
        Computed as well: the mean over the tiles, each counting by its `weight`.
    objects : bool
        Count connected pieces of each class, too.
    progress : bool
        Show a progress bar.
    **options
        `tile`, `margin`, `threads`, `tta`: see `tinyunet.inference.sliding_window.sliding_window`.

    Returns
    -------
    Scores
        Of all pixels of all images together.
    """
    classes, ignored = model.network.config["classes"], model.ignore_index
    found = []
    for index in tqdm(range(len(dataset)), "evaluating", unit="image", disable=not progress):
        image, mask, valid = dataset.images[index], dataset.masks[index], dataset.valid_of(index)
        tiles, whole = [], np.full(mask.shape, -1) if objects else None
        for *window, logits in predict_tiles(model, image, valid=valid, **options):
            truth, prediction = mask[tuple(window)], to_host(choose_class(model, logits))
            probabilities = to_host(operations.softmax(without(ignored, logits))[0])
            sure = np.take_along_axis(probabilities, prediction[..., np.newaxis], axis=-1)[..., 0]
            counted = truth != ignored
            tile = {"confusion": confusion_matrix(truth, prediction, classes, ignored)}
            tile["calibration"] = count_by_confidence(sure[counted], (prediction == truth)[counted])
            if classes == 2:
                of_class_1 = probabilities[..., 1][counted], truth[counted] == 1
                tile["by_threshold"] = count_by_threshold(*of_class_1)
            if loss:
                weight = loss.weight(truth[np.newaxis])
                value = float(loss(logits[np.newaxis], truth[np.newaxis])[0]) if weight else 0.0
                tile["loss"] = np.array([weight * value, weight])
            if objects:
                whole[tuple(window)] = np.where(counted, prediction, np.int64(-1))
            tiles.append(tile)
        found.append(add(tiles))
        if objects:
            pairs = [((mask[:, :] == k) & (k != ignored), whole == k) for k in range(classes)]
            found[-1]["objects"] = np.stack([count_objects(*pair) for pair in pairs])
    return Scores(add(found), ignored)
