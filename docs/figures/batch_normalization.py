"""Figures of the chapter on batch normalization."""

import numpy as np
from figure_style import BLUE, GREEN, VERMILION, measured, panels
from training import learn

from tinyunet.data.scenes import paint_scenes
from tinyunet.nn.functional import batch_norm2d

STYLES = ((BLUE, "-"), (VERMILION, "--"), (GREEN, ":"))


def batch_normalization_channels(quick):
    """Show how three channels are distributed before, normalized, and with a scale and shift."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 64, 64, 3)) * (0.5, 2.0, 1.0) + (-3.0, 1.0, 5.0)
    normalized, _ = batch_norm2d(x, np.ones(3), np.zeros(3))
    y, _ = batch_norm2d(x, np.array([1.5, 0.6, 1.0]), np.array([-2.0, 0.0, 2.0]))
    figure, axes = panels(1, 3, height=2.6, sharex=True)
    titles = ("as they come", "normalized", "with gamma and beta")
    edges = np.linspace(-7, 9, 81)
    for panel, title, values in zip(axes, titles, (x, normalized, y), strict=True):
        for channel, (color, line) in enumerate(STYLES):
            counts, _ = np.histogram(values[..., channel], edges, density=True)
            panel.plot((edges[1:] + edges[:-1]) / 2, counts, line, color=color)
        panel.set(title=title, yticks=[], xticks=[-5, 0, 5], ylim=(0, 0.9))
    return figure


def batch_normalization_runs(quick):
    """Draw the validation loss with it and without, on three sets of scenes."""
    steps, count = (3, 2) if quick else (300, 40)
    figure, axes = panels(1, 3, height=2.8, sharey=True)
    said = {}
    for number, panel in enumerate(axes):
        scenes = paint_scenes(count, (128, 128), 2 * number)
        held_out = paint_scenes(4, (128, 128), 2 * number + 1)
        ends = []
        runs = (("batch", "with it", BLUE, "-"), (None, "without", VERMILION, "--"))
        for norm, name, color, line in runs:
            _, judged = learn(scenes, held_out, steps, True, norm)
            panel.plot(*np.transpose(judged), line, color=color, label=name)
            ends.append(f"{judged[-1][1]:.2f}")
        panel.set(title=f"scenes {number + 1}", xlabel="step", ylim=(0, None))
        said[f"scenes {number + 1}"] = f"{ends[0]} with it and {ends[1]} without"
    axes[0].set_ylabel("validation loss")
    axes[-1].legend(loc="upper right")
    return measured(figure, said)


FIGURES = {
    "batch_normalization_channels": batch_normalization_channels,
    "batch_normalization_runs": batch_normalization_runs,
}
NARROW = ("batch_normalization_channels",)
