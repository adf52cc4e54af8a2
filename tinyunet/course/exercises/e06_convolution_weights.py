"""Convolution, part one: the gradients of its weights and its bias.

THE IDEA. The window moves over the image, and at each place all that it sees is multiplied by
weights and summed up. There are F sets of weights (*filters*), and each gives one channel of
the result. The same weights are used at every place: that is what makes it a convolution.

FORWARD        y[n, i, j, f] = bias[f]
                   + sum over u, v, c of x[n, i + u, j + v, c] * weight[u, v, c, f]

Look at it tap by tap. For one place (u, v) within the window, the sum over c is a matrix
product of a shifted image (every pixel a row of C numbers) with weight[u, v], a matrix (C, F).
So forward is a loop over the taps, and adds up one matrix product for each.

BACKWARD. So dweight[u, v] is what you found in exercise 3: the shifted image, transposed, times
dy, with a row for each pixel of all images. `array.reshape(-1, C)` makes the rows. dbias is
exercise 2.

This time backward returns only (dweight, dbias); dx is the next exercise.
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
        dweight = ...  # your turn, shape (KH, KW, C, F)
        dbias = ...  # your turn, shape (F,)
        return dweight, dbias

    return y, backward
