"""Convolution, part two: the gradient of the image.

THE IDEA. The same convolution. Now ask where one pixel of x went: the window passed over it,
and it was multiplied by weight[0, 0] for one place of y, by weight[0, 1] for the place to the
left of it, and so on: KH * KW places, each of F channels. What they bring back adds up.

FORWARD        y[n, i, j, f] = bias[f]
                   + sum over u, v, c of x[n, i + u, j + v, c] * weight[u, v, c, f]

BACKWARD. Go tap by tap again. For one tap, y got `shifted @ weight[u, v]`, so the gradient of
that shifted image is what you found in exercise 3. And it belongs to where the shifted image
was cut out of x, as in exercise 5.

(There is another way to the same numbers: dx is itself a convolution, of dy with a border of
zeros, with the kernel turned by 180 degrees. Can you see why from the loop?)
"""

import numpy as np


def conv2d(x, weight, bias):
    """Convolve images (N, H, W, C) with weight (KH, KW, C, F) and add bias (F,)."""
    kernel_height, kernel_width, channels, filters = weight.shape
    images, height, width, _ = x.shape
    out_height, out_width = height - kernel_height + 1, width - kernel_width + 1
    y = np.zeros((images, out_height, out_width, filters)) + bias
    for u in range(kernel_height):
        for v in range(kernel_width):
            shifted = x[:, u : u + out_height, v : v + out_width]
            y += shifted @ weight[u, v]  # (N, OH, OW, C) @ (C, F) -> (N, OH, OW, F)

    def backward(dy):
        dx = ...  # your turn, shape (N, H, W, C)
        return dx

    return y, backward
