r"""Elastic deformation: an image on a sheet of rubber, pulled here and there.

Tissue, cells and leaves bend, so a bent image of them is another believable image. The U-Net paper
learned from 30 images with this trick: "we generate smooth deformations using random displacement
vectors on a coarse 3 by 3 grid. The displacements are sampled from a Gaussian distribution with 10
pixels standard deviation. Per-pixel displacements are then computed using bicubic interpolation"
(Ronneberger, Fischer and Brox 2015, https://arxiv.org/abs/1505.04597, section 3.1).

For each pixel of the result we ask **where it came from**, its own place plus the displacement,
and look there in the original. The image is read between its pixels (bilinear: the mean of the
four around, the nearer the heavier). The mask is read at the nearest pixel, as there is nothing
between class 1 and class 3. What came from beyond the border is found in the mirror.

Buildings do not bend: leave this out where straight lines are what tells the classes apart.
"""

import numpy as np

from tinyunet.data.weight_maps import scipys_ndimage


def elastic_deformation(image, mask, rng, sigma=10.0, grid=3):
    """Bend an image and its mask in the same random way.

    Parameters
    ----------
    image : array (H, W, C), any number type
    mask : array (H, W), integers
    rng : numpy.random.Generator
        Draws 2 * grid * grid numbers.
    sigma : float
        Standard deviation of the displacements at the grid's points, in pixels; 0 changes nothing.
        A sheet that is pulled by more than about a fifth of the distance between grid points
        folds over itself: choose less than 10 for crops smaller than 128.
    grid : int
        Points along each side, from border to border; at least 2.

    Returns
    -------
    image, mask : arrays of the same shapes and number types

    Raises
    ------
    UserError
        If scipy is missing.
    """
    read = scipys_ndimage().map_coordinates
    height, width = mask.shape
    points = rng.normal(0.0, sigma, size=(2, grid, grid))
    sides = np.linspace(0, grid - 1, height), np.linspace(0, grid - 1, width)
    places = np.meshgrid(*sides, indexing="ij")  # of the pixels, in the grid
    displacements = [read(each, places, order=3, mode="nearest") for each in points]
    origin = np.indices((height, width)) + displacements  # (2, H, W): rows and columns
    channels = [read(each, origin, order=1, mode="mirror") for each in np.moveaxis(image, 2, 0)]
    return np.stack(channels, axis=2), read(mask, origin, order=0, mode="mirror")


def mirrored(position, length):
    """Turn any whole positions into indices: with 4 pixels, -2 ... 5 become 2 1 0 1 2 3 2 1."""
    if length == 1:
        return np.zeros(np.shape(position), dtype=int)
    period = 2 * (length - 1)  # there and back
    position = np.asarray(position).astype(int) % period
    return np.minimum(position, period - position)
