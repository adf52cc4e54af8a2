r"""Concatenation: the skip connection's details beside the decoder's overview.

**The idea.** Two images of the same size are stacked along their channels, the skip first: the next
convolution then sees at each pixel *what* the coarse path found there and *where exactly* the edges
are. In the paper's network, whose convolutions have no padding, the skip is larger than what comes
up from below, and its center is cut out.

.. math:: y = [\, \mathrm{crop}(skip),\; x \,]

**The gradient.** Each channel was only passed on, so its gradient is only passed back:
concatenation becomes a split. What the crop cut off did not take part and gets zero.
"""

from collections.abc import Callable

from tinyunet.backend import Array, xp


def crop(x: Array, height: int, width: int) -> tuple[Array, Callable]:
    """Cut out the center of each image.

    Parameters
    ----------
    x : array (N, H, W, C)
    height, width : int
        Of the part to keep, in pixels. Where the margin is odd, its extra pixel is at the bottom or
        right.

    Returns
    -------
    y : array (N, height, width, C)
    backward : function
        ``backward(dy)`` gives ``dx`` (N, H, W, C), zero around the part that was kept.

    Raises
    ------
    ValueError
        If the image is smaller than the part.
    """
    image_shape = x.shape
    if height > image_shape[1] or width > image_shape[2]:
        size = f"{image_shape[1]} x {image_shape[2]}"
        raise ValueError(f"cannot cut {height} x {width} out of an image of {size}")
    top, left = (image_shape[1] - height) // 2, (image_shape[2] - width) // 2
    center = (slice(None), slice(top, top + height), slice(left, left + width))
    y = x[center]

    def backward(dy: Array) -> Array:
        if dy.shape == image_shape:  # nothing was cut off
            return dy
        dx = xp.zeros(image_shape, dtype=dy.dtype)
        dx[center] = dy
        return dx

    return y, backward


def concat(skip: Array, x: Array) -> tuple[Array, Callable]:
    """Concatenate two images along the channel axis, the skip's channels first.

    Parameters
    ----------
    skip : array (N, SH, SW, S)
        From the encoder; if it is larger than `x`, its center is used.
    x : array (N, H, W, C)
        From below.

    Returns
    -------
    y : array (N, H, W, S + C)
    backward : function
        ``backward(dy)`` gives ``(dskip, dx)``.

    Raises
    ------
    ValueError
        If the skip is smaller than `x`, or the batches differ.
    """
    if skip.shape[0] != x.shape[0]:
        raise ValueError(f"skip and x are batches of {skip.shape[0]} and {x.shape[0]} images")
    center, crop_backward = crop(skip, *x.shape[1:3])
    y = xp.concatenate([center, x], axis=3)
    skip_channels = skip.shape[3]

    def backward(dy: Array) -> tuple[Array, Array]:
        return crop_backward(dy[..., :skip_channels]), dy[..., skip_channels:]

    return y, backward
