"""Batch normalization with fewer passes over the images.

Sums over pixels are matrix products (see `sum_over_pixels`), and what can be changed in place is:
each array made here belongs to nobody else.
"""

from collections.abc import Callable

from tinyunet.backend import Array, xp
from tinyunet.fast.convolution import sum_over_pixels


def batch_norm2d(
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    epsilon: float = 1e-5,
    mean: Array | None = None,
    variance: Array | None = None,
) -> tuple[Array, Callable]:
    """Do what `tinyunet.nn.functional.batch_norm2d` does."""
    if (mean is None) != (variance is None):
        raise ValueError("give both mean and variance, or neither to use those of the batch")
    if mean is None:
        result, _, _ = normalize_batch(x, gamma, beta, epsilon=epsilon)
        return result
    scale = 1 / xp.sqrt(variance + epsilon)
    x_hat = x - mean
    x_hat *= scale
    y = x_hat * gamma
    y += beta

    def backward(dy: Array, input_gradient: bool = True) -> tuple:
        dx = dy * (gamma * scale) if input_gradient else None
        return dx, sum_over_pixels(dy * x_hat), sum_over_pixels(dy)

    return y, backward


def normalize_batch(
    x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5
) -> tuple[tuple[Array, Callable], Array, Array]:
    """Do what `tinyunet.nn.functional.normalize_batch` does."""
    pixels = x.size // x.shape[3]
    mean = sum_over_pixels(x) / pixels
    x_hat = x - mean
    # The mean of squared deviations, not E[x^2] - E[x]^2: that would cancel in float32.
    variance = sum_over_pixels(x_hat * x_hat) / pixels
    scale = 1 / xp.sqrt(variance + epsilon)
    x_hat *= scale
    y = x_hat * gamma
    y += beta

    def backward(dy: Array, input_gradient: bool = True) -> tuple:
        dgamma, dbeta = sum_over_pixels(dy * x_hat), sum_over_pixels(dy)
        # The plain formula with gamma taken out of the brackets: what is left inside are
        # mean(dy) = dbeta / M and mean(dy * x_hat) = dgamma / M.
        dx = None
        if input_gradient:
            dx = x_hat * (-dgamma / pixels)
            dx += dy
            dx -= dbeta / pixels
            dx *= gamma * scale
        return dx, dgamma, dbeta

    return (y, backward), mean, variance
