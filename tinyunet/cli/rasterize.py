"""``tinyunet rasterize``: polygons that somebody digitized become the mask of a scene."""

from pathlib import Path

from tinyunet.atomic_io import save_text
from tinyunet.data.maps import rasterize


def run_rasterize(options) -> None:
    """Write the mask and, beside it, its class table."""
    out = Path(options.out)
    table, counts = rasterize(
        options.scene, options.polygons, out, options.field, options.outside, options.layer
    )
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
    print(
        f"Train with: tinyunet train {options.scene} {out} --classes {beside} "
        "--val-split spatial --out run"
    )
