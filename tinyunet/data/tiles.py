"""Tiles: a large scene with its mask becomes a folder of pairs.

Neighboring tiles resemble each other, and tiles that overlap share pixels. If some of them train
the network and their neighbors judge it, the judgment is too kind. So the tiles of a scene are
divided by region: a block at one end for validation, the rest for training.
"""

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinyunet.atomic_io import new_folder
from tinyunet.data.dataset import read_image, read_mask
from tinyunet.data.georeference import read_georeference, save_georeferenced
from tinyunet.errors import UserError

NAME = re.compile(r"(?P<scene>.*)_r(?P<row>\d+)_c(?P<column>\d+)")


class Tiles(NamedTuple):
    """What `cut_tiles` did.

    Attributes
    ----------
    stems : list of str
        Names of the tiles that were written, without ending.
    rows, columns : list of int
        The first row of pixels of each row of tiles, and the first column of each column.
    size : int
        Height and width of a tile.
    empty : int
        How many tiles were left out because their mask holds class 0 only.
    """

    stems: list[str]
    rows: list[int]
    columns: list[int]
    size: int
    empty: int

    def __str__(self) -> str:
        """Say what was done, for a person."""
        text = (
            f"{len(self.stems)} tiles of {self.size} x {self.size} pixels, from "
            f"{len(self.rows)} rows and {len(self.columns)} columns"
        )
        for name, starts in (("row", self.rows), ("column", self.columns)):
            steps = np.diff(starts)
            if len(steps) and steps[-1] != steps[0]:
                text += (
                    f"; the last {name} begins {steps[0] - steps[-1]} pixels earlier than its "
                    "turn, so that its tiles are whole"
                )
        return text + (f"; {self.empty} with nothing but class 0 left out" if self.empty else "")


def cut_tiles(
    scene_path: str | Path,
    mask_path: str | Path,
    out_dir: str | Path,
    size: int = 256,
    overlap: int = 0,
    skip_empty: bool = False,
) -> Tiles:
    """Cut a scene and its mask into square tiles: ``images/`` and ``masks/`` in a new folder.

    A tile is named by the row and column of its first pixel in the scene: ``north_r0512_c0256``.
    Where the scene's sides are no multiple of the step, the last row and column of tiles move
    inwards until they are whole, and overlap their neighbors by more than the others do.

    Tiles are PNG files; if the scene is georeferenced, TIFF files that are so too.

    Parameters
    ----------
    scene_path, mask_path : path
        Image and mask of the same size.
    out_dir : path
        A folder that does not exist yet, or is empty. It appears when all tiles are written.
    size : int
        Height and width of a tile, in pixels.
    overlap : int
        Pixels that neighbors share, below `size`.
    skip_empty : bool
        Leave out tiles whose mask holds class 0 only. A network that has never seen an empty tile
        tends to find things on every one, so they are kept unless asked otherwise.

    Raises
    ------
    UserError
        If a file cannot be read, the sizes differ, the tile is larger than the scene, the overlap
        is not between 0 and the size, all tiles are empty and to be skipped, or `out_dir` is not
        empty.
    """
    if size < 1 or not 0 <= overlap < size:
        raise UserError(
            f"tiles of {size} pixels that overlap by {overlap}: choose a size of at least 1, and "
            "an overlap from 0 to less than the size"
        )
    scene, mask = read_image(scene_path), read_mask(mask_path)
    height, width = mask.shape
    if scene.shape[:2] != mask.shape:
        raise UserError(
            f"{mask_path}: has {height} x {width} pixels, but the scene has {scene.shape[0]} x "
            f"{scene.shape[1]} (height x width): a mask has a class for each pixel of its scene"
        )
    if size > min(height, width):
        raise UserError(
            f"{scene_path}: has {height} x {width} pixels (height x width), too few for a tile of "
            f"{size}: choose a size of at most {min(height, width)}"
        )
    scene = scene[:, :, 0] if scene.shape[2] == 1 else scene  # as Pillow wants gray
    scene_place = read_georeference(scene_path)
    ending = ".png" if scene_place is None and fits_png(scene) and fits_png(mask) else ".tif"
    rows, columns = starts(height, size, overlap), starts(width, size, overlap)
    digits = len(str(max(rows[-1], columns[-1])))
    stems, empty = [], 0
    with new_folder(out_dir) as folder:
        (folder / "images").mkdir()
        (folder / "masks").mkdir()
        for row, column in itertools.product(rows, columns):
            window = slice(row, row + size), slice(column, column + size)
            if skip_empty and not mask[window].any():
                empty += 1
                continue
            stem = f"{Path(scene_path).stem}_r{row:0{digits}}_c{column:0{digits}}"
            place = mask_place = None
            if scene_place is not None:
                place = scene_place.shifted(row, column)
                mask_place = place.without_nodata()
            save_georeferenced(scene[window], folder / "images" / f"{stem}{ending}", place)
            save_georeferenced(mask[window], folder / "masks" / f"{stem}{ending}", mask_place)
            stems.append(stem)
        if not stems:
            raise UserError(f"{mask_path}: holds nothing but class 0, so every tile is skipped")
    return Tiles(stems, rows, columns, size, empty)


def starts(length: int, size: int, overlap: int) -> list[int]:
    """List where tiles begin along a side, the last one moved inwards to end at the border."""
    regular = list(range(0, length - size + 1, size - overlap))
    return regular if regular[-1] == length - size else [*regular, length - size]


def fits_png(array: np.ndarray) -> bool:
    """Tell whether a PNG can hold these numbers: 8 or 16 bits, none negative, none broken."""
    return array.dtype in (np.uint8, np.uint16)


# --- Validation on a region of its own ---------------------------------------------------------


def spatial_split(
    stems: Sequence[str], fraction: float, size: int | Sequence[int] | None = None
) -> tuple[list[int], list[int]]:
    """Divide tiles by region: a block at the end of each scene is for validation.

    Of each scene, the last columns of tiles are set aside, or the last rows if it has more rows
    than columns; as many as come closest to the fraction, at least one. A scene without
    room for two parts, such as a single tile, goes to training.

    Parameters
    ----------
    stems : sequence of str
        Names as `cut_tiles` gives them.
    fraction : float
        Share of the tiles to set aside, between 0 and 1.
    size : int or sequence of int, optional
        Height and width of the tiles, or of each, in pixels. With it, training tiles that share
        pixels with validation tiles are left out of both parts.

    Returns
    -------
    training, validation : lists of int
        Indices into `stems`, both in ascending order.

    Raises
    ------
    UserError
        If the fraction is not between 0 and 1, a stem does not tell its row and column, or no
        scene has room for two parts.
    """
    if not 0 < fraction < 1:
        raise UserError(f"a fraction of {fraction} cannot be set aside: choose between 0 and 1")
    scenes = defaultdict(list)
    for index, stem in enumerate(stems):
        found = NAME.fullmatch(stem)
        if not found:
            raise UserError(
                f"a spatial split needs tiles whose names tell where they lie, as 'tinyunet tile' "
                f"writes them (north_r0512_c0256), but one is named {stem!r}: cut the scene with "
                "'tinyunet tile', give validation folders, or split at random"
            )
        scenes[found["scene"]].append((index, (int(found["row"]), int(found["column"]))))
    sizes = list(size) if isinstance(size, Sequence) else [size or 1] * len(stems)
    training, validation = [], []
    for tiles in scenes.values():
        rows_and_columns = [sorted({place[axis] for _, place in tiles}) for axis in (0, 1)]
        axis = 1 if len(rows_and_columns[1]) >= len(rows_and_columns[0]) else 0
        begins = sorted(place[axis] for _, place in tiles)
        border = border_of_block(begins, fraction, max(sizes[index] for index, _ in tiles))
        for index, place in tiles:
            if place[axis] >= border:
                validation.append(index)
            elif place[axis] + sizes[index] <= border:
                training.append(index)
    if not validation or not training:
        raise UserError(
            "a spatial split needs a scene of at least two tiles that do not overlap: cut smaller "
            "tiles, or give validation folders"
        )
    return sorted(training), sorted(validation)


def border_of_block(begins: list[int], fraction: float, size: int) -> float:
    """Choose where the block begins, so that its share of the tiles comes closest to the fraction.

    Parameters
    ----------
    begins : list of int
        The first row, or the first column, of every tile, sorted.
    fraction : float
        The share that is wanted in the block.
    size : int
        Of a tile; at least the first one must end before the block begins.

    Returns
    -------
    float
        One of the begins; infinity if there is no room for a block.
    """
    choices = sorted({begin for begin in begins if begin >= begins[0] + size})
    wanted = fraction * len(begins)
    return min(
        choices,
        key=lambda choice: abs(sum(begin >= choice for begin in begins) - wanted),
        default=math.inf,
    )
