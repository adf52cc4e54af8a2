"""Threads: the same loss and gradients as in one piece, and bit for bit the same each time."""

import time

import numpy as np
import pytest

from tests.comparing import assert_close
from tests.networks import gradients_of, in_float64, small_unet
from tinyunet import backend
from tinyunet.distributed.replicas import Replicas, split
from tinyunet.nn.losses import CrossEntropy, Dice
from tinyunet.nn.operations import operations

BATCH, HEIGHT, WIDTH, CLASSES = 5, 8, 12, 3


def batch(dtype="float64"):
    """Draw images, and labels of which some images have many ignored ones and one nothing else."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(BATCH, HEIGHT, WIDTH, 3)).astype(dtype)
    labels = rng.integers(0, CLASSES, (BATCH, HEIGHT, WIDTH))
    ignored = rng.random(labels.shape) < np.linspace(0, 0.9, BATCH)[:, None, None]
    labels[ignored] = 255
    labels[1] = 255
    return images, labels


def in_one_piece(network, images, labels, loss, *extra):
    """Compute loss and gradients without threads."""
    network.zero_grad()
    value, backward = loss(network(images), labels, *extra)
    network.backward(backward())
    return float(value), gradients_of(network)


def in_parts(network, threads, images, labels, loss, **options):
    """Compute loss and gradients with threads."""
    network.zero_grad()
    value = Replicas(network, threads).loss_and_gradients(images, labels, loss, **options)
    return float(value), gradients_of(network)


LOSSES = {
    "plain": CrossEntropy(ignore_index=255),
    "weighted": CrossEntropy(class_weights=(0.2, 1.0, 3.0), ignore_index=255),
}


@pytest.mark.parametrize("threads", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_threads_give_what_one_piece_gives(threads, norm, loss):
    # With batch normalization, too: its statistics are those of the whole batch.
    network, twin = (in_float64(small_unet(norm=norm)) for _ in range(2))
    images, labels = batch()
    value, gradients = in_one_piece(network, images, labels, loss)
    value_in_parts, gradients_in_parts = in_parts(twin, threads, images, labels, loss)
    assert_close(value_in_parts, value, 1e-12)
    for name, gradient in gradients_in_parts.items():
        assert_close(gradient, gradients[name], 1e-11)
    for name, array in twin.state_dict().items():
        assert_close(array, network.state_dict()[name], 1e-12)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_with_pixel_weights(threads):
    network = in_float64(small_unet())
    images, labels = batch()
    weights = np.random.default_rng(1).uniform(0, 3, labels.shape)
    loss = LOSSES["weighted"]
    value, gradients = in_one_piece(network, images, labels, loss, weights)
    value_in_parts, gradients_in_parts = in_parts(
        network, threads, images, labels, loss, pixel_weights=weights
    )
    assert_close(value_in_parts, value, 1e-13)
    for name, gradient in gradients_in_parts.items():
        assert_close(gradient, gradients[name], 1e-12)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_part_of_the_dice_loss_counts_by_its_images(threads):
    network = in_float64(small_unet())
    images, labels = batch()
    loss = Dice(ignore_index=255)
    value, gradients = 0.0, {}
    for part in split(BATCH, threads):
        share = len(labels[part]) / BATCH
        value_of_part, gradients_of_part = in_one_piece(network, images[part], labels[part], loss)
        value += share * value_of_part
        for name, gradient in gradients_of_part.items():
            gradients[name] = gradients.get(name, 0) + share * gradient
    value_in_parts, gradients_in_parts = in_parts(network, threads, images, labels, loss)
    assert_close(value_in_parts, value, 1e-13)
    for name, gradient in gradients_in_parts.items():
        assert_close(gradient, gradients[name], 1e-12)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_number_of_threads_repeats_bit_for_bit(threads):
    results = []
    for _ in range(3):
        network = small_unet(dropout=0.5, norm="batch", base_channels=4)
        images, labels = batch("float32")
        results.append(in_parts(network, threads, images, labels, LOSSES["plain"], seed=[3, 4]))
        results[-1][1].update(network.state_dict())
    for value, arrays in results[1:]:
        assert value == results[0][0]
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, results[0][1][name])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_another_seed_drops_other_entries(threads):
    images, labels = batch("float32")
    values = [
        in_parts(small_unet(dropout=0.5), threads, images, labels, LOSSES["plain"], seed=seed)[0]
        for seed in (1, 1, 2, [1, 2])
    ]
    assert values[0] == values[1]
    assert len(set(values)) == 3


def test_each_thread_drops_entries_of_its_own():
    images, labels = (np.repeat(array[:1], 2, axis=0) for array in batch("float32"))
    network = small_unet(dropout=0.5)
    twice, _ = in_parts(network, 2, images, labels, LOSSES["plain"], seed=1)
    once, _ = in_parts(network, 1, images[:1], labels[:1], LOSSES["plain"], seed=1)
    assert twice != once


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_batch_of_ignored_pixels_has_no_loss_no_gradient_and_does_no_harm(threads, norm):
    network = small_unet(norm=norm)
    images, labels = batch("float32")
    value, gradients = in_parts(
        network, threads, images, np.full_like(labels, 255), LOSSES["plain"]
    )
    assert value == 0
    assert all((gradient == 0).all() for gradient in gradients.values())
    for name, array in network.state_dict().items():
        assert np.isfinite(array).all()
        if name.endswith("running_variance"):
            assert (array > 0.5).all(), "a tenth of the way from 1 to the batch's"


@pytest.mark.parametrize("threads", [2, 3])
def test_replicas_follow_a_network_that_is_loaded_after_they_were_made(threads):
    images, labels = batch("float32")
    trained = small_unet(norm="batch", seed=1)
    trained(images)  # moves the running averages
    results = []
    for load_first in (True, False):
        network = small_unet(norm="batch")
        if load_first:
            network.load_state_dict(trained.state_dict())
        replicas = Replicas(network, threads)
        if not load_first:
            network.load_state_dict(trained.state_dict())
        replicas.loss_and_gradients(images, labels, LOSSES["plain"])
        results.append(network.state_dict())
    for name, array in results[0].items():
        np.testing.assert_array_equal(array, results[1][name])


def test_replicas_follow_the_optimizer():
    images, labels = batch("float32")
    losses = {}
    for threads in (1, 2, 3):
        network = in_float64(small_unet())
        replicas = Replicas(network, threads)
        optimizer = operations.SGD(network.parameters(), lr=0.1, momentum=0.9)
        losses[threads] = []
        for _ in range(4):
            optimizer.zero_grad()
            value = replicas.loss_and_gradients(images.astype("float64"), labels, LOSSES["plain"])
            optimizer.step()
            losses[threads].append(float(value))
    assert losses[1][-1] < losses[1][0]
    assert_close(losses[2], losses[1], 1e-11)
    assert_close(losses[3], losses[1], 1e-11)


def test_gradients_are_added_to_those_that_are_there():
    network = in_float64(small_unet())
    images, labels = batch()
    replicas = Replicas(network, 2)
    replicas.loss_and_gradients(images, labels, LOSSES["plain"])
    once = gradients_of(network)
    replicas.loss_and_gradients(images, labels, LOSSES["plain"])
    for name, gradient in gradients_of(network).items():
        assert_close(gradient, 2 * once[name], 1e-12)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_logits_come_in_the_order_of_the_images(threads):
    network = in_float64(small_unet(norm="batch")).eval()
    images, _ = batch()
    expected = network(images)
    replicas = Replicas(network, threads)
    assert_close(replicas.logits(images), expected, 1e-12)


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("index", [0, -1])
def test_a_mistake_in_a_thread_is_heard_of(index, norm):
    # With batch normalization the other thread waits for this one's sums: not for ever.
    images, labels = batch("float32")
    labels[index, 0, 0] = 77
    replicas = Replicas(small_unet(norm=norm), 2)
    with pytest.raises(ValueError, match="77"):
        replicas.loss_and_gradients(images, labels, LOSSES["plain"])
    labels[index, 0, 0] = 0
    assert np.isfinite(float(replicas.loss_and_gradients(images, labels, LOSSES["plain"])))


def test_a_mistake_is_told_when_all_threads_are_at_rest():
    ended = []

    def work(index):
        if index == 0:
            raise ValueError("wrong")
        time.sleep(0.2)
        ended.append(index)

    with pytest.raises(ValueError, match="wrong"):
        Replicas(small_unet(), 2).run(work, 2)
    assert ended == [1]


def test_on_every_device_the_loss_is_the_same(xp):
    images, labels = batch()
    network = in_float64(small_unet())
    value, gradients = in_parts(network, 2, images, labels, LOSSES["weighted"])
    backend.use_device("cpu")
    host_network = in_float64(small_unet())
    expected, expected_gradients = in_parts(host_network, 2, images, labels, LOSSES["weighted"])
    assert_close(value, expected, 1e-11)
    for name, gradient in gradients.items():
        assert_close(gradient, expected_gradients[name], 1e-11)


@pytest.mark.parametrize("threads", [0, -1])
def test_without_a_thread_nothing_can_be_done(threads):
    with pytest.raises(ValueError):
        Replicas(small_unet(), threads)


@pytest.mark.parametrize(("count", "parts"), [(1, 1), (5, 2), (5, 3), (2, 8), (8, 8), (9, 4)])
def test_shares_are_nearly_equal_and_leave_nothing_out(count, parts):
    slices = split(count, parts)
    sizes = [part.stop - part.start for part in slices]
    assert [n for part in slices for n in range(count)[part]] == list(range(count))
    assert not sizes or (min(sizes) >= 1 and max(sizes) - min(sizes) <= 1)
    assert len(slices) == min(count, parts)
