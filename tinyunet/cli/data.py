"""``tinyunet check`` and ``tinyunet tile``: images and masks, before any training."""

from tinyunet.data.class_table import read_class_table
from tinyunet.data.tiles import cut_tiles
from tinyunet.data_checks import examine, save_report
from tinyunet.progress import is_watched
from tinyunet.training.config import TrainingConfig


def run_check(options) -> int:
    """Print what the doctor has to say, and keep it, if asked; 1 if training would stop."""
    sizes = {name: getattr(options, name) for name in ("depth", "crop_size")}
    TrainingConfig(options.images, options.masks, out="", **sizes).check()
    passed_on = "val_images val_masks class_names depth crop_size bands alpha".split()
    report = examine(
        options.images,
        options.masks,
        table=read_class_table(options.classes) if options.classes else None,
        ignore=options.ignore_index,
        progress=is_watched(),
        **{name: getattr(options, name) for name in passed_on},
    )
    print(report.text(), end="")
    if options.out:
        save_report(report, options.out)
        print(f"\nThe report, the class table and a contact sheet are in {options.out}.")
    return int(any(severity == "problem" for severity, _ in report.findings))


def run_tile(options) -> None:
    """Cut scenes and their masks into tiles."""
    stems, empty = cut_tiles(
        options.scene,
        options.mask,
        options.out,
        size=options.size,
        overlap=options.overlap,
        skip_empty=options.skip_empty,
    )
    left_out = f"; {empty} with nothing but 0 left out" * (empty > 0)
    print(f"{len(stems)} tiles of {options.size} x {options.size} pixels{left_out}.")
    print(
        f"Train with: tinyunet train {options.out}/images {options.out}/masks --val-split spatial "
        "--out run"
    )
