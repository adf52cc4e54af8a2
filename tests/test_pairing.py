"""Which mask belongs to which image: equal stems, suffixes, one folder, two files."""

import warnings

import pytest

from tinyunet.data.pairing import find_pairs, list_images, match
from tinyunet.errors import UserError


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def names_of(pairs):
    return [(pair.image_path.name, pair.mask_path.name) for pair in pairs]


@pytest.mark.parametrize(
    ("images", "masks", "suffix"),
    [
        (["a.jpg", "b.jpg"], ["a_mask.png", "b_mask.png"], "_mask"),
        (["a.jpg", "b.jpg"], ["a-label.png", "b-label.png"], "-label"),
        (["a_01.jpg", "a_02.jpg"], ["a_01_GT.png", "a_02_GT.png"], "_GT"),
        (["1_sat.jpg", "2_sat.jpg"], ["1_mask.png", "2_mask.png"], "_mask"),
        (
            ["aachen_0_leftImg8bit.png", "bonn_1_leftImg8bit.png"],
            ["aachen_0_gtFine_labelIds.png", "bonn_1_gtFine_labelIds.png"],
            "_gtFine_labelIds",
        ),
        (["img_1.png", "img_2.png"], ["mask_1.png", "mask_2.png"], "mask_"),
        (["Image1.tif", "Image2.tif"], ["Labels1.tif", "Labels2.tif"], "Labels"),
        (["cell 0.tif", "cell 1.tif"], ["Mask of cell 0.tif", "Mask of cell 1.tif"], "Mask of "),
        (["21_training.tif", "22_training.tif"], ["21_manual1.gif", "22_manual1.gif"], "_manual1"),
    ],
)
def test_what_all_masks_have_in_their_names_is_found_and_said(tmp_path, images, masks, suffix):
    touch(tmp_path / "images", *images)
    touch(tmp_path / "masks", *masks)
    with pytest.warns(UserWarning, match=f"2 masks are paired by '{suffix}'"):
        pairs = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert names_of(pairs) == list(zip(images, masks, strict=True))


@pytest.mark.filterwarnings("ignore:2 masks are paired")
def test_the_most_common_suffix_wins_and_the_rest_is_without_a_partner(tmp_path):
    touch(tmp_path / "images", "a.png", "b.png", "c.png")
    touch(tmp_path / "masks", "a_mask.png", "b_mask.png", "a_ids.png")
    assert len(find_pairs(tmp_path / "images", tmp_path / "masks")) == 2
    _, *lone = match(tmp_path / "images", tmp_path / "masks")
    assert [[path.name for path in side] for side in lone] == [["c.png"], ["a_ids.png"]]


@pytest.mark.filterwarnings("ignore:2 masks are paired")
def test_of_masks_in_several_forms_the_labels_are_taken(tmp_path):
    touch(tmp_path / "images", "a_leftImg8bit.png", "b_leftImg8bit.png")
    kinds = ("color", "instanceIds", "labelIds")
    touch(tmp_path / "masks", *(f"{stem}_gtFine_{kind}.png" for stem in "ab" for kind in kinds))
    pairs = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert [pair.mask_path.stem[-8:] for pair in pairs] == ["labelIds", "labelIds"]


@pytest.mark.filterwarnings("ignore:1 masks are paired")
def test_equal_stems_come_before_suffixes(tmp_path):
    touch(tmp_path / "images", "a.png", "a_mask.png")
    touch(tmp_path / "masks", "a_mask.png")
    pairs = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert names_of(pairs) == [("a_mask.png", "a_mask.png")]


@pytest.mark.filterwarnings("ignore:2 masks are paired")
def test_images_and_masks_may_lie_in_one_folder(tmp_path):
    folder = touch(tmp_path, "a.rf.0.jpg", "a.rf.0_mask.png", "b.rf.1.jpg", "b.rf.1_mask.png")
    expected = [("a.rf.0.jpg", "a.rf.0_mask.png"), ("b.rf.1.jpg", "b.rf.1_mask.png")]
    assert names_of(find_pairs(folder, folder)) == expected


def test_the_same_folder_or_file_twice_is_refused(tmp_path):
    folder = touch(tmp_path / "images", "a.png", "a_2.png")
    (tmp_path / "link").symlink_to(folder)
    for masks in (folder, tmp_path / "link", tmp_path / "images" / ".." / "images"):
        with pytest.raises(UserError, match="is given for images and masks"):
            find_pairs(folder, masks)
    with pytest.raises(UserError, match="is given for images and masks"):
        find_pairs(folder / "a.png", folder / "a.png")


def test_two_files_are_a_pair_whatever_their_names(tmp_path):
    touch(tmp_path, "scene.tif", "labels.tif")
    pairs = find_pairs(tmp_path / "scene.tif", tmp_path / "labels.tif")
    assert [pair.stem for pair in pairs] == ["scene"]


def test_files_that_are_left_out_are_named(tmp_path):
    touch(tmp_path, "a.png", "b.heic", "c.arw", "notes.txt", "a.pgw", "a.png.aux.xml", ".hidden.x")
    with pytest.warns(UserWarning, match="2 files are not read here: b.heic, c.arw$"):
        assert list(list_images(tmp_path)) == ["a"]


def test_folders_inside_are_neither_images_nor_worth_a_word(tmp_path):
    (touch(tmp_path, "a.png") / "old").mkdir()
    (tmp_path / "tiles.png").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(list_images(tmp_path)) == ["a"]


@pytest.mark.parametrize("ending", ["bmp", "webp", "gif", "jfif", "JP2", "TIFF", "jpeg"])
def test_many_endings_are_images(tmp_path, ending):
    assert list(list_images(touch(tmp_path, f"a.{ending}"))) == ["a"]
