r"""Soft Dice loss: how little the predicted region and the true region overlap.

**The idea.** The Dice score of two regions is twice their overlap over the sum of their sizes: 1 if
they are equal, 0 if they are disjoint. With probabilities :math:`p` in place of a hard region and
:math:`t` the truth (1 or 0), sums over all pixels that count, and :math:`\epsilon` (`smooth`) so
that an absent class is no division by zero:

.. math:: L = 1 - \frac1K \sum_k D_k, \qquad
          D_k = \frac{2 \sum_i p_{ik} t_{ik} + \epsilon}{\sum_i p_{ik} + \sum_i t_{ik} + \epsilon}

Each class counts the same however few pixels it has: that is its use where classes are imbalanced.

**The gradient.** By the quotient rule, with :math:`S_k` for the denominator of :math:`D_k`,

.. math:: dp_{ik} = - \frac{dL}{K} \cdot \frac{2 t_{ik} - D_k}{S_k}

and the softmax's own backward turns that into the gradient of the logits.

Source: F. Milletari, N. Navab and S. Ahmadi, V-Net (2016), section 3 (with sums in place of squares
in the denominator).
"""

from collections.abc import Callable, Sequence

from tinyunet.backend import Array
from tinyunet.nn.functional.labels import (
    count_weights,
    device_class_weights,
    device_labels,
    one_hot,
)
from tinyunet.nn.functional.softmax import softmax


def dice_loss(
    logits: Array,
    labels: Array,
    *,
    smooth: float = 1.0,
    class_weights: Sequence | Array | None = None,
    ignore_index: int | None = None,
) -> tuple[Array, Callable]:
    """One minus the mean over the classes of the soft Dice score, over the whole batch.

    Parameters
    ----------
    logits : array (N, H, W, K)
    labels : integer array (N, H, W)
        The true class of each pixel, 0 to K - 1, or `ignore_index`.
    smooth : float
        Added to numerator and denominator, in pixels.
    class_weights : array (K,), optional
        How much each class counts in the mean; equal by default.
    ignore_index : int, optional
        A label whose pixels don't count.

    Returns
    -------
    loss : array of no axes
    backward : function
        ``backward(dloss=1)`` gives ``dlogits`` (N, H, W, K).

    Raises
    ------
    ValueError
        If the shapes do not fit together, or a label is out of range.
    """
    labels = device_labels(labels, logits, ignore_index)
    counts = count_weights(labels, logits, ignore_index=ignore_index)[..., None]
    truth = one_hot(labels, logits.shape[-1]) * counts
    probabilities, softmax_backward = softmax(logits)
    counted = probabilities * counts
    pixels = (0, 1, 2)
    # Each of shape (K,)
    overlap = (counted * truth).sum(axis=pixels)
    sizes = counted.sum(axis=pixels) + truth.sum(axis=pixels) + smooth
    scores = (2 * overlap + smooth) / sizes
    weights = [1] * scores.size if class_weights is None else class_weights
    shares = device_class_weights(weights, logits)
    shares = shares / shares.sum()
    loss = 1 - (shares * scores).sum()

    def backward(dloss: Array | float = 1.0) -> Array:
        # The scalings are of shape (K,), broadcast over (N, H, W, K)
        dprobabilities = -dloss * counts * (2 * truth - scores) * (shares / sizes)
        return softmax_backward(dprobabilities)

    return loss, backward
