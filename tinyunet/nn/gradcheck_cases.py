"""Every operation's gradient, checked on this machine: the table behind ``tinyunet gradcheck``."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tinyunet.backend import random_generator, to_device, xp
from tinyunet.nn import functional
from tinyunet.nn.gradcheck import GradientError, as_function, check_gradients
from tinyunet.nn.unet import UNet


@dataclass(frozen=True)
class Case:
    """An operation at a point where its gradient can be checked.

    Attributes
    ----------
    name : str
    function : callable
        Takes the arguments, returns (y, backward).
    arguments : tuple of arrays
        Float64, odd and non-square, away from kinks.
    """

    name: str
    function: Callable
    arguments: tuple


@dataclass(frozen=True)
class Outcome:
    """What the check of one case found; `error` is None where the gradient is wrong.

    Attributes
    ----------
    name : str
    error : float or None
        The largest relative error.
    seconds : float
    message : str
        What is wrong, or empty.
    """

    name: str
    error: float | None
    seconds: float
    message: str = ""


def cases(seed=0):
    """List a case for every operation and for two small networks."""
    rng = random_generator(seed)

    def normal(*shape):
        return to_device(rng.standard_normal(shape))

    def distinct(*shape):
        # A shuffled row of different numbers: none is 0, no two tie, neighbors are 0.1 apart.
        count = 1
        for length in shape:
            count *= length
        values = 0.1 * (rng.permutation(count) - count // 2) + 0.05
        return to_device(values.reshape(shape))

    labels = rng.integers(0, 4, (2, 3, 5))
    labels[0, 0] = 255
    pixel_weights = to_device(rng.uniform(0.5, 2, labels.shape))
    class_weights = xp.asarray([1.0, 2.0, 0.5, 3.0])
    mean, variance = normal(3), to_device(rng.uniform(0.5, 2, 3))

    return [
        Case("im2col", lambda x: functional.im2col(x, (3, 2), (1, 2)), (normal(2, 5, 7, 3),)),
        Case(
            "col2im",
            lambda columns: functional.col2im(columns, (2, 5, 7, 3), (3, 2), (1, 2)),
            (normal(2, 3, 3, 3, 2, 3),),
        ),
        Case(
            "conv2d",
            lambda x, weight, bias: functional.conv2d(x, weight, bias, padding="same"),
            (normal(2, 5, 7, 3), normal(3, 3, 3, 4), normal(4)),
        ),
        Case(
            "conv2d, stride 2, padding 1",
            lambda x, weight, bias: functional.conv2d(x, weight, bias, stride=2, padding=1),
            (normal(2, 6, 9, 3), normal(3, 2, 3, 4), normal(4)),
        ),
        Case(
            "conv_transpose2d",
            lambda x, weight, bias: functional.conv_transpose2d(x, weight, bias),
            (normal(2, 3, 5, 4), normal(2, 2, 3, 4), normal(3)),
        ),
        Case(
            "conv_transpose2d, kernel 3 x 3",
            lambda x, weight, bias: functional.conv_transpose2d(x, weight, bias, padding=1),
            (normal(2, 3, 5, 4), normal(3, 3, 3, 4), normal(3)),
        ),
        Case("max_pool2d", functional.max_pool2d, (distinct(2, 4, 6, 3),)),
        Case("upsample_nearest2d", functional.upsample_nearest2d, (normal(2, 3, 5, 2),)),
        Case("crop", lambda x: functional.crop(x, 3, 4), (normal(2, 6, 7, 2),)),
        Case("concat", functional.concat, (normal(2, 7, 8, 2), normal(2, 3, 5, 3))),
        Case("relu", functional.relu, (distinct(2, 3, 5, 2),)),
        Case(
            "dropout",
            lambda x: functional.dropout(x, 0.3, random_generator(seed)),
            (normal(2, 3, 5, 2),),
        ),
        Case(
            "batch_norm2d, training", functional.batch_norm2d, (normal(2, 3, 5, 3), *normal(2, 3))
        ),
        Case(
            "batch_norm2d, inference",
            lambda x, gamma, beta: functional.batch_norm2d(
                x, gamma, beta, mean=mean, variance=variance
            ),
            (normal(2, 3, 5, 3), *normal(2, 3)),
        ),
        Case("softmax", functional.softmax, (normal(2, 3, 5, 4),)),
        Case(
            "softmax_cross_entropy",
            lambda logits: functional.softmax_cross_entropy(
                logits,
                labels,
                pixel_weights=pixel_weights,
                class_weights=class_weights,
                ignore_index=255,
            ),
            (normal(2, 3, 5, 4),),
        ),
        Case(
            "dice_loss",
            lambda logits: functional.dice_loss(logits, labels, ignore_index=255),
            (normal(2, 3, 5, 4),),
        ),
        network_case(
            "UNet, same padding", UNet(3, 3, base_channels=2, depth=2), normal(1, 8, 12, 3)
        ),
        network_case(
            "UNet, valid, nearest, batch norm",
            UNet(
                2, 3, base_channels=2, depth=1, padding="valid", upsampling="nearest", norm="batch"
            ),
            normal(1, 22, 24, 2),
        ),
    ]


def network_case(name, network, image):
    """Make a network a function of its image and all its parameters, as a checker wants it."""
    function, values = as_function(network)
    return Case(name, function, (image, *values.values()))


def run_cases(tolerance=1e-6):
    """Check every case; yields an `Outcome` after each."""
    for case in cases():
        start = time.perf_counter()
        try:
            error, message = (
                check_gradients(case.function, *case.arguments, tolerance=tolerance, coordinates=8),
                "",
            )
        except GradientError as wrong:
            error, message = None, str(wrong)
        yield Outcome(case.name, error, time.perf_counter() - start, message)
