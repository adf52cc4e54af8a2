"""The table of a network: it must say what really happens."""

import numpy as np
import pytest

import tinyunet
from tests.networks import small_unet
from tinyunet.nn.layers import (
    Conv2d,
    ConvTranspose2d,
    Layer,
    MaxPool2d,
    Sequential,
    UpsampleNearest2d,
)
from tinyunet.nn.summary import summarize
from tinyunet.nn.unet import SizeError, UNet

OPTIONS = [
    {},
    {"upsampling": "nearest", "norm": "batch"},
    {"padding": "valid"},
    {"padding": "valid", "upsampling": "nearest", "dropout": 0.1},
]
EVERY_NETWORK = pytest.mark.parametrize("options", OPTIONS, ids=str)


def really_run(network, height, width, monkeypatch):
    """Run an image through; note the shape that leaves each layer without layers inside."""
    shapes = []
    call = Layer.__call__

    def noting_call(self, *inputs):
        y = call(self, *inputs)
        if not self.children():
            shapes.append((type(self).__name__, y.shape))
        return y

    monkeypatch.setattr(Layer, "__call__", noting_call)
    network.eval()(np.zeros((1, height, width, network.config["in_channels"]), dtype="float32"))
    return shapes


@EVERY_NETWORK
def test_the_shapes_in_the_table_are_those_of_a_run(options, monkeypatch):
    network = small_unet(**options)
    height, width = network.valid_sizes(200)[1:3]
    rows = summarize(network, height, width).rows
    noted = really_run(network, height, width, monkeypatch)
    assert [(row.kind, row.output_shape) for row in rows] == noted


@EVERY_NETWORK
def test_the_parameters_in_the_table_are_those_of_the_network(options):
    network = small_unet(**options)
    height, width = network.valid_sizes(200)[1:3]
    total = sum(parameter.data.size for parameter in network.parameters())
    assert summarize(network, height, width).parameters == total


@EVERY_NETWORK
def test_the_names_in_the_table_lead_to_the_parameters(options):
    network = small_unet(**options)
    height, width = network.valid_sizes(200)[1:3]
    rows = summarize(network, height, width).rows
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    owners = {name.rpartition(".")[0] for name in network.state_dict()}
    assert owners == {row.name for row in rows if row.parameters}


def test_multiplications_and_bytes_of_a_small_network():
    network = Sequential(
        Conv2d(3, 4, (3, 2)), MaxPool2d(2), ConvTranspose2d(4, 5, 2), Conv2d(5, 2, 1, stride=2)
    )
    rows = summarize(network, 10, 13).rows
    assert [row.output_shape for row in rows] == [
        (1, 8, 12, 4),
        (1, 4, 6, 4),
        (1, 8, 12, 5),
        (1, 4, 6, 2),
    ]
    assert [row.multiply_adds for row in rows] == [
        8 * 12 * 4 * (3 * 2 * 3),
        0,
        4 * 6 * 4 * (2 * 2 * 5),
        4 * 6 * 2 * 5,
    ]
    assert [row.bytes for row in rows] == [4 * 8 * 12 * 4, 4 * 4 * 6 * 4, 4 * 8 * 12 * 5, 4 * 48]
    assert [row.parameters for row in rows] == [76, 0, 85, 12]


def test_the_field_grows_by_the_kernel_and_doubles_its_step_at_each_pooling():
    network = Sequential(Conv2d(1, 1, 3), Conv2d(1, 1, 3), MaxPool2d(2), Conv2d(1, 1, 3))
    assert [row.receptive_field for row in summarize(network, 20).rows] == [3, 5, 6, 10]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([Conv2d(1, 1, (1, 5))], 5),  # the larger side of the kernel decides
        ([Conv2d(1, 1, (5, 1))], 5),
        ([Conv2d(1, 1, (1, 5)), Conv2d(1, 1, (5, 1))], 5),  # each side for itself
        ([Conv2d(1, 1, 3, stride=(1, 3)), Conv2d(1, 1, 3)], 9),
        ([ConvTranspose2d(1, 1, (2, 4), stride=1)], 4),
        ([ConvTranspose2d(1, 1, (2, 3), stride=(2, 1)), Conv2d(1, 1, (3, 1))], 3),
        ([UpsampleNearest2d(2), Conv2d(1, 1, 3)], 2),
    ],
)
def test_the_field_of_kernels_and_strides_that_are_not_square(layers, expected):
    network = Sequential(*layers)
    assert summarize(network, 40, 41, channels=1).rows[-1].receptive_field == expected
    assert pixels_seen(network, (40, 41)) == expected


def pixels_seen(network, size):
    """Ask the gradient how many pixels in a row the numbers in the middle depend on, at most."""
    for parameter in network.parameters():
        parameter.data = abs(parameter.data)
    y = network(np.ones((1, *size, 1), dtype="float32"))
    widest = 0
    height, width = y.shape[1] // 2, y.shape[2] // 2
    for row in range(height, height + 6):
        for column in range(width, width + 6):
            y = network(np.ones((1, *size, 1), dtype="float32"))
            dy = np.zeros_like(y)
            dy[0, row, column] = 1
            dx = network.backward(dy)[0, :, :, 0]
            rows, columns = np.nonzero(dx > 1e-6 * dx.max())  # the fast convolution rounds
            widest = max(widest, np.ptp(rows) + 1, np.ptp(columns) + 1)
    return widest


def test_the_totals_of_a_small_network():
    table = summarize(Sequential(Conv2d(3, 4, (3, 2)), MaxPool2d(2)), 10, 13)
    assert table.bytes == 4 * (8 * 12 * 4 + 4 * 6 * 4)
    assert table.multiply_adds == 8 * 12 * 4 * (3 * 2 * 3)
    assert table.parameters == 3 * 2 * 3 * 4 + 4


def test_twice_the_area_takes_twice_the_work():
    network = UNet(base_channels=4)
    assert summarize(network, 64, 128).multiply_adds == 2 * summarize(network, 64).multiply_adds


def test_printed_it_is_a_table():
    network = UNet(3, 2)
    text = str(summarize(network, 64, 96))
    lines = text.splitlines()
    assert len(lines) == len(summarize(network, 64, 96).rows) + 4
    assert lines[0].split()[:2] == ["layer", "kind"]
    assert any("encoder.0.conv1" in line and "64 x 96 x 16" in line for line in lines)
    assert f"{sum(p.data.size for p in network.parameters()):,}" in lines[-1]
    assert len(lines[0]) == len(lines[1]) == len(lines[-1]), "aligned"
    assert all(len(line) <= len(lines[1]) for line in lines)


def test_a_size_that_does_not_fit_is_refused():
    with pytest.raises(SizeError):
        summarize(UNet(), 100)


def test_a_summary_needs_no_image_and_changes_nothing():
    network = small_unet(norm="batch")
    before = network.state_dict()
    summarize(network, 4000)
    assert all(layer._backward is None for layer in network.modules())
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_summarize_is_at_hand():
    assert tinyunet.summarize is summarize
