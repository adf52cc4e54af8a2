"""Batch normalization in training, with fewer and faster passes over the images.

Numbers of the channels meet the pixels in long rows (see `tinyunet.fast.long_rows`), and what can
be changed in place is: each array made here belongs to nobody else. Instead of the normalized image
the centered one is kept, x less the mean: its scale goes into the numbers of the channels. (After
training a convolution does the work of the normalization, see `tinyunet.fast.inference`.)
"""

from collections.abc import Callable

from tinyunet.backend import Array, xp
from tinyunet.fast.long_rows import long_rows, repeated, sum_of_products, sum_over_pixels
from tinyunet.nn.functional.normalization import one_part


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
    rows = long_rows(x)
    centered = rows - repeated(mean, rows)
    # The mean of squared deviations, not E[x^2] - E[x]^2: that would cancel in float32.
    (squares,) = sum_over_parts(sum_of_products(centered, centered, len(mean)))
    scale = 1 / xp.sqrt(squares / pixels + epsilon)
    y = centered * repeated(gamma * scale, rows)
    y += repeated(beta, rows)

    def backward(dy: Array, input_gradient: bool = True) -> tuple:
        # (No word of `rows` from here on: it would keep x in memory.)
        dy_rows, dbeta = long_rows(dy), sum_over_pixels(dy)
        dgamma = scale * sum_of_products(dy_rows, centered, len(mean))
        # The plain formula with gamma taken out of the brackets: what is left inside are
        # mean(dy) and mean(dy * x_hat).
        dx = None
        if input_gradient:
            sum_of_product, sum_of_dy = sum_over_parts(dgamma, dbeta)
            dx = centered * repeated(-scale * sum_of_product / pixels, centered)
            dx += dy_rows
            dx -= repeated(sum_of_dy / pixels, centered)
            dx *= repeated(gamma * scale, centered)
            dx = dx.reshape(dy.shape)
        return dx, dgamma, dbeta

    return (y.reshape(x.shape), backward), mean, squares / xp.maximum(pixels - 1, 1)
