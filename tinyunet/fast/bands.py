"""Bands: the work is cut into a few rows of an image at a time, which stay in the cache.

The patch matrix is KH*KW times as large as the image. Making it whole would push it out to main
memory and back; made *a band of rows at a time*, it stays in the cache. Backward makes the bands
again instead of keeping them: that is cheaper than to read them back, and saves nine tenths of the
memory. Bands are independent, so that threads can share them.
"""

from collections.abc import Iterator
from typing import Any

from tinyunet.backend import Array, device_name, xp
from tinyunet.fast.threads import thread_count

# How many bytes a band may take. On a CPU: what the cache holds. On a GPU every band is a kernel
# launch, so bands are there only to bound the memory.
BAND_BYTES = {"cpu": 2 * 2**20, "cuda": 256 * 2**20}

Band = tuple[slice, slice]  # images, and rows of them


def bands(
    shape: tuple, bytes_per_pixel: float, kernel_bytes: int = 0, multiple: int = 1
) -> Iterator[Band]:
    """Cut an output (N, OH, OW, F) into bands: whole images while they are small, else rows of one.

    A band takes at most BAND_BYTES, or as many as the kernel: with less, the work would be to read
    the kernel over and over. Its rows are a multiple of `multiple`, but for an image's last. There
    is at least one band for each thread.
    """
    images, height, width, _ = shape
    limit = max(BAND_BYTES[device_name()], kernel_bytes)
    fitting_rows = int(limit / (width * bytes_per_pixel))
    rows = min(fitting_rows, images * height // thread_count())
    if rows >= height:
        together = rows // height
        for first in range(0, images, together):
            yield slice(first, min(first + together, images)), slice(0, height)
    else:
        rows = max(1, rows // multiple) * multiple
        for image in range(images):
            for first in range(0, height, rows):
                yield slice(image, image + 1), slice(first, min(first + rows, height))


def padded_band(x: Array, band: Band, products: Any, border: tuple) -> Array:
    """Cut out what the windows of a band see of an image, zeros in place of the border.

    The rows are those of whole tiles of `products` (see `tinyunet.fast.patches`).
    """
    (numbers, rows), (kernel_height, _), (down, _) = band, products.kernel_size, products.stride
    (top, _), (left, right) = border
    _, height, width, channels = x.shape
    first = rows.start * down - top
    row_count = -(-(rows.stop - rows.start) // products.tile) * products.tile
    last = first + (row_count - 1) * down + kernel_height
    # (A wide border can hold a band's windows alone: then they touch no row.)
    part = x[numbers, max(first, 0) : max(min(last, height), 0)]
    if first >= 0 and last <= height and left == right == 0:
        return part
    above, below = max(-first, 0), max(-first, 0) + part.shape[1]
    shape = (len(part), last - first, left + width + right, channels)
    if device_name() == "cuda":  # one kernel launch
        padded = xp.zeros(shape, dtype=x.dtype)
    else:  # the border alone
        padded = xp.empty(shape, dtype=x.dtype)
        padded[:, :above] = padded[:, below:] = 0
        padded[:, :, :left] = padded[:, :, left + width :] = 0
    padded[:, above:below, left : left + width] = part
    return padded


def rows_of(y: Array, band: Band) -> Array:
    """One band of an output (N, OH, OW, F) as a matrix (pixels, F)."""
    return y[band].reshape(-1, y.shape[3])
