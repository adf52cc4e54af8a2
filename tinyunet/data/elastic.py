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


def elastic_deformation(image, mask, rng, sigma=10.0, grid=3):
    """Bend an image and its mask in the same random way.

    Parameters
    ----------
    image : array (H, W, C), any number type
    mask : array (H, W), integers; or (H, W, M), several
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
    """
    height, width = mask.shape[:2]
    points = rng.normal(0.0, sigma, size=(2, grid, grid))
    # (H, grid) @ (grid, grid) @ (grid, W): down the columns, then along the rows
    down, right = cubic_weights(height, grid) @ points @ cubic_weights(width, grid).T
    rows = np.arange(height)[:, np.newaxis] + down
    columns = np.arange(width) + right
    nearest = mirrored(np.rint(rows), height), mirrored(np.rint(columns), width)
    return bilinear_sample(image, rows, columns), mask[nearest]


def cubic_weights(length, points):
    """Spread a few points over many pixels: a matrix (length, points) that interpolates.

    The points lie evenly from the first pixel to the last. A pixel at distance t from its four
    nearest points weighs them by Keys' cubic (the usual "bicubic", a = -1/2), which goes smoothly
    through every point. Beyond the ends the last point repeats. Rows sum to 1.

    Source: R. Keys, "Cubic convolution interpolation for digital image processing", 1981.
    """
    weights = np.zeros((length, points))
    position = np.linspace(0, points - 1, length)
    first = np.minimum(np.floor(position).astype(int), points - 2)
    for neighbor in range(-1, 3):
        t = np.abs(position - (first + neighbor))
        near = 1.5 * t**3 - 2.5 * t**2 + 1  # up to a distance of 1
        far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2  # from 1 to 2
        index = np.clip(first + neighbor, 0, points - 1)
        weights[np.arange(length), index] += np.where(t <= 1, near, far)
    return weights


def mirrored(position, length):
    """Turn any whole positions into indices: with 4 pixels, -2 ... 5 become 2 1 0 1 2 3 2 1."""
    if length == 1:
        return np.zeros(np.shape(position), dtype=int)
    period = 2 * (length - 1)  # there and back
    position = np.asarray(position).astype(int) % period
    return np.minimum(position, period - position)


def bilinear_sample(image, rows, columns):
    """Read an image (H, W, C) at fractional positions (h, w) each: bilinear, mirrored borders.

    Whole numbers are rounded, so the number type stays.
    """
    height, width = image.shape[:2]
    top, left = np.floor(rows), np.floor(columns)
    # Floating-point images stay as precise as they were, whole numbers are averaged in float64.
    exact = image.dtype if image.dtype.kind == "f" else np.float64
    to_bottom = (rows - top)[..., np.newaxis].astype(exact)
    to_right = (columns - left)[..., np.newaxis].astype(exact)
    top, bottom = mirrored(top, height), mirrored(top + 1, height)
    left, right = mirrored(left, width), mirrored(left + 1, width)
    upper = image[top, left] * (1 - to_right) + image[top, right] * to_right
    lower = image[bottom, left] * (1 - to_right) + image[bottom, right] * to_right
    result = upper * (1 - to_bottom) + lower * to_bottom
    return result if image.dtype.kind == "f" else np.rint(result).astype(image.dtype)
