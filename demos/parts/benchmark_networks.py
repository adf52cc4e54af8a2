"""The networks that the benchmark measures, and the batches that they are given."""

from dataclasses import dataclass, replace

import numpy as np

from tinyunet.distributed.replicas import available_cores
from tinyunet.nn.summary import summarize
from tinyunet.nn.unet import UNet


@dataclass(frozen=True)
class Work:
    """What one step does: a network, and the images for it.

    Attributes
    ----------
    name, title : str
        How it is called on the command line, and in the table.
    batch, size, channels : int
        Images in a step, their height and width in pixels, and their channels.
    base, depth, padding, norm : int, int, str, str or None
        Of the network.
    training : bool
        A training step (forward, loss, backward, optimizer), or only forward.
    threads : int, optional
        Of each side; otherwise as many as the benchmark is told.
    """

    name: str
    title: str
    batch: int = 4
    size: int = 128
    channels: int = 3
    base: int = 16
    depth: int = 4
    padding: str = "same"
    norm: str | None = None
    training: bool = True
    threads: int | None = None

    def network(self) -> UNet:
        """Make the network, with the same initial weights for every side."""
        return UNet(
            self.channels,
            2,
            base_channels=self.base,
            depth=self.depth,
            padding=self.padding,
            norm=self.norm,
        )

    def images_and_labels(self, network: UNet):
        """Draw images (N, H, W, C) and labels (N, OH, OW), the same for every side."""
        rng = np.random.default_rng(0)
        shape = (self.batch, self.size, self.size, self.channels)
        images = rng.standard_normal(shape, dtype="float32")
        height, width = network.output_size(self.size, self.size)
        return images, rng.integers(0, 2, (self.batch, height, width))

    def operations(self) -> float:
        """Count the multiplications and additions of the step's matrix products.

        A convolution has one product forward and two backward, for its input's gradient and its
        weights'; the first one needs no gradient of the image.
        """
        rows = summarize(self.network(), self.size).rows
        forward = sum(row.multiply_adds for row in rows)
        products = 3 * forward - rows[0].multiply_adds if self.training else forward
        return 2.0 * self.batch * products

    def bytes_moved(self) -> float:
        """Estimate the bytes that must go through memory if no layer is merged with its neighbor.

        Forward, every layer reads its input and writes its output. Backward, it reads the output's
        gradient and writes the input's; for the weights' gradient, a convolution reads its input
        and the output's gradient once more. Adam reads values, gradients and both averages, and
        writes all but the gradients.
        """
        traced = summarize(self.network(), self.size)
        total, entering = 0.0, 4 * self.channels * self.size**2
        for row in traced.rows:
            passes = 1 if not self.training else 3 if row.parameters else 2
            total += passes * (entering + row.bytes)
            entering = row.bytes
        parameters = 4 * traced.parameters
        return self.batch * total + (7 * parameters if self.training else parameters)


def networks(quick: bool = False) -> dict[str, Work]:
    """List what can be measured, by name; in a small edition to try the benchmark out."""
    works = [
        Work("norm16", "training, batch norm, base 16, batch 8, 128 x 128", base=16, batch=8),
        Work("norm32", "training, batch norm, base 32, batch 8, 128 x 128", base=32, batch=8),
        Work("norm64", "training, batch norm, base 64, batch 8, 128 x 128", base=64, batch=8),
        Work(
            "norm-inference",
            "inference, batch norm, base 16, one image of 1024 x 1024",
            batch=1,
            size=1024,
            training=False,
        ),
        Work("base16", "training, base 16, batch 4, 128 x 128", base=16, batch=4),
        Work("base32", "training, base 32, batch 4, 128 x 128", base=32, batch=4),
        Work("base64", "training, base 64, batch 2, 128 x 128", base=64, batch=2),
        Work(
            "paper",
            "training, the paper's network, batch 1, 572 x 572",
            base=64,
            batch=1,
            size=572,
            channels=1,
            padding="valid",
        ),
        Work(
            "inference",
            "inference, base 16, one image of 1024 x 1024",
            batch=1,
            size=1024,
            training=False,
        ),
    ]
    works = [replace(work, norm="batch") if "norm" in work.name else work for work in works]
    if quick:
        works = [
            replace(
                work,
                title=f"{work.title} (made small)",
                base=work.base // 8,
                size=188 if work.name == "paper" else 32 if work.training else 64,
            )
            for work in works
        ]
    return {work.name: work for work in works}


def scaling_series(quick: bool = False) -> dict[str, list[tuple[int, Work]]]:
    """List what shows how time and memory grow: for each property, its values and their work."""
    start = Work("scaling", "training", base=16, batch=2, size=128, norm="batch")
    if quick:
        start = replace(start, base=2, size=32)
    values = {
        "size": [start.size * factor // 2 for factor in (1, 2, 4, 8)],
        "batch": [1, 2, 4, 8],
        "base": [start.base * factor // 2 for factor in (1, 2, 4, 8)],
        "depth": [1, 2, 3, 4],
    }
    if quick:
        values = {name: several[:2] for name, several in values.items()}
    series = {
        name: [(value, replace(start, **{name: value})) for value in several]
        for name, several in values.items()
    }
    counts = [count for count in (1, 2, 4, 8, 16) if count <= available_cores()]
    series["threads"] = [(count, replace(start, batch=8, threads=count)) for count in counts]
    return series
