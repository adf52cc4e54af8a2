"""The class table: what masks store is what is learned, and what is ambiguous is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tinyunet.data.class_table import (
    COLOR,
    Ambiguous,
    ClassTable,
    count_values,
    open_mask,
    parse_class_table,
    read_class_table,
    stored_values,
    work_out,
)
from tinyunet.data.dataset import load_pairs
from tinyunet.data.pairing import find_pairs
from tinyunet.errors import UserError

BLOBS = np.kron(np.random.default_rng(0).integers(0, 3, (8, 9)), np.ones((5, 5))).astype(np.uint8)


def save(folder, masks, name="m{}.png"):
    """Save masks, arrays or pictures; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, mask in enumerate(masks):
        picture = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
        picture.save(folder / name.format(index))
    return folder


def table_of(folder, **options):
    """Work the table out from all masks of a folder."""
    paths = sorted(path for path in folder.iterdir() if path.suffix != ".txt")
    rasters = [open_mask(path) for path in paths]
    return work_out([(raster, count_values(raster)) for raster in rasters], **options)


def labels_of(path, table):
    """Read one mask through a table."""
    raster = open_mask(path)
    values, valid = stored_values(raster, by_color=table.by_color)
    return table.labels(values, valid, str(path), raster.nodata)


def dataset_of(tmp_path, masks, **options):
    """Load masks with images of their sizes through `load_pairs`, as training does."""
    images = [np.zeros((*np.asarray(mask).shape[:2], 3), np.uint8) for mask in masks]
    save(tmp_path / "images", images)
    save(tmp_path / "masks", masks)
    return load_pairs(find_pairs(tmp_path / "images", tmp_path / "masks"), **options)


# --- The file ---


def test_a_table_has_numbers_ranges_colors_and_what_is_ignored():
    text = "background: 0\nbuilding: 100-200 255\nroad: #ff00ff\nignore: 128"
    with pytest.raises(UserError, match="128 comes twice"):
        parse_class_table(text)
    table = parse_class_table(text.replace("100-200", "130-200"))
    values = np.array([[0, 255, 150, COLOR + 0xFF00FF, 128]])
    np.testing.assert_array_equal(table.labels(values), [[0, 1, 1, 2, 255]])


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=8, unique=True),
    st.data(),
)
def test_a_table_that_is_written_reads_back_the_same(names, data):
    values = data.draw(
        st.lists(st.integers(-9, 70000), min_size=len(names) + 1, max_size=30, unique=True)
    )
    words = [[] for _ in range(len(names) + 1)]
    for k, value in enumerate(values):
        words[k % len(words)].append(str(value))
    table = ClassTable(tuple(names), tuple(map(tuple, words[:-1])), tuple(words[-1]))
    assert parse_class_table(str(table)) == table


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at least two classes"),
        ("a: 0", "at least two classes"),
        ("a: 0\nb: 0", "0 comes twice"),
        ("a: 0\na: 1", "a comes twice"),
        ("a: 255\nb: #ffffff", "255 comes twice"),
        ("a: 0\nb: one", "is no number"),
        ("a: 5-2\nb: 1", "is no number"),
        ("a: 0\nnonsense", "'nonsense' is not understood"),
        ("a: 0\nb: *", "only after 'ignore'"),
    ],
)
def test_a_table_that_is_wrong_says_so_with_its_file(tmp_path, text, said):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(UserError) as caught:
        read_class_table(tmp_path / "t.txt")
    assert said in str(caught.value) and "t.txt" in str(caught.value)


@given(st.text(max_size=200) | st.text("ab:0123#*-\n ", max_size=60))
def test_any_text_is_a_table_or_one_line(text):
    try:
        table = parse_class_table(text)
    except UserError as error:
        assert str(error)
    else:
        assert len(table.names) >= 2


CVAT = (
    "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:250,50,83::\ngray thing:90,90,90::\n"
)


@pytest.mark.parametrize("beside", ["masks", "."])
def test_the_list_of_cvat_is_found_beside_the_masks(tmp_path, beside):
    colors = np.array([[0, 0, 0], [250, 50, 83], [90, 90, 90]], np.uint8)
    (tmp_path / "masks").mkdir()
    (tmp_path / beside / "labelmap.txt").write_text(CVAT)
    with pytest.warns(UserWarning, match="labelmap.txt"):
        dataset = dataset_of(tmp_path, [colors[BLOBS]])
    assert dataset.table.names == ("background", "car", "gray thing")
    np.testing.assert_array_equal(dataset.masks[0], BLOBS)


def test_a_palette_with_the_list_of_cvat_is_read_by_color(tmp_path):
    picture = Image.fromarray(BLOBS)
    picture.putpalette([250, 50, 83, 90, 90, 90, 0, 0, 0])
    (tmp_path / "labelmap.txt").write_text(CVAT)
    with pytest.warns(UserWarning, match="labelmap.txt"):
        dataset = dataset_of(tmp_path, [picture])
    np.testing.assert_array_equal(dataset.masks[0], np.array([1, 2, 0])[BLOBS])


def test_the_list_of_roboflow_is_understood(tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "_classes.csv").write_text("Pixel Value, Class\n0, ground\n1, a\n2, b\n")
    with pytest.warns(UserWarning, match="_classes.csv"):
        dataset = dataset_of(tmp_path, [BLOBS])
    assert dataset.table.names == ("ground", "a", "b")


# --- Worked out ---


@pytest.mark.parametrize(
    ("levels", "names"),
    [
        ([0, 1, 2], "class 0, class 1, class 2"),
        ([1, 2, 3], "class 1, class 2, class 3"),
        ([0, 255, 0], "class 0, class 1"),
        ([0, 2, 3], "class 0, class 2, class 3"),
        ([7, 200, 7], "class 0, class 1"),
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "I;16"])
def test_clear_masks_become_classes_in_ascending_order_whatever_stores_them(
    tmp_path, levels, names, mode
):
    stored = np.array(levels, np.uint8)[BLOBS]
    picture = Image.fromarray(stored.astype(np.uint16) if mode == "I;16" else stored)
    folder = save(tmp_path, [picture if mode == "I;16" else picture.convert(mode)])
    table = table_of(folder)
    assert ", ".join(table.names) == names
    order = [int(words[0]) for words in table.values]
    labels = labels_of(folder / "m0.png", table)
    np.testing.assert_array_equal(np.array(order)[labels], stored)


def test_one_bit_masks_are_0_and_1(tmp_path):
    table = table_of(save(tmp_path, [BLOBS > 0]))
    np.testing.assert_array_equal(labels_of(tmp_path / "m0.png", table), BLOBS > 0)


def test_names_are_given_to_the_values_in_ascending_order(tmp_path):
    folder = save(tmp_path, [np.uint8(255) * (BLOBS > 0)])
    assert str(table_of(folder, names=["ground", "roof"])) == "ground: 0\nroof: 255"
    with pytest.raises(UserError, match="m0.png: .*2 values, but there are 3 class names"):
        table_of(folder, names=["a", "b", "c"])


def test_an_ignored_value_is_no_class_and_has_no_label(tmp_path):
    stored = np.array([0, 1, 255], np.uint8)[BLOBS]
    dataset = dataset_of(tmp_path, [stored], ignore=255)
    assert str(dataset.table) == "class 0: 0\nclass 1: 1\nignore: 255"
    np.testing.assert_array_equal(dataset.masks[0], stored)
    assert dataset.table.ignore_index == 255


def photograph():
    rows, columns = np.mgrid[:60, :70]
    noise = np.random.default_rng(0).normal(0, 9, (60, 70))
    return (100 + 40 * np.sin(rows / 9) + 30 * np.cos(columns / 7) + noise).astype(np.uint8)


def smooth(levels):
    """Resize a mask as image programs do, with values between at the borders."""
    picture = Image.fromarray(np.array(levels, np.uint8)[BLOBS % 2])
    return picture.resize((71, 63), Image.Resampling.BILINEAR)


def objects(count):
    return np.arange(count + 1, dtype=np.uint8).repeat(12).reshape(-1, 4)


COLORED = np.kron(np.stack([BLOBS * 100, BLOBS, BLOBS * 9], axis=2), np.ones((9, 9, 1), np.uint8))


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        ([photograph()], "too many for classes"),
        ([smooth([0, 255])], "as smoothed borders do"),
        ([smooth([10, 240])], "as smoothed borders do"),
        ([np.array([0, 1, 255], np.uint8)[BLOBS]], "class 1: 1; ignore: 255"),
        ([np.array([0, 100, 200], np.uint8)[BLOBS]], "hold 3 values from 0 to 200"),
        ([BLOBS * 0], "a single class (0)"),
        ([BLOBS * 0 + 255], "a single class (255)"),
        ([objects(k) for k in (22, 25, 30, 33, 41)], "number objects"),
        ([np.stack([BLOBS * 100, BLOBS, BLOBS * 9], axis=2)], "are colored (3 colors)"),
        ([Image.fromarray(COLORED).resize((71, 63), Image.Resampling.BILINEAR)], "are colored"),
        ([objects(k) for k in (70, 85, 90, 73, 81)], "number objects"),
        ([np.stack([photograph(), photograph()[::-1], photograph()], axis=2)], "colors"),
    ],
)
def test_ambiguous_masks_are_refused_with_what_they_seem_to_be(tmp_path, masks, said):
    folder = save(tmp_path, masks)
    with pytest.raises(Ambiguous) as caught:
        table_of(folder)
    message = str(caught.value)
    assert said in message and "\n" not in message


def test_a_proposed_table_accepts_the_masks_that_it_is_for(tmp_path):
    for name, masks in (
        ("soft", [smooth([0, 255])]),
        ("objects", [objects(k) for k in (22, 25, 30, 33, 41)]),
        ("colors", [np.stack([BLOBS * 100, BLOBS, BLOBS * 9], axis=2)]),
        ("soft colors", [Image.fromarray(COLORED).resize((300, 250), Image.Resampling.BILINEAR)]),
        ("void", [np.array([0, 1, 255], np.uint8)[BLOBS]]),
        ("spread", [np.array([0, 100, 200], np.uint8)[BLOBS]]),
    ):
        folder = save(tmp_path / name, masks)
        with pytest.raises(Ambiguous) as caught:
            table_of(folder)
        table = parse_class_table(str(caught.value.table))
        assert labels_of(folder / "m0.png", table).shape == np.asarray(masks[0]).shape[:2]


def test_jpeg_masks_need_a_table_of_ranges(tmp_path):
    folder = save(tmp_path, [255 * (BLOBS > 0).astype(np.uint8)], "m{}.jpg")
    with pytest.raises(Ambiguous, match="compressed with loss") as caught:
        table_of(folder)
    labels = labels_of(folder / "m0.jpg", caught.value.table)
    assert (labels == (BLOBS > 0)).mean() > 0.99


def test_palettes_that_differ_from_mask_to_mask_are_refused(tmp_path):
    pictures = []
    for palette in ([0, 0, 0, 255, 0, 0, 0, 255, 0], [255, 0, 0, 0, 0, 0, 0, 255, 0]):
        picture = Image.fromarray(BLOBS)
        picture.putpalette(palette)
        pictures.append(picture)
    with pytest.raises(Ambiguous, match="the same number in different colors"):
        table_of(save(tmp_path, pictures))
    assert len(table_of(save(tmp_path / "same", [pictures[0]] * 2)).names) == 3


def test_masks_in_the_transparency_are_refused(tmp_path):
    layer = np.full((*BLOBS.shape, 4), 255, np.uint8)
    layer[..., 3] = 255 * (BLOBS > 0)
    folder = save(tmp_path, [layer])
    with pytest.raises(UserError, match="partly transparent"):
        open_mask(folder / "m0.png")


def test_probabilities_are_no_masks(tmp_path):
    folder = save(tmp_path, [(BLOBS / 2).astype(np.float32)], "m{}.tif")
    with pytest.raises(UserError, match="numbers such as 0.5.*whole number"):
        table_of(folder)


def test_whole_numbers_that_are_stored_as_floats_are_classes(tmp_path):
    folder = save(tmp_path, [BLOBS.astype(np.float32)], "m{}.tif")
    np.testing.assert_array_equal(labels_of(folder / "m0.tif", table_of(folder)), BLOBS)


# --- The same value is the same class ---


def test_a_value_that_the_table_does_not_list_is_named_with_its_file(tmp_path):
    table = parse_class_table("a: 0\nb: 1")
    folder = save(tmp_path, [BLOBS])
    count = (BLOBS == 2).sum()
    with pytest.raises(UserError, match=f"m0.png: holds 2 \\({count} pixels\\), which"):
        labels_of(folder / "m0.png", table)
    ignoring = parse_class_table("a: 0\nb: 1\nignore: *")
    np.testing.assert_array_equal(labels_of(folder / "m0.png", ignoring) == 255, BLOBS == 2)


@given(st.lists(st.integers(0, 255), min_size=2, max_size=6, unique=True), st.integers(0, 99))
def test_labels_and_table_give_back_what_is_stored(values, seed):
    table = ClassTable(tuple("abcdef"[: len(values)]), tuple((str(v),) for v in values))
    stored = np.random.default_rng(seed).choice(values, (7, 9))
    np.testing.assert_array_equal(np.array(values)[table.labels(stored)], stored)


def test_missing_pixels_of_a_mask_have_no_label_unless_the_table_lists_them():
    values = np.array([[0, 1, 9, 9]])
    table, valid = parse_class_table("a: 0\nb: 1"), np.array([[False, True, False, False]])
    np.testing.assert_array_equal(table.labels(values, valid), [[255, 1, 255, 255]])
    np.testing.assert_array_equal(table.labels(values, valid, nodata=0), [[0, 1, 255, 255]])


def test_more_than_255_classes_are_refused():
    names = tuple(f"c{k}" for k in range(256))
    with pytest.raises(UserError, match="256 classes are too many: at most 255"):
        ClassTable(names, tuple((str(k),) for k in range(256)))
    table = ClassTable(names[:255], tuple((str(k),) for k in range(255)))
    labels = table.labels(np.array([[0, 254]]), np.array([[False, True]]))
    np.testing.assert_array_equal(labels, [[255, 254]])


def test_numbers_of_classes_may_be_scattered_as_single_pixels(tmp_path):
    mask = np.zeros((40, 40), np.uint8)
    mask[:, 20:] = 2
    mask[::4, ::4] = 1
    assert len(table_of(save(tmp_path, [mask])).names) == 3


def test_two_numbers_far_apart_are_two_classes(tmp_path):
    assert len(table_of(save(tmp_path, [np.array([0, 5], np.uint8)[BLOBS % 2]])).names) == 2


@pytest.mark.parametrize("levels", [[0, 1, 0], [1, 2, 1], [0, 2, 2]])
def test_there_may_be_names_of_classes_that_no_mask_holds(tmp_path, levels):
    folder = save(tmp_path, [np.array(levels, np.uint8)[BLOBS]])
    table = table_of(folder, names=("a", "b", "c", "d"))
    assert table.names == ("a", "b", "c", "d")
    assert [int(words[0]) for words in table.values] == [0, 1, 2, 3]
