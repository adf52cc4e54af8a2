"""Elastic deformation: image and mask bend together, by as much as was drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyunet.data.elastic import bilinear_sample, cubic_weights, elastic_deformation, mirrored

SIDES = st.integers(1, 40)
SEEDS = st.integers(0, 1000)


def deform(image, mask, seed=0, **settings):
    return elastic_deformation(image, mask, np.random.default_rng(seed), **settings)


def smooth_image(height, width):
    """Whole numbers that grow by 1 from pixel to pixel, down and to the right."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns], axis=-1).astype(np.float64)


@given(SIDES, SIDES, SEEDS, st.sampled_from(["uint8", "uint16", "float32", "float64"]))
def test_shapes_and_number_types_stay(height, width, seed, dtype):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3)).astype(dtype)
    mask = rng.integers(0, 5, (height, width)).astype(np.uint8)
    bent, bent_mask = deform(image, mask, seed)
    assert bent.shape == image.shape and bent.dtype == image.dtype
    assert bent_mask.shape == mask.shape and bent_mask.dtype == mask.dtype


@given(SIDES, SIDES, SEEDS)
def test_no_displacement_changes_nothing(height, width, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = rng.integers(0, 5, (height, width))
    bent, bent_mask = deform(image, mask, seed, sigma=0)
    np.testing.assert_array_equal(bent, image)
    np.testing.assert_array_equal(bent_mask, mask)


@given(SEEDS)
def test_the_same_seed_bends_the_same_way(seed):
    image, mask = smooth_image(30, 50), np.arange(1500).reshape(30, 50)
    for first, second in zip(deform(image, mask, seed), deform(image, mask, seed), strict=True):
        np.testing.assert_array_equal(first, second)


def test_another_seed_bends_another_way():
    image, mask = smooth_image(30, 50), np.arange(1500).reshape(30, 50)
    assert (deform(image, mask, 1)[1] != deform(image, mask, 2)[1]).any()


@given(SIDES, SIDES, SEEDS, st.floats(0, 30), st.integers(2, 6))
def test_image_and_mask_travel_together(height, width, seed, sigma, grid):
    # The mask holds the number of each pixel's place, the image its row and its column.
    mask = np.arange(height * width).reshape(height, width)
    bent, bent_mask = deform(smooth_image(height, width), mask, seed, sigma=sigma, grid=grid)
    from_row, from_column = np.divmod(bent_mask, width)
    np.testing.assert_allclose(bent[:, :, 0], from_row, atol=0.5 + 1e-9)
    np.testing.assert_allclose(bent[:, :, 1], from_column, atol=0.5 + 1e-9)


@given(SIDES, SIDES, SEEDS)
def test_nothing_new_appears(height, width, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(height, width, 2)).astype(np.float32)
    mask = rng.choice([0, 3, 255], (height, width))
    bent, bent_mask = deform(image, mask, seed)
    assert image.min() - 1e-5 <= bent.min() and bent.max() <= image.max() + 1e-5
    assert set(np.unique(bent_mask)) <= set(np.unique(mask))


def test_displacements_are_as_large_as_sigma_says():
    # At the middle point of the grid the displacement is what was drawn, far from the border.
    size = 121
    image, mask = smooth_image(size, size), np.zeros((size, size), dtype=int)
    center = size // 2
    drawn = [deform(image, mask, seed)[0][center, center] - center for seed in range(60)]
    assert np.std(drawn) == pytest.approx(10, rel=0.2)
    assert abs(np.mean(drawn)) < 3


def test_both_directions_bend_independently():
    image, mask = smooth_image(200, 300), np.zeros((200, 300), dtype=int)
    moved = (deform(image, mask, 3)[0] - image)[50:150, 50:250]
    assert abs(np.corrcoef(moved[..., 0].ravel(), moved[..., 1].ravel())[0, 1]) < 0.99
    assert moved[..., 0].std() > 0.5 and moved[..., 1].std() > 0.5


# --- Its parts ---


@given(st.integers(2, 60), st.integers(2, 8))
def test_cubic_weights_sum_to_one(length, points):
    np.testing.assert_allclose(cubic_weights(length, points).sum(axis=1), 1)


@given(st.integers(2, 8), st.integers(1, 9))
def test_cubic_weights_go_through_their_points(points, every):
    weights = cubic_weights((points - 1) * every + 1, points)
    np.testing.assert_allclose(weights[::every], np.eye(points), atol=1e-12)


def test_cubic_weights_make_a_straight_line_of_points_on_a_line():
    # Away from the ends, where the last point repeats.
    line = cubic_weights(61, 7) @ np.arange(7)
    np.testing.assert_allclose(line[10:51], np.linspace(1, 5, 41))


def test_beyond_the_border_the_image_is_mirrored():
    assert mirrored(np.arange(-5, 9), 4).tolist() == [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert mirrored(np.arange(-2, 3), 1).tolist() == [0, 0, 0, 0, 0]


def test_reading_between_pixels_is_bilinear():
    image = np.array([[[0.0], [10.0]], [[20.0], [50.0]]])
    read = bilinear_sample(image, np.array([[0.5, 0.0, 0.25]]), np.array([[0.5, 0.5, 1.0]]))
    np.testing.assert_allclose(read[0, :, 0], [20, 5, 20])


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "uint16"])
def test_bending_keeps_the_type_of_the_numbers(dtype):
    image = np.random.default_rng(0).integers(0, 200, (9, 7, 2)).astype(dtype)
    mask = np.zeros((9, 7), np.uint16)
    bent, labels = elastic_deformation(image, mask, np.random.default_rng(0), sigma=1.0)
    assert (bent.dtype, labels.dtype) == (dtype, "uint16")
