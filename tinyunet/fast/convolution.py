r"""Convolution in bands (see `tinyunet.fast.bands`), and a shorter way to ``dx``.

**dx without col2im.** For stride 1, pixel h of the padded image met row u of the kernel at output
:math:`h - u`, so

.. math:: dx[n, h, w, c] = \sum_{u, v, f} dy[n,\; h - u,\; w - v,\; f] \; w[u, v, c, f]

which is again a convolution: of ``dy`` with the kernel turned by 180 degrees. It reads and writes
in order, and sums inside the matrix product.

A transposed convolution is the same two ways, exchanged: its forward is a convolution's ``dx``.
"""

from collections.abc import Callable

from tinyunet.backend import Array, xp
from tinyunet.fast.bands import bands, rows_of
from tinyunet.fast.patches import patch_matrix
from tinyunet.fast.threads import for_each, split_evenly
from tinyunet.nn.functional.patches import col2im
from tinyunet.nn.functional.shapes import (
    Pair,
    border_widths,
    check_convolution,
    output_size,
    pair,
    transposed_size,
)


def conv2d(
    x: Array, weight: Array, bias: Array | None = None, *, stride: Pair = 1, padding: Pair | str = 0
) -> tuple[Array, Callable]:
    """Do what `tinyunet.nn.functional.conv2d` does."""
    check_convolution(x, weight, bias, image_axis=2, output_axis=3)
    kernel_size, image_shape, stride = weight.shape[:2], x.shape, pair(stride)
    border = border_widths(padding, kernel_size, stride)
    y = correlate(x, weight, bias, stride, border)

    def backward(dy: Array, input_gradient: bool = True) -> tuple:
        dx = correlate_adjoint(dy, weight, image_shape, stride, border) if input_gradient else None
        dweight = weight_gradient(x, dy, kernel_size, stride, border)
        return (dx, dweight) if bias is None else (dx, dweight, sum_over_pixels(dy))

    return y, backward


def conv_transpose2d(
    x: Array, weight: Array, bias: Array | None = None, *, stride: Pair = 2, padding: Pair = 0
) -> tuple[Array, Callable]:
    """Do what `tinyunet.nn.functional.conv_transpose2d` does."""
    check_convolution(x, weight, bias, image_axis=3, output_axis=2)
    kernel_size, stride = weight.shape[:2], pair(stride)
    border = border_widths(padding, kernel_size, stride)
    size = transposed_size(x.shape, kernel_size, stride, border)
    y = correlate_adjoint(x, weight, (len(x), *size, weight.shape[2]), stride, border, bias)

    def backward(dy: Array, input_gradient: bool = True) -> tuple:
        dx = correlate(dy, weight, None, stride, border) if input_gradient else None
        dweight = weight_gradient(dy, x, kernel_size, stride, border)
        return (dx, dweight) if bias is None else (dx, dweight, sum_over_pixels(dy))

    return y, backward


# -- The three products ----------------------------------------------------------------------------


def correlate(x: Array, weight: Array, bias: Array | None, stride: tuple, border: tuple) -> Array:
    """Convolution forward: each band's patch matrix times the weight matrix."""
    matrix = weight.reshape(-1, weight.shape[3])  # (KH*KW*C, F)
    return product_in_bands([(x, matrix)], bias, weight.shape[:2], stride, border)


def correlate_adjoint(
    dy: Array,
    weight: Array,
    image_shape: tuple,
    stride: tuple,
    border: tuple,
    bias: Array | None = None,
) -> Array:
    """Convolution's ``dx`` (N, H, W, C): what `correlate` does with an image, transposed."""
    *kernel_size, channels, filters = weight.shape
    # As the kernel is turned around, so is the border: what a window missed at one side of the
    # kernel, it meets at the other.
    turned_border = tuple(
        (size - 1 - before, size - 1 - after)
        for size, (before, after) in zip(kernel_size, border, strict=True)
    )
    if stride == (1, 1) and min(map(min, turned_border)) >= 0:
        # (KH*KW*F, C), as the transpose of a matrix (C, KH*KW*F), which BLAS takes as it is: this
        # copies the kernel with its inner axis F in order.
        turned = weight[::-1, ::-1].transpose(2, 0, 1, 3).reshape(channels, -1).T
        return product_in_bands([(dy, turned)], bias, kernel_size, stride, turned_border)
    matrix = weight.reshape(-1, filters).T  # (F, KH*KW*C)
    if tuple(kernel_size) == stride and image_shape[1:3] == tuple(
        stride[axis] * dy.shape[1 + axis] for axis in (0, 1)
    ):
        return blocks_in_bands(dy, matrix, image_shape, bias)
    (top, bottom), (left, right) = border
    images, height, width, _ = image_shape
    # (N*OH*OW, F) @ (F, KH*KW*C) -> the gradient of every patch, added back to the padded image
    columns = (dy.reshape(-1, filters) @ matrix).reshape(*dy.shape[:3], *kernel_size, channels)
    padded_shape = (images, top + height + bottom, left + width + right, channels)
    padded, _ = col2im(columns, padded_shape, kernel_size, stride)
    y = padded[:, top : top + height, left : left + width]
    return y if bias is None else y + bias


def blocks_in_bands(dy: Array, matrix: Array, image_shape: tuple, bias: Array | None) -> Array:
    """Turn each pixel of `dy` into a block of `image_shape`, where the blocks do not overlap.

    Nothing needs to be added up, so only the order of the axes changes.
    """
    *_, height, width, filters = dy.shape
    images, tall, wide, channels = image_shape
    kernel_size = tall // height, wide // width
    y = xp.empty(image_shape, dtype=xp.result_type(dy, matrix))
    # (N, OH, KH, OW, KW, C), seen as (N, OH, OW, KH, KW, C)
    blocks = y.reshape(images, height, kernel_size[0], width, kernel_size[1], channels)
    blocks = blocks.transpose(0, 1, 3, 2, 4, 5)

    def fill(band: tuple) -> None:
        # (pixels, F) @ (F, KH*KW*C) -> (pixels, KH*KW*C)
        products = (rows_of(dy, band) @ matrix).reshape(-1, channels)
        if bias is not None:
            products += bias
        blocks[band] = products.reshape(blocks[band].shape)

    for_each(fill, bands(dy.shape, kernel_size, channels, filters, dy.itemsize))
    return y


def weight_gradient(x: Array, dy: Array, kernel_size: tuple, stride: tuple, border: tuple) -> Array:
    """Convolution's ``dweight`` (KH, KW, C, F): each band's patches, transposed, times its dy."""
    channels, filters = x.shape[3], dy.shape[3]

    def sum_over(some_bands: list) -> Array:
        dmatrix = None
        for band in some_bands:
            # (KH*KW*C, pixels) @ (pixels, F) -> (KH*KW*C, F)
            product = patch_matrix(x, band, kernel_size, stride, border).T @ rows_of(dy, band)
            dmatrix = product if dmatrix is None else xp.add(dmatrix, product, out=dmatrix)
        return dmatrix

    all_bands = list(bands(dy.shape, kernel_size, channels, filters, dy.itemsize))
    first, *others = for_each(sum_over, split_evenly(all_bands))
    return sum(others, start=first).reshape(*kernel_size, channels, filters)


def sum_over_pixels(dy: Array) -> Array:
    """Sum (N, H, W, C) over all pixels: the gradient of a bias, which was added to every pixel.

    As a product with a row of ones, because BLAS is fast at adding up the rows of a tall matrix.
    """
    rows = dy.reshape(-1, dy.shape[3])
    return xp.ones(rows.shape[0], dtype=dy.dtype) @ rows


def product_in_bands(
    parts: list[tuple[Array, Array]],
    bias: Array | None,
    kernel_size: tuple,
    stride: tuple,
    border: tuple,
    relu: bool = False,
) -> Array:
    """Multiply the patch matrix of an image (N, H, W, C) by a matrix (KH*KW*C, F), in bands.

    The products of several such `parts` are summed. Then, while the band is in the cache, comes
    the bias, and ReLU where it is wanted.
    """
    (x, matrix), *others = parts
    size = output_size(x.shape, kernel_size, stride, border)
    y = xp.empty((len(x), *size, matrix.shape[1]), dtype=xp.result_type(x, matrix))
    # The bias of a whole row of pixels: a few long additions are faster than many short ones.
    row_bias = None if bias is None else repeated(bias, size[1])

    def fill(band: tuple) -> None:
        y_rows = rows_of(y, band)
        # (pixels, KH*KW*C) @ (KH*KW*C, F) -> (pixels, F), straight to its place
        xp.matmul(patch_matrix(x, band, kernel_size, stride, border), matrix, out=y_rows)
        for other, other_matrix in others:
            y_rows += patch_matrix(other, band, kernel_size, stride, border) @ other_matrix
        if row_bias is not None:
            long_rows = y_rows.reshape(-1, row_bias.size)
            long_rows += row_bias
        if relu:
            xp.maximum(y_rows, 0, out=y_rows)

    channels = sum(image.shape[3] for image, _ in parts)
    for_each(fill, bands(y.shape, kernel_size, channels, y.shape[3], y.itemsize))
    return y


def repeated(values: Array, count: int) -> Array:
    """Lay a row of numbers out `count` times, end to end."""
    return xp.broadcast_to(values, (count, values.size)).reshape(-1)
