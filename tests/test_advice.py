"""The warnings: given when there is a reason, and only then."""

import numpy as np
import pytest

from tinyunet.inference.evaluation import Scores
from tinyunet.training import diagnostics


def test_predicting_one_class_only_is_said_in_words():
    names = ["ground", "blob"]
    assert diagnostics.one_class_only(Scores.from_confusion([[5, 1], [1, 5]]), names) is None
    assert diagnostics.one_class_only(Scores.from_confusion([[5, 0], [0, 0]]), names) is None
    said = diagnostics.one_class_only(Scores.from_confusion([[90, 0], [1, 0]]), names)
    assert "predicts 'ground' for every validation pixel" in said


def test_a_class_that_validation_hardly_holds_is_named_with_its_shares():
    names, counts = ["ground", "blob"], np.array([9430, 570])
    said = diagnostics.rare_in_validation(counts, np.array([9934, 66]), names)
    assert "blob (0.66% of the pixels there, 5.70% here)" in said and "ground" not in said
    assert "--val-fraction" in said
    assert "blob (0.00%" in diagnostics.rare_in_validation(counts, np.array([100, 0]), names)


@pytest.mark.parametrize("validation_counts", [[986, 14], [500, 500], [1, 2]])
def test_a_class_with_a_fifth_of_its_share_in_validation_is_enough(validation_counts):
    counts = np.array([94.3, 5.7])
    assert diagnostics.rare_in_validation(counts, np.array(validation_counts), ["a", "b"]) is None


def test_a_class_that_is_nowhere_is_no_reason_to_warn():
    counts = np.array([5, 5, 0])
    assert diagnostics.rare_in_validation(counts, counts, ["a", "b", "c"]) is None


def history(scores, losses):
    """Make the rows of metrics.csv: two of them for each validation."""
    rows = []
    for number, (score, loss) in enumerate(zip(scores, losses, strict=True)):
        rows.append({"step": 20 * number + 10, "loss": loss + 0.1})
        rows.append({"step": 20 * number + 20, "loss": loss - 0.1, "val_mean_iou": score})
    return rows


def said(rows):
    """List the steps at which the warning is given."""
    heard = [diagnostics.overfitting(rows[:count]) for count in range(1, len(rows) + 1)]
    return [row["step"] for row, text in zip(rows, heard, strict=True) if text]


def test_overfitting_is_said_once():
    scores = [0.3, 0.5, 0.7, 0.66, 0.65, 0.66, 0.64, 0.6, 0.6, 0.6]
    losses = np.linspace(2, 0.5, 10)
    assert said(history(scores, losses)) == [140]
    text = diagnostics.overfitting(history(scores, losses)[:14])
    assert "best at step 60 (mean IoU 0.700)" in text and "overfitting" in text


def test_the_training_loss_between_two_validations_is_their_mean():
    scores = [0.3, 0.7, 0.6, 0.6, 0.6, 0.6]
    rows = history(scores, [1.0, 1.0, 0.8, 0.8, 0.8, 0.8])
    assert said(rows) == [120]
    fewer = [row for row in rows if "val_mean_iou" in row or row["step"] < 40]  # one row each
    for row in fewer[3:]:
        row["loss"] = 1.0
    assert said(fewer) == []


@pytest.mark.parametrize(
    ("scores", "losses"),
    [
        ([0.3, 0.5, 0.7, 0.69, 0.69, 0.69, 0.69, 0.69], np.linspace(2, 0.5, 8)),  # a plateau
        ([0.3, 0.5, 0.7, 0.6, 0.7, 0.6, 0.6, 0.6], np.linspace(2, 0.5, 8)),  # it swings
        ([0.3, 0.5, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6], np.full(8, 1.0)),  # the loss does not fall
        ([0.7, 0.6, 0.6], np.linspace(2, 0.5, 3)),  # too early to tell
        ([None, None, 0.5], np.linspace(2, 0.5, 3)),
        ([], []),
    ],
)
def test_there_is_no_alarm_without_need(scores, losses):
    assert said(history(scores, losses)) == []


def test_tiles_are_known_by_their_names():
    assert "--val-split" in diagnostics.tiles_split_at_random(["a_r000_c064", "a_r000_c000"])
    assert diagnostics.tiles_split_at_random(["a_r000_c064", "b"]) is None
