"""Figures of the chapter on notation."""

import numpy as np
from figure_style import arrow, canvas, cells, frame, write


def notation_axes(quick):
    """Show a batch of two images of 4 x 6 pixels with three channels, and one pixel of it."""
    x = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    figure, axes = canvas(21.4, 6.9)
    top, shift = 1.9, 0.4
    for image, left in ((0, 1.0), (1, 9.8)):
        for channel in (2, 1, 0):  # the first one in front
            place = (top - shift * channel, left + shift * channel)
            form = "{:g}" if channel == 0 else ""
            look = {"low": 0, "high": 2 * x.max(), "form": form, "size": 10}
            cells(axes, x[image, :, :, channel], at=place, **look)
        write(axes, top + 4.15, left + 3.5, f"image n = {image}")
    arrow(axes, (top - 0.4, 0.2), (top + 3.4, 0.2))
    write(axes, top + 1.5, -0.2, "h")
    arrow(axes, (top + 3.8, 1), (top + 3.8, 2.9))
    write(axes, top + 4.3, 1.9, "w")
    arrow(axes, (top - 0.7, 0.5), (top - 1.6, 1.4))
    write(axes, top - 1.3, 0.6, "c")
    frame(axes, top, 9.8 + 5)
    arrow(axes, (top, 15.5), (top, 17.4))
    cells(axes, x[1, 0, 5][None], low=0, high=2 * x.max(), size=10, at=(top, 18.2))
    write(axes, top - 1, 19.2, "x[1, 0, 5]")
    return figure


FIGURES = {"notation_axes": notation_axes}
