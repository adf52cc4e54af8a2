"""Maps that lie where their image lies: class maps, probabilities, polygons, masks from polygons.

Everything here is written by rasterio and pyogrio (GDAL) in a hidden folder first, maps are read
back, and then it is renamed: it is complete, or not there at all (see `tinyunet.atomic_io`).
"""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from tinyunet.atomic_io import aside, save_picture, save_text
from tinyunet.data.class_table import ClassTable, numbered
from tinyunet.data.images import Place, Raster, import_rasterio, listed, open_raster
from tinyunet.errors import UserError

TILED = {"tiled": True, "blockxsize": 512, "blockysize": 512}
OUTSIDE = 255  # in masks from polygons: nobody has looked there
PHOTOMETRIC = {"RGB": "rgb", "CMYK": "cmyk", "gray with white as 0": "miniswhite"}


@contextlib.contextmanager
def raster_file(path: str | Path, shape, dtype, place: Place | None = None, **keywords):
    """Open a new GeoTIFF (H, W) or (H, W, C) that takes its place only once it is complete.

    Parameters
    ----------
    path : path
    shape : tuple
    dtype : numpy.dtype or str
    place : Place, optional
    **keywords
        For `rasterio.open`, such as ``nodata=255``.

    Yields
    ------
    rasterio.io.DatasetWriter

    Raises
    ------
    UserError
        If it cannot be written there.
    """
    path = Path(path)
    rasterio = import_rasterio(path, "is a GeoTIFF to be written")
    if place is not None:
        keywords["transform"] = rasterio.Affine(*place.transform)
        if place.crs:
            keywords["crs"] = rasterio.crs.CRS.from_wkt(place.crs)
    if min(shape[:2]) >= 512:
        keywords |= TILED
    try:
        with (
            aside(path) as partial,
            warnings.catch_warnings(),
            rasterio.Env(GDAL_PAM_ENABLED="NO"),
        ):
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(
                partial,
                "w",
                driver="GTiff",
                height=shape[0],
                width=shape[1],
                count=shape[2] if len(shape) == 3 else 1,
                dtype=dtype,
                compress="deflate",
                bigtiff="if_safer",
                **keywords,
            ) as file:
                yield file
            with rasterio.open(partial) as file:  # a full disk shows only now
                for _, window in file.block_windows(1):
                    file.read(1, window=window)
    except rasterio.errors.RasterioError as error:
        raise UserError(f"cannot write {path}: {error}") from error


def save_like(pixels: np.ndarray, valid, raster: Raster, path: Path, place: Place | None) -> None:
    """Save a part of an image as the image itself is stored: type, bands, nodata, palette.

    Without a place, what a PNG can hold becomes a PNG; `path` has no ending.
    """
    channels = pixels.shape[2]
    plain = pixels.dtype == np.uint8 and raster.color in ("gray", "RGB")
    plain |= pixels.dtype == np.uint16 and (channels, raster.color) == (1, "gray")
    if place is None and plain and raster.nodata is None and (valid is None or valid.all()):
        from PIL import Image

        picture = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
        if raster.palette is not None:
            picture.putpalette(raster.palette.tobytes())
        save_picture(picture, path.with_name(path.name + ".png"))
        return
    keywords = {"nodata": raster.nodata}
    if raster.color in PHOTOMETRIC and pixels.dtype.kind == "u":
        keywords["photometric"] = PHOTOMETRIC[raster.color]
    if "alpha" not in raster.band_names and channels > 3:
        keywords["alpha"] = "no"  # near infrared is no transparency
    name = path.with_name(path.name + ".tif")
    with raster_file(name, pixels.shape, pixels.dtype, place, **keywords) as file:
        file.write(np.moveaxis(pixels, 2, 0))
        for band, description in enumerate(raster.band_names, start=1):
            if description not in ("gray", "red", "green", "blue", "alpha", f"band {band}"):
                file.set_band_description(band, description)
        if raster.palette is not None:
            file.write_colormap(1, dict(enumerate(map(tuple, raster.palette.tolist()))))
        if valid is not None and raster.nodata is None and pixels.dtype.kind != "f":
            file.write_mask(valid)


# --- Class maps --------------------------------------------------------------------------------


class MapFile:
    """A class map that is filled window by window, so that it may be larger than the memory.

    ``map[rows, columns] = classes`` writes a part. Use it within `class_map`.
    """

    def __init__(self, file):
        self.file = file

    def __setitem__(self, window: tuple[slice, slice], classes: np.ndarray) -> None:
        """Write the classes of a window."""
        (top, bottom, _), (left, right, _) = (
            part.indices(side) for part, side in zip(window, self.file.shape, strict=True)
        )
        self.file.write(classes, 1, window=((top, bottom), (left, right)))


@contextlib.contextmanager
def class_map(
    path: str | Path,
    shape: tuple[int, int],
    place: Place | None,
    names: Sequence[str],
    colors: np.ndarray,
    finish=None,
) -> Iterator[MapFile]:
    """Write a class map as a GeoTIFF that a GIS shows in colors and with names.

    It is tiled and compressed, has overviews, a color table, the names of the classes as metadata
    (``CLASS_0``, ...) and in a style for QGIS (``.qml``) beside it.

    Parameters
    ----------
    path : path
    shape : (H, W)
    place : Place or None
    names : sequence of K str
    colors : array (K, 3), uint8
    finish : function, optional
        Called with the path of the finished file, before it takes its place.

    Yields
    ------
    MapFile
    """
    path = Path(path)
    nodata = nodata_of(len(names))
    dtype = "uint8" if nodata == 255 else "uint16"
    with aside(path) as partial:
        with raster_file(partial, shape, dtype, place, nodata=nodata) as file:
            table = {k: (*map(int, color), 255) for k, color in enumerate(colors)}
            file.write_colormap(1, table | {nodata: (0, 0, 0, 0)})
            file.update_tags(1, **{f"CLASS_{k}": name for k, name in enumerate(names)})
            file.set_band_description(1, "class")
            yield MapFile(file)
            levels = [2**k for k in range(1, 12) if max(shape) / 2**k >= 256]
            if levels:
                file.build_overviews(levels, import_rasterio(path, "").enums.Resampling.nearest)
        save_text(qgis_style(names, colors), path.with_suffix(".qml"))
        if finish is not None:
            finish(partial)


def nodata_of(classes: int) -> int:
    """Give the number in maps for pixels without data."""
    return 255 if classes <= 255 else 65535


def qgis_style(names: Sequence[str], colors: np.ndarray) -> str:
    """Write the colors and names of the classes as QGIS keeps them."""
    entries = "".join(
        f'<paletteEntry value="{k}" color="#{r:02x}{g:02x}{b:02x}" label={quoteattr(name)} '
        'alpha="255"/>'
        for k, (name, (r, g, b)) in enumerate(zip(names, colors.tolist(), strict=True))
    )
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<qgis><pipe>"
        '<rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1">'
        f"<colorPalette>{entries}</colorPalette></rasterrenderer></pipe></qgis>\n"
    )


# --- Polygons ----------------------------------------------------------------------------------


def import_polygons(path: str | Path):
    """Import pyogrio and shapely, or say what needs them."""
    try:
        import pyogrio
        import shapely
    except ImportError as error:
        raise UserError(
            f"{path}: polygons need pyogrio and shapely: pip install 'tinyunet[geo]'"
        ) from error
    return pyogrio, shapely


def save_polygons(
    map_path: str | Path, path: str | Path, names: Sequence[str], min_area: float = 0.0
) -> int:
    """Turn a class map into polygons: a GeoPackage with class, name, area and pixels of each.

    Pixels connect along their sides; holes stay holes.

    Parameters
    ----------
    map_path : path
        A GeoTIFF of classes.
    path : path
        The GeoPackage to write.
    names : sequence of str
    min_area : float
        Smaller polygons are left out; in units of the coordinate system, squared.

    Returns
    -------
    int
        How many polygons there are.

    Raises
    ------
    UserError
        If the extra ``geo`` is missing, or it cannot be written there.
    """
    rasterio = import_rasterio(path, "are polygons")
    pyogrio, shapely = import_polygons(path)
    geometries, numbers = [], []
    with rasterio.open(map_path) as file:
        band = rasterio.band(file, 1)
        pixel = abs(file.transform.determinant)
        crs = file.crs.to_wkt() if file.crs else None
        for shape, value in rasterio.features.shapes(
            band, mask=None, connectivity=4, transform=file.transform
        ):
            if value != file.nodata:
                geometries.append(shapely.geometry.shape(shape))
                numbers.append(int(value))
    areas = shapely.area(np.array(geometries, dtype=object))
    kept = np.flatnonzero(areas >= min_area)
    classes = np.array(numbers, dtype=np.int32)[kept]
    try:
        with aside(path) as partial, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no coordinate system
            pyogrio.raw.write(
                partial,
                geometry=shapely.to_wkb(np.array(geometries, dtype=object)[kept]),
                field_data=[
                    classes,
                    np.array([names[k] for k in classes], dtype=object),
                    areas[kept],
                    np.rint(areas[kept] / pixel).astype(np.int64),
                ],
                fields=["class", "name", "area", "pixels"],
                layer="classes",
                driver="GPKG",
                geometry_type="Polygon",
                crs=crs,
            )
    except (pyogrio.errors.DataSourceError, RuntimeError) as error:
        raise UserError(f"cannot write {path}: {error}") from error
    return len(kept)


def rasterize(
    scene: str | Path,
    polygons: str | Path,
    out: str | Path,
    field: str | None = None,
    outside: int = 0,
    layer: str | None = None,
    known: ClassTable | None = None,
) -> tuple[ClassTable, dict[str, int]]:
    """Turn polygons into the mask of a scene: a pixel has the class in which its center lies.

    Where polygons overlap, the later one in the file wins, as in GDAL.

    Parameters
    ----------
    scene : path
        A georeferenced image.
    polygons : path
        A GeoPackage, GeoJSON or shapefile, in any coordinate system.
    out : path
        The GeoTIFF to write.
    field : str, optional
        The attribute that tells the class: whole numbers, or names. Without it, all polygons are
        class 1.
    outside : int
        What is stored where no polygon lies: 0 makes it the background, 255 means that nobody
        looked there, and does not count.
    layer : str, optional
        Of a GeoPackage with several.
    known : ClassTable, optional
        That of other scenes, where the field holds names: each gets the number that it has there.
        Without it, they are numbered in the order of the alphabet.

    Returns
    -------
    table : ClassTable
        Of the mask.
    counts : dict
        Pixels of each class, by name.

    Raises
    ------
    UserError
        If a file cannot be read, the scene has no place, the polygons have no coordinate system or
        lie elsewhere, or the field is missing or no class, or there would be one class only.
    """
    raster = open_raster(scene)
    rasterio = import_rasterio(scene, "is a scene for polygons")
    pyogrio, shapely = import_polygons(polygons)
    if raster.place is None or not raster.place.crs:
        raise UserError(f"{scene}: is not georeferenced, so polygons have no place in it")
    try:
        meta, _, geometry, columns = pyogrio.raw.read(polygons, layer=layer)
    except Exception as error:  # whatever GDAL finds wrong with it
        raise UserError(f"{polygons}: cannot be read as polygons ({error})") from error
    if not meta["crs"]:
        raise UserError(f"{polygons}: has no coordinate system; set it in the GIS")
    fields = list(meta["fields"])
    if field is not None and field not in fields:
        raise UserError(f"{polygons}: has no field {field!r}, but {', '.join(fields) or 'none'}")
    values = columns[fields.index(field)] if field is not None else np.ones(len(geometry), int)
    table, numbers = classes_of_field(
        values, outside, layer or Path(polygons).stem, polygons, field, known
    )
    shapes = []
    target = rasterio.crs.CRS.from_wkt(raster.place.crs)
    source = rasterio.crs.CRS.from_user_input(meta["crs"])
    for each, number in zip(shapely.from_wkb(geometry), numbers, strict=True):
        if each is None or each.is_empty or number is None:
            continue
        shape = shapely.geometry.mapping(shapely.force_2d(each))
        if source != target:
            shape = rasterio.warp.transform_geom(source, target, shape)
        shapes.append((shape, number))
    if not shapes:
        raise UserError(f"{polygons}: holds no polygon with a class")
    sides = raster.shape[:2]
    mask = rasterio.features.rasterize(
        shapes,
        out_shape=sides,
        transform=rasterio.Affine(*raster.place.transform),
        fill=outside,
        dtype="uint8",
    )
    if (mask == outside).all():
        raise UserError(
            f"{polygons}: no polygon lies in the scene {scene}: compare their coordinate systems "
            f"({source.to_string()[:40]} and {target.to_string()[:40]})"
        )
    nodata = outside if outside == OUTSIDE else None
    with raster_file(out, sides, "uint8", raster.place, nodata=nodata) as file:
        file.write(mask, 1)
    counts = {
        name: int((mask == value).sum())
        for name, words in zip(table.names, table.values, strict=True)
        for value in map(int, words)
    }
    return table, counts


def classes_of_field(values, outside: int, name: str, path, field, known_table=None):
    """Give the class table of an attribute, and the number of each polygon (None: no class)."""
    background = {0: "background"} if outside == 0 else {}
    ignored = [outside] if outside == OUTSIDE else []
    missing = [value is None or value != value for value in values]
    known = [value for value, gone in zip(values, missing, strict=True) if not gone]
    if all(isinstance(value, str) for value in known):
        names = sorted(set(known))
        number_of = {label: k for k, label in enumerate(names, start=len(background))}
        if known_table is not None:
            rows = reversed(known_table.lookup.items())
            number_of = {known_table.names[k]: v for v, k in rows if k < len(known_table.names)}
            if new := set(names) - set(number_of):
                raise UserError(f"{path}: {field} holds {min(new)}, which --classes does not list")
        labels = background | {number: label for label, number in number_of.items()}
    else:
        number_of = {value: int(value) for value in known}
        found = sorted(set(number_of.values()))
        labels = background | {k: name if field is None else f"class {k}" for k in found}
    whole = all(isinstance(value, str) or value == int(value) for value in known)
    if len(labels) < 2 or not whole or not 0 <= min(labels) <= max(labels) <= 254:
        raise UserError(
            f"{path}: {field or 'every polygon'} gives {listed(map(str, dict.fromkeys(known)))}: "
            "there must be at least two classes, names or whole numbers up to 254 (with --outside "
            "255, digitize some background, too)"
        )
    table = numbered(sorted(labels), [labels[k] for k in sorted(labels)], ignored)
    return table, [
        None if gone else number_of[value] for value, gone in zip(values, missing, strict=True)
    ]
