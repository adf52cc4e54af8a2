"""Pictures: colors that can be told apart, what they show, files replaced in one go."""

import csv
import io
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.color_vision import color_distance
from tinyunet.atomic_io import save_picture
from tinyunet.errors import UserError
from tinyunet.plots.colors import IGNORED, PALETTE, as_rgb, color_mask, overlay, palette
from tinyunet.plots.pictures import draw_grid, legend_of, plot_curves, points, thinned

# --- Colors ---


def test_black_and_white_are_100_apart():
    # CIELAB's lightness runs from 0 to 100, whichever cones somebody lacks.
    np.testing.assert_allclose(color_distance((0, 0, 0), (255, 255, 255)), 100, atol=0.1)


def test_red_and_green_are_closer_to_those_who_lack_green_cones():
    red, green = (200, 60, 0), (100, 120, 0)
    assert color_distance(red, green) < 0.5 * color_distance(red, green, visions=["common"])


@pytest.mark.parametrize(("classes", "apart"), [(8, 16), (16, 16), (24, 14)])
def test_colors_can_be_told_apart_by_everybody(classes, apart):
    # A distance of 2 is just noticeable side by side.
    colors = np.array([*palette(classes), IGNORED])
    distance = color_distance(colors[:, np.newaxis], colors)
    assert distance[~np.eye(len(colors), dtype=bool)].min() > apart


@pytest.mark.parametrize("classes", [1, 8, 9, 24, 256])
def test_there_are_colors_for_any_number_of_classes(classes):
    colors = palette(classes)
    assert colors.shape == (classes, 3) and colors.dtype == np.uint8
    np.testing.assert_array_equal(colors[:24], PALETTE[:classes])
    assert len(np.unique(colors, axis=0)) == min(classes, 24)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64])
def test_a_mask_is_painted_pixel_by_pixel(dtype):
    mask = np.array([[0, 3, 1], [25, 2, 0]], dtype=dtype)
    painted = color_mask(mask, ignore_index=2)
    assert painted.dtype == np.uint8
    for position, value in np.ndenumerate(mask):
        assert tuple(painted[position]) == (IGNORED if value == 2 else tuple(palette(26)[value]))


@pytest.mark.parametrize("ignore_index", [-1, 255])
def test_ignored_pixels_are_gray(ignore_index):
    painted = color_mask(np.array([[0, ignore_index]]), ignore_index)
    np.testing.assert_array_equal(painted, [[PALETTE[0], IGNORED]])


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
    assert np.ptp(as_rgb(np.full((2, 3, 1), 7.0))) == 0
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
        assert (edge == 255).all()


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (300, 20), (1, 1), (2000, 3)])
def test_a_preview_fits_its_pictures_and_names(size):
    image, mask = scene(*size)
    names = ["a", "b", "a class with a name that is far longer than the picture is wide, really"]
    row = [("image", image), ("mask", mask), ("both", image, mask)]
    picture = draw_grid([row] * 2, names, panel=80)
    assert picture.mode == "RGB"
    assert_nothing_touches_the_border(picture)


def test_a_picture_of_one_color_fills_its_panel():
    mask = np.full((50, 100), 4)
    picture = draw_grid([[("a", mask), ("b", color_mask(mask))]], panel=200)
    np.testing.assert_allclose(area(picture, PALETTE[4]), 2 * 100 * 200, rtol=0.1)


def test_a_mask_over_its_image_is_drawn_as_their_overlay():
    image, mask = scene(60, 80, classes=2)
    colors = PALETTE[[6, 7]]
    drawn = draw_grid([[("both", image, mask)]], colors=colors, panel=160)
    painted = draw_grid([[("both", overlay(image, mask, colors=colors))]], panel=160)
    np.testing.assert_array_equal(np.asarray(drawn), np.asarray(painted))


def test_large_images_are_thinned_before_they_are_drawn():
    image, mask = scene(1000, 30)
    [small, its_mask] = thinned([image, mask], 100)
    assert small.shape == (100, 3, 3) and thinned([mask], 1000)[0].shape == mask.shape
    np.testing.assert_array_equal(its_mask, mask[::10, ::10])


def test_the_legend_explains_every_class_and_ignored_pixels():
    mask = np.arange(24, dtype=np.uint8).reshape(4, 6) % 6
    names = [f"class {index}" for index in range(6)]
    entries = legend_of(names, [mask], ignore_index=255)
    assert [name for name, _ in entries] == names
    np.testing.assert_array_equal([color for _, color in entries], PALETTE[:6])
    mask[0, 0] = 255
    name, color = legend_of(names, [mask], ignore_index=255)[-1]
    assert name == "ignored, or no data" and tuple(color) == IGNORED


def test_a_class_that_is_ignored_is_in_the_legend_once_and_gray():
    names = [name for name, _ in legend_of(["a", "b"], [np.array([[0, 1]])], ignore_index=0)]
    assert names == ["a (ignored)", "b"]


def test_the_legend_lists_the_classes_that_occur():
    names = [f"class {index}" for index in range(200)]
    entries = legend_of(names, [np.array([[3, 100]]), np.array([[7]])])
    assert [name for name, _ in entries] == ["class 3", "class 7", "class 100"]


@pytest.mark.parametrize("name", ["Gebäude", "森林", "$x^2$ is $", "_hidden", "$\\frac{$", ""])
def test_names_of_any_letters_are_drawn(name):
    image, mask = scene()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = draw_grid([[(name, image), ("$a$", mask), ("c", mask)]], [name, "a"])
    assert_nothing_touches_the_border(picture)


def test_a_swatch_in_the_legend_has_the_color_of_its_class():
    mask = np.zeros((40, 40), int)
    mask[0, :3] = 1, 2, 3  # too few pixels to be seen in the grid
    colors = PALETTE[[7, 3, 4, 5]]
    picture = draw_grid([[("a", mask)]], ["-", "a", "$b$ $", "_c"], colors=colors)
    assert all(area(picture, color) > 100 for color in PALETTE[3:6])


# --- Curves ---


def record(steps):
    return [
        {
            "step": step,
            "loss": 1 / step,
            "val_loss": 2 / step if step % 5 == 0 else None,
            "val_mean_iou": step / (step + 5) if step % 5 == 0 else None,
        }
        for step in range(1, steps + 1)
    ]


@pytest.mark.parametrize("steps", [0, 1, 2, 37, 1000])
def test_curves_are_drawn_from_the_first_step_on(tmp_path, steps):
    plot_curves(record(steps), tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 800 and picture.height > 550
        assert_nothing_touches_the_border(picture)
    assert os.listdir(tmp_path) == ["curves.png"]


def test_a_csv_file_is_drawn_like_its_numbers(tmp_path):
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["step", "loss", "val_loss", "val_mean_iou"])
    writer.writeheader()
    writer.writerows(record(20))
    stream.seek(0)
    plot_curves(record(20), tmp_path / "numbers.png")
    plot_curves(csv.DictReader(stream), tmp_path / "csv.png")
    assert (tmp_path / "numbers.png").read_bytes() == (tmp_path / "csv.png").read_bytes()


@pytest.mark.parametrize("column", ["loss", "val_loss", "val_mean_iou"])
def test_each_column_has_a_curve(tmp_path, column):
    rows = record(40)
    plot_curves(rows, tmp_path / "before.png")
    plot_curves([row | {column: 0.5} for row in rows], tmp_path / "after.png")
    assert (tmp_path / "before.png").read_bytes() != (tmp_path / "after.png").read_bytes()


def test_what_was_not_measured_is_skipped():
    rows = [{"step": step, "a": value} for step, value in enumerate([1, "", None, "nan", "2.5"])]
    np.testing.assert_array_equal(points([*rows, {"step": 9}], "a"), [[0, 4], [1, 2.5]])
    assert points(rows, "b").shape == (2, 0)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 1e30, 0.0, 1e-30, -1.0])
def test_wild_losses_do_not_spoil_the_picture(tmp_path, loss):
    rows = [*record(30), {"step": 31, "loss": loss, "val_mean_iou": float("nan")}]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_curves(rows, tmp_path / "some.png")
        plot_curves([{"step": step, "loss": loss} for step in (1, 2)], tmp_path / "all.png")
    assert (tmp_path / "some.png").exists() and (tmp_path / "all.png").exists()


# --- Matplotlib's settings and imports ---


def test_the_style_of_the_program_neither_changes_a_picture_nor_is_changed(tmp_path):
    import matplotlib

    plot_curves(record(20), tmp_path / "plain.png")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 20}):
        plot_curves(record(20), tmp_path / "styled.png")
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "styled.png").read_bytes()


def test_matplotlib_is_imported_only_when_something_is_drawn():
    code = (
        "import sys, tinyunet.cli.main, tinyunet.plots.pictures; print('matplotlib' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_drawing_makes_no_figure_of_pyplot():
    code = (
        "import sys, numpy; from tinyunet.plots.pictures import draw_grid;"
        "draw_grid([[('b', numpy.zeros((4, 4), int))]], ['a']);"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


# --- Files ---


def test_an_array_is_saved_as_it_is(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    save_picture(array, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), array)


class Unfinished(Image.Image):
    """A picture that fails after its first bytes are written, as on a full disk."""

    def save(self, path):
        path.write_bytes(b"half a pic")
        raise OSError(28, "No space left on device")


def test_a_picture_that_fails_leaves_the_old_one_and_nothing_else(tmp_path):
    save_picture(np.zeros((5, 7, 3), np.uint8), tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(UserError, match="cannot write .*a.png: No space left"):
        save_picture(Unfinished(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]


def test_where_no_picture_can_be_saved_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        save_picture(np.zeros((5, 7, 3), np.uint8), tmp_path / "missing" / "a.png")
    assert os.listdir(tmp_path) == []
