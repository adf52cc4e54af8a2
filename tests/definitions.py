"""Every operation once more, as slowly and as plainly as its formula reads.

Nothing here comes from tinyunet, and nothing here is clever: a loop for every index of the result,
NumPy on the host, float64. The tests ask the fast operations to give the same numbers. Whoever
doubts what an operation means finds the answer in this file.

Letters as everywhere: images are `(N, H, W, C)`, kernels `(KH, KW, C, F)`, see the package.
"""

import math

import numpy as np


def both_sides(padding, kernel_size):
    """Spell a padding out as ((above, below), (left, right)).

    ``"same"`` adds kernel - 1 rows in all; where that is odd, the one more goes below, as in
    PyTorch.
    """
    if padding == "same":
        return tuple(((size - 1) // 2, size - 1 - (size - 1) // 2) for size in kernel_size)
    return tuple((side, side) for side in as_pair(padding))


def as_pair(value):
    """Spell a number out as (down, right); a pair stays."""
    return (value, value) if isinstance(value, int) else value


def pad_with_zeros(x, padding):
    """Frame the images with zeros: padding is ((above, below), (left, right))."""
    (above, below), (left, right) = padding
    batch, height, width, channels = x.shape
    framed = np.zeros((batch, above + height + below, left + width + right, channels))
    framed[:, above : above + height, left : left + width] = x
    return framed


def im2col(x, kernel_size, stride=1):
    """columns[n, i, j, a, b, c] = x[n, i * stride + a, j * stride + b, c]."""
    down, right = as_pair(stride)
    batch, height, width, channels = x.shape
    kernel_height, kernel_width = kernel_size
    out_height = (height - kernel_height) // down + 1
    out_width = (width - kernel_width) // right + 1
    columns = np.zeros((batch, out_height, out_width, kernel_height, kernel_width, channels))
    for i in range(out_height):
        for j in range(out_width):
            for a in range(kernel_height):
                for b in range(kernel_width):
                    columns[:, i, j, a, b] = x[:, i * down + a, j * right + b]
    return columns


def col2im(columns, image_shape, kernel_size, stride=1):
    """image[n, i * stride + a, j * stride + b, c] collects columns[n, i, j, a, b, c]."""
    down, right = as_pair(stride)
    image = np.zeros(image_shape)
    _, out_height, out_width, kernel_height, kernel_width, _ = columns.shape
    assert kernel_size == (kernel_height, kernel_width)
    for i in range(out_height):
        for j in range(out_width):
            for a in range(kernel_height):
                for b in range(kernel_width):
                    image[:, i * down + a, j * right + b] += columns[:, i, j, a, b]
    return image


def conv2d(x, weight, bias=None, *, stride=1, padding=0):
    """y[n, i, j, f] = bias[f] + sum(a, b, c) of x[n, i s + a, j s + b, c] weight[a, b, c, f]."""
    down, right = as_pair(stride)
    kernel_height, kernel_width, _, filters = weight.shape
    x = pad_with_zeros(x, both_sides(padding, (kernel_height, kernel_width)))
    batch, height, width, _ = x.shape
    out_height = (height - kernel_height) // down + 1
    out_width = (width - kernel_width) // right + 1
    y = np.zeros((batch, out_height, out_width, filters))
    for n in range(batch):
        for i in range(out_height):
            for j in range(out_width):
                top, left = i * down, j * right
                patch = x[n, top : top + kernel_height, left : left + kernel_width]
                for f in range(filters):
                    y[n, i, j, f] = np.sum(patch * weight[..., f])
                    if bias is not None:
                        y[n, i, j, f] += bias[f]
    return y


def conv_transpose2d(x, weight, bias=None, *, stride=2, padding=0):
    """y[n, i s + a - p, j s + b - p, c] collects x[n, i, j, f] weight[a, b, c, f]; plus bias[c]."""
    down, right = as_pair(stride)
    batch, height, width, filters = x.shape
    kernel_height, kernel_width, channels, _ = weight.shape
    (above, below), (before, after) = both_sides(padding, (kernel_height, kernel_width))
    full_height = (height - 1) * down + kernel_height
    full_width = (width - 1) * right + kernel_width
    y = np.zeros((batch, full_height, full_width, channels))
    for n in range(batch):
        for i in range(height):
            for j in range(width):
                for f in range(filters):
                    for a in range(kernel_height):
                        for b in range(kernel_width):
                            stamp = x[n, i, j, f] * weight[a, b, :, f]
                            y[n, i * down + a, j * right + b] += stamp
    y = y[:, above : full_height - below, before : full_width - after]
    return y if bias is None else y + bias


def max_pool2d(x, size=2):
    """y[n, i, j, c] = the largest of the size x size pixels of its window; nothing overlaps."""
    batch, height, width, channels = x.shape
    y = np.zeros((batch, height // size, width // size, channels))
    for n in range(batch):
        for i in range(height // size):
            for j in range(width // size):
                for c in range(channels):
                    window = x[n, i * size : (i + 1) * size, j * size : (j + 1) * size, c]
                    y[n, i, j, c] = max(window.ravel())
    return y


def upsample_nearest2d(x, scale=2):
    """y[n, i, j, c] = x[n, i // scale, j // scale, c]."""
    batch, height, width, channels = x.shape
    y = np.zeros((batch, height * scale, width * scale, channels))
    for i in range(height * scale):
        for j in range(width * scale):
            y[:, i, j] = x[:, i // scale, j // scale]
    return y


def crop(x, height, width):
    """y[n, i, j, c] = x[n, top + i, left + j, c]: as much is cut off above as below.

    Where that cannot be, one more is cut off below (and to the right).
    """
    top, left = (x.shape[1] - height) // 2, (x.shape[2] - width) // 2
    y = np.zeros((x.shape[0], height, width, x.shape[3]))
    for i in range(height):
        for j in range(width):
            y[:, i, j] = x[:, top + i, left + j]
    return y


def concat(skip, x):
    """Put the channels of the cropped skip first, and after them those of x."""
    skip = crop(skip, x.shape[1], x.shape[2])
    batch, height, width, channels = x.shape
    skip_channels = skip.shape[3]
    y = np.zeros((batch, height, width, skip_channels + channels))
    for c in range(skip_channels):
        y[..., c] = skip[..., c]
    for c in range(channels):
        y[..., skip_channels + c] = x[..., c]
    return y


def relu(x):
    """y[...] = x[...] where that is above 0, else 0."""
    y = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        y[index] = x[index] if x[index] > 0 else 0.0
    return y


def batch_norm2d(x, gamma, beta, *, epsilon=1e-5, mean=None, variance=None):
    """y[..., c] = gamma (x - mean) / sqrt(variance + epsilon) + beta, a channel at a time.

    Mean and variance are the channel's own, over N, H and W, unless they are given.
    """
    y = np.zeros(x.shape)
    for c in range(x.shape[3]):
        values = [float(value) for value in x[..., c].ravel()]
        if mean is None:
            center = math.fsum(values) / len(values)
            spread = math.fsum((value - center) ** 2 for value in values) / len(values)
        else:
            center, spread = float(mean[c]), float(variance[c])
        y[..., c] = gamma[c] * (x[..., c] - center) / math.sqrt(spread + epsilon) + beta[c]
    return y


def softmax(logits):
    """p[k] = exp(logit[k]) / sum over m of exp(logit[m]), a pixel at a time."""
    probabilities = np.zeros(logits.shape)
    for pixel in np.ndindex(logits.shape[:-1]):
        powers = [math.exp(logit) for logit in logits[pixel]]
        probabilities[pixel] = [power / math.fsum(powers) for power in powers]
    return probabilities


def softmax_cross_entropy(
    logits, labels, *, pixel_weights=None, class_weights=None, ignore_index=None
):
    """Sum of weight x (-log p[label]) over the pixels that count, divided by the sum of weights."""
    probabilities = softmax(logits)
    losses, weights = [], []
    for pixel in np.ndindex(labels.shape):
        label = int(labels[pixel])
        if label == ignore_index:
            continue
        weight = 1.0
        if pixel_weights is not None:
            weight *= float(pixel_weights[pixel])
        if class_weights is not None:
            weight *= float(class_weights[label])
        losses.append(-weight * math.log(probabilities[(*pixel, label)]))
        weights.append(weight)
    return math.fsum(losses) / math.fsum(weights) if weights else 0.0


def dice_loss(logits, labels, *, smooth=1.0, class_weights=None, ignore_index=None):
    """1 - mean over the classes of (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth).

    t is 1 where the pixel is of that class; the sums run over all pixels of the batch that count.
    """
    probabilities = softmax(logits)
    classes = logits.shape[-1]
    if class_weights is None:
        class_weights = [1.0] * classes
    scores = []
    for k in range(classes):
        overlap = predicted = true = 0.0
        for pixel in np.ndindex(labels.shape):
            label = int(labels[pixel])
            if label == ignore_index:
                continue
            probability = probabilities[(*pixel, k)]
            overlap += probability * (label == k)
            predicted += probability
            true += label == k
        scores.append((2 * overlap + smooth) / (predicted + true + smooth))
    weighted = math.fsum(w * score for w, score in zip(class_weights, scores, strict=True))
    return 1 - weighted / math.fsum(class_weights)
