"""How near the influence is: the square around a pixel that holds half of what moves its answer.

The receptive field tells what a pixel could see. The gradient tells what it does see: put 1 into
`dlogits` at one pixel and one class, run backward, and |dx| is how much each pixel of the image
would move that number.
"""

import numpy as np

from tinyunet.backend import random_generator, to_device, to_host, xp
from tinyunet.data.dataset import read_mirrored
from tinyunet.inference.sliding_window import Axis, full_margin

PIXELS = 8  # of which the median is taken


def half_side(influence, row, column):
    """Give the side of the square around a pixel that holds half of the influence (H, W)."""
    rows, columns = np.indices(influence.shape)
    rings = np.maximum(abs(rows - row), abs(columns - column))
    inside = np.cumsum(np.bincount(rings.ravel(), weights=influence.ravel()))
    return 2 * int(np.searchsorted(inside, inside[-1] / 2)) + 1


def typical_half_side(model, image, seed=0):
    """Measure `half_side` for the answers at random pixels of an image; gives the median.

    The image (H, W, C) is not standardized. Each pixel gets a window that holds all it can see.
    Where every ReLU is off on the way back, a small change of the image changes nothing, and there
    is nothing to halve: such pixels do not count. Gives None if there is no other.
    """
    network = model.network
    step, margin = 2**network.depth, full_margin(network)
    axes = [Axis(network, length, step, margin) for length in image.shape[:2]]
    network.eval(save_backward=True)
    sides = []
    for place in random_generator(seed).integers(0, image.shape[:2], (PIXELS, 2)):
        tiles = [axis.tiles[int(at) // axis.tile] for at, axis in zip(place, axes, strict=True)]
        around = [axis.seen(tile) for axis, tile in zip(axes, tiles, strict=True)]
        window = model.standardization.transform(read_mirrored(image, *around)[None])
        logits = network(to_device(window))
        row, column = (
            int(at) - tile.start + axis.skip
            for at, tile, axis in zip(place, tiles, axes, strict=True)
        )
        dlogits = xp.zeros_like(logits)
        dlogits[0, row, column, int(logits[0, row, column].argmax())] = 1
        influence = to_host(abs(network.backward(dlogits))[0].sum(axis=-1))
        # In the window, the output begins behind what valid convolutions take off.
        border = [
            (axis.window - length) // 2
            for axis, length in zip(axes, logits.shape[1:3], strict=True)
        ]
        if influence.any():
            sides.append(half_side(influence, row + border[0], column + border[1]))
    network.eval()
    return sorted(sides)[len(sides) // 2] if sides else None
