"""The painted scenes are what they promise: the same colors on both sides, and all the classes."""

import numpy as np
import pytest

from tinyunet.data import scenes
from tinyunet.data.scenes import BUILDING, FOREST, GRASS, GRAY, LEAVES, MEADOW, ORCHARD, ROAD
from tinyunet.errors import UserError


@pytest.fixture(scope="module")
def lands():
    """Forty scenes with what lies behind them: (land, photograph)."""
    painted = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        land = scenes.draw_land((192, 192), rng)
        painted.append((land, scenes.photograph(land, rng)))
    return painted


def test_image_and_mask_have_the_size_asked_for():
    image, mask = scenes.paint_scene((97, 150), seed=1)
    assert image.shape == (97, 150, 3) and image.dtype == np.uint8
    assert mask.shape == (97, 150) and mask.dtype == np.uint8
    assert mask.max() < len(scenes.CLASSES)


def test_a_seed_is_a_scene():
    image, mask = scenes.paint_scene((64, 80), seed=7)
    again, mask_again = scenes.paint_scene((64, 80), seed=7)
    other, _ = scenes.paint_scene((64, 80), seed=8)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(mask, mask_again)
    assert (image != other).any()


def test_any_size_with_room_for_a_landscape_can_be_painted():
    for size in ((32, 32), (32, 200), (131, 40)):
        for seed in range(5):
            assert scenes.paint_scene(size, seed)[1].shape == size
    with pytest.raises(UserError, match="20 x 64"):
        scenes.paint_scene((20, 64))


def test_scenes_of_a_data_set_differ_and_repeat():
    data = scenes.paint_scenes(3, (64, 64), seed=5)
    again = scenes.paint_scenes(2, (64, 64), seed=5)
    assert len(data.images) == len(data.masks) == len(set(data.stems)) == 3
    np.testing.assert_array_equal(data.images[1], again.images[1])
    assert (data.images[0] != data.images[1]).any()


def test_every_class_is_in_every_scene_and_often_enough(lands):
    counts = np.array([np.bincount(land.label.ravel(), minlength=5) for land, _ in lands])
    assert (counts > 0).all()
    share = counts.sum(axis=0) / counts.sum()
    assert share.min() > 0.05, dict(zip(scenes.CLASSES, share, strict=True))
    assert share.max() < 0.5, dict(zip(scenes.CLASSES, share, strict=True))


def test_each_class_is_made_of_its_materials_and_no_material_betrays_a_class(lands):
    materials = {ORCHARD: set(), MEADOW: set(), FOREST: set(), BUILDING: set(), ROAD: set()}
    for land, _ in lands:
        for label, found in materials.items():
            found.update(np.unique(land.material[land.label == label]).tolist())
    assert materials == {
        ORCHARD: {GRASS, LEAVES},
        MEADOW: {GRASS},
        FOREST: {GRASS, LEAVES},  # grass in the gaps between the crowns
        BUILDING: {GRAY},
        ROAD: {GRAY},
    }


def test_orchards_are_mostly_grass_and_forests_mostly_leaves(lands):
    leaves = np.concatenate([land.material.ravel() == LEAVES for land, _ in lands])
    label = np.concatenate([land.label.ravel() for land, _ in lands])
    assert 0.15 < leaves[label == ORCHARD].mean() < 0.4
    assert leaves[label == FOREST].mean() > 0.75


@pytest.fixture(scope="module")
def many_lands():
    """Scenes that nobody has photographed yet."""
    return [scenes.draw_land((128, 128), np.random.default_rng([99, k])) for k in range(150)]


PAIRS = [(GRASS, ORCHARD, MEADOW), (LEAVES, ORCHARD, FOREST), (GRAY, BUILDING, ROAD)]


@pytest.mark.parametrize(("material", "one", "other"), PAIRS)
def test_a_material_has_the_same_tones_in_both_its_classes(many_lands, material, one, other):
    """Before light falls on them, the colors of both classes have the same distribution.

    A color is a function of material and tone, plus noise that knows neither class. Each field,
    tree, roof and road draws one tone, so it is the many scenes, not the many pixels, that count.
    """
    tones = {one: [], other: []}
    for land in many_lands:
        for label, values in tones.items():
            found = land.tone[(land.material == material) & (land.label == label)]
            if len(found):
                values.append([found.mean(), (found < 0.33).mean(), (found > 0.67).mean()])
    difference = np.mean(tones[one], axis=0) - np.mean(tones[other], axis=0)
    error = np.hypot(*(np.std(v, axis=0) / np.sqrt(len(v)) for v in tones.values()))
    assert (np.abs(difference) < 3.5 * error).all(), (difference, error)


@pytest.mark.parametrize(("material", "one", "other"), PAIRS)
def test_the_best_guess_from_a_color_is_little_better_than_a_coin(lands, material, one, other):
    """Even in the photograph, with light and shadow, color hardly tells the two classes apart.

    For each of 16 x 16 x 16 colors, half of the scenes say which class is the likelier one (both
    weighing the same); the other half is guessed so. A coin is right in 0.5 of the cases.
    """
    chance = np.full((2, 16**3), 1e-9)
    right = []
    for k, (land, image) in enumerate(lands):
        color = image.astype(int) // 16 @ [256, 16, 1]
        for side, label in enumerate((one, other)):
            found = color[(land.material == material) & (land.label == label)]
            if k < len(lands) // 2:
                chance[side] += np.bincount(found, minlength=16**3)
            else:
                guess = np.argmax(chance / chance.sum(axis=1, keepdims=True), axis=0)
                right.append((side, (guess[found] == side).sum(), len(found)))
    share = [
        sum(r for s, r, _ in right if s == k) / sum(n for s, _, n in right if s == k)
        for k in (0, 1)
    ]
    assert np.mean(share) < 0.65, share


MEANS = [
    [124.95, 141.91, 90.7],
    [121.05, 140.54, 88.08],
    [112.19, 136.34, 82.25],
    [118.5, 141.28, 84.3],
]  # of red, green and blue, in each scene
SPREADS = [[44.12, 35.82, 34.0], [44.0, 34.97, 36.78], [38.5, 30.48, 35.72], [44.51, 34.94, 38.06]]
SHARES = [0.2667, 0.4165, 0.1862, 0.0561, 0.0746]  # of the classes


def test_the_first_scenes_look_as_they_always_did():
    """Demos, figures and the book's numbers rest on them; bits may differ by platform."""
    painted = scenes.paint_scenes(4)
    images, masks = np.stack(painted.images), np.stack(painted.masks)
    assert images.shape == (4, 192, 192, 3)
    means = images.mean(axis=(1, 2))
    spreads = images.std(axis=(1, 2))
    counts = np.bincount(masks.ravel(), minlength=5) / masks.size
    np.testing.assert_allclose(means, MEANS, atol=0.2)
    np.testing.assert_allclose(spreads, SPREADS, atol=0.2)
    np.testing.assert_allclose(counts, SHARES, atol=0.001)
