r"""Max pooling: keep the strongest answer of each window, and forget where exactly it was.

**The idea.** The image is cut into windows of size x size pixels that do not overlap; of each
window and channel only the largest value goes on. The image becomes smaller, and each pixel of what
follows sees twice as far for the same price.

.. math:: y[n, i, j, c] = \max_{0 \le u, v < s} \; x[n,\; i s + u,\; j s + v,\; c]

**The gradient.** A small change of the winner changes the output by just as much; a small change of
the others changes nothing. So the whole gradient goes to the winner and the others get zero. All
that backward needs is *who* won: one small integer per window, not the window. On a tie the first
in reading order wins, so that the gradient has exactly one receiver.
"""

from functools import reduce

from tinyunet.backend import xp


def max_pool2d(x, size=2):
    """Keep the largest value of each size x size window, channel by channel.

    Parameters
    ----------
    x : array (N, H, W, C)
    size : int
        Height and width of a window, and its stride, in pixels.

    Returns
    -------
    y : array (N, H // size, W // size, C)
    backward : function
        ``backward(dy)`` gives ``dx`` (N, H, W, C).

    Raises
    ------
    ValueError
        If height or width is not divisible by the size.
    """
    check_divisible(x.shape, size)
    # The largest of each `size` rows, then of each `size` columns.
    rows = reduce(xp.maximum, [x[:, u::size] for u in range(size)])
    y = reduce(xp.maximum, [rows[:, :, v::size] for v in range(size)])
    # The winner's place in the window, counted from the place (u, v) on, in reading order: 0 if the
    # maximum is here, else one more than from the next place on. So we start with the last place.
    places = [(u, v) for u in range(size) for v in range(size)]
    winner = xp.zeros(y.shape, dtype=xp.min_scalar_type(len(places)))
    for u, v in reversed(places[:-1]):
        winner = (x[:, u::size, v::size] != y) * (winner + winner.dtype.type(1))
    image_shape = x.shape

    def backward(dy):
        dx = xp.empty(image_shape, dtype=dy.dtype)
        for index, (u, v) in enumerate(places):
            xp.multiply(dy, winner == index, out=dx[:, u::size, v::size])
        return dx

    return y, backward


def check_divisible(image_shape, size):
    """Check that windows of this size tile the image.

    Raises
    ------
    ValueError
        If a row or column would be left over; names the nearest sizes that fit.
    """
    for axis, length in (("height", image_shape[1]), ("width", image_shape[2])):
        if length % size or length == 0:
            below = length - length % size
            fits = ", ".join(str(fit) for fit in (below, below + size) if fit > 0)
            raise ValueError(
                f"{axis} {length} is not divisible by {size}; nearest that fit: {fits}"
            )
