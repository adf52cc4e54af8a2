"""A hundred images from one: crops, mirrors, quarter turns, another light, a gentle bend.

Seen from above, a meadow that is turned or mirrored is still a meadow, and on a cloudy day it is
one too. Showing such variants in training costs nothing and keeps the network from learning the
images by heart.

What moves pixels moves image **and** mask together, with the same random numbers; what changes
light changes the image only. Images are (H, W, C), masks (H, W). All randomness comes from the
generator that is given, so the same seed shows the same variants.
"""

import numpy as np

from tinyunet.data.dataset import ClassPixels, Dataset, read_mirrored
from tinyunet.data.weight_maps import scipys_ndimage
from tinyunet.errors import UserError
from tinyunet.nn.standardization import Standardization

BALANCED = 1 / 3  # of the crops, where classes are balanced


def random_window(image, size, rng, pixel=(None, None)):
    """Choose where to cut an image: its rows and columns, as slices, every place equally likely.

    The size is one number, or height and width. Where the image is smaller than the window, they
    reach beyond it, for `read_mirrored`. With a `pixel` (row, column), all windows that hold it are
    equally likely.
    """
    sizes = (size, size) if isinstance(size, int) else size
    window = []
    for side, wanted, position in zip(image.shape[:2], sizes, pixel, strict=True):
        lowest, highest = min(0, side - wanted), max(0, side - wanted)
        if position is not None:
            lowest, highest = max(lowest, position - wanted + 1), min(highest, position)
        start = rng.integers(lowest, highest + 1)
        window.append(slice(int(start), int(start) + wanted))
    return tuple(window)


def random_flip(image, mask, rng):
    """Mirror top and bottom, and left and right, each with a chance of one half; returns views."""
    for axis in (0, 1):
        if rng.random() < 0.5:
            image, mask = np.flip(image, axis), np.flip(mask, axis)
    return image, mask


def random_rot90(image, mask, rng):
    """Turn by 0, 90, 180 or 270 degrees, equally likely; returns views.

    A quarter turn swaps height and width: crops that go into one batch must be square.
    """
    turns = int(rng.integers(4))
    return np.rot90(image, turns), np.rot90(mask, turns)


def random_brightness_contrast(image, rng, brightness=0.2, contrast=0.2):
    """Change the light: ``image * c + b``.

    Works on a standardized image, where 0 is the mean of the training images and 1 their standard
    deviation: contrast stretches around 0, and brightness shifts by standard deviations.

    Parameters
    ----------
    image : array (H, W, C), floating point
    rng : numpy.random.Generator
    brightness : float
        b is drawn between -brightness and brightness.
    contrast : float
        c is drawn between 1 - contrast and 1 + contrast.

    Returns
    -------
    array of the shape and number type of the image
    """
    stretch = image.dtype.type(rng.uniform(1 - contrast, 1 + contrast))
    shift = image.dtype.type(rng.uniform(-brightness, brightness))
    return image * stretch + shift


def elastic_deformation(image, mask, rng, sigma=None, grid=3):
    """Bend an image and its mask in the same random way, as on a sheet of rubber.

    Tissue, cells and leaves bend, so a bent image of them is another believable image. The U-Net
    paper learned from 30 images with this trick: "we generate smooth deformations using random
    displacement vectors on a coarse 3 by 3 grid. The displacements are sampled from a Gaussian
    distribution with 10 pixels standard deviation. Per-pixel displacements are then computed using
    bicubic interpolation" (Ronneberger, Fischer and Brox 2015, https://arxiv.org/abs/1505.04597,
    section 3.1). Buildings do not bend: leave this out where straight lines tell the classes apart.

    For each pixel of the result we ask **where it came from**, its own place plus the displacement,
    and look there in the original. The image is read between its pixels (bilinear: the mean of the
    four around, the nearer the heavier), the mask at the nearest pixel, as there is nothing between
    class 1 and class 3. What came from beyond the border is found in the mirror.

    Parameters
    ----------
    image : array (H, W, C), any number type
    mask : array (H, W), integers
    rng : numpy.random.Generator
        Draws 2 * grid * grid numbers.
    sigma : float, optional
        Standard deviation of the displacements at the grid's points, in pixels; 0 changes nothing.
        Without it, it is the paper's 10, and less for small images, so that they do not fold: a
        sheet does if it is pulled by more than about a fifth of the distance between grid points.
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
    sigma = min(10.0, min(mask.shape) / 12.8) if sigma is None else sigma
    points = rng.normal(0.0, sigma, size=(2, grid, grid))
    sides = np.linspace(0, grid - 1, height), np.linspace(0, grid - 1, width)
    places = np.meshgrid(*sides, indexing="ij")  # of the pixels, in the grid
    displacements = [read(each, places, order=3, mode="nearest") for each in points]
    origin = np.indices((height, width)) + displacements  # (2, H, W): rows and columns
    channels = [read(each, origin, order=1, mode="mirror") for each in np.moveaxis(image, 2, 0)]
    return np.stack(channels, axis=2), read(mask, origin, order=0, mode="mirror")


def augment(image, mask, rng, elastic=False):
    """Draw a variant of a standardized image and its mask: flips, quarter turns, another light.

    With `elastic` it is bent, too.
    """
    if elastic:
        image, mask = elastic_deformation(image, mask, rng)
    image, mask = random_flip(image, mask, rng)
    image, mask = random_rot90(image, mask, rng)
    return random_brightness_contrast(image, rng), mask


def check_crop(dataset: Dataset, crop_size: int) -> None:
    """Raise a `UserError` that names the smallest image, if it is too small for the crop.

    An image may be half as large as the crop: then it is mirrored at its borders, as in the paper.
    """
    sides = [min(image.shape[:2]) for image in dataset.images]
    index = int(np.argmin(sides))
    if crop_size > 2 * sides[index]:
        height, width, _ = dataset.images[index].shape
        raise UserError(
            f"the image {dataset.stems[index]} has {height} x {width} pixels (height x width), "
            f"less than half the crop of {crop_size}: crop at most {2 * sides[index]}"
        )


def sample_batch(
    dataset: Dataset,
    standardization: Standardization,
    *,
    batch_size: int,
    crop_size: int,
    rng: np.random.Generator,
    augmented: bool = True,
    elastic: bool = False,
    class_pixels: ClassPixels | None = None,
) -> tuple[np.ndarray, ...]:
    """Draw a batch for one step of training: random images, a random crop of each, augmented.

    No image comes twice into a batch as long as there are enough of them.

    Parameters
    ----------
    dataset : Dataset
    standardization : Standardization
    batch_size : int
        N, the number of crops.
    crop_size : int
        Height and width of a crop, in pixels.
    rng : numpy.random.Generator
        Everything random is drawn from it.
    augmented : bool
        False leaves the crops as they are.
    elastic : bool
        Among the variants are bent ones; see `elastic_deformation`.
    class_pixels : ClassPixels, optional
        Where each class is. With it, a third of the crops (`BALANCED`) is drawn around a pixel of a
        class that is drawn evenly among those present; the pixel lies anywhere in the crop.

    Returns
    -------
    images : array (N, crop_size, crop_size, C), float32
        Standardized.
    labels : array (N, crop_size, crop_size), int32

    Raises
    ------
    UserError
        If an image is smaller than half the crop.
    """
    check_crop(dataset, crop_size)
    images = np.empty((batch_size, crop_size, crop_size, dataset.channels), dtype=np.float32)
    labels = np.empty((batch_size, crop_size, crop_size), dtype=np.int32)
    chosen = rng.choice(len(dataset), size=batch_size, replace=batch_size > len(dataset))
    for slot, index in enumerate(chosen):
        pixel = (None, None)
        if class_pixels is not None and rng.random() < BALANCED:
            index, *pixel = class_pixels.draw(rng)
        window = random_window(dataset.images[index], crop_size, rng, pixel)
        arrays = dataset.images[index], dataset.masks[index], dataset.valid_of(index)
        image, mask, valid = (read_mirrored(array, *window) for array in arrays)
        image = standardization.transform(image, valid)
        if augmented:
            image, mask = augment(image, mask, rng, elastic)
        images[slot], labels[slot] = image, mask
    return images, labels
