"""One reader for every image and mask: the numbers as they are stored, and which of them are data.

A wrong pixel is worse than none. Pillow reads PNG, JPEG, BMP, WebP and GIF, and those TIFFs whose
tags say that it reads them right. Every other TIFF, JPEG 2000, and whatever knows its place on
Earth is read by rasterio (GDAL), the extra ``geo``; without it, the file is refused by name.

Nothing is reinterpreted on the way: the fourth channel is alpha only where the file says so,
2 bits stay 0 to 3, and white stays 0 where it is stored so.
"""

import functools
import os
import threading
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, TiffTags

from tinyunet.errors import UserError, import_extra, problems_named

ALL = slice(None)
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
ORIENTATION = 274  # in EXIF data
MARKS = (-9999, -99999, -32767, -32768)  # numbers that often stand for missing data, unsaid

# The TIFFs that Pillow reads right: color model, bits of each channel, types of numbers (1 for
# unsigned integers, 3 for floats) and additional channels (2 for plain transparency) ...
PLAIN_LAYOUTS = {
    *((1, (bits,), (1,), ()) for bits in (1, 8, 16)),
    *((1, (32,), (3,), ()), (3, (8,), (1,), ()), (5, (8, 8, 8, 8), (1,), ())),
    *((2, (8, 8, 8), (1,), ()), (2, (8, 8, 8, 8), (1,), (2,))),
}
# ... and what compression, order of bits, planes and predictor may be, as the first is where there
# is no such tag; a place or missing data it does not know at all.
PLAIN_TAGS = {259: (1, 5, 8, 32773, 32946), 266: (1,), 284: (1,), 317: (1, 2)}
PLAIN_TAGS |= dict.fromkeys((33550, 33922, 34264, 34735, 42112, 42113), (None,))
BAND_NAMES = {"R": "red", "G": "green", "B": "blue", "A": "alpha", "L": "gray"}
COLOR_MODELS = {
    ("gray",): "gray",
    ("red", "green", "blue"): "RGB",
    ("cyan", "magenta", "yellow", "black"): "CMYK",
}


@dataclass(frozen=True)
class Place:
    """Where an image lies.

    Attributes
    ----------
    transform : tuple of 6 floats
        a to f in ``x = a * column + b * row + c`` and ``y = d * column + e * row + f``, where
        (0, 0) is the upper left corner of the image.
    crs : str
        The coordinate reference system of x and y, as WKT; empty if unknown.
    """

    transform: tuple[float, float, float, float, float, float]
    crs: str = ""

    def shifted(self, row: float, column: float) -> "Place":
        """Give the place of a part whose upper left pixel is (row, column) of this image."""
        a, b, c, d, e, f = self.transform
        x, y = a * column + b * row + c, d * column + e * row + f
        return replace(self, transform=(a, b, x, d, e, y))


@dataclass(frozen=True)
class Raster:
    """An image file that is open: what is known of it, and how to read its pixels.

    Attributes
    ----------
    path : Path
    shape : (H, W, C)
    dtype : numpy.dtype
    band_names : tuple of C str
        "red", "green", "nir", "band 4", ...; "alpha" only where the file says so.
    color : str
        What the channels mean together: "gray", "RGB", "CMYK", "LAB", "1-bit gray", "bands", ...
    read : function
        ``read(rows, columns)``, two slices, gives the pixels (h, w, C) and which of them are
        data: (h, w), bool, or None if all are.
    place : Place or None
    palette : array (256, 3), uint8, or None
        The color of each number, if the file has such a table.
    turned : bool
        Its EXIF data says that it is to be turned or mirrored; `read` has done so.
    lossy : bool
        JPEG or WebP: values may be a little off.
    nodata : float or None
        The number that marks missing data.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype
    band_names: tuple[str, ...]
    color: str
    read: Callable
    place: Place | None = None
    palette: np.ndarray | None = None
    turned: bool = False
    lossy: bool = False
    nodata: float | None = None

    def pixels(self, rows: slice = ALL, columns: slice = ALL) -> np.ndarray:
        """Read the pixels alone, (h, w, C)."""
        return self.read(rows, columns)[0]

    def valid(self, rows: slice = ALL, columns: slice = ALL) -> np.ndarray:
        """Read which pixels are data, (h, w), bool."""
        pixels, valid = self.read(rows, columns)
        return np.ones(pixels.shape[:2], bool) if valid is None else valid

    def altered(self, change: Callable, names, **others) -> "Raster":
        """Give the same image with ``change(pixels, valid)`` applied to all that is read."""
        return replace(
            self,
            shape=(*self.shape[:2], len(names)),
            band_names=tuple(names),
            read=lambda rows, columns: change(*self.read(rows, columns)),
            **others,
        )


def read_image(path: str | Path) -> np.ndarray:
    """Read all pixels of an image file as they are stored, (H, W, C); alpha is a channel.

    Raises
    ------
    UserError
        See `open_raster`.
    """
    return prepare(open_raster(path), alpha="channel").pixels()


def raster_of(array: np.ndarray, path: str | Path, names=(), **known) -> Raster:
    """Give an image (H, W, C) that is in memory as a `Raster`.

    Parameters
    ----------
    array : array (H, W, C), or (H, W)
        Numbers; where they are NaN or infinite there is no data.
    path : path
        Its name in messages.
    names : sequence of C str, optional
        Of the bands. Without them, one is gray and three are RGB.
    **known
        Other attributes of the `Raster`.
    """
    array = array[:, :, np.newaxis] if array.ndim == 2 else array
    finite = None
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
        finite = is_data(array).all(axis=2)
    channels = array.shape[2]
    usual = {1: ("gray",), 3: ("red", "green", "blue")}
    names = names or usual.get(channels, [f"band {k}" for k in range(1, channels + 1)])

    def read(rows, columns):
        return array[rows, columns], None if finite is None else finite[rows, columns]

    known = {"color": color_of(names)} | known
    return Raster(Path(path), array.shape, array.dtype, tuple(names), read=read, **known)


def is_data(floats: np.ndarray) -> np.ndarray:
    """Tell which numbers are data: not NaN, infinity or -3.4e38, the smallest that there is."""
    return np.abs(floats) < 1e30


def color_of(names) -> str:
    """Tell the color model from the names of the bands."""
    return COLOR_MODELS.get(tuple(name for name in names if name != "alpha"), "bands")


def open_raster(path: str | Path | Raster) -> Raster:
    """Open an image file of any kind, turned as its EXIF data say; a `Raster` is open already.

    Raises
    ------
    UserError
        If there is no such file, it is empty, broken, no image, or has a layout that needs rasterio
        where that is not installed.
    """
    if isinstance(path, Raster):
        return path
    path = Path(path)
    with problems_named(path, "cannot be read"), open(path, "rb") as file:
        start = file.read(26)
    if not start:
        raise UserError(f"{path}: is empty (0 bytes)")
    special = special_in(path, start)
    return open_with_rasterio(path, special) if special else open_with_pillow(path)


def special_in(path: Path, start: bytes) -> str:
    """Say what is special about a file of which these are the first bytes; "" if Pillow is right.

    A file beside it can say where it lies (a world file), or which of its pixels are data.
    """
    ending = path.suffix[1:].lower()
    world_files = ending[:1] + ending[-1:] + "w", ending + "w", "wld"
    beside = [path.with_suffix(f".{name}") for name in world_files]
    beside += [path.with_name(path.name + name) for name in (".aux.xml", ".msk")]
    if other := next(filter(Path.is_file, beside), None):
        return f"has {other.name} beside it"
    if start[4:8] == b"jP  " or start[:4] == b"\xff\x4f\xff\x51":
        return "is a JPEG 2000"
    if start[1:4] == b"PNG" and start[24:26] in (b"\x10\2", b"\x10\4", b"\x10\6", b"\2\0", b"\4\0"):
        return f"has {start[24]} bits for each channel"
    if start[:4] in (b"II+\0", b"MM\0+"):
        return "is a BigTIFF"
    return special_in_tiff(path) if start[:4] in (b"II*\0", b"MM\0*") else ""


def special_in_tiff(path: Path) -> str:
    """Find the first thing in a TIFF's tags that Pillow is not known to read right."""
    with problems_named(path, "is a broken TIFF"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow's, about odd tags
        with open(path, "rb") as file:
            tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
            file.seek(tags.next)
            tags.load(file)
        bits, kinds = tags.get(258, (1,)), tuple({*tags.get(339, (1,))})
        layout = tags.get(262), bits, kinds, tags.get(338, ())
        if layout not in PLAIN_LAYOUTS or tags.get(277, 1) != len(bits):
            return "has an unusual layout: color {}, bits {}, numbers {}, extra {}".format(*layout)
        for tag, allowed in PLAIN_TAGS.items():
            if tags.get(tag, allowed[0]) not in allowed:
                return f"has the tag {TiffTags.lookup(tag).name} {str(tags[tag])[:30]}"
        if not all(tags.get(273) or tags.get(324) or (0,)):
            return "has parts that are not stored"
        return "has several pages" if tags.next else ""


# --- Pillow ------------------------------------------------------------------------------------


def open_with_pillow(path: Path) -> Raster:
    """Decode an image with Pillow."""
    with problems_named(path, "is broken or incomplete"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow's, about odd metadata and many pixels
        try:
            image = Image.open(path, formats=FORMATS)
        except Image.DecompressionBombError:
            # A PNG of a few kilobytes can claim to be huge, and would fill the memory on decoding.
            # GDAL reads what is really there, by windows.
            return open_with_rasterio(path, "has very many pixels")
        except Image.UnidentifiedImageError as error:
            known = f"is not an image that is read here ({', '.join(FORMATS)}, JPEG 2000)"
            raise UserError(f"{path}: {known}") from error
        with image:
            lossy = image.format in ("JPEG", "MPO", "WEBP")
            frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
            image.load()
            turned = image.getexif().get(ORIENTATION, 1) in range(2, 9)
            ImageOps.exif_transpose(image, in_place=True)
            array, palette = np.array(image), None
            names = tuple(BAND_NAMES.get(band, band) for band in image.getbands())
            if image.mode == "P":
                palette = np.zeros((256, 3), np.uint8)
                colors = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
                palette[: len(colors)] = colors
    if frames > 1:
        warn_once(f"{path}: has {frames} frames or pages; only the first is read")
    array = array.astype("u1" if array.dtype == bool else array.dtype.newbyteorder("="), copy=False)
    known = {"palette": palette, "turned": turned, "lossy": lossy}
    if image.mode == "1":
        known["color"] = "1-bit gray"
    return raster_of(array, path, names if array.ndim == 3 else ("gray",), **known)


def warn_once(message: str) -> None:
    """Warn; Python shows a message from one place only once."""
    warnings.warn(message, stacklevel=2)


# --- rasterio ----------------------------------------------------------------------------------


def import_rasterio(path: str | Path, special: str):
    """Import rasterio, or say which file needs it and why."""
    os.environ.setdefault("GDAL_CACHEMAX", "256")  # MB, of decoded blocks
    names = ("rasterio", "rasterio.features", "rasterio.warp")
    return import_extra("geo", *names, what=f"{path}: {special}, so it")[0]


_GDAL_LOCK = threading.RLock()  # a GDAL data set may not be used by two threads at once


@functools.lru_cache(maxsize=16)
def _handle(path: Path, version: tuple):
    """Keep the latest files open, and with them GDAL's cache of their blocks."""
    import rasterio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is not georeferenced
        return rasterio.open(path)


def _open_handle(path: Path):
    stat = os.stat(path)
    return _handle(path, (stat.st_mtime_ns, stat.st_size, stat.st_ino))


def open_with_rasterio(path: Path, special: str) -> Raster:
    """Open an image with rasterio; its pixels are read when they are asked for."""
    rasterio = import_rasterio(path, special)
    with problems_named(path, f"{special}, and is broken"), _GDAL_LOCK:
        file = _open_handle(path)
        if (pages := len(file.subdatasets)) > 1:
            warn_once(f"{path}: has {pages} frames or pages; only the first is read")
        stored = file.tags(ns="IMAGE_STRUCTURE") | file.tags(1, ns="IMAGE_STRUCTURE")
        if (space := stored.get("SOURCE_COLOR_SPACE")) in ("CMYK", "CIELAB"):
            raise UserError(f"{path}: stores {space}, which GDAL converts: save it as RGB")
        dtypes = sorted(set(file.dtypes))
        if len(dtypes) > 1 or dtypes[0].startswith("complex"):
            raise UserError(f"{path}: has bands of {', '.join(dtypes)}: save all as one real type")
        dtype = np.dtype("float32" if dtypes[0] in ("float16", "float64") else dtypes[0])
        colors = [color.name for color in file.colorinterp]
        names = [
            description or (f"band {k}" if color in ("undefined", "palette") else color)
            for k, (description, color) in enumerate(zip(file.descriptions, colors, strict=True), 1)
        ]
        if len(names) > 1 and "gray" in names and "alpha" not in names:
            names[names.index("gray")] = "band 1"
        place, palette = None, None
        if file.crs or file.transform != rasterio.Affine.identity():
            place = Place(tuple(file.transform)[:6], file.crs.to_wkt() if file.crs else "")
        if colors == ["palette"]:
            palette, names = np.zeros((256, 3), np.uint8), ["gray"]
            for number, rgba in file.colormap(1).items():
                palette[number % 256] = rgba[:3]
        color = "gray with white as 0" if "MINISWHITE" in stored else color_of(names)
        if (bits := stored.get("NBITS")) in ("1", "2", "4"):
            color = f"{bits}-bit {color}"
        known = {"lossy": "JPEG" in stored.get("COMPRESSION", ""), "nodata": file.nodata}
        known |= {"place": place, "palette": palette}
        read = functools.partial(_read_with_rasterio, path, dtype)
        shape = (*file.shape, file.count)
        return Raster(path, shape, dtype, tuple(names), color, read, **known)


def _read_with_rasterio(path: Path, dtype, rows: slice, columns: slice):
    """Read a window: its pixels (h, w, C), and which are data, or None if all are."""
    from rasterio.enums import MaskFlags
    from rasterio.windows import Window

    with problems_named(path, "is broken or incomplete"), _GDAL_LOCK:
        file = _open_handle(path)
        window = Window.from_slices(rows, columns, *file.shape)
        bands = file.read(window=window)
        flags, valid = file.mask_flag_enums[0], None
        if MaskFlags.nodata in flags:
            each = file.read_masks(window=window) != 0
            # An RGB pixel may have a 0 in one band; -9999 is data in none.
            valid = each.any(axis=0) if dtype.kind == "u" else each.all(axis=0)
        elif MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
            valid = file.read_masks(1, window=window) != 0
    if dtype.kind == "f":
        finite = is_data(bands).all(axis=0)
        valid = finite if valid is None else valid & finite
    return np.ascontiguousarray(np.moveaxis(bands, 0, 2)).astype(dtype, copy=False), valid


# --- What the numbers mean ---------------------------------------------------------------------


@dataclass(frozen=True)
class ImageFormat:
    """What the numbers of a model's images mean: it is remembered, and others are refused.

    Attributes
    ----------
    dtype, color, band_names
        As of a `Raster`.
    bands : tuple of int or None
        Which bands of the file are used, counted from 1; None for all.
    alpha : str or None
        What a transparent pixel means: "valid" (it is missing data), "drop" (nothing) or
        "channel" (the network sees it); None where there was none.
    high : float
        The largest number: see `extremes`.
    """

    dtype: str
    color: str
    band_names: tuple[str, ...]
    bands: tuple[int, ...] | None = None
    alpha: str | None = None
    high: float = 0.0

    def __post_init__(self) -> None:
        """Turn the lists that JSON gives into tuples, and see that all is of the right kind."""
        for name in ("band_names", "bands"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        words = (self.dtype, self.color, *self.band_names, self.alpha or "")
        right = ((str, words), (int, self.bands or ()), (float, (self.high,)))
        if any(type(value) is not kind for kind, values in right for value in values):
            raise ValueError(f"{self!r} is no format of images")

    def __str__(self) -> str:
        """Say it in words: "RGB of uint8", "bands (red, green, nir) of uint16"."""
        names = f" ({', '.join(self.band_names)})" if self.color == "bands" else ""
        return f"{self.color}{names} of {self.dtype}"

    @classmethod
    def of(cls, raster: Raster, bands=None, alpha=None) -> "ImageFormat":
        """Describe an image that `prepare` gave."""
        names, (_, high) = raster.band_names, extremes(raster)
        return cls(str(raster.dtype), raster.color, names, bands, alpha, high)


def prepare(raster: Raster, bands=None, alpha: str | None = None) -> Raster:
    """Choose the bands of an image, and settle what its transparency means.

    Numbers that stand for colors, in a palette, become the colors.

    Parameters
    ----------
    raster : Raster
    bands : sequence of int, optional
        Which bands to use, counted from 1, in that order; without it all of them.
    alpha : str, optional
        See `ImageFormat`. Without it, transparency that hides nothing is dropped, and any other
        is refused.

    Raises
    ------
    UserError
        If there is no such band, or it is not said what transparency means.
    """
    if (palette := raster.palette) is not None:
        rgb = {"color": "RGB", "dtype": palette.dtype, "palette": None}
        names = ("red", "green", "blue")
        raster = raster.altered(lambda p, valid: (palette[p[:, :, 0]], valid), names, **rgb)
    names, path = raster.band_names, raster.path
    if bands is not None and not set(bands) <= set(range(1, len(names) + 1)):
        wanted, found = ", ".join(map(str, bands)), ", ".join(names)
        raise UserError(f"{path}: has the bands 1 to {len(names)} ({found}), not all of {wanted}")
    if "alpha" in names and alpha is None and bands is None and not is_opaque(raster):
        meanings = "valid (these pixels are missing data), drop (nothing) or channel (an input)"
        raise UserError(f"{path}: is partly transparent; say what that means: --alpha {meanings}")
    colors = [k for k, name in enumerate(names) if name != "alpha"]
    kept = [*range(len(names))] if alpha == "channel" else colors
    kept = kept if bands is None else [number - 1 for number in bands]
    if kept == [*range(len(names))]:
        return raster
    shown_by = names.index("alpha") if alpha == "valid" and "alpha" in names else None

    def change(pixels, valid):
        if shown_by is not None:
            opaque = pixels[:, :, shown_by] > 0
            valid = opaque if valid is None else opaque & valid
        return pixels[:, :, kept], valid

    chosen = [names[k] for k in kept]
    color = raster.color if kept == colors else color_of(chosen)
    return raster.altered(change, chosen, color=color)


def is_opaque(raster: Raster) -> bool:
    """Tell whether alpha hides nothing of an image, not even a little."""
    index = raster.band_names.index("alpha")
    full = np.iinfo(raster.dtype).max if raster.dtype.kind in "iu" else 1
    return all((raster.pixels(*part)[..., index] == full).all() for part in blocks(raster.shape))


def in_format(raster: Raster, wanted: ImageFormat) -> Raster:
    """Give an image in the format of a model's images, or refuse it.

    Converted, with a note, are gray to RGB (the same in all three), and bands without names to
    those of the model. Nothing else is guessed. Numbers that may be in another scale, such as 0 to
    1 for 0 to 255, get a note.

    Raises
    ------
    UserError
        If the numbers of the image mean something else than those of the training images.
    """
    raster = prepare(raster, wanted.bands, wanted.alpha)
    found, needed = raster.band_names, wanted.band_names
    if (wanted.color, raster.color, wanted.dtype) == ("RGB", "gray", str(raster.dtype)):
        warn_once("gray images are given to a model of RGB images: the same in all three channels")
        raster = raster.altered(lambda p, valid: (p.repeat(3, axis=2), valid), needed, color="RGB")
    unnamed = tuple(f"band {k}" for k in range(1, len(needed) + 1))
    if unnamed in (found, needed) and len(found) == len(needed) and found != needed:
        warn_once(f"bands without names are taken for {', '.join(needed)}")
        raster = replace(raster, color=wanted.color, band_names=needed)
    kinds = [(e.color, str(e.dtype), *map(str.casefold, e.band_names)) for e in (raster, wanted)]
    if kinds[0] != kinds[1]:
        fault = f"{raster.path}: is {ImageFormat.of(raster)}, and {wanted} is needed"
        raise UserError(f"{fault}, as the training images are: convert it")
    low, high = extremes(raster)
    if low in MARKS:
        cure = f"if it marks missing data, let the file say so: gdal_edit.py -a_nodata {low:g} FILE"
        warn_once(f"{raster.path}: its lowest number is {low:g}; {cure}")
    if wanted.high and high and not 0.01 < high / wanted.high < 100:
        ends = f"its numbers end at {high:g}, those of the training images at {wanted.high:g}"
        warn_once(f"{raster.path}: {ends}; if that is another scale, convert it")
    return raster


def extremes(raster: Raster) -> tuple[float, float]:
    """Give the smallest and the largest number of an image, or of blocks spread over it.

    The smallest is at most 0, the largest at least; both are 0 for 8 bits, which have one scale.
    """
    if raster.dtype == np.uint8:
        return 0.0, 0.0
    windows, low, high = list(blocks(raster.shape, 512)), 0.0, 0.0
    for window in windows[:: -(-len(windows) // 16)]:
        pixels, valid = raster.read(*window)
        data = True if valid is None else valid[:, :, np.newaxis]
        low = min(low, float(pixels.min(initial=0, where=data)))
        high = max(high, float(pixels.max(initial=0, where=data)))
    return low, high


def listed(names: Iterable[str], most: int = 5) -> str:
    """List a few names: "a, b, c and 7 more"."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" * (len(names) > most))


def filled(image: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Give an image for the eye: where it has no data, the darkest that it has elsewhere."""
    if valid is None or valid.all() or not valid.any():
        return image
    return np.where(valid[:, :, None], image, image[valid].min(axis=0))


def blocks(shape, side: int = 2048) -> Iterator[tuple[slice, slice]]:
    """Divide the rows and columns of an array (H, W, ...) into blocks of limited size."""
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            bottom, right = min(top + side, shape[0]), min(left + side, shape[1])
            yield slice(top, bottom), slice(left, right)


# --- Names of files ----------------------------------------------------------------------------


def plain(name) -> str:
    """Write a name so that every terminal and file can hold it; odd characters are escaped.

    Among them are those that a terminal would obey, and bytes that are no text.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in unicodedata.normalize("NFC", str(name))
    )
