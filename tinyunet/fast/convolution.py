r"""Convolution in bands (see `tinyunet.fast.bands`), and a shorter way to ``dx``.

**dx without col2im.** For stride 1, pixel h of the padded image met row u of the kernel at output
:math:`h - u`, so

.. math:: dx[n, h, w, c] = \sum_{u, v, f} dy[n,\; h - u,\; w - v,\; f] \; w[u, v, c, f]

which is again a convolution: of ``dy`` with the kernel turned by 180 degrees. It reads and writes
in order, and sums inside the matrix product.

**dweight from the same patches.** What is convolved for ``dx`` are the patches of ``dy``; the image
times these, summed over all pixels, is ``dweight``. So a backward makes its patches once.

A transposed convolution is the same two ways, exchanged: its forward is a convolution's ``dx``.

What is done with a band is a product with its patch matrix (`tinyunet.fast.patches`), or, where
the kernel has three rows, Winograd's algorithm (`tinyunet.fast.winograd`).
"""

import math
from collections.abc import Callable

from tinyunet.backend import Array, device_name, xp
from tinyunet.fast import winograd
from tinyunet.fast.bands import Band, bands, padded_band, rows_of
from tinyunet.fast.long_rows import long_rows, repeated, sum_over_pixels
from tinyunet.fast.patches import PatchProducts
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

Products = PatchProducts | winograd.WinogradProducts


def conv2d(
    x: Array, weight: Array, bias: Array | None = None, *, stride: Pair = 1, padding: Pair | str = 0
) -> tuple[Array, Callable]:
    """Do what `tinyunet.nn.functional.conv2d` does."""
    check_convolution(x, weight, bias, image_axis=2, output_axis=3)
    kernel_size, image_shape, stride = weight.shape[:2], x.shape, pair(stride)
    border = border_widths(padding, kernel_size, stride)
    y, _ = correlate(x, weight, bias, stride, border)

    def backward(dy: Array, input_gradient: bool = True) -> tuple:
        if input_gradient:
            dx, dweight = correlate_adjoint(dy, weight, image_shape, stride, border, partner=x)
        else:
            dx, dweight = None, weight_gradient(x, dy, kernel_size, stride, border)
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
    y, _ = correlate_adjoint(x, weight, (len(x), *size, weight.shape[2]), stride, border, bias)

    def backward(dy: Array, input_gradient: bool = True) -> tuple:
        if input_gradient:
            dx, dweight = correlate(dy, weight, None, stride, border, partner=x)
        else:
            dx, dweight = None, weight_gradient(dy, x, kernel_size, stride, border)
        return (dx, dweight) if bias is None else (dx, dweight, sum_over_pixels(dy))

    return y, backward


# -- The three products ----------------------------------------------------------------------------


def correlate(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: tuple,
    border: tuple,
    *,
    turned: bool = False,
    relu: bool = False,
    partner: Array | None = None,
) -> tuple[Array, Array | None]:
    """Convolution forward, in bands: (N, H, W, C) to y (N, OH, OW, F).

    The kernel may be `turned` around, its channels in and out exchanged. Bias and ReLU, where they
    are wanted, are applied while the band is in the cache. With a `partner` of the shape of y, the
    same patches also give the gradient of the sum of ``partner * y`` with respect to the kernel.
    """
    kernel_size = weight.shape[:2]
    size = output_size(x.shape, kernel_size, stride, border)
    products = products_for(kernel_size, stride, (len(x), *size), turned)
    matrices = products.matrices(weight)
    y = xp.empty((len(x), *size, matrices.shape[-1]), dtype=xp.result_type(x, weight))

    def fill(band: Band, patches: Array) -> None:
        y_band = y[band]
        products.multiply(patches, matrices, out=y_band)
        if bias is not None:
            rows = long_rows(y_band)
            rows += repeated(bias, rows)
        if relu:
            xp.maximum(y_band, 0, out=y_band)

    return y, work_through(x, products, border, y.shape, fill, partner)


def correlate_adjoint(
    dy: Array,
    weight: Array,
    image_shape: tuple,
    stride: tuple,
    border: tuple,
    bias: Array | None = None,
    partner: Array | None = None,
) -> tuple[Array, Array | None]:
    """Convolution's ``dx`` (N, H, W, C): what `correlate` does with an image, transposed.

    With the image as `partner`, also ``dweight``, the gradient of the sum of ``x * dx``.
    """
    *kernel_size, channels, filters = weight.shape
    # As the kernel is turned around, so is the border: what a window missed at one side of the
    # kernel, it meets at the other.
    turned_border = tuple(
        (size - 1 - before, size - 1 - after)
        for size, (before, after) in zip(kernel_size, border, strict=True)
    )
    if stride == (1, 1) and min(map(min, turned_border)) >= 0:
        return correlate(dy, weight, bias, stride, turned_border, turned=True, partner=partner)
    dweight = None
    if partner is not None:
        dweight = weight_gradient(partner, dy, tuple(kernel_size), stride, border)
    matrix = weight.reshape(-1, filters).T  # (F, KH*KW*C)
    if tuple(kernel_size) == stride and image_shape[1:3] == tuple(
        stride[axis] * dy.shape[1 + axis] for axis in (0, 1)
    ):
        return blocks_in_bands(dy, matrix, image_shape, bias), dweight
    (top, bottom), (left, right) = border
    images, height, width, _ = image_shape
    # (N*OH*OW, F) @ (F, KH*KW*C) -> the gradient of every patch, added back to the padded image
    columns = (dy.reshape(-1, filters) @ matrix).reshape(*dy.shape[:3], *kernel_size, channels)
    padded_shape = (images, top + height + bottom, left + width + right, channels)
    padded, _ = col2im(columns, padded_shape, kernel_size, stride)
    y = padded[:, top : top + height, left : left + width]
    return (y if bias is None else y + bias), dweight


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

    def fill(band: Band) -> None:
        # (pixels, F) @ (F, KH*KW*C) -> (pixels, KH*KW*C)
        products = (rows_of(dy, band) @ matrix).reshape(-1, channels)
        if bias is not None:
            rows = long_rows(products)
            rows += repeated(bias, rows)
        blocks[band] = products.reshape(blocks[band].shape)

    for_each(fill, bands(dy.shape, matrix.shape[1] * dy.itemsize, matrix.nbytes))
    return y


def weight_gradient(x: Array, dy: Array, kernel_size: tuple, stride: tuple, border: tuple) -> Array:
    """Convolution's ``dweight`` (KH, KW, C, F), without its ``dx``."""
    products = products_for(kernel_size, stride, dy.shape[:3])
    return work_through(x, products, border, dy.shape, partner=dy)


def work_through(
    x: Array,
    products: Products,
    border: tuple,
    shape: tuple,
    fill: Callable | None = None,
    partner: Array | None = None,
) -> Array | None:
    """Make the patches of each band of an output, and do with them all that is to be done.

    ``fill(band, patches)`` computes the output. With a `partner` (N, OH, OW, F), the result is the
    gradient of the kernel: each band's patches, transposed, times its partner.
    """

    def sum_over(some_bands: list) -> Array | None:
        total = None
        for band in some_bands:
            patches = products.patches(padded_band(x, band, products, border))
            if fill is not None:
                fill(band, patches)
            if partner is not None:
                part = products.gradient_of_matrices(patches, partner[band])
                total = part if total is None else xp.add(total, part, out=total)
        return total

    patch_bytes = products.patch_length * x.shape[3] * x.itemsize
    kernel_bytes = products.values * products.kernel_size[1] * x.shape[3] * shape[3] * x.itemsize
    all_bands = list(bands(shape, patch_bytes, kernel_bytes, products.tile))
    shares = [[band] for band in all_bands] if partner is None else split_evenly(all_bands)
    first, *others = for_each(sum_over, shares)
    return None if partner is None else products.gradient_of_weight(sum(others, start=first))


# -- Which products, and in which bands ------------------------------------------------------------


def products_for(
    kernel_size: tuple, stride: tuple, output_size: tuple, turned: bool = False
) -> Products:
    """Choose Winograd's algorithm where it gains something: not on a GPU, nor for a few pixels."""
    suitable = kernel_size[0] == winograd.TAPS and stride == (1, 1) and device_name() == "cpu"
    if suitable and math.prod(output_size) >= winograd.MIN_PIXELS:
        return winograd.WinogradProducts(kernel_size[1], turned)
    return PatchProducts(kernel_size, stride, turned)
