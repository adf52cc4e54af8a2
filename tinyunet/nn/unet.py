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

from tinyunet.backend import random_generator
from tinyunet.errors import UserError
from tinyunet.nn.layers import (
    BatchNorm2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Layer,
    MaxPool2d,
    ReLU,
    Sequential,
    UpsampleNearest2d,
)
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
        How often the image is halved.
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
        in_channels=3,
        classes=2,
        *,
        base_channels=16,
        depth=4,
        padding="same",
        upsampling="transpose",
        norm=None,
        dropout=0.0,
        seed=0,
    ):
        for name, value, allowed in (
            ("padding", padding, ("same", "valid")),
            ("upsampling", upsampling, ("transpose", "nearest")),
            ("norm", norm, (None, "batch")),
        ):
            if value not in allowed:
                raise UserError(f"{name} {value!r}: choose one of {allowed}")
        for name, value in (
            ("in_channels", in_channels),
            ("classes", classes),
            ("base_channels", base_channels),
            ("depth", depth),
        ):
            if value < 1:
                raise UserError(f"{name} {value}: it must be 1 or more")
        if not 0 <= dropout < 1:
            raise UserError(f"dropout {dropout}: it must be at least 0 and less than 1")
        self.config = {
            "in_channels": in_channels,
            "classes": classes,
            "base_channels": base_channels,
            "depth": depth,
            "padding": padding,
            "upsampling": upsampling,
            "norm": norm,
            "dropout": dropout,
            "seed": seed,
        }
        self.depth, self.padding = depth, padding
        rng = random_generator(seed)
        conv_padding = "same" if padding == "same" else 0
        widths = [base_channels * 2**level for level in range(depth + 1)]

        def block(channels_in, channels_out, dropout_rate=0.0):
            layers = {}
            for number, channels in ((1, channels_in), (2, channels_out)):
                layers[f"conv{number}"] = Conv2d(
                    channels, channels_out, 3, padding=conv_padding, bias=norm is None, rng=rng
                )
                if norm:
                    layers[f"norm{number}"] = BatchNorm2d(channels_out)
                layers[f"relu{number}"] = ReLU()
            if dropout_rate:
                layers["dropout"] = Dropout(dropout_rate, seed)
            return Sequential(**layers)

        def up_step(channels_in, channels_out):
            if upsampling == "transpose":
                return ConvTranspose2d(channels_in, channels_out, 2, stride=2, rng=rng)
            return Sequential(
                upsample=UpsampleNearest2d(2),
                conv=Conv2d(channels_in, channels_out, 3, padding=conv_padding, rng=rng),
            )

        self.encoder = [
            block(channels_in, channels_out)
            for channels_in, channels_out in zip([in_channels, *widths], widths[:-1], strict=False)
        ]
        self.pools = [MaxPool2d(2) for _ in range(depth)]
        self.bottleneck = block(widths[-2], widths[-1], dropout)
        rising = widths[:-1][::-1]
        self.upsamplers = [up_step(2 * channels, channels) for channels in rising]
        self.concats = [Concat() for _ in rising]
        self.decoder = [block(2 * channels, channels) for channels in rising]
        self.head = Conv2d(base_channels, classes, 1, rng=rng)
        # A tenth of the usual size: at first all classes are about equally likely, so the first
        # loss is about ln(classes), and the first steps need not undo random opinions.
        self.head.weight.data *= 0.1

    @classmethod
    def paper(cls, seed=0):
        """Make the network of 2015: valid convolutions, 64 to 1024 channels, gray in, 2 classes."""
        return cls(1, 2, base_channels=64, depth=4, padding="valid", seed=seed)

    def forward(self, x):
        """Turn images (N, H, W, C) into logits (N, OH, OW, K).

        Raises
        ------
        SizeError
            If the size does not fit.
        """
        self.check_size(*x.shape[1:3])
        skips = []
        for block, pool in zip(self.encoder, self.pools, strict=True):
            x = block(x)
            skips.append(x)
            x = pool(x)
        x = self.bottleneck(x)
        for upsample, concat, block in zip(
            self.upsamplers, self.concats, self.decoder, strict=True
        ):
            x = upsample(x)
            x = concat(skips.pop(), x)
            x = block(x)
        return self.head(x)

    def backward(self, dlogits, input_gradient=True):
        """Turn the logits' gradient into the image's: the mirror image of `forward`.

        Where a skip was joined, the gradient splits; where it forked off, the two parts are summed.
        Without `input_gradient` the image's own gradient, which training does not need, is left
        out.
        """
        dx = self.head.backward(dlogits)
        dskips = []
        for upsample, concat, block in zip(
            self.upsamplers[::-1], self.concats[::-1], self.decoder[::-1], strict=True
        ):
            dx = block.backward(dx)
            dskip, dx = concat.backward(dx)
            dskips.append(dskip)
            dx = upsample.backward(dx)
        dx = self.bottleneck.backward(dx)
        for block, pool in zip(self.encoder[:0:-1], self.pools[:0:-1], strict=True):
            dx = pool.backward(dx)
            dx += dskips.pop()
            dx = block.backward(dx)
        dx = self.pools[0].backward(dx)
        dx += dskips.pop()
        return self.encoder[0].backward(dx, input_gradient)

    def output_length(self, length):
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

    def output_size(self, height, width):
        """Give the logits' (height, width) for an image of this size.

        Raises
        ------
        SizeError
            If the size does not fit.
        """
        self.check_size(height, width)
        return self.output_length(height), self.output_length(width)

    def valid_sizes(self, limit=1024):
        """List the lengths up to `limit`, in pixels, that a side of an image may have."""
        return [n for n in range(1, limit + 1) if self.output_length(n) is not None]

    def check_size(self, height, width):
        """Check that an image of this size fits.

        Raises
        ------
        SizeError
            If not; names the nearest sizes that do.
        """
        for axis, length in (("height", height), ("width", width)):
            if self.output_length(length) is not None:
                continue
            sizes = self.valid_sizes(length + 2 ** (self.depth + 8))
            nearest = [max((n for n in sizes if n < length), default=None)]
            nearest.append(min(n for n in sizes if n > length))
            fits = ", ".join(str(n) for n in nearest if n)
            why = (
                f"is not divisible by {2**self.depth}"
                if self.padding == "same"
                else "cannot be halved evenly at every level"
            )
            raise SizeError(f"{axis} {length} {why}; nearest that fit: {fits}")

    @property
    def receptive_field(self):
        """Side of the square of image pixels that one output pixel can see."""
        size = next(n for n in range(1, 2**20) if self.output_length(n) is not None)
        return summarize(self, size, size).rows[-1].receptive_field
