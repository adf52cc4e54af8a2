r"""im2col and col2im: a sliding window, laid out as a matrix and added back.

A kernel that slides over an image meets one *patch* of KH x KW pixels at every place. `im2col`
("image to columns") lists the patches, so that a convolution becomes one matrix product. A pixel
lies in up to KH * KW patches, and `im2col` copies it into each:

.. math:: columns[n, i, j, u, v, c] = x[n,\; i s + u,\; j s + v,\; c]

`col2im` goes the other way: every patch is added back to where it came from, and where windows
overlap the contributions sum up.

.. math:: image[n, h, w, c] = \sum_{i s + u = h} \; \sum_{j s + v = w} columns[n, i, j, u, v, c]

The two are *adjoint*: as matrices, one is the transpose of the other. A gradient flows backwards
through a linear map by the transpose, so each is the backward of the other. It makes sense in
words, too: a pixel that was copied to nine places receives the sum of nine gradients.
"""

from collections.abc import Callable

from tinyunet.backend import Array, xp
from tinyunet.nn.functional.shapes import Pair, output_size, pair


def im2col(x: Array, kernel_size: Pair, stride: Pair = 1) -> tuple[Array, Callable]:
    """List the patch under the kernel at every place where it stops.

    Parameters
    ----------
    x : array (N, H, W, C)
    kernel_size : int or (KH, KW)
    stride : int or pair
        Steps of the kernel, in pixels, down and to the right.

    Returns
    -------
    columns : array (N, OH, OW, KH, KW, C)
        With OH = (H - KH) // stride + 1, and OW likewise.
    backward : function
        ``backward(dcolumns)`` gives ``dx`` (N, H, W, C).

    Raises
    ------
    ValueError
        If the kernel is larger than the image.
    """
    image_shape = x.shape
    columns = sliding_windows(x, kernel_size, stride).copy()

    def backward(dcolumns: Array) -> Array:
        return col2im(dcolumns, image_shape, kernel_size, stride)[0]

    return columns, backward


def col2im(
    columns: Array, image_shape: tuple, kernel_size: Pair, stride: Pair = 1
) -> tuple[Array, Callable]:
    """Add every patch back to the place it came from; where windows overlap, they sum.

    Parameters
    ----------
    columns : array (N, OH, OW, KH, KW, C)
    image_shape : (N, H, W, C)
        The image that `im2col` would have made these columns from.
    kernel_size : int or (KH, KW)
    stride : int or pair

    Returns
    -------
    image : array (N, H, W, C)
    backward : function
        ``backward(dimage)`` gives ``dcolumns`` (N, OH, OW, KH, KW, C).

    Raises
    ------
    ValueError
        If the columns do not have the shape that `im2col` gives for this image.
    """
    expected = (*output_size(image_shape, kernel_size, stride), *pair(kernel_size))
    if columns.shape[1:5] != expected:
        raise ValueError(f"expected columns of {expected}, got {columns.shape[1:5]}")
    _, out_height, out_width, kernel_height, kernel_width, _ = columns.shape
    down, right = pair(stride)
    image = xp.zeros(image_shape, dtype=columns.dtype)
    # The pixels that the windows have at their place (u, v) are `stride` apart: no two are the
    # same, so that all of them can be added at once.
    for u in range(kernel_height):
        for v in range(kernel_width):
            rows = slice(u, u + down * out_height, down)
            pixels = slice(v, v + right * out_width, right)
            image[:, rows, pixels] += columns[:, :, :, u, v]

    def backward(dimage: Array) -> Array:
        return im2col(dimage, kernel_size, stride)[0]

    return image, backward


def sliding_windows(x: Array, kernel_size: Pair, stride: Pair) -> Array:
    """View the patches without copying a pixel: shape (N, OH, OW, KH, KW, C)."""
    down, right = pair(stride)
    output_size(x.shape, kernel_size, stride)  # refuses a kernel that does not fit
    # (N, H - KH + 1, W - KW + 1, C, KH, KW)
    windows = xp.lib.stride_tricks.sliding_window_view(x, pair(kernel_size), (1, 2))
    return windows[:, ::down, ::right].transpose(0, 1, 2, 4, 5, 3)
