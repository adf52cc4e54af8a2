"""Softmax and cross-entropy: from scores to one number that says how wrong they are.

THE IDEA. The network gives each pixel K scores, one for each class, called *logits*. Softmax
turns them into probabilities: positive, and their sum is 1. The loss asks for the probability
of the true class. If it is 1, the loss is 0; the smaller it is, the larger the loss.

FORWARD        p[k] = exp(logits[k]) / sum over j of exp(logits[j])         for each pixel
               loss = mean over all pixels of -log(p[true class])

BACKWARD. For one pixel, -log(p[true]) = -logits[true] + log(sum of exp(logits)). Differentiate
that with respect to logits[k]. The second part gives exp(logits[k]) / sum, and you know that
one. The first part gives something only where k is the true class. Mind also that the loss is a
mean.

The loss is one number, and so is `dloss`: 1 where the loss is the last step of all, something
else where it is one part of a sum.
"""

import numpy as np


def softmax_cross_entropy(logits, labels):
    """Compare logits (N, H, W, K) with the true classes (N, H, W), numbers from 0 to K - 1."""
    shifted = logits - logits.max(axis=-1, keepdims=True)  # changes no p, but exp can't overflow
    exponentials = np.exp(shifted)
    p = exponentials / exponentials.sum(axis=-1, keepdims=True)
    truth = np.eye(logits.shape[-1])[labels]  # (N, H, W, K): 1 at the true class, 0 elsewhere
    pixels = labels.size
    loss = -np.log((p * truth).sum(axis=-1)).sum() / pixels

    def backward(dloss=1.0):
        dlogits = ...  # your turn, shape (N, H, W, K)
        return dlogits

    return loss, backward
