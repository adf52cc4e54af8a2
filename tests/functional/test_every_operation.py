"""Every operation there is passes the gradient check, on every device."""

from functools import partial

import numpy as np
import pytest

from tests.comparing import on_device
from tests.strategies import all_different, away_from_zero, random_array
from tinyunet.nn import functional
from tinyunet.nn.gradcheck import check_gradients

IMAGES = random_array(0, (2, 5, 6, 3))
LOGITS = random_array(1, (2, 3, 4, 5))
LABELS = np.random.default_rng(2).integers(0, 5, (2, 3, 4))

EXAMPLES = {
    "batch_norm2d": (functional.batch_norm2d, IMAGES, random_array(3, 3), random_array(4, 3)),
    "col2im": (
        partial(functional.col2im, image_shape=(2, 5, 6, 3), kernel_size=(3, 2)),
        random_array(5, (2, 3, 5, 3, 2, 3)),
    ),
    "concat": (functional.concat, IMAGES, random_array(6, (2, 3, 4, 2))),
    "conv2d": (functional.conv2d, IMAGES, random_array(7, (3, 2, 3, 2)), random_array(8, 2)),
    "conv_transpose2d": (
        functional.conv_transpose2d,
        IMAGES,
        random_array(9, (3, 2, 2, 3)),
        random_array(10, 2),
    ),
    "crop": (partial(functional.crop, height=2, width=3), IMAGES),
    "dice_loss": (functional.dice_loss, LOGITS, LABELS),
    "dropout": (lambda x: functional.dropout(x, 0.3, np.random.default_rng(0)), IMAGES),
    "im2col": (partial(functional.im2col, kernel_size=(3, 2), stride=2), IMAGES),
    "max_pool2d": (functional.max_pool2d, all_different(11, (2, 4, 6, 3))),
    "relu": (functional.relu, away_from_zero(12, (2, 5, 6, 3))),
    "softmax": (functional.softmax, LOGITS),
    "softmax_cross_entropy": (functional.softmax_cross_entropy, LOGITS, LABELS),
    "upsample_nearest2d": (functional.upsample_nearest2d, IMAGES),
}
# Returns two numbers a channel, and has no backward of its own.
WITHOUT_BACKWARD = {"batch_statistics"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_passes_the_gradient_check(xp, name):
    function, *arguments = EXAMPLES[name]
    check_gradients(function, *map(on_device, arguments), tolerance=1e-7, coordinates=6)


def test_no_operation_was_forgotten():
    assert EXAMPLES.keys() | WITHOUT_BACKWARD == set(functional.__all__)
