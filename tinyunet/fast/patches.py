"""The convolution of a band as one product with its patch matrix."""

from tinyunet.backend import Array, xp
from tinyunet.fast.memory import strided_view


class PatchProducts:
    """Convolves bands by their patch matrices; `WinogradProducts` has the same methods.

    Attributes
    ----------
    turned : bool
        Whether the kernel is turned around, its channels in and out exchanged. Its matrices are
        then transposed: BLAS takes them so, and the inner axis of the kernel keeps its order.
    tile : int
        How many rows of output are computed together.
    patch_length : float
        How many numbers of patches there are to each output pixel and input channel.
    values : int
        How many products a kernel's column takes part in.
    """

    tile = 1

    def __init__(self, kernel_size: tuple, stride: tuple, turned: bool):
        self.kernel_size, self.stride, self.turned = kernel_size, stride, turned
        self.values = kernel_size[0]
        self.patch_length = kernel_size[0] * kernel_size[1]

    def matrices(self, weight: Array) -> Array:
        """Lay a kernel (KH, KW, C, F) out as a matrix (KH*KW*C, F); turned, as (KH*KW*F, C)."""
        if not self.turned:
            return weight.reshape(-1, weight.shape[3])
        return weight[::-1, ::-1].transpose(2, 0, 1, 3).reshape(weight.shape[2], -1).T

    def gradient_of_weight(self, dmatrix: Array) -> Array:
        """Turn the gradient of the matrix, or of its transpose, into that of the kernel."""
        if not self.turned:
            return dmatrix.reshape(*self.kernel_size, -1, dmatrix.shape[1])
        turned = dmatrix.reshape(len(dmatrix), *self.kernel_size, -1)
        return turned[:, ::-1, ::-1].transpose(1, 2, 0, 3)

    def patches(self, padded: Array) -> Array:
        """Make the patch matrix (pixels, KH*KW*C) of a band that has its border."""
        # reshape copies the overlapping windows one by one; a 1 x 1 kernel has none
        length = self.patch_length * padded.shape[3]
        return sliding_windows(padded, self.kernel_size, self.stride).reshape(-1, length)

    def multiply(self, patches: Array, matrices: Array, out: Array) -> None:
        """Convolve a band, given its patch matrix, to `out` (N, OH, OW, F)."""
        # (pixels, KH*KW*C) @ (KH*KW*C, F) -> (pixels, F), straight to its place
        xp.matmul(patches, matrices, out=out.reshape(-1, out.shape[3]))

    def gradient_of_matrices(self, patches: Array, dy: Array) -> Array:
        """Compute a band's part of the gradient of the kernel's matrix, transposed if turned."""
        dy = dy.reshape(-1, dy.shape[3])
        # (KH*KW*C, pixels) @ (pixels, F) -> (KH*KW*C, F)
        return dy.T @ patches if self.turned else patches.T @ dy


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
