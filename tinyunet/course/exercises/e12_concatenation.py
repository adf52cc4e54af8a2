"""Concatenation: put two images on top of each other, channel after channel.

THE IDEA. This is the skip connection of the U-Net. What comes from below knows *what* is there;
what comes across from the encoder knows exactly *where*. The next convolution gets both, side
by side in the channels: first the S of the skip, then the C of x.

FORWARD        y[n, h, w, c] = skip[n, h, w, c]        for the first S channels
               y[n, h, w, S + c] = x[n, h, w, c]       for the C after them

BACKWARD. Nothing is computed here, numbers are only passed on. So gradients are only passed
back, and the one question is which of them goes where.
"""

import numpy as np


def concat(skip, x):
    """Join images (N, H, W, S) and (N, H, W, C) to (N, H, W, S + C)."""
    y = np.concatenate([skip, x], axis=3)

    def backward(dy):
        dskip = ...  # your turn, shape (N, H, W, S)
        dx = ...  # your turn, shape (N, H, W, C)
        return dskip, dx

    return y, backward
