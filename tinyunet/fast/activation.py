"""ReLU with a row of zeros: NumPy is twice as fast at the larger of two arrays as of one and 0."""

from collections.abc import Callable

from tinyunet.backend import Array, xp
from tinyunet.fast.long_rows import long_rows


def relu(x: Array) -> tuple[Array, Callable]:
    """Do what `tinyunet.nn.functional.relu` does."""
    rows = long_rows(xp.atleast_1d(x))
    y = xp.maximum(rows, xp.zeros(rows.shape[1], dtype=x.dtype)).reshape(x.shape)

    def backward(dy: Array) -> Array:
        dx = (y > 0).astype(dy.dtype)
        dx *= dy
        return dx

    return y, backward
