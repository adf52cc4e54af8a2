r"""Transposed convolution: a convolution run the other way, from few pixels to many.

**The idea.** A convolution with stride 2 gathers a patch into one number and halves the image. Its
*transpose* scatters: each input pixel stamps a copy of the kernel, scaled by its value, onto the
output, `stride` pixels from one stamp to the next; where stamps overlap they sum.

.. math:: y[n,\; i s + u,\; j s + v,\; c] \mathrel{+}= \sum_f x[n, i, j, f] \; w[u, v, c, f]

The weight is **the same array** as that of the convolution it belongs to: that one maps C channels
to F, this one F back to C. As matrices the two are transposes of each other (which is not to say
inverses):

.. math:: \langle \mathrm{conv2d}(x, w),\; y \rangle
          = \langle x,\; \mathrm{conv\_transpose2d}(y, w) \rangle

**The gradients.** What is ``dx`` in a convolution is the forward here, and the other way round: the
stamps are added up by `col2im`, and `im2col` brings ``dy`` back to the stamps.

In the U-Net the kernel is 2 x 2 with stride 2: the stamps touch but do not overlap, each output
pixel has exactly one tap, and the picture doubles in size.

Source: V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning (2016),
part 4.
"""

from collections.abc import Callable

from tinyunet.backend import Array, xp
from tinyunet.nn.functional.patches import col2im
from tinyunet.nn.functional.shapes import Pair, border_widths, check_convolution, transposed_size


def conv_transpose2d(
    x: Array, weight: Array, bias: Array | None = None, *, stride: Pair = 2, padding: Pair = 0
) -> tuple[Array, Callable]:
    """Stamp the kernel onto the output once for each input pixel; overlapping stamps sum.

    Parameters
    ----------
    x : array (N, H, W, F)
    weight : array (KH, KW, C, F)
        The kernel of the convolution this is the transpose of: F channels in, C channels out.
    bias : array (C,), optional
        Added to every output pixel.
    stride : int or pair
        Output pixels from one stamp to the next.
    padding : int or pair (height, width)
        Pixels cut off at each side of the output: the padding of that convolution.

    Returns
    -------
    y : array (N, OH, OW, C)
        OH = (H - 1) * stride + KH - 2 * padding.
    backward : function
        ``backward(dy)`` gives ``(dx, dweight)``, and ``dbias`` as a third where there is a bias.
        ``backward(dy, input_gradient=False)`` leaves ``dx`` out (None).

    Raises
    ------
    ValueError
        If the channels of image and kernel differ, or the padding cuts everything off.
    """
    check_convolution(x, weight, bias, image_axis=3, output_axis=2)
    images, height, width, filters = x.shape
    *kernel_size, channels, _ = weight.shape
    border = border_widths(padding, kernel_size, stride)
    out_height, out_width = transposed_size(x.shape, kernel_size, stride, border)
    (top, bottom), (left, right) = border
    padded_shape = (images, top + out_height + bottom, left + out_width + right, channels)
    rows, matrix = x.reshape(-1, filters), weight.reshape(-1, filters)
    # (N*H*W, F) @ (F, KH*KW*C) -> (N*H*W, KH*KW*C)
    stamps = rows @ matrix.T
    columns = stamps.reshape(images, height, width, *kernel_size, channels)
    padded, im2col = col2im(columns, padded_shape, kernel_size, stride)
    y = padded[:, top : top + out_height, left : left + out_width]
    if bias is not None:
        y = y + bias

    def backward(dy: Array, input_gradient: bool = True) -> tuple:
        dpadded = xp.pad(dy, ((0, 0), (top, bottom), (left, right), (0, 0)))
        dstamps = im2col(dpadded).reshape(-1, matrix.shape[0])
        # (N*H*W, KH*KW*C) @ (KH*KW*C, F) -> (N*H*W, F)
        dx = (dstamps @ matrix).reshape(x.shape) if input_gradient else None
        # (KH*KW*C, N*H*W) @ (N*H*W, F) -> (KH*KW*C, F)
        dweight = (dstamps.T @ rows).reshape(weight.shape)
        return (dx, dweight) if bias is None else (dx, dweight, dy.sum(axis=(0, 1, 2)))

    return y, backward
