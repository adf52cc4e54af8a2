"""What a person should be told while a network trains, in words.

Nothing here changes the training.
"""


def advice_on_steps(history: list[dict]) -> str | None:
    """Say at the end of a run, by the validation loss, whether more or fewer steps would help.

    The loss swings a little from one validation to the next, so only a difference of 5 % counts.

    Parameters
    ----------
    history : list of dict
        The rows of ``metrics.csv``; those with a ``val_loss`` count, four of them at least.
    """
    losses = [(row["val_loss"], row["step"]) for row in history if row.get("val_loss") is not None]
    if len(losses) < 4:
        return None
    (lowest, step), (last, end) = min(losses), losses[-1]
    if last > 1.05 * lowest:
        remedy = "more images or --elastic would help, more --steps would not."
        return f"The validation loss was lowest at step {step} and has risen since: {remedy}"
    if last < 0.95 * min(losses[: 3 * len(losses) // 4])[0]:
        return f"The validation loss was still falling at step {end}: more --steps would help."
    return "The validation loss has leveled off: more --steps would change little."
