"""What a network does to an image, layer by layer, without computing a single pixel.

`summarize` calls the network with a *probe* in place of an image. The probe knows only a shape and
how far it sees; each layer tells it what becomes of these. So the table follows the very wiring
that training runs, and can't disagree with it.

The *receptive field* of a pixel is the square of image pixels that it depends on. To find it, ask
each layer, from the last to the first, how many of its input pixels a row of neighboring output
pixels sees: 3 x 3 convolutions add two, pooling doubles, upsampling halves. Where a row of two or
more meets upsampling, it depends on its place whether it touches one more; the most is what counts.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One layer of a traced network.

    Attributes
    ----------
    name, kind : str
        Where the layer sits, and its class.
    output_shape : (N, H, W, C)
    parameters : int
        How many numbers it learns.
    receptive_field : int
        Side of the square of image pixels that an output pixel depends on.
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


@dataclass(frozen=True)
class Summary:
    """The rows of a traced network; `print` shows them as a table.

    Attributes
    ----------
    rows : list of Row
    """

    rows: list

    @property
    def parameters(self):
        """How many numbers the network learns."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self):
        """How many multiplications, each with its addition, one forward takes."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def bytes(self):
        """How large all outputs are together, in float32."""
        return sum(row.bytes for row in self.rows)

    def __str__(self):
        """Draw the table."""
        header = ("layer", "kind", "output", "parameters", "sees", "output MB", "multiply-adds")
        lines = [header]
        for row in self.rows:
            _, height, width, channels = row.output_shape
            lines.append(
                (
                    row.name,
                    row.kind,
                    f"{height} x {width} x {channels}",
                    f"{row.parameters:,}" if row.parameters else "",
                    f"{row.receptive_field}",
                    f"{row.bytes / 1e6:.2f}",
                    f"{row.multiply_adds:,}" if row.multiply_adds else "",
                )
            )
        lines.append(
            (
                "total",
                "",
                "",
                f"{self.parameters:,}",
                "",
                f"{self.bytes / 1e6:.2f}",
                f"{self.multiply_adds:,}",
            )
        )
        widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
        rule = "  ".join("-" * width for width in widths)
        drawn = [
            "  ".join(
                cell.ljust(width) if column < 2 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([drawn[0], rule, *drawn[1:-1], rule, drawn[-1]])


class Probe:
    """Stands for an image in a network: its shape, how far a pixel sees, and who was visited."""

    def __init__(self, shape, field, names, rows):
        self.shape = shape
        # From a number of neighboring pixels here to the number of image pixels that they see
        self.field = field
        self.names = names
        self.rows = rows

    def visit(self, layer, *others):
        """Go through a layer: through each one inside, or note what this one does."""
        if not hasattr(layer, "output_shape"):
            return layer.forward(self, *others)
        probes = (self, *others)
        shape = layer.output_shape(*(probe.shape for probe in probes))

        def field(count):
            # A join sees as far as the farthest-seeing of its inputs.
            return max(probe.field(layer.input_extent(count)) for probe in probes)

        images, height, width, channels = shape
        counted = hasattr(layer, "multiply_adds")
        self.rows.append(
            Row(
                name=self.names[layer],
                kind=type(layer).__name__,
                output_shape=shape,
                parameters=sum(parameter.data.size for parameter in layer.parameters()),
                receptive_field=field(1),
                bytes=4 * images * height * width * channels,
                multiply_adds=layer.multiply_adds(self.shape) if counted else 0,
            )
        )
        return Probe(shape, field, self.names, self.rows)


def summarize(network, height, width=None, channels=None):
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
    rows = []
    network(Probe(shape, lambda count: count, dict(named_layers(network)), rows))
    return Summary(rows)


def named_layers(layer, prefix=""):
    """List every layer inside a layer, as (layer, name)."""
    found = [(layer, prefix.rstrip("."))]
    for name, child in layer.children():
        found += named_layers(child, f"{prefix}{name}.")
    return found
