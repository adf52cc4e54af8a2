"""The layers of a U-Net: operations with their parameters.

Each layer also knows the shape that it gives (`output_shape`), and how far it looks
(`input_extent`): `tinyunet.nn.summary` makes a table of that.
"""

import numpy as np

from tinyunet.backend import Array, random_generator, to_device, xp
from tinyunet.nn.functional import shapes
from tinyunet.nn.functional.normalization import one_part
from tinyunet.nn.functional.pooling import check_divisible
from tinyunet.nn.functional.shapes import Pair, pair
from tinyunet.nn.module import Layer, Parameter
from tinyunet.nn.operations import operations

Shape = tuple[int, int, int, int]  # (N, H, W, C)


class Conv2d(Layer):
    """Convolution with a kernel that is learned.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or pair
    stride : int or pair
    padding : int, pair or ``"same"``
    bias : bool
        Whether a number is added to each output channel.
    rng : numpy.random.Generator, optional
        For the initial weights: He normal, std sqrt(2 / fan_in), where fan_in is how many numbers
        are summed up in one output. Then ReLU layers neither blow up nor die out with depth
        (K. He et al., Delving deep into rectifiers, 2015, section 2.2). By default they are other
        weights each time.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        *,
        stride: Pair = 1,
        padding: Pair | str = 0,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ):
        self.kernel_size = pair(kernel_size)
        self.stride = pair(stride)
        self.padding = padding
        fan_in = self.kernel_size[0] * self.kernel_size[1] * in_channels
        shape = (*self.kernel_size, in_channels, out_channels)
        self.weight = Parameter(he_normal(shape, fan_in, rng))
        self.bias = Parameter(xp.zeros(out_channels, dtype="float32")) if bias else None

    def forward(self, x: Array) -> Array:
        """Convolve (N, H, W, C) to (N, OH, OW, F)."""
        bias = None if self.bias is None else self.bias.data
        return self.save_backward(
            operations.conv2d(x, self.weight.data, bias, stride=self.stride, padding=self.padding)
        )

    def output_shape(self, shape: Shape) -> Shape:
        """Work out (N, OH, OW, F) from (N, H, W, C)."""
        border = shapes.border_widths(self.padding, self.kernel_size, self.stride)
        size = shapes.output_size(shape, self.kernel_size, self.stride, border)
        return (shape[0], *size, self.weight.data.shape[3])

    def multiply_adds(self, shape: Shape) -> int:
        """Count the multiplications (each with its addition) for an input of this shape."""
        images, height, width, _ = self.output_shape(shape)
        return images * height * width * self.weight.data.size

    def input_extent(self, count: int, axis: int) -> int:
        """Tell how many input pixels in a row `count` neighboring output pixels depend on.

        The row runs down for axis 0, across for axis 1.
        """
        return (count - 1) * self.stride[axis] + self.kernel_size[axis]


class ConvTranspose2d(Layer):
    """Transposed convolution with a kernel that is learned; by default doubles the size.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int or pair
    padding : int or pair
    bias : bool
    rng : numpy.random.Generator, optional
        For the initial weights: He normal. Each output pixel sums over KH * KW / stride^2 taps
        (one, for 2 x 2 with stride 2), times the input's channels. By default they are other
        weights each time.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair = 2,
        *,
        stride: Pair = 2,
        padding: Pair = 0,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ):
        self.kernel_size = pair(kernel_size)
        self.stride = pair(stride)
        self.padding = padding
        taps = self.kernel_size[0] * self.kernel_size[1] / (self.stride[0] * self.stride[1])
        # The kernel of the convolution that this is the transpose of: (KH, KW, C, F), F channels in
        shape = (*self.kernel_size, out_channels, in_channels)
        self.weight = Parameter(he_normal(shape, taps * in_channels, rng))
        self.bias = Parameter(xp.zeros(out_channels, dtype="float32")) if bias else None

    def forward(self, x: Array) -> Array:
        """Spread (N, H, W, F) to (N, OH, OW, C)."""
        bias = None if self.bias is None else self.bias.data
        return self.save_backward(
            operations.conv_transpose2d(
                x, self.weight.data, bias, stride=self.stride, padding=self.padding
            )
        )

    def output_shape(self, shape: Shape) -> Shape:
        """Work out (N, OH, OW, C) from (N, H, W, F)."""
        border = shapes.border_widths(self.padding, self.kernel_size, self.stride)
        size = shapes.transposed_size(shape, self.kernel_size, self.stride, border)
        return (shape[0], *size, self.weight.data.shape[2])

    def multiply_adds(self, shape: Shape) -> int:
        """Count the multiplications (each with its addition) for an input of this shape."""
        images, height, width, _ = shape
        return images * height * width * self.weight.data.size

    def input_extent(self, count: int, axis: int) -> int:
        """Tell how many input pixels `count` neighboring output pixels depend on, at most."""
        return (count + self.kernel_size[axis] - 2) // self.stride[axis] + 1


class MaxPool2d(Layer):
    """Max pooling over windows that do not overlap."""

    def __init__(self, size: int = 2):
        self.size = size

    def forward(self, x: Array) -> Array:
        """Reduce (N, H, W, C) to (N, H / size, W / size, C)."""
        return self.save_backward(operations.max_pool2d(x, self.size))

    def output_shape(self, shape: Shape) -> Shape:
        """Work out the shape of the output."""
        check_divisible(shape, self.size)
        return (shape[0], shape[1] // self.size, shape[2] // self.size, shape[3])

    def input_extent(self, count: int, axis: int) -> int:
        """Tell how many input pixels `count` neighboring output pixels depend on."""
        return count * self.size


class UpsampleNearest2d(Layer):
    """Nearest-neighbor upsampling."""

    def __init__(self, scale: int = 2):
        self.scale = scale

    def forward(self, x: Array) -> Array:
        """Enlarge (N, H, W, C) to (N, H * scale, W * scale, C)."""
        return self.save_backward(operations.upsample_nearest2d(x, self.scale))

    def output_shape(self, shape: Shape) -> Shape:
        """Work out the shape of the output."""
        return (shape[0], shape[1] * self.scale, shape[2] * self.scale, shape[3])

    def input_extent(self, count: int, axis: int) -> int:
        """Tell how many input pixels `count` neighboring output pixels depend on, at most."""
        return (count + self.scale - 2) // self.scale + 1


class Elementwise(Layer):
    """A layer that makes each pixel from the one at its place: the shape stays."""

    def output_shape(self, shape: Shape) -> Shape:
        """Work out the shape of the output: that of the input."""
        return shape


class ReLU(Elementwise):
    """What is negative becomes zero."""

    def forward(self, x: Array) -> Array:
        """Apply to each number."""
        return self.save_backward(operations.relu(x))


class Dropout(Elementwise):
    """In training, zero a random part of the values; in evaluation, do nothing.

    Parameters
    ----------
    rate : float
        Probability that a value is dropped.
    rng : numpy.random.Generator, optional
        By default other values are dropped each time; `set_seed` makes it repeat itself.
    """

    def __init__(self, rate: float, rng: np.random.Generator | None = None):
        self.rate = rate
        self.rng = random_generator() if rng is None else rng

    def forward(self, x: Array) -> Array:
        """Apply to each number."""
        if not self.training or self.rate == 0:
            return self.save_backward((x, lambda dy: dy))
        return self.save_backward(operations.dropout(x, self.rate, self.rng))


class BatchNorm2d(Elementwise):
    """Batch normalization, with running averages of mean and variance for use after training.

    Parameters
    ----------
    channels : int
    momentum : float
        How far the running averages move towards each batch's statistics.
    epsilon : float
        Added to the variance.

    Attributes
    ----------
    sum_over_parts : function
        Whoever divides a batch sets it; see `tinyunet.nn.functional.normalize_batch`.
    """

    sum_over_parts = staticmethod(one_part)

    def __init__(self, channels: int, *, momentum: float = 0.1, epsilon: float = 1e-5):
        self.momentum = momentum
        self.epsilon = epsilon
        self.gamma = Parameter(xp.ones(channels, dtype="float32"))
        self.beta = Parameter(xp.zeros(channels, dtype="float32"))
        self.running_mean = Parameter(xp.zeros(channels, dtype="float32"), trainable=False)
        self.running_variance = Parameter(xp.ones(channels, dtype="float32"), trainable=False)

    def forward(self, x: Array) -> Array:
        """Normalize by the batch's statistics in training, by the running averages afterwards."""
        gamma, beta = self.gamma.data, self.beta.data
        if self.training:
            result, mean, variance = operations.normalize_batch(
                x, gamma, beta, epsilon=self.epsilon, sum_over_parts=self.sum_over_parts
            )
            self.running_mean.data += self.momentum * (mean - self.running_mean.data)
            self.running_variance.data += self.momentum * (variance - self.running_variance.data)
        else:
            mean, variance = self.running_mean.data, self.running_variance.data
            result = operations.batch_norm2d(
                x, gamma, beta, epsilon=self.epsilon, mean=mean, variance=variance
            )
        return self.save_backward(result)


class Concat(Layer):
    """Join a skip connection with what comes from below; a larger skip is cropped."""

    def forward(self, skip: Array, x: Array) -> Array:
        """Join (N, SH, SW, S) and (N, H, W, C) to (N, H, W, S + C)."""
        return self.save_backward(operations.concat(skip, x))

    def output_shape(self, skip_shape: Shape, shape: Shape) -> Shape:
        """Work out the shape of the output."""
        return (*shape[:3], skip_shape[3] + shape[3])


class Sequential(Layer):
    """Layers one after the other: ``Sequential(a, b)``, or named ``Sequential(conv=a, act=b)``."""

    def __init__(self, *layers: Layer, **named_layers: Layer):
        numbered = {str(index): layer for index, layer in enumerate(layers)}
        self.names = (*numbered, *named_layers)
        self.layers = [*numbered.values(), *named_layers.values()]

    def children(self) -> list[tuple[str, Layer]]:
        """List the layers as (name, layer)."""
        return list(zip(self.names, self.layers, strict=True))

    def forward(self, x: Array) -> Array:
        """Run the layers from first to last."""
        for layer in self.layers:
            x = layer(x)
        return x

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        """Run the layers' backwards from last to first."""
        first, *others = self.layers
        for layer in reversed(others):
            dy = layer.backward(dy)
        return first.backward(dy, input_gradient)


def he_normal(shape: Shape, fan_in: float, rng: np.random.Generator | None) -> Array:
    """Draw float32 weights from a normal distribution with std sqrt(2 / fan_in), on the host."""
    rng = random_generator() if rng is None else rng
    return to_device(rng.standard_normal(shape, dtype="float32") * (2 / fan_in) ** 0.5)
