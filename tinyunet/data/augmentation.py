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
from tinyunet.data.elastic import elastic_deformation
from tinyunet.errors import UserError
from tinyunet.nn.standardization import Standardization

BALANCED = 1 / 3  # of the crops, where classes are balanced


def random_crop(image, mask, size, rng):
    """Cut a random window out of image and mask, every position equally likely.

    A side shorter than the window is extended by mirroring.

    Parameters
    ----------
    image : array (H, W, C)
    mask : array (H, W)
    size : int or (int, int)
        Height and width of the window, in pixels; one number for a square.
    rng : numpy.random.Generator

    Returns
    -------
    image, mask : arrays (height, width, C) and (height, width)
    """
    window = random_window(image, size, rng)
    return read_mirrored(image, *window), read_mirrored(mask, *window)


def random_window(image, size, rng, pixel=(None, None)):
    """Choose where to cut an image: its rows and columns, as slices; see `random_crop`.

    Where the image is smaller than the window, they reach beyond it, for `read_mirrored`. With a
    `pixel` (row, column), all windows that hold it are equally likely.
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


def random_elastic(image, mask, rng):
    """Bend image and mask as the U-Net paper does, small ones less, lest they fold over."""
    sigma = min(10.0, min(mask.shape[:2]) / 12.8)
    return elastic_deformation(image, mask, rng, sigma)


def augment(image, mask, rng, elastic=False):
    """Draw a variant of a standardized image and its mask: flips, quarter turns, another light.

    With `elastic` it is bent, too.
    """
    if elastic:
        image, mask = random_elastic(image, mask, rng)
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
        Among the variants are bent ones; see `tinyunet.data.elastic`.
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
        image, mask, valid = (
            read_mirrored(array, *window)
            for array in (dataset.images[index], dataset.masks[index], dataset.valid_of(index))
        )
        image = standardization.transform(image, valid)
        if augmented:
            image, mask = augment(image, mask, rng, elastic)
        images[slot], labels[slot] = image, mask
    return images, labels
