"""Bring every channel to mean 0 and standard deviation 1, as measured on the training images.

A network learns best from numbers of the order of 1: the initial weights are scaled for them.
Whatever was subtracted and divided in training must be so in prediction, with the same figures;
they are part of the model and saved with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyunet.errors import UserError


@dataclass
class Standardization:
    """Subtract a mean and divide by a standard deviation, channel by channel.

    Attributes
    ----------
    mean, std : array (C,), float32
    """

    mean: np.ndarray
    std: np.ndarray

    def __post_init__(self) -> None:
        """Take lists too."""
        self.mean = np.asarray(self.mean, dtype=np.float32)
        self.std = np.asarray(self.std, dtype=np.float32)

    @classmethod
    def fit(cls, images: Sequence[np.ndarray]) -> "Standardization":
        """Measure mean and standard deviation over all pixels of all images.

        The variance of the whole is the mean of the images' variances plus the variance of their
        means, each image counting as much as it has pixels. So one pass over the images will do.

        A channel that is constant gets a standard deviation of 1: it becomes 0, not NaN.

        Parameters
        ----------
        images : sequence of arrays (H, W, C), any number type
        """
        pixels = np.array([image.shape[0] * image.shape[1] for image in images])
        means = np.array([image.mean(axis=(0, 1), dtype=np.float64) for image in images])
        variances = np.array([image.var(axis=(0, 1), dtype=np.float64) for image in images])
        mean = np.average(means, axis=0, weights=pixels)
        std = np.sqrt(np.average(variances + (means - mean) ** 2, axis=0, weights=pixels))
        constant = std <= 1e-6 * np.maximum(np.abs(mean), 1e-6)  # rounding leaves it just above 0
        return cls(mean, np.where(constant, 1.0, std))

    def transform(self, image: np.ndarray) -> np.ndarray:
        """Standardize an image (H, W, C), or a batch (N, H, W, C), of any number type.

        Returns
        -------
        array of the same shape, float32

        Raises
        ------
        UserError
            If the number of channels is another.
        """
        if image.shape[-1] != len(self.mean):
            raise UserError(
                f"the image has {image.shape[-1]} channel(s), but {len(self.mean)} are expected, "
                "as in the images of the training"
            )
        return (image.astype(np.float32) - self.mean) / self.std
