"""Tiles: a large scene with its mask becomes a folder of pairs.

Neighboring tiles resemble each other, and tiles that overlap share pixels, so they are divided by
region: see `tinyunet.data.splits`.
"""

import itertools
from pathlib import Path

from tinyunet.atomic_io import new_folder
from tinyunet.data.dataset import open_pair
from tinyunet.data.maps import save_part
from tinyunet.data.pairing import find_pairs
from tinyunet.errors import UserError


def cut_tiles(
    scene_path: str | Path,
    mask_path: str | Path,
    out_dir: str | Path,
    size: int = 256,
    overlap: int = 0,
    skip_empty: bool = False,
) -> tuple[list[str], int]:
    """Cut scenes and their masks into square tiles: ``images/`` and ``masks/`` in a new folder.

    A tile is named by its scene and the row and column of its first pixel there:
    ``north_r0512_c0256``. Where the scene's sides are no multiple of the step, the last row and
    column of tiles move inwards until they are whole, and overlap their neighbors by more than the
    others do.

    Tiles store what the scene stores: type, bands and their names, nodata, place. They are PNG
    files where that holds all of it, else GeoTIFFs.

    Parameters
    ----------
    scene_path, mask_path : path
        Image and mask of the same size, or folders of several.
    out_dir : path
        A folder that does not exist yet, or is empty. It appears when all tiles are written.
    size : int
        Height and width of a tile, in pixels.
    overlap : int
        Pixels that neighbors share, below `size`.
    skip_empty : bool
        Leave out tiles whose mask stores 0 only. A network that has never seen an empty tile
        tends to find things on every one, so they are kept unless asked otherwise.

    Returns
    -------
    stems : list of str
        Names of the tiles that were written, without ending.
    empty : int
        How many were left out.

    Raises
    ------
    UserError
        If a file cannot be read, sizes or places differ, the tile is larger than a scene, the
        overlap is not between 0 and the size, all tiles are empty and to be skipped, or `out_dir`
        is not empty.
    """
    if size < 1 or not 0 <= overlap < size:
        raise UserError(f"tiles of {size} pixels can't overlap by {overlap}: choose less, from 0")
    pairs = find_pairs(scene_path, mask_path)
    stems, empty = [], 0
    with new_folder(out_dir) as folder:
        (folder / "images").mkdir()
        (folder / "masks").mkdir()
        for pair in pairs:
            rasters = open_pair(pair)
            height, width = rasters[0].shape[:2]
            if size > min(height, width):
                fault = f"is only {height} x {width} pixels high and wide"
                raise UserError(f"{pair.image_path}: {fault}: choose a smaller size than {size}")
            rows, columns = starts(height, size, overlap), starts(width, size, overlap)
            digits = len(str(max(rows[-1], columns[-1])))
            for row, column in itertools.product(rows, columns):
                window = slice(row, row + size), slice(column, column + size)
                if skip_empty and not rasters[1].pixels(*window).any():
                    empty += 1
                    continue
                stem = f"{pair.stem}_r{row:0{digits}}_c{column:0{digits}}"
                for kind, raster in zip(("images", "masks"), rasters, strict=True):
                    place = raster.place or rasters[0].place
                    save_part(raster, *window, folder / kind / stem, place)
                stems.append(stem)
        if not stems:
            raise UserError(f"{mask_path}: stores nothing but 0, so every tile is skipped")
    return stems, empty


def starts(length: int, size: int, overlap: int) -> list[int]:
    """List where tiles begin along a side, the last one moved inwards to end at the border."""
    regular = list(range(0, length - size + 1, size - overlap))
    return regular if regular[-1] == length - size else [*regular, length - size]
