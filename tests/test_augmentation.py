"""Image and mask stay together, whatever is done to them, and the same seed does the same.

The tests write each pixel's own position into it, in the image and in the mask: if the two agree
afterwards, they have traveled together.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyunet.data.augmentation import (
    augment,
    check_crop,
    random_brightness_contrast,
    random_flip,
    random_rot90,
    random_window,
    sample_batch,
)
from tinyunet.data.dataset import ClassPixels, Dataset, read_mirrored
from tinyunet.errors import UserError
from tinyunet.nn.standardization import Standardization

SIDE = st.integers(1, 12)
SEED = st.integers(0, 2**32 - 1)
UNCHANGED = Standardization([0, 0], [1, 1])


def positions(height, width):
    """Make an image of two channels, row and column, and a mask of the two in one number."""
    rows, columns = np.indices((height, width))
    image = np.stack([rows, columns], axis=-1).astype(np.float32)
    return image, rows * 1000 + columns


def random_crop(image, mask, size, rng):
    window = random_window(image, size, rng)
    return read_mirrored(image, *window), read_mirrored(mask, *window)


def assert_together(image, mask):
    np.testing.assert_array_equal(image[..., 0] * 1000 + image[..., 1], mask)


@given(height=SIDE, width=SIDE, data=st.data(), seed=SEED)
def test_a_crop_is_a_window_of_image_and_mask(height, width, data, seed):
    size = data.draw(st.tuples(st.integers(1, height), st.integers(1, width)), label="size")
    image, mask = random_crop(*positions(height, width), size, np.random.default_rng(seed))
    assert image.shape == (*size, 2) and mask.shape == size
    assert_together(image, mask)
    top, left = image[0, 0]
    expected = positions(*size)[0] + [top, left]
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("size", [5, (5, 7)])
def test_a_crop_as_large_as_the_image_is_the_image(size):
    height, width = (size, size) if isinstance(size, int) else size
    image, mask = positions(height, width)
    cropped, _ = random_crop(image, mask, size, np.random.default_rng(0))
    np.testing.assert_array_equal(cropped, image)


def test_every_position_of_a_crop_occurs():
    rng = np.random.default_rng(0)
    corners = {
        tuple(random_crop(*positions(4, 5), (3, 2), rng)[0][0, 0].tolist()) for _ in range(200)
    }
    assert corners == {(row, column) for row in range(2) for column in range(4)}


@pytest.mark.parametrize("size", [6, (3, 8), (6, 3), 10])
def test_a_crop_larger_than_the_image_shows_it_mirrored_at_its_borders(size):
    image, mask = positions(5, 7)
    height, width = (size, size) if isinstance(size, int) else size
    rng, seen = np.random.default_rng(0), set()
    for _ in range(60):
        crop, labels = random_crop(image, mask, size, rng)
        assert crop.shape[:2] == labels.shape == (height, width)
        rows, columns = crop[:, 0, 0], crop[0, :, 1]
        for found, side in ((rows, 5), (columns, 7)):
            steps = np.abs(np.diff(found.astype(int)))
            assert (steps == 1).all()  # one pixel on or back, and none twice
            assert len(found) < side or set(found.tolist()) == set(range(side))
        seen.add((int(rows[0]), int(columns[0])))
    assert len(seen) > 1


@pytest.mark.parametrize("change", [random_flip, random_rot90])
@given(height=SIDE, width=SIDE, seed=SEED)
def test_every_pixel_moves_with_its_class(change, height, width, seed):
    before = positions(height, width)
    image, mask = change(*before, np.random.default_rng(seed))
    assert_together(image, mask)
    assert sorted(mask.ravel()) == sorted(before[1].ravel())
    assert sorted(mask.shape) == sorted(before[1].shape)


def test_a_flip_keeps_the_shape_and_has_four_outcomes():
    rng = np.random.default_rng(0)
    masks = [random_flip(*positions(2, 3), rng)[1] for _ in range(100)]
    assert {mask.shape for mask in masks} == {(2, 3)}
    assert {mask[0, 0] for mask in masks} == {0, 2, 1000, 1002}


def test_a_turn_has_four_outcomes_and_keeps_the_handedness():
    rng = np.random.default_rng(0)
    masks = [random_rot90(*positions(2, 2), rng)[1] for _ in range(100)]
    clockwise = {tuple(mask[[0, 0, 1, 1], [0, 1, 1, 0]].tolist()) for mask in masks}
    around = [0, 1, 1001, 1000]
    assert clockwise == {tuple(around[start:] + around[:start]) for start in range(4)}


def test_flips_and_turns_together_reach_all_eight_views_of_a_square():
    rng = np.random.default_rng(0)
    views = {augment(*positions(2, 2), rng)[1].tobytes() for _ in range(200)}
    assert len(views) == 8


@given(seed=SEED, brightness=st.floats(0, 1), contrast=st.floats(0, 1))
def test_light_changes_by_one_factor_and_one_shift(seed, brightness, contrast):
    image = np.random.default_rng(0).normal(size=(5, 7, 3)).astype(np.float32)
    before = image.copy()
    rng = np.random.default_rng(seed)
    result = random_brightness_contrast(image, rng, brightness, contrast)
    assert result.shape == image.shape and result.dtype == image.dtype
    np.testing.assert_array_equal(image, before)
    stretch, shift = np.polyfit(image.ravel().astype(np.float64), result.ravel(), 1)
    assert abs(shift) <= brightness + 1e-5
    assert abs(stretch - 1) <= contrast + 1e-5
    np.testing.assert_allclose(result, image * stretch + shift, atol=1e-5)


def data_of_positions(*sizes):
    pairs = [positions(*size) for size in sizes]
    return Dataset(
        [f"tile{number}" for number in range(len(sizes))],
        [image for image, _ in pairs],
        [mask for _, mask in pairs],
    )


@given(
    sizes=st.lists(st.tuples(st.integers(4, 9), st.integers(4, 9)), min_size=1, max_size=4),
    batch_size=st.integers(1, 6),
    crop_size=st.integers(1, 4),
    seed=SEED,
)
def test_a_batch_holds_crops_of_images_with_their_masks(sizes, batch_size, crop_size, seed):
    dataset = data_of_positions(*sizes)
    rng = np.random.default_rng(seed)
    options = {"batch_size": batch_size, "crop_size": crop_size, "augmented": False}
    images, labels = sample_batch(dataset, UNCHANGED, rng=rng, **options)
    assert images.shape == (batch_size, crop_size, crop_size, 2) and images.dtype == np.float32
    assert labels.shape == (batch_size, crop_size, crop_size) and labels.dtype == np.int32
    assert_together(images, labels)


@given(seed=SEED)
def test_an_augmented_batch_keeps_image_and_mask_together(seed):
    dataset = data_of_positions((9, 13), (16, 8))
    rng = np.random.default_rng(seed)
    images, labels = sample_batch(dataset, UNCHANGED, batch_size=4, crop_size=8, rng=rng)
    for image, label in zip(images, labels, strict=True):
        # The light has changed: row * stretch + shift. Undo it with the rows that the mask tells.
        for channel, truth in ((0, label // 1000), (1, label % 1000)):
            stretch, shift = np.polyfit(truth.ravel(), image[..., channel].ravel(), 1)
            np.testing.assert_allclose(image[..., channel], truth * stretch + shift, atol=1e-4)
            assert 0.8 <= stretch <= 1.2


def test_the_same_seed_draws_the_same_batch():
    dataset = data_of_positions((9, 13), (16, 8), (10, 10))

    def draw(seed):
        return sample_batch(
            dataset, UNCHANGED, batch_size=3, crop_size=8, rng=np.random.default_rng(seed)
        )

    for first, second in zip(draw([0, 5]), draw([0, 5]), strict=True):
        np.testing.assert_array_equal(first, second)
    assert (draw([0, 5])[0] != draw([0, 6])[0]).any()


def test_the_data_set_is_left_as_it_was():
    dataset = data_of_positions((9, 13))
    sample_batch(dataset, UNCHANGED, batch_size=3, crop_size=8, rng=np.random.default_rng(0))
    expected, _ = positions(9, 13)
    np.testing.assert_array_equal(dataset.images[0], expected)


def test_no_image_comes_twice_while_there_are_others():
    images = [np.full((4, 4, 1), index, dtype=np.uint8) for index in range(5)]
    dataset = Dataset(list("abcde"), images, [image[..., 0] for image in images])
    one_channel = Standardization([0], [1])
    for seed in range(20):
        rng = np.random.default_rng(seed)
        _, labels = sample_batch(dataset, one_channel, batch_size=5, crop_size=2, rng=rng)
        assert sorted(labels[:, 0, 0]) == [0, 1, 2, 3, 4]


def test_images_are_standardized():
    images = [np.random.default_rng(0).integers(0, 256, (6, 7, 3)).astype(np.uint8)]
    dataset = Dataset(["a"], images, [np.zeros((6, 7), np.uint8)])
    standardization = Standardization.fit(images)
    rng = np.random.default_rng(0)
    batch, _ = sample_batch(
        dataset, standardization, batch_size=1, crop_size=6, rng=rng, augmented=False
    )
    whole = standardization.transform(images[0])
    assert any(np.array_equal(batch[0], whole[:, left : left + 6]) for left in range(2))


def test_an_image_below_half_the_crop_is_named_with_what_fits():
    dataset = data_of_positions((20, 30), (12, 9))
    check_crop(dataset, 18)
    with pytest.raises(UserError) as caught:
        sample_batch(dataset, UNCHANGED, batch_size=1, crop_size=19, rng=np.random.default_rng(0))
    message = str(caught.value)
    assert "tile1 has 12 x 9 pixels" in message
    assert "crop at most 18" in message


# -- Chances: a recipe that is drawn wrongly still trains, only worse ------------------------------


def shares(values, count):
    """Tell how often each value came."""
    return np.bincount(values, minlength=count) / len(values)


def test_flips_and_turns_are_equally_likely():
    rng = np.random.default_rng(0)
    corners = [int(random_flip(*positions(2, 2), rng)[1][0, 0]) for _ in range(2000)]
    flips = [[0, 1, 1000, 1001].index(corner) for corner in corners]
    np.testing.assert_allclose(shares(flips, 4), 0.25, atol=0.05)
    corners = [int(random_rot90(*positions(2, 2), rng)[1][0, 0]) for _ in range(2000)]
    turns = [[0, 1, 1000, 1001].index(corner) for corner in corners]
    np.testing.assert_allclose(shares(turns, 4), 0.25, atol=0.05)


def test_every_position_of_a_crop_is_equally_likely():
    rng = np.random.default_rng(0)
    corners = [random_crop(*positions(4, 5), (3, 2), rng)[0][0, 0] for _ in range(2000)]
    places = [int(row * 4 + column) for row, column in corners]
    np.testing.assert_allclose(shares(places, 8), 0.125, atol=0.03)


def test_light_grows_brighter_and_darker_stronger_and_weaker_by_up_to_a_fifth():
    """Stretch and shift are uniform between their limits, on both sides, and independent."""
    image = np.array([[[0.0]], [[1.0]]])
    draws = [random_brightness_contrast(image, np.random.default_rng(seed)) for seed in range(2000)]
    shift = np.array([draw[0, 0, 0] for draw in draws])
    stretch = np.array([draw[1, 0, 0] - draw[0, 0, 0] for draw in draws])
    for values, middle in ((stretch, 1), (shift, 0)):
        assert middle - 0.2 <= values.min() < middle - 0.19
        assert middle + 0.19 < values.max() <= middle + 0.2
        assert abs(values.mean() - middle) < 0.01
        assert abs(values.std() - 0.2 / 3**0.5) < 0.01
    assert abs(np.corrcoef(stretch, shift)[0, 1]) < 0.1


def test_every_image_of_a_data_set_is_drawn_equally_often():
    images = [np.full((4, 4, 1), index, dtype=np.uint8) for index in range(6)]
    dataset = Dataset(list("abcdef"), images, [image[..., 0] for image in images])
    options = {"batch_size": 2, "crop_size": 2}
    drawn = [
        sample_batch(
            dataset, Standardization([0], [1]), rng=np.random.default_rng(seed), **options
        )[1]
        for seed in range(1000)
    ]
    classes = np.concatenate(drawn)[:, 0, 0]
    np.testing.assert_allclose(shares(classes, 6), 1 / 6, atol=0.03)
    assert {tuple(labels[:, 0, 0]) for labels in drawn} >= {(0, 5), (5, 0)}  # in any order


def test_a_batch_larger_than_the_data_set_draws_images_again():
    dataset = data_of_positions((4, 5), (6, 4))
    rng = np.random.default_rng(0)
    _, labels = sample_batch(dataset, UNCHANGED, batch_size=7, crop_size=4, rng=rng)
    assert labels.shape == (7, 4, 4)


def test_augmentation_is_on_by_default_and_bends_only_when_asked():
    dataset = data_of_positions((8, 8))

    def draw(**options):
        rng = np.random.default_rng(3)
        options = {"batch_size": 4, "crop_size": 8, "rng": rng} | options
        return sample_batch(dataset, UNCHANGED, **options)

    plain, default, bent = draw(augmented=False), draw(), draw(elastic=True)
    assert all((image == plain[0][0]).all() for image in plain[0])  # the whole image each time
    assert (default[0] != plain[0]).any()
    for labels in default[1]:  # flipped and turned: the same pixels elsewhere
        assert sorted(labels.ravel()) == sorted(plain[1][0].ravel())
    assert any(sorted(labels.ravel()) != sorted(plain[1][0].ravel()) for labels in bent[1])


def test_a_variant_is_not_bent_unless_asked():
    image, mask = positions(9, 7)
    for seed in range(8):
        _, variant = augment(image, mask, np.random.default_rng(seed))
        assert sorted(variant.ravel()) == sorted(mask.ravel())
    dataset = data_of_positions((8, 8))
    options = {"batch_size": 1, "crop_size": 8, "rng": np.random.default_rng(0)}
    _, labels = sample_batch(dataset, UNCHANGED, **options)
    assert sorted(labels[0].ravel()) == sorted(dataset.masks[0].ravel())


# -- Balanced crops --------------------------------------------------------------------------------


def test_a_third_of_the_crops_is_drawn_around_a_pixel_of_an_evenly_drawn_class():
    """One image in four has the rare class, a single pixel; half of the balanced draws go for it.

    So a sixth of all crops hold it for its own sake; the rest hold it as often as by chance.
    """
    masks = [np.zeros((20, 24), np.uint8) for _ in range(4)]
    masks[2][9, 11] = 1
    images = [np.zeros((20, 24, 2), np.float32) for _ in masks]
    dataset = Dataset(list("abcd"), images, masks)
    options = {"batch_size": 4, "crop_size": 5, "augmented": False}
    found, places = {}, []
    for name, pixels in (("uniform", None), ("balanced", ClassPixels(masks, 2))):
        rng = np.random.default_rng(0)
        batches = [
            sample_batch(dataset, UNCHANGED, rng=rng, class_pixels=pixels, **options)[1]
            for _ in range(1500)
        ]
        crops = np.concatenate(batches)
        found[name] = crops.any(axis=(1, 2)).mean()
        places = np.argwhere(crops)[:, 1:]  # of the last kind: balanced
    by_chance = 25 / (16 * 20) / 4
    assert abs(found["uniform"] - by_chance) < 0.01
    assert abs(found["balanced"] - (1 / 6 + 5 / 6 * by_chance)) < 0.02
    hits = np.zeros((5, 5))
    np.add.at(hits, tuple(places.T), 1)
    np.testing.assert_allclose(hits / hits.sum(), 1 / 25, atol=0.02)  # anywhere in the crop


@given(
    height=st.integers(4, 12),
    width=st.integers(4, 12),
    size=st.integers(1, 8),
    seed=st.integers(0, 1000),
)
def test_a_window_around_a_pixel_is_one_of_the_usual_windows_and_holds_the_pixel(
    height, width, size, seed
):
    rng = np.random.default_rng(seed)
    pixel = int(rng.integers(height)), int(rng.integers(width))
    window = random_window(np.zeros((height, width, 1)), size, rng, pixel)
    for part, position, side in zip(window, pixel, (height, width), strict=True):
        assert part.start <= position < part.stop == part.start + size
        assert min(0, side - size) <= part.start <= max(0, side - size)
