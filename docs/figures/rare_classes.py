"""Figures of the chapter on rare classes."""

import functools

import numpy as np
from figure_style import BLUE, INK, LEVEL, VERMILION, bare, demo, is_narrow, measured, panels

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


@functools.cache
def trained(quick):
    """Train as the demo does; gives the curves of each start, without class weights and with."""
    imbalance = demo("imbalance")
    starts, steps, count = (1, 2, 2) if quick else (6, 60, 40)
    scenes = imbalance.paint_buildings(count, 0)
    held_out = imbalance.paint_buildings(imbalance.HELD_OUT, 1)
    return {
        title: [
            imbalance.train(weights, scenes, held_out, steps, start)[0] for start in range(starts)
        ]
        for title, weights in (("without", None), ("with", imbalance.equal_voices(scenes)))
    }


def rare_classes_starts(quick):
    """Draw the IoU of buildings step by step, a line for each random start, as the demo trains."""
    figure, axes = panels(1, 2, height=2.6 if is_narrow() else 3.2, sharey=True)
    said = {}
    looks = ((VERMILION, "--"), (BLUE, "-"))
    for panel, (title, curves), (color, line) in zip(
        axes, trained(quick).items(), looks, strict=True
    ):
        for curve in curves:
            step, _, iou = np.transpose(curve)
            panel.plot(step, iou, line, color=color, marker="o", markersize=4)
        ends = [curve[-1][2] for curve in curves]
        said[title] = f"{min(ends):.2f} to {max(ends):.2f} {title} weights"
        panel.set(title=f"{title} class weights", xlabel="step", ylim=(-0.04, 1.0))
        panel.text(step[0], 0.9, f"at the end {min(ends):.2f} to {max(ends):.2f}", color=color)
    axes[0].set_ylabel("IoU of buildings")
    return measured(figure, said)


FIGURES = {
    "rare_classes_starts": rare_classes_starts,
    "rare_classes_borders": rare_classes_borders,
}
