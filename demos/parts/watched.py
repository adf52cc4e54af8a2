"""Look into a U-Net while it works: what each block gives, and what each of these numbers sees.

The network is not changed for this. As `tinyunet.nn.summary` does, we call it with something that
stands for an image: a `Watched` carries the numbers through every layer, and the answer to the
question "on which rows of the image do the rows from here to there depend?". It keeps what the
blocks give.
"""

import numpy as np

from tinyunet.nn.functional.shapes import border_widths
from tinyunet.nn.layers import Concat, Conv2d, ConvTranspose2d, MaxPool2d, UpsampleNearest2d


class Watched:
    """Stands for an image in a network.

    Attributes
    ----------
    array : array (1, h, w, C)
        The numbers.
    sees : function
        From the first and the last of some neighboring rows here (ints, or arrays of them) to the
        first and the last row of the window that they depend on. Columns are like rows.
    kept : dict
        What the blocks that are its keys gave.
    """

    def __init__(self, array, sees, kept):
        self.array, self.sees, self.kept = array, sees, kept
        self.shape = array.shape

    def visit(self, layer, *others):
        """Go through a layer, as `Layer.__call__` asks for: through each one inside, or compute.

        What a block gives is not overwritten later: only a ReLU works in place, and that on what
        the convolution or normalization right before it made.
        """
        images = (self, *others)
        if not hasattr(layer, "output_shape"):
            result = layer.forward(*images)
            if layer in self.kept:
                self.kept[layer] = result
            return result
        y = layer.forward(*(image.array for image in images))

        def sees(first, last):
            firsts, lasts = zip(
                *(image.sees(*inputs(layer, image, y, first, last)) for image in images),
                strict=True,
            )
            return np.min(firsts, axis=0), np.max(lasts, axis=0)

        return Watched(y, sees, self.kept)


def inputs(layer, x, y, first, last):
    """Tell which rows of a layer's input `x` the rows `first` to `last` of its output `y` see."""
    if isinstance(layer, Conv2d):
        size, step = layer.kernel_size[0], layer.stride[0]
        border = border_widths(layer.padding, layer.kernel_size, layer.stride)[0][0]
        return first * step - border, last * step - border + size - 1
    if isinstance(layer, MaxPool2d):
        return first * layer.size, last * layer.size + layer.size - 1
    if isinstance(layer, ConvTranspose2d):  # 2 x 2 with stride 2: every output has one source
        return first // layer.stride[0], last // layer.stride[0]
    if isinstance(layer, UpsampleNearest2d):
        return first // layer.scale, last // layer.scale
    if isinstance(layer, Concat):  # the center of a larger skip
        cropped = (x.shape[1] - y.shape[1]) // 2
        return first + cropped, last + cropped
    return first, last


def named_blocks(network):
    """Name the blocks of a U-Net on the way of the image; the last is the network itself."""
    depth = network.depth
    encoder = {f"encoder {index + 1}": block for index, block in enumerate(network.encoder)}
    decoder = {f"decoder {depth - index}": block for index, block in enumerate(network.decoder)}
    return {**encoder, "bottleneck": network.bottleneck, **decoder, "prediction": network}


def watch(network, x):
    """Run a network over images (1, H, W, C); gives what each block made of it, a dict by name."""
    blocks = named_blocks(network)
    kept = dict.fromkeys(blocks.values())
    network(Watched(x, lambda first, last: (first, last), kept))
    return {name: kept[block] for name, block in blocks.items()}
