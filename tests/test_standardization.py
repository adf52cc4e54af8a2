"""Standardized training images have mean 0 and standard deviation 1, channel by channel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyunet.errors import UserError
from tinyunet.nn.standardization import Standardization


@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4),
    channels=st.integers(1, 5),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    seed=st.integers(0, 100),
)
def test_the_figures_are_those_of_all_pixels_together(sizes, channels, dtype, seed):
    rng = np.random.default_rng(seed)
    images = [rng.uniform(0, 255, (*size, channels)).astype(dtype) for size in sizes]
    standardization = Standardization.fit(images)
    pixels = np.concatenate([image.reshape(-1, channels) for image in images]).astype(np.float64)
    expected_std = pixels.std(axis=0)
    expected_std[expected_std < 1e-6] = 1
    np.testing.assert_allclose(standardization.mean, pixels.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(standardization.std, expected_std, rtol=1e-5)


def test_standardized_images_have_mean_0_and_deviation_1():
    rng = np.random.default_rng(0)
    images = [rng.normal(loc, 3, (20, 30, 2)).astype(np.float32) for loc in (100, 110)]
    standardization = Standardization.fit(images)
    result = standardization.transform(np.concatenate(images))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.mean(axis=(0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(result.std(axis=(0, 1)), 1, atol=1e-4)


@pytest.mark.parametrize("value", [0, 7, 0.1, 65535, 1e-9])
def test_a_constant_channel_becomes_0(value):
    dtype = np.float64 if isinstance(value, float) else np.uint16
    images = [np.full((5, 7, 1), value, dtype=dtype), np.full((3, 3, 1), value, dtype=dtype)]
    standardization = Standardization.fit(images)
    assert standardization.std.tolist() == [1]
    np.testing.assert_allclose(standardization.transform(images[0]), 0, atol=1e-6)


def test_a_batch_is_standardized_like_its_images():
    batch = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3)).astype(np.uint8)
    standardization = Standardization.fit(list(batch))
    expected = [standardization.transform(image) for image in batch]
    np.testing.assert_array_equal(standardization.transform(batch), expected)


def test_another_number_of_channels_is_a_user_error():
    with pytest.raises(UserError, match="has 4 channel"):
        Standardization([0, 0, 0], [1, 1, 1]).transform(np.zeros((2, 2, 4)))
