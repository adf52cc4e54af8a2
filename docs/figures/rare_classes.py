"""Figures of the chapter on rare classes."""

import numpy as np
from figure_style import BLUE, INK, LEVEL, VERMILION, bare, demo, measured, panels

from tinyunet.data.weight_maps import border_weights


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
    "rare_classes_starts": rare_classes_starts,
    "rare_classes_borders": rare_classes_borders,
}
NARROW = ("rare_classes_borders",)
