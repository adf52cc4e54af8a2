"""What a person should be told while a network trains, in words.

Each function returns a sentence that says what it is and what to do, or None. Nothing here changes
the training.
"""


def rare_in_validation(counts, validation_counts, class_names: list[str]) -> str | None:
    """Warn of classes that the validation images hold hardly any pixels of.

    The best checkpoint is chosen on the validation images, by a mean over the classes. A class that
    has less than a fifth of its share in the training images is judged there by a few pixels.

    Parameters
    ----------
    counts, validation_counts : array (K,)
        Pixels of each class in the training and in the validation images.
    """
    shares, validation_shares = counts / counts.sum(), validation_counts / validation_counts.sum()
    rare = [
        f"{name} ({100 * there:.2f} % of the pixels there, {100 * here:.2f} % here)"
        for name, here, there in zip(class_names, shares, validation_shares, strict=True)
        if there < here / 5
    ]
    if not rare:
        return None
    remedy = "choose another --val-fraction, or give --val-images and --val-masks"
    return f"the validation images lack what the training images have: {', '.join(rare)}; {remedy}"


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
