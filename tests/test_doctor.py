"""The data-set doctor finds what is wrong, mends what it can, and is silent where all is well."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tinyunet.data.dataset import find_pairs, load_pairs, read_mask
from tinyunet.data.weight_maps import suggest_class_weights
from tinyunet.data_checks import (
    ColorTable,
    draw_contact_sheet,
    examine,
    read_colors,
    repair_masks,
    save_report,
)
from tinyunet.data_checks.alignment import REACH, Shift, agreement, best_shift
from tinyunet.data_checks.repair import Repair, Unclear, plan_repair, read_raw_mask
from tinyunet.data_checks.survey import thumbnail
from tinyunet.errors import UserError
from tinyunet.plots.colors import IGNORED, PALETTE, overlay
from tinyunet.plots.pictures import contact_sheet, shortened

COLORS = np.array([[0x10, 0x20, 0x30], [0xFF, 0, 0], [0, 0, 0]], dtype=np.uint8)
TABLE = ColorTable(("ground", "roof", "shadow"), (0x102030, 0xFF0000, 0x000000))


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
    assert titles(report, "problem", "warning") == ["4 images smaller than 128 x 128"]
    assert titles(report, "note") == ["The masks hold class numbers (0, 1, 2), as they should"]


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


def test_every_finding_says_what_it_means_and_what_to_do(tmp_path):
    images, masks = make_set(tmp_path, change_mask=lambda mask, index: mask * 100)
    Image.new("L", (3, 3)).save(images / "lone.png")
    report = examine(images, masks)
    text = " ".join(report.text().split())
    assert len(report.findings) >= 3
    for severity, title, meaning, advice in report.findings:
        assert f"{severity.upper()}: {title}" in text
        assert f"What it means: {meaning} What to do: {advice}" in text
        assert meaning.endswith(".") and advice.endswith(".")
    order = [("problem", "warning", "note").index(finding.severity) for finding in report.findings]
    assert order == sorted(order)


def test_an_ignored_class_has_no_share_and_no_weight(tmp_path):
    report = examine(*make_set(tmp_path), ignore_index=0)
    assert report.classes.pixels[0] == 0 and report.classes.counts[:, 0].all()
    assert "ignored" in report.text()


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
    advice = found(report, "2 files cannot be read").advice
    assert "s0.png" in advice and "s1.png" in advice
    assert len(report.classes.stems) == 3


def test_a_mask_of_another_size_is_a_problem(tmp_path):
    cut = make_set(tmp_path, change_mask=lambda mask, index: mask[: 96 - index])
    advice = found(examine(*cut), "3 masks of another size").advice
    assert "s1 (image 96 x 96, mask 95 x 96)" in advice


def test_other_channels_and_depths_are_told(tmp_path):
    def change(image, index):
        return {0: image[:, :, 0], 1: image[:, :, 0].astype(np.uint16)}.get(index, image)

    report = examine(*make_set(tmp_path, change_image=change))
    assert found(report, "number of channels").severity == "problem"
    assert found(report, "number type (3 uint8, 1 uint16)").severity == "warning"


def test_an_image_of_one_color_is_told(tmp_path):
    images, masks = make_set(tmp_path, change_image=lambda image, i: image * (i > 0))
    assert "s0.png" in found(examine(images, masks), "1 image of a single color").advice


@pytest.mark.parametrize(("depth", "told"), [(5, False), (6, True)])
def test_sizes_that_do_not_pool_evenly_are_a_note(tmp_path, depth, told):
    report = examine(*make_set(tmp_path), depth=depth)  # 96 is 3 times 32
    assert any(f"no multiples of {2**depth}" in title for title in titles(report, "note")) == told


def test_small_images_come_with_the_crop_that_fits(tmp_path):
    report = examine(*make_set(tmp_path, size=90), depth=3)
    assert "--crop-size 88" in found(report, "4 images smaller").advice


def test_tiles_of_a_scene_want_a_spatial_split(tmp_path):
    images, masks = make_set(tmp_path, count=2)
    for folder in (images, masks):
        for index in range(2):
            (folder / f"s{index}.png").rename(folder / f"north_r000_c{96 * index:03}.png")
    assert "--val-split spatial" in found(examine(images, masks), "tiles of a scene").advice


# --- Forms of masks ---


def test_black_and_white_becomes_0_and_1(tmp_path):
    drawn = make_set(tmp_path, classes=2, change_mask=lambda mask, index: mask * 255)
    report = examine(*drawn)
    assert "--write" in found(report, "black and white (0, 255)").advice
    assert repair_masks(report, tmp_path / "out") == 4
    for index, mask in enumerate(masks_of(tmp_path / "out")):
        np.testing.assert_array_equal(mask, scene(index, classes=2)[1])
    again = examine(drawn[0], tmp_path / "out")
    assert not titles(again, "problem")


def test_black_and_white_is_recognized_in_colors_and_after_smoothing(tmp_path):
    def change(mask, index):
        if index == 0:
            return np.stack([mask * 255] * 3, axis=-1)
        picture = Image.fromarray(mask * 255)
        return picture.resize((192, 192), Image.Resampling.BILINEAR).resize((96, 96))

    report = examine(*make_set(tmp_path, classes=2, change_mask=change))
    assert "from 128 on they are white" in found(report, "black and white").meaning
    repair_masks(report, tmp_path / "out")
    for index, mask in enumerate(masks_of(tmp_path / "out")):
        assert (mask == scene(index, classes=2)[1]).mean() > 0.97


def test_a_jpeg_mask_can_be_mended(tmp_path):
    images, masks = make_set(tmp_path, count=2, classes=2)
    for path in sorted(masks.iterdir()):
        Image.fromarray(read_mask(path) * 255).save(path.with_suffix(".jpg"), quality=90)
        path.unlink()
    repair_masks(examine(images, masks), tmp_path / "out")
    for index, mask in enumerate(masks_of(tmp_path / "out")):
        assert (mask == scene(index, classes=2)[1]).mean() > 0.99


def test_gaps_are_closed_in_ascending_order(tmp_path):
    report = examine(*make_set(tmp_path, change_mask=lambda mask, index: 50 + mask * 70))
    advice = found(report, "large gaps (50, 120, 190)").advice
    assert "50 becomes 0, 120 becomes 1, 190 becomes 2" in advice
    repair_masks(report, tmp_path / "out")
    for index, mask in enumerate(masks_of(tmp_path / "out")):
        np.testing.assert_array_equal(mask, scene(index)[1])


def test_numbered_objects_become_one_class(tmp_path):
    def number(mask, index):
        mask[:] = 0
        count = 30 + index
        mask[::3, ::3].flat[:count] = np.arange(1, count + 1)
        return mask.astype(np.uint16)

    report = examine(*make_set(tmp_path, count=6, change_mask=number))
    assert "--weight-map" in found(report, "number objects (0 to 35)").advice
    repair_masks(report, tmp_path / "out")
    assert [mask.sum() for mask in masks_of(tmp_path / "out")] == [30, 31, 32, 33, 34, 35]


def test_255_among_classes_is_probably_to_be_ignored(tmp_path):
    folders = make_set(tmp_path, change_mask=lambda mask, index: np.where(mask == 2, 255, mask))
    report = examine(*folders)
    assert "--ignore-index 255" in found(report, "numbers up to 1, and 255").advice
    assert not titles(examine(*folders, ignore_index=255), "problem")
    with pytest.raises(UserError, match="meaning is not clear: The masks hold numbers up to 1"):
        repair_masks(report, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_photographs_and_negative_numbers_are_no_masks(tmp_path):
    noise = np.random.default_rng(0).integers(0, 2**16, (96, 96)).astype(np.uint16)
    report = examine(*make_set(tmp_path / "a", change_mask=lambda mask, index: noise))
    assert "photographs" in found(report, "different values").meaning
    assert report.classes is None and "cannot be told yet" in report.text()
    with pytest.raises(Unclear, match="hold the value -1"):
        plan_repair([{-1: 5, 0: 3}])


def test_class_numbers_need_no_repair(tmp_path):
    with pytest.raises(UserError, match="hold class numbers already"):
        repair_masks(examine(*make_set(tmp_path)), tmp_path / "out")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0], "classes"),
        ([0, 1, 2], "classes"),
        ([255], "black and white"),
        ([0, 255], "black and white"),
        ([0, 3, 250, 255], "black and white"),
        ([0, 128, 255], "gaps"),
        ([0, 1, 255], None),
        ([0, 1, 5, 20, 255], None),  # some classes of a long list, and the mark of Pascal VOC
        ([1, 255], None),
        ([0, 65535], "gaps"),
    ],
)
def test_values_are_told_apart(values, kind):
    try:
        found = plan_repair([dict.fromkeys(values, 10)]).kind
    except Unclear:
        found = None
    assert found == kind


@given(st.dictionaries(st.integers(0, 300), st.integers(1, 1000), min_size=1, max_size=8))
def test_a_repair_knows_every_value_and_gives_classes_without_gaps(counts):
    try:
        repair = plan_repair([counts])
    except Unclear as error:
        assert "\n" not in str(error)
        return
    assert set(repair.lookup) == set(counts)
    if repair.kind == "gaps":
        assert sorted(repair.lookup.values()) == list(range(len(counts)))
    assert repair.count(counts).total() == sum(counts.values())
    assert repair.is_needed or all(value == index for value, index in repair.lookup.items())


# --- Colors ---


def test_colors_are_listed_and_then_mapped(tmp_path):
    images, masks = make_set(tmp_path, change_mask=lambda mask, index: COLORS[mask])
    report = examine(images, masks)
    finding = found(report, "color images, with 3 colors")
    count = sum((read_raw_mask(path).colors == 0xFF0000).sum() for path in masks.iterdir())
    assert f"#ff0000 ({count:,} pixels)" in finding.advice and "--colors" in finding.advice
    report = examine(images, masks, colors=TABLE)
    assert "1 (roof)" in report.text()
    repair_masks(report, tmp_path / "out")
    for index, mask in enumerate(masks_of(tmp_path / "out")):
        np.testing.assert_array_equal(mask, scene(index)[1])


def test_a_few_odd_colors_go_to_the_nearest_one(tmp_path):
    def change(mask, index):
        picture = COLORS[mask]
        picture[0, 0] = (250, 3, 3)
        return picture

    report = examine(*make_set(tmp_path, change_mask=change), colors=TABLE)
    repair_masks(report, tmp_path / "out")
    assert all(mask[0, 0] == 1 for mask in masks_of(tmp_path / "out"))


def test_many_unknown_colors_are_asked_for(tmp_path):
    folders = make_set(tmp_path, change_mask=lambda mask, index: COLORS[mask])
    table = ColorTable(TABLE.names[:1], TABLE.colors[:1])
    assert "#ff0000" in found(examine(*folders, colors=table), "not in the table").advice


def test_gray_and_color_together_are_a_problem(tmp_path):
    def change(mask, index):
        return mask if index == 0 else COLORS[mask]

    report = examine(*make_set(tmp_path, change_mask=change))
    assert "s0" in found(report, "Some masks are in color").advice


def with_palette(mask, order):
    """Store a mask as a palette picture that numbers the colors in another order."""
    picture = Image.fromarray(np.argsort(order).astype(np.uint8)[mask], mode=None).convert("L")
    picture = Image.frombytes("P", picture.size, picture.tobytes())
    picture.putpalette(COLORS[order].ravel().tolist())
    return picture


def test_palettes_are_fine_while_they_agree(tmp_path):
    images, masks = make_set(tmp_path, change_mask=lambda mask, i: with_palette(mask, [0, 1, 2]))
    for table in (None, TABLE):
        report = examine(images, masks, colors=table)
        assert not titles(report, "problem")
        assert report.classes.repair == Repair(
            "classes", report.classes.repair.lookup, TABLE.names if table else (), table is not None
        )


def test_palettes_that_differ_are_mapped_by_their_colors(tmp_path):
    orders = ([0, 1, 2], [2, 0, 1], [1, 2, 0], [0, 2, 1])
    images, masks = make_set(tmp_path, change_mask=lambda mask, i: with_palette(mask, orders[i]))
    report = examine(images, masks)
    assert "--colors" in found(report, "palettes differ").advice
    repair_masks(examine(images, masks, colors=TABLE), tmp_path / "out")
    for index, mask in enumerate(masks_of(tmp_path / "out")):
        np.testing.assert_array_equal(mask, scene(index)[1])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "ground: #102030\n\nroof: FF0000 \n shadow :#000000\n"),
        ("a.json", json.dumps({"ground": "#102030", "roof": "#ff0000", "shadow": "000000"})),
        (
            "a.JSON",
            json.dumps(
                {"classes": ["ground", "roof", "shadow"], "palette": ["102030", "ff0000", "000000"]}
            ),
        ),
    ],
)
def test_color_tables_are_read(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_colors(tmp_path / name) == TABLE


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "holds no classes"),
        ("a.txt", "roof", "is not understood"),
        ("a.txt", "roof: red", "is not understood"),
        ("a.txt", "roof: #ff0000\nroof: #00ff00", "names the class roof 2 times"),
        ("a.txt", "roof: #ff0000\nwall: #FF0000", "names the color #ff0000 2 times"),
        ("a.json", "{", "is not valid JSON"),
        ("a.json", "[1]", "looks like"),
        ("a.json", '{"roof": 3}', "is not understood"),
    ],
)
def test_color_tables_that_are_wrong_say_so(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_colors(tmp_path / name)
    with pytest.raises(UserError, match="cannot be read"):
        read_colors(tmp_path / "missing.txt")


@given(st.binary(max_size=40), st.sampled_from(["a.txt", "a.json"]))
def test_random_bytes_are_no_color_table(tmp_path_factory, content, name):
    path = tmp_path_factory.mktemp("colors") / name
    path.write_bytes(content)
    with pytest.raises(UserError):
        read_colors(path)


# --- How much of each class ---


def test_one_large_and_one_rare_class_are_warnings(tmp_path):
    def change(mask, index):
        mask[:] = 0
        mask[:20, :20] = 1
        mask[0, :5] = 2
        return mask

    report = examine(*make_set(tmp_path, change_mask=change))
    assert "accuracy hides it" in found(report, "95.7 % of the pixels are class 0").meaning
    assert found(report, "Rare: class 2").severity == "warning"


def test_masks_of_one_class_are_notes_until_all_are(tmp_path):
    some = make_set(tmp_path / "some", change_mask=lambda mask, index: mask * (index > 1))
    finding = found(examine(*some), "2 masks with nothing but class 0")
    assert finding.severity == "note" and "s0, s1" in finding.advice
    every = make_set(tmp_path / "all", change_mask=lambda mask, index: mask * 0)
    assert titles(examine(*every), "problem") == ["All masks together hold a single class"]


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
    assert "move by 3 up" in found(examine(*every), "as a whole look shifted").meaning


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
    report = examine(images, masks, val_images_dir=val_images, val_masks_dir=val_masks)
    finding = found(report, "2 images both in training and in validation")
    assert finding.severity == "problem" and "s2 as s10, s2 as s11" in finding.advice
    finding = found(report, "1 image both in training and in validation")
    assert finding.severity == "warning" and "s2 as s12" in finding.advice


def test_different_images_are_no_leak_and_copies_in_one_folder_are_told(tmp_path):
    images, masks = make_set(tmp_path / "train")
    val_images, val_masks = make_set(tmp_path / "val", first=4)
    report = examine(images, masks, val_images_dir=val_images, val_masks_dir=val_masks)
    assert not titles(report, "problem")
    assert any(title.startswith("In the validation set: ") for title in titles(report, "note"))
    (images / "copy.png").write_bytes((images / "s1.png").read_bytes())
    (masks / "copy.png").write_bytes((masks / "s1.png").read_bytes())
    assert "copy as s1" in found(examine(images, masks), "1 image there more than once").advice


def test_classes_on_one_side_only_are_told(tmp_path):
    train = make_set(tmp_path / "train", classes=3)
    validation = make_set(tmp_path / "val", first=9, change_mask=lambda mask, i: mask + (mask == 2))
    report = examine(*train, val_images_dir=validation[0], val_masks_dir=validation[1])
    assert found(report, "Not in the validation set: class 2")
    assert found(report, "Only in the validation set: class 3")


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.integers(0, 9))
def test_thumbnails_have_length_one_or_nothing(height, width, channels, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, channels))
    shrunk = thumbnail(image)
    assert shrunk.shape == (256,)
    assert np.linalg.norm(shrunk) == pytest.approx(1) or not shrunk.any()
    assert not thumbnail(image * 0 + 7).any()


def test_folders_that_make_no_sense_are_refused(tmp_path):
    images, masks = make_set(tmp_path / "a", count=1)
    with pytest.raises(UserError, match="two folders"):
        examine(images, masks, val_images_dir=images)
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
    for table in (None, TABLE):
        report = examine(
            folder / "images", folder / "masks", colors=table, ignore_index=ignore_index
        )
        save_report(report, folder / "out")
        try:
            repair_masks(report, folder / f"repaired {table is None}")
        except UserError as error:
            assert "\n" not in str(error)


def test_repaired_masks_train(tmp_path):
    images, masks = make_set(tmp_path, change_mask=lambda mask, index: mask * 120)
    repair_masks(examine(images, masks), tmp_path / "out")
    dataset = load_pairs(find_pairs(images, tmp_path / "out"), classes=3)
    assert len(dataset) == 4
