"""What the losses share: checking labels, weighing pixels, one-hot vectors."""

from tinyunet.backend import on_host, to_device, xp


def device_labels(labels, logits, ignore_index=None):
    """Check labels (N, H, W) against logits (N, H, W, K) and bring them to the logits' device.

    The range is checked on the host: a GPU would wrap an index that is out of range in silence.

    Raises
    ------
    ValueError
        If shape or type do not fit, or a label is neither a class nor the ignored value.
    """
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"labels of shape {labels.shape} do not fit logits of shape {logits.shape}; "
            f"expected {logits.shape[:-1]}"
        )
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, not {labels.dtype}")
    if on_host(labels):
        classes = logits.shape[-1]
        counted = labels if ignore_index is None else labels[labels != ignore_index]
        if counted.size and (counted.min() < 0 or counted.max() >= classes):
            wrong = counted.min() if counted.min() < 0 else counted.max()
            raise ValueError(f"label {wrong} is not a class: the logits have 0 to {classes - 1}")
    return to_device(labels)


def count_weights(labels, logits, pixel_weights=None, class_weights=None, ignore_index=None):
    """How much each pixel counts, (N, H, W): pixel weight times class weight, ignored ones 0.

    Raises
    ------
    ValueError
        If the weights do not have the shape of the labels, or one entry a class.
    """
    weights = xp.ones(labels.shape, dtype=logits.dtype)
    if pixel_weights is not None:
        if pixel_weights.shape != labels.shape:
            raise ValueError(
                f"pixel weights of shape {pixel_weights.shape} do not fit labels of {labels.shape}"
            )
        weights = weights * xp.asarray(pixel_weights, dtype=logits.dtype)
    if class_weights is not None:
        class_weights = device_class_weights(class_weights, logits)
        # (K,) with (K, N, H, W) -> (N, H, W): an ignored label matches no class and gets 0
        planes = one_hot(labels, len(class_weights)).astype(logits.dtype)
        weights = weights * xp.tensordot(class_weights, planes, axes=1)
    if ignore_index is not None:
        weights = weights * (labels != ignore_index)
    return weights


def device_class_weights(class_weights, logits):
    """Check that there is a weight for each class and bring them to the logits' device and dtype.

    Raises
    ------
    ValueError
        If there are more or fewer weights than classes.
    """
    class_weights = xp.asarray(class_weights, dtype=logits.dtype)
    if class_weights.shape != logits.shape[-1:]:
        raise ValueError(
            f"{class_weights.size} class weights for {logits.shape[-1]} classes; give one each"
        )
    return class_weights


def one_hot(labels, classes):
    """Draw a plane for each class, true where it is the label: (N, H, W) to (K, N, H, W)."""
    indices = xp.arange(classes, dtype=labels.dtype)
    return labels == indices[:, None, None, None]
