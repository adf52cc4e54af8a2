"""Weights of pixels: the paper's border weights against their definition, and class weights."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyunet.data.weight_maps import (
    border_weights,
    connected_components,
    suggest_class_weights,
    weight_map,
)
from tinyunet.errors import UserError

COUNTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=6)


def by_definition(instances, w0, sigma):
    """Equation 2 of the paper, pixel by pixel: distances to every pixel of every object."""
    height, width = instances.shape
    weights = np.zeros(instances.shape)
    for row in range(height):
        for column in range(width):
            if instances[row, column] != 0:
                continue
            distances = []
            for number in set(instances.ravel().tolist()) - {0}:
                rows, columns = np.nonzero(instances == number)
                distances.append(np.hypot(rows - row, columns - column).min())
            if len(distances) > 1:
                d1, d2 = sorted(distances)[:2]
                weights[row, column] = w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
    return weights


def scattered(seed, height, width, objects):
    """Objects of all shapes and odd numbers, some in several pieces, some next to each other."""
    rng = np.random.default_rng(seed)
    instances = np.zeros((height, width), dtype=np.int64)
    for number in rng.choice(10**6, size=objects, replace=False) + 1:
        top, left = rng.integers(height), rng.integers(width)
        instances[top : top + rng.integers(1, 5), left : left + rng.integers(1, 5)] = number
    return instances


# --- Borders ---


@given(
    st.integers(0, 10**6),
    st.integers(1, 14),
    st.integers(1, 17),
    st.integers(0, 6),
    st.floats(0.5, 20),
    st.floats(0.3, 8),
)
def test_border_weights_are_those_of_the_definition(seed, height, width, objects, w0, sigma):
    pytest.importorskip("scipy")
    instances = scattered(seed, height, width, objects)
    weights = border_weights(instances, w0, sigma)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, by_definition(instances, w0, sigma), atol=2e-6 * w0)


def test_a_window_around_each_object_is_enough():
    pytest.importorskip("scipy")
    # Larger than the windows, so that objects far apart do not meet.
    instances = np.zeros((6, 60), dtype=np.uint16)
    instances[2:4, 5:8], instances[1:5, 11:14], instances[:, 55:] = 1, 2, 3
    np.testing.assert_allclose(
        border_weights(instances, 10, 2), by_definition(instances, 10, 2), atol=2e-5
    )


def test_the_narrower_the_gap_the_larger_the_weight():
    pytest.importorskip("scipy")
    for gap in (1, 2, 4, 8):
        instances = np.zeros((20, 30), dtype=np.uint8)
        instances[5:15, 2:10] = 1
        instances[5:15, 10 + gap : 20 + gap] = 2
        in_the_gap = border_weights(instances)[10, 10 + gap // 2]
        # Between the two, d1 + d2 is the same all the way: the gap's width plus one.
        assert in_the_gap == pytest.approx(10 * np.exp(-((gap + 1) ** 2) / 50))


@pytest.mark.parametrize("objects", [0, 1])
def test_without_two_objects_there_is_no_border_between_them(objects):
    pytest.importorskip("scipy")
    instances = np.zeros((9, 9), dtype=np.uint8)
    instances[3:6, 3:6] = objects
    assert not border_weights(instances).any()


def test_the_map_is_the_class_weight_plus_the_border():
    pytest.importorskip("scipy")
    mask = np.array([[1, 1, 0, 2, 2, 0, 0, 255]])
    instances = np.array([[1, 1, 0, 2, 2, 0, 0, 3]])
    border = border_weights(instances)
    expected = border + np.array([[3, 3, 0.5, 7, 7, 0.5, 0.5, 1]])
    np.testing.assert_array_equal(connected_components(mask), instances)
    np.testing.assert_allclose(weight_map(mask, instances, [0.5, 3, 7]), expected, rtol=1e-6)
    np.testing.assert_allclose(weight_map(mask, instances), border + 1, rtol=1e-6)


def test_instances_tell_objects_apart_that_touch():
    pytest.importorskip("scipy")
    mask = np.zeros((9, 12), dtype=np.uint8)
    mask[2:7, 2:10] = 1
    instances = mask * 1
    instances[2:7, 6:10] = 2
    assert weight_map(mask, connected_components(mask)).max() == 1
    assert weight_map(mask, instances)[1, 6] > 5


def test_pieces_of_different_classes_are_different_objects():
    pytest.importorskip("scipy")
    mask = np.array([[1, 1, 2, 0, 1], [0, 0, 2, 0, 0], [5, 0, 0, 0, 0]])
    components = connected_components(mask)
    assert ((components == 0) == (mask == 0)).all()
    assert len(np.unique(components)) == 1 + 4  # background; two of class 1, one each of 2 and 5
    assert components[0, 0] == components[0, 1] != components[0, 4]


def test_without_scipy_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    with pytest.raises(UserError, match="needs scipy: pip install"):
        weight_map(np.zeros((4, 4), int), np.zeros((4, 4), int))


# --- Classes ---


@given(COUNTS)
def test_the_mean_weight_of_a_pixel_is_one(counts):
    weights = suggest_class_weights(counts)
    if sum(counts):
        assert np.average(weights, weights=counts) == pytest.approx(1)
    else:
        assert not any(weights)


@given(COUNTS)
def test_rarer_classes_weigh_more_and_absent_ones_nothing(counts):
    weights = suggest_class_weights(counts)
    present = [(count, weight) for count, weight in zip(counts, weights, strict=True) if count]
    assert all(weight == 0 for count, weight in zip(counts, weights, strict=True) if not count)
    for count, weight in present:
        for other, other_weight in present:
            assert weight / other_weight == pytest.approx(np.sqrt(other / count))


def test_the_ignored_class_has_no_weight_and_no_say():
    weights = suggest_class_weights([900, 75, 25], ignore_index=0)
    assert weights == [0, *suggest_class_weights([75, 25])]
    assert suggest_class_weights([75, 25], ignore_index=255) == suggest_class_weights([75, 25])
