"""Georeference: what is read is written again, and a part of an image lies where it should."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from tinyunet.data.georeference import (
    DOUBLE,
    KEY_DIRECTORY,
    KEY_DOUBLES,
    KEY_TEXTS,
    NODATA,
    PIXEL_SCALE,
    SHORT,
    TAG_TYPES,
    TEXT,
    TIEPOINT,
    TRANSFORMATION,
    Georeference,
    read_georeference,
    save_georeferenced,
)
from tinyunet.errors import UserError

# ETRS89 / UTM zone 32N, pixels of 20 cm, with north up: as of an orthophoto.
UTM_KEYS = (1, 1, 0, 4, 1024, 0, 1, 1, 1025, 0, 1, 1, 1026, 34737, 9, 0, 3072, 0, 1, 25832)
NORTH_UP = (0.2, 0.0, 680000.0, 0.0, -0.2, 5238000.0)
TURNED = (0.2, 0.05, 680000.0, 0.04, -0.2, 5238000.0)
UTM = {KEY_DIRECTORY: UTM_KEYS, KEY_TEXTS: "UTM 32N|"}

NUMBERS = st.floats(-1e7, 1e7, allow_subnormal=False)


def picture(height=4, width=6):
    return np.arange(height * width, dtype=np.uint8).reshape(height, width)


def save_tiff(path, tags):
    """Save a TIFF with these tags, whatever they hold: tag -> (type, value)."""
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, (kind, value) in tags.items():
        directory.tagtype[tag] = kind
        directory[tag] = value
    Image.fromarray(picture()).save(path, tiffinfo=directory)
    return path


def stored_tags(path):
    with Image.open(path) as image:
        return {tag: image.tag_v2[tag] for tag in TAG_TYPES if tag in image.tag_v2}


# --- TIFF ---


def test_a_geotiff_keeps_its_tags(tmp_path):
    path = save_tiff(
        tmp_path / "scene.tif",
        {
            PIXEL_SCALE: (DOUBLE, (0.2, 0.2, 0.0)),
            TIEPOINT: (DOUBLE, (0.0, 0.0, 0.0, 680000.0, 5238000.0, 0.0)),
            KEY_DIRECTORY: (SHORT, UTM_KEYS),
            KEY_DOUBLES: (DOUBLE, (6378137.0, 298.25)),
            KEY_TEXTS: (TEXT, "UTM 32N|"),
            NODATA: (TEXT, "0"),
        },
    )
    georeference = read_georeference(path)
    assert georeference.transform == NORTH_UP
    assert georeference.system == "EPSG:25832"
    save_georeferenced(picture(), tmp_path / "map.tif", georeference)
    assert stored_tags(tmp_path / "map.tif") == stored_tags(path)
    assert read_georeference(tmp_path / "map.tif") == georeference
    np.testing.assert_array_equal(Image.open(tmp_path / "map.tif"), picture())
    # All of it is inside the file.
    assert sorted(file.name for file in tmp_path.iterdir()) == ["map.tif", "scene.tif"]


def test_the_missing_value_of_an_image_is_not_that_of_its_map(tmp_path):
    georeference = Georeference(NORTH_UP, nodata="0").without_nodata()
    save_georeferenced(picture(), tmp_path / "map.tif", georeference)
    assert NODATA not in stored_tags(tmp_path / "map.tif")


def test_a_turned_image_is_stored_as_a_matrix(tmp_path):
    save_georeferenced(picture(), tmp_path / "map.tif", Georeference(TURNED, UTM, "EPSG:25832"))
    tags = stored_tags(tmp_path / "map.tif")
    assert tags[TRANSFORMATION][:8] == (0.2, 0.05, 0.0, 680000.0, 0.04, -0.2, 0.0, 5238000.0)
    assert PIXEL_SCALE not in tags and TIEPOINT not in tags
    assert read_georeference(tmp_path / "map.tif").transform == TURNED


def test_a_tie_point_may_be_any_pixel(tmp_path):
    tie = (10.0, 20.0, 0.0, 680002.0, 5237996.0, 0.0)
    tags = {PIXEL_SCALE: (DOUBLE, (0.2, 0.2, 0.0)), TIEPOINT: (DOUBLE, tie)}
    georeference = read_georeference(save_tiff(tmp_path / "scene.tif", tags))
    np.testing.assert_allclose(georeference.transform, NORTH_UP, rtol=1e-12)


def test_where_points_mean_centers_the_corner_is_half_a_pixel_off(tmp_path):
    keys = (1, 1, 0, 1, 1025, 0, 1, 2)
    tags = {
        PIXEL_SCALE: (DOUBLE, (0.2, 0.4, 0.0)),
        TIEPOINT: (DOUBLE, (0.0, 0.0, 0.0, 100.0, 200.0, 0.0)),
        KEY_DIRECTORY: (SHORT, keys),
    }
    georeference = read_georeference(save_tiff(tmp_path / "scene.tif", tags))
    np.testing.assert_allclose(georeference.transform, (0.2, 0, 99.9, 0, -0.4, 200.2))
    save_georeferenced(picture(), tmp_path / "map.tif", georeference)
    np.testing.assert_allclose(stored_tags(tmp_path / "map.tif")[TIEPOINT][3:5], (100, 200))


@given(st.tuples(*[NUMBERS] * 6), st.integers(0, 10**5), st.integers(0, 10**5))
def test_a_part_lies_where_its_pixels_lay(transform, row, column):
    a, b, c, d, e, f = transform
    assume(a * e - b * d != 0)
    part = Georeference(transform).shifted(row, column).transform
    assert part[2] == pytest.approx(a * column + b * row + c)
    assert part[5] == pytest.approx(d * column + e * row + f)
    assert (part[0], part[1], part[3], part[4]) == (a, b, d, e)


@given(st.tuples(*[NUMBERS] * 6), st.sampled_from([".tif", ".TIFF", ".png", ".jpg", ".jpeg"]))
def test_any_transform_comes_back(tmp_path_factory, transform, suffix):
    a, b, c, d, e, f = transform
    assume(abs(a * e - b * d) > 1e-9)
    path = tmp_path_factory.mktemp("geo") / f"map{suffix}"
    save_georeferenced(picture(), path, Georeference(transform))
    # Going to the center of a pixel and back rounds.
    np.testing.assert_allclose(read_georeference(path).transform, transform, rtol=1e-9, atol=1e-8)


# --- World files ---


@pytest.mark.parametrize(
    ("name", "world_name"),
    [
        ("a.tif", "a.tfw"),
        ("a.tif", "a.TFW"),
        ("a.tiff", "a.tiffw"),
        ("a.png", "a.pgw"),
        ("a.jpg", "a.jgw"),
        ("a.jpeg", "a.jgw"),
        ("a b.c.png", "a b.c.pngw"),
        ("é.png", "é.wld"),
    ],
)
def test_a_world_file_is_read(tmp_path, name, world_name):
    Image.fromarray(picture()).save(tmp_path / name)
    (tmp_path / world_name).write_text("0.2\n0\n0\n-0.2\n680000.1\n5237999.9\n")
    (tmp_path / world_name).with_suffix(".prj").write_text('PROJCS["somewhere"]\n')
    georeference = read_georeference(tmp_path / name)
    np.testing.assert_allclose(georeference.transform, NORTH_UP, rtol=1e-12)
    assert georeference.system == 'PROJCS["somewhere"]'


def test_beside_a_png_stand_a_world_file_and_the_system(tmp_path):
    save_georeferenced(picture(), tmp_path / "map.png", Georeference(TURNED, UTM, "EPSG:25832"))
    lines = [float(line) for line in (tmp_path / "map.pgw").read_text().splitlines()]
    # The center of the first pixel: half a pixel right and half a pixel down.
    np.testing.assert_allclose(lines, [0.2, 0.04, 0.05, -0.2, 680000.125, 5237999.92], rtol=1e-12)
    assert "<SRS>EPSG:25832</SRS>" in (tmp_path / "map.png.aux.xml").read_text()
    georeference = read_georeference(tmp_path / "map.png")
    np.testing.assert_allclose(georeference.transform, TURNED)
    assert georeference.system == "EPSG:25832"


def test_a_system_in_words_travels_into_a_tiff_and_on(tmp_path):
    system = 'PROJCS["<here> & there"]'
    save_georeferenced(picture(), tmp_path / "map.tif", Georeference(NORTH_UP, system=system))
    again = read_georeference(tmp_path / "map.tif")
    assert again == Georeference(NORTH_UP, system=system)


def test_gdals_notes_are_read_and_overrule(tmp_path):
    save_georeferenced(picture(), tmp_path / "a.tif", Georeference(NORTH_UP, UTM, "EPSG:25832"))
    (tmp_path / "a.tif.aux.xml").write_text(
        "<PAMDataset><SRS>EPSG:31254</SRS>"
        "<GeoTransform> 5.0, 2.0, 0.0, 7.0, 0.0, -2.0</GeoTransform></PAMDataset>"
    )
    assert read_georeference(tmp_path / "a.tif") == Georeference(
        (2.0, 0.0, 5.0, 0.0, -2.0, 7.0), system="EPSG:31254"
    )


# --- No place, or a broken one ---


def test_a_plain_image_has_none(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    assert read_georeference(tmp_path / "a.png") is None
    save_georeferenced(picture(), tmp_path / "b.png", None)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    "text", ["", "1\n2\n", "0\n0\n0\n0\n5\n5\n", "nan\n0\n0\n-1\n5\n5\n", "no numbers at all 1 2"]
)
def test_a_world_file_without_sense_is_none(tmp_path, text):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text(text)
    assert read_georeference(tmp_path / "a.png") is None


@given(st.binary(max_size=60), st.sampled_from(["a.tif", "a.tfw", "a.prj", "a.tif.aux.xml"]))
def test_random_bytes_are_no_reason_to_fail(tmp_path_factory, content, name):
    folder = tmp_path_factory.mktemp("geo")
    Image.fromarray(picture()).save(folder / "a.tif")
    (folder / name).write_bytes(content)
    read_georeference(folder / "a.tif")


@given(
    st.dictionaries(
        st.sampled_from(sorted(TAG_TYPES)),
        st.one_of(
            st.tuples(st.just(SHORT), st.lists(st.integers(0, 65535), min_size=1).map(tuple)),
            st.tuples(st.just(DOUBLE), st.lists(st.floats(), min_size=1, max_size=17).map(tuple)),
            st.tuples(st.just(TEXT), st.text(st.characters(codec="ascii"), min_size=1)),
        ),
    )
)
def test_tags_of_any_kind_are_read_and_written_again(tmp_path_factory, tags):
    folder = tmp_path_factory.mktemp("geo")
    georeference = read_georeference(save_tiff(folder / "a.tif", tags))
    save_georeferenced(picture(), folder / "b.tif", georeference)
    save_georeferenced(picture(), folder / "b.png", georeference)
    assert (read_georeference(folder / "b.tif") is None) == (georeference is None)


def test_an_image_that_is_stored_turned_loses_its_place_with_a_warning(tmp_path):
    tags = {
        PIXEL_SCALE: (DOUBLE, (0.2, 0.2, 0.0)),
        TIEPOINT: (DOUBLE, (0.0, 0.0, 0.0, 100.0, 200.0, 0.0)),
    }
    path = save_tiff(tmp_path / "a.tif", {**tags, 274: (SHORT, 6)})
    with pytest.warns(UserWarning, match="turned or mirrored"):
        assert read_georeference(path) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_georeference(save_tiff(tmp_path / "b.tif", {**tags, 274: (SHORT, 1)}))


def test_where_nothing_can_be_written_it_says_so(tmp_path):
    for name in ("a.tif", "a.png"):
        with pytest.raises(UserError, match="missing"):
            save_georeferenced(picture(), tmp_path / "missing" / name, Georeference(NORTH_UP))
