"""Spatial splits: no pixel on both sides, a block of its own, and every class in it."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinyunet.data.dataset import Dataset, Windowed
from tinyunet.data.splits import NAME, best_block, limit_validation, spatial_split
from tinyunet.errors import UserError


def tiles(rows, columns, size, overlap=0, scene="s", classes=2):
    """Make tiles of random labels, named as `cut_tiles` names them."""
    step, rng = size - overlap, np.random.default_rng(0)
    stems = [f"{scene}_r{r * step:04}_c{c * step:04}" for r in range(rows) for c in range(columns)]
    masks = [rng.integers(0, classes, (size, size), np.uint8) for _ in stems]
    return Dataset(stems, [np.zeros((size, size, 1), np.uint8) for _ in stems], masks)


def together(*datasets):
    """Put the images of several data sets into one."""
    parts = [sum((getattr(d, name) for d in datasets), []) for name in ("stems", "images", "masks")]
    return Dataset(*parts)


def places(dataset):
    return [(int(m["row"]), int(m["column"])) for m in map(NAME.fullmatch, dataset.stems)]


@given(
    st.tuples(st.integers(30, 90), st.integers(30, 90)),
    st.integers(8, 40),
    st.integers(0, 7),
    st.floats(0.1, 0.6),
    st.integers(0, 20),
    st.integers(1, 9),
)
def test_tiles_that_judge_are_a_buffer_away_from_those_that_train(
    sides, size, overlap, fraction, buffer, smallest
):
    pixels = np.arange(sides[0] * sides[1]).reshape(*sides, 1)
    starts = [range(0, side, size - overlap) for side in sides]
    corners = [(row, column) for row in starts[0] for column in starts[1]]
    cut = [pixels[row : row + size, column : column + size] for row, column in corners]
    stems = [f"s_r{row:03}_c{column:03}" for row, column in corners]
    dataset = Dataset(stems, cut, [(tile[:, :, 0] % 3).astype(np.uint8) for tile in cut])
    try:
        training, validation = spatial_split(dataset, fraction, buffer, smallest)
    except UserError:
        assume(False)
    for part in (training, validation):
        assert len(set(part.stems)) == len(part)
        for image, mask in zip(part.images, part.masks, strict=True):
            np.testing.assert_array_equal(mask, image[:, :, 0] % 3)
    for name, image in zip(dataset.stems, dataset.images, strict=True):
        if name in training.stems + validation.stems:  # a whole tile keeps its name
            (kept,) = [
                each
                for part in (training, validation)
                for stem, each in zip(part.stems, part.images, strict=True)
                if stem == name
            ]
            assert kept.shape == image.shape
    judge, rest = (
        np.unique(np.concatenate([image.ravel() for image in part.images]))
        for part in (validation, training)
    )
    where = np.zeros((2, *sides), bool)
    for layer, part in zip(where, (judge, rest), strict=True):
        layer.flat[part] = True
    axis = 1 if where[0].all(axis=0).any() else 0  # the block fills rows or columns
    lines = [np.flatnonzero(layer.any(axis=1 - axis)) for layer in where]
    assert np.abs(lines[0][:, None] - lines[1]).min() > buffer


def test_a_tile_beside_the_block_trains_with_what_lies_beyond_the_buffer():
    training, validation = spatial_split(tiles(1, 4, 20), 0.25, buffer=7, smallest=10)
    assert validation.stems == ["s_r0000_c0000"]
    assert training.stems == ["s_r0000_c0020_r0-20_c7-20", "s_r0000_c0040", "s_r0000_c0060"]
    assert training.masks[0].shape == (20, 13)
    training, _ = spatial_split(tiles(1, 4, 20), 0.25, buffer=11, smallest=10)
    assert training.stems == ["s_r0000_c0040", "s_r0000_c0060"]  # 9 pixels are too few


@given(st.integers(1, 8), st.integers(1, 8), st.floats(0.05, 0.95))
def test_the_validation_tiles_are_whole_neighboring_rows_or_columns(rows, columns, fraction):
    assume(rows * columns > 1)
    dataset = tiles(rows, columns, 10)
    training, validation = spatial_split(dataset, fraction)
    assert sorted(training.stems + validation.stems) == dataset.stems
    where = np.array(places(validation)) // 10
    spans = [len(set(where[:, axis].tolist())) for axis in (0, 1)]
    assert spans[0] * spans[1] == len(validation)
    assert spans[0] == rows or spans[1] == columns
    for axis, span in enumerate(spans):
        assert np.ptp(where[:, axis]) == span - 1


def test_each_scene_gives_its_own_block_and_one_without_room_is_for_training():
    dataset = together(
        tiles(1, 5, 10, scene="a"), tiles(5, 1, 10, scene="b"), tiles(1, 1, 10, scene="c")
    )
    training, validation = spatial_split(dataset, 0.2, smallest=9)
    assert sorted(stem[0] for stem in validation.stems) == ["a", "b"]
    assert "c_r0000_c0000" in training.stems
    _, validation = spatial_split(dataset, 0.2)
    assert sorted(stem[0] for stem in validation.stems) == ["a", "b", "c"]


def test_the_block_lies_where_the_rare_class_is_on_both_sides():
    counts = np.full((10, 2), 100)
    counts[:, 1] = [0, 0, 50, 50, 0, 0, 0, 0, 0, 0]
    score, first, last = best_block(counts, 0.2)
    share = counts[first:last, 1].sum() / counts[:, 1].sum()
    assert last - first == 2 and share == 0.5 and score > 0


@given(st.integers(2, 40), st.floats(0.05, 0.95), st.integers(0, 99))
def test_no_block_is_better_than_the_best(strips, fraction, seed):
    counts = np.random.default_rng(seed).integers(0, 5, (strips, 3)) + np.array([1, 0, 0])
    score, first, last = best_block(counts, fraction)
    assert 0 < last - first < strips
    total = counts.sum(axis=0)
    for start in range(strips - (last - first) + 1):
        share = counts[start : start + last - first].sum(axis=0)[total > 0] / total[total > 0]
        other = min((share / fraction).min(), ((1 - share) / (1 - fraction)).min())
        assert other <= score + 0.1 + 1e-9  # a block at an end is preferred, up to a tenth


@given(
    st.integers(20, 150),
    st.integers(20, 150),
    st.floats(0.1, 0.9),
    st.integers(0, 9),
    st.booleans(),
)
def test_the_parts_of_a_scene_are_a_buffer_apart(height, width, fraction, buffer, windowed):
    pixels = np.arange(height * width).reshape(height, width, 1)
    labels = (pixels[:, :, 0] % 2).astype(np.uint8)
    if windowed:
        image = Windowed(pixels.shape, pixels.dtype, lambda rows, cols: pixels[rows, cols])
        mask = Windowed(labels.shape, np.uint8, lambda rows, cols: labels[rows, cols])
    else:
        image, mask = pixels, labels
    try:
        training, validation = spatial_split(Dataset(["scene"], [image], [mask]), fraction, buffer)
    except UserError:
        assume(False)
    assert len(validation) == 1
    judge = validation.images[0][:, :][:, :, 0]
    np.testing.assert_array_equal(validation.masks[0][:, :], judge % 2)
    top, left = np.unravel_index(judge[0, 0], labels.shape)
    bottom, right = np.unravel_index(judge[-1, -1], labels.shape)
    for part in training.images:
        rows, columns = np.unravel_index(part[:, :][:, :, 0], labels.shape)
        apart = np.maximum(
            np.maximum(top - rows, rows - bottom), np.maximum(left - columns, columns - right)
        )
        assert apart.min() > buffer
    assert judge.size / labels.size == pytest.approx(fraction, abs=0.1)


@pytest.mark.parametrize("fraction", [0, 1, -0.5])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(UserError, match="between 0 and 1"):
        spatial_split(tiles(2, 2, 4), fraction)


def test_what_has_no_room_for_two_parts_is_refused():
    for size, buffer, smallest in ((1, 0, 1), (10, 0, 6), (10, 9, 1)):
        with pytest.raises(UserError, match=f"two parts .*\\({buffer} pixels\\)"):
            spatial_split(tiles(1, 1, size), 0.2, buffer, smallest)


def test_large_validation_scenes_are_judged_by_windows_spread_over_them():
    labels = np.zeros((3000, 5000), np.uint8)
    dataset = Dataset(["a"], [labels[:, :, None]], [labels])
    assert limit_validation(dataset, judged=15_000_000) is dataset
    with pytest.warns(UserWarning, match="windows of 512 x 512"):
        limited = limit_validation(dataset, judged=2_000_000)
    assert len(limited) == 7 and all(max(mask.shape) <= 512 for mask in limited.masks)
    assert len(set(limited.stems)) == 7
