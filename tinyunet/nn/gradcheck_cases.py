"""Every operation's gradient, checked on this machine: the table behind ``tinyunet gradcheck``."""

import time
from functools import partial

import numpy as np

from tinyunet.backend import random_generator, to_device
from tinyunet.nn.gradcheck import GradientError, as_function, check_gradients
from tinyunet.nn.operations import operations as op
from tinyunet.nn.unet import UNet


def cases(seed=0):
    """List a case for every operation in use and for two small networks.

    Returns
    -------
    cases : dict of str to tuple
        Each a function that returns (y, backward), and its arguments: float64, odd and non-square,
        away from kinks.
    """
    rng = random_generator(seed)

    def normal(*shape):
        return to_device(rng.standard_normal(shape))

    def distinct(*shape):
        # A shuffled row of different numbers: none is 0, no two tie, neighbors are 0.1 apart.
        places = rng.permutation(np.prod(shape)).reshape(shape)
        return to_device(0.1 * (places - places.size // 2) + 0.05)

    def normalize(x, gamma, beta):
        return op.normalize_batch(x, gamma, beta)[0]

    x, image, small = normal(2, 5, 7, 3), normal(2, 7, 9, 3), normal(2, 3, 5, 4)
    kernel, bias, three = normal(3, 3, 3, 4), normal(4), normal(3)
    patches = {"kernel_size": (3, 2), "stride": (1, 2)}
    constants = {"mean": normal(3), "variance": abs(normal(3)) + 0.5}
    labels = {"labels": rng.integers(0, 4, (2, 3, 5)), "ignore_index": 3}
    weights = {"pixel_weights": abs(normal(2, 3, 5)) + 0.5, "class_weights": abs(normal(4)) + 0.5}
    found = {
        "im2col": (partial(op.im2col, **patches), x),
        "col2im": (partial(op.col2im, image_shape=x.shape, **patches), normal(2, 3, 3, 3, 2, 3)),
        "conv2d": (partial(op.conv2d, padding="same"), x, kernel, bias),
        "conv2d, stride 2": (partial(op.conv2d, stride=2, padding=1), image, kernel, bias),
        "conv_transpose2d": (op.conv_transpose2d, small, normal(2, 2, 3, 4), three),
        "conv_transpose2d, overlapping": (op.conv_transpose2d, small, kernel, three),
        "max_pool2d": (op.max_pool2d, distinct(2, 4, 6, 3)),
        "upsample_nearest2d": (op.upsample_nearest2d, x),
        "crop": (partial(op.crop, height=3, width=4), x),
        "concat": (op.concat, image, small),
        "relu": (op.relu, distinct(2, 3, 5, 2)),
        "dropout": (lambda x: op.dropout(x, 0.3, random_generator(seed)), x),
        "batch_norm2d, training": (normalize, x, normal(3), three),
        "batch_norm2d, inference": (partial(op.batch_norm2d, **constants), x, normal(3), three),
        "softmax": (op.softmax, small),
        "softmax_cross_entropy": (partial(op.softmax_cross_entropy, **labels, **weights), small),
        "dice_loss": (partial(op.dice_loss, **labels), small),
    }
    unet = partial(UNet, 3, 3, base_channels=2)
    valid = unet(depth=1, padding="valid", upsampling="nearest", norm="batch")
    networks = {"same padding": unet(depth=2), "valid, nearest, batch norm": valid}
    for (name, network), size in zip(networks.items(), ((8, 12), (22, 24)), strict=True):
        function, values = as_function(network)
        found[f"UNet, {name}"] = (function, normal(1, *size, 3), *values.values())
    return found


def run_cases():
    """Check every case; yields its name, its error, or a `GradientError`, and the seconds."""
    for name, (function, *arguments) in cases().items():
        start = time.perf_counter()
        try:
            found = check_gradients(function, *arguments, coordinates=8)
        except GradientError as wrong:
            found = wrong
        yield name, found, time.perf_counter() - start
