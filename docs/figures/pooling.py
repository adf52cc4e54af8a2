"""Figures of the chapter on max pooling."""

import numpy as np
from figure_style import BRIGHTNESS, INK, VERMILION, arrow, canvas, cells, frame, write

from tinyunet.nn.functional import max_pool2d


def pooling_winners(quick):
    """Show who wins in each window, and that the gradient goes to the winners alone."""
    image = np.array([[1.0, 5, 2, 0], [3, 4, 8, 1], [0, 0, 6, 7], [9, 0, 5, 4]])
    dy = np.array([[10.0, 20.0], [30.0, 40.0]])
    y, backward = max_pool2d(image[None, :, :, None])
    dx = backward(dy[None, :, :, None])[0, :, :, 0]
    figure, axes = canvas(18.2, 5.6)
    parts = (  # title, first row and column, numbers, colors
        ("x", 1, 0.2, image, BRIGHTNESS),
        ("y: the largest", 2, 6, y[0, :, :, 0], BRIGHTNESS),
        ("dy", 2, 9.6, dy, None),
        ("dx: to the winners", 1, 13.4, dx, None),
    )
    for title, row, column, numbers, colors in parts:
        cells(axes, numbers, at=(row, column), colors=colors, high=40 if "d" in title else 9)
        write(axes, 0, column + (len(numbers) - 1) / 2, title, size=12)
        if len(numbers) == 4:
            for corner in np.ndindex(2, 2):
                window = row + 2 * corner[0], column + 2 * corner[1]
                frame(axes, *window, 2, 2, color=INK, linewidth=2)
    for row, column in np.argwhere(dx > 0):
        frame(axes, row + 1, column + 0.2, color=VERMILION)
        frame(axes, row + 1, column + 13.4, color=VERMILION)
    arrow(axes, (2.5, 4), (2.5, 5.2))
    arrow(axes, (2.5, 11.4), (2.5, 12.6))
    return figure


FIGURES = {"pooling_winners": pooling_winners}
