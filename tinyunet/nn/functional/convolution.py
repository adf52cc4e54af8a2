r"""Convolution: the same small kernel looks at every place of the image.

**The idea.** At each place, the KH x KW x C numbers under the kernel are multiplied by the kernel's
weights and summed up; each of F kernels (*filters*) gives one channel of the output. With the
padded image :math:`x`, stride :math:`s`, weight :math:`w` and bias :math:`b`:

.. math:: y[n, i, j, f] = b[f] + \sum_{u, v, c} x[n,\; i s + u,\; j s + v,\; c] \; w[u, v, c, f]

(Strictly this is a cross-correlation: the kernel is not turned around. Every deep-learning library
calls it convolution.)

**As a matrix product.** Write the patch under the kernel at each place as one row of a matrix
(`im2col`), and the weights as a matrix of KH*KW*C rows and F columns. Then all the sums above are
one product, the operation that processors do best.

**The gradients.** Let :math:`P` be the patch matrix and :math:`W` the weight matrix, so that
:math:`y = P W + b`. From the rule for products,

.. math:: dW = P^T dy, \qquad dP = dy \, W^T, \qquad db = \sum_{n,i,j} dy[n, i, j]

and `col2im` adds the rows of :math:`dP` back to the pixels that they were copied from. The border
of zeros was not part of the image, so its gradient is cut off.

Sources: V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning (2016), for
sizes, strides and paddings; K. Chellapilla et al., High performance convolutional neural networks
for document processing (2006), for the matrix product.
"""

from collections.abc import Callable

from tinyunet.backend import Array, xp
from tinyunet.nn.functional.patches import im2col
from tinyunet.nn.functional.shapes import Pair, border_widths, check_convolution


def conv2d(
    x: Array, weight: Array, bias: Array | None = None, *, stride: Pair = 1, padding: Pair | str = 0
) -> tuple[Array, Callable]:
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
    check_convolution(x, weight, bias, image_axis=2, output_axis=3)
    _, height, width, _ = x.shape
    *kernel_size, channels, filters = weight.shape
    (top, bottom), (left, right) = border_widths(padding, kernel_size, stride)
    padded = xp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    columns, col2im = im2col(padded, kernel_size, stride)  # (N, OH, OW, KH, KW, C)
    patches = columns.reshape(-1, weight.size // filters)
    matrix = weight.reshape(-1, filters)
    # (N*OH*OW, KH*KW*C) @ (KH*KW*C, F) -> (N*OH*OW, F)
    y = (patches @ matrix).reshape(*columns.shape[:3], filters)
    if bias is not None:
        y = y + bias

    def backward(dy: Array, input_gradient: bool = True) -> tuple:
        rows = dy.reshape(-1, filters)
        # (KH*KW*C, N*OH*OW) @ (N*OH*OW, F) -> (KH*KW*C, F)
        dweight = (patches.T @ rows).reshape(weight.shape)
        dx = None
        if input_gradient:
            # (N*OH*OW, F) @ (F, KH*KW*C) -> (N*OH*OW, KH*KW*C)
            dpatches = rows @ matrix.T
            dpadded = col2im(dpatches.reshape(columns.shape))
            dx = dpadded[:, top : top + height, left : left + width]
        return (dx, dweight) if bias is None else (dx, dweight, rows.sum(axis=0))

    return y, backward
