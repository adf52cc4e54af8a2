"""Losses with their settings: how far logits are from labels, and how much a part counts.

A batch may be computed in parts. Its loss is then the weighted mean of the parts' losses, so each
loss also tells the `weight` of a part.
"""

from collections.abc import Callable, Sequence

import numpy as np

from tinyunet.backend import Array, to_device, xp
from tinyunet.nn.operations import operations


class Loss:
    """What the losses share: their settings.

    Parameters
    ----------
    class_weights : sequence of K floats, optional
    ignore_index : int, optional
        A label whose pixels don't count.
    """

    def __init__(self, class_weights: Sequence | None = None, ignore_index: int | None = None):
        self.class_weights = None if class_weights is None else tuple(class_weights)
        self.ignore_index = ignore_index

    def settings(self) -> dict:
        """Give the settings as the operations take them."""
        weights = None if self.class_weights is None else xp.asarray(self.class_weights)
        return {"class_weights": weights, "ignore_index": self.ignore_index}

    def __repr__(self) -> str:
        name, weights = type(self).__name__, self.class_weights
        return f"{name}(class_weights={weights}, ignore_index={self.ignore_index})"


class CrossEntropy(Loss):
    """Softmax cross-entropy; see `tinyunet.nn.functional.softmax_cross_entropy`."""

    def __call__(
        self, logits: Array, labels: Array, pixel_weights: Array | None = None
    ) -> tuple[Array, Callable]:
        """Give the loss of logits (N, H, W, K) and its backward; labels come from the host."""
        weights = None if pixel_weights is None else to_device(pixel_weights)
        settings = self.settings() | {"pixel_weights": weights}
        return operations.softmax_cross_entropy(logits, labels, **settings)

    def weight(self, labels: np.ndarray, pixel_weights: np.ndarray | None = None) -> float:
        """Sum the pixels' weights of host labels (N, H, W): what the mean is divided by."""
        weights = 1.0 * (labels != self.ignore_index)
        if pixel_weights is not None:
            weights *= pixel_weights
        if self.class_weights is not None:
            for index, class_weight in enumerate(self.class_weights):
                weights[labels == index] *= class_weight
        return float(weights.sum())


class Dice(Loss):
    """Soft Dice loss; see `tinyunet.nn.functional.dice_loss`.

    Its sums run over a whole part of a batch, so the loss of a batch in parts is the mean of the
    parts' Dice losses, which is close to but not the same as that of the batch in one piece.
    """

    def __call__(self, logits: Array, labels: Array) -> tuple[Array, Callable]:
        """Give the loss of logits (N, H, W, K) and its backward; labels come from the host."""
        return operations.dice_loss(logits, labels, **self.settings())

    def weight(self, labels: np.ndarray) -> float:
        """Count the images: each part counts by how many it has."""
        return float(len(labels))


class CrossEntropyAndDice(CrossEntropy):
    """The sum of both losses: each is strong where the other is weak.

    How hard the cross-entropy pushes a class depends on how many pixels it has: a rare one is
    hardly heard. The Dice loss pushes rare and common classes alike, but hardly moves pixels where
    the network is sure and wrong; there the cross-entropy is at its strongest. A part of a batch is
    weighed as for the cross-entropy, for which this is exact.
    """

    def __call__(
        self, logits: Array, labels: Array, pixel_weights: Array | None = None
    ) -> tuple[Array, Callable]:
        """Give the loss of logits (N, H, W, K) and its backward; labels come from the host."""
        first, backward_of_first = super().__call__(logits, labels, pixel_weights)
        second, backward_of_second = operations.dice_loss(logits, labels, **self.settings())

        def backward(dloss: Array | float = 1.0) -> Array:
            return backward_of_first(dloss) + backward_of_second(dloss)

        return first + second, backward


LOSSES = {"ce": CrossEntropy, "dice": Dice, "ce+dice": CrossEntropyAndDice}
