"""Where can the map be trusted? A network answers everywhere, even where it has seen nothing alike.

The *area of applicability* is where an image looks, to the network, like what it was trained on.
How a pixel looks to it is told by its last features, the numbers from which the head chooses a
class (before the last ReLU, which keeps to itself how far below 0 they were). The
dissimilarity index of a pixel is the distance of its features to those of the nearest training
pixel, in units of the mean distance between two training pixels::

    DI = min_j |f - t_j|  /  mean_jk |t_j - t_k|

each feature first divided by its standard deviation in the training images. What is usual? That is
measured on the training pixels themselves, each compared with those of *other* images (or, where
there are few, of other blocks of them): its own neighbors would make everything else look odd. The
threshold is where a box plot of these values ends, 1.5 times the length of the box above the box,
but at most at the largest value.

Source: H. Meyer and E. Pebesma, Predicting into unknown space? Estimating the area of applicability
of spatial prediction models (2021), Methods in Ecology and Evolution 12, 1620-1633.
"""

import copy
import math

import numpy as np

from tinyunet.backend import random_generator, to_host
from tinyunet.checkpoint import Model
from tinyunet.data.augmentation import random_window
from tinyunet.data.dataset import Dataset, part_of
from tinyunet.errors import UserError
from tinyunet.inference.sliding_window import predict_tiles
from tinyunet.nn.layers import Sequential

PIXELS, WINDOWS, SIDE = 1000, 50, 128  # of the training images: so many, from windows of this side
FOLDS = 16  # at least: fewer images are divided into blocks


class Applicability:
    """What training pixels look like to a network, for others to be compared with.

    Parameters
    ----------
    features : array (n, F)
        The F features of n training pixels.
    folds : array (n,), integers
        The fold of each.

    Attributes
    ----------
    mean, std : array (F,)
        Of the features over the training pixels.
    points : array (n, F)
        The standardized features.
    unit : float
        The mean distance between two of them.
    threshold : float
        The dissimilarity index up to which a pixel lies inside the area of applicability.

    Raises
    ------
    UserError
        If all pixels are of one fold.
    """

    def __init__(self, features: np.ndarray, folds: np.ndarray):
        if len(np.unique(folds)) < 2:
            raise UserError("the area of applicability needs training pixels of two folds")
        self.mean, std = features.mean(axis=0), features.std(axis=0)
        self.std = np.where(std > 0, std, 1)
        self.points = (features - self.mean) / self.std
        pairwise = distances(self.points, self.points)
        self.unit = pairwise.sum() / (len(features) * (len(features) - 1)) or 1.0
        pairwise[folds[:, None] == folds] = np.inf
        index = pairwise.min(axis=1) / self.unit
        lower, upper = np.quantile(index, (0.25, 0.75))
        self.threshold = min(index.max(), upper + 1.5 * (upper - lower))

    def dissimilarity(self, features: np.ndarray) -> np.ndarray:
        """Give the dissimilarity index (H, W) of pixels with the features (H, W, F)."""
        points = (features - self.mean) / self.std
        # Row by row: the distances of all pixels to all points would not fit into memory.
        nearest = [distances(row, self.points).min(axis=1) for row in points]
        return np.stack(nearest) / self.unit


def distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Give the distance of each of n points (n, F) to each of m others (m, F): (n, m)."""
    points, others = points.astype(np.float64), others.astype(np.float64)
    # |p - q|^2 = |p|^2 - 2 p q + |q|^2: (n, F) times (F, m) is a matrix product
    squares = np.sum(points**2, axis=1)[:, None] - 2 * points @ others.T + np.sum(others**2, axis=1)
    return np.sqrt(np.maximum(squares, 0))


def without_head(model: Model) -> Model:
    """Make a model that gives the network's last features instead of logits; weights are shared."""
    model, network = copy.copy(model), copy.copy(model.network)
    *blocks, last = network.decoder
    network.decoder = [*blocks, Sequential(**dict(last.children()[:-1]))]  # without its ReLU
    network.head = Sequential()
    model.network = network
    return model


def sample_features(model: Model, dataset: Dataset, seed: int = 0, threads=None) -> dict:
    """Draw pixels that count from images, and keep how they look to the network.

    Parameters
    ----------
    model : Model
    dataset : Dataset
        The images that it was trained on.
    seed : int
    threads : int, optional

    Returns
    -------
    dict of array
        ``features`` (n, F) and ``folds`` (n,): image, or block of an image, of each of about 1000
        pixels.
    """
    rng, headless = random_generator(seed), without_head(model)
    per_side = math.ceil(math.sqrt(FOLDS / len(dataset)))
    features, folds = [], []
    for index in np.resize(rng.permutation(len(dataset)), WINDOWS).tolist():
        image, mask, valid = dataset.images[index], dataset.masks[index], dataset.valid_of(index)
        rows, columns = random_window(image, tuple(min(SIDE, n) for n in mask.shape), rng)
        counted = np.argwhere(mask[rows, columns] != model.ignore_index)
        pixels = rng.permutation(counted)[: PIXELS // WINDOWS]
        image, valid = (part_of(each, rows, columns) for each in (image, valid))
        [(_, _, found)] = predict_tiles(headless, image, valid=valid, tile=SIDE, threads=threads)
        features.append(to_host(found)[tuple(pixels.T)])
        down, along = ((pixels + [rows.start, columns.start]) * per_side // mask.shape).T
        folds.append((index * per_side + down) * per_side + along)
    return {"features": np.concatenate(features), "folds": np.concatenate(folds)}


def mark_applicability(model: Model, image, *, valid=None, out=None, **options) -> np.ndarray:
    """Mark where a model can be applied.

    Parameters
    ----------
    model : Model
        With training features, as ``tinyunet train`` leaves them.
    image : array (H, W, C), or `tinyunet.data.dataset.Windowed`
        As it comes from its file.
    valid, out, **options
        As in `tinyunet.inference.sliding_window.predict_classes`.

    Returns
    -------
    array (H, W) of uint8
        1 inside the area of applicability, 0 outside, 255 where there is no data.

    Raises
    ------
    UserError
        If the model has no training features, or from too few places.
    """
    if not model.training_features:
        raise UserError("the model has no features of its training images; `train` adds them")
    area = Applicability(**model.training_features)
    marks = np.empty(image.shape[:2], np.uint8) if out is None else out
    options["tta"] = False  # features can't be averaged as probabilities are
    for *window, features in predict_tiles(without_head(model), image, valid=valid, **options):
        window = tuple(window)
        marks[window] = area.dissimilarity(to_host(features)) <= area.threshold
        if valid is not None:
            marks[window][~valid[window]] = 255
    return marks
