"""``tinyunet rasterize``: polygons that somebody digitized become the mask of a scene."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from tinyunet.atomic_io import save_text
from tinyunet.data.class_table import read_class_table
from tinyunet.data.maps import rasterize


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
    table, counts = rasterize(scene, polygons, out, field, outside, layer, known)
    beside = out.with_name(f"{out.stem}_classes.txt")
    save_text(f"{table}\n", beside)
    total = max(sum(counts.values()), 1)
    for name, count in counts.items():
        print(f"{name}: {count:,} pixels ({100 * count / total:.2f} %)")
    print(f"The mask is {out}, its class table {beside}.")
    if outside == 0:
        print(
            "What nobody digitized now counts as background. If polygons cover only a part of the "
            "scene, use --outside 255: it does not count."
        )
    paths = shlex.join(map(str, (scene, out, "--classes", beside)))
    print(f"Train with: tinyunet train {paths} --val-split spatial --out run")
