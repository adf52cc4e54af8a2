"""Reading images and masks: every form of file, every kind of mistake, one line for each."""

import io
import struct
import unicodedata
import warnings
import zlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from tinyunet.data.dataset import (
    ClassPixels,
    Dataset,
    Windowed,
    count_classes,
    load_pairs,
    read_mask,
)
from tinyunet.data.images import read_image
from tinyunet.data.pairing import Pair, find_pairs, list_images, match
from tinyunet.errors import UserError

HEIGHT, WIDTH = 5, 7


def numbers(*shape, dtype=np.uint8, high=256, seed=0):
    return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def one_line(caught, *parts):
    """Check that a UserError is one line that holds all the parts."""
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


# --- Forms of images ---


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bytes_come_back_as_they_were(tmp_path, suffix, channels):
    array = numbers(HEIGHT, WIDTH, channels)
    path = save(tmp_path / f"image{suffix}", array[:, :, 0] if channels == 1 else array)
    image = read_image(path)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, array)


def test_gray_with_alpha_has_two_channels(tmp_path):
    array = numbers(HEIGHT, WIDTH, 2)
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", array)), array)


def test_jpeg_is_read(tmp_path):
    array = np.full((HEIGHT, WIDTH, 3), 100, dtype=np.uint8)
    image = read_image(save(tmp_path / "a.JPG", array))
    assert image.shape == array.shape
    assert np.abs(image.astype(int) - 100).max() <= 2


@pytest.mark.parametrize("suffix", [".tif", ".jpg"])
def test_cmyk_has_four_channels(tmp_path, suffix):
    Image.new("CMYK", (WIDTH, HEIGHT), (10, 20, 30, 40)).save(tmp_path / f"a{suffix}")
    image = read_image(tmp_path / f"a{suffix}")
    assert image.shape == (HEIGHT, WIDTH, 4)
    assert np.abs(image.astype(int) - [10, 20, 30, 40]).max() <= 3


@pytest.mark.parametrize("transparency", [None, 1])
def test_a_palette_image_becomes_its_colors(tmp_path, transparency):
    picture = Image.fromarray(numbers(HEIGHT, WIDTH, high=3)).convert("P")
    picture.putpalette([1, 2, 3, 40, 50, 60, 255, 0, 7])
    options = {} if transparency is None else {"transparency": transparency}
    picture.save(tmp_path / "a.png", **options)
    colors = np.array([[1, 2, 3], [40, 50, 60], [255, 0, 7]])
    expected = colors[np.asarray(picture)]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_kept(tmp_path, suffix):
    array = numbers(HEIGHT, WIDTH, dtype=np.uint16, high=65536)
    path = save(tmp_path / f"a{suffix}", array)
    for read in (read_image(path)[:, :, 0], read_mask(path)):
        assert read.dtype == np.uint16
        np.testing.assert_array_equal(read, array)


def test_bytes_of_the_other_order_are_understood(tmp_path):
    array = numbers(HEIGHT, WIDTH, dtype=np.uint16, high=65536)
    header = struct.pack(">2sHI", b"MM", 42, 8)
    tags = [(256, WIDTH), (257, HEIGHT), (258, 16), (262, 1), (273, 122), (278, HEIGHT)]
    tags += [(277, 1), (279, array.nbytes), (259, 1)]
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    directory = struct.pack(">H", len(tags)) + entries + struct.pack(">I", 0)
    (tmp_path / "a.tif").write_bytes(
        (header + directory).ljust(122) + array.astype(">u2").tobytes()
    )
    image = read_image(tmp_path / "a.tif")
    assert image.dtype == np.uint16 and image.dtype.isnative
    np.testing.assert_array_equal(image[:, :, 0], array)


def test_floating_point_tiff_is_kept(tmp_path):
    array = np.random.default_rng(0).normal(size=(HEIGHT, WIDTH)).astype(np.float32)
    image = read_image(save(tmp_path / "a.tif", array))
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image[:, :, 0], array)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_exif_orientation_is_applied(tmp_path, suffix):
    array = numbers(16, 24, 3) // 128 * 255
    exif = Image.Exif()
    exif[274] = 6  # turn a quarter clockwise to see it upright
    path = save(tmp_path / f"a{suffix}", array, exif=exif)
    image = read_image(path)
    assert image.shape == (24, 16, 3)
    if suffix != ".jpg":
        np.testing.assert_array_equal(image, np.rot90(array, -1))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_of_several_frames_the_first_is_read_with_a_warning(tmp_path, suffix):
    frames = [Image.fromarray(numbers(HEIGHT, WIDTH, 3, seed=seed)) for seed in range(3)]
    path = tmp_path / f"a{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match=f"a{suffix}: has 3 frames or pages; only the first"):
        image = read_image(path)
    np.testing.assert_array_equal(image, np.asarray(frames[0]))


def png(width, height, depth, kind, rows):
    """Write a PNG by hand, for forms that Pillow reads but does not write."""

    def chunk(name, data):
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [2, 4])
def test_classes_in_few_bits_are_not_stretched(tmp_path, bits):
    classes = np.arange(2**bits)
    digits = "".join(f"{value:0{bits}b}" for value in classes)
    row = int(digits, 2).to_bytes(len(digits) // 8, "big")
    (tmp_path / "a.png").write_bytes(png(len(classes), 2, bits, 0, [row, row]))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), [classes, classes])
    assert read_image(tmp_path / "a.png").max() == 2**bits - 1


# --- Files that are not images ---


@pytest.mark.parametrize("read", [read_image, read_mask])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"<html>not found</html>", "is not an image"),
        (b"\x89PNG\r\n\x1a\n", "a.png"),
        (png(30000, 30000, 1, 0, [bytes(10)]), "broken"),
        (png(0, 3, 8, 0, []), "a.png"),
        (png(9, 9, 8, 0, numbers(9, 9))[:-40], "broken or incomplete"),
    ],
)
def test_what_is_not_an_image_is_named_in_one_line(tmp_path, read, content, said):
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read(path)
    one_line(caught, path, said)


def test_a_folder_is_not_an_image(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_image(tmp_path)


def test_pillows_own_limit_stays_as_it_was(tmp_path):
    limit = Image.MAX_IMAGE_PIXELS
    read_image(save(tmp_path / "a.png", numbers(HEIGHT, WIDTH)))
    with pytest.raises(UserError):
        read_image(tmp_path / "b.png")
    assert Image.MAX_IMAGE_PIXELS == limit


def encoded(kind, mode):
    channels = {"L": (), "RGB": (3,), "P": ()}[mode]
    picture = Image.fromarray(numbers(20, 30, *channels)).convert(mode)
    stream = io.BytesIO()
    options = {"tiff-lzw": {"compression": "tiff_lzw"}, "tiff-jpeg": {"compression": "jpeg"}}
    picture.save(stream, kind.split("-")[0], **options.get(kind, {}))
    return stream.getvalue()


FILES = [
    encoded(*form)
    for form in [
        ("png", "L"),
        ("png", "RGB"),
        ("png", "P"),
        ("jpeg", "L"),
        ("jpeg", "RGB"),
        ("tiff", "RGB"),
        ("tiff", "P"),
        ("tiff-lzw", "L"),
        ("tiff-jpeg", "RGB"),
    ]
]


@given(content=st.sampled_from(FILES), data=st.data())
def test_a_file_cut_anywhere_reads_or_is_a_user_error(tmp_path, content, data):
    length = data.draw(st.integers(0, len(content) - 1), label="length")
    image = read_or_user_error(tmp_path / "a.png", content[:length])
    if image is not None:  # nothing was made up: only bytes without meaning were missing
        (tmp_path / "whole.png").write_bytes(content)
        np.testing.assert_array_equal(image, read_image(tmp_path / "whole.png"))


@given(content=st.sampled_from(FILES), data=st.data())
def test_a_file_with_spoilt_bytes_reads_or_is_a_user_error(tmp_path, content, data):
    spoilt = bytearray(content)
    # Most bytes are pixels, which take any value: aim at the headers as often.
    where = st.integers(0, min(60, len(spoilt) - 1)) | st.integers(0, len(spoilt) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        spoilt[data.draw(where)] = data.draw(st.integers(0, 255))
    read_or_user_error(tmp_path / "a.png", bytes(spoilt))


@given(content=st.binary(max_size=200))
@example(content=b"II*\0\x08\0\0\0")
@example(content=b"MM\0*\xff\xff\xff\xff")
@example(content=b"\xff\xd8\xff\xe0\0\0")
def test_random_bytes_are_a_user_error(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UserError):
        read_image(path)


def read_or_user_error(path, content):
    """Read as a mask and as an image; returns the image, or None after a proper UserError."""
    path.write_bytes(content)
    array = None
    for read in (read_mask, read_image):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                array = read(path)
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            array = None
    return array


# --- Masks ---


def test_a_palette_mask_gives_its_indices(tmp_path):
    indices = numbers(HEIGHT, WIDTH, high=4)
    picture = Image.fromarray(indices).convert("P")
    picture.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), indices)


# --- Folders and pairs ---


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_files_pair_by_stem_in_order_of_stem(tmp_path):
    for name in ("b 2.PNG", "ä.jpeg", "a.1.tiff", ".hidden.png", "notes.txt", "a.1.tfw"):
        touch(tmp_path / "images" / name)
    for name in ("ä.png", "b 2.tif", "a.1.png", "lonely.png"):
        touch(tmp_path / "masks" / name)
    (tmp_path / "images" / "folder.png").mkdir()
    images, masks = tmp_path / "images", tmp_path / "masks"
    assert find_pairs(images, masks) == [
        Pair("a.1", images / "a.1.tiff", masks / "a.1.png"),
        Pair("b 2", images / "b 2.PNG", masks / "b 2.tif"),
        Pair("ä", images / "ä.jpeg", masks / "ä.png"),
    ]
    assert match(images, masks)[1:] == ([], [masks / "lonely.png"])


def test_names_pair_however_their_accents_are_stored(tmp_path):
    touch(tmp_path / "images" / (unicodedata.normalize("NFD", "né") + ".png"))
    touch(tmp_path / "masks" / (unicodedata.normalize("NFC", "né") + ".png"))
    assert len(find_pairs(tmp_path / "images", tmp_path / "masks")) == 1


def test_a_linked_folder_is_a_folder(tmp_path):
    touch(tmp_path / "real" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    assert list(list_images(tmp_path / "link")) == ["a"]


def test_no_pairs_says_how_many_files_there_are(tmp_path):
    for number in range(3):
        touch(tmp_path / "images" / f"a{number}.png")
    touch(tmp_path / "masks" / "other.png")
    with pytest.raises(UserError) as caught:
        find_pairs(tmp_path / "images", tmp_path / "masks")
    one_line(caught, "images has a0 and 2 more", "masks has other", "_mask.png")


def test_a_stem_that_occurs_twice_is_named(tmp_path):
    touch(tmp_path / "a.png")
    touch(tmp_path / "a.jpg")
    with pytest.raises(UserError) as caught:
        list_images(tmp_path)
    one_line(caught, "a.png", "a.jpg")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        find_pairs(tmp_path / "nowhere", tmp_path)


# --- Data sets ---


def pair(tmp_path, image, mask, stem="north"):
    return Pair(
        stem,
        save(tmp_path / "images" / f"{stem}.png", image),
        save(tmp_path / "masks" / f"{stem}.png", mask),
    )


def test_sizes_that_differ_are_told(tmp_path):
    with pytest.raises(UserError) as caught:
        load_pairs([pair(tmp_path, numbers(5, 7, 3), numbers(7, 5, high=2))])
    one_line(caught, "north.png", "7 x 5", "5 x 7")


@given(seed=st.integers(0, 100), classes=st.integers(1, 5))
def test_classes_are_counted_without_the_ignored(seed, classes):
    rng = np.random.default_rng(seed)
    masks = [rng.integers(0, classes, rng.integers(1, 6, 2)).astype(np.uint8) for _ in range(3)]
    masks[0][0, 0] = 255
    counts = count_classes(masks, classes, ignore_index=255)
    pixels = np.concatenate([mask.ravel() for mask in masks])
    assert counts.dtype == np.int64 and counts.shape == (classes,)
    assert counts.tolist() == [np.count_nonzero(pixels == index) for index in range(classes)]


@given(
    count=st.integers(2, 20),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_split_takes_every_image_once(count, fraction, seed):
    images = [np.full((1, 1, 1), index) for index in range(count)]
    dataset = Dataset([str(index) for index in range(count)], images, [i[..., 0] for i in images])
    rest, part = dataset.split(fraction, seed)
    assert len(rest) >= 1 and len(part) >= 1
    assert abs(len(part) - fraction * count) <= 1
    assert sorted(rest.stems + part.stems) == sorted(dataset.stems)
    for half in (rest, part):
        assert half.stems == [str(image[0, 0, 0]) for image in half.images]
        assert half.stems == [str(mask[0, 0]) for mask in half.masks]
    assert dataset.split(fraction, seed)[1].stems == part.stems


def test_one_image_cannot_be_split():
    dataset = Dataset(["a"], [np.zeros((2, 2, 1))], [np.zeros((2, 2), int)])
    with pytest.raises(UserError, match="at least 2"):
        dataset.split(0.2, 0)
    with pytest.raises(UserError, match="between 0 and 1"):
        dataset.split(1.5, 0)


# -- Where the classes are -------------------------------------------------------------------------


def test_a_class_is_drawn_evenly_and_then_one_of_its_pixels():
    """Class 1 has 4 pixels in two masks, class 2 a single one, class 3 none; 255 is ignored."""
    masks = [np.zeros((5, 7), np.uint8), np.zeros((3, 600), np.uint8)]
    masks[0][1, 2] = masks[0][4, 6] = masks[1][0, 0] = masks[1][2, 599] = 1
    masks[1][1, 550] = 2
    masks[0][0, :] = 255
    pixels = ClassPixels(masks, classes=4, ignore_index=255)
    rng = np.random.default_rng(0)
    drawn = [pixels.draw(rng) for _ in range(3000)]
    labels = [int(masks[index][row, column]) for index, row, column in drawn]
    np.testing.assert_allclose(np.bincount(labels) / 3000, [1 / 3] * 3, atol=0.03)
    ones = Counter(place for place, label in zip(drawn, labels, strict=True) if label == 1)
    assert ones.keys() == {(0, 1, 2), (0, 4, 6), (1, 0, 0), (1, 2, 599)}
    assert min(ones.values()) > 0.2 * sum(ones.values())
    zeros = {place for place, label in zip(drawn, labels, strict=True) if label == 0}
    assert len(zeros) > 700 and {index for index, _, _ in zeros} == {0, 1}


def test_classes_of_a_scene_that_is_read_by_windows_are_found_as_in_memory():
    mask = np.random.default_rng(0).integers(0, 3, (530, 600)).astype(np.uint8)
    windowed = Windowed(mask.shape, mask.dtype, lambda rows, columns: mask[rows, columns].copy())
    for seed in range(20):
        draws = [
            ClassPixels([each], 3).draw(np.random.default_rng(seed)) for each in (mask, windowed)
        ]
        assert draws[0] == draws[1]
