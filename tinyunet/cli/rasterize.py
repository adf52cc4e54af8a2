"""``tinyunet rasterize``: polygons that somebody digitized become the mask of a scene."""

import shlex
from pathlib import Path

from tinyunet.atomic_io import save_text
from tinyunet.data.class_table import read_class_table
from tinyunet.data.maps import rasterize


def run_rasterize(options) -> None:
    """Write the mask and, beside it, its class table."""
    out = Path(options.out)
    known = read_class_table(options.classes) if options.classes else None
    names = ("scene", "polygons", "out", "field", "outside", "layer")
    table, counts = rasterize(*(getattr(options, name) for name in names), known)
    beside = out.with_name(f"{out.stem}_classes.txt")
    save_text(f"{table}\n", beside)
    total = max(sum(counts.values()), 1)
    for name, count in counts.items():
        print(f"{name}: {count:,} pixels ({100 * count / total:.2f} %)")
    print(f"The mask is {out}, its class table {beside}.")
    if options.outside == 0:
        print(
            "What nobody digitized now counts as background. If polygons cover only a part of the "
            "scene, use --outside 255: it does not count."
        )
    paths = shlex.join(map(str, (options.scene, out, "--classes", beside)))
    print(f"Train with: tinyunet train {paths} --val-split spatial --out run")
