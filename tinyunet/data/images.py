"""One reader for every image and mask: the numbers as they are stored, and which of them are data.

A wrong pixel is worse than none. Pillow reads PNG, JPEG, BMP, WebP and GIF, and those TIFFs whose
tags say that it reads them right. Every other TIFF, JPEG 2000, and whatever knows its place on
Earth is read by rasterio (GDAL), the extra ``geo``; without it, the file is refused by name.

Nothing is reinterpreted on the way: the fourth channel is alpha only where the file says so,
2 bits stay 0 to 3, and white stays 0 where it is stored so.
"""

import contextlib
import functools
import os
import threading
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

from tinyunet.errors import UserError

# A PNG of a few kilobytes can claim far more, and would fill the memory on decoding: a
# "decompression bomb". Larger scenes are GeoTIFFs, which are read by windows.
MAX_PIXELS = 500_000_000

ALL = slice(None)
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")

# TIFF tags
COMPRESSION, PHOTOMETRIC, FILL_ORDER, ORIENTATION, SAMPLES = 259, 262, 266, 274, 277
BITS, STRIPS, PLANAR, PREDICTOR, TILES, EXTRA_SAMPLES, SAMPLE_FORMAT = (
    258,
    273,
    284,
    317,
    324,
    338,
    339,
)
GEO_TAGS = (33550, 33922, 34264, 34735, 42112, 42113)

COLORS = {"1": "1-bit gray", "CMYK": "CMYK", "LAB": "LAB", "HSV": "HSV"}
PHOTOMETRICS = {0: "gray with white as 0", 5: "CMYK", 6: "YCbCr", 8: "LAB", 9: "LAB", 10: "LAB"}
BAND_NAMES = {"R": "red", "G": "green", "B": "blue", "A": "alpha", "L": "gray", "1": "gray"}


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
        return replace(
            self,
            transform=(a, b, a * column + b * row + c, d, e, d * column + e * row + f),
        )


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
    by_windows : bool
        Whether a part can be read without the rest.
    complete : bool
        Whether nothing in the file can mark missing data.
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
    by_windows: bool = False
    complete: bool = False

    def pixels(self, rows: slice = ALL, columns: slice = ALL) -> np.ndarray:
        """Read the pixels alone, (h, w, C)."""
        return self.read(rows, columns)[0]

    def valid(self, rows: slice = ALL, columns: slice = ALL) -> np.ndarray:
        """Read which pixels are data, (h, w), bool."""
        pixels, valid = self.read(rows, columns)
        return np.ones(pixels.shape[:2], bool) if valid is None else valid

    def bands(self, numbers) -> "Raster":
        """Give the same image with the bands of these indices only, counted from 0."""

        def read(rows=ALL, columns=ALL):
            pixels, valid = self.read(rows, columns)
            return pixels[:, :, list(numbers)], valid

        names = tuple(self.band_names[number] for number in numbers)
        same = list(numbers) == list(range(len(self.band_names)))
        without_alpha = "alpha" in self.band_names and "alpha" not in names
        color = self.color if same or without_alpha else color_of(names)
        return replace(
            self, shape=(*self.shape[:2], len(names)), band_names=names, color=color, read=read
        )


def read_image(path: str | Path) -> np.ndarray:
    """Read all pixels of an image file as they are stored, (H, W, C); alpha is a channel.

    Raises
    ------
    UserError
        See `open_raster`.
    """
    raster = open_raster(path)
    return with_palette_as_colors(raster).pixels()


def open_raster(path: str | Path, turn: bool = True) -> Raster:
    """Open an image file of any kind, turned as its EXIF data say if `turn`.

    Raises
    ------
    UserError
        If there is no such file, it is empty, broken, no image, has a layout that needs rasterio
        where that is not installed, or claims to be larger than `MAX_PIXELS`.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path}: is empty (0 bytes)")
        with open(path, "rb") as file:
            start = file.read(12)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        special, tags = inspect_tiff(path)
        if special:
            return open_with_rasterio(path, special, tags)
    elif start[4:8] == b"jP  " or start[:4] == b"\xff\x4f\xff\x51":
        return open_with_rasterio(path, "is a JPEG 2000")
    return open_with_pillow(path, turn)


# --- Which TIFFs Pillow reads right ------------------------------------------------------------


def inspect_tiff(path: Path) -> tuple[str, dict]:
    """Say what is special about a TIFF, "" if Pillow reads it right; and give its tags."""
    with open(path, "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow's, about odd tags
        header = file.read(8)
        if header[2:4] in (b"+\0", b"\0+"):
            return "is a BigTIFF", {}
        try:
            tags = TiffImagePlugin.ImageFileDirectory_v2(header)
            file.seek(tags.next)
            tags.load(file)
            known = dict(tags)
            special = special_in(known) or ("has several pages" if tags.next else "")
        except Exception as error:  # a broken file can surface in Pillow as any kind of exception
            raise UserError(f"{path}: is a broken TIFF ({_first_line(error)})") from error
    beside = _beside(path)
    return special or (f"has {beside[0].name} beside it" if beside else ""), known


def special_in(tags: dict) -> str:
    """Find the first thing in a TIFF's tags that Pillow is not known to read right."""
    samples, bits = tags.get(SAMPLES, 1), tags.get(BITS, (1,))
    kinds, photometric = set(tags.get(SAMPLE_FORMAT, (1,))), tags.get(PHOTOMETRIC)
    extra = tuple(tags.get(EXTRA_SAMPLES, ()))
    plain = {(1, 1): (1, 8, 16), (2, 3): (8,), (2, 4): (8,), (3, 1): (8,), (5, 4): (8,)}
    offsets = tags.get(STRIPS) or tags.get(TILES) or (0,)
    if any(tag in tags for tag in GEO_TAGS):
        return "is georeferenced or marks missing data"
    if photometric in PHOTOMETRICS and photometric != 5:
        return f"is {PHOTOMETRICS[photometric]}"
    if tags.get(COMPRESSION, 1) not in (1, 5, 8, 32773, 32946):
        return f"has compression {tags[COMPRESSION]}"
    if samples > 1 and tags.get(PLANAR, 1) != 1:
        return "stores its channels one after the other"
    if kinds == {3} and (photometric, samples) == (1, 1) and set(bits) == {32}:
        return "" if tags.get(PREDICTOR, 1) in (1, 2) else "has a predictor for floats"
    if kinds != {1} or len(set(bits)) != 1 or bits[0] not in plain.get((photometric, samples), ()):
        kind = {1: "", 2: " signed", 3: " floating-point"}.get(min(kinds), "")
        return f"has {samples} channel(s) of {bits[0]}-bit{kind} numbers"
    if extra != ((2,) if (photometric, samples) == (2, 4) else ()):
        return "has a fourth channel that is not plain transparency"
    if tags.get(FILL_ORDER, 1) != 1:
        return "stores its bits in reverse order"
    if not all(offsets):
        return "has parts that are not stored"
    return ""


def _beside(path: Path) -> list[Path]:
    """List the files beside an image that say where it lies, or which of its pixels are data."""
    ending = path.suffix[1:].lower()
    names = {f".{ending[:1]}{ending[-1:]}w", f".{ending}w", ".wld"}
    candidates = [path.with_suffix(suffix) for name in names for suffix in (name, name.upper())]
    candidates += [path.with_name(path.name + suffix) for suffix in (".aux.xml", ".msk")]
    return [candidate for candidate in candidates if candidate.is_file()]


# --- Pillow ------------------------------------------------------------------------------------


def open_with_pillow(path: Path, turn: bool = True) -> Raster:
    """Decode an image with Pillow."""
    try:
        with warnings.catch_warnings(), without_pillows_limit():
            warnings.simplefilter("ignore")  # of Pillow's, about odd metadata
            image = Image.open(path, formats=FORMATS)
        with image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UserError(
                    f"{path}: claims {height:,} x {width:,} pixels, more than the {MAX_PIXELS:,} "
                    "that are decoded at once: convert it to a tiled GeoTIFF, which is read by "
                    "windows (gdal_translate -co TILED=YES)"
                )
            stored = image.tile[0][3] if image.tile else ""
            raw_mode = str(stored if isinstance(stored, str) else stored[0])
            if len(image.getbands()) > 1 and ";16" in raw_mode:
                return open_with_rasterio(path, "has color channels of 16 bits")
            frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
            kind = image.format
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image.load()
                turned = turn and image.getexif().get(ORIENTATION, 1) in range(2, 9)
                if turned:
                    ImageOps.exif_transpose(image, in_place=True)
    except UserError:
        raise
    except Image.UnidentifiedImageError as error:
        raise UserError(
            f"{path}: is not an image that is read here (PNG, JPEG, TIFF, BMP, WebP, GIF, "
            "JPEG 2000), or is broken at its very start"
        ) from error
    except Exception as error:  # a broken file can surface in Pillow as any kind of exception
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        raise UserError(
            f"{path}: is broken or incomplete ({_first_line(error)}): copy or export it again"
        ) from error
    if frames > 1:
        warn_once(f"{path}: has {frames} frames or pages; only the first is read")
    array, palette, names, color = _from_pillow(image, raw_mode)
    place = None
    if _beside(path) and kind != "TIFF":
        place = open_with_rasterio(path, f"has {_beside(path)[0].name} beside it").place
        if place is not None and turned:
            warn_once(f"{path}: is stored turned or mirrored; its place is not kept")
            place = None
    finite = np.isfinite(array).all(axis=2) if array.dtype.kind == "f" else None

    def read(rows=ALL, columns=ALL):
        return array[rows, columns], None if finite is None else finite[rows, columns]

    return Raster(
        path,
        array.shape,
        array.dtype,
        names,
        color,
        read,
        place=place,
        palette=palette,
        turned=turned,
        lossy=kind in ("JPEG", "MPO", "WEBP"),
    )


def _from_pillow(image: Image.Image, raw_mode: str):
    """Give the pixels (H, W, C) as stored, the palette or None, band names and color model."""
    palette = None
    if image.mode in ("YCbCr", "RGBX", "PA", "RGBa"):
        image = image.convert("RGB" if image.mode in ("YCbCr", "RGBX") else "RGBA")
    if image.mode == "P":
        palette = np.zeros((256, 3), np.uint8)
        colors = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette[: len(colors)] = colors
    array = np.array(image)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    color = COLORS.get(image.mode)
    # Pillow spreads 2 and 4 bits over 0 to 255, as a picture needs; a class is the stored number.
    for bits in (2, 4):
        if image.mode == "L" and raw_mode.startswith(f"L;{bits}"):
            array, color = array // (255 // (2**bits - 1)), f"{bits}-bit gray"
    names = tuple(BAND_NAMES.get(band, band) for band in image.getbands())
    names = names if array.ndim == 3 else ("gray",)
    array = array if array.ndim == 3 else array[:, :, np.newaxis]
    return array, palette, names, color or color_of(names)


def color_of(names) -> str:
    """Tell the color model from the names of the bands."""
    known = {("gray",): "gray", ("red", "green", "blue"): "RGB"}
    return known.get(tuple(name for name in names if name != "alpha"), "bands")


_LIMIT_LOCK = threading.Lock()


@contextlib.contextmanager
def without_pillows_limit() -> Iterator[None]:
    """Lift Pillow's own limit of pixels, a global that is too low for scenes; ours stands in."""
    with _LIMIT_LOCK:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def warn_once(message: str) -> None:
    """Warn; Python shows a message from one place only once."""
    warnings.warn(message, stacklevel=2)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


# --- rasterio ----------------------------------------------------------------------------------


def import_rasterio(path: str | Path, special: str):
    """Import rasterio, or say which file needs it and why."""
    os.environ.setdefault("GDAL_CACHEMAX", "256")  # MB, of decoded blocks
    try:
        import rasterio
        import rasterio.enums
        import rasterio.features
        import rasterio.warp
    except ImportError as error:
        raise UserError(
            f"{path}: {special}, which is read with rasterio: pip install 'tinyunet[geo]'"
        ) from error
    return rasterio


_GDAL_LOCK = threading.RLock()  # a GDAL data set may not be used by two threads at once


@functools.lru_cache(maxsize=16)
def _handle(path: Path, version: tuple):
    """Keep the latest files open, and with them GDAL's cache of their blocks."""
    import rasterio

    return rasterio.open(path)


def _open_handle(path: Path):
    stat = os.stat(path)
    return _handle(path, (stat.st_mtime_ns, stat.st_size, stat.st_ino))


def open_with_rasterio(path: Path, special: str, tags: dict | None = None) -> Raster:
    """Open an image with rasterio; its pixels are read when they are asked for.

    `tags` are those of a TIFF, where known.
    """
    rasterio = import_rasterio(path, special)
    photometric = (tags or {}).get(PHOTOMETRIC)
    try:
        with _GDAL_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is not georeferenced
            file = _open_handle(path)
            pages = len(file.subdatasets)
            if file.count == 0:
                raise UserError(f"{path}: holds several images, none of them at the top")
            dtypes, shape = set(file.dtypes), (*file.shape, file.count)
            interpretation = [color.name for color in file.colorinterp]
            names = [
                description or (color if color not in ("undefined", "palette") else f"band {k}")
                for k, (description, color) in enumerate(
                    zip(file.descriptions, interpretation, strict=True), start=1
                )
            ]
            identity = file.transform == rasterio.Affine.identity()
            place = None
            if not identity or file.crs:
                crs = file.crs.to_wkt() if file.crs else ""
                place = Place(tuple(file.transform)[:6], crs)
            palette, bits = None, file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
            if interpretation[0] == "palette" and file.count == 1:
                palette = np.zeros((256, 3), np.uint8)
                for number, rgba in file.colormap(1).items():
                    palette[number % 256] = rgba[:3]
            lossy = file.compression is not None and "JPEG" in file.compression.name.upper()
            nodata = file.nodata
            flags = {flag.name for flags in file.mask_flag_enums for flag in flags}
    except rasterio.errors.RasterioError as error:
        raise UserError(f"{path}: {special}, and is broken ({_first_line(error)})") from error
    except UserError:
        raise
    except Exception as error:  # the tags may hold anything
        raise UserError(f"{path}: is broken or incomplete ({_first_line(error)})") from error
    if pages > 1:
        warn_once(f"{path}: has {pages} frames or pages; only the first is read")
    if photometric in (5, 6, 8, 9, 10) and interpretation == ["red", "green", "blue", "alpha"]:
        raise UserError(  # what GDAL gives is a conversion
            f"{path}: stores {PHOTOMETRICS[photometric]} in a way that is not read as it is: save "
            "it as RGB"
        )
    if len(dtypes) > 1 or min(dtypes).startswith("complex"):
        raise UserError(f"{path}: has bands of {', '.join(sorted(dtypes))}: save all as one type")
    if names.count("gray") == 1 and len(names) > 1 and "alpha" not in names:
        names[names.index("gray")] = "band 1"
    if palette is not None:
        names = ["gray"]
    is_rgb = photometric == 6  # JPEG, which GDAL turns into RGB
    color = color_of(names) if is_rgb else PHOTOMETRICS.get(photometric) or color_of(names)
    if bits in ("1", "2", "4"):
        color = f"{bits}-bit {color}"
    dtype = np.dtype("float32" if min(dtypes) in ("float16", "float64") else min(dtypes))

    def read(rows=ALL, columns=ALL):
        return _read_with_rasterio(path, dtype, rows, columns)

    return Raster(
        path,
        shape,
        dtype,
        tuple(names),
        color,
        read,
        place=place,
        palette=palette,
        lossy=lossy,
        nodata=nodata,
        by_windows=True,
        complete=dtype.kind != "f" and (flags == {"all_valid"} or "alpha" in flags),
    )


def _read_with_rasterio(path: Path, dtype, rows: slice, columns: slice):
    """Read a window: its pixels (h, w, C), and which are data, or None if all are."""
    import rasterio
    from rasterio.enums import MaskFlags
    from rasterio.windows import Window

    try:
        with _GDAL_LOCK:
            file = _open_handle(path)
            (top, bottom, _), (left, right, _) = (
                part.indices(side) for part, side in zip((rows, columns), file.shape, strict=True)
            )
            window = Window(left, top, right - left, bottom - top)
            bands = file.read(window=window)
            flags, valid = file.mask_flag_enums[0], None
            if MaskFlags.nodata in flags:
                each = file.read_masks(window=window) != 0
                # An RGB pixel may have a 0 in one band; -9999 is data in none.
                valid = each.any(axis=0) if dtype.kind == "u" else each.all(axis=0)
            elif MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
                valid = file.read_masks(1, window=window) != 0
    except (rasterio.errors.RasterioError, OSError) as error:
        raise UserError(
            f"{path}: is broken or incomplete ({_first_line(error)}): copy or export it again"
        ) from error
    if dtype.kind == "f":
        finite = np.isfinite(bands).all(axis=0)
        valid = finite if valid is None else valid & finite
    pixels = np.ascontiguousarray(np.moveaxis(bands, 0, 2)).astype(dtype, copy=False)
    return pixels, valid


# --- What the numbers mean ---------------------------------------------------------------------


def with_palette_as_colors(raster: Raster) -> Raster:
    """Give an image that stores numbers for colors as the colors, (H, W, 3)."""
    if raster.palette is None:
        return raster

    def read(rows=ALL, columns=ALL):
        pixels, valid = raster.read(rows, columns)
        return raster.palette[pixels[:, :, 0]], valid

    names = ("red", "green", "blue")
    return replace(
        raster, shape=(*raster.shape[:2], 3), band_names=names, color="RGB", read=read, palette=None
    )


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
    """

    dtype: str
    color: str
    band_names: tuple[str, ...]
    bands: tuple[int, ...] | None = None
    alpha: str | None = None

    def __post_init__(self) -> None:
        """Turn the lists that JSON gives into tuples, and see that all is of the right kind."""
        for name in ("band_names", "bands"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        words = (self.dtype, self.color, *self.band_names, self.alpha or "")
        numbers = self.bands or ()
        if not all(isinstance(word, str) for word in words) or not all(
            isinstance(number, int) for number in numbers
        ):
            raise ValueError(f"{self!r} is no format of images")

    def __str__(self) -> str:
        """Say it in words: "RGB of uint8", "bands (red, green, nir) of uint16"."""
        names = f" ({', '.join(self.band_names)})" if self.color == "bands" else ""
        return f"{self.color}{names} of {self.dtype}"

    @classmethod
    def of(cls, raster: Raster, bands=None, alpha=None) -> "ImageFormat":
        """Describe an image that `prepare` gave."""
        return cls(str(raster.dtype), raster.color, raster.band_names, bands, alpha)


def prepare(raster: Raster, bands=None, alpha: str | None = None) -> Raster:
    """Choose the bands of an image, and settle what its transparency means.

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
    raster = with_palette_as_colors(raster)
    if bands is not None:
        if not set(bands) <= set(range(1, raster.shape[2] + 1)):
            raise UserError(
                f"{raster.path}: has the bands 1 to {raster.shape[2]} "
                f"({', '.join(raster.band_names)}), not all of {', '.join(map(str, bands))}"
            )
        if not (alpha == "valid" and "alpha" in raster.band_names):
            return raster.bands([number - 1 for number in bands])
    if "alpha" not in raster.band_names or alpha == "channel":
        return raster
    index = raster.band_names.index("alpha")
    if alpha is None and not all(
        (raster.pixels(*part)[..., index] == full_alpha(raster)).all()
        for part in blocks(raster.shape)
    ):
        raise UserError(
            f"{raster.path}: is partly transparent; say what that means: --alpha valid "
            "(transparent pixels are missing data), --alpha drop (nothing), or --alpha channel "
            "(the network sees it)"
        )
    kept = [k for k in range(raster.shape[2]) if k != index]
    if bands is not None:
        kept = [number - 1 for number in bands]
    chosen = raster.bands(kept)
    if alpha != "valid":
        return chosen

    def read(rows=ALL, columns=ALL):
        pixels, valid = raster.read(rows, columns)
        shown = pixels[:, :, index] > 0
        return pixels[:, :, kept], shown if valid is None else shown & valid

    return replace(chosen, read=read, complete=False)


def full_alpha(raster: Raster):
    """Give the value of alpha that hides nothing."""
    return np.iinfo(raster.dtype).max if raster.dtype.kind in "iu" else 1


def in_format(raster: Raster, wanted: ImageFormat) -> Raster:
    """Give an image in the format of a model's images, or refuse it.

    Converted, with a note, are gray to RGB (the same in all three), and three bands without names
    to RGB. Nothing else is guessed.

    Raises
    ------
    UserError
        If the numbers of the image mean something else than those of the training images.
    """
    raster = prepare(raster, wanted.bands, wanted.alpha)
    if (wanted.color, raster.color, wanted.dtype) == ("RGB", "gray", str(raster.dtype)):
        warn_once("gray images are given to a model of RGB images: the same in all three channels")
        raster = replace(raster.bands([0, 0, 0]), color="RGB", band_names=wanted.band_names)
    unnamed = tuple(f"band {k}" for k in range(1, raster.shape[2] + 1))
    unnamed = unnamed in (raster.band_names, wanted.band_names)
    if unnamed and len(raster.band_names) == len(wanted.band_names):
        if raster.band_names != wanted.band_names:
            warn_once(f"bands without names are taken for {', '.join(wanted.band_names)}")
        raster = replace(raster, color=wanted.color, band_names=wanted.band_names)
    names = [tuple(map(str.casefold, each.band_names)) for each in (raster, wanted)]
    found = ImageFormat.of(raster)
    if (found.dtype, found.color, names[0]) != (wanted.dtype, wanted.color, names[1]):
        raise UserError(
            f"{raster.path}: is {found}, and {wanted} is needed, as the images of the training "
            "are: their numbers mean something else; convert it"
        )
    return raster


def filled(image: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Give an image for the eye: where it has no data, the darkest that it has elsewhere."""
    if valid is None or valid.all() or not valid.any():
        return image
    return np.where(valid[:, :, None], image, image[valid].min(axis=0))


def blocks(shape, side: int = 2048) -> Iterator[tuple[slice, slice]]:
    """Divide the rows and columns of an array (H, W, ...) into blocks of limited size."""
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            yield (
                slice(top, min(top + side, shape[0])),
                slice(left, min(left + side, shape[1])),
            )


# --- Names of files ----------------------------------------------------------------------------


def plain(name) -> str:
    """Write a name so that every terminal and file can hold it; odd characters are escaped.

    Among them are those that a terminal would obey, and bytes that are no text.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in unicodedata.normalize("NFC", str(name))
    )
