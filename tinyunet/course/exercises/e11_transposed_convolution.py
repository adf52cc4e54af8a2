"""Transposed convolution: stamp the kernel onto a larger image.

THE IDEA. This too makes an image larger, but with weights that are learned. Each pixel of x is
F numbers. Multiplied by the kernel, they give a square of 2 x 2 pixels with C channels: a
stamp. The stamps lie side by side, so the image doubles in height and width.

FORWARD        y[n, 2 h + u, 2 w + v, c] = bias[c]
                   + sum over f of x[n, h, w, f] * weight[u, v, c, f]

The kernel has the shape (2, 2, C, F), as that of the convolution that goes the other way, from
C channels to F. Hence the name: as matrices, the two are transposes of each other.

BACKWARD. For each (u, v) every second pixel of y, `y[:, u::2, v::2]`, was set to a matrix
product of x with weight[u, v].T. So this is exercise 3 again, four times. dx takes part in all
four.
"""

import numpy as np


def conv_transpose2d(x, weight, bias):
    """Enlarge images (N, H, W, F) to (N, 2 H, 2 W, C) by weight (2, 2, C, F) and bias (C,)."""
    images, height, width, _ = x.shape
    y = np.zeros((images, 2 * height, 2 * width, weight.shape[2])) + bias
    for u in (0, 1):
        for v in (0, 1):
            y[:, u::2, v::2] += x @ weight[u, v].T  # (N, H, W, F) @ (F, C) -> (N, H, W, C)

    def backward(dy):
        dx = ...  # your turn, shape (N, H, W, F)
        dweight = ...  # your turn, shape (2, 2, C, F)
        dbias = ...  # your turn, shape (C,)
        return dx, dweight, dbias

    return y, backward
