"""Figures of the chapter on transposed convolution."""

import numpy as np
from figure_style import BRIGHTNESS, arrow, canvas, cells, demo, is_narrow, panels, write

from tinyunet.nn.functional import conv_transpose2d


def transposed_convolution_stamps(quick):
    """Show each pixel's stamp and their sum, for three taps and for two."""
    x = np.array([1.0, 2.0, 3.0])
    figure, axes = canvas(18.4, 8.4)
    for row, text in ((1, "x"), (4, "stamps"), (7.1, "y, their sum")):
        write(axes, row, -0.3, text, ha="left")
    for taps, left in (([1.0, 10.0, 100.0], 3.4), ([1.0, 10.0], 12)):
        kernel = np.array(taps)

        def transposed(row, weight=kernel[None, :, None, None]):
            return conv_transpose2d(row[None, None, :, None], weight, stride=(1, 2))[0].ravel()

        y = transposed(x)
        write(axes, -0.1, left + (len(y) - 1) / 2, f"{len(taps)} taps, stride 2", size=12)
        for index in range(3):
            stamp = transposed(x * (np.arange(3) == index))
            ours = slice(2 * index, 2 * index + len(taps))
            middle = left + 2 * index + (len(taps) - 1) / 2
            cells(axes, x[None, index : index + 1], high=300, at=(1, middle))
            cells(axes, stamp[None, ours], high=300, at=(3 + index, left + 2 * index))
            arrow(axes, (1.6, middle), (2.4 + index, middle), zorder=0)
        cells(axes, y[None], high=300, at=(7.1, left))
        arrow(axes, (5.7, left + (len(y) - 1) / 2), (6.5, left + (len(y) - 1) / 2))
    return figure


def transposed_convolution_checkerboard(quick):
    """Count what each output pixel sums up in three ways to double an image; and try them."""
    checkerboard = demo("checkerboard")
    kernels = np.random.default_rng(0).normal(size=(3, 3, checkerboard.CHANNELS, 64))
    results = [checkerboard.measure(way, 5, kernels) for way in checkerboard.WAYS.values()]
    reach = max(abs(pattern - pattern.mean()).max() for _, pattern, _ in results)
    figure, axes = panels(2, 3, height=4.0 if is_narrow() else 6.0)
    titles = (
        "transposed,\n3 x 3, stride 2",
        "transposed,\n2 x 2, stride 2",
        "nearest neighbors,\nthen 3 x 3",
    )
    for column, (title, (counts, pattern, unevenness)) in enumerate(
        zip(titles, results, strict=True)
    ):
        axes[0, column].set_title(title)
        cells(axes[0, column], counts, low=0, high=12)
        axes[1, column].set_xlabel(f"unevenness {unevenness:.2f}")
        look = {"colors": BRIGHTNESS, "form": ""}
        cells(axes[1, column], pattern - pattern.mean(), low=-reach, high=reach, **look)
    axes[0, 0].set_ylabel("products summed")
    axes[1, 0].set_ylabel("a flat image")
    return figure


FIGURES = {
    "transposed_convolution_stamps": transposed_convolution_stamps,
    "transposed_convolution_checkerboard": transposed_convolution_checkerboard,
}
