"""What hypothesis draws for the tests: shapes and a seed; the numbers come from the seed.

Drawing each number by hypothesis would be slow and find nothing more: an operation goes wrong at a
shape, a stride or a padding, hardly ever at a value. Where values matter (a kink, a tie) they are
made on purpose. Heights differ from widths throughout, since a square image cannot tell which of
the two the code confused.
"""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(["float32", "float64"])
batches = st.integers(1, 3)
channel_counts = st.integers(1, 4)
# One number, or a pair (down, right)
strides = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))
kernel_sizes = st.sampled_from([(3, 3), (1, 1), (2, 2), (1, 2), (2, 3), (3, 1), (3, 2), (4, 3)])


def random_array(seed, shape, dtype="float64"):
    """Draw normal numbers from a seed."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def away_from_zero(seed, shape, dtype="float64"):
    """Draw numbers of both signs whose size is 0.1 or more: no ReLU is near its kink."""
    x = random_array(seed, shape)
    return (x + np.copysign(0.1, x)).astype(dtype)


def all_different(seed, shape, dtype="float64"):
    """Draw numbers any two of which are 0.1 or more apart: no maximum is near a tie."""
    count = int(np.prod(shape))
    ranks = np.random.default_rng(seed).permutation(count) - count // 2
    return (0.1 * ranks.reshape(shape)).astype(dtype)


@st.composite
def image_shapes(draw, smallest=(1, 1), largest=7):
    """Shapes (N, H, W, C) with H != W."""
    height = draw(st.integers(smallest[0], largest), label="height")
    width = draw(st.integers(smallest[1], largest).filter(lambda n: n != height), label="width")
    return (draw(batches), height, width, draw(channel_counts))


@st.composite
def windows(draw):
    """Draw an image's shape, a kernel size that fits in it, and a stride."""
    kernel_size = draw(kernel_sizes, label="kernel size")
    shape = draw(image_shapes(smallest=kernel_size), label="image shape")
    return shape, kernel_size, draw(strides, label="stride")


class Convolution(NamedTuple):
    """The arguments of one convolution, plain or transposed."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    options: dict


@st.composite
def convolutions(draw, dtype="float64"):
    """Images, a kernel and a bias; strides 1 to 3; padding an int, a pair, or "same"."""
    kernel_size = draw(kernel_sizes, label="kernel size")
    stride = draw(strides, label="stride")
    sides = st.integers(0, 2)
    paddings = [sides, st.tuples(sides, sides)]
    if stride in (1, (1, 1)):  # "same" keeps the size, a stride does not
        paddings.append(st.just("same"))
    padding = draw(st.one_of(paddings), label="padding")
    shape = draw(image_shapes(smallest=kernel_size), label="image shape")
    filters = draw(channel_counts, label="filters")
    seed = draw(seeds)
    return Convolution(
        random_array([seed, 0], shape, dtype),
        random_array([seed, 1], (*kernel_size, shape[3], filters), dtype),
        random_array([seed, 2], filters, dtype),
        {"stride": stride, "padding": padding},
    )


@st.composite
def transposed_convolutions(draw, dtype="float64"):
    """Images of F channels, a kernel that maps them to C channels, and a bias of C."""
    kernel_size = draw(kernel_sizes, label="kernel size")
    stride = draw(strides, label="stride")
    shape = draw(image_shapes(largest=5), label="image shape")
    channels = draw(channel_counts, label="channels of the result")
    # What is cut off must leave at least one row and one column.
    most = [
        ((size - 1) * step + kernel - 1) // 2
        for size, kernel, step in zip(
            shape[1:3], kernel_size, np.broadcast_to(stride, 2).tolist(), strict=True
        )
    ]
    paddings = st.one_of(
        st.integers(0, min(2, *most)),
        st.tuples(st.integers(0, min(2, most[0])), st.integers(0, min(2, most[1]))),
    )
    padding = draw(paddings, label="padding")
    seed = draw(seeds)
    return Convolution(
        random_array([seed, 0], shape, dtype),
        random_array([seed, 1], (*kernel_size, channels, shape[3]), dtype),
        random_array([seed, 2], channels, dtype),
        {"stride": stride, "padding": padding},
    )


class Segmentation(NamedTuple):
    """Logits, labels, and the options of a loss."""

    logits: np.ndarray
    labels: np.ndarray
    options: dict


@st.composite
def segmentations(draw, dtype="float64", pixel_weights=False):
    """Logits (N, H, W, K) and labels (N, H, W), with weights and ignored pixels as it comes."""
    batch, height, width, _ = draw(image_shapes(largest=5), label="image shape")
    classes = draw(st.integers(2, 5), label="classes")
    rng = np.random.default_rng(draw(seeds))
    logits = (3 * rng.normal(size=(batch, height, width, classes))).astype(dtype)
    labels = rng.integers(0, classes, (batch, height, width))
    options = {}
    ignore_index = draw(st.sampled_from([None, 255, -1, 0]), label="ignore_index")
    if ignore_index is not None:
        labels[rng.random(labels.shape) < 0.3] = ignore_index
        labels.flat[0] = 1  # one pixel counts, at least
        options["ignore_index"] = ignore_index
    if draw(st.booleans(), label="class weights"):
        options["class_weights"] = rng.uniform(0.2, 3, classes).astype(dtype)
    if pixel_weights and draw(st.booleans(), label="pixel weights"):
        options["pixel_weights"] = rng.uniform(0.2, 3, labels.shape).astype(dtype)
    label_types = ["int64", "int8"] if ignore_index == -1 else ["int64", "int32", "uint8"]
    labels = labels.astype(draw(st.sampled_from(label_types), label="type of the labels"))
    return Segmentation(logits, labels, options)
