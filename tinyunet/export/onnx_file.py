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

from tinyunet import __version__
from tinyunet.atomic_io import written_aside
from tinyunet.backend import to_host
from tinyunet.checkpoint import Model
from tinyunet.errors import UserError
from tinyunet.fast.inference import Convolution, Parts, Pool, for_inference
from tinyunet.nn import layers

OPSET = 13  # of 2020: what the onnxruntime inside an older QGIS reads, too
IR_VERSION = 8
IGNORED = -1e30  # the logit of a class that is never to be chosen: its probability becomes 0


class Graph:
    """A graph that grows: its nodes, and the arrays that they use by name."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.arrays: dict[str, np.ndarray] = {}

    def add(self, kind: str, *inputs: str, **attributes) -> str:
        """Append a node; returns the name of its output."""
        from onnx import helper

        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, values) -> str:
        """Store an array; returns its name, made unique by the node that will use it."""
        name = f"{name}_{len(self.nodes)}"
        self.arrays[name] = np.ascontiguousarray(values)
        return name


class Tensor(NamedTuple):
    """Stands for an image on its way through a network: its name in the graph, its (N, H, W, C)."""

    graph: Graph
    name: str
    shape: tuple

    def visit(self, layer, *others: "Tensor") -> "Tensor":
        """Go through a layer: through each one inside, or into the graph by the layer's kind."""
        if type(layer) not in WRITERS:
            return layer.forward(self, *others)
        return self._replace(name=WRITERS[type(layer)](layer, self, *others))


# Each of these writes what a layer does and returns the name of the result.


def write_convolution(layer, x: Tensor) -> str:
    """Write Conv, and the ReLU after it."""
    (top, bottom), (left, right) = layer.border
    name = write_weighted("Conv", layer, x, pads=[top, left, bottom, right])
    return x.graph.add("Relu", name) if layer.relu else name


def write_weighted(kind: str, layer, x: Tensor, **attributes) -> str:
    """Write either kind of convolution: the kernel (KH, KW, C, F) becomes (F, C, KH, KW)."""
    kernel = x.graph.constant("weight", to_host(layer.weight.data).transpose(3, 2, 0, 1))
    bias = x.graph.constant("bias", to_host(layer.bias.data))
    return x.graph.add(kind, x.name, kernel, bias, strides=list(layer.stride), **attributes)


def write_pooling(layer, x: Tensor) -> str:
    """Write MaxPool."""
    sides = [layer.size, layer.size]
    return x.graph.add("MaxPool", x.name, kernel_shape=sides, strides=sides)


def write_upsampling(layer, x: Tensor) -> str:
    """Write Resize to nearest neighbors: output pixel i is input pixel floor(i / scale)."""
    scales = x.graph.constant("scales", np.array([1, 1, layer.scale, layer.scale], np.float32))
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    return x.graph.add("Resize", x.name, "", scales, nearest_mode="floor", **nearest)


# The layers of a network for inference alone.
WRITERS = {
    Convolution: write_convolution,
    layers.ConvTranspose2d: partial(write_weighted, "ConvTranspose"),
    layers.Dropout: lambda layer, x: x.name,  # which does nothing at inference
    Pool: write_pooling,
    layers.UpsampleNearest2d: write_upsampling,
    Parts: lambda layer, skip, x: x.graph.add("Concat", skip.name, x.name, axis=1),
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
    try:
        import onnx
    except ImportError as error:
        raise UserError("exporting needs the package onnx: pip install 'tinyunet[onnx]'") from error
    if resolution is not None and not resolution > 0:
        raise UserError(f"resolution {resolution:g}: give the size of a pixel in cm, above 0")
    dtype = model.metadata.get("image_format", {}).get("dtype", "uint8")
    if dtype != "uint8":
        raise UserError(f"QGIS gives 8-bit images, and the model was trained on {dtype} ones")
    if model.network.padding == "valid":
        raise UserError("QGIS wants as many pixels as it gives: train with --padding same")
    channels, classes = model.network.config["in_channels"], len(model.class_names)
    model.network.check_size(tile, tile)
    graph = Graph()
    # (255 x - mean) / std = x * (255 / std) - mean / std, each of shape (1, C, 1, 1)
    mean, std = model.standardization.mean, model.standardization.std
    x = graph.add("Mul", "image", graph.constant("scale", as_channels(255 / std)))
    x = graph.add("Add", x, graph.constant("shift", as_channels(-mean / std)))
    logits = for_inference(model.network)(Tensor(graph, x, (1, tile, tile, channels))).name
    if model.ignore_index in range(classes):
        never = np.where(np.arange(classes) == model.ignore_index, IGNORED, 0)
        logits = graph.add("Add", logits, graph.constant("never", as_channels(never)))
    graph.add("Softmax", logits, axis=1)
    graph.nodes[-1].output[0] = "probabilities"

    helper = onnx.helper
    image, probabilities = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, depth, tile, tile])
        for name, depth in (("image", channels), ("probabilities", classes))
    )
    arrays = [onnx.numpy_helper.from_array(array, name) for name, array in graph.arrays.items()]
    written = helper.make_model(
        helper.make_graph(graph.nodes, "tinyunet", [image], [probabilities], arrays),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="tinyunet",
        producer_version=__version__,
    )
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
