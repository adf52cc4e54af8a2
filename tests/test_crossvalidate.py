"""Cross-validation: which tiles are in which fold, and the scores that follow."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_training import blobs, write_folders
from tinyunet.cli.main import main
from tinyunet.data.dataset import Dataset
from tinyunet.data.splits import cut_into_tiles, folds_of
from tinyunet.errors import UserError

SMALL = "--steps 3 --batch-size 2 --crop-size 16 --depth 1 --base-channels 2 --device cpu".split()


def scenes(*sizes):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (*size, 3)).astype(np.uint8) for size in sizes]
    masks = [rng.integers(0, 2, size).astype(np.uint8) for size in sizes]
    return Dataset([f"scene{index}" for index in range(len(sizes))], images, masks)


def number_the_pixels(dataset):
    """Give each pixel of each image a number of its own, in place of its class."""
    start = 0
    for index, mask in enumerate(dataset.masks):
        dataset.masks[index] = start + np.arange(mask.size).reshape(mask.shape)
        start += mask.size
    return dataset


def pixels_of(dataset):
    """List the numbers of the pixels."""
    return np.concatenate([mask.ravel() for mask in dataset.masks])


shapes = st.lists(st.tuples(st.integers(20, 90), st.integers(20, 90)), min_size=1, max_size=3)


@given(shapes, st.integers(8, 20), st.integers(2, 4), st.sampled_from(["random", "spatial"]))
def test_every_tile_is_judged_once_and_by_a_network_that_has_not_seen_it(sizes, side, count, split):
    tiles = cut_into_tiles(number_the_pixels(scenes(*sizes)), side)
    parts = folds_of(tiles, split, count, seed=0)
    judged = np.concatenate([pixels_of(test) for _, test in parts])
    assert len(judged) == len(set(judged)) and set(judged) == set(pixels_of(tiles))
    for training, test in parts:
        assert not set(pixels_of(training)) & set(pixels_of(test))
        assert len(training) + len(test) == len(tiles)
        assert abs(len(test) - len(tiles) / count) < 1


@given(shapes, st.integers(8, 20))
def test_tiles_are_named_by_their_place_and_only_narrow_edges_are_lost(sizes, side):
    dataset = scenes(*sizes)
    tiles = cut_into_tiles(dataset, side)
    for stem, image, mask in zip(tiles.stems, tiles.images, tiles.masks, strict=True):
        scene, row, column = stem.rsplit("_", 2)
        source = dataset.images[dataset.stems.index(scene)]
        top, left = int(row[1:]), int(column[1:])
        expected = source[top : top + mask.shape[0], left : left + mask.shape[1]]
        np.testing.assert_array_equal(image, expected)
        assert 2 * min(mask.shape) >= side
    kept = [
        sum(n // side * side + (n % side if 2 * (n % side) >= side else 0) for n in [h])
        * (w // side * side + (w % side if 2 * (w % side) >= side else 0))
        for h, w in sizes
    ]
    assert sum(mask.size for mask in tiles.masks) == sum(kept)
    assert cut_into_tiles(tiles, 3) is tiles  # they are tiles already


def test_spatial_folds_are_strips_along_the_longer_side():
    tiles = cut_into_tiles(scenes((32, 160)), 16)
    columns = [
        sorted({int(stem.split("_c")[1]) for stem in test.stems})
        for _, test in folds_of(tiles, "spatial", 5, seed=0)
    ]
    assert columns == [[0, 16], [32, 48], [64, 80], [96, 112], [128, 144]]
    tall = cut_into_tiles(scenes((160, 32)), 16)
    first = folds_of(tall, "spatial", 5, seed=0)[0][1]
    assert {stem.split("_")[1] for stem in first.stems} == {"r0", "r16"}


def test_of_several_scenes_a_spatial_fold_takes_whole_ones():
    tiles = cut_into_tiles(scenes((32, 32), (32, 32), (32, 32)), 16)
    for number, (training, test) in enumerate(folds_of(tiles, "spatial", 3, seed=0)):
        assert {stem.split("_")[0] for stem in test.stems} == {f"scene{number}"}
        assert len(training) == 8


def test_random_folds_mix_places_and_repeat_with_the_seed():
    tiles = cut_into_tiles(scenes((64, 64)), 8)
    one, two, other = (folds_of(tiles, "random", 4, seed)[0][1].stems for seed in (0, 0, 1))
    assert one == two != other
    assert len({stem.split("_")[1] for stem in one}) > 4


def test_tiles_that_overlap_a_spatial_fold_train_no_network():
    dataset = number_the_pixels(scenes((20, 100)))
    places = [
        (f"a_r0_c{left}", 0, slice(0, 20), slice(left, left + 20)) for left in range(0, 81, 10)
    ]
    tiles = dataset.parts(places)
    for training, test in folds_of(tiles, "spatial", 3, seed=0):
        assert not set(pixels_of(training)) & set(pixels_of(test))
        assert len(training) + len(test) < len(tiles)
    overlaps = [
        set(pixels_of(training)) & set(pixels_of(test))
        for training, test in folds_of(tiles, "random", 3, seed=0)
    ]
    assert any(overlaps)


@given(shapes, st.integers(0, 12))
def test_a_strip_lies_between_a_spatial_fold_and_the_tiles_that_train(sizes, buffer):
    dataset = scenes(*sizes)
    tiles = cut_into_tiles(dataset, 8)
    whole = {stem: mask.shape for stem, mask in zip(dataset.stems, dataset.masks, strict=True)}
    spatial = folds_of(tiles, "spatial", 2, 0, buffer)
    for training, test in spatial:
        near = {stem: np.zeros(shape, bool) for stem, shape in whole.items()}
        inside = {stem: np.zeros(shape, bool) for stem, shape in whole.items()}
        for stem, mask in zip(test.stems, test.masks, strict=True):
            scene, row, column = stem.rsplit("_", 2)
            top, left = int(row[1:]), int(column[1:])
            bottom, right = top + mask.shape[0], left + mask.shape[1]
            beside = np.s_[max(top - buffer, 0) : bottom + buffer]
            near[scene][beside, max(left - buffer, 0) : right + buffer] = True
            inside[scene][top:bottom, left:right] = True
        expected = set()
        for stem, mask in zip(tiles.stems, tiles.masks, strict=True):
            scene, row, column = stem.rsplit("_", 2)
            window = near[scene][int(row[1:]) :, int(column[1:]) :]
            if not window[: mask.shape[0], : mask.shape[1]].any():
                expected.add(stem)
        assert set(training.stems) == expected
    random = folds_of(tiles, "random", 2, 0, buffer)
    for (by_place, _), (drawn, test) in zip(spatial, random, strict=True):
        assert len(drawn) == min(len(by_place), len(tiles) - len(test))
        assert not set(drawn.stems) & set(test.stems)


def test_a_strip_that_leaves_nothing_to_train_on_is_refused():
    with pytest.raises(UserError, match="away from a fold: choose a smaller --depth"):
        folds_of(cut_into_tiles(scenes((32, 64)), 16), "spatial", 2, 0, buffer=60)


def test_fewer_tiles_than_folds_are_refused():
    with pytest.raises(UserError, match="4 tiles are too few for 5 folds"):
        folds_of(cut_into_tiles(scenes((32, 32)), 16), "random", 5, seed=0)


def test_the_command_leaves_scores_and_a_sentence(tmp_path, capsys):
    write_folders(tmp_path, blobs(size=(36, 52)))
    arguments = [tmp_path / "images", tmp_path / "masks", "--out", tmp_path / "out", *SMALL]
    assert main(["crossvalidate", *map(str, arguments), "--folds", "3"]) == 0
    said = capsys.readouterr().out
    assert said.count("of each fold") == 2
    report = json.loads((tmp_path / "out" / "crossvalidation.json").read_text())
    for split in ("random", "spatial"):
        # 36 x 52 in tiles of 16: 2 and 3 whole ones; the rest of 4 pixels is too narrow.
        assert np.sum(report[split]["confusion"]) == 6 * 32 * 48
        assert len(report[split]["mean_iou_of_folds"]) == 3
        assert f"mean IoU {report[split]['mean_iou']:.4f}; of each fold" in said
    assert report["difference"] == report["random"]["mean_iou"] - report["spatial"]["mean_iou"]
    assert f"The random split flatters by {report['difference']:.3f}: it promises" in said


def test_one_split_alone_is_measured_for_a_scene_and_its_mask(tmp_path, capsys):
    write_folders(tmp_path, scenes((33, 112)))
    pair = [tmp_path / "images" / "scene0.png", tmp_path / "masks" / "scene0.png"]
    arguments = [*pair, "--out", tmp_path / "out", *SMALL, "--folds", "2", "--split", "spatial"]
    assert main(["crossvalidate", *map(str, arguments)]) == 0
    assert "flatter" not in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "crossvalidation.json").read_text())
    assert list(report) == ["spatial"]


@pytest.mark.parametrize(
    "wrong", [["--split", "both"], ["--split", "random,random"], ["--folds", "1"]]
)
def test_what_makes_no_sense_is_refused_in_one_line(tmp_path, wrong, capsys):
    write_folders(tmp_path, blobs())
    arguments = [tmp_path / "images", tmp_path / "masks", "--out", tmp_path / "out", *wrong]
    assert main(["crossvalidate", *map(str, arguments)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
