"""From an image of any size to a class for each of its pixels.

A U-Net wants sizes that pool evenly, and memory for every activation of the whole image. So an
image is predicted tile by tile, as in figure 2 of the U-Net paper (Ronneberger, Fischer and Brox
2015, https://arxiv.org/abs/1505.04597)::

    +---------------+     The network sees the outer square, the window. Only its center, the
    |   margin      |     tile, is kept, because near the window's edge the network lacks context
    |   +-------+   |     (and a network with same padding sees zeros out there). The next window
    |   | tile  |   |     lies so that the kept tiles touch and none is missing.
    |   +-------+   |
    |               |     Beyond the border of the image, the image is mirrored.
    +---------------+

Three details make the seams vanish. Tiles start at multiples of 2**depth, so that pooling groups
the same pixels in every window. Mirroring repeats as often as needed, so that even an image
smaller than the margin works. And with a margin as wide as the network sees, nothing that a kept
pixel depends on is missing: the result is the same as predicting the whole image, mirrored
at its borders, in one piece.

A network with valid padding loses its margin by itself (92 pixels on each side in the paper), so
for such a network the result always is that of the whole image.
"""

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Annotated

import numpy as np

from tinyunet.backend import device_name, to_host, xp
from tinyunet.data.class_table import NO_CLASS
from tinyunet.data.dataset import Windowed, read_mirrored
from tinyunet.distributed.replicas import Replicas
from tinyunet.errors import UserError
from tinyunet.fast.inference import for_inference
from tinyunet.hints import Range
from tinyunet.memory import check_memory
from tinyunet.nn.operations import operations
from tinyunet.nn.summary import summarize
from tinyunet.progress import tqdm

DEFAULT_TILE = 512

# Pixels far away weigh little, so the usual margin is less than the full one, which is 96 for the
# usual depth of 4. Measured on real images in tiles of 128, against the full margin: 64 changed the
# class of 2 pixels in 10,000 and no IoU by more than 0.0001; 32 changed 40 and 0.0011; 0 changed
# 300 and 0.015. A window of 512 + 2 * 64 is four fifths of the work of 512 + 2 * 96.
DEFAULT_MARGIN = 64

# Of all outputs in the layer table, how much is in memory at once: 0.1 to 0.33 were measured.
MEMORY_SHARE = 0.35


class Axis:
    """How one side of an image is divided: as few tiles as `tile` allows, all of one size.

    Parameters
    ----------
    network : UNet
    length : int
        Pixels of the image, along this axis.
    tile, margin : int
        The most that is kept of each window, and what is seen around it.

    Attributes
    ----------
    tile : int
        What is kept of each window, a multiple of 2**depth.
    tiles : list of slice
        The tiles touch; the last is cut off where the image ends.
    window : int
        What the network sees at once.
    before : int
        How far a window begins before its tile.
    skip : int
        Where the tile begins in the network's output for the window.
    """

    def __init__(self, network, length: int, tile: int, margin: int):
        self.tile = tile = round_up(-(-length // -(-length // tile)), 2**network.depth)
        self.tiles = [slice(n, min(n + tile, length)) for n in range(0, length, tile)]
        self.window, self.before, self.skip = tile + 2 * margin, margin, margin
        if network.padding == "valid":  # the smallest window whose output holds the tile
            sizes = itertools.count(tile)
            self.window = next(n for n in sizes if (network.output_length(n) or 0) >= tile)
            self.before, self.skip = (self.window - network.output_length(self.window)) // 2, 0

    def seen(self, tile: slice) -> slice:
        """Tell which pixels the network sees for a tile; some may lie beyond the image."""
        return slice(tile.start - self.before, tile.start - self.before + self.window)

    def kept(self, tile: slice) -> slice:
        """Tell where a tile lies in the network's output for its window."""
        return slice(self.skip, self.skip + tile.stop - tile.start)


def full_margin(network) -> int:
    """Return the margin with which nothing is lost: how far a tile's edge sees, in whole steps.

    Going back from the logits, each 3 x 3 convolution sees one pixel farther. Before upsampling
    these are half as many pixels, rounded up: 2 of the lowest level in the end, or 3 with nearest
    neighbors and their convolution. The bottleneck adds 2; and from here each level has twice as
    many, and 2 more. (A pixel inside of the tile may see farther from its own place, but no farther
    out, since tiles begin where pooling windows do.) The result is a multiple of 2**depth: 48 and
    96 for depth 3 and 4.
    """
    return (7 if network.config["upsampling"] == "nearest" else 6) * 2**network.depth


def round_up(number: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is not below `number`."""
    return -(-number // multiple) * multiple


def sliding_window(
    network,
    image,
    *,
    tile: Annotated[int, Range(1, 10**6)] = DEFAULT_TILE,
    margin: Annotated[int, Range(0, 10**6)] = DEFAULT_MARGIN,
    threads: Annotated[int | None, Range(1, 256)] = None,
    tta: bool = False,
    ignore_index: int | None = None,
    progress: bool = False,
) -> Iterator[tuple[slice, slice, object]]:
    """Run the network over an image of any size, window by window.

    Memory is bounded by the windows that are computed at once, one for each thread or 4 on a GPU:
    none is cut before its turn. Tile and margin are rounded up to a multiple of 2**depth. A margin
    above the `full_margin` counts as that one; a network with valid padding takes its own.

    Parameters
    ----------
    network : UNet
        The network; it is put into `eval` mode.
    image : array (H, W, C), or `tinyunet.data.dataset.Windowed`
        The standardized image, on the host.
    tile : int
        Height and width of the tiles of the image in pixels.
    margin : int
        Number of pixels seen around each tile.
    threads : int, optional
        Number of threads that share the work (default: all cores).
    tta : bool
        Average the predictions of the eight flips and quarter turns: slower, usually better.
    ignore_index : int, optional
        The class that has no part in this average.
    progress : bool
        Show a progress bar over the windows.

    Yields
    ------
    rows, columns : slice
        Which part of the image this is; together the parts cover it once.
    logits : array (rows, columns, K)
        The network's output there, on the device.

    Raises
    ------
    UserError
        If the image has other channels than the network takes, or is empty, or tile or margin are
        no sensible numbers, or the windows need more memory than there is.
    """
    check_image(network, image)
    if tile < 1 or margin < 0:
        raise UserError(f"tile {tile}, margin {margin}: they must be at least 1 and 0")
    network = network.eval()
    replicas = Replicas(for_inference(network) if operations.name == "fast" else network, threads)
    forward = [partial(average_over_turns, ignore_index=ignore_index)] if tta else []
    margin = round_up(min(margin, full_margin(network)), 2**network.depth)
    vertical, horizontal = (Axis(network, n, tile, margin) for n in image.shape[:2])
    tiles = list(itertools.product(vertical.tiles, horizontal.tiles))
    at_once = min(4 if device_name() == "cuda" else len(replicas.replicas), len(tiles))
    size = vertical.window, horizontal.window
    what = f"predicting {at_once} windows of {size[0]} x {size[1]} pixels at once"
    needed = MEMORY_SHARE * at_once * summarize(network, *size).bytes
    check_memory(needed, what, "choose a smaller tile or margin, or fewer threads")
    with tqdm(total=len(tiles), unit="tile", leave=False, disable=not progress) as bar:
        for first in range(0, len(tiles), at_once):
            group = tiles[first : first + at_once]
            seen = [(vertical.seen(rows), horizontal.seen(columns)) for rows, columns in group]
            windows = np.stack([read_mirrored(image, *window) for window in seen])
            outputs = replicas.logits(windows, *forward)
            for (rows, columns), output in zip(group, outputs, strict=True):
                yield rows, columns, output[vertical.kept(rows), horizontal.kept(columns)]
            bar.update(len(group))


def check_image(network, image) -> None:
    """Raise a UserError unless the image (H, W, C) has the channels that the network takes."""
    channels = network.config["in_channels"]
    if len(image.shape) != 3 or image.shape[2] != channels or 0 in image.shape:
        raise UserError(f"the network takes images of {channels} channels, not {image.shape}")


def average_over_turns(network, windows, ignore_index: int | None = None):
    """Average the probabilities of the eight flips and quarter turns of windows (N, h, w, C).

    An aerial image or a cell has no up and down, but a network is never quite the same for all
    eight; their average has less of each one's chance mistakes. Returns the logarithm of their sum,
    logits (N, oh, ow, K) whose softmax the average is.
    """
    total = 0
    for turns, mirror in itertools.product(range(4), (1, -1)):
        turned = xp.rot90(windows[:, :, ::mirror], turns, axes=(1, 2))
        logits = xp.rot90(network(xp.ascontiguousarray(turned)), -turns, axes=(1, 2))
        total = total + operations.softmax(without(ignore_index, logits[:, :, ::mirror]))[0]
    return xp.log(xp.maximum(total, xp.finfo(total.dtype).tiny))


def predict_probabilities(network, image, *, ignore_index=None, **options):
    """Return the probability of each class at each pixel.

    Parameters
    ----------
    network : UNet
        The network.
    image : array (H, W, C) of float32
        A standardized image of any size, on the host.
    ignore_index : int, optional
        If this is one of the classes, its probability is 0 and the others add up to 1.
    **options
        `tile`, `margin`, `threads`, `tta`, `progress`: see `sliding_window`.

    Returns
    -------
    array (H, W, K) of float32
        On the host; each pixel's K values add up to 1.
    """
    result = np.empty((*image.shape[:2], network.config["classes"]), dtype=np.float32)
    for *window, logits in sliding_window(network, image, ignore_index=ignore_index, **options):
        result[tuple(window)] = to_host(operations.softmax(without(ignore_index, logits))[0])
    return result


def predict_classes(model, image, *, valid=None, out=None, levels=None, **options):
    """Return the class of each pixel of an image as it comes from its file; see `choose_class`.

    Parameters
    ----------
    model : Model
        The network and its standardization. The class `model.ignore_index` is never chosen: the
        network was not trained on it.
    image : array (H, W, C), or `tinyunet.data.dataset.Windowed`
        An image of any size, not standardized, on the host.
    valid : array (H, W) of bool, optional
        Which pixels are data; see `predict_tiles`.
    out : array (H, W), optional
        Is filled and returned; without it, a new array is.
    levels : array (H, W, K) of uint8, optional
        Is filled with the probabilities of all classes, 255 for certain.
    **options
        `tile`, `margin`, `threads`, `tta`, `progress`: see `sliding_window`.

    Returns
    -------
    array (H, W) of uint8
        Class indices, on the host; 255 where there is no data.
    """
    result = np.empty(image.shape[:2], np.uint8) if out is None else out
    for *window, logits in predict_tiles(model, image, valid=valid, **options):
        window = tuple(window)
        result[window] = to_host(choose_class(model, logits))
        if valid is not None:
            result[window][~valid[window]] = NO_CLASS
        if levels is not None:
            shares, _ = operations.softmax(without(model.ignore_index, logits))
            levels[window] = np.rint(255 * to_host(shares))
    return result


def predict_tiles(model, image, *, valid=None, **options) -> Iterator[tuple[slice, slice, object]]:
    """Go through an image as it comes from its file: `sliding_window` for a whole `Model`.

    `valid`, an array (H, W) of bool, tells which pixels are data; the network sees the mean in
    place of the others.
    """

    def read(rows: slice, columns: slice) -> np.ndarray:
        data = None if valid is None else valid[rows, columns]
        return model.standardization.transform(image[rows, columns], data)

    standardized = Windowed(image.shape, np.float32, read)
    return sliding_window(model.network, standardized, ignore_index=model.ignore_index, **options)


def choose_class(model, logits):
    """Return the class of each pixel: the most probable one, but never the one that is ignored.

    Of two classes, where the model has a threshold t, class 1 where its probability is above t.
    """
    logits = without(model.ignore_index, logits)
    if model.threshold is None:
        return logits.argmax(axis=-1)
    return (operations.softmax(logits)[0][..., 1] > model.threshold).astype(np.uint8)


def without(ignore_index: int | None, logits):
    """Set the ignored class's logit to minus infinity, so that it can't be chosen."""
    if ignore_index is None:
        return logits
    return xp.where(xp.arange(logits.shape[-1]) == ignore_index, -xp.inf, logits)
