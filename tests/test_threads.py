"""Threads that are lent to one operation."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tinyunet.distributed.replicas import Replicas
from tinyunet.fast.threads import for_each, lend
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
