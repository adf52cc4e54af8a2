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

from tinyunet.backend import strided_view, xp


def im2col(x, kernel_size, stride=1):
    """List the patch under the kernel at every place it stops.

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

    def backward(dcolumns):
        return add_windows(dcolumns, image_shape, kernel_size, stride)

    return columns, backward


def col2im(columns, image_shape, kernel_size, stride=1):
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
    image = add_windows(columns, image_shape, kernel_size, stride)

    def backward(dimage):
        return sliding_windows(dimage, kernel_size, stride).copy()

    return image, backward


def sliding_windows(x, kernel_size, stride):
    """View the patches without copying a pixel: shape (N, OH, OW, KH, KW, C).

    Going one window down is `stride` rows further in the same memory, going down inside a window is
    one row further. So the strides (bytes from one entry to the next) say it all. The view is for
    reading: to write into it would change several windows at once.
    """
    (kernel_height, kernel_width), (down, right) = pair(kernel_size), pair(stride)
    images, height, width, channels = x.shape
    out_height = output_length(height, kernel_height, down, "height")
    out_width = output_length(width, kernel_width, right, "width")
    per_image, per_row, per_pixel, per_channel = x.strides
    return strided_view(
        x,
        (images, out_height, out_width, kernel_height, kernel_width, channels),
        (per_image, per_row * down, per_pixel * right, per_row, per_pixel, per_channel),
    )


def add_windows(columns, image_shape, kernel_size, stride):
    """Sum patches into an image: the adjoint of `sliding_windows`.

    One tap (u, v) of all windows at once is a plain strided slice of the image in which no pixel
    occurs twice, so KH * KW slice additions do it, without a scattered write.
    """
    (kernel_height, kernel_width), (down, right) = pair(kernel_size), pair(stride)
    images, height, width, channels = image_shape
    out_height = output_length(height, kernel_height, down, "height")
    out_width = output_length(width, kernel_width, right, "width")
    expected = (images, out_height, out_width, kernel_height, kernel_width, channels)
    if columns.shape != expected:
        raise ValueError(
            f"columns have shape {columns.shape}; an image {tuple(image_shape)} under a "
            f"{kernel_height} x {kernel_width} kernel with stride {stride} needs {expected}"
        )
    windows_touch = (kernel_height, kernel_width) == (down, right)
    if windows_touch and (out_height * down, out_width * right) == (height, width):
        # The windows tile the image: nothing overlaps, so only the order of the axes changes.
        return columns.transpose(0, 1, 3, 2, 4, 5).reshape(image_shape)
    image = xp.zeros(image_shape, dtype=columns.dtype)
    for u in range(kernel_height):
        rows = slice(u, u + down * out_height, down)
        for v in range(kernel_width):
            pixels = slice(v, v + right * out_width, right)
            image[:, rows, pixels] += columns[:, :, :, u, v]
    return image


def output_length(length, kernel, stride, axis):
    """Count the places where a kernel fits along one axis.

    Raises
    ------
    ValueError
        If it fits nowhere, or the stride is not positive.
    """
    if stride < 1:
        raise ValueError(f"stride {stride} along the {axis}: it must be 1 or more")
    if length < kernel:
        raise ValueError(
            f"the kernel's {axis} {kernel} is larger than the (padded) image's {length}"
        )
    return (length - kernel) // stride + 1


def pair(value):
    """Read an int as the same number for height and width; a pair stays as it is."""
    return (value, value) if hasattr(value, "__index__") else tuple(value)
