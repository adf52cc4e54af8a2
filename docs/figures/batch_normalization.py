"""Figures of the chapter on batch normalization."""

import functools

import numpy as np
from figure_style import BLUE, GREEN, VERMILION, is_narrow, measured, panels
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


@functools.cache
def runs(quick):
    """Train with it and without, on three sets of scenes; gives (step, validation loss) of each."""
    steps, count = (3, 2) if quick else (300, 40)
    found = []
    for number in range(3):
        scenes = paint_scenes(count, (128, 128), 2 * number)
        held_out = paint_scenes(4, (128, 128), 2 * number + 1)
        found.append([learn(scenes, held_out, steps, True, norm)[1] for norm in ("batch", None)])
    return found


def batch_normalization_runs(quick):
    """Draw the validation loss with it and without, on three sets of scenes."""
    figure, axes = panels(1, 3, height=2.1 if is_narrow() else 2.8, sharey=True)
    said = {}
    styles = (("with it", BLUE, "-"), ("without", VERMILION, "--"))
    for number, (panel, pair) in enumerate(zip(axes, runs(quick), strict=True), start=1):
        for judged, (name, color, line) in zip(pair, styles, strict=True):
            panel.plot(*np.transpose(judged), line, color=color, label=name)
        panel.set(title=f"scenes {number}", xlabel="step", ylim=(0, None))
        ends = (f"{judged[-1][1]:.2f}" for judged in pair)
        said[f"scenes {number}"] = "{} with it and {} without".format(*ends)
    axes[0].set_ylabel("validation loss")
    axes[-1].legend(loc="upper right")
    return measured(figure, said)


FIGURES = {
    "batch_normalization_channels": batch_normalization_channels,
    "batch_normalization_runs": batch_normalization_runs,
}
