"""From a tinyunet model to an ONNX file, for QGIS (the plugin Deepness) and for onnxruntime.

ONNX, the *open neural network exchange*, writes a network down as a graph: a list of operations
with standard names (Conv, MaxPool, Relu, ...), each with the names of its inputs and outputs, and
the weights. Any runtime for such graphs can then predict; it needs no tinyunet and no Python.

The network itself draws the graph. As `tinyunet.nn.summary` does, we call it with something that
stands for an image: a `Tensor`, which knows its name in the graph and notes each layer that it goes
through. So the graph follows the very wiring that training runs, and can't disagree with it.

Three things differ from the network that was trained, none of them its predictions:

- ONNX arrays are channels first, (N, C, H, W).
- The file takes what Deepness gives, 8-bit values divided by 255, so standardization and softmax
  are in the graph.
- Batch normalization is folded into the convolution before it (see `tinyunet.fast.inference`).
"""

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinyunet.atomic_io import written_aside
from tinyunet.backend import to_host
from tinyunet.checkpoint import Model
from tinyunet.errors import UserError, import_extra
from tinyunet.fast.inference import Convolution, for_inference
from tinyunet.nn import layers

OPSET = 13  # of 2020: what the onnxruntime inside an older QGIS reads, too
IR_VERSION = 8
IGNORED = -1e30  # the logit of a class that is never to be chosen: its probability becomes 0


class Tensor(NamedTuple):
    """Stands for an image on its way through a network.

    Attributes
    ----------
    name : str
        Its name in the graph.
    shape : (N, H, W, C)
        That of the image that the network is given.
    nodes, arrays : list
        All operations of the graph so far, and the arrays that they use.
    """

    name: str
    shape: tuple
    nodes: list
    arrays: list

    def visit(self, layer, *others: "Tensor") -> "Tensor":
        """Go through a layer: into the graph by the layer's kind, or through each one inside."""
        write = WRITERS.get(type(layer), type(layer).forward)
        return write(layer, self, *others)

    def add(self, kind: str, *inputs: "np.ndarray | Tensor", **attributes) -> "Tensor":
        """Append a node that takes this and other inputs; returns its output."""
        from onnx import helper, numpy_helper

        output, names = f"{kind.lower()}_{len(self.nodes)}", [self.name]
        for given in inputs:
            if isinstance(given, np.ndarray):
                given = numpy_helper.from_array(given, f"{output}_input_{len(names)}")
                self.arrays.append(given)
            names.append(given.name)
        self.nodes.append(helper.make_node(kind, names, [output], name=output, **attributes))
        return self._replace(name=output)


# Each of these writes what a layer does.


def write_convolution(layer, x: Tensor) -> Tensor:
    """Write Conv, and the ReLU after it."""
    (top, bottom), (left, right) = layer.border
    y = write_weighted("Conv", layer, x, pads=[top, left, bottom, right])
    return y.add("Relu") if layer.relu else y


def write_weighted(kind: str, layer, x: Tensor, **attributes) -> Tensor:
    """Write either kind of convolution: the kernel (KH, KW, C, F) becomes (F, C, KH, KW)."""
    kernel, bias = to_host(layer.weight.data).transpose(3, 2, 0, 1), to_host(layer.bias.data)
    return x.add(kind, np.ascontiguousarray(kernel), bias, strides=layer.stride, **attributes)


# The layers of a network for inference alone.
WRITERS = {
    Convolution: write_convolution,
    layers.ConvTranspose2d: partial(write_weighted, "ConvTranspose"),
    layers.Dropout: lambda layer, x: x,  # which does nothing at inference
    layers.MaxPool2d: lambda layer, x: x.add(
        "MaxPool", kernel_shape=2 * [layer.size], strides=2 * [layer.size]
    ),
    layers.Concat: lambda layer, skip, x: skip.add("Concat", x, axis=1),
}


def export_onnx(
    model: Model, path: str | Path, *, tile: int = 512, resolution: float | None = None
) -> None:
    """Write a model as an ONNX file that QGIS (Deepness) and onnxruntime can run.

    Its input is float32 (1, C, tile, tile), 8-bit values divided by 255; its output float32
    (1, K, tile, tile), the probability of each class.

    Parameters
    ----------
    model : Model
        A trained network and what belongs to it.
    path : path
        The file to write.
    tile : int
        Height and width of the images that the network will be given, in pixels.
    resolution : float, optional
        Size of a pixel on the ground, in centimeters, for Deepness to resample maps to.

    Raises
    ------
    UserError
        If the package onnx is missing, the model is not for 8-bit images or has valid padding, the
        tile doesn't fit the network, or the file can't be written.
    """
    (onnx,) = import_extra("onnx", "onnx", what="exporting")
    if resolution is not None and not resolution > 0:
        raise UserError(f"resolution {resolution:g}: give the size of a pixel in cm, above 0")
    dtype = model.metadata.get("image_format", {}).get("dtype", "uint8")
    if dtype != "uint8":
        raise UserError(f"QGIS gives 8-bit images, and the model was trained on {dtype} ones")
    config, classes = model.network.config, len(model.class_names)
    if (config["padding"], config["upsampling"]) != ("same", "transpose"):
        raise UserError("only networks of --padding same and --upsampling transpose are exported")
    channels = config["in_channels"]
    model.network.check_size(tile, tile)
    # (255 x - mean) / std = x * (255 / std) - mean / std, each of shape (1, C, 1, 1)
    mean, std = model.standardization.mean, model.standardization.std
    x = Tensor("image", (1, tile, tile, channels), [], [])
    x = x.add("Mul", as_channels(255 / std)).add("Add", as_channels(-mean / std))
    y = for_inference(model.network)(x)
    never = IGNORED * (np.arange(classes) == model.ignore_index)
    if never.any():
        y = y.add("Add", as_channels(never))
    y = y.add("Softmax", axis=1)
    y.nodes[-1].output[0] = "probabilities"

    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    image = helper.make_tensor_value_info("image", number, [1, channels, tile, tile])
    result = helper.make_tensor_value_info("probabilities", number, [1, classes, tile, tile])
    graph = helper.make_graph(y.nodes, "tinyunet", [image], [result], y.arrays)
    opsets = [helper.make_opsetid("", OPSET)]
    written = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    helper.set_model_props(written, metadata(model, tile, resolution))
    onnx.checker.check_model(written, full_check=True)
    with written_aside(path) as file:
        file.write(written.SerializeToString())


def as_channels(values: np.ndarray) -> np.ndarray:
    """Shape a number for each channel (C,) as ONNX wants it, (1, C, 1, 1)."""
    return values.astype(np.float32).reshape(1, -1, 1, 1)


def metadata(model: Model, tile: int, resolution: float | None) -> dict[str, str]:
    """Say what Deepness reads from a model file: each value a JSON text."""
    values = {
        "model_type": "Segmentor",
        "class_names": dict(enumerate(model.class_names)),
        "tile_size": tile,
        "tiles_size": tile,  # the name in Deepness's manual; its code reads the other one
        "tiles_overlap": min(50, -(-50 * model.network.receptive_field // tile)),  # percent
        "resolution": resolution,
        "seg_thresh": model.threshold,
    }
    return {key: json.dumps(value) for key, value in values.items() if value is not None}
