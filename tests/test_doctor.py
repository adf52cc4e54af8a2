"""The data-set doctor finds what training would stop at, and is silent where all is well."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tinyunet.data.class_table import parse_class_table, read_class_table
from tinyunet.data.dataset import load_pairs, read_mask
from tinyunet.data.pairing import find_pairs
from tinyunet.data.weight_maps import suggest_class_weights
from tinyunet.data_checks import draw_contact_sheet, examine, save_report
from tinyunet.data_checks.alignment import REACH, Shift, agreement, best_shift
from tinyunet.errors import UserError
from tinyunet.plots.colors import IGNORED, PALETTE, overlay, palette
from tinyunet.plots.pictures import contact_sheet, legend_of, shortened

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


def titles(report, *severities):
    return [finding.title for finding in report.findings if finding.severity in severities]


def found(report, words):
    """Find the one finding whose title holds these words."""
    (finding,) = [finding for finding in report.findings if words in finding.title]
    return finding


def masks_of(folder):
    return [read_mask(path) for path in sorted(folder.iterdir())]


# --- Where all is well ---


def test_good_data_gives_no_problem_and_no_warning(tmp_path):
    report = examine(*make_set(tmp_path), depth=4)
    assert titles(report, "problem", "warning") == []
    assert titles(report, "note") == ["4 images smaller than a crop of 128"]


def test_the_report_counts_the_classes_and_suggests_weights(tmp_path):
    images, masks = make_set(tmp_path)
    report = examine(images, masks)
    counts = np.bincount(np.concatenate([mask.ravel() for mask in masks_of(masks)]))
    np.testing.assert_array_equal(report.classes.counts.sum(axis=0), counts)
    text = report.text()
    for count, weight in zip(counts, suggest_class_weights(counts), strict=True):
        assert f"{count:,}" in text and f"{weight:.3f}" in text
        assert f"{100 * count / counts.sum():.2f} %" in text
    assert "4 pairs" in text and "96 x 96 (4)" in text and "1 / sqrt(share)" in text


def test_every_finding_says_what_to_do(tmp_path):
    images, masks = make_set(tmp_path, change_mask=lambda mask, index: mask * (mask != 2))
    (masks / "s1.png").unlink()
    Image.new("L", (3, 3)).save(images / "lone.png")
    report = examine(images, masks)
    text = " ".join(report.text().split())
    assert len(report.findings) >= 3
    for severity, title, advice in report.findings:
        assert f"{severity.upper()}: {title} {advice}" in text
        assert advice.endswith(".")
    order = [("problem", "warning", "note").index(finding.severity) for finding in report.findings]
    assert order == sorted(order)


# --- Files ---


def test_files_without_partner_are_named(tmp_path):
    images, masks = make_set(tmp_path)
    (images / "s0.png").rename(images / "other.png")
    report = examine(images, masks)
    assert "other.png" in found(report, "1 image without a mask").advice
    assert "s0.png" in found(report, "1 mask without an image").advice


def test_broken_files_are_named_and_the_rest_is_examined(tmp_path):
    images, masks = make_set(tmp_path)
    (images / "s0.png").write_bytes(b"")
    (masks / "s1.png").write_bytes(b"no picture")
    report = examine(images, masks)
    advice = found(report, "2 files cannot be used").advice
    assert "s0.png" in advice and "s1.png" in advice
    assert len(report.classes.stems) == 3


def test_an_image_of_one_color_is_told(tmp_path):
    images, masks = make_set(tmp_path, change_image=lambda image, i: image * (i > 0))
    assert "s0.png" in found(examine(images, masks), "1 image of a single color").advice


def test_tiles_of_a_scene_want_a_spatial_split(tmp_path):
    images, masks = make_set(tmp_path, count=2)
    for folder in (images, masks):
        for index in range(2):
            (folder / f"s{index}.png").rename(folder / f"north_r000_c{96 * index:03}.png")
    assert "--val-split spatial" in found(examine(images, masks), "tiles of a scene").advice


# --- What training would refuse ---


def test_pairs_that_do_not_fit_are_problems_with_their_names(tmp_path):
    images, masks = make_set(tmp_path, change_mask=lambda mask, i: mask[: 90 + 6 * (i > 0)])
    assert (
        "s0.png: has 90 x 96 pixels"
        in found(examine(images, masks), "1 file cannot be used").advice
    )


def test_images_of_different_kinds_are_a_problem(tmp_path):
    def change(image, index):
        return [image, image[:, :, 0], image[:, :, 0].astype(np.uint16) * 257, image][index]

    finding = found(examine(*make_set(tmp_path, change_image=change)), "different kinds")
    assert finding.severity == "problem"
    for kind in ("RGB of uint8: s0, s3", "gray of uint8: s1", "gray of uint16: s2"):
        assert kind in finding.advice


@pytest.mark.parametrize(
    ("size", "severity"), [(128, None), (127, "note"), (64, "note"), (63, "problem")]
)
def test_images_below_half_a_crop_are_a_problem_and_above_are_mirrored(tmp_path, size, severity):
    report = examine(*make_set(tmp_path, count=2, size=size))
    small = [finding.severity for finding in report.findings if "smaller than" in finding.title]
    assert small == ([severity] if severity else [])


def test_ambiguous_masks_are_a_problem_with_the_table_that_could_be_meant(tmp_path):
    images, masks = make_set(tmp_path, change_mask=lambda mask, i: COLORS[mask])
    report = examine(images, masks)
    assert found(report, "The masks are colored (3 colors)").severity == "problem"
    save_report(report, tmp_path / "out")
    proposal = (tmp_path / "out" / "classes.txt").read_text()
    assert "#ff0000" in proposal and "#102030" in proposal and "background: 0" in proposal
    table = read_class_table(tmp_path / "out" / "classes.txt")
    accepted = examine(images, masks, table=table)
    assert not titles(accepted, "problem")
    assert accepted.classes.counts.sum() == 4 * 96 * 96


def test_values_that_a_table_does_not_list_are_a_problem_with_a_mask(tmp_path):
    images, masks = make_set(tmp_path)
    table = parse_class_table("a: 0\nb: 1")
    finding = found(examine(images, masks, table=table), "does not list: 2 in s0")
    assert finding.severity == "problem"


def test_what_is_ignored_has_no_share_and_no_weight(tmp_path):
    report = examine(*make_set(tmp_path), ignore_index=0)
    assert report.classes.table.names == ("class 1", "class 2")
    assert "ignore" in report.text()
    assert report.classes.counts.sum() < 4 * 96 * 96


def test_the_validation_set_is_read_through_the_table_of_the_training_set(tmp_path):
    levels = np.array([0, 100, 200], np.uint8)
    training = make_set(tmp_path / "t", change_mask=lambda mask, i: levels[mask])
    validation = make_set(
        tmp_path / "v", first=9, change_mask=lambda mask, i: levels[mask * (mask != 1)]
    )
    report = examine(*training, val_images=validation[0], val_masks=validation[1])
    assert found(report, "Not in the validation set: class 1").severity == "warning"
    assert not titles(report, "problem")


def test_missing_data_are_a_note(tmp_path):
    def change(image, index):
        return np.dstack([image, np.full(image.shape[:2], 255 * (index > 0), np.uint8)])

    images, masks = make_set(tmp_path, change_image=change)
    assert "--alpha valid" in found(examine(images, masks), "1 file cannot be used").advice
    finding = found(examine(images, masks, alpha="valid"), "1 image with missing data")
    assert "100.0 %" in finding.title and finding.severity == "note"


# --- How much of each class ---


def test_one_large_and_one_rare_class_are_warnings(tmp_path):
    def change(mask, index):
        mask[:] = 0
        mask[:20, :20] = 1
        mask[0, :5] = 2
        return mask

    report = examine(*make_set(tmp_path, change_mask=change))
    assert "accuracy hides it" in found(report, "95.7 % of the pixels are class 0").advice
    assert found(report, "Rare: class 2").severity == "warning"


def test_masks_of_one_class_are_notes_until_all_are(tmp_path):
    some = make_set(tmp_path / "some", change_mask=lambda mask, index: mask * (index > 1))
    finding = found(examine(*some), "2 masks with nothing but class 0")
    assert finding.severity == "note" and "s0, s1" in finding.advice
    every = make_set(tmp_path / "all", change_mask=lambda mask, index: mask * 0)
    assert titles(examine(*every), "problem") == ["The masks hold a single class (0)"]


def test_a_class_without_a_pixel_is_a_note(tmp_path):
    report = examine(*make_set(tmp_path, change_mask=lambda mask, i: mask + (mask > 0)))
    assert found(report, "Without a pixel: class 1").severity == "note"


# --- Alignment ---


@given(st.integers(0, 50), st.integers(-9, 9), st.integers(-9, 9))
def test_a_shift_is_measured(seed, down, right):
    image, mask = scene(seed)
    shift = best_shift(agreement(image, np.roll(mask, (-down, -right), axis=(0, 1))))
    assert (shift.down, shift.right) == (down, right)
    assert shift.is_clear == (max(abs(down), abs(right)) >= 2)


def test_agreement_is_a_correlation_of_edges():
    image, mask = scene(3, size=60)
    scores = agreement(image, mask, reach=4)
    # The same by its definition, for one shift.
    down, right = -2, 3
    gray, products, powers = image.astype(float).mean(axis=2), 0.0, [0.0, 0.0]
    for axis in (0, 1):
        edges = np.sqrt(np.abs(np.diff(gray, axis=axis)))
        edges -= edges.mean()
        changes = 1.0 * (np.diff(mask.astype(int), axis=axis)[4:-4, 4:-4] != 0)
        changes -= changes.mean()
        height, width = changes.shape
        moved = edges[4 + down : 4 + down + height, 4 + right : 4 + right + width]
        products += (moved * changes).sum()
        powers[0] += (edges**2).sum()
        powers[1] += (changes**2).sum()
    assert scores[4 + down, 4 + right] == pytest.approx(
        products / np.sqrt(np.prod(powers)), rel=1e-4
    )
    assert np.abs(scores).max() <= 1


def test_where_there_are_no_edges_nothing_is_shifted():
    image, mask = scene(0)
    for picture, labels in ((image * 0, mask), (image, mask * 0), (image[:20], mask[:20])):
        assert best_shift(agreement(picture, labels)) == Shift(0, 0, 0.0, 0.0)
    noise = np.random.default_rng(0).integers(0, 256, image.shape)
    assert not best_shift(agreement(noise, mask)).is_clear
    assert str(Shift(-2, 5, 1.0, 0.1)) == "2 up and 5 right" and REACH >= 9


def test_shifted_masks_are_found_alone_and_all_together(tmp_path):
    def some(mask, index):
        return np.roll(mask, (4, -6), axis=(0, 1)) if index == 1 else mask

    report = examine(*make_set(tmp_path / "one", change_mask=some))
    assert "s1 (move it 4 up and 6 right)" in found(report, "1 mask that may be shifted").advice
    every = make_set(tmp_path / "all", change_mask=lambda mask, i: np.roll(mask, 3, axis=0))
    assert "move by 3 up" in found(examine(*every), "as a whole look shifted").advice


# --- Training and validation ---


def test_the_same_image_on_both_sides_is_a_leak_whatever_its_format(tmp_path):
    images, masks = make_set(tmp_path / "train")
    val_images, val_masks = make_set(tmp_path / "val", count=3, first=10)
    with Image.open(images / "s2.png") as picture:
        opaque = picture.convert("RGBA")
        picture.save(val_images / "s10.tif")
        opaque.save(val_images / "s11.png")
        picture.save(val_images / "s12.jpg", quality=85)
    (val_images / "s10.png").unlink()
    (val_images / "s12.png").unlink()
    report = examine(images, masks, val_images=val_images, val_masks=val_masks)
    finding = found(report, "2 images both in training and in validation")
    assert finding.severity == "problem" and "s2 as s10, s2 as s11" in finding.advice


def test_different_images_are_no_leak_and_copies_in_one_folder_are_told(tmp_path):
    images, masks = make_set(tmp_path / "train")
    val_images, val_masks = make_set(tmp_path / "val", first=4)
    report = examine(images, masks, val_images=val_images, val_masks=val_masks)
    assert not titles(report, "problem")
    assert any(title.startswith("In the validation set: ") for title in titles(report, "note"))
    (images / "copy.png").write_bytes((images / "s1.png").read_bytes())
    (masks / "copy.png").write_bytes((masks / "s1.png").read_bytes())
    assert "s1 as copy" in found(examine(images, masks), "1 image there more than once").advice


def test_classes_on_one_side_only_are_told(tmp_path):
    train = make_set(tmp_path / "train", classes=3)
    validation = make_set(tmp_path / "val", first=9, change_mask=lambda mask, i: mask * (mask != 2))
    report = examine(*train, val_images=validation[0], val_masks=validation[1])
    assert found(report, "Not in the validation set: class 2")
    report = examine(*validation, val_images=train[0], val_masks=train[1])
    assert "does not list: 2 in s0" in found(report, "In the validation set: The masks hold").title


def test_folders_that_make_no_sense_are_refused(tmp_path):
    images, masks = make_set(tmp_path / "a", count=1)
    with pytest.raises(UserError, match="both or none"):
        examine(images, masks, val_images=images)
    with pytest.raises(UserError, match="depth 0"):
        examine(images, masks, depth=0)
    with pytest.raises(UserError, match="no such folder"):
        examine(images, tmp_path / "missing")


# --- The contact sheet, and anything at all ---


def test_the_contact_sheet_shows_shifted_masks_first(tmp_path, monkeypatch):
    shown = []

    def note(panels, names, ignore_index=None):
        shown.append([title for title, _, _ in panels])
        return contact_sheet(panels, names, ignore_index)

    monkeypatch.setattr("tinyunet.data_checks.report.contact_sheet", note)

    def change(mask, index):
        return np.roll(mask, 5, axis=1) if index == 6 else mask

    report = examine(*make_set(tmp_path, count=8, change_mask=change))
    assert draw_contact_sheet(report, most=3).mode == "RGB"
    assert shown == [["s6", "s0", "s7"]]


def test_a_report_is_saved_with_its_contact_sheet(tmp_path):
    for name, change in (("known", None), ("unknown", lambda mask, index: COLORS[mask])):
        report = examine(*make_set(tmp_path / name, count=3, change_mask=change))
        save_report(report, tmp_path / name / "out" / "deep")
        assert (tmp_path / name / "out" / "deep" / "report.txt").read_text() == report.text()
        with Image.open(tmp_path / name / "out" / "deep" / "contact_sheet.png") as sheet:
            assert sheet.width > 800 and sheet.height > 350


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
    sheet = contact_sheet([("a", image, mask)] * 3, names, ignore_index)
    assert sheet.width > 3.5 * 240 and sheet.height > 1.8 * 240


def test_a_contact_sheet_may_have_colors_of_its_own_in_masks_and_legend():
    image, mask = scene(0, size=40)
    names = ["a", "b", "c"]
    sheet = np.asarray(contact_sheet([("a", image, mask)], names))
    own = palette(3)[::-1]
    np.testing.assert_array_equal(
        contact_sheet([("a", image, mask)], names, colors=palette(3)), sheet
    )
    changed = contact_sheet([("a", image, mask)], names, colors=own)
    assert (np.asarray(changed) != sheet).any()
    assert [tuple(color) for _, color in legend_of(names, [mask], colors=own)] == [*map(tuple, own)]
    np.testing.assert_allclose(overlay(image, own[mask])[mask == 0].mean(axis=0), own[0], atol=4)


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
        report = examine(
            folder / "images", folder / "masks", table=table, ignore_index=ignore_index
        )
        save_report(report, folder / "out")
        pairs = find_pairs(folder / "images", folder / "masks")
        refused = bool(titles(report, "problem"))
        try:
            load_pairs(pairs, table, ignore=ignore_index)
        except UserError as error:
            assert "\n" not in str(error)
            assert refused, f"nothing was found, but training would say: {error}"
