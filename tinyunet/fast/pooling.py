"""Max pooling without moving a pixel: the windows' places are compared with their maximum."""

from collections.abc import Callable
from functools import reduce
from itertools import product

from tinyunet.backend import Array, xp
from tinyunet.nn.functional.pooling import check_divisible


def max_pool2d(x: Array, size: int = 2) -> tuple[Array, Callable]:
    """Do what `tinyunet.nn.functional.max_pool2d` does.

    ``x[:, u::size, v::size]`` is what all windows have at their place (u, v). Who won is found out
    in backward: what it needs for that, x and y, the layers before and after keep anyway.
    """
    check_divisible(x.shape, size)
    # The largest of each `size` rows, then of each `size` columns.
    rows = reduce(xp.maximum, [x[:, u::size] for u in range(size)])
    y = reduce(xp.maximum, [rows[:, :, v::size] for v in range(size)])

    def backward(dy: Array) -> Array:
        dx, open_windows = xp.empty(x.shape, dtype=dy.dtype), xp.ones(y.shape, dtype=bool)
        for u, v in product(range(size), repeat=2):  # the first maximum in reading order wins
            won = (x[:, u::size, v::size] == y) & open_windows
            open_windows ^= won
            xp.multiply(dy, won, out=dx[:, u::size, v::size])
        return dx

    return y, backward
