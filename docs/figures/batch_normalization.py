"""Figures of the chapter on batch normalisation."""

import numpy as np
from figure_style import BLUE, GREEN, INK, VERMILION, panels
from training import learn

from tinyunet.data.scenes import paint_scenes
from tinyunet.functional import batch_norm2d

STYLES = ((BLUE, "-"), (VERMILION, "--"), (GREEN, ":"))


def batch_normalization_channels(quick):
    """Show how three channels are distributed before, normalised, and with a scale and shift."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 64, 64, 3)) * (0.5, 2.0, 1.0) + (-3.0, 1.0, 5.0)
    normalised, _ = batch_norm2d(x, np.ones(3), np.zeros(3))
    y, _ = batch_norm2d(x, np.array([1.5, 0.6, 1.0]), np.array([-2.0, 0.0, 2.0]))
    figure, axes = panels(1, 3, height=2.6, sharex=True)
    titles = ("as they come", "normalised", "with gamma and beta")
    edges = np.linspace(-7, 9, 81)
    for panel, title, values in zip(axes, titles, (x, normalised, y), strict=True):
        for channel, (colour, line) in enumerate(STYLES):
            counts, _ = np.histogram(values[..., channel], edges, density=True)
            panel.plot((edges[1:] + edges[:-1]) / 2, counts, line, color=colour)
        panel.set(title=title, yticks=[], xticks=[-5, 0, 5], ylim=(0, 0.9))
    return figure


def batch_normalization_runs(quick):
    """Draw the losses of two runs that differ only in the normalisation."""
    steps = 3 if quick else 300
    scenes, held_out = paint_scenes(2 if quick else 40, (128, 128)), paint_scenes(4, (128, 128), 1)
    figure, axes = panels(1, 2, height=2.8, sharey=True)
    runs = (("batch", "with it", BLUE, "-"), (None, "without", VERMILION, "--"))
    for norm, name, colour, line in runs:
        losses, judged = learn(scenes, held_out, steps, True, norm)
        reach = max(1, steps // 20)
        smooth = np.convolve(losses, np.ones(reach) / reach, mode="valid")
        axes[0].plot(np.arange(len(smooth)) + reach, smooth, line, color=colour, label=name)
        axes[1].plot(*np.transpose(judged), line, color=colour, label=name)
    axes[0].set(title="training loss (running mean)", xlabel="step", ylim=(0, None))
    axes[1].set(title="validation loss", xlabel="step")
    axes[1].legend(frameon=False, labelcolor=INK)
    return figure


FIGURES = {
    "batch_normalization_channels": batch_normalization_channels,
    "batch_normalization_runs": batch_normalization_runs,
}
