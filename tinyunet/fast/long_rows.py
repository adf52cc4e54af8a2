"""Numbers of the channels, combined with all pixels: in long rows.

NumPy works through the last axis of an array in one go, and takes a moment to begin with the next
row. A pixel's 16 channels are a short row: to add a number to each channel takes three times as
long as to add two arrays. So many pixels are seen as one long row, and what is to be added to each
pixel is repeated as often. (On a GPU a row is a pixel.)
"""

from functools import cache

from tinyunet.backend import Array, device_name, xp

ROW_LENGTH = {"cpu": 2**13, "cuda": 1}


def long_rows(x: Array) -> Array:
    """View an array (..., C) as rows of the channels of several pixels each."""
    channels = x.shape[-1]
    longest = max(1, ROW_LENGTH[device_name()] // channels)
    return x.reshape(-1, channels * largest_divisor(x.size // channels, longest))


@cache
def largest_divisor(number: int, limit: int) -> int:
    """Find the largest divisor of a number that is not above a limit."""
    return next(divisor for divisor in range(limit, 0, -1) if number % divisor == 0)


def repeated(values: Array, rows: Array) -> Array:
    """Repeat a number for each channel (C,) along a row of `long_rows`."""
    return xp.broadcast_to(values, (rows.shape[1] // values.size, values.size)).reshape(-1)


def sum_over_pixels(x: Array) -> Array:
    """Sum (N, H, W, C) over all pixels: (C,).

    As a product with a row of ones, because BLAS is fast at adding up the rows of a tall matrix.
    """
    pixels = x.reshape(-1, x.shape[3])
    return xp.ones(len(pixels), dtype=x.dtype) @ pixels


def sum_of_products(rows: Array, other_rows: Array, channels: int) -> Array:
    """Sum the products of two arrays, seen in `long_rows`, over all pixels: (C,)."""
    if device_name() == "cuda":  # a row is a pixel, and an einsum several kernels
        return (rows * other_rows).sum(axis=0)
    sums = xp.einsum("rn,rn->n", rows, other_rows)  # no array of the products in between
    return sums.reshape(-1, channels).sum(axis=0)
