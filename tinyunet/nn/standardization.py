"""Bring every channel to mean 0 and standard deviation 1, as measured on the training images.

A network learns best from numbers of the order of 1: the initial weights are scaled for them.
Whatever was subtracted and divided in training must be so in prediction, with the same figures;
they are part of the model and saved with it.
"""

from collections.abc import Iterable
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
    def fit(cls, images: Iterable[np.ndarray]) -> "Standardization":
        r"""Measure mean and standard deviation over all pixels of all images.

        Each array adds its number of pixels, its mean and its sum of squared differences to those
        of the arrays before it (T. F. Chan, G. H. Golub and R. J. LeVeque, *Updating formulae and
        a pairwise algorithm for computing sample variances*, 1979), so one pass will do, however
        large the data set:

        .. math:: S = S_1 + S_2 + (m_2 - m_1)^2 \frac{n_1 n_2}{n_1 + n_2}

        A channel that is constant gets a standard deviation of 1: it becomes 0, not NaN.

        Parameters
        ----------
        images : iterable of arrays (..., C), any number type
            Whole images (H, W, C), or only their pixels that are data (pixels, C).
        """
        count, mean, squares = 0, 0.0, 0.0
        for image in images:
            pixels = image.reshape(-1, image.shape[-1])
            if not len(pixels):
                continue
            n, m = len(pixels), pixels.mean(axis=0, dtype=np.float64)
            s = n * pixels.var(axis=0, dtype=np.float64)
            squares = squares + s + (m - mean) ** 2 * (count * n / (count + n))
            mean = mean + (m - mean) * (n / (count + n))
            count += n
        if not count:
            raise UserError("no pixel of the training images is data: all are missing")
        std = np.sqrt(squares / count)
        constant = std <= 1e-6 * np.maximum(np.abs(mean), 1e-6)  # rounding leaves it just above 0
        return cls(mean, np.where(constant, 1.0, std))

    def transform(self, image: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
        """Standardize an image (H, W, C), or a batch (N, H, W, C), of any number type.

        Parameters
        ----------
        image : array (..., H, W, C)
        valid : array (..., H, W) of bool, optional
            Where it is False there is no data: whatever is stored there becomes the mean, 0.

        Returns
        -------
        array of the same shape, float32

        Raises
        ------
        UserError
            If the number of channels is another.
        """
        if image.shape[-1] != len(self.mean):
            channels, due = image.shape[-1], len(self.mean)
            raise UserError(f"the image has {channels} channel(s), those of the training {due}")
        result = (image.astype(np.float32) - self.mean) / self.std
        if valid is not None:
            result[~valid] = 0
        return result
