r"""Winograd's convolution: half of the multiplications, for a kernel of three rows.

Four outputs one below the other come from six inputs and the three numbers of a kernel's column.
That takes 12 multiplications; it can be done with six, for the same reason for which two
polynomials with 4 and 3 coefficients need not be multiplied term by term. Their product has six
coefficients, so it is known by its values at six points, and each of these is one multiplication
of their values. With :math:`E_n`, which turns n coefficients into the values at the points,

.. math:: p \cdot q = E_6^{-1} \, (E_4 \, p \odot E_3 \, q)

A column's output y, of its input x and the kernel's column g, and the gradient of g are the
transposes of this:

.. math:: y = E_4^T \, (E_6^{-T} x \odot E_3 \, g), \quad
          dg = E_3^T \, (E_6^{-T} x \odot E_4 \, dy)

All pixels and channels of a row are transformed at once: a product of a small matrix and rows of
the image. What is left of :math:`\odot` is an ordinary product with a patch matrix for each of the
six points, whose patches are one row high. So there is also half as much to copy into patches.

The points are 0, infinity (where the last coefficient stands for a polynomial's value), and two
pairs of opposite numbers, chosen because rounding errors stay small: about twice those of the
usual way.

Source: A. Lavin and S. Gray, Fast algorithms for convolutional neural networks (2016), section 4.
"""

import numpy as np

from tinyunet.backend import Array, xp
from tinyunet.fast.memory import strided_view

TAPS, TILE = 3, 4  # the rows of a kernel, and those of the output that are computed together
MIN_PIXELS = 256  # with fewer in a batch, most of the work would be to transform the kernel
POINTS = (0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))


def values_at_points(coefficients: int) -> np.ndarray:
    """Make the matrix (6, n) that turns n coefficients into the values at the six points."""
    finite = [[point**power for power in range(coefficients)] for point in POINTS]
    return np.array([*finite, np.eye(coefficients)[-1]])


E3, E4 = values_at_points(TAPS), values_at_points(TILE)
E6_INVERSE = np.linalg.inv(values_at_points(TAPS + TILE - 1))


class WinogradProducts:
    """Convolves bands with stride 1 and three rows of a kernel, as `PatchProducts` does."""

    tile, values, stride = TILE, len(E3), (1, 1)

    def __init__(self, kernel_width: int, turned: bool):
        self.kernel_size, self.turned = (TAPS, kernel_width), turned
        self.patch_length = self.values / TILE * kernel_width

    def matrices(self, weight: Array) -> Array:
        """Transform a kernel (3, KW, C, F) to matrices (6, KW*C, F); turned, to (6, KW*F, C)."""
        _, width, channels, filters = weight.shape
        # (6, 3) @ (3, KW*C*F)
        u = self.kernel_values(weight.dtype) @ weight.reshape(TAPS, -1)
        if not self.turned:
            return u.reshape(-1, width * channels, filters)
        u = u.reshape(-1, width, channels, filters)[:, ::-1].transpose(0, 2, 1, 3)
        return u.reshape(-1, channels, width * filters).transpose(0, 2, 1)

    def gradient_of_weight(self, dmatrices: Array) -> Array:
        """Turn the gradient of the matrices, or of their transposes, into that of the kernel."""
        _, rows, columns = dmatrices.shape
        width = self.kernel_size[1]
        # (3, 6) @ (6, KW*C*F)
        dweight = self.kernel_values(dmatrices.dtype).T @ dmatrices.reshape(self.values, -1)
        if not self.turned:
            return dweight.reshape(TAPS, width, rows // width, columns)
        return dweight.reshape(TAPS, rows, width, columns // width)[:, :, ::-1].swapaxes(1, 2)

    def kernel_values(self, dtype: np.dtype) -> Array:
        """Give the matrix (6, 3) that transforms a kernel's columns."""
        return (E3[:, ::-1] if self.turned else E3).astype(dtype)

    def patches(self, padded: Array) -> Array:
        """Make the patch matrices (6, pixels / 4, KW*C) of a band that has its border."""
        padded = xp.ascontiguousarray(padded)
        images, height, width, channels = padded.shape
        per_image, per_row, per_pixel, per_number = padded.strides
        six_rows = strided_view(
            padded,
            (images, (height - TAPS + 1) // TILE, self.values, width * channels),
            (per_image, TILE * per_row, per_row, per_number),
        )
        v = combine(E6_INVERSE.T, six_rows)  # (6, N, R, W*C)
        # A patch is KW neighboring pixels, which lie in memory as KW * C numbers in a row.
        length = self.kernel_size[1] * channels
        shape = (*v.shape[:3], width - self.kernel_size[1] + 1, length)
        return strided_view(v, shape, (*v.strides[:3], per_pixel, per_number)).reshape(
            self.values, -1, length
        )

    def multiply(self, patches: Array, matrices: Array, out: Array) -> None:
        """Convolve a band, given its patch matrices, to `out` (N, OH, OW, F)."""
        images, height, width, filters = out.shape
        # (6, pixels / 4, KW*C) @ (6, KW*C, F) -> (6, pixels / 4, F)
        products = patches @ matrices
        tiles = products.reshape(self.values, images, -1, width * filters).transpose(1, 2, 0, 3)
        # (4, 6) @ (N, R, 6, OW*F) -> (N, R, 4, OW*F)
        y = out
        if height % TILE:  # the last tile of an image may reach beyond its end
            y = xp.empty((images, height + -height % TILE, width, filters), dtype=out.dtype)
        xp.matmul(E4.T.astype(out.dtype), tiles, out=y.reshape(images, -1, TILE, width * filters))
        if y is not out:
            out[...] = y[:, :height]

    def gradient_of_matrices(self, patches: Array, dy: Array) -> Array:
        """Compute a band's part of the gradient of the kernel's matrices, transposed if turned."""
        images, height, width, filters = dy.shape
        missing = -height % TILE
        if missing:
            dy = xp.pad(dy, ((0, 0), (0, missing), (0, 0), (0, 0)))
        dproducts = combine(E4, dy.reshape(images, -1, TILE, width * filters))
        dproducts = dproducts.reshape(self.values, -1, filters)
        # (6, KW*C, pixels / 4) @ (6, pixels / 4, F) -> (6, KW*C, F)
        first, second = (dproducts, patches) if self.turned else (patches, dproducts)
        return first.transpose(0, 2, 1) @ second


def combine(matrix: np.ndarray, rows: Array) -> Array:
    """Multiply a matrix (M, K) with each K rows of (N, R, K, numbers): (M, N, R, numbers)."""
    images, count, _, numbers = rows.shape
    result = xp.empty((len(matrix), images, count, numbers), dtype=rows.dtype)
    xp.matmul(matrix.astype(rows.dtype), rows, out=result.transpose(1, 2, 0, 3))
    return result
