r"""A network for inference alone: the same numbers with less to do.

**Folding.** After training, batch normalization multiplies each channel by a constant and adds
another. So does a convolution, with its weights and bias: one can do it for both. With
:math:`s = \gamma / \sqrt{\sigma^2 + \epsilon}`,

.. math:: s \, (w * x + b - \mu) + \beta = (s w) * x + (s (b - \mu) + \beta)

**In the band.** Bias and ReLU are applied to a band of the output while it is in the cache.
"""

import copy

from tinyunet.backend import Array, xp
from tinyunet.fast.convolution import correlate
from tinyunet.nn.functional.shapes import border_widths
from tinyunet.nn.layers import BatchNorm2d, Conv2d, ReLU, Sequential
from tinyunet.nn.module import Layer, Parameter


def for_inference(network: Layer) -> Layer:
    """Make a network that gives what `network` gives in evaluation mode, but for rounding.

    It shares the parameters that it does not change; those it changes are as they are now.
    """
    shared = {id(parameter): parameter for _, parameter in network.named_parameters()}
    return simplified(copy.deepcopy(network, shared).eval())


def simplified(layer: Layer) -> Layer:
    """Replace layers inside by simpler ones, and in the end this one."""
    replaced = {id(child): simplified(child) for _, child in layer.children()}
    for name, value in vars(layer).items():
        if isinstance(value, list):
            setattr(layer, name, [replaced.get(id(item), item) for item in value])
        else:
            setattr(layer, name, replaced.get(id(value), value))
    if isinstance(layer, Sequential):
        return merged(layer)
    return Convolution(layer) if type(layer) is Conv2d else layer


def merged(block: Sequential) -> Sequential:
    """Let each convolution of a block do the normalization and the ReLU that follow it."""
    layers: list[Layer] = []
    for layer in block.layers:
        if layers and isinstance(layers[-1], Convolution) and not layers[-1].relu:
            if isinstance(layer, BatchNorm2d):
                layers[-1].fold(layer)
                continue
            if isinstance(layer, ReLU):
                layers[-1].relu = True
                continue
        layers.append(layer)
    return Sequential(*layers)


class Convolution(Layer):
    """A convolution, and the ReLU after it."""

    def __init__(self, layer: Conv2d):
        self.weight, self.bias = layer.weight, layer.bias
        self.stride = layer.stride
        self.border = border_widths(layer.padding, layer.kernel_size, layer.stride)
        self.relu = False

    def fold(self, norm: BatchNorm2d) -> None:
        """Do the work of a batch normalization in evaluation mode."""
        scale = norm.gamma.data / xp.sqrt(norm.running_variance.data + norm.epsilon)
        bias = 0 if self.bias is None else self.bias.data
        self.weight = Parameter(self.weight.data * scale)
        self.bias = Parameter((bias - norm.running_mean.data) * scale + norm.beta.data)

    def forward(self, x: Array) -> Array:
        """Convolve (N, H, W, C) to (N, OH, OW, F)."""
        bias = self.bias and self.bias.data
        return correlate(x, self.weight.data, bias, self.stride, self.border, relu=self.relu)[0]
