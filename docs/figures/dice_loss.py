"""Figure of the chapter on the Dice loss."""

import numpy as np
from figure_style import BLUE, GREEN, VERMILION, panels

from tinyunet.data.weight_maps import suggest_class_weights
from tinyunet.nn.functional import dice_loss, softmax_cross_entropy

PIXELS = 10_000


def push(loss, share, logit):
    """Measure how hard a loss pushes the pixels of the rare class: minus the sum of their dlogits.

    The rare class has a share of PIXELS pixels, each with this logit; the rest is right and sure.
    """
    rare = round(PIXELS * share)
    labels = (np.arange(PIXELS) < rare).astype(int)[None, None]
    logits = np.zeros((1, 1, PIXELS, 2))
    logits[..., 1] = np.where(labels == 1, logit, -12.0)
    return -loss(logits, labels)[1]()[labels == 1][:, 1].sum()


def weighted_cross_entropy(logits, labels):
    """Compute the cross-entropy with the weights of ``--class-weights auto``."""
    weights = np.array(suggest_class_weights(np.bincount(labels.ravel(), minlength=2)))
    return softmax_cross_entropy(logits, labels, class_weights=weights)


def dice_loss_gradient(quick):
    """Compare how hard three losses push the pixels of a rare class."""
    losses = (
        (softmax_cross_entropy, BLUE, "-"),
        (weighted_cross_entropy, GREEN, "-."),
        (dice_loss, VERMILION, "--"),
    )
    shares, logits = np.logspace(-3, np.log10(0.5), 12), np.linspace(-8, 8, 33)
    figure, (over_share, over_logit) = panels(1, 2, height=3.6, sharey=True)
    for loss, color, line in losses:
        pushes = [push(loss, share, 0.0) for share in shares]
        over_share.loglog(100 * shares, pushes, line, color=color)
        pushes = [push(loss, 0.01, logit) for logit in logits]
        over_logit.semilogy(logits, pushes, line, color=color)
    over_share.set(title="undecided, p = 1/2", xlabel="share of the rare class in %")
    over_share.set(ylabel="push on the rare pixels", ylim=(1e-5, 1))
    over_share.set_xticks([0.1, 1, 10, 50], ["0.1", "1", "10", "50"])
    over_share.minorticks_off()
    for axes, row, column, text, color in (
        (over_share, 1.6, 1.5e-3, "cross-entropy", BLUE),
        (over_share, 0.11, 6.5e-3, "with weights", GREEN),
        (over_share, 0.11, 0.17, "Dice", VERMILION),
        (over_logit, -3.9, 3e-4, "cross-entropy", BLUE),
        (over_logit, -7.8, 0.14, "with weights", GREEN),
        (over_logit, -7.9, 4e-3, "Dice", VERMILION),
    ):
        axes.text(row, column, text, color=color, fontsize=12)
    over_logit.set(title="a share of 1 %", xlabel="logit of the rare class at its pixels")
    return figure


FIGURES = {"dice_loss_gradient": dice_loss_gradient}
