"""The U-Net: down to see what is there, up again to say where, with skips across.

::

    image -> [block] ------------------ skip ------------------> [join][block] -> [head] -> logits
                | pool                                              ^ up
              [block] ------------- skip -------------> [join][block]
                | pool                                    ^ up
              [block] -------------------------------------

Each block is two 3 x 3 convolutions with ReLU. Going down, the image halves and the channels
double; going up, the other way round, and each join puts the encoder's details of that size beside
what comes from below.

Source: O. Ronneberger, P. Fischer and T. Brox, U-Net: convolutional networks for biomedical image
segmentation (2015), figure 1 and section 2.
"""

import warnings
from itertools import count, islice, pairwise
from typing import Any

import numpy as np

from tinyunet.backend import Array, on_host, random_generator, xp
from tinyunet.errors import UserError
from tinyunet.nn import layers
from tinyunet.nn.module import Layer
from tinyunet.nn.summary import summarize


class SizeError(UserError):
    """An image size that the network cannot take; the message names the nearest that it can."""


class UNet(Layer):
    """A U-Net for images (N, H, W, in_channels), giving logits (N, OH, OW, classes).

    Parameters
    ----------
    in_channels, classes : int
    base_channels : int
        Channels of the first block; they double at each level down.
    depth : int
        How many times the image is halved.
    padding : ``"same"`` or ``"valid"``
        ``"same"`` keeps the image's size, which must be divisible by 2**depth. ``"valid"`` is the
        paper's: no border is invented, each convolution takes off a pixel on every side, and the
        output is smaller than the image.
    upsampling : ``"transpose"`` or ``"nearest"``
        How the image doubles on the way up: a 2 x 2 transposed convolution, or nearest neighbors
        followed by a 3 x 3 convolution.
    norm : None or ``"batch"``
        Batch normalization between convolution and ReLU. The convolution then has no bias, since
        the normalization would take it off again.
    dropout : float
        Rate of the dropout at the end of the way down.
    seed : int
        For the initial weights.

    Raises
    ------
    UserError
        If an argument is not one of the above.
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 2,
        *,
        base_channels: int = 16,
        depth: int = 4,
        padding: str = "same",
        upsampling: str = "transpose",
        norm: str | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ):
        # The arguments by name: what it takes to make this network once more.
        self.config = {name: value for name, value in locals().items() if name != "self"}
        check_config(self.config)
        self.depth, self.padding = depth, padding
        self.conv_padding = "same" if padding == "same" else 0
        rng = random_generator(seed)
        *widths, widest = (base_channels * 2**level for level in range(depth + 1))
        rising = widths[::-1]

        self.encoder = [self.block(*ends, rng) for ends in pairwise([in_channels, *widths])]
        self.pools = [layers.MaxPool2d(2) for _ in widths]
        self.bottleneck = self.block(widths[-1], widest, rng, dropout)
        self.upsamplers = [self.upsampler(2 * width, width, rng) for width in rising]
        self.concats = [layers.Concat() for _ in rising]
        self.decoder = [self.block(2 * width, width, rng) for width in rising]
        self.head = layers.Conv2d(base_channels, classes, 1, rng=rng)

    def block(
        self, channels_in: int, channels_out: int, rng: np.random.Generator, dropout: float = 0.0
    ) -> Layer:
        """Make two 3 x 3 convolutions, each with its normalization, if any, and ReLU."""
        norm, parts = self.config["norm"], {}
        for number, channels in ((1, channels_in), (2, channels_out)):
            parts[f"conv{number}"] = layers.Conv2d(
                channels, channels_out, 3, padding=self.conv_padding, bias=norm is None, rng=rng
            )
            if norm:
                parts[f"norm{number}"] = layers.BatchNorm2d(channels_out)
            parts[f"relu{number}"] = layers.ReLU()
        if dropout:
            parts["dropout"] = layers.Dropout(dropout, random_generator(self.config["seed"]))
        return layers.Sequential(**parts)

    def upsampler(self, channels_in: int, channels_out: int, rng: np.random.Generator) -> Layer:
        """Make what doubles the image and halves its channels."""
        if self.config["upsampling"] == "transpose":
            return layers.ConvTranspose2d(channels_in, channels_out, 2, stride=2, rng=rng)
        conv = layers.Conv2d(channels_in, channels_out, 3, padding=self.conv_padding, rng=rng)
        return layers.Sequential(upsample=layers.UpsampleNearest2d(2), conv=conv)

    @classmethod
    def paper(cls, seed: int = 0) -> "UNet":
        """Make the network of 2015: valid convolutions, 64 to 1024 channels, gray in, 2 classes."""
        return cls(1, 2, base_channels=64, depth=4, padding="valid", seed=seed)

    def forward(self, x: Array) -> Array:
        """Turn images (N, H, W, C) into logits (N, OH, OW, K).

        Raises
        ------
        UserError
            If the images have another shape or are not floating-point numbers; a `SizeError` if
            their size does not fit.
        """
        self.check_images(x)
        skips = []
        for level in range(self.depth):
            x = self.encoder[level](x)
            skips.append(x)
            x = self.pools[level](x)
        x = self.bottleneck(x)
        for level in range(self.depth):
            x = self.upsamplers[level](x)
            x = self.concats[level](skips.pop(), x)
            x = self.decoder[level](x)
        return self.head(x)

    def backward(self, dlogits: Array, input_gradient: bool = True) -> Array | None:
        """Turn the logits' gradient into the image's: the mirror image of `forward`.

        Where a skip was joined, the gradient splits; where it forked off, the two parts are summed.
        Without `input_gradient` the image's own gradient, which training does not need, is left
        out.
        """
        dx = self.head.backward(dlogits)
        dskips = []
        for level in reversed(range(self.depth)):
            dx = self.decoder[level].backward(dx)
            dskip, dx = self.concats[level].backward(dx)
            dskips.append(dskip)
            dx = self.upsamplers[level].backward(dx)
        dx = self.bottleneck.backward(dx)
        for level in reversed(range(self.depth)):
            dx = self.pools[level].backward(dx)
            dx += dskips.pop()
            dx = self.encoder[level].backward(dx, input_gradient or level > 0)
        return dx

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.config.items())
        return f"UNet({settings}): {sum(p.data.size for p in self.parameters()):,} numbers to learn"

    # -- Which images fit --------------------------------------------------------------------------

    def check_images(self, x: Array) -> None:
        """Check that these are images for this network: (N, H, W, in_channels), standardized.

        Raises
        ------
        UserError
            If not; a `SizeError` if it is the size that does not fit.
        """
        shape, channels = tuple(x.shape), self.config["in_channels"]
        if len(shape) != 4 or shape[3] != channels:
            hint = ""
            if len(shape) == 3:
                hint = "; a single image needs a batch axis: image[None]"
            elif channels in shape[1:2]:
                hint = "; turn channels-first images by np.moveaxis(images, 1, -1)"
            raise UserError(f"expected (N, H, W, {channels}), channels last, got {shape}{hint}")
        self.check_size(*x.shape[1:3])
        if not isinstance(x, xp.ndarray):  # it only stands for images, as in `summarize`
            return
        advice = "standardize them: Standardization.fit(images).transform(images)"
        if x.dtype.kind != "f":
            raise UserError(f"expected floating-point images, got {x.dtype}; {advice}")
        # (On a GPU a look at the values would have to wait for it.)
        if on_host(x) and x.min(initial=0) >= 0 and x.size and x.mean() > 10:
            text = f"the images look like raw pixels (0 to 255), with a mean of {x.mean():.0f}"
            warnings.warn(f"{text}; a network learns from numbers around 0: {advice}", stacklevel=2)

    def output_length(self, length: int) -> int | None:
        """Follow one side of an image, in pixels, through the network; None if it does not fit."""
        taken_off = 0 if self.padding == "same" else 2
        up_taken_off = taken_off if self.config["upsampling"] == "nearest" else 0
        for _ in range(self.depth):
            length -= 2 * taken_off
            if length < 2 or length % 2:
                return None
            length //= 2
        length -= 2 * taken_off
        for _ in range(self.depth):
            length = 2 * length - up_taken_off - 2 * taken_off
        return length if length > 0 else None

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Give the logits' (height, width) for an image of this size.

        Raises
        ------
        SizeError
            If the size does not fit.
        """
        self.check_size(height, width)
        return self.output_length(height), self.output_length(width)

    def valid_sizes(self, limit: int = 1024) -> list[int]:
        """List the lengths up to `limit`, in pixels, that a side of an image may have."""
        return [n for n in range(1, limit + 1) if self.output_length(n) is not None]

    def check_size(self, height: int, width: int) -> None:
        """Check that an image of this size fits.

        Raises
        ------
        SizeError
            If not; names the nearest sizes that do.
        """
        same = self.padding == "same"
        why = f"is not divisible by {2**self.depth}" if same else "cannot be halved at every level"
        for axis, length in (("height", height), ("width", width)):
            if self.output_length(length) is None:
                below = filter(self.output_length, range(length - 1, 0, -1))
                above = filter(self.output_length, count(length + 1))
                fits = ", ".join(map(str, [*islice(below, 1), next(above)]))
                raise SizeError(f"{axis} {length} {why}; nearest that fit: {fits}")

    @property
    def receptive_field(self) -> int:
        """Side of the square of image pixels that one output pixel can see."""
        size = next(n for n in range(1, 2**20) if self.output_length(n) is not None)
        return summarize(self, size, size).rows[-1].receptive_field


def check_config(config: dict[str, Any]) -> None:
    """Check what a U-Net is to be made from.

    Raises
    ------
    UserError
        If a number is out of range, or a word none of the known ones.
    """
    choices = {"padding": ("same", "valid"), "upsampling": ("transpose", "nearest")}
    choices["norm"] = (None, "batch")
    for name, allowed in choices.items():
        if config[name] not in allowed:
            raise UserError(f"{name} {config[name]!r}: choose one of {allowed}")
    for name in ("in_channels", "classes", "base_channels", "depth"):
        if config[name] < 1:
            raise UserError(f"{name} {config[name]}: it must be 1 or more")
    if not 0 <= config["dropout"] < 1:
        raise UserError(f"dropout {config['dropout']}: it must be at least 0 and less than 1")
