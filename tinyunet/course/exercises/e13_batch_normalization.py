"""Batch normalization: give every channel mean 0 and variance 1.

THE IDEA. Numbers that grow or fade from layer to layer make learning slow. So after a
convolution each channel is normalized over all M = N * H * W pixels of the batch; then a
learned scale, gamma, and a learned shift, beta, may undo it.

FORWARD        mean = sum of x / M        variance = sum of (x - mean)**2 / M       for each channel
               x_hat = (x - mean) / sqrt(variance + epsilon)
               y = gamma * x_hat + beta

BACKWARD. dgamma and dbeta are as for a product and a bias. For dx, first go back to x_hat:

               dx_hat = dy * gamma

Then comes the surprise of this exercise. A pixel reaches y by three ways: directly, through the
mean, and through the variance; the last two it shares with all pixels of its channel. Worked
out with the chain rule, the three together are

               dx = (dx_hat - mean of dx_hat - x_hat * mean of (dx_hat * x_hat)) / deviation

where `mean of` is over the M pixels, for each channel. The two things that are subtracted are
what no change of x can bring about: y cannot get another mean, nor another spread. (To derive
this formula yourself is worth an evening. The chapter has it.)
"""

import numpy as np


def batch_norm2d(x, gamma, beta, epsilon=1e-5):
    """Normalize images (N, H, W, C), then scale by gamma (C,) and shift by beta (C,)."""
    pixels = (0, 1, 2)  # the axes of images, rows and columns: all but the channels
    mean, variance = x.mean(axis=pixels), x.var(axis=pixels)
    deviation = np.sqrt(variance + epsilon)
    x_hat = (x - mean) / deviation
    y = gamma * x_hat + beta

    def backward(dy):
        dx = ...  # your turn, shape (N, H, W, C)
        dgamma = ...  # your turn, shape (C,)
        dbeta = ...  # your turn, shape (C,)
        return dx, dgamma, dbeta

    return y, backward
