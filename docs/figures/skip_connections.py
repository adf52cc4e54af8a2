"""Figures of the chapter on skip connections."""

import functools
import types

import numpy as np
from figure_style import (
    BLUE,
    BRIGHTNESS,
    INK,
    VERMILION,
    bare,
    cells,
    demo,
    frame,
    is_narrow,
    measured,
    panels,
    percent,
)

from tinyunet.data.scenes import CLASSES, paint_scenes
from tinyunet.nn.functional import concat, max_pool2d

STEPS, SCENES, SIZE = 120, 20, (128, 128)


def skip_connections_join(quick):
    """Show the crop and the two channels of what is joined."""
    skip = np.arange(36.0).reshape(1, 6, 6, 1)
    x = np.array([[3.0, 1.0], [4.0, 1.0]]).repeat(2, axis=0).repeat(2, axis=1)[None, :, :, None]
    y, _ = concat(skip, x)
    figure, axes = panels(1, 4, height=2.6)
    shown = [
        ("the skip", skip[0, :, :, 0], 35),
        ("from below", x[0, :, :, 0], 4),
        ("joined: channel 0", y[0, :, :, 0], 35),
        ("joined: channel 1", y[0, :, :, 1], 4),
    ]
    for panel, (title, numbers, high) in zip(axes, shown, strict=True):
        panel.set_title(title)
        cells(panel, numbers, high=high, size=10, room=(6, 6))
    frame(axes[0], 1, 1, 4, 4)
    frame(axes[2], 0, 0, 4, 4)
    return figure


def skip_connections_fork(quick):
    """Add up the gradients that meet at a fork: the skip's, and the pooling's."""
    x = np.array([[1.0, 5, 2, 0], [3, 4, 8, 1], [0, 2, 6, 7], [9, 1, 5, 4]])
    _, pooling_backward = max_pool2d(x[None, :, :, None])
    below = (
        pooling_backward(np.array([[2.0, -1], [3, 1]])[None, :, :, None])[0, :, :, 0] + 0.0
    )  # no -0
    skip = np.array([[0.0, 1, 0, -1], [1, 0, 2, 0], [0, -2, 1, 0], [1, 0, 0, 1]])
    figure, axes = panels(1, 4, height=2.5)
    shown = [("what forks", x), ("through the skip", skip), ("from below", below)]
    shown.append(("the gradient", skip + below))
    for number, (panel, (title, numbers)) in enumerate(zip(axes, shown, strict=True)):
        panel.set_title(title)
        cells(panel, numbers, colors=None if number else BRIGHTNESS, low=-4 if number else 0)
    middle = {"ha": "center", "va": "center"}
    for panel, sign in zip(axes[2:], "+=", strict=True):
        panel.text(-0.08, 0.5, sign, transform=panel.transAxes, color=INK, size=16, **middle)
    return figure


@functools.cache
def trained(quick, cut, classes):
    """Train the demo's network; gives the scenes held out, probabilities, gradients, errors."""
    skips = demo("skip_connections")
    options = types.SimpleNamespace(seed=0, steps=2 if quick else STEPS)
    paint = skips.paint if classes == 2 else lambda count, seed: paint_scenes(count, SIZE, seed)
    scenes, held_out = paint(2 if quick else SCENES, 0), paint(2 if quick else 8, 1)
    probabilities, lengths = skips.train(cut, scenes, held_out, options, classes)
    return held_out, probabilities, lengths, skips.errors(probabilities, held_out.masks)


def skip_connections_cut(quick):
    """Show what is left of the borders with all skips, without the finest, and without any."""
    held_out, *_ = trained(quick, (), 2)
    part = np.s_[0, 32:96, 32:96]
    figure, axes = panels(1, 5, height=2.3)
    axes[0].imshow(np.stack(held_out.images)[part])
    bare(axes[0], "photograph")
    axes[1].imshow(np.stack(held_out.masks)[part], cmap="gray", vmin=0, vmax=1)
    bare(axes[1], "truth")
    titles, said = ("all skips", "finest one cut", "all cut"), {}
    for panel, title, cut in zip(axes[2:], titles, ((), (0,), (0, 1, 2)), strict=True):
        _, probabilities, _, (beside, elsewhere) = trained(quick, cut, 2)
        panel.imshow(probabilities[part][..., 1], cmap="gray", vmin=0, vmax=1)
        said[title], others = percent(beside, 1), percent(elsewhere, 2)
        bare(panel, title, f"wrong: {said[title]}\nbeside a border,\n{others} elsewhere")
    return measured(figure, said)


def skip_connections_gradient(quick):
    """Draw the lengths of both gradients that meet at the first fork, for two tasks."""
    tasks = {"two classes: gray or green": 2, "five classes: color is not enough": len(CLASSES)}
    figure, axes = panels(1, 2, height=2.6 if is_narrow() else 3.0, sharey=True)
    factors = []
    for panel, (title, classes) in zip(axes, tasks.items(), strict=True):
        _, _, lengths, _ = trained(quick, (), classes)
        skip, below = lengths[:, :, 0].T
        panel.semilogy(skip, color=BLUE, label="through the skip")
        panel.semilogy(below, "--", color=VERMILION, label="from below")
        panel.set(title=title, xlabel="step")
        later = slice(len(lengths) // 2, None)
        factors.append(skip[later].mean() / below[later].mean())
    axes[0].set_ylabel("length of the gradient")
    axes[0].legend()
    two, five = factors
    said = {"two classes": f"{two:.1f} to", "five classes": f"{1 / five:.0f} times as long"}
    return measured(figure, said)


FIGURES = {
    "skip_connections_join": skip_connections_join,
    "skip_connections_fork": skip_connections_fork,
    "skip_connections_cut": skip_connections_cut,
    "skip_connections_gradient": skip_connections_gradient,
}
