r"""Softmax cross-entropy: how surprised the network is by the truth.

**The idea.** At each pixel i the network gives a probability :math:`p_{ik}` to each class k. Its
loss is the negative logarithm of what it gave to the true class :math:`t_i`: nothing if it was sure
and right, much if it was sure and wrong. Pixels count by a weight :math:`w_i`, the product of the
pixel's own and its true class's; ignored pixels have weight 0. The result is the weighted mean:

.. math:: L = \frac{\sum_i w_i \, \ell_i}{\sum_i w_i}, \qquad
          \ell_i = -\log p_{i t_i} = \log \sum_k e^{z_{ik}} - z_{i t_i}

The right-hand form never takes the logarithm of a probability that was rounded to zero.

**The gradient** is famously simple: the probabilities, minus 1 at the true class,

.. math:: dz_{ik} = \frac{w_i}{\sum_j w_j} \left( p_{ik} - [k = t_i] \right) dL

If no pixel counts, loss and gradient are 0 (PyTorch gives NaN, which would end a training whose
batch fell on an unlabeled spot).
"""

from collections.abc import Callable, Sequence

from tinyunet.backend import Array, xp
from tinyunet.nn.functional.labels import count_weights, device_labels, one_hot


def softmax_cross_entropy(
    logits: Array,
    labels: Array,
    *,
    pixel_weights: Array | None = None,
    class_weights: Sequence | Array | None = None,
    ignore_index: int | None = None,
) -> tuple[Array, Callable]:
    """Weighted mean over the pixels of minus the log-probability of the true class.

    Parameters
    ----------
    logits : array (N, H, W, K)
    labels : integer array (N, H, W)
        The true class of each pixel, 0 to K - 1, or `ignore_index`.
    pixel_weights : array (N, H, W), optional
        How much each pixel counts.
    class_weights : array (K,), optional
        How much pixels of each true class count.
    ignore_index : int, optional
        A label whose pixels don't count.

    Returns
    -------
    loss : array of no axes
        It stays on the device; float(loss) brings it to the host.
    backward : function
        ``backward(dloss=1)`` gives ``dlogits`` (N, H, W, K).

    Raises
    ------
    ValueError
        If the shapes do not fit together, or a label is out of range. Labels that are on a GPU
        already are not looked at, since that would wait for it: check them before.
    """
    labels = device_labels(labels, logits, ignore_index)
    weights = count_weights(labels, logits, pixel_weights, class_weights, ignore_index)
    total_weight = weights.sum()
    # Where no pixel counts the sum below is 0 as well, and 0 / 1 is a good answer.
    total_weight = xp.where(total_weight > 0, total_weight, xp.ones_like(total_weight))
    # Subtracting the largest logit changes no probability and avoids overflow.
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probabilities = shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))
    truth = one_hot(labels, logits.shape[-1])  # (N, H, W, K)
    pixel_losses = -(log_probabilities * truth).sum(axis=-1)
    loss = (weights * pixel_losses).sum() / total_weight

    def backward(dloss: Array | float = 1.0) -> Array:
        shares = dloss * weights / total_weight
        return shares[..., None] * (xp.exp(log_probabilities) - truth)

    return loss, backward
