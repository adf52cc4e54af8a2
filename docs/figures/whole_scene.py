"""Figures of the chapter on the overlap-tile sweep."""

import functools
import types

import numpy as np
from figure_style import BLUE, INK, VERMILION, bare, demo, frame, is_narrow, measured, panels
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm

from tinyunet.data.dataset import read_mirrored
from tinyunet.data.scenes import paint_scene
from tinyunet.inference.sliding_window import Axis, full_margin, predict_probabilities
from tinyunet.nn.unet import UNet


def whole_scene_window(quick):
    """Show a tile and its window inside the scene, and at the corner, where it is mirrored."""
    photo, _ = paint_scene((128, 128), seed=1)
    network = UNet(3, 2, base_channels=1, depth=3)
    axis = Axis(network, 128, tile=32, margin=24)
    figure, axes = panels(1, 3, height=3.0, width_ratios=(128, 80, 80))
    axes[0].imshow(photo, interpolation="none")
    bare(axes[0], "tiles of 32, windows of 80")
    for tile in axis.tiles[1:]:
        line, ends = [tile.start - 0.5] * 2, (-0.5, 127.5)
        axes[0].plot(line, ends, ends, line, color="white", linewidth=0.8, alpha=0.6)
    for top, left, style in ((64, 64, "-"), (0, 0, "--")):
        frame(axes[0], top, left, axis.tile, axis.tile, linestyle=style)
        outer = (top - axis.before, left - axis.before, axis.window, axis.window)
        frame(axes[0], *outer, color=BLUE, linestyle=style)
    axes[0].set(xlim=(-26, 128), ylim=(128, -26))
    places = {"inside: what is there": (64, 64, "-"), "at a corner: mirrored": (0, 0, "--")}
    for panel, (title, (top, left, style)) in zip(axes[1:], places.items(), strict=True):
        around = [axis.seen(axis.tiles[first // axis.tile]) for first in (top, left)]
        panel.imshow(read_mirrored(photo, *around), interpolation="none")
        bare(panel, title)
        frame(panel, axis.skip, axis.skip, axis.tile, axis.tile, linestyle=style)
        frame(panel, 0, 0, axis.window, axis.window, color=BLUE, linestyle=style)
    return figure


@functools.cache
def swept(quick):
    """Predict the demo's scene at once and in tiles; gives what the figures draw."""
    overlap = demo("overlap_tile")
    options = types.SimpleNamespace(seed=0, steps=2 if quick else 80, threads=None)
    network, standardization = overlap.train(options)
    tile = 32 if quick else 64
    photo, _ = paint_scene((4 * tile, 4 * tile), seed=1)
    image, full = standardization.transform(photo), full_margin(network)
    whole = predict_probabilities(network, image, tile=4 * tile, margin=full)
    margins = (0, 16, full) if quick else range(0, full + 1, 8)
    differences = {
        margin: abs(predict_probabilities(network, image, tile=tile, margin=margin) - whole)
        for margin in margins
    }
    return photo, {margin: found.max(axis=-1) for margin, found in differences.items()}


def whole_scene_seams(quick):
    """Show where tiles differ from the whole, without a margin, with a small and the full one."""
    photo, differences = swept(quick)
    full = max(differences)
    part = np.s_[: len(photo) // 2, : len(photo) // 2]  # 2 x 2 tiles
    figure, axes = panels(1, 4, height=2.9 if is_narrow() else 3.2)
    axes[0].imshow(photo[part], interpolation="none")
    bare(axes[0], "four tiles", " ")
    norm, how = LogNorm(1e-7, 1), {"cmap": "cividis", "interpolation": "none"}
    for panel, margin in zip(axes[1:], (0, 16, full), strict=True):
        panel.imshow(np.maximum(differences[margin][part], 1e-7), norm=norm, **how)
        bare(panel, f"margin {margin}", f"at most {differences[margin].max():.1g}")
    shape = {"orientation": "horizontal", "aspect": 30 if is_narrow() else 50}
    bar = figure.colorbar(ScalarMappable(norm, "cividis"), ax=axes, **shape)
    bar.set_ticks([1e-6, 1e-4, 1e-2, 1])
    bar.minorticks_off()
    bar.set_label("difference of probability to the whole image", color=INK)
    bar.ax.tick_params(colors=INK)
    bar.outline.set_visible(False)
    return figure


def whole_scene_margin(quick):
    """Draw how much tiles differ from the whole, margin by margin."""
    _, differences = swept(quick)
    margins = list(differences)
    figure, axes = panels(1, 1, height=2.8)
    largest = [found.max() for found in differences.values()]
    end = "\n" if is_narrow() else " "
    middle = [np.mean(found) for found in differences.values()]
    axes[0].semilogy(margins, largest, "o-", color=VERMILION)
    axes[0].semilogy(margins, middle, "s--", color=BLUE)
    axes[0].text(21, 0.25, "the largest of all pixels", color=INK)
    axes[0].text(margins[1] + 1, 2 * middle[1], "the mean", color=INK)
    axes[0].set(
        xlabel=f"margin in pixels{end}({margins[-1]}: half the receptive field, rounded up)",
        ylabel="difference",
        xticks=margins,
        ylim=(1e-9, 2),
    )
    return measured(figure, {"the mean": f"The mean falls from about {middle[0]:.2f}"})


FIGURES = {
    "whole_scene_window": whole_scene_window,
    "whole_scene_seams": whole_scene_seams,
    "whole_scene_margin": whole_scene_margin,
}
