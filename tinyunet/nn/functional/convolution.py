r"""Convolution: the same small kernel looks at every place of the image.

**The idea.** At each place, the KH x KW x C numbers under the kernel are multiplied by the kernel's
weights and summed up; each of F kernels (*filters*) gives one channel of the output. With the
padded image :math:`x`, stride :math:`s`, weight :math:`w` and bias :math:`b`:

.. math:: y[n, i, j, f] = b[f] + \sum_{u, v, c} x[n,\; i s + u,\; j s + v,\; c] \; w[u, v, c, f]

(Strictly this is a cross-correlation: the kernel is not turned around. Every deep-learning library
calls it convolution.)

**As a matrix product.** Write the patch under the kernel at each place as one row of a matrix
(`im2col`), the weights as a matrix of KH*KW*C rows and F columns. Then all the sums above are one
product, the operation that processors do best. In the plain form the whole convolution is::

    columns, _ = im2col(padded, (KH, KW), stride)                 # (N, OH, OW, KH, KW, C)
    y = columns.reshape(-1, KH * KW * C) @ weight.reshape(-1, F)  # (N*OH*OW, F)
    y = y.reshape(N, OH, OW, F) + bias

**The gradients.** Let :math:`P` be the patch matrix and :math:`W` the weight matrix, so that
:math:`y = P W`. From the rule for products,

.. math:: dW = P^T dy, \qquad dP = dy \, W^T, \qquad db = \sum_{n,i,j} dy[n, i, j]

and `col2im` adds the rows of :math:`dP` back to the pixels that they were copied from. For stride 1
there is a shorter way to the same ``dx``. Pixel h of the padded image met tap u of the kernel at
output :math:`h - u`, so

.. math:: dx[n, h, w, c] = \sum_{u, v, f} dy[n,\; h - u,\; w - v,\; f] \; w[u, v, c, f]

which is again a convolution: of ``dy`` (with a border of zeros) with the kernel turned by 180
degrees. It reads and writes in order and sums inside the matrix product.

**In bands.** The patch matrix is KH*KW times as large as the image. Making it whole would push it
out to main memory and back; made *a band of rows at a time*, it stays in the processor's cache.
Backward makes the bands anew instead of keeping them: that is cheaper than to read them back, and
saves nine tenths of the memory. This is the only difference between the functions below and the
plain form.

Source: V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning (2016), for
sizes, strides and paddings; K. Chellapilla et al., High performance convolutional neural networks
for document processing (2006), for the matrix product.
"""

from tinyunet.backend import device_name, xp
from tinyunet.fast.threads import for_each, lent, shares
from tinyunet.nn.functional.patches import add_windows, output_length, pair, sliding_windows

# How large a band's patch matrix may be. On a CPU: what the cache holds. On a GPU every band is a
# kernel launch, so bands are there only to bound the memory.
BAND_BYTES = {"cpu": 2 * 2**20, "cuda": 256 * 2**20}


def conv2d(x, weight, bias=None, *, stride=1, padding=0):
    """Slide a kernel over each image: the patch times the weights, summed, at every place.

    Parameters
    ----------
    x : array (N, H, W, C)
    weight : array (KH, KW, C, F)
    bias : array (F,), optional
        Added to every pixel.
    stride : int or pair
        Steps of the kernel, in pixels.
    padding : int, pair (height, width) or ``"same"``
        Zeros put around the image, in pixels on each side. ``"same"`` keeps the size (stride 1
        only; a kernel of even size gets its odd row of padding at the bottom and right).

    Returns
    -------
    y : array (N, OH, OW, F)
        OH = (H + 2 * padding - KH) // stride + 1.
    backward : function
        ``backward(dy)`` gives ``(dx, dweight)``, and ``dbias`` as a third where there is a bias.
        ``backward(dy, input_gradient=False)`` leaves ``dx`` out (None): the first layer of a
        network has nobody below to hand it to.

    Raises
    ------
    ValueError
        If the channels of image and kernel differ, or the kernel does not fit into the image.
    """
    check_shapes(x, weight, bias, image_axis=2, output_axis=3)
    kernel_size, image_shape, stride = weight.shape[:2], x.shape, pair(stride)
    border = border_widths(padding, kernel_size, stride)
    y = correlate(x, weight, bias, stride, border)

    def backward(dy, input_gradient=True):
        dx = correlate_adjoint(dy, weight, image_shape, stride, border) if input_gradient else None
        dweight = weight_gradient(x, dy, kernel_size, stride, border)
        if bias is None:
            return dx, dweight
        return dx, dweight, sum_over_pixels(dy)

    return y, backward


def correlate(x, weight, bias, stride, border):
    """Convolution forward: each band's patch matrix times the weight matrix."""
    kernel_height, kernel_width, _, filters = weight.shape
    # (KH, KW, C, F) -> (KH*KW*C, F)
    matrix = weight.reshape(-1, filters)
    return product_in_bands(x, matrix, bias, (kernel_height, kernel_width), stride, border)


def correlate_adjoint(dy, weight, image_shape, stride, border):
    """Convolution's ``dx`` (N, H, W, C): what `correlate` does with an image, transposed."""
    kernel_height, kernel_width, channels, filters = weight.shape
    images, height, width, _ = image_shape
    (top, bottom), (left, right) = border
    turned_border = (
        (kernel_height - 1 - top, kernel_height - 1 - bottom),
        (kernel_width - 1 - left, kernel_width - 1 - right),
    )
    if stride == (1, 1) and min(turned_border[0] + turned_border[1]) >= 0:
        # dx is the convolution of dy with the kernel turned around: (C, KH*KW*F) transposed, which
        # BLAS takes as it is; this copies the kernel once, with its inner axis F in order.
        turned = weight[::-1, ::-1].transpose(2, 0, 1, 3).reshape(channels, -1).T
        return product_in_bands(
            dy, turned, None, (kernel_height, kernel_width), stride, turned_border
        )
    # (N*OH*OW, F) @ (F, KH*KW*C) -> the gradient of every patch, added back to the padded image
    dcolumns = dy.reshape(-1, filters) @ weight.reshape(-1, filters).T
    dcolumns = dcolumns.reshape(*dy.shape[:3], kernel_height, kernel_width, channels)
    padded_shape = (images, top + height + bottom, left + width + right, channels)
    padded = add_windows(dcolumns, padded_shape, (kernel_height, kernel_width), stride)
    return padded[:, top : top + height, left : left + width]


def weight_gradient(x, dy, kernel_size, stride, border):
    """Convolution's ``dweight`` (KH, KW, C, F): each band's patches, transposed, times its dy."""
    channels, filters = x.shape[3], dy.shape[3]

    def sum_over(some_bands):
        dmatrix = None
        for band in some_bands:
            # (KH*KW*C, pixels) @ (pixels, F) -> (KH*KW*C, F)
            product = patch_matrix(x, band, kernel_size, stride, border).T @ rows_of(dy, band)
            dmatrix = product if dmatrix is None else xp.add(dmatrix, product, out=dmatrix)
        return dmatrix

    all_bands = list(bands(dy.shape, kernel_size, channels, filters, dy.itemsize))
    first, *others = for_each(sum_over, shares(all_bands))
    return sum(others, start=first).reshape(*kernel_size, channels, filters)


def product_in_bands(x, matrix, bias, kernel_size, stride, border):
    """Multiply the patch matrix of `x`, made a band at a time, by (KH*KW*C, F); plus the bias."""
    images, height, width, channels = x.shape
    filters = matrix.shape[1]
    (top, bottom), (left, right) = border
    out_height = output_length(top + height + bottom, kernel_size[0], stride[0], "height")
    out_width = output_length(left + width + right, kernel_size[1], stride[1], "width")
    y = xp.empty((images, out_height, out_width, filters), dtype=xp.result_type(x, matrix))

    def fill(band):
        patches = patch_matrix(x, band, kernel_size, stride, border)
        y_rows = rows_of(y, band)
        # (pixels, KH*KW*C) @ (KH*KW*C, F) -> (pixels, F), straight to its place
        xp.matmul(patches, matrix, out=y_rows)
        if bias is not None:
            y_rows += bias

    for_each(fill, bands(y.shape, kernel_size, channels, filters, y.itemsize))
    return y


def bands(output_shape, kernel_size, channels, filters, itemsize):
    """Cut the output into bands: whole images while they are small, else rows of one image.

    Yields pairs of slices (images, rows). A band's patch matrix has at most BAND_BYTES, or as many
    as the kernel: with less, the work would be to read the kernel over and over. There is at least
    one band for each thread that may help.
    """
    images, out_height, out_width, _ = output_shape
    patch_length = kernel_size[0] * kernel_size[1] * channels
    limit = max(BAND_BYTES[device_name()], patch_length * filters * itemsize)
    rows = min(limit // (out_width * patch_length * itemsize), images * out_height // lent.count)
    rows = max(1, rows)
    if rows >= out_height:
        together = max(1, rows // out_height)
        for first in range(0, images, together):
            yield slice(first, min(first + together, images)), slice(0, out_height)
    else:
        for image in range(images):
            for first in range(0, out_height, rows):
                yield slice(image, image + 1), slice(first, min(first + rows, out_height))


def patch_matrix(x, band, kernel_size, stride, border):
    """Make the patches under the kernel for one band: (pixels of the band, KH*KW*C)."""
    images, rows = band
    (top, _), (left, right) = border
    _, height, width, channels = x.shape
    # The rows of the image that this band's windows touch; the border lies outside of it.
    first = rows.start * stride[0] - top
    last = (rows.stop - 1) * stride[0] - top + kernel_size[0]
    # (A wide border can hold a band's windows alone: then it touches no row.)
    inside = x[images, max(first, 0) : max(min(last, height), 0)]
    if first < 0 or last > height or left or right:
        above = max(-first, 0)
        padded = xp.zeros(
            (inside.shape[0], last - first, left + width + right, channels), dtype=x.dtype
        )
        padded[:, above : above + inside.shape[1], left : left + width] = inside
        inside = padded
    # reshape copies the overlapping windows one by one; a 1 x 1 kernel has none and copies nothing
    patches = sliding_windows(inside, kernel_size, stride)
    return patches.reshape(-1, kernel_size[0] * kernel_size[1] * channels)


def rows_of(y, band):
    """One band of an output (N, OH, OW, F) as a matrix (pixels, F)."""
    return y[band].reshape(-1, y.shape[3])


def sum_over_pixels(dy):
    """Sum (N, H, W, C) over all pixels: the gradient of a bias, which was added to every pixel.

    As a product with a row of ones, because BLAS is fast at adding up the rows of a tall matrix.
    """
    rows = dy.reshape(-1, dy.shape[3])
    return xp.ones(rows.shape[0], dtype=dy.dtype) @ rows


def border_widths(padding, kernel_size, stride):
    """Read a padding as ((top, bottom), (left, right)), in pixels.

    Raises
    ------
    ValueError
        If the padding is negative or another word than "same", or "same" meets a stride.
    """
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(f'padding "same" keeps the size, so it needs stride 1, not {stride}')
        return tuple(((size - 1) // 2, size // 2) for size in kernel_size)
    if isinstance(padding, str):
        raise ValueError(f'padding {padding!r}: give an int, a pair (height, width), or "same"')
    height, width = pair(padding)
    if min(height, width) < 0:
        raise ValueError(f"padding {padding} is negative")
    return (height, height), (width, width)


def check_shapes(x, weight, bias, image_axis, output_axis):
    """Check that image and bias have as many channels as the kernel's axes for input and output.

    Raises
    ------
    ValueError
        If they have not, or image or kernel has not four axes.
    """
    if x.ndim != 4 or weight.ndim != 4:
        raise ValueError(
            f"expected an image batch (N, H, W, C) and a kernel (KH, KW, C, F), "
            f"got shapes {x.shape} and {weight.shape}"
        )
    if x.shape[3] != weight.shape[image_axis]:
        raise ValueError(
            f"the image has {x.shape[3]} channels but the kernel {weight.shape} expects "
            f"{weight.shape[image_axis]}"
        )
    if bias is not None and bias.shape != (weight.shape[output_axis],):
        raise ValueError(
            f"the bias has shape {bias.shape} but the output has {weight.shape[output_axis]} "
            f"channels: expected ({weight.shape[output_axis]},)"
        )
