"""Pictures: colors that can be told apart, nothing clipped, files replaced in one go."""

import csv
import io
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tinyunet.atomic_io import save_picture
from tinyunet.errors import UserError
from tinyunet.plots import pictures
from tinyunet.plots.pictures import (
    IGNORED,
    PALETTE,
    PAPER,
    as_rgb,
    color_distance,
    color_mask,
    palette,
    plot_curves,
    preview,
)

# --- Colors ---


def test_black_and_white_are_100_apart():
    # CIELAB's lightness runs from 0 to 100, whichever cones somebody lacks.
    np.testing.assert_allclose(color_distance((0, 0, 0), (255, 255, 255)), 100, atol=0.1)


def test_red_and_green_are_closer_to_those_who_lack_green_cones():
    red, green = (200, 60, 0), (100, 120, 0)
    without = [pictures._lab(color, np.eye(3)) for color in (red, green)]
    assert color_distance(red, green) < 0.5 * np.linalg.norm(without[0] - without[1])


@pytest.mark.parametrize(("classes", "apart"), [(8, 16), (16, 16), (24, 14)])
def test_colors_can_be_told_apart_by_everybody(classes, apart):
    # A distance of 2 is just noticeable side by side.
    colors = np.array([*palette(classes), IGNORED])
    distance = color_distance(colors[:, np.newaxis], colors)
    assert distance[~np.eye(len(colors), dtype=bool)].min() > apart


@pytest.mark.parametrize("classes", [1, 8, 9, 256, 400])
def test_there_are_colors_for_any_number_of_classes(classes):
    colors = palette(classes)
    assert colors.shape == (classes, 3) and colors.dtype == np.uint8
    np.testing.assert_array_equal(colors[:8], PALETTE[:classes])
    assert len(np.unique(colors, axis=0)) >= min(classes, 256)


def test_more_classes_do_not_change_the_first_colors():
    np.testing.assert_array_equal(palette(12), palette(40)[:12])


def test_a_mask_is_painted_pixel_by_pixel():
    mask = np.array([[0, 3, 1], [255, 2, 0]], dtype=np.uint8)
    painted = color_mask(mask, ignore_index=255)
    assert painted.dtype == np.uint8
    for position, value in np.ndenumerate(mask):
        assert tuple(painted[position]) == (IGNORED if value == 255 else tuple(PALETTE[value]))


def test_a_mask_can_have_colors_of_its_own():
    painted = color_mask(np.array([[0, 1]]), colors=np.array([[1, 2, 3], [4, 5, 6]]))
    np.testing.assert_array_equal(painted, [[[1, 2, 3], [4, 5, 6]]])


@pytest.mark.parametrize("value", [2, -1])
def test_a_class_without_a_color_is_a_user_error(value):
    with pytest.raises(UserError, match="2 colors"):
        color_mask(np.array([[0, value]]), colors=PALETTE[:2])


@given(
    channels=st.integers(1, 6),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.float32, np.float64]),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
)
def test_any_image_becomes_visible(channels, dtype, height, width):
    image = np.random.default_rng(0).uniform(0, 200, (height, width, channels)).astype(dtype)
    rgb = as_rgb(image)
    assert rgb.shape == (height, width, 3) and rgb.dtype == np.uint8
    if dtype == np.uint8:
        np.testing.assert_array_equal(rgb, image[..., :3] if channels > 2 else image[..., [0] * 3])


def test_dark_sixteen_bit_images_are_stretched():
    image = np.linspace(0, 900, 30 * 40).reshape(30, 40, 1).astype(np.uint16)
    rgb = as_rgb(image)
    assert rgb.min() == 0 and rgb.max() == 255


def test_constant_and_missing_values_do_not_disturb():
    assert (as_rgb(np.full((2, 3, 1), 7.0)) == 128).all()
    assert as_rgb(np.array([[np.nan, 1.0, np.inf]])).shape == (1, 3, 3)


# --- Preview ---


def scene(height=40, width=60, classes=3, channels=3):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, channels)).astype(np.uint8)
    return image, rng.integers(0, classes, (height, width)).astype(np.uint8)


def area(picture, color):
    """Count the pixels of a color."""
    return np.count_nonzero((np.asarray(picture) == tuple(color)).all(axis=-1))


def assert_nothing_touches_the_border(picture):
    pixels = np.asarray(picture)
    for edge in (pixels[:4], pixels[-4:], pixels[:, :4], pixels[:, -4:]):
        assert (edge == PAPER).all()


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (300, 20), (1, 1)])
def test_a_preview_fits_its_pictures_and_names(size):
    image, mask = scene(*size)
    names = ["a", "b", "a class with a name that is far longer than the picture is wide, really"]
    picture = preview([(image, mask, mask)] * 2, names, panel=80)
    assert picture.mode == "RGB"
    assert_nothing_touches_the_border(picture)


def test_the_legend_explains_every_class_and_ignored_pixels():
    image, mask = scene(classes=1)
    swatch = 17 * 17
    names = [f"class {index}" for index in range(6)]
    picture = preview([(image, mask, mask)], names)
    assert all(area(picture, color) >= swatch for color in PALETTE[:6])
    assert area(picture, PALETTE[6]) == 0 and area(picture, IGNORED) < swatch
    mask[0, 0] = 255
    assert area(preview([(image, mask, mask)], names, ignore_index=255), IGNORED) >= swatch


def test_of_very_many_classes_the_legend_lists_those_that_occur():
    image, mask = scene(classes=3)
    few = preview([(image, mask, mask)], [f"{index}" for index in range(3)])
    many = preview([(image, mask, mask)], [f"{index}" for index in range(200)])
    assert few.size == many.size


def test_there_are_as_many_columns_as_titles():
    image, mask = scene()
    sizes = [
        preview([(image, *[mask] * count)], ["a"] * 3, titles=["t\nu"] * (count + 1)).width
        for count in (1, 2, 4)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


def test_a_prediction_smaller_than_its_image_is_drawn_to_the_same_scale():
    image, mask = scene(100, 100)
    mask[:] = 1
    picture = preview([(image, mask, mask[20:-20, 20:-20])], ["a", "b"], panel=200)
    # 200 x 200 and 120 x 120 pixels, and the legend's 17 x 17.
    assert area(picture, PALETTE[1]) == 200**2 + 120**2 + 17**2


@pytest.mark.parametrize("font_missing", [False, True])
def test_names_in_any_script_are_drawn(monkeypatch, font_missing):
    if font_missing:
        truetype = pictures.ImageFont.truetype

        def only_pillows_own(font, *arguments, **options):
            if isinstance(font, str):
                raise OSError("cannot open resource")
            return truetype(font, *arguments, **options)

        monkeypatch.setattr(pictures.ImageFont, "truetype", only_pillows_own)
    pictures._font.cache_clear()
    image, mask = scene()
    picture = preview([(image, mask, mask)], ["Gebäude", "森林", "route"])
    assert_nothing_touches_the_border(picture)
    pictures._font.cache_clear()


# --- Curves ---


def record(steps):
    return [
        {"step": step, "loss": 1 / step, "mean_iou": step / (step + 5) if step % 5 == 0 else None}
        for step in range(1, steps + 1)
    ]


@pytest.mark.parametrize("steps", [0, 1, 2, 37, 1000])
def test_curves_are_drawn_from_the_first_step_on(tmp_path, steps):
    plot_curves(record(steps), tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (900, 640)
        assert_nothing_touches_the_border(picture)
    assert os.listdir(tmp_path) == ["curves.png"]


def test_a_csv_file_is_drawn_like_its_numbers(tmp_path):
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["step", "loss", "mean_iou"])
    writer.writeheader()
    writer.writerows(record(20))
    stream.seek(0)
    plot_curves(record(20), tmp_path / "numbers.png")
    plot_curves(csv.DictReader(stream), tmp_path / "csv.png")
    assert (tmp_path / "numbers.png").read_bytes() == (tmp_path / "csv.png").read_bytes()


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 1e30, 0.0, 1e-30])
def test_wild_losses_do_not_spoil_the_picture(tmp_path, loss):
    rows = [*record(30), {"step": 31, "loss": loss, "mean_iou": float("nan")}]
    plot_curves(rows, tmp_path / "some.png")
    plot_curves([{"step": step, "loss": loss} for step in (1, 2)], tmp_path / "all.png")
    assert (tmp_path / "some.png").exists() and (tmp_path / "all.png").exists()


@given(high=st.floats(1e-9, 1e9), count=st.integers(3, 10))
def test_ticks_are_round_and_span_the_values(high, count):
    ticks = np.array(pictures._ticks(0.0, high, count))
    assert ticks[0] == 0 and ticks[-1] >= high * (1 - 1e-6)
    assert 2 <= len(ticks) <= count + 2
    np.testing.assert_allclose(np.diff(ticks), ticks[1], rtol=1e-3)


# --- Files ---


def test_an_array_is_saved_as_it_is(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    save_picture(array, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), array)


class Unfinished(Image.Image):
    """A picture that fails after its first bytes are written, as on a full disk."""

    def save(self, file, *options):
        file.write(b"half a pic")
        raise OSError(28, "No space left on device")


def test_a_picture_that_fails_leaves_the_old_one_and_nothing_else(tmp_path):
    save_picture(np.zeros((5, 7, 3), np.uint8), tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(UserError, match="cannot write .*a.png: No space left"):
        save_picture(Unfinished(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("name", ["missing/a.png", "a.nonsense", "a"])
def test_where_no_picture_can_be_saved_is_a_user_error(tmp_path, name):
    with pytest.raises(UserError, match="cannot write"):
        save_picture(np.zeros((5, 7, 3), np.uint8), tmp_path / name)
    assert os.listdir(tmp_path) == []
