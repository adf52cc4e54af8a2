"""The warnings: given when there is a reason, and only then."""

import numpy as np
import pytest

from tinyunet.training import diagnostics


def test_a_class_that_validation_hardly_holds_is_named_with_its_shares():
    names, counts = ["ground", "blob"], np.array([9430, 570])
    said = diagnostics.rare_in_validation(counts, np.array([9934, 66]), names)
    assert "blob (0.66 % of the pixels there, 5.70 % here)" in said and "ground" not in said
    assert "--val-fraction" in said
    assert "blob (0.00 %" in diagnostics.rare_in_validation(counts, np.array([100, 0]), names)


@pytest.mark.parametrize("validation_counts", [[986, 14], [500, 500], [1, 2]])
def test_a_class_with_a_fifth_of_its_share_in_validation_is_enough(validation_counts):
    counts = np.array([94.3, 5.7])
    assert diagnostics.rare_in_validation(counts, np.array(validation_counts), ["a", "b"]) is None


def test_a_class_that_is_nowhere_is_no_reason_to_warn():
    counts = np.array([5, 5, 0])
    assert diagnostics.rare_in_validation(counts, counts, ["a", "b", "c"]) is None


@pytest.mark.parametrize(
    ("losses", "advice"),
    [
        ([1.0, 0.8, 0.6, 0.5, 0.4], "still falling at step 100: more --steps would help"),
        ([1.0, 0.5, 0.42, 0.40, 0.41], "has leveled off: more --steps would change little"),
        ([1.0, 0.5, 0.3, 0.4, 0.5], "lowest at step 60 and has risen since"),
        ([1.0, 0.5, 0.45, 0.44, 0.43], "has leveled off"),  # it falls, but by less than 5 %
    ],
)
def test_the_validation_loss_says_whether_more_steps_would_help(losses, advice):
    rows = []
    for number, loss in enumerate(losses, start=1):
        rows.append({"step": 20 * number - 10, "loss": 9.0})  # a row without a validation
        rows.append({"step": 20 * number, "loss": 9.0, "val_loss": loss})
    assert advice in diagnostics.advice_on_steps(rows)


def test_three_validations_are_too_few_for_advice_on_steps():
    rows = [{"step": step, "val_loss": 1 / step} for step in (1, 2, 3)]
    assert diagnostics.advice_on_steps(rows) is None
    assert diagnostics.advice_on_steps([{"step": 9, "loss": 0.1}]) is None
