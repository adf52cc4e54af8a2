"""Losses with their settings: how far logits are from labels, and how much a part counts.

A batch may be computed in parts, by several threads or processes. Its loss is then the weighted
mean of the parts' losses, so each loss also tells the `weight` of a part.
"""

from tinyunet.backend import to_device, xp
from tinyunet.nn.operations import operations


class CrossEntropy:
    """Softmax cross-entropy; see `tinyunet.nn.functional.softmax_cross_entropy`.

    Parameters
    ----------
    class_weights : sequence of K floats, optional
    ignore_index : int, optional
    """

    def __init__(self, class_weights=None, ignore_index=None):
        self.class_weights = None if class_weights is None else tuple(class_weights)
        self.ignore_index = ignore_index

    def __call__(self, logits, labels, pixel_weights=None):
        """Give the loss of logits (N, H, W, K) and its backward; labels come from the host."""
        return operations.softmax_cross_entropy(
            logits,
            labels,
            pixel_weights=None if pixel_weights is None else to_device(pixel_weights),
            class_weights=None if self.class_weights is None else xp.asarray(self.class_weights),
            ignore_index=self.ignore_index,
        )

    def weight(self, labels, pixel_weights=None):
        """Sum the pixels' weights of host labels (N, H, W): what the mean is divided by."""
        weights = 1.0 * (labels != self.ignore_index)
        if pixel_weights is not None:
            weights *= pixel_weights
        if self.class_weights is not None:
            for index, class_weight in enumerate(self.class_weights):
                weights[labels == index] *= class_weight
        return float(weights.sum())


class Dice:
    """Soft Dice loss; see `tinyunet.nn.functional.dice_loss`.

    Its sums run over a whole part of a batch, so the loss of a batch in parts is the mean of the
    parts' Dice losses, which is close to but not the same as that of the batch in one piece.

    Parameters
    ----------
    class_weights : sequence of K floats, optional
    ignore_index : int, optional
    """

    def __init__(self, class_weights=None, ignore_index=None):
        self.class_weights = None if class_weights is None else tuple(class_weights)
        self.ignore_index = ignore_index

    def __call__(self, logits, labels):
        """Give the loss of logits (N, H, W, K) and its backward; labels come from the host."""
        return operations.dice_loss(
            logits,
            labels,
            class_weights=None if self.class_weights is None else xp.asarray(self.class_weights),
            ignore_index=self.ignore_index,
        )

    def weight(self, labels):
        """Count the images: each part counts by how many it has."""
        return float(len(labels))


class CrossEntropyAndDice:
    """The sum of both losses: the one asks pixel by pixel, the other how whole areas overlap.

    Cross-entropy alone cares little for a class of few pixels; Dice alone has a gradient that is
    weak and rough in the beginning. Together they train steadily and mind small classes.

    Parameters
    ----------
    class_weights : sequence of K floats, optional
    ignore_index : int, optional
    """

    def __init__(self, class_weights=None, ignore_index=None):
        self.cross_entropy = CrossEntropy(class_weights, ignore_index)
        self.dice = Dice(class_weights, ignore_index)

    def __call__(self, logits, labels, pixel_weights=None):
        """Give the loss of logits (N, H, W, K) and its backward; labels come from the host."""
        first, backward_of_first = self.cross_entropy(logits, labels, pixel_weights)
        second, backward_of_second = self.dice(logits, labels)

        def backward(dloss=1.0):
            return backward_of_first(dloss) + backward_of_second(dloss)

        return first + second, backward

    def weight(self, labels, pixel_weights=None):
        """Weigh a part of a batch as the cross-entropy does, for which this is exact."""
        return self.cross_entropy.weight(labels, pixel_weights)


LOSSES = {"ce": CrossEntropy, "dice": Dice, "ce+dice": CrossEntropyAndDice}
