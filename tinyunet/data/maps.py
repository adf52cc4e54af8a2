"""Maps that lie where their image lies: class maps, probabilities, polygons, masks from polygons.

Everything here is written by rasterio and pyogrio (GDAL) in a hidden folder first, maps are read
back, and then it is renamed: it is complete, or not there at all (see `tinyunet.atomic_io`).
"""

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image

from tinyunet.atomic_io import aside, save_picture, save_text
from tinyunet.data.class_table import NO_CLASS, ClassTable, numbered
from tinyunet.data.images import Place, Raster, import_rasterio, listed, open_raster
from tinyunet.errors import UserError, import_extra, problems_named

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
    rasterio = import_rasterio(path, "is a GeoTIFF to be written")
    height, width, count = (*shape, 1)[:3]
    keywords |= {"height": height, "width": width, "count": count, "dtype": dtype}
    keywords |= {"driver": "GTiff", "compress": "deflate", "bigtiff": "if_safer"}
    if min(height, width) >= 512:
        keywords |= {"tiled": True, "blockxsize": 512, "blockysize": 512}
    if place is not None:
        transform = rasterio.Affine(*place.transform)
        keywords = {"transform": transform, "crs": place.crs or None} | keywords
    written, quiet = problems_named(path, "cannot be written"), warnings.catch_warnings()
    with written, quiet, aside(path) as partial, rasterio.Env(GDAL_PAM_ENABLED="NO"):
        warnings.filterwarnings("ignore", "Dataset has no geotransform")
        with rasterio.open(partial, "w", **keywords) as file:
            yield file
        with rasterio.open(partial) as file:  # a full disk shows only now
            for _, window in file.block_windows(1):
                file.read(1, window=window)


def save_part(raster: Raster, rows: slice, columns: slice, path: Path, place: Place | None) -> None:
    """Save a part of an image as the image itself is stored: type, bands, nodata, palette.

    Without a place, which is that of the whole, what a PNG can hold becomes a PNG; `path` has no
    ending.
    """
    pixels, valid = raster.read(rows, columns)
    place = place and place.shifted(rows.start, columns.start)
    channels = pixels.shape[2]
    plain = pixels.dtype == np.uint8 and raster.color in ("gray", "RGB")
    plain |= pixels.dtype == np.uint16 and (channels, raster.color) == (1, "gray")
    if place is None and plain and raster.nodata is None and (valid is None or valid.all()):
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
        file.descriptions = raster.band_names
        if raster.palette is not None:
            file.write_colormap(1, dict(enumerate(map(tuple, raster.palette.tolist()))))
        if valid is not None and raster.nodata is None and pixels.dtype.kind != "f":
            file.write_mask(valid)


# --- Class maps --------------------------------------------------------------------------------


def save_class_map(
    path: str | Path,
    classes: np.ndarray,
    place: Place | None,
    names: Sequence[str],
    colors: np.ndarray,
) -> None:
    """Write a class map as a GeoTIFF that a GIS shows in colors and with names.

    It is tiled and compressed, has overviews, a color table, the names of the classes as metadata
    (``CLASS_0``, ...) and in a style for QGIS (``.qml``) beside it.

    Parameters
    ----------
    path : path
    classes : array (H, W), uint8
        It may lie in a file, and be larger than the memory.
    place : Place or None
    names : sequence of K str
    colors : array (K, 3), uint8

    Raises
    ------
    UserError
        If it cannot be written there.
    """
    with raster_file(path, classes.shape, "uint8", place, nodata=NO_CLASS) as file:
        table = {k: (*map(int, color), 255) for k, color in enumerate(colors)}
        file.write_colormap(1, table | {NO_CLASS: (0, 0, 0, 0)})
        file.update_tags(1, **{f"CLASS_{k}": name for k, name in enumerate(names)})
        file.set_band_description(1, "class")
        file.write(classes, 1)
        file.build_overviews([2**k for k in range(1, 12) if max(classes.shape) / 2**k >= 256])
        save_text(qgis_style(names, colors), Path(path).with_suffix(".qml"))


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
    pyogrio, shapely = import_extra("geo", "pyogrio", "shapely", what=f"{path}: a GeoPackage")
    with rasterio.open(map_path) as file:
        band, transform = rasterio.band(file, 1), file.transform
        found = [
            (shape, int(value))
            for drawn, value in rasterio.features.shapes(band, connectivity=4, transform=transform)
            if value != file.nodata and (shape := shapely.geometry.shape(drawn)).area >= min_area
        ]
        crs = file.crs.to_wkt() if file.crs else None
    shapes = np.array([shape for shape, _ in found], dtype=object)
    areas = np.array([shape.area for shape, _ in found])
    columns = {
        "class": np.array([k for _, k in found], np.int32),
        "name": np.array([names[k] for _, k in found], dtype=object),
        "area": areas,
        "pixels": np.rint(areas / abs(transform.determinant)).astype(np.int64),
    }
    options = {"layer": "classes", "driver": "GPKG", "geometry_type": "Polygon", "crs": crs}
    with problems_named(path, "cannot be written"), aside(path) as partial:
        wkb = shapely.to_wkb(shapes)
        pyogrio.raw.write(partial, wkb, [*columns.values()], [*columns], **options)
    return len(shapes)


def rasterize(
    scene: str | Path,
    polygons: str | Path,
    out: str | Path,
    field: str | None = None,
    outside: int = 0,
    layer: str | None = None,
    known: ClassTable | None = None,
) -> ClassTable:
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
    ClassTable
        Of the mask.

    Raises
    ------
    UserError
        If a file cannot be read, the scene has no place, the polygons have no coordinate system or
        lie elsewhere, or the field is missing or no class, or there would be one class only.
    """
    raster = open_raster(scene)
    rasterio = import_rasterio(scene, "is a scene for polygons")
    pyogrio, shapely = import_extra("geo", "pyogrio", "shapely", what=f"{polygons}: reading it")
    if raster.place is None or not raster.place.crs:
        raise UserError(f"{scene}: is not georeferenced, so polygons have no place in it")
    with problems_named(polygons, "cannot be read as polygons"):
        meta, _, geometry, columns = pyogrio.raw.read(polygons, layer=layer)
    if not meta["crs"]:
        raise UserError(f"{polygons}: has no coordinate system; set it in the GIS")
    fields = dict(zip(meta["fields"], columns, strict=True))
    if field is not None and field not in fields:
        raise UserError(f"{polygons}: has no field {field!r}, but {', '.join(fields) or 'none'}")
    values = [1] * len(geometry) if field is None else fields[field]
    with problems_named(polygons, "gives no classes"):
        table, number_of = classes_of_field(values, outside, layer or Path(polygons).stem, known)
    source, target = map(rasterio.crs.CRS.from_user_input, (meta["crs"], raster.place.crs))

    def in_scene(shape):
        flat = shapely.geometry.mapping(shapely.force_2d(shape))
        return flat if source == target else rasterio.warp.transform_geom(source, target, flat)

    found = [
        (in_scene(shape), number_of[value])
        for shape, value in zip(shapely.from_wkb(geometry), values, strict=True)
        if shape and value in number_of
    ]
    mask = np.full(raster.shape[:2], outside, np.uint8)
    if found:
        transform = rasterio.Affine(*raster.place.transform)
        rasterio.features.rasterize(found, out=mask, transform=transform)
    if (mask == outside).all():
        systems = " and ".join(system.to_string()[:40] for system in (source, target))
        fault = f"no polygon with a class lies in the scene {scene}"
        raise UserError(f"{polygons}: {fault}: compare their coordinate systems, {systems}")
    nodata = outside if outside == NO_CLASS else None
    with raster_file(out, mask.shape, mask.dtype, raster.place, nodata=nodata) as file:
        file.write(mask, 1)
    return table


def classes_of_field(values, outside: int, name: str, known: ClassTable | None):
    """Give the class table of the values of polygons, and the number of each, which a mask stores.

    Missing values have no number. A single number is called `name`, others "class 1", ...
    """
    found = sorted({value for value in values if value is not None and value == value})
    labels = {0: "background"} if outside == 0 else {}
    if not all(isinstance(value, str) for value in found):
        number_of = {value: int(value) for value in found if value == int(value)}
        single = len(found) == 1
        labels = {k: name if single else f"class {k}" for k in number_of.values()} | labels
    elif known is None:
        labels = dict(enumerate(dict.fromkeys([*labels.values(), *found])))
        number_of = {label: number for number, label in labels.items()}
    else:  # of several numbers, the first one is stored
        rows = [(k, value) for value, k in reversed(known.lookup.items()) if value in range(255)]
        number_of = {known.names[k]: value for k, value in rows if k != known.ignore_index}
        if new := set(found) - set(number_of):
            raise UserError(f"{min(new)} is not among those of --classes")
        return known, number_of
    if len(labels) < 2 or len(number_of) < len(found) or not labels.keys() <= set(range(255)):
        fault = f"{listed(map(str, found))}: there must be at least two, names or whole numbers up"
        raise UserError(f"{fault} to 254; with --outside 255, digitize some background, too")
    ignored = [outside] if outside == NO_CLASS else []
    return numbered(sorted(labels), [labels[k] for k in sorted(labels)], ignored), number_of
