"""What a person should be told while a network trains, in words.

Each function looks for one thing that goes wrong often, and returns a sentence that says what it
is and what to do, or None. Nothing here changes the training.
"""

from tinyunet.data.splits import NAME
from tinyunet.inference.evaluation import Scores


def tiles_split_at_random(stems: list[str]) -> str | None:
    """Warn of tiles of one scene that are about to be split at random.

    Parameters
    ----------
    stems : list of str
        The names of all images.
    """
    if not all(NAME.fullmatch(stem) for stem in stems):
        return None
    return (
        "the images are tiles of a scene, and the validation images are chosen among them at "
        "random: each has neighbors that look like it among the training images, so the scores "
        "will be too good; --val-split spatial holds out a block of neighboring tiles instead"
    )


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
        f"{name} ({there:.2%} of the pixels there, {here:.2%} here)"
        for name, here, there in zip(class_names, shares, validation_shares, strict=True)
        if there < here / 5
    ]
    if not rare:
        return None
    return (
        f"the validation images lack what the training images have: {', '.join(rare)}. The scores, "
        "and so the choice of the best model, say little about it: choose another --val-fraction, "
        "or give --val-images and --val-masks"
    )


def one_class_only(scores: Scores, class_names: list[str]) -> str | None:
    """Warn of a network that predicts the same class everywhere, where the truth has more."""
    true_classes = (scores.confusion.sum(axis=1) > 0).sum()
    if len(scores.predicted_classes) != 1 or true_classes < 2:
        return None
    return (
        f"the network predicts {class_names[scores.predicted_classes[0]]!r} for every validation "
        "pixel. Early on this is usual; if it stays, train longer, try --class-weights auto, and "
        "check in preview.png that the masks are what you think"
    )


def overfitting(history: list[dict]) -> str | None:
    """Warn, once in a run, when validation gets worse while the training loss still falls.

    Scores swing from one validation to the next, so it takes four in a row that stay 0.02 below the
    best one before, while the loss is a tenth lower than it was then.

    Parameters
    ----------
    history : list of dict
        The rows of ``metrics.csv`` so far. The warning belongs to the last of them: it is given
        only if the rows before gave no reason for it.
    """
    if not history or history[-1].get("val_mean_iou") is None:
        return None
    losses, validations = [], []
    for row in history:
        losses.append(row["loss"])
        if row.get("val_mean_iou") is None:
            continue
        validations.append((row["val_mean_iou"], sum(losses) / len(losses), row["step"]))
        losses = []
    signs = [is_worse_for_long(validations[:count]) for count in range(len(validations) + 1)]
    if not signs[-1] or any(signs[:-1]):
        return None
    best, _, step = max(validations)
    return (
        f"validation was best at step {step} (mean IoU {best:.3f}) and has been worse since, while "
        "the training loss still falls: the network is overfitting. "
        "model.npz keeps the best; more images or --elastic help, and --patience 5 would end "
        "such a run"
    )


def is_worse_for_long(validations: list[tuple]) -> bool:
    """Tell whether the last four of (mean IoU, loss, step) are worse, at a lower loss."""
    before, last = validations[:-4], validations[-4:]
    if not before:
        return False
    best, loss_then, _ = max(before)
    losses = [loss for _, loss, _ in last]
    return max(last)[0] < best - 0.02 and sum(losses) / len(losses) < 0.9 * loss_then
