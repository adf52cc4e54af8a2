"""The U-Net on one page stands alone, is short, is right in every gradient, and learns."""

import ast
import inspect
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.networks import in_float64
from tests.strategies import all_different, away_from_zero, random_array, seeds
from tests.test_demos import DEMOS, load
from tinyunet import check_gradients
from tinyunet.backend import to_device, to_host
from tinyunet.nn import functional
from tinyunet.nn.optimizers import SGD
from tinyunet.nn.unet import UNet

page = load("unet_on_one_page")
channel_counts = st.integers(1, 4)

# What the page calls a part of the network, and what `UNet` calls it, whose decoder counts upwards.
PARTS = {
    "encoder0": "encoder.0",
    "encoder1": "encoder.1",
    "bottleneck": "bottleneck",
    "up1": "ups.0",
    "decoder1": "decoder.0",
    "up0": "ups.1",
    "decoder0": "decoder.1",
    "head": "head",
}


def arrays_by_part(arrays):
    """Sort the values or gradients of a `UNet`, given by name, as the page has them."""
    return {
        part: [array for name, array in arrays.items() if name.startswith(prefix + ".")]
        for part, prefix in PARTS.items()
    }


def twin_of(parameters, channels, classes, base):
    """Make the `UNet` that has the page's parameters, in float64."""
    network = UNet(channels, classes, base_channels=base, depth=2)
    expected = [array for part in PARTS for array in parameters[part]]
    names = {name: name for name, _ in network.named_parameters()}
    ordered = [name for names_of_part in arrays_by_part(names).values() for name in names_of_part]
    values = dict(zip(ordered, expected, strict=True))
    for name, parameter in network.named_parameters():
        assert parameter.data.shape == values[name].shape
        parameter.data = to_device(values[name].astype("float64"))
    return network
