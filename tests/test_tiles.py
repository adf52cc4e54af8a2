"""Tiles: together they are the scene, each lies where its name says, and none leaks."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from tinyunet.atomic_io import new_folder, save_text
from tinyunet.data.dataset import load_pairs, read_mask
from tinyunet.data.images import Place, open_raster, read_image
from tinyunet.data.maps import raster_file
from tinyunet.data.pairing import find_pairs
from tinyunet.data.splits import NAME
from tinyunet.data.tiles import cut_tiles, starts
from tinyunet.errors import UserError

SIDES = st.integers(1, 40)


def save_scene(folder, height=50, width=70, classes=3, channels=3, dtype=np.uint8, suffix=".png"):
    """Save a random scene and its mask; returns their paths and arrays."""
    rng = np.random.default_rng(height * 1000 + width)
    scene = rng.integers(0, 256, (height, width, channels)).astype(dtype)
    mask = rng.integers(0, classes, (height, width)).astype(np.uint8)
    (folder / "masks").mkdir()
    scene_path, mask_path = folder / f"north{suffix}", folder / "masks" / "north.png"
    Image.fromarray(scene[:, :, 0] if channels == 1 else scene).save(scene_path)
    Image.fromarray(mask).save(mask_path)
    return scene_path, mask_path, scene, mask


def cut(folder, size=16, **settings):
    scene_path, mask_path, scene, mask = save_scene(folder)
    stems, _ = cut_tiles(scene_path, mask_path, folder / "out", size, **settings)
    dataset = load_pairs(find_pairs(folder / "out" / "images", folder / "out" / "masks"))
    return stems, dataset, scene, mask


def places(stems):
    return [(int(found["row"]), int(found["column"])) for found in map(NAME.fullmatch, stems)]


# --- Where tiles lie ---


@given(st.integers(1, 300), st.integers(1, 80), st.integers(0, 79))
def test_tiles_cover_a_side_and_all_are_whole(length, size, overlap):
    assume(size <= length and overlap < size)
    begins = starts(length, size, overlap)
    assert begins[0] == 0 and begins[-1] == length - size
    steps = np.diff(begins)
    assert (steps > 0).all() and (steps <= size - overlap).all()
    assert (steps[:-1] == size - overlap).all()  # only the last one moved


@pytest.mark.parametrize("overlap", [0, 5])
def test_each_tile_is_the_part_that_its_name_says(tmp_path, overlap):
    stems, dataset, scene, mask = cut(tmp_path, overlap=overlap)
    assert dataset.stems == stems
    for (row, column), image, labels in zip(
        places(stems), dataset.images, dataset.masks, strict=True
    ):
        np.testing.assert_array_equal(image, scene[row : row + 16, column : column + 16])
        np.testing.assert_array_equal(labels, mask[row : row + 16, column : column + 16])
    rows, columns = ([*starts(side, 16, overlap)] for side in mask.shape)
    assert set(places(stems)) == {(row, column) for row in rows for column in columns}


def test_names_sort_in_reading_order(tmp_path):
    stems, _, _, _ = cut(tmp_path)
    assert stems[:2] == ["north_r00_c00", "north_r00_c16"]
    assert stems == sorted(stems)
    assert places(stems) == sorted(places(stems))


@pytest.mark.parametrize(
    ("channels", "dtype", "suffix"),
    [(1, np.uint8, ".png"), (1, np.uint16, ".tif"), (1, np.float32, ".tif"), (4, np.uint8, ".png")],
)
def test_numbers_and_channels_are_kept(tmp_path, channels, dtype, suffix):
    scene_path, mask_path, scene, _ = save_scene(tmp_path, 20, 20, 2, channels, dtype, suffix)
    stems, _ = cut_tiles(scene_path, mask_path, tmp_path / "out", 20)
    (tile,) = (tmp_path / "out" / "images").iterdir()
    assert tile.stem == stems[0]
    image = read_image(tile)
    assert image.dtype == dtype
    np.testing.assert_array_equal(image, scene)


def test_numbers_that_no_png_holds_become_a_tiff(tmp_path):
    scene_path, mask_path, _, mask = save_scene(tmp_path)
    labels = mask.astype(np.int32) - 1
    Image.fromarray(labels).save(mask_path.with_suffix(".tif"))
    cut_tiles(scene_path, mask_path.with_suffix(".tif"), tmp_path / "out", 50)
    tile = read_mask(tmp_path / "out" / "masks" / "north_r00_c20.tif")
    np.testing.assert_array_equal(tile, labels[:, 20:])


@pytest.mark.parametrize("skip_empty", [True, False])
def test_empty_tiles_are_kept_unless_asked_otherwise(tmp_path, skip_empty):
    scene_path, mask_path, _, mask = save_scene(tmp_path)
    mask[:] = 0
    mask[20, 20] = 1
    Image.fromarray(mask).save(mask_path)
    stems, empty = cut_tiles(scene_path, mask_path, tmp_path / "out", 16, skip_empty=skip_empty)
    assert (len(stems), empty) == ((1, 19) if skip_empty else (20, 0))


def test_tiles_of_a_georeferenced_scene_lie_where_they_belong_and_keep_all_they_store(tmp_path):
    _, mask_path, scene, _ = save_scene(tmp_path, channels=4, suffix=".tif")
    place = Place((0.5, 0.0, 1000.0, 0.0, -0.5, 2000.0))
    with raster_file(
        tmp_path / "place.tif", scene.shape, "uint8", place, nodata=7, photometric="rgb", alpha="no"
    ) as file:
        file.write(np.moveaxis(scene, 2, 0))
        file.set_band_description(4, "nir")
    stems, _ = cut_tiles(tmp_path / "place.tif", mask_path, tmp_path / "out", 16)
    for stem, (row, column) in zip(stems, places(stems), strict=True):
        image = open_raster(tmp_path / "out" / "images" / f"{stem}.tif")
        assert image.place == place.shifted(row, column)
        assert image.place.transform[2] == 1000 + column / 2
        assert image.place.transform[5] == 2000 - row / 2
        assert image.band_names == ("red", "green", "blue", "nir") and image.nodata == 7
        np.testing.assert_array_equal(image.pixels(), scene[row : row + 16, column : column + 16])
        labels = open_raster(tmp_path / "out" / "masks" / f"{stem}.tif")
        assert labels.place == image.place and labels.nodata is None


def test_missing_pixels_stay_missing_in_tiles(tmp_path):
    _, mask_path, scene, _ = save_scene(tmp_path)
    valid = np.random.default_rng(0).random(scene.shape[:2]) < 0.8
    with raster_file(tmp_path / "place.tif", scene.shape, "uint8", photometric="rgb") as file:
        file.write(np.moveaxis(scene, 2, 0))
        file.write_mask(valid)
    stems, _ = cut_tiles(tmp_path / "place.tif", mask_path, tmp_path / "out", 16)
    for stem, (row, column) in zip(stems, places(stems), strict=True):
        image = open_raster(tmp_path / "out" / "images" / f"{stem}.tif")
        np.testing.assert_array_equal(image.valid(), valid[row : row + 16, column : column + 16])


def test_several_scenes_go_into_one_folder(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for name in ("east", "west"):
            Image.new("L", (20, 10)).save(tmp_path / kind / f"{name}.png")
    stems, _ = cut_tiles(tmp_path / "images", tmp_path / "masks", tmp_path / "out", 10)
    assert stems == [f"{name}_r00_c{c}" for name in ("east", "west") for c in ("00", "10")]


# --- What does not fit ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 51}, "50 x 70 pixels high and wide: choose a smaller size than 51"),
        ({"size": 0}, "tiles of 0 pixels"),
        ({"size": 16, "overlap": 16}, "can't overlap by 16: choose less"),
        ({"size": 16, "overlap": -1}, "can't overlap by -1: choose less, from 0"),
    ],
)
def test_sizes_that_make_no_tiles_are_refused(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        cut(tmp_path, **settings)
    assert not (tmp_path / "out").exists()


def test_a_mask_of_another_size_is_refused(tmp_path):
    scene_path, mask_path, _, _ = save_scene(tmp_path)
    Image.new("L", (50, 70)).save(mask_path)
    with pytest.raises(UserError, match="has 70 x 50 pixels, but its image north.png has 50 x 70"):
        cut_tiles(scene_path, mask_path, tmp_path / "out", 16)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    scene_path, mask_path, _, _ = save_scene(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    cut_tiles(scene_path, mask_path, out, 16)  # an empty folder will do
    before = sorted(out.rglob("*"))
    with pytest.raises(UserError, match="is not empty"):
        cut_tiles(scene_path, mask_path, out, 20)
    assert sorted(out.rglob("*")) == before
    with pytest.raises(UserError, match="is not empty, or no folder"):
        cut_tiles(scene_path, mask_path, scene_path, 20)


def test_a_scene_of_background_leaves_nothing_to_keep(tmp_path):
    scene_path, mask_path, _, _ = save_scene(tmp_path, classes=1)
    with pytest.raises(UserError, match="nothing but 0"):
        cut_tiles(scene_path, mask_path, tmp_path / "out", 16, skip_empty=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["masks", "north.png"]


def test_a_new_folder_appears_complete_or_not_at_all(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "a" / "out") as folder:
        save_text("half", folder / "a.txt")
        raise KeyboardInterrupt
    assert list((tmp_path / "a").iterdir()) == []
    with new_folder(tmp_path / "a" / "out") as folder:
        save_text("whole", folder / "a.txt")
        assert not (tmp_path / "a" / "out").exists()
    assert (tmp_path / "a" / "out" / "a.txt").read_text() == "whole"
