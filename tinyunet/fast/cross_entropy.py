"""Softmax cross-entropy, a plane for each class.

Sums over a few classes run along whole images, not over and over along a handful of numbers, which
takes three times as long.
"""

from collections.abc import Callable
from typing import Any

from tinyunet.backend import Array, xp
from tinyunet.nn.functional.labels import count_weights, device_labels


def softmax_cross_entropy(
    logits: Array, labels: Array, *, ignore_index: int | None = None, **weights: Any
) -> tuple[Array, Callable]:
    """Do what `tinyunet.nn.functional.softmax_cross_entropy` does."""
    labels = device_labels(labels, logits, ignore_index)
    counts = count_weights(labels, logits, ignore_index=ignore_index, **weights)
    # (N, H, W, K) -> (K, N, H, W), a copy in any case: it is changed in the next line
    planes = xp.array(xp.moveaxis(logits, -1, 0), order="C")
    planes -= planes.max(axis=0)
    exponentials = xp.exp(planes)
    sums = exponentials.sum(axis=0)
    classes = xp.arange(len(planes), dtype=labels.dtype)
    truth = labels == classes[:, None, None, None]
    pixel_losses = xp.log(sums) - (planes * truth).sum(axis=0)
    total_weight = counts.sum()
    # Where no pixel counts the sum below is 0 as well, and 0 / 1 is a good answer.
    total_weight = xp.where(total_weight > 0, total_weight, xp.ones_like(total_weight))
    loss = (counts * pixel_losses).sum() / total_weight

    def backward(dloss: Array | float = 1.0) -> Array:
        dplanes = exponentials / sums
        dplanes -= truth
        dplanes *= counts * (dloss / total_weight)
        # (K, N, H, W) -> (N, H, W, K)
        return xp.ascontiguousarray(xp.moveaxis(dplanes, 0, -1))

    return loss, backward
