"""``tinyunet check`` and ``tinyunet tile``: images and masks, before any training."""

from tinyunet.cli.terminal import on_terminal
from tinyunet.data.tiles import cut_tiles
from tinyunet.data_checks import examine, read_colors, repair_masks, save_report


def run_check(options) -> None:
    """Print what the doctor has to say; keep it and write mended masks, if asked."""
    report = examine(
        options.images,
        options.masks,
        val_images_dir=options.val_images,
        val_masks_dir=options.val_masks,
        colors=read_colors(options.colors) if options.colors else None,
        ignore_index=options.ignore_index,
        depth=options.depth,
        progress=on_terminal(),
    )
    print(report.text(), end="")
    if options.out:
        save_report(report, options.out)
        print(f"\nThe report and a contact sheet are in {options.out}.")
    if options.write:
        count = repair_masks(report, options.write, progress=on_terminal())
        print(f"\n{count} mask{'s' * (count != 1)} of class numbers written to {options.write}.")


def run_tile(options) -> None:
    """Cut a scene and its mask into tiles."""
    tiles = cut_tiles(
        options.scene,
        options.mask,
        options.out,
        size=options.size,
        overlap=options.overlap,
        skip_empty=options.skip_empty,
    )
    print(f"{tiles}.")
    print(
        f"Train with: tinyunet train {options.out}/images {options.out}/masks --val-split spatial "
        "--out run"
    )
