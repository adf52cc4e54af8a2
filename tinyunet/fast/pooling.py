"""Max pooling without moving a pixel: the windows' places are compared, one with the next."""

from collections.abc import Callable
from functools import reduce

from tinyunet.backend import Array, xp
from tinyunet.nn.functional.pooling import check_divisible


def max_pool2d(x: Array, size: int = 2) -> tuple[Array, Callable]:
    """Do what `tinyunet.nn.functional.max_pool2d` does.

    ``x[:, u::size, v::size]`` is what all windows have at their place (u, v). Backward needs to
    know only who won: one small integer for each window.
    """
    check_divisible(x.shape, size)
    # The largest of each `size` rows, then of each `size` columns.
    rows = reduce(xp.maximum, [x[:, u::size] for u in range(size)])
    y = reduce(xp.maximum, [rows[:, :, v::size] for v in range(size)])
    # How many places lie before the winner, in reading order. Counted from the last place back:
    # none if the maximum is here, else one more than from the next place on.
    places = [(u, v) for u in range(size) for v in range(size)]
    winner = xp.zeros(y.shape, dtype=xp.min_scalar_type(len(places)))
    for u, v in reversed(places[:-1]):
        winner = (x[:, u::size, v::size] != y) * (winner + winner.dtype.type(1))
    image_shape = x.shape

    def backward(dy: Array) -> Array:
        dx = xp.empty(image_shape, dtype=dy.dtype)
        for index, (u, v) in enumerate(places):
            xp.multiply(dy, winner == index, out=dx[:, u::size, v::size])
        return dx

    return y, backward
