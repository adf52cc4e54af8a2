"""What each level of a U-Net makes of an image, and where each of its pixels lies in the image.

The image goes in as it does in `tinyunet predict`: as a window around a tile, mirrored at the
borders of the image. So the numbers are the same, and what lies beside the tile is cut off.
"""

import math
from dataclasses import dataclass

import numpy as np

from parts.watched import named_blocks, watch
from tinyunet.backend import to_device, to_host
from tinyunet.data.dataset import read_mirrored
from tinyunet.inference.sliding_window import (
    DEFAULT_MARGIN,
    Axis,
    check_image,
    full_margin,
    round_up,
    without,
)
from tinyunet.nn.functional import softmax
from tinyunet.nn.summary import named_layers, summarize

SIDE = 256  # of the part of an image that is shown, in pixels


@dataclass(frozen=True)
class Level:
    """What one block of the network gives for the image shown.

    Attributes
    ----------
    name : str
        "encoder 1" is the first block and "decoder 1", of the same size, the last; then comes
        "prediction".
    maps : array (h, w, C)
        Its feature maps, on the host; for the prediction the probabilities of the classes.
    scale : int
        How many pixels of the image a pixel of the maps is wide.
    top, left : float
        Where the first pixel of the maps begins, in pixels of the image shown.
    rows, columns : int arrays (h, 2) and (w, 2)
        The first and the last row (column) of the image that each row (column) of the maps sees.
        Outside the image shown they go on counting: below 0, or beyond its size.
    receptive_field : int
        How many rows or columns these are at most, as `summarize` counts them.
    """

    name: str
    maps: np.ndarray
    scale: int
    top: float
    left: float
    rows: np.ndarray
    columns: np.ndarray
    receptive_field: int


@dataclass(frozen=True)
class View:
    """An image, or one tile of a large one, and all levels of the network for it.

    Attributes
    ----------
    image : array (H, W, C)
        What is shown.
    top, left : int
        Where that begins in the whole image.
    levels : list of Level
        On the way of the image through the network.
    """

    image: np.ndarray
    top: int
    left: int
    levels: list


def view(model, image, size=SIDE):
    """Run a model over an image (H, W, C), or over its middle tile if a side is above `size`.

    Returns
    -------
    View
        Its last level has the numbers of ``tinyunet predict --tile size``, and the others are
        what these were computed from.

    Raises
    ------
    UserError
        If the image has other channels than the network takes.
    """
    network = model.network.eval()
    check_image(network, image)
    margin = round_up(min(DEFAULT_MARGIN, full_margin(network)), 2**network.depth)
    axes = [Axis(network, length, size, margin) for length in image.shape[:2]]
    tiles = [axis.tiles[len(axis.tiles) // 2] for axis in axes]
    (top, left), shown = (tile.start for tile in tiles), image[tuple(tiles)]
    around = [axis.seen(tile) for axis, tile in zip(axes, tiles, strict=True)]
    window = model.standardization.transform(read_mirrored(image, *around)[None])
    fields = receptive_fields(network, *window.shape[1:3])
    levels = []
    for index, (name, watched) in enumerate(watch(network, to_device(window)).items()):
        maps = watched.array
        if name == "prediction":
            maps, _ = softmax(without(model.ignore_index, maps))
        scale = 2 ** max(0, min(index, 2 * network.depth - index))
        places = [
            place(axis, shown.shape[number], maps.shape[number + 1], scale)
            for number, axis in enumerate(axes)
        ]
        (rows, _), (columns, _) = places
        seen = [
            np.stack(watched.sees(indices, indices), axis=1) - axis.before
            for axis, indices in zip(axes, (np.r_[rows], np.r_[columns]), strict=True)
        ]
        corner = [begins for _, begins in places]
        maps = to_host(maps[0, rows, columns])
        levels.append(Level(name, maps, scale, *corner, *seen, fields[name]))
    return View(shown, top, left, levels)


def strongest(maps):
    """Order the feature maps (h, w, C) by contrast: the standard deviation over the image.

    A map that is bright everywhere tells nothing about where something is, so the mean is no
    measure. Returns the channels, that of the highest contrast first.
    """
    return np.argsort(-maps.std(axis=(0, 1)), kind="stable")


def receptive_fields(network, height, width):
    """Look up in the trace how far each block sees: a dict by name."""
    rows = summarize(network, height, width).rows
    names = dict(named_layers(network))
    fields = {}
    for name, block in named_blocks(network).items():
        inside = [row for row in rows if row.name.startswith(names[block])]
        fields[name] = inside[-1].receptive_field
    return fields


def place(axis, shown, length, scale):
    """Find where a map of `length` rows lies, each as wide as `scale` rows of the image.

    It is centerd in the window, for all that a U-Net does takes off or adds as much on both sides.

    Returns
    -------
    part : slice
        The rows that touch the `shown` rows of the image.
    begins : float
        Where the first of these begins, in rows of the image shown.
    """
    edge = (axis.window - length * scale) / 2 - axis.before
    first, stop = math.floor(-edge / scale), math.ceil((shown - edge) / scale)
    return slice(first, stop), edge + first * scale
