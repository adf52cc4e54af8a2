"""Every operation there is passes the gradient check, and none changes what it is given."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.comparing import on_device
from tests.every_operation import PLAIN, calls, laid_out, layouts
from tests.strategies import all_different, away_from_zero, random_array
from tinyunet.backend import to_host
from tinyunet.nn.gradcheck import check_gradients
from tinyunet.nn.operations import operations

IMAGES = random_array(0, (2, 5, 6, 3))
LOGITS = random_array(1, (2, 3, 4, 5))
LABELS = np.random.default_rng(2).integers(0, 5, (2, 3, 4))

# The arguments, and settings where there are some.
EXAMPLES = {
    "batch_norm2d": ((IMAGES, random_array(3, 3), random_array(4, 3)), {}),
    "col2im": (
        (random_array(5, (2, 3, 5, 3, 2, 3)),),
        {"image_shape": (2, 5, 6, 3), "kernel_size": (3, 2)},
    ),
    "concat": ((IMAGES, random_array(6, (2, 3, 4, 2))), {}),
    "conv2d": ((IMAGES, random_array(7, (3, 2, 3, 2)), random_array(8, 2)), {}),
    "conv_transpose2d": ((IMAGES, random_array(9, (3, 2, 2, 3)), random_array(10, 2)), {}),
    "crop": ((IMAGES,), {"height": 2, "width": 3}),
    "dice_loss": ((LOGITS, LABELS), {}),
    "dropout": ((IMAGES,), {"rate": 0.3}),
    "im2col": ((IMAGES,), {"kernel_size": (3, 2), "stride": 2}),
    "max_pool2d": ((all_different(11, (2, 4, 6, 3)),), {}),
    "normalize_batch": ((IMAGES, random_array(3, 3), random_array(4, 3)), {}),
    "relu": ((away_from_zero(12, (2, 5, 6, 3)),), {}),
    "softmax": ((LOGITS,), {}),
    "softmax_cross_entropy": ((LOGITS, LABELS), {}),
    "upsample_nearest2d": ((IMAGES,), {}),
}
EVERY_OPERATION = pytest.mark.parametrize("name", PLAIN)


def ready_to_check(name):
    """Give an operation the form that the checker asks for."""
    operation = getattr(operations, name)
    if name == "normalize_batch":  # it tells mean and variance, too
        return lambda *arguments: operation(*arguments)[0]
    if name == "dropout":  # it must drop the same each time
        return lambda x, rate: operation(x, rate, np.random.default_rng(0))
    return operation


@EVERY_OPERATION
def test_every_operation_passes_the_gradient_check(xp, name):
    arguments, settings = EXAMPLES[name]
    function = partial(ready_to_check(name), **settings)
    check_gradients(function, *map(on_device, arguments), tolerance=1e-7, coordinates=6)


@EVERY_OPERATION
@given(data=st.data())
def test_no_operation_and_no_backward_changes_its_arguments(xp, name, data):
    call = data.draw(calls(name, data.draw(st.sampled_from(["float32", "float64"]))))
    arrays = [laid_out(data.draw(layouts), array, xp) for array in call.arrays]
    before = [to_host(array).copy() for array in arrays]
    y, backward = call.run(getattr(operations, name), *arrays)
    dy = laid_out(data.draw(layouts), random_array(0, y.shape, y.dtype), xp)
    dy_before = to_host(dy).copy()
    backward(dy)
    np.testing.assert_array_equal(to_host(dy), dy_before)
    for array, array_before in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(to_host(array), array_before)


def test_the_logits_of_a_single_pixel_are_left_as_they_are():
    # Its planes need no copy: what is subtracted from them would be subtracted from the caller's.
    logits = np.array([[[[10.0, 0.0]]]])
    operations.softmax_cross_entropy(logits, np.array([[[0]]]))
    assert logits.tolist() == [[[[10.0, 0.0]]]]
