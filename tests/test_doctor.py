"""The data-set doctor finds what training would stop at, and is silent where all is well."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tinyunet.data.class_table import parse_class_table, read_class_table
from tinyunet.data.dataset import Windowed, load_pairs, read_mask
from tinyunet.data.pairing import find_pairs
from tinyunet.data_checks import examine, save_report
from tinyunet.errors import UserError
from tinyunet.plots.colors import IGNORED, PALETTE, overlay, palette
from tinyunet.plots.pictures import draw_grid, legend_of, shortened

COLORS = np.array([[0x10, 0x20, 0x30], [0xFF, 0, 0], [0, 0, 0]], dtype=np.uint8)


def scene(seed, size=96, classes=3):
    """Rectangles of different light, with noise: an image (H, W, 3) and its mask."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((size, size), dtype=np.uint8)
    for index in range(30):
        top, left = rng.integers(0, size - 8, 2)
        mask[top : top + rng.integers(4, 20), left : left + rng.integers(4, 20)] = index % classes
    light = np.array([60, 130, 200, 90])[mask][:, :, np.newaxis]
    image = (light + rng.normal(0, 12, (size, size, 3))).clip(0, 255).astype(np.uint8)
    return image, mask


def make_set(folder, count=4, first=0, change_image=None, change_mask=None, **scene_settings):
    """Save scenes as folder/images and folder/masks, each changed as asked; returns both."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for index in range(first, first + count):
        image, mask = scene(index, **scene_settings)
        for name, array, change in (
            ("images", image, change_image),
            ("masks", mask, change_mask),
        ):
            changed = change(array, index) if change else array
            if not isinstance(changed, Image.Image):
                changed = Image.fromarray(changed)
            changed.save(folder / name / f"s{index}.png")
    return folder / "images", folder / "masks"


def found(findings, words):
    """Find the one problem or warning that holds these words."""
    (text,) = [str(text) for text in findings if words in str(text)]
    return text


def masks_of(folder):
    return [read_mask(path) for path in sorted(folder.iterdir())]


# --- Where all is well ---


def test_good_data_gives_no_finding(tmp_path):
    assert (report := examine(*make_set(tmp_path))).problems == report.warnings == []


def test_the_report_counts_the_classes(tmp_path):
    images, masks = make_set(tmp_path)
    report = examine(images, masks)
    counts = np.bincount(np.concatenate([mask.ravel() for mask in masks_of(masks)]))
    np.testing.assert_array_equal(report.pixels, counts)
    lines = report.text().splitlines()
    for index in range(3):
        (line,) = [line for line in lines if line.startswith(f"class {index}")]
        share = f"{100 * counts[index] / counts.sum():.2f} %"
        said = f"{counts[index]:,} pixels {share} in 4 images"
        assert " ".join(line.split()) == f"class {index}: {index} {said}"
    assert "4 pairs" in lines[0] and "RGB of uint8, 96 x 96 pixels" in lines[1]


def test_findings_are_in_the_report_with_problems_first(tmp_path):
    images, masks = make_set(tmp_path, change_mask=lambda mask, index: mask * (mask != 2))
    (masks / "s1.png").unlink()
    (images / "s2.png").write_bytes(b"")
    report = examine(images, masks)
    text = " ".join(report.text().split())
    said = [f"PROBLEM: {problem}." for problem in report.problems]
    said += [f"WARNING: {warning}." for warning in report.warnings]
    assert len(said) == 2 and text.endswith(" ".join(said))
    assert "1 problem, 1 warning" in text


# --- What training would refuse ---


def test_files_without_partner_are_named(tmp_path):
    images, masks = make_set(tmp_path)
    (images / "s0.png").rename(images / "other.png")
    report = examine(images, masks)
    assert "other.png" in found(report.warnings, "1 image without mask")
    assert "s0.png" in found(report.warnings, "1 mask without image")


def test_each_broken_file_is_a_problem_and_the_rest_is_examined(tmp_path):
    images, masks = make_set(tmp_path)
    (images / "s0.png").write_bytes(b"")
    (masks / "s1.png").write_bytes(b"no picture")
    report = examine(images, masks)
    assert "is empty" in found(report.problems, "s0.png")
    assert "is not an image" in found(report.problems, "s1.png")
    assert report.dataset.stems == ["s2", "s3"] and report.pixels.sum() == 2 * 96 * 96


def test_pairs_that_do_not_fit_are_problems_with_their_names(tmp_path):
    images, masks = make_set(tmp_path, change_mask=lambda mask, i: mask[: 90 + 6 * (i > 0)])
    assert "s0.png: has 90 x 96 pixels" in found(examine(images, masks).problems, "s0")


def test_images_of_another_kind_than_the_first_are_problems(tmp_path):
    def change(image, index):
        return [image, image[:, :, 0].astype(np.uint16) * 257, image][index]

    problem = found(examine(*make_set(tmp_path, 3, change_image=change)).problems, "s1.png")
    assert "is gray of uint16, and RGB of uint8 is needed" in problem


@pytest.mark.parametrize(("size", "refused"), [(128, False), (64, False), (63, True)])
def test_images_below_half_a_crop_are_a_problem(tmp_path, size, refused):
    report = examine(*make_set(tmp_path, count=2, size=size))
    assert bool(report.problems) == refused
    if refused:
        assert "half the crop of 128" in found(report.problems, "s0")


def test_crops_that_the_network_cannot_halve_are_a_problem(tmp_path):
    folders = make_set(tmp_path, count=2)
    assert not examine(*folders, depth=3, crop_size=24).problems
    assert found(examine(*folders, depth=4, crop_size=24).problems, "24 is not divisible by 16")


def test_ambiguous_masks_are_a_problem_with_the_table_that_could_be_meant(tmp_path):
    images, masks = make_set(tmp_path, change_mask=lambda mask, i: COLORS[mask])
    report = examine(images, masks)
    assert found(report.problems, "colored (3 colors)")
    assert "A class table that could be meant:" in report.text()
    save_report(report, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "classes.txt",
        "report.txt",
    ]
    proposal = (tmp_path / "out" / "classes.txt").read_text()
    assert "#ff0000" in proposal and "#102030" in proposal and "class 0: 0" in proposal
    table = read_class_table(tmp_path / "out" / "classes.txt")
    accepted = examine(images, masks, table=table)
    assert not accepted.problems
    assert accepted.pixels.sum() == 4 * 96 * 96


def test_values_that_a_table_does_not_list_are_a_problem_with_a_mask(tmp_path):
    images, masks = make_set(tmp_path)
    report = examine(images, masks, table=parse_class_table("a: 0\nb: 1"))
    assert "does not list" in found(report.problems, "s0.png: holds 2")


def test_what_is_ignored_has_no_share(tmp_path):
    report = examine(*make_set(tmp_path), ignore=0)
    assert report.table.names == ("class 1", "class 2")
    assert "ignore" in report.text()
    assert 0 < report.pixels.sum() < 4 * 96 * 96


def test_masks_of_which_nothing_counts_are_a_problem(tmp_path):
    table = parse_class_table("a: 7\nb: 8\nignore: 0 1 2")
    assert found(examine(*make_set(tmp_path), table=table).problems, "every pixel")


def test_missing_data_are_counted_once_it_is_said_what_transparency_means(tmp_path):
    def change(image, index):
        return np.dstack([image, np.full(image.shape[:2], 255 * (index > 0), np.uint8)])

    images, masks = make_set(tmp_path, change_image=change)
    assert "--alpha valid" in found(examine(images, masks).problems, "s0.png")
    report = examine(images, masks, alpha="valid")
    assert "25.00 % of the pixels are missing data" in report.text()
    assert not report.problems and not report.warnings


# --- How much of each class ---


def test_a_single_class_is_a_problem(tmp_path):
    images, masks = make_set(tmp_path, change_mask=lambda mask, index: mask * 0)
    for table in (None, parse_class_table("a: 0\nb: 1")):
        assert found(examine(images, masks, table=table).problems, "single class")


# --- Training and validation ---


def test_the_validation_set_is_read_through_the_table_of_the_training_set(tmp_path):
    levels = np.array([0, 100, 200], np.uint8)
    training = make_set(tmp_path / "t", change_mask=lambda mask, i: levels[mask])
    validation = make_set(
        tmp_path / "v", first=9, change_mask=lambda mask, i: levels[mask * (mask != 1)]
    )
    table = parse_class_table("class 0: 0\nclass 1: 100\nclass 2: 200")
    report = examine(*training, val_images=validation[0], val_masks=validation[1], table=table)
    assert not report.problems and len(report.warnings) == 1
    assert found(report.warnings, "not in the validation set: class 1")
    report = examine(*validation, val_images=training[0], val_masks=training[1])
    problems = [*map(str, report.problems)]
    assert len(problems) == 4 and "does not list" in problems[0]
    assert all(problem.startswith("in the validation set: ") for problem in problems)


def test_the_same_image_on_both_sides_is_a_leak_whatever_its_format(tmp_path):
    images, masks = make_set(tmp_path / "train")
    val_images, val_masks = make_set(tmp_path / "val", count=3, first=10)
    with Image.open(images / "s1.png") as picture:
        picture.convert("RGBA").save(val_images / "s11.png")
    with Image.open(images / "s2.png") as picture:
        picture.save(val_images / "s10.tif")
        picture.save(val_images / "s12.jpg", quality=85)
    (val_images / "s10.png").unlink()
    (val_images / "s12.png").unlink()
    report = examine(images, masks, val_images=val_images, val_masks=val_masks)
    assert "(s10 as s2, s11 as s1)" in found(report.problems, "2 images both in training and in")


def test_different_images_are_no_leak(tmp_path):
    images, masks = make_set(tmp_path / "train")
    val_images, val_masks = make_set(tmp_path / "val", first=4)
    report = examine(images, masks, val_images=val_images, val_masks=val_masks)
    assert report.problems == report.warnings == []


def test_folders_that_make_no_sense_are_refused(tmp_path):
    images, masks = make_set(tmp_path / "a", count=1)
    with pytest.raises(UserError, match="both or none"):
        examine(images, masks, val_images=images)
    with pytest.raises(UserError, match="no such folder"):
        examine(images, tmp_path / "missing")


# --- The contact sheet, and anything at all ---


def test_the_contact_sheet_shows_pairs_spread_over_the_set(tmp_path, monkeypatch):
    shown = []

    def note(rows, names, ignore_index):
        shown.extend(title for (title, _), _ in rows)
        return draw_grid(rows, names, ignore_index)

    monkeypatch.setattr("tinyunet.data_checks.draw_grid", note)
    monkeypatch.setattr("tinyunet.data_checks.SHOWN", 3)
    save_report(examine(*make_set(tmp_path, count=9)), tmp_path / "out")
    assert shown == ["s0", "s4", "s8"]


def test_a_report_is_saved_with_its_contact_sheet(tmp_path):
    report = examine(*make_set(tmp_path, count=3))
    save_report(report, tmp_path / "out" / "deep")
    assert (tmp_path / "out" / "deep" / "report.txt").read_text() == report.text()
    with Image.open(tmp_path / "out" / "deep" / "contact_sheet.png") as sheet:
        assert sheet.width > 400 and sheet.height > 700


def test_a_scene_by_windows_gives_the_same_report(tmp_path):
    rasterio = pytest.importorskip("rasterio", reason="needs the extra 'geo'")
    image, mask = scene(0, size=300)
    image[:30] = 77
    for name, array in (("image", image), ("mask", mask[:, :, None])):
        shape = dict(zip(("height", "width", "count"), array.shape, strict=True))
        place = {"transform": rasterio.Affine(1, 0, 5, 0, -1, 9), "nodata": 77}
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", dtype="uint8", **shape, **place
        ) as file:
            file.write(np.moveaxis(array, 2, 0))
    files = tmp_path / "image.tif", tmp_path / "mask.tif"
    whole, windowed = examine(*files), examine(*files, cache=0)
    assert isinstance(windowed.dataset.images[0], Windowed)
    assert "10.00 % of the pixels are missing data" in whole.text()
    assert whole.text() == windowed.text() and whole.digests == windowed.digests
    save_report(windowed, tmp_path / "out")


def test_a_class_has_the_color_of_the_legend_on_dark_and_light():
    image, mask = scene(0)
    painted = overlay(image // 4, mask)
    for index in range(3):
        mean = painted[mask == index].mean(axis=0)
        np.testing.assert_allclose(mean, PALETTE[index], atol=4)
    np.testing.assert_array_equal(overlay(image * 0, mask, 0)[mask == 0][0], IGNORED)


@pytest.mark.parametrize("classes", [0, 2, 8, 40])
@pytest.mark.parametrize("ignore_index", [None, 0, 1, 255, -1])
def test_a_contact_sheet_has_a_legend_for_any_number_of_classes(classes, ignore_index):
    image, mask = scene(0, size=40, classes=2)
    names = [f"class {index}" for index in range(classes)]
    sheet = draw_grid([[("a", image), ("b", image, mask)]] * 2, names, ignore_index)
    assert sheet.width > 1.8 * 240 and sheet.height > 1.8 * 240


def test_a_contact_sheet_may_have_colors_of_its_own_in_masks_and_legend():
    image, mask = scene(0, size=40)
    names = ["a", "b", "c"]
    sheet = np.asarray(draw_grid([[("a", image, mask)]], names))
    own = palette(3)[::-1]
    same = draw_grid([[("a", image, mask)]], names, colors=palette(3))
    np.testing.assert_array_equal(same, sheet)
    changed = draw_grid([[("a", image, mask)]], names, colors=own)
    assert (np.asarray(changed) != sheet).any()
    assert [tuple(color) for _, color in legend_of(names, [mask], None, own)] == [*map(tuple, own)]
    painted = overlay(image, mask, colors=own)
    np.testing.assert_allclose(painted[mask == 0].mean(axis=0), own[0], atol=4)


def test_long_names_are_cut_in_the_middle():
    assert shortened("north") == "north"
    assert shortened("a_very_long_name_of_a_scene_0012") == "a_very_long...scene_0012"


def as_file(array, suffix, mode):
    picture = Image.fromarray(array)
    file = io.BytesIO()
    picture.convert(mode).save(file, suffix)
    return file.getvalue()


PICTURES = [
    as_file(np.random.default_rng(0).integers(0, 3, (h, w), dtype=np.uint8) * 60, suffix, mode)
    for h, w in ((1, 1), (40, 50))
    for suffix, mode in (
        ("PNG", "L"),
        ("PNG", "1"),
        ("PNG", "P"),
        ("PNG", "RGBA"),
        ("PNG", "LA"),
        ("PNG", "I;16"),
        ("JPEG", "RGB"),
        ("TIFF", "F"),
        ("TIFF", "CMYK"),
    )
]
FILES = st.one_of(
    st.sampled_from(PICTURES),
    st.tuples(st.sampled_from(PICTURES), st.integers(0, 200)).map(lambda cut: cut[0][: cut[1]]),
    st.binary(max_size=30),
)


@given(st.lists(st.tuples(FILES, FILES), min_size=1, max_size=4), st.sampled_from([None, 0, 255]))
@pytest.mark.filterwarnings("ignore")
def test_whatever_the_files_hold_there_is_a_report(tmp_path_factory, files, ignore_index):
    folder = tmp_path_factory.mktemp("any")
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    for index, (image, mask) in enumerate(files):
        (folder / "images" / f"{index}.png").write_bytes(image)
        (folder / "masks" / f"{index}.png").write_bytes(mask)
    for table in (None, parse_class_table("ground: 0\nroof: 60 #ff0000\nignore: *")):
        report = examine(folder / "images", folder / "masks", table=table, ignore=ignore_index)
        save_report(report, folder / "out")
        pairs = find_pairs(folder / "images", folder / "masks")
        refused = bool(report.problems)
        try:
            load_pairs(pairs, table, ignore=ignore_index)
        except UserError as error:
            assert "\n" not in str(error)
            assert refused, f"nothing was found, but training would say: {error}"
