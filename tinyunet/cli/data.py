"""``tinyunet rasterize``, ``check`` and ``tile``: images and masks, before any training."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from tinyunet.atomic_io import save_text
from tinyunet.data.class_table import read_class_table
from tinyunet.data.maps import rasterize
from tinyunet.data.tiles import cut_tiles
from tinyunet.data_checks import examine, save_report
from tinyunet.hints import Range
from tinyunet.progress import is_watched
from tinyunet.training.config import TrainingConfig


def run_check(*, out: Annotated[str | None, "DIR"] = None, **settings) -> int:
    """Find what is wrong with images and masks.

    Parameters
    ----------
    out : str, optional
        Folder for the report and a contact sheet.
    **settings
        As in `TrainingConfig`.

    Returns
    -------
    int
        1 if training would stop, else 0.
    """
    sizes = {name: settings[name] for name in ("images", "masks", "depth", "crop_size")}
    TrainingConfig(**sizes, out="").check()
    classes, ignore = settings.pop("classes"), settings.pop("ignore_index")
    table = read_class_table(classes) if classes else None
    report = examine(table=table, ignore=ignore, progress=is_watched(), **settings)
    print(report.text(), end="")
    if out:
        save_report(report, out)
        print(f"\nThe report, the class table and a contact sheet are in {out}.")
    return int(bool(report.problems))


def run_tile(
    scene: str,
    mask: str,
    *,
    out: Annotated[str, "DIR"],
    size: Annotated[int, Range(1, 10**6)] = 256,
    overlap: Annotated[int, Range(0, 10**6)] = 0,
    skip_empty: bool = False,
) -> None:
    """Cut scenes and their masks into tiles.

    Parameters
    ----------
    scene : str
        An image, georeferenced or not, or a folder of images.
    mask : str
        The mask of the image, or a folder of masks.
    out : str
        New folder for images/ and masks/.
    size : int
        Height and width of a tile in pixels.
    overlap : int
        Number of pixels that neighboring tiles share.
    skip_empty : bool
        Leave out tiles whose mask stores nothing but 0.
    """
    stems, empty = cut_tiles(scene, mask, out, size, overlap, skip_empty)
    left_out = f"; {empty} with nothing but 0 left out" * (empty > 0)
    print(f"{len(stems)} tiles of {size} x {size} pixels{left_out}.")
    print(f"Train with: tinyunet train {out}/images {out}/masks --val-split spatial --out run")


def run_rasterize(
    scene: str,
    polygons: str,
    *,
    out: Annotated[str, "MASK"],
    field: str | None = None,
    layer: str | None = None,
    classes: Annotated[str | None, "FILE"] = None,
    outside: Literal[0, 255] = 0,
) -> None:
    """Turn polygons into the mask of a georeferenced scene.

    Parameters
    ----------
    scene : str
        A georeferenced image.
    polygons : str
        A GeoPackage, GeoJSON or shapefile.
    out : str
        The GeoTIFF to write.
    field : str, optional
        Attribute that tells the class (default: none, all are class 1).
    layer : str, optional
        Layer of a GeoPackage that has several (default: first).
    classes : str, optional
        Class table of another scene: its names get the same numbers here.
    outside : int
        What pixels outside of all polygons become: 255 does not count.
    """
    out = Path(out)
    known = read_class_table(classes) if classes else None
    table = rasterize(scene, polygons, out, field, outside, layer, known)
    beside = out.with_name(f"{out.stem}_classes.txt")
    save_text(f"{table}\n", beside)
    print(f"The mask is {out}, its class table {beside}:\n{table}")
    if outside == 0:
        print("What nobody digitized counts as background; with --outside 255 it does not count.")
    paths = shlex.join(map(str, (scene, out, "--classes", beside)))
    print(f"Train with: tinyunet train {paths} --val-split spatial --out run")
