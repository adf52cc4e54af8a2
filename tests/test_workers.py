"""Threads that are lent to one operation."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinyunet.distributed.replicas import Replicas
from tinyunet.fast.threads import for_each, lend
from tinyunet.nn.functional import conv2d, convolution
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.unet import UNet


def test_results_come_in_the_order_of_the_items():
    with ThreadPoolExecutor(3) as pool, lend(pool, 3):
        assert for_each(lambda number: number**2, range(20)) == [n**2 for n in range(20)]


def test_nothing_is_lent_by_default_nor_after_the_block():
    def name(item):
        return threading.current_thread().name

    here = threading.current_thread().name
    with ThreadPoolExecutor(2) as pool:
        with lend(pool, 2):
            assert here not in for_each(name, range(4))
        assert for_each(name, range(2)) == [here, here]


@pytest.mark.parametrize("band_bytes", [1, 1000, 2**20])
@pytest.mark.parametrize(("images", "count"), [(1, 2), (1, 3), (2, 4), (3, 2)])
def test_a_convolution_with_helpers_equals_one_without(monkeypatch, images, count, band_bytes):
    monkeypatch.setitem(convolution.BAND_BYTES, "cpu", band_bytes)
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.standard_normal(shape) for shape in ((images, 7, 5, 3), (3, 3, 3, 4), 4))
    dy = rng.standard_normal((images, 7, 5, 4))

    def run():
        y, backward = conv2d(x, weight, bias, padding=1)
        return y, *backward(dy)

    alone = run()
    with ThreadPoolExecutor(count) as pool, lend(pool, count):
        together = run()
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12)


def test_one_image_on_two_threads_repeats_bit_for_bit():
    rng = np.random.default_rng(0)
    images = rng.standard_normal((1, 32, 48, 3), dtype="float32")
    labels = rng.integers(0, 2, (1, 32, 48))
    runs = []
    for _ in range(2):
        network = UNet(base_channels=4, depth=2)
        Replicas(network, 2).loss_and_gradients(images, labels, CrossEntropy())
        runs.append([parameter.grad for parameter in network.parameters()])
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)
