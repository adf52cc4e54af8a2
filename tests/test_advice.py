"""The warnings: given when there is a reason, and only then."""

import pytest

from tinyunet.training import diagnostics


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
