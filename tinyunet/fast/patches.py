"""The patch matrix of one band, and what it sees beyond the border of the image.

Padding a whole image would copy it. A band is padded alone, and only where it meets the border
above or below; at its left and right end the few patches that look outside are filled in by hand.
"""

from tinyunet.backend import Array, xp
from tinyunet.fast.memory import strided_view


def patch_matrix(x: Array, band: tuple, kernel_size: tuple, stride: tuple, border: tuple) -> Array:
    """Make the patches under the kernel for one band: (pixels of the band, KH*KW*C)."""
    images, rows = band
    (top, _), (left, right) = border
    _, height, width, channels = x.shape
    # The rows of the image that this band's windows touch; the border lies outside of it.
    first = rows.start * stride[0] - top
    last = (rows.stop - 1) * stride[0] - top + kernel_size[0]
    # (A wide border can hold a band's windows alone: then it touches no row.)
    inside = x[images, max(first, 0) : max(min(last, height), 0)]
    patch_length = kernel_size[0] * kernel_size[1] * channels
    only_sides = first >= 0 and last <= height and left + right > 0
    if only_sides and stride[1] == 1 and width >= kernel_size[1]:
        return patches_without_padding(inside, kernel_size, stride[0], left, right)
    if first < 0 or last > height or left or right:
        above = max(-first, 0)
        padded = xp.zeros(
            (inside.shape[0], last - first, left + width + right, channels), dtype=x.dtype
        )
        padded[:, above : above + inside.shape[1], left : left + width] = inside
        inside = padded
    # reshape copies the overlapping windows one by one; a 1 x 1 kernel has none and copies nothing
    return sliding_windows(inside, kernel_size, stride).reshape(-1, patch_length)


def patches_without_padding(
    inside: Array, kernel_size: tuple, down: int, left: int, right: int
) -> Array:
    """Make the patches of a band that meets the border at its left and right end only.

    On a wide image a band is a few rows, and padding them would take as long as the product.
    """
    windows = sliding_windows(inside, kernel_size, (down, 1))  # (n, rows, inner, KH, KW, C)
    images, out_height, inner, kernel_height, kernel_width, channels = windows.shape
    shape = (images, out_height, left + inner + right, kernel_height, kernel_width, channels)
    patches = xp.empty(shape, dtype=inside.dtype)
    patches[:, :, left : left + inner] = windows
    # A window that begins k pixels outside sees the same as the outermost one within, and k zeros.
    for k in range(1, left + 1):
        patches[:, :, left - k, :, :k] = 0
        patches[:, :, left - k, :, k:] = windows[:, :, 0, :, : max(kernel_width - k, 0)]
    for k in range(1, right + 1):
        kept = max(kernel_width - k, 0)
        patches[:, :, k - right - 1, :, kept:] = 0
        patches[:, :, k - right - 1, :, :kept] = windows[:, :, -1, :, kernel_width - kept :]
    return patches.reshape(-1, kernel_height * kernel_width * channels)


def sliding_windows(x: Array, kernel_size: tuple, stride: tuple) -> Array:
    """View the patches without copying a pixel: shape (N, OH, OW, KH, KW, C).

    Going one window down is `stride` rows further in the same memory, going down inside a window is
    one row further. So the strides (bytes from one entry to the next) say it all. The view is for
    reading: to write into it would change several windows at once.
    """
    (kernel_height, kernel_width), (down, right) = kernel_size, stride
    images, height, width, channels = x.shape
    out_height = (height - kernel_height) // down + 1
    out_width = (width - kernel_width) // right + 1
    per_image, per_row, per_pixel, per_channel = x.strides
    return strided_view(
        x,
        (images, out_height, out_width, kernel_height, kernel_width, channels),
        (per_image, per_row * down, per_pixel * right, per_row, per_pixel, per_channel),
    )
