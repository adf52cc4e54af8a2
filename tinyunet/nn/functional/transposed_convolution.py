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

**The gradients.** What is ``dx`` in a convolution is the forward here, and the other way round.
So nothing new is needed: ``dx`` is the convolution of ``dy``, and ``dweight`` is the convolution's
with the roles of image and output exchanged.

In the U-Net the kernel is 2 x 2 with stride 2: the stamps touch but do not overlap, each output
pixel has exactly one tap, and the picture doubles in size.

Source: V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning (2016),
part 4.
"""

from tinyunet.nn.functional.convolution import (
    border_widths,
    check_shapes,
    correlate,
    correlate_adjoint,
    sum_over_pixels,
    weight_gradient,
)
from tinyunet.nn.functional.patches import pair


def conv_transpose2d(x, weight, bias=None, *, stride=2, padding=0):
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

    Raises
    ------
    ValueError
        If the channels of image and kernel differ, or the padding cuts everything off.
    """
    check_shapes(x, weight, bias, image_axis=3, output_axis=2)
    kernel_size, stride = weight.shape[:2], pair(stride)
    border = border_widths(padding, kernel_size, stride)
    out_height, out_width = (
        (length - 1) * step + size - sum(cut)
        for length, step, size, cut in zip(x.shape[1:3], stride, kernel_size, border, strict=True)
    )
    if min(out_height, out_width) < 1:
        raise ValueError(
            f"padding {padding} cuts the whole output off ({out_height} x {out_width})"
        )
    y = correlate_adjoint(
        x, weight, (x.shape[0], out_height, out_width, weight.shape[2]), stride, border
    )
    if bias is not None:
        y += bias

    def backward(dy):
        dx = correlate(dy, weight, None, stride, border)
        dweight = weight_gradient(dy, x, kernel_size, stride, border)
        return (dx, dweight) if bias is None else (dx, dweight, sum_over_pixels(dy))

    return y, backward
