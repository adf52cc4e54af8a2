r"""Where on Earth an image lies, so that its map opens there too.

A georeference is two things: a **transform** that turns pixels into map coordinates,

.. math:: x = a \cdot column + b \cdot row + c, \qquad y = d \cdot column + e \cdot row + f,

where (column, row) = (0, 0) is the upper left corner of the image, and a **coordinate reference
system** that says what x and y mean. For an image with north up, a is the width of a pixel, e its
height times -1 (rows go south), b and d are 0, and (c, f) is the place of the upper left corner.

They live in one of these places, and all are read:

- in a TIFF: the tags ModelPixelScale with ModelTiepoint, or ModelTransformation, and the three
  tags of the GeoKeys (OGC GeoTIFF Standard 19-008r4, http://www.opengis.net/doc/IS/GeoTIFF/1.1);
- beside any image: a world file (``.tfw``, ``.pgw``, ``.jgw``, ``.wld``), six numbers a, d, b, e
  and the place of the *center* of the upper left pixel; with a ``.prj`` that describes the system;
- beside any image: ``NAME.aux.xml``, in which GDAL keeps both.

Written are tags into a TIFF, and a world file with an ``.aux.xml`` beside any other image. That is
what GDAL, and with it QGIS, reads. A system that has no EPSG number but is spelled out in GeoKeys
fits into a TIFF only; beside other images just the transform is kept. An image that is placed by
ground control points alone has no transform, and counts as not georeferenced.
"""

import contextlib
import math
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, TiffImagePlugin

from tinyunet.atomic_io import save_picture, save_text
from tinyunet.data.dataset import FORMATS, without_pillows_limit

PIXEL_SCALE, TIEPOINT, TRANSFORMATION = 33550, 33922, 34264
KEY_DIRECTORY, KEY_DOUBLES, KEY_TEXTS = 34735, 34736, 34737
NODATA = 42113  # GDAL's
ORIENTATION = 274

SHORT, DOUBLE, TEXT = 3, 12, 2  # types of a TIFF tag
TAG_TYPES = {
    PIXEL_SCALE: DOUBLE,
    TIEPOINT: DOUBLE,
    TRANSFORMATION: DOUBLE,
    KEY_DIRECTORY: SHORT,
    KEY_DOUBLES: DOUBLE,
    KEY_TEXTS: TEXT,
    NODATA: TEXT,
}

RASTER_TYPE, GEOGRAPHIC, PROJECTED = 1025, 2048, 3072  # GeoKeys
PIXEL_IS_POINT = 2  # as raster type: tie points then mean the centers of pixels


@dataclass(frozen=True)
class Georeference:
    """Where an image lies.

    Attributes
    ----------
    transform : tuple of 6 floats
        a, b, c, d, e, f, as at the top of this file.
    geokeys : dict
        The GeoKey tags of a TIFF as they are, by number; may be empty.
    system : str
        The coordinate reference system in words: "EPSG:25832", or as WKT; empty if unknown.
    nodata : str
        The pixel value that marks missing data, as GDAL writes it; empty if there is none. It
        belongs to the image's values, so a map made from the image should not inherit it.
    """

    transform: tuple[float, float, float, float, float, float]
    geokeys: dict = field(default_factory=dict)
    system: str = ""
    nodata: str = ""

    def shifted(self, row: float, column: float) -> "Georeference":
        """Give the georeference of a part whose upper left pixel is (row, column) of this image."""
        a, b, c, d, e, f = self.transform
        c, f = a * column + b * row + c, d * column + e * row + f
        return replace(self, transform=(a, b, c, d, e, f))

    def without_nodata(self) -> "Georeference":
        """Give the same place, for a map of classes: the image's missing value is none of it."""
        return replace(self, nodata="")


# --- Reading ---------------------------------------------------------------------------------


def read_georeference(path: str | Path) -> Georeference | None:
    """Find out where an image lies, from its tags or the files beside it.

    What cannot be understood is left aside, since an image is worth predicting without its place.

    Returns
    -------
    Georeference or None
        None if the image has none.
    """
    path = Path(path)
    tags = _read_tags(path)
    noted_system, noted_transform = _read_aux_xml(path)
    transform = noted_transform or _transform_from(tags) or _read_world_file(path)
    if transform is None:
        return None
    if tags.get(ORIENTATION, 1) != 1:
        warnings.warn(f"{path}: is stored turned or mirrored; its place is not kept", stacklevel=2)
        return None
    geokeys = {} if noted_system else _geokeys(tags)  # what is noted beside overrules, as in GDAL
    system = noted_system or _system_from(geokeys) or _read_beside(path, "prj")
    nodata = tags.get(NODATA, "")
    return Georeference(transform, geokeys, system, nodata if isinstance(nodata, str) else "")


def _read_tags(path: Path) -> dict:
    """Read the tags that matter here; none from a broken file."""
    tags = {}
    # Whatever can be wrong with a file is told by `read_image`, which decodes it.
    with contextlib.suppress(Exception), warnings.catch_warnings(), without_pillows_limit():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=FORMATS) as image:
            if image.format != "PNG":  # for its EXIF a PNG would have to be decoded
                tags[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
            if image.format == "TIFF":
                tags.update({tag: image.tag_v2[tag] for tag in TAG_TYPES if tag in image.tag_v2})
    return tags


def _transform_from(tags: dict):
    """Compute the transform from the tags of a GeoTIFF, or None."""
    matrix = _numbers(tags.get(TRANSFORMATION), 16)
    scale, tie = _numbers(tags.get(PIXEL_SCALE), 3), _numbers(tags.get(TIEPOINT), 6)
    if matrix:
        a, b, _, c, d, e, _, f = matrix[:8]
    elif scale and tie:
        column, row, _, x, y, _ = tie
        a, b, d, e = scale[0], 0.0, 0.0, -scale[1]
        c, f = x - a * column, y - e * row
    else:
        return None
    return _sound(
        _from_center(a, b, c, d, e, f) if _is_point(_geokeys(tags)) else (a, b, c, d, e, f)
    )


def _read_world_file(path: Path):
    """Read the transform from the world file of an image, or None."""
    ending = path.suffix[1:]
    for candidate in (ending[:1] + ending[-1:] + "w", ending + "w", "wld"):
        words = _read_beside(path, candidate).replace(",", ".").split()
        numbers = _numbers(words, 6)
        if numbers:
            a, d, b, e, c, f = numbers
            return _sound(_from_center(a, b, c, d, e, f))
    return None


def _read_aux_xml(path: Path):
    """Read what GDAL noted beside an image: the system ("" if it did not) and the transform."""
    try:
        root = ElementTree.fromstring(_read_text(path.with_name(path.name + ".aux.xml")))
    except (ElementTree.ParseError, ValueError):
        return "", None
    system = (root.findtext("SRS") or "").strip()
    numbers = _numbers((root.findtext("GeoTransform") or "").split(","), 6)
    if not numbers:
        return system, None
    c, a, b, f, d, e = numbers
    return system, _sound((a, b, c, d, e, f))


def _read_beside(path: Path, ending: str) -> str:
    """Read the text file of the same name with another ending, in small or capital letters."""
    texts = (_read_text(path.with_suffix("." + case)) for case in (ending, ending.upper()))
    return next((text.strip() for text in texts if text.strip()), "")


def _read_text(path: Path) -> str:
    """Read a small text file; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8") if path.stat().st_size < 1_000_000 else ""
    except (OSError, ValueError):  # ValueError: it is no text
        return ""


def _numbers(values, count: int):
    """Read values as so many finite numbers; None if they are not."""
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _sound(transform):
    """Give the transform if it spans an area, else None."""
    a, b, _, d, e, _ = transform
    return transform if a * e - b * d != 0 else None


def _from_center(a, b, c, d, e, f):
    """Move (c, f) from the center of the upper left pixel to its corner."""
    return a, b, c - (a + b) / 2, d, e, f - (d + e) / 2


def _to_center(a, b, c, d, e, f):
    """Move (c, f) from the corner of the upper left pixel to its center."""
    return a, b, c + (a + b) / 2, d, e, f + (d + e) / 2


def _geokeys(tags: dict) -> dict:
    """Pick the tags of the GeoKeys; none if they are not of the types that they should be."""
    directory = tags.get(KEY_DIRECTORY, ())
    doubles, texts = tags.get(KEY_DOUBLES, ()), tags.get(KEY_TEXTS, "")
    doubles = doubles if isinstance(doubles, tuple) else (doubles,)  # Pillow unpacks a single one
    if not (
        isinstance(directory, tuple)
        and len(directory) >= 4
        and all(isinstance(number, int) and 0 <= number < 2**16 for number in directory)
        and all(isinstance(number, float) for number in doubles)
        and isinstance(texts, str)
    ):
        return {}
    found = {KEY_DIRECTORY: directory, KEY_DOUBLES: doubles, KEY_TEXTS: texts}
    return {tag: value for tag, value in found.items() if value}


def _keys(geokeys: dict) -> dict:
    """List the GeoKeys that are plain numbers: after a first row, rows of (key, 0, 1, number)."""
    directory = geokeys.get(KEY_DIRECTORY, ())
    rows = [directory[start : start + 4] for start in range(4, len(directory) - 3, 4)]
    return {row[0]: row[3] for row in rows if row[1] == 0}


def _is_point(geokeys: dict) -> bool:
    return _keys(geokeys).get(RASTER_TYPE) == PIXEL_IS_POINT


def _system_from(geokeys: dict) -> str:
    """Name the system by its EPSG number; empty if it has none (32767 is "user defined")."""
    keys = _keys(geokeys)
    number = keys.get(PROJECTED, keys.get(GEOGRAPHIC, 0))
    return f"EPSG:{number}" if 1024 <= number < 32767 else ""


# --- Writing ---------------------------------------------------------------------------------


def save_georeferenced(
    picture: Image.Image | np.ndarray, path: str | Path, georeference: Georeference | None
) -> None:
    """Save a picture together with its place; TIFFs are compressed without loss.

    The files beside it are in place before the picture is, each in one go.

    Parameters
    ----------
    picture : PIL.Image.Image, or array as Pillow takes it
    path : path
        Its ending chooses the format. The folder must exist.
    georeference : Georeference or None
        None saves the picture alone.

    Raises
    ------
    UserError
        If it cannot be written there, or Pillow does not know the ending.
    """
    path = Path(path)
    is_tiff = path.suffix.lower() in (".tif", ".tiff")
    options = {"compression": "tiff_deflate"} if is_tiff else {}
    if georeference is not None:
        if is_tiff:
            options["tiffinfo"] = tiff_tags(georeference)
        else:
            ending = path.suffix[1:2] + path.suffix[-1:] + "w"
            save_text(world_file(georeference), path.with_suffix("." + ending))
        if georeference.system and not (is_tiff and georeference.geokeys):
            text = f"<PAMDataset>\n  <SRS>{escape(georeference.system)}</SRS>\n</PAMDataset>\n"
            save_text(text, path.with_name(path.name + ".aux.xml"))
    save_picture(picture, path, **options)


def world_file(georeference: Georeference) -> str:
    """Write a world file: a, d, b, e and the place of the center of the upper left pixel."""
    a, b, c, d, e, f = _to_center(*georeference.transform)
    return "".join(f"{number!r}\n" for number in (a, d, b, e, c, f))


def tiff_tags(georeference: Georeference) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Write a georeference as TIFF tags, for Pillow's ``save(..., tiffinfo=...)``."""
    transform = georeference.transform
    if _is_point(georeference.geokeys):
        transform = _to_center(*transform)
    a, b, c, d, e, f = transform
    tags = dict(georeference.geokeys)
    if b == d == 0 and a > 0 > e:
        tags[PIXEL_SCALE] = (a, -e, 0.0)
        tags[TIEPOINT] = (0.0, 0.0, 0.0, c, f, 0.0)
    else:
        tags[TRANSFORMATION] = (a, b, 0.0, c, d, e, 0.0, f, *[0.0] * 7, 1.0)
    if georeference.nodata:
        tags[NODATA] = georeference.nodata
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory.tagtype[tag] = TAG_TYPES[tag]
        directory[tag] = value
    return directory
