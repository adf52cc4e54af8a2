"""Networks for the tests: small, in float64, with nothing left at zero, and as plain functions."""

import numpy as np

from tinyunet.backend import to_device, to_host
from tinyunet.nn.unet import UNet


def in_float64(layer, seed=0):
    """Turn a layer's parameters to float64 and move those that start at 0 or 1 away from there.

    A bias of zero hides its own gradient's mistakes, and a ReLU right at its kink has none.
    """
    rng = np.random.default_rng(seed)
    for name, parameter in layer.named_parameters():
        values = to_host(parameter.data).astype("float64")
        if not name.endswith("weight"):
            values = values + rng.uniform(0.1, 0.5, values.shape)
        parameter.data = to_device(values)
    return layer


def as_function(layer):
    """Make a layer an operation of its input and its parameters, for the gradient checker.

    Backward runs the forward anew, since a layer frees what it remembers.
    """
    parameters = layer.parameters()

    def function(x, *values):
        def forward():
            for parameter, value in zip(parameters, values, strict=True):
                parameter.data = value
            return layer(x)

        def backward(dy):
            layer.zero_grad()
            forward()
            dx = layer.backward(dy)
            return (dx, *(parameter.grad for parameter in parameters))

        return forward(), backward

    return function


def values_of(layer):
    """List the arrays of the trained parameters, in order."""
    return [parameter.data for parameter in layer.parameters()]


def gradients_of(layer):
    """Copy the gradients of the trained parameters to the host, by name."""
    return {parameter.name: to_host(parameter.grad).copy() for parameter in layer.parameters()}


def small_images(network, batch=2, seed=0, dtype="float64"):
    """Draw images of the second and third smallest size that fit: not square."""
    height, width = network.valid_sizes(200)[1:3]
    shape = (batch, height, width, network.config["in_channels"])
    return to_device(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def labels_for(logits, seed=0):
    """Draw a class for each pixel of some logits."""
    *shape, classes = logits.shape
    return np.random.default_rng(seed).integers(0, classes, shape)


def small_unet(**options):
    """Make a U-Net of a few channels."""
    defaults = {"in_channels": 3, "classes": 3, "base_channels": 3, "depth": 2}
    return UNet(**{**defaults, **options})
