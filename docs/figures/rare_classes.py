"""Figures of the chapter on rare classes."""

import numpy as np
from figure_style import BLUE, GREEN, INK, LEVEL, VERMILION, bare, demo, measured, panels

from tinyunet.data.weight_maps import border_weights, suggest_class_weights
from tinyunet.inference.evaluation import Scores
from tinyunet.nn.functional import dice_loss, softmax_cross_entropy

PIXELS = 10_000


def rare_classes_accuracy(quick):
    """Draw accuracy and IoU over the share of the rare class, for two predictors."""
    shares = np.logspace(-3, np.log10(0.5), 30)
    scores = {"always": [], "useful": []}
    for share in shares:
        rare = round(1e6 * share)
        rest, wrong = 10**6 - rare, round(0.2 * rare)  # missed, and as many false alarms
        tables = {
            "always": [[rest, 0], [rare, 0]],
            "useful": [[rest - wrong, wrong], [wrong, rare - wrong]],
        }
        for name, table in tables.items():
            judged = Scores.from_confusion(np.array(table))
            scores[name].append((judged.pixel_accuracy, judged.iou[1]))
    figure, (accuracy, iou) = panels(1, 2, height=3.4, sharey=True)
    for name, color, line in (("useful", BLUE, "-"), ("always", VERMILION, "--")):
        for axes, values in zip((accuracy, iou), np.transpose(scores[name]), strict=True):
            axes.semilogx(100 * shares, values, line, color=color)
    for axes, title in ((accuracy, "pixel accuracy"), (iou, "IoU of the rare class")):
        axes.set(title=title, xlabel="share of the rare class in %", ylim=(-0.04, 1.12))
        axes.set_xticks([0.1, 1, 10, 50], ["0.1", "1", "10", "50"])
        axes.minorticks_off()
    iou.text(0.12, 0.71, "finds 80 %", color=BLUE, fontsize=12)
    iou.text(0.12, 0.05, "always background", color=VERMILION, fontsize=12)
    accuracy.text(11, 1.03, "finds 80 %", color=BLUE, fontsize=12)
    accuracy.text(0.6, 0.72, "always background", color=VERMILION, fontsize=12)
    return figure


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


def rare_classes_gradient(quick):
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


def rare_classes_borders(quick):
    """Draw three cells, two of them close together, and the paper's border weights."""
    row, column = np.indices((48, 78))
    instances = np.zeros(row.shape, int)
    for number, (y, x, radius) in enumerate(
        ((22, 18, 12.6), (24, 45, 11.6), (24, 68, 6.6)), start=1
    ):
        instances[(row - y) ** 2 + (column - x) ** 2 <= radius**2] = number
    weights = 1 + border_weights(instances)
    figure, axes = panels(1, 2, height=2.9)
    axes[0].imshow(instances > 0, cmap=LEVEL, vmax=1.6, interpolation="none")
    axes[1].imshow(weights, cmap=LEVEL, vmin=1, interpolation="none")
    axes[1].contour(instances > 0, levels=[0.5], colors=INK, linewidths=1)
    bare(axes[0], "three cells")
    bare(axes[1], f"the weights, 1 to {weights.max():.1f}")
    return figure


def rare_classes_starts(quick):
    """Draw the IoU of buildings step by step, a line for each random start, as the demo trains."""
    imbalance = demo("imbalance")
    starts, steps, count = (1, 2, 2) if quick else (6, 60, 40)
    scenes = imbalance.paint_buildings(count, 0)
    held_out = imbalance.paint_buildings(imbalance.HELD_OUT, 1)
    figure, axes = panels(1, 2, height=3.2, sharey=True)
    counts = []
    for panel, title, weights, color, line in (
        (axes[0], "without class weights", None, VERMILION, "--"),
        (axes[1], "with class weights", imbalance.equal_voices(scenes), BLUE, "-"),
    ):
        stuck = 0
        for start in range(starts):
            curve, _ = imbalance.train(weights, scenes, held_out, steps, start)
            step, _, iou = np.transpose(curve)
            panel.plot(step, iou, line, color=color, marker="o", markersize=4)
            stuck += iou[-1] < imbalance.STUCK
        panel.set(title=title, xlabel="step", ylim=(-0.04, 1.0))
        counts.append(("none", "one", "two", "three", "four", "five", "six")[stuck])
        found = f"{stuck} of {starts} found none"
        panel.text(step[0], 0.9, found, color=color, fontsize=12)
    axes[0].set_ylabel("IoU of buildings")
    without, weighed = counts
    said = {"stuck": f"Without weights {without} of the six starts are stuck"}
    return measured(figure, said | {"not stuck": f"with weights {weighed} is"})


FIGURES = {
    "rare_classes_accuracy": rare_classes_accuracy,
    "rare_classes_starts": rare_classes_starts,
    "rare_classes_borders": rare_classes_borders,
    "rare_classes_gradient": rare_classes_gradient,
}
