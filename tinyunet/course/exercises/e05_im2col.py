"""im2col: write down what a small window sees at every place of an image.

THE IDEA. A convolution looks at an image through a window of KH x KW pixels and moves it from
place to place. Copy out what the window sees, everywhere: these are the *patches* (or columns).
A pixel in the middle of the image lies in KH * KW windows, so it is copied that many times.

FORWARD        columns[n, i, j, u, v, c] = x[n, i + u, j + v, c]

               i, j: where the window's upper left corner is; u, v: the place within the window

BACKWARD. Each copy comes back with a gradient of its own, dcolumns[n, i, j, u, v, c], and
belongs to the pixel that it was copied from. You know the rule from the bias: where a number is
used several times, its gradients add up. Start from zeros, and put every piece where it came
from.

Forward runs over the places (u, v) within the window, and copies one shifted image for each.
The same loop, the other way, does it.
"""

import numpy as np


def im2col(x, kernel_size):
    """Copy the window (KH, KW) out of images (N, H, W, C), at every place where it fits."""
    images, height, width, channels = x.shape
    kernel_height, kernel_width = kernel_size
    out_height, out_width = height - kernel_height + 1, width - kernel_width + 1
    columns = np.zeros((images, out_height, out_width, kernel_height, kernel_width, channels))
    for u in range(kernel_height):
        for v in range(kernel_width):
            columns[:, :, :, u, v] = x[:, u : u + out_height, v : v + out_width]

    def backward(dcolumns):
        dx = ...  # your turn, shape (N, H, W, C)
        return dx

    return columns, backward
