r"""Softmax: turn K scores (*logits*) into K probabilities.

.. math:: p_k = \frac{e^{z_k}}{\sum_l e^{z_l}}

The largest logit is subtracted first. It cancels in the fraction, and no exponential can overflow.

**The gradient.** Raising one logit raises its own probability and lowers all others, since they sum
to one: :math:`\partial p_k / \partial z_l = p_k (\delta_{kl} - p_l)`. Summed over all p,

.. math:: dz_l = p_l \left( dp_l - \sum_k dp_k \, p_k \right)

With an upstream gradient of all ones this is zero, whatever the code computes: a gradient check
must use a random one.
"""

from collections.abc import Callable

from tinyunet.backend import Array, xp


def softmax(logits: Array) -> tuple[Array, Callable]:
    """Turn scores into probabilities over the last axis.

    Parameters
    ----------
    logits : array (..., K)

    Returns
    -------
    probabilities : array (..., K)
        Positive, with sum 1 over the last axis.
    backward : function
        ``backward(dprobabilities)`` gives ``dlogits``.
    """
    exponentials = xp.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)

    def backward(dprobabilities: Array) -> Array:
        weighted = dprobabilities * probabilities
        return weighted - probabilities * weighted.sum(axis=-1, keepdims=True)

    return probabilities, backward
