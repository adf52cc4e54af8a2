r"""Nearest-neighbor upsampling: every pixel becomes a block of equal pixels.

.. math:: y[n, i, j, c] = x[n,\; \lfloor i / s \rfloor,\; \lfloor j / s \rfloor,\; c]

It has nothing to learn; a convolution after it gives the block its detail. Since each pixel was
copied to s x s places, its gradient is the **sum** over the block.
"""

from collections.abc import Callable

from tinyunet.backend import Array, xp
from tinyunet.nn.functional.pooling import check_divisible


def upsample_nearest2d(x: Array, scale: int = 2) -> tuple[Array, Callable]:
    """Repeat each pixel `scale` times down and to the right.

    Parameters
    ----------
    x : array (N, H, W, C)
    scale : int

    Returns
    -------
    y : array (N, H * scale, W * scale, C)
    backward : function
        ``backward(dy)`` gives ``dx`` (N, H, W, C).
    """
    images, height, width, channels = x.shape
    # (N, H, W, C) -> (N, H, scale, W, scale, C): two new axes along which the pixel repeats
    blocks = xp.broadcast_to(
        x[:, :, None, :, None, :], (images, height, scale, width, scale, channels)
    )
    y = blocks.reshape(images, height * scale, width * scale, channels)

    def backward(dy: Array) -> Array:
        check_divisible(dy.shape, scale)
        return dy.reshape(images, height, scale, width, scale, channels).sum(axis=(2, 4))

    return y, backward
