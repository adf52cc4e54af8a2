"""A call of every operation, drawn by hypothesis, and every way that an array can lie in memory."""

from collections.abc import Callable
from inspect import isfunction
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from tests.strategies import random_array, seeds
from tinyunet.nn import functional

PLAIN = sorted(name for name, value in vars(functional).items() if isfunction(value))

sides = st.integers(1, 4)
small = st.integers(1, 3)


class Call(NamedTuple):
    """The arrays of a call, and a function that calls an operation with them."""

    arrays: tuple
    run: Callable


@st.composite
def calls(draw, name, dtype="float64"):
    """Draw arguments for an operation: one pixel, one channel and one class among them."""
    seed = draw(seeds)
    images, height, width, channels = (draw(sides) for _ in range(4))
    filters, size = draw(small), draw(small)
    kernel_size, stride = (draw(small), draw(small)), (draw(small), draw(small))
    larger = (images, height + kernel_size[0] - 1, width + kernel_size[1] - 1, channels)

    def numbers(*shape):
        return random_array([seed, *shape], shape, dtype)

    image = numbers(images, height, width, channels)
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, channels, image.shape[:3])
    per_channel = (
        numbers(channels),
        numbers(channels) + 1,
        numbers(channels),
        abs(numbers(channels)),
    )

    def simply(operation, *arrays):
        return operation(*arrays)

    def cross_entropy(operation, logits, labels, pixel_weights, class_weights):
        weights = {"pixel_weights": pixel_weights, "class_weights": class_weights}
        return operation(logits, labels, **weights, ignore_index=draw_ignored)

    def dice(operation, logits, labels, class_weights):
        return operation(logits, labels, class_weights=class_weights, ignore_index=draw_ignored)

    def with_statistics(operation, x, gamma, beta, mean, variance):
        return operation(x, gamma, beta, mean=mean, variance=variance)

    draw_ignored = draw(st.sampled_from([None, 0, 255]), label="ignore_index")
    kernel = numbers(*kernel_size, channels, filters)
    places = [(a - k) // s + 1 for a, k, s in zip(larger[1:3], kernel_size, stride, strict=True)]
    choices = {
        "batch_norm2d": [
            Call((image, *per_channel[:2]), simply),
            Call((image, *per_channel), with_statistics),
        ],
        "col2im": [
            Call(
                (numbers(images, *places, *kernel_size, channels),),
                lambda operation, x: operation(x, larger, kernel_size, stride),
            )
        ],
        "concat": [
            Call((numbers(images, height + size - 1, width, filters), image), simply),
        ],
        "conv2d": [
            Call(
                (numbers(*larger), kernel, numbers(filters)),
                lambda operation, *x: operation(*x, stride=stride, padding=size - 1),
            ),
            Call((image, kernel), lambda operation, *x: operation(*x, padding="same")),
        ],
        "conv_transpose2d": [
            Call(
                (numbers(images, height, width, filters), kernel, numbers(channels)),
                lambda operation, *x: operation(*x, stride=stride),
            )
        ],
        "crop": [Call((numbers(*larger),), lambda operation, x: operation(x, height, width))],
        "dice_loss": [Call((image, labels, abs(numbers(channels)) + 0.1), dice)],
        "dropout": [
            Call((image,), lambda operation, x: operation(x, 0.4, np.random.default_rng(seed)))
        ],
        "im2col": [
            Call((numbers(*larger),), lambda operation, x: operation(x, kernel_size, stride))
        ],
        "max_pool2d": [
            Call(
                (numbers(images, height * size, width * size, channels),),
                lambda operation, x: operation(x, size),
            )
        ],
        "normalize_batch": [
            Call((image, *per_channel[:2]), lambda operation, *x: operation(*x)[0]),
        ],
        "relu": [Call((image,), simply)],
        "softmax": [Call((image,), simply)],
        "softmax_cross_entropy": [
            Call(
                (image, labels, abs(numbers(*image.shape[:3])), abs(numbers(channels)) + 0.1),
                cross_entropy,
            ),
            Call((image, labels), simply),
        ],
        "upsample_nearest2d": [Call((image,), lambda operation, x: operation(x, size))],
    }
    return draw(st.sampled_from(choices[name]))


def every_other(array, xp):
    """Lay an array out in every other place of a larger one."""
    larger = xp.zeros([2 * length for length in array.shape], array.dtype)
    everywhere = (slice(None, None, 2),) * array.ndim
    larger[everywhere] = array
    return larger[everywhere]


def backwards(array, xp):
    """Lay an array out from its last entry to its first."""
    turned = (slice(None, None, -1),) * array.ndim
    return xp.ascontiguousarray(array[turned])[turned]


def one_behind_the_other(array, xp):
    """Lay the channels out as planes: what is last comes first in memory."""
    planes = xp.ascontiguousarray(xp.moveaxis(array, -1, 0))
    return xp.moveaxis(planes, 0, -1)


def all_the_same(array, xp):
    """Let all images be one and the same, in the same memory."""
    return xp.broadcast_to(array[:1], array.shape)


LAYOUTS = {
    "C": lambda array, xp: xp.array(array, order="C"),
    "Fortran": lambda array, xp: xp.array(array, order="F"),
    "sliced": every_other,
    "negative strides": backwards,
    "planes": one_behind_the_other,
    "broadcast": all_the_same,
}
layouts = st.sampled_from(sorted(LAYOUTS))


def laid_out(layout, array, xp):
    """Give an array on the device that lies in memory in this way."""
    array = xp.asarray(array)
    return LAYOUTS[layout](array, xp) if array.ndim else array
