"""Figure of the chapter on accuracy and IoU."""

import numpy as np
from figure_style import BLUE, VERMILION, panels

from tinyunet.inference.evaluation import Scores


def scores_accuracy(quick):
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
            judged = Scores(np.array(table))
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


FIGURES = {"scores_accuracy": scores_accuracy}
