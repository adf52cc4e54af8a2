"""Elastic deformation: image and mask bend together, by as much as was drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyunet.data.augmentation import elastic_deformation
from tinyunet.data.dataset import mirrored

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


class Drawn:
    """A generator that draws what it was given."""

    def __init__(self, points):
        self.points = points

    def normal(self, mean, sigma, size):
        return np.broadcast_to(self.points, size)


def test_the_bend_goes_smoothly_through_what_was_drawn():
    right = np.array([[0.0, 4.0, 8.0]] * 3)
    image, mask = smooth_image(41, 81), np.zeros((41, 81), int)
    bent, _ = elastic_deformation(image, mask, Drawn(np.stack([0 * right, right])))
    moved = bent[:, :61, 1] - np.arange(61)  # further right it comes from beyond the border
    np.testing.assert_allclose(moved[:, [0, 40]], [[0, 4]] * 41, atol=1e-9)
    assert (np.diff(moved) > -1e-9).all() and np.diff(moved).max() < 0.2
    np.testing.assert_allclose(bent[:, :, 0], image[:, :, 0], atol=1e-9)


def test_beyond_the_border_the_image_is_mirrored():
    assert mirrored(np.arange(-5, 9), 4).tolist() == [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert mirrored(np.arange(-2, 3), 1).tolist() == [0, 0, 0, 0, 0]


def test_reading_between_pixels_is_bilinear():
    image = np.array([[[0.0], [10.0]], [[20.0], [50.0]]])
    bent, _ = elastic_deformation(image, np.zeros((2, 2), int), Drawn(0.5))
    assert bent[0, 0, 0] == pytest.approx(20)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "uint16"])
def test_bending_keeps_the_type_of_the_numbers(dtype):
    image = np.random.default_rng(0).integers(0, 200, (9, 7, 2)).astype(dtype)
    mask = np.zeros((9, 7), np.uint16)
    bent, labels = elastic_deformation(image, mask, np.random.default_rng(0), sigma=1.0)
    assert (bent.dtype, labels.dtype) == (dtype, "uint16")
