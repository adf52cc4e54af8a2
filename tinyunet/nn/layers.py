"""Layers: things that own parameters and remember how to go back.

An operation of `tinyunet.nn.functional` is a pure function that returns its backward. A `Layer`
adds what training needs: it owns the `Parameter` arrays, keeps the backward of its last forward,
and collects gradients. Layers contain layers, so a network is one too.
"""

import copy

from tinyunet.backend import random_generator, to_device, to_host, xp
from tinyunet.nn import functional


class Parameter:
    """An array that a layer owns.

    Attributes
    ----------
    data : array
        The values; an optimizer changes them in place.
    grad : array of the same shape, or None
        The gradient of the loss, summed since the last `zero_grad`.
    grad_buffer : array of the same shape, or None
        Where `grad` is to lie: an optimizer keeps all gradients in one row.
    name : str
        Where it sits in the network, such as ``"encoder.0.conv1.weight"``.
    trainable : bool
        False for what is stored but not learned by gradient, as running averages are.
    """

    def __init__(self, data, trainable=True):
        self.data = data
        self.grad = None
        self.grad_buffer = None
        self.name = ""
        self.trainable = trainable

    def add_gradient(self, gradient):
        """Add to `grad`: a parameter that is used twice gets the sum of both gradients."""
        if self.grad is not None:
            self.grad = xp.add(self.grad, gradient, out=self.grad_buffer)
        elif self.grad_buffer is not None:
            self.grad_buffer[...] = gradient
            self.grad = self.grad_buffer
        else:
            self.grad = gradient


class SharedParameter(Parameter):
    """A parameter's twin in a replica of its network: the same data, a gradient of its own."""

    def __init__(self, original):
        self.original = original
        self.grad = None
        self.grad_buffer = None
        self.name = original.name
        self.trainable = True

    @property
    def data(self):
        """The original's values, whatever they are now."""
        return self.original.data


class Layer:
    """A step of a network: `forward` computes, `backward` gives the gradient of its input.

    ``layer(x)`` is ``layer.forward(x)``. Each backward belongs to the last forward and can be
    called once: it frees what the forward kept in memory, so that memory shrinks as the gradient
    travels back.
    """

    training = True
    saves_backward = True
    _backward = None

    def __call__(self, *inputs):
        """Run forward; or, with a probe of `tinyunet.nn.summary`, only work out the shapes."""
        if hasattr(inputs[0], "visit"):
            return inputs[0].visit(self, *inputs[1:])
        return self.forward(*inputs)

    def forward(self, x):
        """Compute the layer's output (and remember how to go back)."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def backward(self, dy):
        """Turn the gradient of the output into that of the input; add up those of parameters."""
        return self.pop_backward()(dy)

    def save_backward(self, result):
        """Take an operation's (y, backward), keep backward if it is wanted, and hand on y."""
        y, backward = result
        self._backward = backward if self.saves_backward else None
        return y

    def pop_backward(self):
        """Give out the backward of the last forward, and forget it.

        Raises
        ------
        RuntimeError
            If there is none.
        """
        backward, self._backward = self._backward, None
        if backward is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward needs a forward before it, once each time, in "
                "training mode (or after eval(save_backward=True))"
            )
        return backward

    def children(self):
        """List the layers directly inside this one, as (name, layer), in order of definition."""
        found = []
        for name, value in vars(self).items():
            if isinstance(value, Layer):
                found.append((name, value))
            elif isinstance(value, list):
                found += [(f"{name}.{index}", layer) for index, layer in enumerate(value)]
        return found

    def named_parameters(self, prefix=""):
        """List all parameters of this layer and those inside, as (name, parameter)."""
        found = [
            (prefix + name, value)
            for name, value in vars(self).items()
            if isinstance(value, Parameter)
        ]
        for name, layer in self.children():
            found += layer.named_parameters(f"{prefix}{name}.")
        return found

    def parameters(self):
        """List the parameters that are trained, always in the same order."""
        return [parameter for _, parameter in self.named_parameters() if parameter.trainable]

    def modules(self):
        """List this layer and every layer inside it."""
        found = [self]
        for _, layer in self.children():
            found += layer.modules()
        return found

    def zero_grad(self):
        """Forget the gradients: do this before each step."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self):
        """Switch to training: dropout drops, batch normalization uses the batch's statistics."""
        return self._switch(training=True, saves_backward=True)

    def eval(self, save_backward=False):
        """Switch to use: no dropout, running averages for statistics, and nothing is remembered.

        With `remember`, backward works in this mode too: for the gradient of a trained network with
        respect to its image.
        """
        return self._switch(training=False, saves_backward=save_backward)

    def _switch(self, training, saves_backward):
        for layer in self.modules():
            layer.training, layer.saves_backward, layer._backward = training, saves_backward, None
        return self

    def set_seed(self, *seed):
        """Start the random numbers of every dropout layer anew, from ints or lists of ints."""
        layers = [layer for layer in self.modules() if isinstance(layer, Dropout)]
        for index, layer in enumerate(layers):
            layer.rng = random_generator(*seed, index)

    def state_dict(self):
        """Copy all parameters to the host, running averages too: a dict of name to array."""
        return {name: to_host(parameter.data).copy() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state):
        """Put values back that `state` gave.

        Raises
        ------
        ValueError
            If names or shapes are not those of this network.
        """
        parameters = dict(self.named_parameters())
        if parameters.keys() != state.keys():
            odd = sorted(parameters.keys() ^ state.keys())
            raise ValueError(
                f"these values belong to another network; {odd[0]} is on one side only"
            )
        for name, parameter in parameters.items():
            if parameter.data.shape != state[name].shape:
                raise ValueError(
                    f"{name} has shape {parameter.data.shape}, the values given {state[name].shape}"
                )
        for name, parameter in parameters.items():
            parameter.data[...] = to_device(state[name])

    def replica(self):
        """Make a twin that shares the trained parameters but has its own gradients and memory.

        Several threads can then each run their part of a batch through "the same" network.
        """
        twin = copy.copy(self)
        twin._backward = None
        for name, value in vars(self).items():
            if isinstance(value, Parameter) and value.trainable:
                setattr(twin, name, SharedParameter(value))
            elif isinstance(value, Parameter):
                setattr(twin, name, Parameter(value.data.copy(), trainable=False))
            elif isinstance(value, Layer):
                setattr(twin, name, value.replica())
            elif isinstance(value, list):
                setattr(twin, name, [layer.replica() for layer in value])
        return twin


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
        (K. He et al., Delving deep into rectifiers, 2015, section 2.2).
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, *, stride=1, padding=0, bias=True, rng=None
    ):
        self.kernel_size = functional.patches.pair(kernel_size)
        self.stride = functional.patches.pair(stride)
        self.padding = padding
        fan_in = self.kernel_size[0] * self.kernel_size[1] * in_channels
        shape = (*self.kernel_size, in_channels, out_channels)
        self.weight = Parameter(he_normal(shape, fan_in, rng))
        self.bias = Parameter(xp.zeros(out_channels, dtype="float32")) if bias else None

    def forward(self, x):
        """Convolve (N, H, W, C) to (N, OH, OW, F)."""
        bias = self.bias.data if self.bias else None
        return self.save_backward(
            functional.conv2d(x, self.weight.data, bias, stride=self.stride, padding=self.padding)
        )

    def backward(self, dy, input_gradient=True):
        """Add up dweight and dbias; return dx, or None where it is not wanted."""
        dx, dweight, *dbias = self.pop_backward()(dy, input_gradient)
        self.weight.add_gradient(dweight)
        if self.bias:
            self.bias.add_gradient(dbias[0])
        return dx

    def output_shape(self, shape):
        """Work out (N, OH, OW, F) from (N, H, W, C)."""
        border = functional.convolution.border_widths(self.padding, self.kernel_size, self.stride)
        height, width = (
            functional.patches.output_length(length + sum(pad), size, step, axis)
            for length, pad, size, step, axis in zip(
                shape[1:3], border, self.kernel_size, self.stride, ("height", "width"), strict=True
            )
        )
        return (shape[0], height, width, self.weight.data.shape[3])

    def multiply_adds(self, shape):
        """Count the multiplications (each with its addition) for an input of this shape."""
        images, height, width, _ = self.output_shape(shape)
        return images * height * width * self.weight.data.size

    def input_extent(self, count):
        """Tell how many input pixels in a row `count` neighboring output pixels see at most."""
        return (count - 1) * self.stride[0] + max(self.kernel_size)


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
        (one, for 2 x 2 with stride 2), times the input's channels.
    """

    def __init__(
        self, in_channels, out_channels, kernel_size=2, *, stride=2, padding=0, bias=True, rng=None
    ):
        self.kernel_size = functional.patches.pair(kernel_size)
        self.stride = functional.patches.pair(stride)
        self.padding = padding
        taps = self.kernel_size[0] * self.kernel_size[1] / (self.stride[0] * self.stride[1])
        # The kernel of the convolution that this is the transpose of: (KH, KW, C, F), F channels in
        shape = (*self.kernel_size, out_channels, in_channels)
        self.weight = Parameter(he_normal(shape, taps * in_channels, rng))
        self.bias = Parameter(xp.zeros(out_channels, dtype="float32")) if bias else None

    def forward(self, x):
        """Spread (N, H, W, F) to (N, OH, OW, C)."""
        bias = self.bias.data if self.bias else None
        return self.save_backward(
            functional.conv_transpose2d(
                x, self.weight.data, bias, stride=self.stride, padding=self.padding
            )
        )

    def backward(self, dy):
        """Add up dweight and dbias; return dx."""
        dx, dweight, *dbias = self.pop_backward()(dy)
        self.weight.add_gradient(dweight)
        if self.bias:
            self.bias.add_gradient(dbias[0])
        return dx

    def output_shape(self, shape):
        """Work out (N, OH, OW, C) from (N, H, W, F)."""
        cuts = functional.patches.pair(self.padding)
        height, width = (
            (length - 1) * step + size - 2 * cut
            for length, step, size, cut in zip(
                shape[1:3], self.stride, self.kernel_size, cuts, strict=True
            )
        )
        return (shape[0], height, width, self.weight.data.shape[2])

    def multiply_adds(self, shape):
        """Count the multiplications (each with its addition) for an input of this shape."""
        images, height, width, _ = shape
        return images * height * width * self.weight.data.size

    def input_extent(self, count):
        """Tell how many input pixels in a row `count` neighboring output pixels see at most."""
        return (count + max(self.kernel_size) - 2) // self.stride[0] + 1


class MaxPool2d(Layer):
    """Max pooling over windows that do not overlap."""

    def __init__(self, size=2):
        self.size = size

    def forward(self, x):
        """Reduce (N, H, W, C) to (N, H / size, W / size, C)."""
        return self.save_backward(functional.max_pool2d(x, self.size))

    def output_shape(self, shape):
        """Work out the shape of the output."""
        functional.pooling.check_divisible(shape, self.size)
        return (shape[0], shape[1] // self.size, shape[2] // self.size, shape[3])

    def input_extent(self, count):
        """Tell how many input pixels in a row `count` neighboring output pixels see at most."""
        return count * self.size


class UpsampleNearest2d(Layer):
    """Nearest-neighbor upsampling."""

    def __init__(self, scale=2):
        self.scale = scale

    def forward(self, x):
        """Enlarge (N, H, W, C) to (N, H * scale, W * scale, C)."""
        return self.save_backward(functional.upsample_nearest2d(x, self.scale))

    def output_shape(self, shape):
        """Work out the shape of the output."""
        return (shape[0], shape[1] * self.scale, shape[2] * self.scale, shape[3])

    def input_extent(self, count):
        """Tell how many input pixels in a row `count` neighboring output pixels see at most."""
        return (count + self.scale - 2) // self.scale + 1


class ReLU(Layer):
    """What is negative becomes zero.

    Parameters
    ----------
    in_place : bool
        Overwrite the input, and in backward the gradient of the output. Right after a convolution
        or normalization this is safe: nobody else looks at what they give.
    """

    def __init__(self, in_place=False):
        self.in_place = in_place

    def forward(self, x):
        """Apply to each number."""
        return self.save_backward(functional.relu(x, self.in_place))

    def output_shape(self, shape):
        """Work out the shape of the output: that of the input."""
        return shape

    def input_extent(self, count):
        """Tell how many input pixels in a row `count` neighboring output pixels see at most."""
        return count


class Dropout(ReLU):
    """In training, zero a random part of the values; in use, do nothing."""

    def __init__(self, rate, seed=0):
        self.rate = rate
        self.rng = random_generator(seed)

    def forward(self, x):
        """Apply to each number."""
        if not self.training or self.rate == 0:
            return self.save_backward((x, lambda dy: dy))
        return self.save_backward(functional.dropout(x, self.rate, self.rng))


class BatchNorm2d(ReLU):
    """Batch normalization, with running averages of mean and variance for use after training.

    Parameters
    ----------
    channels : int
    momentum : float
        How far the running averages move towards each batch's statistics.
    epsilon : float
        Added to the variance.
    """

    def __init__(self, channels, *, momentum=0.1, epsilon=1e-5):
        self.momentum = momentum
        self.epsilon = epsilon
        self.gamma = Parameter(xp.ones(channels, dtype="float32"))
        self.beta = Parameter(xp.zeros(channels, dtype="float32"))
        self.running_mean = Parameter(xp.zeros(channels, dtype="float32"), trainable=False)
        self.running_variance = Parameter(xp.ones(channels, dtype="float32"), trainable=False)

    def forward(self, x):
        """Normalize by the batch's statistics in training, by the running averages in use."""
        gamma, beta = self.gamma.data, self.beta.data
        mean, variance = self.running_mean.data, self.running_variance.data
        if not self.training:
            return self.save_backward(
                functional.batch_norm2d(
                    x, gamma, beta, epsilon=self.epsilon, mean=mean, variance=variance
                )
            )
        pixels = x.size // x.shape[3]
        batch_mean, batch_variance = functional.batch_statistics(x)
        # The variance of a sample is estimated with pixels - 1, as PyTorch does here.
        unbiased = batch_variance * (pixels / max(pixels - 1, 1))
        mean += self.momentum * (batch_mean - mean)
        variance += self.momentum * (unbiased - variance)
        return self.save_backward(
            functional.batch_norm2d(
                x,
                gamma,
                beta,
                epsilon=self.epsilon,
                mean=batch_mean,
                variance=batch_variance,
                of_batch=True,
            )
        )

    def backward(self, dy):
        """Add up dgamma and dbeta; return dx."""
        dx, dgamma, dbeta = self.pop_backward()(dy)
        self.gamma.add_gradient(dgamma)
        self.beta.add_gradient(dbeta)
        return dx


class Concat(Layer):
    """Join a skip connection with what comes from below; a larger skip is cropped."""

    def forward(self, skip, x):
        """Join (N, SH, SW, S) and (N, H, W, C) to (N, H, W, S + C)."""
        return self.save_backward(functional.concat(skip, x))

    def output_shape(self, skip_shape, shape):
        """Work out the shape of the output."""
        return (*shape[:3], skip_shape[3] + shape[3])

    def input_extent(self, count):
        """Tell how many input pixels in a row `count` neighboring output pixels see at most."""
        return count


class Sequential(Layer):
    """Layers one after the other: ``Sequential(a, b)``, or named ``Sequential(conv=a, act=b)``."""

    def __init__(self, *layers, **named_layers):
        numbered = {str(index): layer for index, layer in enumerate(layers)}
        self.names = (*numbered, *named_layers)
        self.layers = [*numbered.values(), *named_layers.values()]

    def children(self):
        """List the layers as (name, layer)."""
        return list(zip(self.names, self.layers, strict=True))

    def forward(self, x):
        """Run the layers from first to last."""
        for layer in self.layers:
            x = layer(x)
        return x

    def backward(self, dy, input_gradient=True):
        """Run the layers' backwards from last to first."""
        for layer in reversed(self.layers[1:]):
            dy = layer.backward(dy)
        first = self.layers[0]
        if isinstance(first, Conv2d | Sequential):
            return first.backward(dy, input_gradient)
        return first.backward(dy)


def he_normal(shape, fan_in, rng):
    """Draw float32 weights from a normal distribution with std sqrt(2 / fan_in), on the host."""
    rng = random_generator(0) if rng is None else rng
    return to_device(rng.standard_normal(shape, dtype="float32") * (2 / fan_in) ** 0.5)
