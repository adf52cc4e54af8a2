r"""Max pooling: keep the strongest answer of each window, and forget where exactly it was.

**The idea.** The image is cut into windows of size x size pixels that do not overlap; of each
window and channel only the largest value goes on. The image becomes smaller, and each pixel of what
follows sees twice as far for the same price.

.. math:: y[n, i, j, c] = \max_{0 \le u, v < s} \; x[n,\; i s + u,\; j s + v,\; c]

**The gradient.** A small change of the winner changes the output by just as much; a small change of
the others changes nothing. So the whole gradient goes to the winner and the others get zero. On a
tie the first in reading order wins, so that the gradient has exactly one receiver.
"""

from collections.abc import Callable, Sequence

from tinyunet.backend import Array, xp


def max_pool2d(x: Array, size: int = 2) -> tuple[Array, Callable]:
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
    images, height, width, channels = x.shape
    out_height, out_width = height // size, width // size
    # Cut both sides in two, window and place in it: (N, OH, size, OW, size, C). Then bring the two
    # places to the end and number them in reading order: (N, OH, OW, C, size * size).
    windows = x.reshape(images, out_height, size, out_width, size, channels)
    windows = windows.transpose(0, 1, 3, 5, 2, 4)
    windows = windows.reshape(images, out_height, out_width, channels, size * size)
    winner = windows.argmax(axis=-1)  # of equal values it finds the first
    y = windows.max(axis=-1)

    def backward(dy: Array) -> Array:
        won = winner[..., None] == xp.arange(size * size)
        # The way back: (N, OH, OW, C, size * size) -> (N, OH, size, OW, size, C) -> (N, H, W, C)
        dwindows = (dy[..., None] * won).reshape(*dy.shape, size, size)
        return dwindows.transpose(0, 1, 4, 2, 5, 3).reshape(images, height, width, channels)

    return y, backward


def check_divisible(image_shape: Sequence, size: int) -> None:
    """Check that windows of this size tile the image.

    Raises
    ------
    ValueError
        If a row or column would be left over; names the nearest sizes that fit.
    """
    for axis, length in zip(("height", "width"), image_shape[1:3], strict=True):
        if length % size or length == 0:
            below = length - length % size
            fits = f"{below}, {below + size}" if below else f"{size}"
            raise ValueError(
                f"{axis} {length} is not divisible by {size}; nearest that fit: {fits}"
            )
