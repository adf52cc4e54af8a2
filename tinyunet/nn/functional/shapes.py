"""Sizes and shapes: what the operations ask of their arguments, and say when it does not fit."""

from collections.abc import Sequence
from typing import TypeAlias

from tinyunet.backend import Array

Pair: TypeAlias = int | tuple[int, int]  # (height, width); one number stands for both
NO_BORDER = ((0, 0), (0, 0))


def pair(value: Pair) -> tuple[int, int]:
    """Read an int as the same number for height and width; a pair stays as it is."""
    return (value, value) if hasattr(value, "__index__") else tuple(value)


def output_size(
    image_shape: Sequence, kernel_size: Pair, stride: Pair, border: Sequence = NO_BORDER
) -> tuple[int, int]:
    """Count the places where a kernel fits on images (N, H, W, C), down and across: OH and OW.

    Raises
    ------
    ValueError
        If it fits nowhere, or the stride is not positive.
    """
    down, right = pair(stride)
    kernel_height, kernel_width = pair(kernel_size)
    height, width = image_shape[1] + sum(border[0]), image_shape[2] + sum(border[1])
    if min(down, right) < 1:
        raise ValueError(f"stride {stride}: it must be 1 or more")
    if height < kernel_height or width < kernel_width:
        kernel, image = f"{kernel_height} x {kernel_width}", f"{height} x {width}"
        raise ValueError(f"a kernel of {kernel} is larger than the (padded) image of {image}")
    return (height - kernel_height) // down + 1, (width - kernel_width) // right + 1


def transposed_size(
    image_shape: Sequence, kernel_size: Pair, stride: Pair, border: Sequence
) -> tuple[int, int]:
    """Work out OH and OW of a transposed convolution, whose output is cut by the border.

    Raises
    ------
    ValueError
        If nothing is left of it.
    """
    (down, right), (kernel_height, kernel_width) = pair(stride), pair(kernel_size)
    height = (image_shape[1] - 1) * down + kernel_height - sum(border[0])
    width = (image_shape[2] - 1) * right + kernel_width - sum(border[1])
    if min(height, width) < 1:
        raise ValueError(f"the padding cuts the whole output off ({height} x {width})")
    return height, width


def border_widths(padding: Pair | str, kernel_size: Pair, stride: Pair) -> tuple:
    """Read a padding as ((top, bottom), (left, right)), in pixels.

    Raises
    ------
    ValueError
        If the padding is negative or another word than "same", or "same" meets a stride.
    """
    if padding == "same":
        if pair(stride) != (1, 1):
            raise ValueError(f'padding "same" keeps the size, so it needs stride 1, not {stride}')
        return tuple(((size - 1) // 2, size // 2) for size in pair(kernel_size))
    if isinstance(padding, str) or min(pair(padding)) < 0:
        raise ValueError(f'padding {padding!r}: give an int, a pair (height, width), or "same"')
    return tuple((side, side) for side in pair(padding))


def check_convolution(
    x: Array, weight: Array, bias: Array | None, image_axis: int, output_axis: int
) -> None:
    """Check that image and bias have as many channels as the kernel's axes for input and output.

    Raises
    ------
    ValueError
        If they have not, or image or kernel has not four axes.
    """
    if x.ndim != 4 or weight.ndim != 4:
        raise ValueError(
            "expected an image batch (N, H, W, C) and a kernel (KH, KW, C, F), "
            f"got shapes {x.shape} and {weight.shape}"
        )
    channels_in, channels_out = weight.shape[image_axis], weight.shape[output_axis]
    if x.shape[3] != channels_in:
        raise ValueError(f"the kernel takes {channels_in} channels, the image has {x.shape[3]}")
    if bias is not None and bias.shape != (channels_out,):
        raise ValueError(f"expected a bias of shape ({channels_out},), got {bias.shape}")
