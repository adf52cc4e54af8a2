"""Bands: the work is cut into a few rows of an image at a time, which stay in the cache.

The patch matrix is KH*KW times as large as the image. Making it whole would push it out to main
memory and back; made *a band of rows at a time*, it stays in the cache. Backward makes the bands
again instead of keeping them: that is cheaper than to read them back, and saves nine tenths of the
memory. Bands are independent, so that threads can share them.
"""

from collections.abc import Iterator

from tinyunet.backend import Array, device_name
from tinyunet.fast.threads import thread_count

# How large a band's patch matrix may be. On a CPU: what the cache holds. On a GPU every band is a
# kernel launch, so bands are there only to bound the memory.
BAND_BYTES = {"cpu": 4 * 2**20, "cuda": 256 * 2**20}


def bands(
    output_shape: tuple, kernel_size: tuple, channels: int, filters: int, itemsize: int
) -> Iterator[tuple[slice, slice]]:
    """Cut the output into bands: whole images while they are small, else rows of one image.

    Yields pairs of slices (images, rows). A band's patch matrix has at most BAND_BYTES, or as many
    as the kernel: with less, the work would be to read the kernel over and over. There is at least
    one band for each thread.
    """
    images, out_height, out_width, _ = output_shape
    patch_length = kernel_size[0] * kernel_size[1] * channels
    limit = max(BAND_BYTES[device_name()], patch_length * filters * itemsize)
    fitting_rows = limit // (out_width * patch_length * itemsize)
    rows = max(1, min(fitting_rows, images * out_height // thread_count()))
    if rows >= out_height:
        together = rows // out_height
        for first in range(0, images, together):
            yield slice(first, min(first + together, images)), slice(0, out_height)
    else:
        for image in range(images):
            for first in range(0, out_height, rows):
                yield slice(image, image + 1), slice(first, min(first + rows, out_height))


def rows_of(y: Array, band: tuple) -> Array:
    """One band of an output (N, OH, OW, F) as a matrix (pixels, F)."""
    return y[band].reshape(-1, y.shape[3])
