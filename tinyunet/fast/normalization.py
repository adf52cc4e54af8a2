"""Batch normalization with fewer passes over the images.

Sums over pixels are matrix products (see `sum_over_pixels`), and what can be changed in place is:
each array made here belongs to nobody else.
"""

from collections.abc import Callable

from tinyunet.backend import Array, xp
from tinyunet.fast.convolution import sum_over_pixels
from tinyunet.nn.functional.normalization import one_part


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
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    epsilon: float = 1e-5,
    sum_over_parts: Callable = one_part,
) -> tuple[tuple[Array, Callable], Array, Array]:
    """Do what `tinyunet.nn.functional.normalize_batch` does."""
    pixels = xp.full((), x.size // x.shape[3], dtype=x.dtype)
    total, pixels = sum_over_parts(sum_over_pixels(x), pixels)
    mean = total / pixels
    x_hat = x - mean
    # The mean of squared deviations, not E[x^2] - E[x]^2: that would cancel in float32.
    (squares,) = sum_over_parts(sum_over_pixels(x_hat * x_hat))
    scale = 1 / xp.sqrt(squares / pixels + epsilon)
    x_hat *= scale
    y = x_hat * gamma
    y += beta

    def backward(dy: Array, input_gradient: bool = True) -> tuple:
        dgamma, dbeta = sum_over_pixels(dy * x_hat), sum_over_pixels(dy)
        # The plain formula with gamma taken out of the brackets: what is left inside are
        # mean(dy) and mean(dy * x_hat).
        dx = None
        if input_gradient:
            sum_of_product, sum_of_dy = sum_over_parts(dgamma, dbeta)
            dx = x_hat * (-sum_of_product / pixels)
            dx += dy
            dx -= sum_of_dy / pixels
            dx *= gamma * scale
        return dx, dgamma, dbeta

    return (y, backward), mean, squares / xp.maximum(pixels - 1, 1)
