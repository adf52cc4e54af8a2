"""Convolution with stride and padding: the whole of it, as a U-Net uses it.

THE IDEA. Two things are new. *Padding* puts rows and columns of zeros around the image first,
so that the result need not be smaller than the image. *Stride* moves the window by more than
one pixel from place to place, so that the result is smaller on purpose.

FORWARD        padded = x with `padding` zeros on every side
               y[n, i, j, f] = bias[f]
                   + sum over u, v, c of
                     padded[n, i * stride + u, j * stride + v, c] * weight[u, v, c, f]

BACKWARD. Put together what you have: (dx, dweight, dbias) from the two exercises before. What
is cut out of the padded image with steps of `stride` is put back with steps of `stride`. And
the zeros of the border are no part of x: their gradient is of no use to anybody, so cut it off
at the end.

`array[:, a:b:s]` takes every s-th row from a on, before b; it can be assigned to, and added to.
"""

import numpy as np


def conv2d(x, weight, bias, stride=1, padding=0):
    """Convolve images (N, H, W, C) with weight (KH, KW, C, F) and add bias (F,)."""
    kernel_height, kernel_width, channels, filters = weight.shape
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    images, height, width, _ = padded.shape
    out_height = (height - kernel_height) // stride + 1
    out_width = (width - kernel_width) // stride + 1

    def seen_by(u, v):
        """Say which pixels the tap (u, v) sees: padded[seen_by(u, v)]."""
        rows = slice(u, u + stride * (out_height - 1) + 1, stride)
        columns = slice(v, v + stride * (out_width - 1) + 1, stride)
        return slice(None), rows, columns

    y = np.zeros((images, out_height, out_width, filters)) + bias
    for u in range(kernel_height):
        for v in range(kernel_width):
            y += padded[seen_by(u, v)] @ weight[u, v]

    def backward(dy):
        dx = ...  # your turn, shape (N, H, W, C): without the border
        dweight = ...  # your turn, shape (KH, KW, C, F)
        dbias = ...  # your turn, shape (F,)
        return dx, dweight, dbias

    return y, backward
