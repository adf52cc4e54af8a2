"""Never a wrong pixel: files in every layout that three libraries write, compared value by value.

The truth is what was given to the writer. Each layout is written by tifffile, rasterio or Pillow
and read by `open_raster`; no value may differ, whichever library reads it.
"""

import warnings

import numpy as np
import pytest
from PIL import Image

from tinyunet.data.images import open_raster
from tinyunet.errors import UserError

rasterio = pytest.importorskip("rasterio", reason="pip install 'tinyunet[geo]'")
tifffile = pytest.importorskip("tifffile", reason="pip install 'tinyunet[test]'")

H, W = 37, 53  # no multiples of 8 or 16, and not square
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
FLOATS = ("float16", "float32", "float64")


def numbers(dtype, bands, seed=0, levels=None):
    """Draw an image (H, W, bands) that uses the whole range of its type."""
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if dtype.kind in "fc":
        return rng.normal(size=(H, W, bands)).astype(dtype)
    low, high = (0, levels - 1) if levels else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return rng.integers(low, high, (H, W, bands), dtype=dtype, endpoint=True)


def by_tifffile(name, dtype, bands=1, **keywords):
    """Write with tifffile; planes come first where they are separate, as it wants them."""

    def write(folder):
        image = numbers(dtype, bands) if dtype != "bool" else numbers("uint8", bands, 0, 2) > 0
        given = image[:, :, 0] if bands == 1 else image
        if keywords.get("planarconfig") == "separate":
            given = np.moveaxis(given, 2, 0)
        tifffile.imwrite(folder / "a.tif", given, metadata=None, **keywords)
        return folder / "a.tif", image

    return pytest.param(write, id=f"tifffile-{name}")


def by_rasterio(
    name, dtype, bands=1, driver="GTiff", levels=None, block=None, ending="tif", **keywords
):
    """Write with rasterio, as GDAL does it; `block` leaves the rest of the file unwritten."""

    def write(folder):
        image = numbers(dtype, bands, levels=levels)
        shape = dict(height=H, width=W, count=bands, dtype=dtype)
        path = folder / f"a.{ending}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with rasterio.open(path, "w", driver=driver, **shape, **keywords) as file:
                if block:
                    image[block:] = 0
                    window = rasterio.windows.Window(0, 0, W, block)
                    file.write(np.moveaxis(image[:block], 2, 0), window=window)
                else:
                    file.write(np.moveaxis(image, 2, 0))
        return path, image

    return pytest.param(write, id=f"rasterio-{name}")


def by_pillow(name, mode, ending, levels=256, **keywords):
    """Write with Pillow; palette images are compared as numbers."""

    def write(folder):
        bands = len(Image.new(mode, (1, 1)).getbands())
        dtype = {"I;16": "uint16", "F": "float32", "I;16B": "uint16"}.get(mode, "uint8")
        image = numbers(dtype, bands, levels=None if dtype != "uint8" else levels)
        given = image if bands > 1 else image[:, :, 0]
        if mode == "1":
            picture = Image.fromarray(given > 0)
        else:
            picture = Image.fromarray(given)
        if mode == "P":
            picture = picture.convert("L")
            picture.putpalette(np.random.default_rng(1).integers(0, 256, 768, np.uint8).tobytes())
        picture.save(folder / f"a.{ending}", **keywords)
        return folder / f"a.{ending}", image

    return pytest.param(write, id=f"pillow-{name}")


RGB = dict(photometric="rgb")
LAYOUTS = [
    *(by_tifffile(f"gray-{kind}", kind) for kind in (*INTEGERS, *FLOATS, "int64", "uint64")),
    *(by_tifffile(f"gray-{kind}-big-endian", kind, byteorder=">") for kind in ("uint16", *FLOATS)),
    *(by_tifffile(f"gray-{kind}-deflate", kind, compression="zlib") for kind in INTEGERS),
    *(by_tifffile(f"gray-{kind}-bigtiff", kind, bigtiff=True) for kind in ("uint8", "float32")),
    *(by_tifffile(f"gray-{kind}-tiled", kind, tile=(16, 16)) for kind in (*INTEGERS, *FLOATS)),
    *(by_tifffile(f"gray-{kind}-strips", kind, rowsperstrip=5) for kind in ("uint8", "uint16")),
    *(
        by_tifffile(f"white-is-0-{kind}", kind, photometric="miniswhite")
        for kind in ("bool", "uint8", "uint16")
    ),
    by_tifffile("bool", "bool"),
    by_tifffile("bool-deflate", "bool", compression="zlib"),
    *(by_tifffile(f"rgb-{kind}", kind, 3, **RGB) for kind in (*INTEGERS, *FLOATS)),
    *(
        by_tifffile(f"rgb-{kind}-planes", kind, 3, planarconfig="separate", **RGB)
        for kind in ("uint8", "uint16", "float32")
    ),
    *(
        by_tifffile(
            f"rgb-{kind}-planes-tiled", kind, 3, planarconfig="separate", tile=(16, 32), **RGB
        )
        for kind in ("uint8", "uint16")
    ),
    *(
        by_tifffile(f"rgb-{kind}-big-endian", kind, 3, byteorder=">", **RGB)
        for kind in ("uint8", "uint16")
    ),
    *(
        by_tifffile(f"rgb-{kind}-tiled", kind, 3, tile=(16, 32), **RGB)
        for kind in ("uint8", "uint16")
    ),
    by_tifffile("rgb-deflate", "uint8", 3, compression="zlib", **RGB),
    *(
        by_tifffile(f"rgb-and-{extra}-{kind}", kind, 4, extrasamples=[extra], **RGB)
        for extra in ("unspecified", "assocalpha", "unassalpha")
        for kind in ("uint8", "uint16")
    ),
    *(
        by_tifffile(
            f"{bands}-bands-{kind}-{planes}",
            kind,
            bands,
            photometric="minisblack",
            planarconfig=planes,
        )
        for bands in (2, 5)
        for kind in ("uint8", "uint16", "float32")
        for planes in ("contig", "separate")
    ),
    *(
        by_tifffile(f"cmyk-{kind}", kind, 4, photometric="separated")
        for kind in ("uint8", "uint16")
    ),
    by_tifffile("lab-16", "uint16", 3, photometric="cielab"),
    *(by_rasterio(f"gray-{kind}", kind) for kind in (*INTEGERS, "float32", "float64", "int64")),
    *(
        by_rasterio(f"gray-{kind}-{form}", kind, compress=form)
        for form in ("lzw", "deflate", "packbits", "zstd", "lzma")
        for kind in ("uint8", "uint16", "float32")
    ),
    *(
        by_rasterio(f"gray-{kind}-predictor-{number}", kind, compress="lzw", predictor=number)
        for kind, number in (("uint8", 2), ("uint16", 2), ("int16", 2), ("float32", 3))
    ),
    *(
        by_rasterio(f"{bands}-bands-{kind}-{order}", kind, bands, interleave=order)
        for bands in (3, 4, 7)
        for kind in ("uint8", "uint16")
        for order in ("pixel", "band")
    ),
    *(
        by_rasterio(
            f"rgb-tiled-{form}",
            "uint8",
            3,
            tiled=True,
            blockxsize=16,
            blockysize=32,
            compress=form,
            **RGB,
        )
        for form in ("none", "lzw", "deflate")
    ),
    *(by_rasterio(f"{bits}-bits", "uint8", levels=2**bits, nbits=bits) for bits in (1, 2, 4, 7)),
    *(
        by_rasterio(f"{bits}-bits-wide", "uint16", levels=2**bits, nbits=bits)
        for bits in (10, 12, 14)
    ),
    by_rasterio("1-bit-fax", "uint8", levels=2, nbits=1, compress="ccittfax4"),
    by_rasterio("rgb-12-bits", "uint16", 3, levels=4096, nbits=12, **RGB),
    by_rasterio("white-is-0", "uint8", photometric="miniswhite"),
    by_rasterio(
        "sparse", "uint8", sparse_ok=True, tiled=True, blockxsize=16, blockysize=16, block=16
    ),
    by_rasterio("sparse-strips", "uint16", sparse_ok=True, block=8, blockysize=4),
    by_rasterio("rgb-alpha", "uint8", 4, alpha="yes", **RGB),
    by_rasterio("rgb-nir", "uint8", 4, alpha="no", **RGB),
    by_rasterio("bigtiff", "uint8", bigtiff="yes"),
    by_rasterio("big-endian", "uint16", 3, endianness="big"),
    by_rasterio("png-rgb-16", "uint16", 3, driver="PNG", ending="png"),
    by_rasterio("png-gray-16", "uint16", driver="PNG", ending="png"),
    by_rasterio("png-rgba-16", "uint16", 4, driver="PNG", ending="png"),
    *(
        by_rasterio(
            f"jpeg2000-{kind}",
            kind,
            3,
            driver="JP2OpenJPEG",
            ending="jp2",
            quality=100,
            reversible="yes",
        )
        for kind in ("uint8", "uint16")
    ),
    *(
        by_pillow(f"png-{mode}", mode, "png", 2 if mode == "1" else 256)
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
    ),
    *(by_pillow(f"png-palette-{bits}-bits", "P", "png", 2**bits, bits=bits) for bits in (1, 2, 4)),
    *(
        by_pillow(f"tiff-{mode}-{form}", mode, "tif", 2 if mode == "1" else 256, compression=form)
        for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F")
        for form in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits")
    ),
    *(
        by_pillow(f"bmp-{mode}", mode, "bmp", 2 if mode == "1" else 256)
        for mode in ("1", "L", "P", "RGB")
    ),
    *(
        by_pillow(f"webp-{mode}", mode, "webp", lossless=True, exact=True)
        for mode in ("RGB", "RGBA")
    ),
    by_pillow("gif", "P", "gif"),
]


def test_there_are_at_least_140_layouts():
    assert len(LAYOUTS) >= 140


@pytest.mark.parametrize("write", LAYOUTS)
def test_every_value_is_read_as_it_was_stored(write, tmp_path):
    path, image = write(tmp_path)
    raster = open_raster(path)
    expected = image.astype("float32") if image.dtype.kind == "f" else image
    assert raster.shape == image.shape
    np.testing.assert_array_equal(raster.pixels(), expected)
    assert raster.valid().all()
    part = raster.pixels(slice(3, 17), slice(20, 50))
    np.testing.assert_array_equal(part, expected[3:17, 20:50])


REFUSED = [
    by_tifffile("lab", "uint8", 3, photometric="cielab"),
    by_tifffile("cmyk-planes", "uint8", 4, photometric="separated", planarconfig="separate"),
    by_rasterio("cmyk", "uint8", 4, photometric="cmyk"),
    by_rasterio("complex", "complex64"),
]


@pytest.mark.parametrize("write", REFUSED)
def test_what_gdal_would_convert_is_refused_with_its_name(write, tmp_path):
    path, _ = write(tmp_path)
    with pytest.raises(UserError, match=f"{path}: .*save"):
        open_raster(path)
