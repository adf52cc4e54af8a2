"""What the losses share: checking labels, weighing pixels, one-hot vectors."""

from collections.abc import Sequence

from tinyunet.backend import Array, on_host, to_device, xp


def device_labels(labels: Array, logits: Array, ignore_index: int | None = None) -> Array:
    """Check labels (N, H, W) against logits (N, H, W, K) and bring them to the logits' device.

    The range is checked on the host: a GPU would wrap an index that is out of range in silence.

    Raises
    ------
    ValueError
        If shape or type do not fit, or a label is neither a class nor the ignored value.
    """
    if labels.shape != logits.shape[:-1]:
        raise ValueError(f"expected labels of shape {logits.shape[:-1]}, got {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, not {labels.dtype}")
    if on_host(labels):
        classes = logits.shape[-1]
        wrong = labels[(labels < 0) | (labels >= classes)]
        wrong = wrong if ignore_index is None else wrong[wrong != ignore_index]
        if wrong.size:
            raise ValueError(f"label {wrong[0]} is not a class: the logits have 0 to {classes - 1}")
    return to_device(labels)


def count_weights(
    labels: Array,
    logits: Array,
    pixel_weights: Array | None = None,
    class_weights: Sequence | Array | None = None,
    ignore_index: int | None = None,
) -> Array:
    """How much each pixel counts, (N, H, W): pixel weight times class weight, ignored ones 0.

    Raises
    ------
    ValueError
        If the weights do not have the shape of the labels, or one entry a class.
    """
    counted = xp.ones(labels.shape, bool) if ignore_index is None else labels != ignore_index
    weights = counted.astype(logits.dtype)
    if pixel_weights is not None:
        if pixel_weights.shape != labels.shape:
            raise ValueError(f"expected pixel weights {labels.shape}, got {pixel_weights.shape}")
        weights = weights * xp.asarray(pixel_weights, dtype=logits.dtype)
    if class_weights is not None:
        # An ignored pixel has weight 0, whatever class stands in for its label here.
        classes = xp.where(counted, labels, 0)
        weights = weights * device_class_weights(class_weights, logits)[classes]
    return weights


def device_class_weights(class_weights: Sequence | Array, logits: Array) -> Array:
    """Check that there is a weight for each class and bring them to the logits' device and dtype.

    Raises
    ------
    ValueError
        If there are more or fewer weights than classes.
    """
    class_weights = xp.asarray(class_weights, dtype=logits.dtype)
    if class_weights.shape != logits.shape[-1:]:
        raise ValueError(f"{class_weights.size} class weights for {logits.shape[-1]} classes")
    return class_weights


def one_hot(labels: Array, classes: int) -> Array:
    """Mark the class of each pixel: (N, H, W) to (N, H, W, K), true where k is the label."""
    return labels[..., None] == xp.arange(classes, dtype=labels.dtype)
