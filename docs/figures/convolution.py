"""Figures of the chapter on convolution."""

import numpy as np
from figure_style import BRIGHTNESS, cells, frame, panels

from tinyunet.functional import conv2d


def convolution_idea(quick):
    """Show the window on the image, the kernel, the one number that comes out."""
    image = np.array([[0.0, 0.0, 9.0, 9.0, 9.0]] * 4)
    kernel = np.array([[-1.0, 0.0, 1.0]] * 3)
    y, _ = conv2d(image[None, :, :, None], kernel[:, :, None, None])
    figure, axes = panels(1, 3, height=2.9, width_ratios=(5, 3, 3))
    axes[0].set_title("the image, and a window")
    cells(axes[0], image, colours=BRIGHTNESS)
    axes[1].set_title("the kernel")
    cells(axes[1], kernel, room=(4, 3))
    axes[2].set_title("the answers")
    cells(axes[2], y[0, :, :, 0], room=(4, 3))
    frame(axes[0], 0, 1, 3, 3)
    frame(axes[2], 0, 1)
    return figure


FIGURES = {"convolution_idea": convolution_idea}
