"""What a network does to an image, layer by layer, without computing a single pixel.

`summarize` calls the network with a *probe* in place of an image. The probe knows only a shape and
which layers it has come through; each layer tells it what becomes of the shape. So the table
follows the very wiring that training runs, and can't disagree with it.

The *receptive field* of a pixel is the rectangle of image pixels that it depends on. To find it,
start with that one pixel and go back through the layers, from the last to the first. Each tells how
many of its input pixels a row of its output pixels depends on: a 3 x 3 convolution adds two,
pooling doubles, upsampling halves. (Where a row of two or more meets upsampling, it depends on its
place whether it touches one more; the most is what counts.) Where several paths lead back to the
image, as through the skips of a U-Net, the farthest-seeing one decides.
"""

from dataclasses import dataclass
from typing import Any

from tinyunet.nn.module import Layer


@dataclass(frozen=True)
class Row:
    """One layer of a network.

    Attributes
    ----------
    name, kind : str
        Where the layer sits, and its class.
    output_shape : (N, H, W, C)
    parameters : int
        How many numbers it learns.
    receptive_field : int
        Height or width, whichever is larger, of the rectangle of image pixels that an output pixel
        depends on.
    bytes : int
        Size of the output in float32.
    multiply_adds : int
        Multiplications, each with its addition, in its matrix products.
    """

    name: str
    kind: str
    output_shape: tuple
    parameters: int
    receptive_field: int
    bytes: int
    multiply_adds: int

    def cells(self) -> tuple[str, ...]:
        """Write the row's columns in the table."""
        _, height, width, channels = self.output_shape
        return (
            self.name,
            self.kind,
            f"{height} x {width} x {channels}",
            f"{self.parameters:,}" if self.parameters else "",
            f"{self.receptive_field}",
            f"{self.bytes / 1e6:.2f}",
            f"{self.multiply_adds:,}" if self.multiply_adds else "",
        )


@dataclass(frozen=True)
class Summary:
    """The rows of a network; `print` shows them as a table.

    Attributes
    ----------
    rows : list of Row
    """

    rows: list[Row]

    @property
    def parameters(self) -> int:
        """How many numbers the network learns."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """How many multiplications, each with its addition, one forward takes."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def bytes(self) -> int:
        """How large all outputs are together, in float32."""
        return sum(row.bytes for row in self.rows)

    def __str__(self) -> str:
        """Draw the table."""
        header = ("layer", "kind", "output", "parameters", "sees", "output MB", "multiply-adds")
        totals = (f"{self.parameters:,}", "", f"{self.bytes / 1e6:.2f}", f"{self.multiply_adds:,}")
        lines = [header, *(row.cells() for row in self.rows), ("total", "", "", *totals)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        drawn = []
        for line in lines:
            cells = zip(line, "<<>>>>>", widths, strict=True)  # words to the left, numbers right
            drawn.append("  ".join(f"{cell:{side}{width}}" for cell, side, width in cells).rstrip())
        rule = "  ".join("-" * width for width in widths)
        return "\n".join([drawn[0], rule, *drawn[1:-1], rule, drawn[-1]])


@dataclass(frozen=True)
class Probe:
    """Stands for an image in a network.

    Attributes
    ----------
    shape : (N, H, W, C)
    paths : list of lists of layers
        Every way through the layers from the image to here.
    names : dict of layer to str
    rows : list of Row
        Where each layer that was visited is noted.
    """

    shape: tuple
    paths: list[list[Layer]]
    names: dict[Layer, str]
    rows: list[Row]

    def visit(self, layer: Layer, *others: "Probe") -> "Probe":
        """Go through a layer: through each one inside, or note what this one does."""
        if not hasattr(layer, "output_shape"):
            return layer.forward(self, *others)
        probes = (self, *others)
        shape = layer.output_shape(*(probe.shape for probe in probes))
        images, height, width, channels = shape
        paths = [[*path, layer] for probe in probes for path in probe.paths]
        self.rows.append(
            Row(
                name=self.names[layer],
                kind=type(layer).__name__,
                output_shape=shape,
                parameters=sum(p.data.size for _, p in layer.named_parameters() if p.trainable),
                receptive_field=max(extent(path, axis) for path in paths for axis in (0, 1)),
                bytes=4 * images * height * width * channels,
                multiply_adds=layer.multiply_adds(self.shape),
            )
        )
        return Probe(shape, paths, self.names, self.rows)


def extent(path: list[Layer], axis: int) -> int:
    """Tell how many image pixels one pixel at the end of a path depends on, along an axis."""
    count = 1
    for layer in reversed(path):
        count = layer.input_extent(count, axis)
    return count


def summarize(
    network: Layer, height: int, width: int | None = None, channels: int | None = None
) -> Summary:
    """Follow one image through a network.

    Parameters
    ----------
    network : Layer
    height, width : int
        Of the image, in pixels; a square one if only the height is given.
    channels : int, optional
        Of the image; by default what the network's first weight expects.

    Returns
    -------
    summary : Summary
        A row for each layer.

    Raises
    ------
    UserError
        If an image of this size does not fit the network.
    """
    if channels is None:
        channels = network.parameters()[0].data.shape[2]
    shape = (1, height, height if width is None else width, channels)
    rows: list[Row] = []
    network(Probe(shape, [[]], dict(named_layers(network)), rows))
    return Summary(rows)


def named_layers(layer: Layer, prefix: str = "") -> list[tuple[Any, str]]:
    """List every layer inside a layer, as (layer, name)."""
    found = [(layer, prefix.rstrip("."))]
    for name, child in layer.children():
        found += named_layers(child, f"{prefix}{name}.")
    return found
