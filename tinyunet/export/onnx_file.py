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
- At inference a batch normalization is a constant scale and shift of each channel. They are folded
  into the convolution before it: ``gamma / std * (w * x - mean) + beta`` is again a convolution.
"""

import json
from pathlib import Path

import numpy as np

from tinyunet import __version__
from tinyunet.atomic_io import written_aside
from tinyunet.backend import to_host
from tinyunet.checkpoint import Model
from tinyunet.errors import UserError
from tinyunet.nn import layers
from tinyunet.nn.functional.convolution import border_widths

OPSET = 13  # of 2020: what the onnxruntime inside an older QGIS reads, too
IR_VERSION = 8
IGNORED = -1e30  # the logit of a class that is never to be chosen: its probability becomes 0


class Graph:
    """A graph that grows: its nodes, and the arrays that they use by name."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.arrays: dict[str, np.ndarray] = {}

    def add(self, kind: str, inputs: list[str], **attributes) -> str:
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


class Tensor:
    """Stands for an image on its way through a network.

    Attributes
    ----------
    graph : Graph
    name : str
        In the graph.
    shape : (N, H, W, C)
        As the layers know it.
    weights : (str, str) or None
        The names of kernel and bias, where a convolution made this: for a normalization to fold in.
    """

    def __init__(self, graph: Graph, name: str, shape, weights=None):
        self.graph, self.name, self.shape, self.weights = graph, name, shape, weights

    def visit(self, layer, *others: "Tensor") -> "Tensor":
        """Go through a layer: through each one inside, or into the graph by the layer's kind."""
        if not hasattr(layer, "output_shape"):
            return layer.forward(self, *others)
        tensors = (self, *others)
        shape = layer.output_shape(*(tensor.shape for tensor in tensors))
        write = WRITERS[type(layer)]
        made = write(layer, *tensors)
        return Tensor(self.graph, made.name, shape, made.weights)


def write_convolution(layer, x: Tensor) -> Tensor:
    """Write Conv: the kernel (KH, KW, C, F) becomes (F, C, KH, KW)."""
    (top, bottom), (left, right) = border_widths(layer.padding, layer.kernel_size, layer.stride)
    return write_weighted(layer, x, "Conv", [top, left, bottom, right], layer.weight.data.shape[3])


def write_transposed_convolution(layer, x: Tensor) -> Tensor:
    """Write ConvTranspose: the kernel (KH, KW, C, F), F channels in, becomes (F, C, KH, KW)."""
    (top, bottom), (left, right) = border_widths(layer.padding, layer.kernel_size, layer.stride)
    pads = [top, left, bottom, right]
    return write_weighted(layer, x, "ConvTranspose", pads, layer.weight.data.shape[2])


def write_weighted(layer, x: Tensor, kind: str, pads: list[int], channels: int) -> Tensor:
    """Write either kind of convolution, with its weights."""
    weight = to_host(layer.weight.data).transpose(3, 2, 0, 1)
    bias = to_host(layer.bias.data) if layer.bias else np.zeros(channels, weight.dtype)
    names = x.graph.constant("weight", weight), x.graph.constant("bias", bias)
    name = x.graph.add(
        kind,
        [x.name, *names],
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.stride),
        pads=pads,
    )
    return Tensor(x.graph, name, None, names if kind == "Conv" else None)


def write_normalization(layer, x: Tensor) -> Tensor:
    """Fold the normalization into the convolution before it: nothing is added to the graph."""
    kernel, bias = x.weights
    mean, variance = to_host(layer.running_mean.data), to_host(layer.running_variance.data)
    scale = to_host(layer.gamma.data) / np.sqrt(variance + layer.epsilon)
    arrays = x.graph.arrays
    # (F, C, KH, KW) times (F, 1, 1, 1)
    arrays[kernel] = arrays[kernel] * scale[:, None, None, None]
    arrays[bias] = (arrays[bias] - mean) * scale + to_host(layer.beta.data)
    return Tensor(x.graph, x.name, None)


def write_relu(layer, x: Tensor) -> Tensor:
    """Write Relu."""
    return Tensor(x.graph, x.graph.add("Relu", [x.name]), None)


def write_nothing(layer, x: Tensor) -> Tensor:
    """Dropout does nothing at inference."""
    return x


def write_pooling(layer, x: Tensor) -> Tensor:
    """Write MaxPool."""
    sides = [layer.size, layer.size]
    name = x.graph.add("MaxPool", [x.name], kernel_shape=sides, strides=sides)
    return Tensor(x.graph, name, None)


def write_upsampling(layer, x: Tensor) -> Tensor:
    """Write Resize to nearest neighbors: output pixel i is input pixel floor(i / scale)."""
    scales = x.graph.constant("scales", np.array([1, 1, layer.scale, layer.scale], np.float32))
    name = x.graph.add(
        "Resize",
        [x.name, "", scales],
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )
    return Tensor(x.graph, name, None)


def write_concatenation(layer, skip: Tensor, x: Tensor) -> Tensor:
    """Write Concat, after a Slice where the skip is larger and its center is used."""
    name = skip.name
    if skip.shape[1:3] != x.shape[1:3]:
        sizes = np.array(x.shape[1:3])
        first = (np.array(skip.shape[1:3]) - sizes) // 2
        parts = {"first": first, "last": first + sizes, "axes": np.array([2, 3])}
        names = [skip.graph.constant(key, values) for key, values in parts.items()]
        name = skip.graph.add("Slice", [name, *names])
    return Tensor(x.graph, x.graph.add("Concat", [name, x.name], axis=1), None)


WRITERS = {
    layers.Conv2d: write_convolution,
    layers.ConvTranspose2d: write_transposed_convolution,
    layers.BatchNorm2d: write_normalization,
    layers.ReLU: write_relu,
    layers.Dropout: write_nothing,
    layers.MaxPool2d: write_pooling,
    layers.UpsampleNearest2d: write_upsampling,
    layers.Concat: write_concatenation,
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
        If the package onnx is missing, the model is not for 8-bit images, the tile doesn't fit the
        network, or the file can't be written.
    """
    try:
        import onnx
    except ImportError as error:
        raise UserError("exporting needs the package onnx: pip install 'tinyunet[onnx]'") from error
    if resolution is not None and not resolution > 0:
        raise UserError(f"resolution {resolution:g}: give the size of a pixel in cm, above 0")
    dtype = model.metadata.get("image_format", {}).get("dtype", "uint8")
    if dtype != "uint8":
        raise UserError(
            f"the model was trained on images of {dtype}, but QGIS gives an exported network 8-bit "
            "values: use `tinyunet predict`, which reads images as they are"
        )
    network = model.network
    channels, classes = network.config["in_channels"], network.config["classes"]
    margin = margin_of(network, tile)
    graph = Graph()
    x = standardized(graph, model.standardization)
    if margin:
        pads = graph.constant("pads", np.array([0, 0, margin, margin, 0, 0, margin, margin]))
        x = graph.add("Pad", [x, pads], mode="reflect")
    side = tile + 2 * margin
    logits = network(Tensor(graph, x, (1, side, side, channels)))
    if model.ignore_index is not None and 0 <= model.ignore_index < classes:
        never = np.zeros((1, classes, 1, 1), np.float32)
        never[0, model.ignore_index] = IGNORED
        logits.name = graph.add("Add", [logits.name, graph.constant("never", never)])
    graph.nodes.append(
        onnx.helper.make_node("Softmax", [logits.name], ["probabilities"], name="softmax", axis=1)
    )
    written = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "tinyunet",
            [tensor_info("image", (1, channels, tile, tile))],
            [tensor_info("probabilities", (1, classes, tile, tile))],
            [onnx.numpy_helper.from_array(array, name) for name, array in graph.arrays.items()],
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="tinyunet",
        producer_version=__version__,
    )
    onnx.helper.set_model_props(written, metadata(model, tile, resolution))
    onnx.checker.check_model(written, full_check=True)
    with written_aside(path) as file:
        file.write(written.SerializeToString())


def tensor_info(name: str, shape: tuple[int, ...]):
    """Describe an input or output of the graph: float32, of a fixed shape."""
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def standardized(graph: Graph, standardization) -> str:
    """Write what makes 8-bit values divided by 255 the network's input: a scale and a shift."""
    # (255 x - mean) / std = x * (255 / std) - mean / std, each of shape (1, C, 1, 1)
    scale = (255 / standardization.std).astype(np.float32).reshape(1, -1, 1, 1)
    shift = (-standardization.mean / standardization.std).astype(np.float32).reshape(1, -1, 1, 1)
    scaled = graph.add("Mul", ["image", graph.constant("scale", scale)])
    return graph.add("Add", [scaled, graph.constant("shift", shift)])


def margin_of(network, tile: int) -> int:
    """Find how many mirrored pixels a network needs around a tile to give the whole of it.

    Raises
    ------
    UserError
        If a network with "same" padding can't take the tile, or no margin makes it fit.
    """
    if network.padding == "same":
        network.check_size(tile, tile)
        return 0
    for margin in range(1, tile):  # a mirror is no deeper than what is in front of it
        if network.output_length(tile + 2 * margin) == tile:
            return margin
    raise UserError(f"tile {tile}: no mirrored margin makes this network predict the whole of it")


def metadata(model: Model, tile: int, resolution: float | None) -> dict[str, str]:
    """Say what Deepness reads from a model file: each value a JSON text."""
    reach = model.network.receptive_field // 2
    values = {
        "model_type": "Segmentor",
        "class_names": dict(enumerate(model.class_names)),
        "tile_size": tile,
        "tiles_size": tile,  # the name in Deepness's manual; its code reads the other one
        "tiles_overlap": min(50, -(-100 * reach // tile)),  # percent of a tile
    }
    if resolution is not None:
        values["resolution"] = resolution
    return {key: json.dumps(value) for key, value in values.items()}
