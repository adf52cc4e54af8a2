"""Files of every kind, whole and broken: each command works, or says in one line what is wrong.

Whatever the files, a command ends with status 0, or with one line and status 2: never a traceback.
What it writes is complete, nothing half-written is left, and nothing outside its output is touched.
More examples: ``HYPOTHESIS_PROFILE=thorough python -m pytest tests/test_fuzz.py``.
"""

import contextlib
import io
import os
import struct
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from PIL import Image

from tests.strategies import seeds
from tinyunet.checkpoint import Model, save_model
from tinyunet.cli.main import main
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet

SIDE = 16  # pixels of most images


def encoded(picture, form: str, **options) -> bytes:
    """Write a picture into memory, in the format that Pillow calls `form`."""
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """Make a part of a PNG file."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_that_claims(width: int, height: int) -> bytes:
    """Make a small PNG file whose header claims a size: a bomb, or nothing at all."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(99)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def with_strange_numbers(rng) -> bytes:
    """Make a TIFF of floating-point numbers with NaN, infinity, halves or negative ones in it."""
    values = rng.integers(0, 3, (SIDE, SIDE)).astype(np.float32)
    values[rng.integers(SIDE), rng.integers(SIDE)] = rng.choice([np.nan, np.inf, 0.5, -1, 1e30, 1])
    return encoded(Image.fromarray(values), "TIFF")


def by_gdal(image, **keywords) -> bytes:
    """Make a GeoTIFF of an image (H, W, C)."""
    shape = dict(zip(("height", "width", "count"), image.shape, strict=True))
    with warnings.catch_warnings(), rasterio.MemoryFile() as memory:
        warnings.simplefilter("ignore")  # that it lies nowhere
        with memory.open(driver="GTiff", dtype=image.dtype, **shape, **keywords) as file:
            file.write(np.moveaxis(image, 2, 0))
        return bytes(memory.getbuffer())


def whole_file(rng) -> tuple[str, bytes]:
    """Make a file that is well-formed, of any kind: its ending and its content."""
    size = rng.choice([SIDE, SIDE, SIDE, 1, 7, 40], 2)
    gray = rng.integers(0, rng.choice([2, 3, 256]), size).astype(np.uint8)
    color = rng.integers(0, 256, (*size, 4)).astype(np.uint8)
    rgb = Image.fromarray(color[:, :, :3])
    kinds = [
        lambda: (".png", encoded(Image.fromarray(gray), "PNG")),
        lambda: (".png", encoded(rgb, "PNG")),
        lambda: (".PNG", encoded(Image.fromarray(color), "PNG")),
        lambda: (".png", encoded(Image.fromarray(color[:, :, :2], "LA"), "PNG")),
        lambda: (".png", encoded(rgb.quantize(5), "PNG")),
        lambda: (".png", encoded(rgb.quantize(5), "PNG", transparency=1)),
        lambda: (".png", encoded(Image.fromarray(gray > 0), "PNG")),
        lambda: (".png", encoded(Image.fromarray(gray.astype(np.uint16) * 200), "PNG")),
        lambda: (".png", encoded(rgb, "PNG", save_all=True, append_images=[rgb.rotate(90)])),
        lambda: (".png", encoded(rgb, "JPEG")),  # under a wrong name
        lambda: (".jpg", encoded(rgb, "JPEG", exif=turned(rng))),
        lambda: (".jpeg", encoded(rgb.convert("CMYK"), "JPEG")),
        lambda: (".tif", encoded(rgb.convert("CMYK"), "TIFF")),
        lambda: (".tif", encoded(rgb, "TIFF", compression="tiff_deflate")),
        lambda: (".tif", encoded(Image.fromarray(gray > 0), "TIFF", compression="group4")),
        lambda: (".tiff", encoded(rgb, "TIFF", save_all=True, append_images=[rgb, rgb])),
        lambda: (".tif", encoded(Image.fromarray(gray.astype(np.int32) - 1), "TIFF")),
        lambda: (".tif", with_strange_numbers(rng)),
        lambda: (".tif", by_gdal(color[:, :, :3], nodata=int(rng.integers(0, 3)))),
        lambda: (".tif", by_gdal(color, photometric="rgb", alpha=str(rng.choice(["yes", "no"])))),
        lambda: (".tif", by_gdal(color[:, :, :3].astype(np.uint16), interleave="band")),
        lambda: (".tif", by_gdal(gray[:, :, None].astype(np.int16) - 1, crs="EPSG:32633")),
        lambda: (".tif", by_gdal(gray[:, :, None], transform=rasterio.Affine(1, 0, 5, 0, -1, 9))),
        lambda: (".bmp", encoded(rgb, "BMP")),
        lambda: (".webp", encoded(rgb, "WEBP", lossless=True)),
    ]
    return kinds[rng.integers(len(kinds))]()


def turned(rng):
    """Make EXIF data that say that the camera was turned."""
    exif = Image.Exif()
    exif[274] = int(rng.integers(0, 10))
    return exif


def any_file(rng) -> tuple[str, bytes]:
    """Make a file that may be broken in any way: its ending and its content."""
    ending, content = whole_file(rng)
    damage = rng.integers(8)
    if damage == 0:
        content = content[: rng.integers(len(content) + 1)]
    elif damage == 1:
        content = bytearray(content)
        for place in rng.integers(len(content), size=rng.integers(1, 4)):
            content[place] = rng.integers(256)
    elif damage == 2:
        content = rng.bytes(rng.integers(200))
    elif damage == 3:
        sides = rng.choice([0, 1, 7, 30_000, 2**31 - 1], 2)
        ending, content = ".png", png_that_claims(*map(int, sides))
    return ending, bytes(content)


# One is as nasty as a name can be; the last collides with a result of the first.
NAMES = ["a", "b c", "ümläut", "e\u0301 (Mac)", "日本", "-dash", "x.y", "new\nline", "a_overlay"]


def fill(folder: Path, seed: int) -> None:
    """Make folders of images and masks, most of which fit together, and a model file."""
    rng = np.random.default_rng(seed)
    white = 255 if rng.random() < 0.2 else 1  # masks drawn for the eye, or of classes
    for kind in ("images", "masks"):
        # Sometimes a folder is a link to another, or misses, or is a file.
        place = folder / kind
        if rng.random() < 0.2:
            place = folder / f"real {kind}"
            (folder / kind).symlink_to(place)
        if rng.random() < 0.05:
            place.write_bytes(b"no folder")
            continue
        place.mkdir()
        for number, name in enumerate(NAMES[: 2 + rng.integers(len(NAMES) - 1)]):
            if number < 2 or rng.random() < 0.75:
                shape = (SIDE, SIDE, 3) if kind == "images" else (SIDE, SIDE)
                array = (
                    rng.integers(0, 200, shape) if kind == "images" else rng.integers(0, 2, shape)
                )
                array = (array if kind == "images" else white * array).astype(np.uint8)
                ending, content = ".png", encoded(Image.fromarray(array), "PNG")
            else:
                ending, content = any_file(rng)
            (place / (name + ending)).write_bytes(content)
    if rng.random() < 0.1:
        with contextlib.suppress(NotADirectoryError):
            (folder / "images" / "dangling.png").symlink_to(folder / "nowhere.png")
    network = UNet(3, 2, base_channels=2, depth=1, seed=seed)
    path = folder / "model.npz"
    save_model(path, Model(network, Standardization([100.0] * 3, [50.0] * 3)))
    if rng.random() < 0.2:
        content = bytearray(path.read_bytes())
        content[rng.integers(len(content))] ^= rng.integers(1, 256)
        length = rng.integers(len(content) + 1) if rng.random() < 0.5 else len(content)
        path.write_bytes(content[:length])


def everything(folder: Path) -> dict:
    """Note all that is in a folder, but for the folder `out` in it."""
    return {
        path: (os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes())
        for path in folder.rglob("*")
        if folder / "out" not in (path, *path.parents)
    }


COMMANDS = {
    "check": "check images masks --out out/report --depth 1",
    "table": "check images masks --val-images images --val-masks masks --ignore-index 255",
    "evaluate": "evaluate model.npz images masks --out out --json out.json --threads 1",
    "predict": "predict model.npz images --out out --probabilities --threads 1",
    "tile": "tile FIRST-IMAGE FIRST-MASK --out out --size 4",
    "train": "train images masks --out out --steps 2 --val-interval 1 --batch-size 2 --crop-size 8 "
    "--base-channels 1 --depth 1 --threads 1",
    "inspect": "inspect model.npz --size 8",
}
WRITTEN_BESIDE = {"evaluate": "out.json"}


def first_file(folder: Path, seed: int) -> str:
    """Pick a file of a folder."""
    files = sorted(folder.iterdir()) if folder.is_dir() else [folder]
    return str(files[seed % len(files)])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", COMMANDS)
@settings(max_examples=max(5, settings.default.max_examples // 2))
@given(seed=seeds)
def test_any_files_end_well_or_in_one_line(name, seed):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        fill(folder, seed)
        before = everything(folder)
        words = COMMANDS[name].split()
        for index, word in enumerate(words):
            if word.startswith("FIRST"):
                words[index] = first_file(folder / f"{word[6:].lower()}s", seed)
            elif word.partition("/")[0] in ("images", "masks", "out", "model.npz", "out.json"):
                words[index] = str(folder / word)
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            status = main(words)
        check_ending(status, output.getvalue(), errors.getvalue(), name)
        after = everything(folder)
        after.pop(folder / WRITTEN_BESIDE.get(name, "nothing"), None)
        assert after == before
        check_output(folder / "out", status, name)


def check_ending(status: int, output: str, errors: str, name: str) -> None:
    """Look at what a command said in the end."""
    assert status in ((0, 1, 2) if name in ("check", "table") else (0, 2)), (status, errors)
    assert "Traceback" not in output + errors
    lines = errors.splitlines()
    if name == "train":  # between the lines of its progress bar
        lines = [line for line in lines if line.startswith("tinyunet: ")]
    complaints = [line for line in lines if not line.startswith("tinyunet: note: ")]
    if name == "predict" and status == 2:  # a line for each bad file
        assert complaints, errors
    else:
        assert len(complaints) == (status == 2), errors
    assert all(line.startswith("tinyunet: ") for line in complaints)


def check_output(out: Path, status: int, name: str) -> None:
    """Look at what a command wrote: every file is whole, and none is left over."""
    for path in out.rglob("*"):
        assert not path.name.endswith(".partial") and not path.name.startswith(".")
        if path.suffix in (".png", ".tif"):
            with Image.open(path) as picture:
                picture.load()
        elif path.suffix == ".npz":
            np.load(path)["header"]
    if status == 0 and name in ("predict", "train", "tile"):
        assert any(out.iterdir())
