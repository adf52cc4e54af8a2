"""The tile sweep: any size works, seams don't show, and the ignored class is never chosen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyunet.backend import to_device, to_host
from tinyunet.checkpoint import Model
from tinyunet.data.dataset import mirrored
from tinyunet.distributed.replicas import Replicas
from tinyunet.errors import UserError
from tinyunet.inference.sliding_window import (
    choose_class,
    full_margin,
    predict_classes,
    predict_probabilities,
    round_up,
    sliding_window,
)
from tinyunet.nn.functional import softmax
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet

networks = st.builds(
    UNet,
    in_channels=st.integers(1, 3),
    classes=st.integers(2, 4),
    base_channels=st.just(2),
    depth=st.integers(1, 2),
    upsampling=st.sampled_from(["transpose", "nearest"]),
    norm=st.sampled_from([None, "batch"]),
    padding=st.just("same"),
    seed=st.integers(0, 100),
)
sizes = st.tuples(st.integers(1, 30), st.integers(1, 30))


def picture(size, channels, seed=0):
    return np.random.default_rng(seed).normal(size=(*size, channels)).astype(np.float32)


def assemble(network, image, **sweeping):
    """Put the logits of a sweep together."""
    result = np.full((*image.shape[:2], network.config["classes"]), np.nan, np.float32)
    for rows, columns, logits in sliding_window(network, image, **sweeping):
        assert np.isnan(result[rows, columns]).all()  # each pixel comes once
        result[rows, columns] = to_host(logits)
    assert not np.isnan(result).any()  # and none is missing
    return result


def whole(network, image, border):
    """Predict an image mirrored by `border` and more in one piece, and cut it out again."""
    step = 2**network.depth
    height, width = image.shape[:2]
    rows = mirrored(range(-border, round_up(height, step) + border), height)
    columns = mirrored(range(-border, round_up(width, step) + border), width)
    logits = network.eval()(to_device(image[rows[:, None], columns][None]))[0]
    return to_host(logits)[border : border + height, border : border + width]


@given(st.integers(1, 9), st.integers(0, 30), st.integers(0, 30))
def test_mirrored_is_what_numpy_pads(length, before, after):
    row = np.arange(length)
    expected = np.pad(row, (before, after), mode="reflect")
    np.testing.assert_array_equal(mirrored(range(-before, length + after), length), expected)


@given(networks, sizes, st.integers(1, 20), st.integers(0, 5), st.integers(1, 3))
def test_with_the_full_margin_tiles_equal_the_whole_mirrored_image(
    network, size, tile, more, threads
):
    image = picture(size, network.config["in_channels"])
    margin = full_margin(network)
    result = assemble(network, image, tile=tile, margin=margin + more, threads=threads)
    scale = 1 + abs(result).max()
    np.testing.assert_allclose(result, whole(network, image, margin), atol=1e-5 * scale)
    # and what lies still farther out plays no part:
    np.testing.assert_allclose(
        result, whole(network, image, margin + 3 * 2**network.depth), atol=1e-5 * scale
    )


@given(networks, st.integers(1, 20))
def test_away_from_the_border_tiles_equal_the_image_as_it_is(network, tile):
    inner = full_margin(network)
    image = picture((2 * inner + 8, 2 * inner + 4), network.config["in_channels"])
    plain = to_host(network.eval()(to_device(image[None]))[0])
    result = assemble(network, image, tile=tile, margin=inner)
    center = slice(inner, -inner), slice(inner, -inner)
    scale = 1 + abs(result).max()
    np.testing.assert_allclose(result[center], plain[center], atol=1e-5 * scale)


@given(
    st.integers(1, 2),
    st.sampled_from(["transpose", "nearest"]),
    sizes,
    st.integers(1, 20),
    st.integers(0, 40),
)
def test_a_valid_network_gives_the_whole_image_whatever_the_margin(depth, up, size, tile, margin):
    network = UNet(2, 3, base_channels=2, depth=depth, padding="valid", upsampling=up).eval()
    image = picture(size, 2)
    result = assemble(network, image, tile=tile, margin=margin)
    # In one piece: mirror so far that the output covers the image.
    before = next(n for n in network.valid_sizes() if n)
    before = (before - network.output_length(before)) // 2
    need = max(size)
    window = next(n for n in network.valid_sizes() if network.output_length(n) >= need)
    rows = mirrored(range(-before, window - before), size[0])
    columns = mirrored(range(-before, window - before), size[1])
    logits = to_host(network(to_device(image[rows[:, None], columns][None]))[0])
    expected = logits[: size[0], : size[1]]
    np.testing.assert_allclose(result, expected, atol=1e-5 * (1 + abs(expected).max()))


def test_a_smaller_margin_changes_only_what_is_near_a_seam():
    network = UNet(1, 2, base_channels=2, depth=1)
    image = picture((32, 32), 1)
    exact = assemble(network, image, tile=16, margin=full_margin(network))
    rough = assemble(network, image, tile=16, margin=0)
    wrong = abs(rough - exact).max(axis=2) > 1e-5
    assert wrong.any()
    reach = full_margin(network)
    assert not wrong[reach : 16 - reach, reach : 16 - reach].any()


def test_the_sweep_runs_on_every_device(xp):
    network = UNet(3, 3, base_channels=2, depth=1)
    image = picture((11, 7), 3)
    result = predict_probabilities(network, image, tile=4)
    assert isinstance(result, np.ndarray)
    np.testing.assert_allclose(result.sum(axis=2), 1, rtol=1e-5)


@given(sizes, st.integers(1, 9))
def test_probabilities_are_the_softmax_of_the_logits(size, tile):
    network = UNet(2, 3, base_channels=2, depth=1)
    image = picture(size, 2)
    logits = assemble(network, image, tile=tile)
    result = predict_probabilities(network, image, tile=tile)
    np.testing.assert_allclose(result, to_host(softmax(to_device(logits))[0]), rtol=1e-5)
    assert result.dtype == np.float32


def eight_views(array):
    """List an array (H, W, C) as it is, mirrored, transposed: its eight flips and quarter turns."""
    both = array, array.transpose(1, 0, 2)
    return [a[::down, ::along] for a in both for down in (1, -1) for along in (1, -1)]


def seen_from(number, array):
    """Bring what was predicted for a view back to the place of the image."""
    down, along = [(1, 1), (1, -1), (-1, 1), (-1, -1)][number % 4]
    array = array[::down, ::along]
    return array if number < 4 else array.transpose(1, 0, 2)


@given(
    networks,
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.integers(1, 20),
    st.integers(1, 3),
    st.sampled_from([None, 0]),
)
def test_with_tta_each_probability_is_the_mean_over_the_eight_views(
    network, blocks, tile, threads, ignore_index
):
    size = [2**network.depth * number for number in blocks]
    image = picture(size, network.config["in_channels"])
    margin = full_margin(network)
    expected = 0
    for number, view in enumerate(eight_views(image)):
        logits = whole(network, view, margin)
        if ignore_index == 0:
            logits[..., 0] = -np.inf
        expected = expected + seen_from(number, softmax(logits)[0]) / 8
    options = {"tile": tile, "margin": margin, "threads": threads, "tta": True}
    result = predict_probabilities(network, image, ignore_index=ignore_index, **options)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    unchanged = Standardization([0.0] * image.shape[2], [1.0] * image.shape[2])
    model = Model(network, unchanged, ignore_index=ignore_index)
    classes = predict_classes(model, image, **options)
    chosen = np.take_along_axis(expected, classes[..., None].astype(int), axis=2)
    np.testing.assert_allclose(chosen[..., 0], expected.max(axis=2), atol=2e-5)


def test_tta_works_for_a_network_that_shrinks_its_images():
    network = UNet(2, 3, base_channels=2, depth=1, padding="valid", norm="batch")
    image = picture((16, 24), 2)
    expected = sum(
        seen_from(number, predict_probabilities(network, view)) / 8
        for number, view in enumerate(eight_views(image))
    )
    result = predict_probabilities(network, image, tile=8, tta=True)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert abs(result - predict_probabilities(network, image)).max() > 1e-4


@pytest.mark.parametrize("ignore_index", [None, 0, 2, 255])
def test_the_most_probable_class_wins_and_the_ignored_one_never_does(ignore_index):
    network = UNet(1, 3, base_channels=2, depth=1, seed=1)
    standardization = Standardization([100.0], [20.0])
    model = Model(network, standardization, ["a", "b", "c"], ignore_index)
    image = np.random.default_rng(0).integers(0, 255, (13, 21, 1)).astype(np.uint8)
    classes = predict_classes(model, image, tile=8)
    probabilities = predict_probabilities(
        network, standardization.transform(image), tile=8, ignore_index=ignore_index
    )
    np.testing.assert_array_equal(classes, probabilities.argmax(axis=2))
    np.testing.assert_allclose(probabilities.sum(axis=2), 1, rtol=1e-5)
    assert classes.dtype == np.uint8
    if ignore_index in (0, 2):
        assert not (classes == ignore_index).any()
        assert not probabilities[:, :, ignore_index].any()


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8, 4), (0, 8, 3), (8, 8)])
def test_an_image_that_does_not_fit_is_refused(shape):
    network = UNet(3, 2, base_channels=2, depth=1)
    with pytest.raises(UserError, match="takes images of 3 channels"):
        list(sliding_window(network, np.zeros(shape, np.float32)))


@pytest.mark.parametrize("wrong", [{"tile": 0}, {"margin": -1}])
def test_numbers_that_make_no_sense_are_refused(wrong):
    network = UNet(1, 2, base_channels=2, depth=1)
    with pytest.raises(UserError, match="must be at least 1 and 0"):
        list(sliding_window(network, np.zeros((8, 8, 1), np.float32), **wrong))


@pytest.mark.parametrize("threshold", [0.02, 0.3, 0.5, 0.8, 0.99])
def test_class_1_is_chosen_where_its_probability_is_above_the_threshold(threshold):
    probabilities = threshold + np.array([[-0.01, 0.001], [-0.001, 0.005]])
    # Only the difference of the two logits counts.
    logits = np.stack([np.full((2, 2), 3.0), 3 + np.log(probabilities / (1 - probabilities))], -1)
    network = UNet(1, 2, base_channels=1, depth=1)
    model = Model(network, Standardization([0.0], [1.0]), threshold=threshold)
    np.testing.assert_array_equal(choose_class(model, to_device(logits)), [[0, 1], [0, 1]])
    model.threshold = None
    np.testing.assert_array_equal(choose_class(model, to_device(logits)), probabilities > 0.5)


def test_probabilities_are_kept_as_bytes_and_no_data_is_no_class():
    network = UNet(1, 3, base_channels=2, depth=1, seed=1)
    model = Model(network, Standardization([0.0], [1.0]), ["a", "b", "c"])
    image, levels = picture((13, 21), 1), np.zeros((13, 21, 3), np.uint8)
    valid = np.random.default_rng(1).random((13, 21)) < 0.7
    filled = np.where(valid[..., None], image, 0)  # the mean
    classes = predict_classes(model, image, valid=valid, levels=levels, tile=8)
    expected = predict_probabilities(network, filled, tile=8)
    np.testing.assert_array_equal(classes, np.where(valid, expected.argmax(axis=-1), 255))
    np.testing.assert_allclose(levels, 255 * expected, atol=0.501)


def windows_seen(monkeypatch, network, size, **options):
    """Sweep an image of zeros; returns the shapes of the batches of windows."""
    shapes = []

    logits = Replicas.logits

    def note(replicas, windows, *more):
        shapes.append(windows.shape)
        return logits(replicas, windows, *more)

    monkeypatch.setattr(Replicas, "logits", note)
    list(sliding_window(network, np.zeros((*size, 1), np.float32), **options))
    return shapes


def test_without_a_margin_the_network_sees_64_pixels_around_each_tile_or_all_that_matter(
    monkeypatch,
):
    for depth, side in ((1, 16 + 2 * 12), (4, 16 + 2 * 64)):
        network = UNet(1, 2, base_channels=1, depth=depth)
        shapes = windows_seen(monkeypatch, network, (32, 48), tile=16)
        assert {shape[1:3] for shape in shapes} == {(side, side)}
    assert full_margin(UNet(1, 2, base_channels=1, depth=1)) == 12


def test_tile_and_margin_are_rounded_up_to_what_the_network_halves(monkeypatch):
    network = UNet(1, 2, base_channels=1, depth=3)
    shapes = windows_seen(monkeypatch, network, (60, 40), tile=17, margin=9, threads=1)
    assert shapes == [(1, 16 + 32, 16 + 32, 1)] * 12  # 60 = 4 tiles of 15, 40 = 3 of 14


def test_a_window_of_each_thread_is_computed_at_once(monkeypatch):
    network = UNet(1, 2, base_channels=1, depth=1)
    shapes = windows_seen(monkeypatch, network, (16, 40), tile=8, threads=3)
    assert [shape[0] for shape in shapes] == [3, 3, 3, 1]


def test_the_full_margin_reaches_as_far_as_a_tile_sees_and_no_step_farther():
    for depth, upsampling, reach in [
        (3, "transpose", 46),
        (4, "transpose", 94),
        (2, "nearest", 26),
    ]:
        network = UNet(1, 2, base_channels=1, depth=depth, upsampling=upsampling)
        step = 2**depth
        margin = full_margin(network)
        assert margin == round_up(reach, step)
        # The gradient of a tile's logits says which pixels they depend on. As the image is
        # brighter farther out, the outermost pixel of each window wins the pooling.
        for parameter in network.parameters():
            parameter.data[...] = 1
        first = margin + 4 * step
        columns = np.abs(np.arange(2 * first + step) - (first + step / 2 - 0.5)) / first
        image = np.broadcast_to(columns[:, None], (1, step, len(columns), 1)).astype("float32")
        dlogits = np.zeros_like(network(image))
        dlogits[:, :, first : first + step] = 1
        seen = np.flatnonzero(network.backward(dlogits).any(axis=(0, 1, 3)))
        assert seen[0] == first - reach and seen[-1] == first + step - 1 + reach
