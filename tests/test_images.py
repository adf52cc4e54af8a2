"""The reader: which pixels are data, what the numbers mean, and who is needed to read a file."""

import sys
import warnings
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from tinyunet.data.dataset import load_pairs
from tinyunet.data.images import (
    ImageFormat,
    Place,
    extremes,
    in_format,
    open_raster,
    prepare,
    raster_of,
)
from tinyunet.data.maps import raster_file
from tinyunet.data.pairing import find_pairs
from tinyunet.errors import UserError
from tinyunet.nn.standardization import Standardization

H, W = 20, 30
PLACE = Place((10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0))


def numbers(channels=3, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(1, 250, (H, W, channels)).astype(dtype)


def geotiff(path, image, valid=None, place=PLACE, **keywords):
    """Write an image with rasterio; with `valid`, an internal mask."""
    path.parent.mkdir(exist_ok=True)
    with raster_file(path, image.shape, image.dtype, place, **keywords) as file:
        file.write(np.moveaxis(image, 2, 0))
        if valid is not None:
            file.write_mask(valid)
    return path


# --- Which pixels are data ---


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", 0), ("uint8", 255), ("uint16", 0), ("int16", -9999), ("float32", -9999.0)],
)
def test_nodata_is_no_data(tmp_path, dtype, nodata):
    image = numbers(2, dtype)
    image[3:7, 5:9] = nodata
    raster = open_raster(geotiff(tmp_path / "a.tif", image, nodata=nodata))
    expected = np.ones((H, W), bool)
    expected[3:7, 5:9] = False
    np.testing.assert_array_equal(raster.valid(), expected)
    np.testing.assert_array_equal(raster.valid(slice(4, 9), slice(0, 6)), expected[4:9, 0:6])


def test_one_dark_band_is_data_but_one_missing_float_is_not(tmp_path):
    colors = numbers()
    colors[0, 0, 1] = 0
    assert open_raster(geotiff(tmp_path / "a.tif", colors, nodata=0)).valid().all()
    heights = numbers(2, np.float32)
    heights[0, 0, 1] = -9999
    valid = open_raster(geotiff(tmp_path / "b.tif", heights, nodata=-9999)).valid()
    assert not valid[0, 0] and valid.sum() == H * W - 1


def test_internal_masks_tell_what_is_data(tmp_path):
    expected = np.random.default_rng(0).random((H, W)) < 0.7
    raster = open_raster(geotiff(tmp_path / "a.tif", numbers(), expected, photometric="rgb"))
    np.testing.assert_array_equal(raster.valid(), expected)


@pytest.mark.parametrize("by_gdal", [False, True])
def test_nan_infinity_and_the_smallest_number_are_no_data(tmp_path, by_gdal):
    image = numbers(1, np.float32)
    image[0, 0], image[5, 5], image[7, 7] = np.nan, np.inf, np.finfo(np.float32).min
    path = tmp_path / "a.tif"
    if by_gdal:
        geotiff(path, image)
    else:
        Image.fromarray(image[:, :, 0]).save(path)
    valid = open_raster(path).valid()
    assert not valid[[0, 5, 7], [0, 5, 7]].any() and valid.sum() == H * W - 3


def test_missing_pixels_enter_no_mean_have_no_label_and_become_the_mean(tmp_path):
    image, mask = numbers(2, np.float32), np.arange(H * W).reshape(H, W).astype(np.uint8) % 2
    image[:5] = -9999
    geotiff(tmp_path / "images" / "a.tif", image, nodata=-9999)
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    dataset = load_pairs(find_pairs(tmp_path / "images", tmp_path / "masks"))
    standardization = Standardization.fit(dataset.valid_pixels())
    np.testing.assert_allclose(standardization.mean, image[5:].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(standardization.std, image[5:].std((0, 1)), rtol=1e-4)
    shown = standardization.transform(dataset.images[0], dataset.valid[0])
    assert (shown[:5] == 0).all() and np.abs(shown[5:].mean()) < 1e-5
    assert (dataset.masks[0][:5] == 255).all()
    np.testing.assert_array_equal(dataset.masks[0][5:], mask[5:])


def test_a_scene_that_is_read_by_windows_holds_the_same_as_one_in_memory(tmp_path):
    image, valid = numbers(), np.random.default_rng(1).random((H, W)) < 0.9
    geotiff(tmp_path / "images" / "a.tif", image, valid, photometric="rgb")
    geotiff(tmp_path / "masks" / "a.tif", image[:, :, :1] % 3)
    pairs = find_pairs(tmp_path / "images", tmp_path / "masks")
    whole, windowed = load_pairs(pairs), load_pairs(pairs, cache=0)
    part = slice(2, 11), slice(7, 30)
    for name in ("images", "masks", "valid"):
        first, second = getattr(whole, name)[0], getattr(windowed, name)[0]
        assert isinstance(first, np.ndarray) and not isinstance(second, np.ndarray)
        assert first.shape == second.shape and first.dtype == second.dtype
        np.testing.assert_array_equal(first[part], second[part])
        np.testing.assert_array_equal(first[::3, ::4], second[::3, ::4])
    for first, second in zip(whole.valid_pixels(), windowed.valid_pixels(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_as_many_images_stay_in_memory_as_the_cache_has_room_for(tmp_path):
    for name in "abc":
        geotiff(tmp_path / "images" / f"{name}.tif", numbers(), photometric="rgb")
        geotiff(tmp_path / "masks" / f"{name}.tif", numbers(1) % 3)
    pairs = find_pairs(tmp_path / "images", tmp_path / "masks")
    each = H * W * (3 + 2)  # bytes of three channels, of the label and of what is valid
    for room, whole in ((3 * each, 3), (3 * each - 1, 2), (each, 1), (0, 0)):
        images = load_pairs(pairs, cache=room).images
        assert [isinstance(image, np.ndarray) for image in images] == [k < whole for k in range(3)]


# --- Transparency and bands ---


def test_opaque_alpha_is_dropped_and_any_other_must_be_explained(tmp_path):
    image = numbers(4)
    image[:, :, 3] = 255
    Image.fromarray(image).save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(
        prepare(open_raster(tmp_path / "opaque.png")).pixels(), image[:, :, :3]
    )
    image[4, 5, 3] = 0
    Image.fromarray(image).save(tmp_path / "clear.png")
    raster = open_raster(tmp_path / "clear.png")
    with pytest.raises(UserError, match="partly transparent.*--alpha valid"):
        prepare(raster)
    assert prepare(raster, alpha="channel").shape == (H, W, 4)
    dropped, valid = prepare(raster, alpha="drop"), prepare(raster, alpha="valid")
    assert dropped.shape == valid.shape == (H, W, 3)
    assert dropped.valid().all() and valid.valid().sum() == H * W - 1 and not valid.valid()[4, 5]


def test_near_infrared_is_never_alpha(tmp_path):
    image = numbers(4)
    path = geotiff(tmp_path / "a.tif", image, photometric="rgb", alpha="no")
    raster = prepare(open_raster(path))
    assert raster.band_names == ("red", "green", "blue", "band 4")
    chosen = prepare(open_raster(path), bands=[4, 1, 2])
    np.testing.assert_array_equal(chosen.pixels(), image[:, :, [3, 0, 1]])
    assert chosen.band_names == ("band 4", "red", "green") and chosen.color == "bands"
    with pytest.raises(UserError, match="has the bands 1 to 4"):
        prepare(open_raster(path), bands=[5])


# --- What a number means ---


def formats_of(tmp_path):
    """Save one image of each kind; gives name to path."""
    image = numbers()
    Image.fromarray(image).save(tmp_path / "rgb.png")
    Image.fromarray(image[:, :, 0]).save(tmp_path / "gray.png")
    Image.fromarray(image[:, :, 0].astype(np.uint16)).save(tmp_path / "gray16.png")
    Image.fromarray(image[:, :, 0] / np.float32(255)).save(tmp_path / "float.tif")
    Image.fromarray(image[:, :, 0] > 99).save(tmp_path / "bits.png")
    Image.fromarray(image).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(image).quantize(9).save(tmp_path / "palette.png")
    geotiff(tmp_path / "nir.tif", numbers(4), photometric="rgb", alpha="no")
    geotiff(tmp_path / "rgb16.tif", numbers(3, np.uint16), photometric="rgb")
    return {path.stem: path for path in tmp_path.iterdir() if path.is_file()}


CONVERTED = {
    ("rgb", "gray"),
    ("rgb", "palette"),
    ("palette", "rgb"),
    ("palette", "gray"),
    ("rgb16", "gray16"),
}


@pytest.mark.filterwarnings("ignore:gray images")
def test_another_kind_of_image_is_refused_with_both_kinds(tmp_path):
    paths = formats_of(tmp_path)
    for trained, path in paths.items():
        wanted = ImageFormat.of(prepare(open_raster(path)))
        assert ImageFormat(**asdict(wanted)) == wanted
        for shown, other in paths.items():
            if shown == trained or (trained, shown) in CONVERTED:
                assert in_format(open_raster(other), wanted).shape[2] == len(wanted.band_names)
            else:
                with pytest.raises(UserError) as caught:
                    in_format(open_raster(other), wanted)
                assert str(other) in str(caught.value) and str(wanted) in str(caught.value)


def test_gray_becomes_rgb_with_the_same_in_all_three(tmp_path):
    paths = formats_of(tmp_path)
    wanted = ImageFormat.of(open_raster(paths["rgb"]))
    shown = in_format(open_raster(paths["gray"]), wanted).pixels()
    np.testing.assert_array_equal(shown, np.repeat(numbers()[:, :, :1], 3, axis=2))


def test_bands_in_another_order_are_refused(tmp_path):
    def with_names(name, names):
        path = tmp_path / name
        with raster_file(path, (H, W, 3), "uint16", PLACE) as file:
            file.write(np.moveaxis(numbers(3, np.uint16), 2, 0))
            for band, description in enumerate(names, start=1):
                file.set_band_description(band, description)
        return open_raster(path)

    wanted = ImageFormat.of(with_names("a.tif", ("B8", "B4", "B3")))
    with pytest.raises(UserError, match="B3, B4, B8.*B8, B4, B3"):
        in_format(with_names("b.tif", ("B3", "B4", "B8")), wanted)
    assert in_format(with_names("c.tif", ("b8", "b4", "b3")), wanted)


# --- Scales ---


def dim(factor, dtype=np.float32):
    """Make an image that reaches this share of 255, with all that lies below."""
    pixels = 255 * np.random.default_rng(0).beta(2, 2, (H, W, 3))
    pixels[0, 0], pixels[0, 1] = 0, 255
    return raster_of((factor * pixels).astype(dtype), f"dim {factor:g}.tif")


@pytest.mark.parametrize(
    ("trained", "shown", "dtype", "apart"),
    [
        (1 / 255, 1, np.float32, True),
        (1, 1 / 255, np.float32, True),
        (257, 1, np.uint16, True),
        (1, 0.1, np.float32, False),
        (1, 0, np.float32, False),
        (257, 20, np.uint16, False),
    ],
)
def test_numbers_of_another_scale_get_a_note_with_both_and_a_dark_image_does_not(
    trained, shown, dtype, apart
):
    wanted = ImageFormat.of(dim(trained, dtype))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        in_format(dim(shown, dtype), wanted)
    said = [str(each.message) for each in caught]
    assert len(said) == apart
    for text in said:
        assert f"dim {shown:g}.tif: its numbers end at {255 * shown:g}" in text
        assert f"{255 * trained:g}; if" in text


def test_the_extremes_are_those_of_the_data():
    pixels = np.full((H, W), 7, np.float32)
    pixels[0, 0], pixels[1, 1], pixels[2, 2] = np.nan, np.inf, -3
    assert extremes(raster_of(pixels, "a")) == (-3, 7)
    assert extremes(raster_of(pixels * np.nan, "a")) == (0, 0)


@pytest.mark.parametrize("mark", [-9999, -32768])
def test_a_number_that_seems_to_mark_missing_data_is_named(mark):
    pixels = numbers().astype(np.int16)
    raster = raster_of(pixels, "dem.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        in_format(raster, ImageFormat.of(raster))
    pixels[2, 3] = mark
    with pytest.warns(UserWarning, match=f"dem.tif: its lowest number is {mark}; if it marks"):
        in_format(raster, ImageFormat.of(raster))


# --- Without rasterio, and broken files ---


def test_without_rasterio_a_special_file_is_refused_with_what_is_special(tmp_path, monkeypatch):
    geotiff(tmp_path / "geo.tif", numbers())
    with raster_file(tmp_path / "planes.tif", (H, W, 3), "uint8", interleave="band") as file:
        file.write(np.moveaxis(numbers(), 2, 0))
    Image.fromarray(numbers()).save(tmp_path / "plain.tif")
    Image.fromarray(numbers()).save(tmp_path / "placed.png")
    (tmp_path / "placed.pgw").write_text("1\n0\n0\n-1\n0\n0\n")
    for name in ("rasterio", "rasterio.enums", "rasterio.features", "rasterio.warp"):
        monkeypatch.setitem(sys.modules, name, None)
    assert open_raster(tmp_path / "plain.tif").shape == (H, W, 3)
    for name, special in (
        ("geo.tif", "has the tag ModelPixelScaleTag"),
        ("planes.tif", "has the tag PlanarConfiguration 2"),
        ("placed.png", "has placed.pgw beside it"),
    ):
        with pytest.raises(UserError) as caught:
            open_raster(tmp_path / name)
        message = str(caught.value)
        assert name in message and special in message
        assert "pip install 'tinyunet[geo]'" in message and "\n" not in message


def test_an_image_with_a_world_file_has_a_place_and_its_own_pixels(tmp_path):
    Image.fromarray(numbers()).save(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text("2\n0\n0\n-2\n101\n199\n")
    raster = open_raster(tmp_path / "a.png")
    assert raster.place == Place((2.0, 0.0, 100.0, 0.0, -2.0, 200.0))
    np.testing.assert_array_equal(raster.pixels(), numbers())


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_cut_geotiff_is_named_in_one_line(tmp_path, share):
    path = geotiff(tmp_path / "a.tif", numbers())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError) as caught:
        open_raster(path).pixels()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


# --- Image and mask belong together ---


def pair_of(tmp_path, image_place, mask_place, crs=(None, None)):
    geotiff(tmp_path / "images" / "a.tif", numbers(), place=image_place, crs=crs[0])
    geotiff(tmp_path / "masks" / "a.tif", numbers(1) % 2, place=mask_place, crs=crs[1])
    return find_pairs(tmp_path / "images", tmp_path / "masks")


@pytest.mark.parametrize(("column", "row"), [(300, 0), (0, -2), (0.02, 0), (0.5, 0.5)])
def test_places_that_differ_are_refused_with_how_far_they_are_apart(tmp_path, column, row):
    pairs = pair_of(tmp_path, PLACE, PLACE.shifted(row, column))
    with pytest.raises(UserError, match=f"{column:.4g} pixels to the right and {row:.4g} down"):
        load_pairs(pairs)


def test_a_hundredth_of_a_pixel_is_no_difference(tmp_path):
    assert len(load_pairs(pair_of(tmp_path, PLACE, PLACE.shifted(0.009, 0)))) == 1


def test_another_pixel_size_is_refused(tmp_path):
    coarse = Place((10.01, 0.0, 500000.0, 0.0, -10.0, 5000000.0))
    with pytest.raises(UserError, match="0.03 pixels to the right"):
        load_pairs(pair_of(tmp_path, PLACE, coarse))


def test_coordinate_systems_that_differ_are_named_with_both(tmp_path):
    pairs = pair_of(tmp_path, PLACE, PLACE, ("EPSG:32633", "EPSG:32632"))
    with pytest.raises(UserError, match="EPSG:32632, and EPSG:32633 is that of its image a.tif"):
        load_pairs(pairs)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_image_that_exif_data_turn_and_its_mask_not_are_refused(tmp_path, orientation):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    picture = Image.fromarray(numbers())
    exif = picture.getexif()
    exif[274] = orientation
    picture.save(tmp_path / "images" / "a.png", exif=exif)
    Image.fromarray(numbers(1)[:, :, 0] % 2).save(tmp_path / "masks" / "a.png")
    pairs = find_pairs(tmp_path / "images", tmp_path / "masks")
    with pytest.raises(UserError, match="a.png: its EXIF data say that it is to be turned"):
        load_pairs(pairs)
