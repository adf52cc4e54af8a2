"""Carry on in PyTorch: the same U-Net as a PyTorch module, with the weights that were trained here.

It builds the network below, loads the weights of a tinyunet model into it, shows that both give the
same logits for a random image, and saves everything as a ``.pt`` file. Copy the class `UNet` into
your own project to go on from there.

    python demos/to_pytorch.py run/model.npz

Two things differ between the two. PyTorch has channels first, so images are (N, C, H, W) there, and
kernels (F, C, KH, KW) instead of our (KH, KW, C, F): the same change of axes for both kinds of
convolution. And an image must be standardized before it goes in: the means and deviations of the
training images are saved beside the weights.
"""

import argparse
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np

from tinyunet.atomic_io import written_aside
from tinyunet.backend import DEVICES, device_name, to_device, to_host, use_device
from tinyunet.checkpoint import load_model
from tinyunet.errors import UserError

try:
    import torch
    from torch import nn
except ImportError as error:
    sys.exit(f"{error}: this demo needs PyTorch: python -m pip install torch")


# --- The network in PyTorch ------------------------------------------------------------------


class UNet(nn.Module):
    """The U-Net of tinyunet; the settings are those of `tinyunet.nn.unet.UNet`."""

    def __init__(
        self, in_channels, classes, base_channels, depth, padding, upsampling, norm, dropout, seed=0
    ):
        super().__init__()
        border = 1 if padding == "same" else 0
        widths = [base_channels * 2**level for level in range(depth + 1)]

        def block(channels_in, channels_out, rate=0.0):
            layers = OrderedDict()
            for number, channels in ((1, channels_in), (2, channels_out)):
                layers[f"conv{number}"] = nn.Conv2d(
                    channels, channels_out, 3, padding=border, bias=norm is None
                )
                if norm:
                    layers[f"norm{number}"] = nn.BatchNorm2d(channels_out)
                layers[f"relu{number}"] = nn.ReLU()
            if rate:
                layers["dropout"] = nn.Dropout(rate)
            return nn.Sequential(layers)

        def up_step(channels_in, channels_out):
            if upsampling == "transpose":
                return nn.ConvTranspose2d(channels_in, channels_out, 2, stride=2)
            upsample, conv = (
                nn.Upsample(scale_factor=2),
                nn.Conv2d(channels_in, channels_out, 3, padding=border),
            )
            return nn.Sequential(OrderedDict(upsample=upsample, conv=conv))

        pairs = zip([in_channels, *widths], widths[:-1], strict=False)
        self.encoder = nn.ModuleList(block(*channels) for channels in pairs)
        self.bottleneck = block(widths[-2], widths[-1], dropout)
        rising = widths[:-1][::-1]
        self.upsamplers = nn.ModuleList(up_step(2 * channels, channels) for channels in rising)
        self.decoder = nn.ModuleList(block(2 * channels, channels) for channels in rising)
        self.head = nn.Conv2d(base_channels, classes, 1)

    def forward(self, x):
        """Turn standardized images (N, C, H, W) into logits (N, K, OH, OW)."""
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottleneck(x)
        for up, block in zip(self.upsamplers, self.decoder, strict=True):
            x = up(x)
            skip = skips.pop()  # larger, if the convolutions have no padding: its center is used
            top, left = (skip.shape[2] - x.shape[2]) // 2, (skip.shape[3] - x.shape[3]) // 2
            skip = skip[:, :, top : top + x.shape[2], left : left + x.shape[3]]
            x = block(torch.cat([skip, x], dim=1))
        return self.head(x)


# --- From one to the other -------------------------------------------------------------------

NAMES = {"gamma": "weight", "beta": "bias", "running_variance": "running_var"}


def translated(state) -> dict:
    """Turn the arrays of a tinyunet network into the tensors of the one above, by name."""
    tensors = {}
    for name, array in state.items():
        layer, _, kind = name.rpartition(".")
        if array.ndim == 4:  # a kernel
            array = array.transpose(3, 2, 0, 1)
        tensors[f"{layer}.{NAMES.get(kind, kind)}"] = torch.from_numpy(np.array(array))
    return tensors


def to_pytorch(network) -> UNet:
    """Make a PyTorch network of a tinyunet network, in eval mode."""
    twin = UNet(**network.config)
    missing, unexpected = twin.load_state_dict(translated(network.state_dict()), strict=False)
    # Batch normalization in PyTorch also counts the batches it has seen, and needs it for nothing.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"the two networks differ: {missing} {unexpected}")
    return twin.eval()


def largest_difference(network, twin) -> tuple[float, float]:
    """Compare the logits for a random image: their largest difference, and their largest size."""
    height, width = [size for size in network.valid_sizes() if size >= 64][:2]
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, height, width, network.config["in_channels"])).astype(np.float32)
    ours = to_host(network.eval()(to_device(image)))
    with torch.no_grad():
        theirs = twin(torch.from_numpy(image.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    return float(abs(ours - theirs).max()), float(abs(ours).max())


def main(arguments=None):
    """Translate a model, compare, save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", metavar="MODEL", type=Path, help="such as run/model.npz")
    parser.add_argument("--out", type=Path, help="file to write (MODEL with the ending .pt)")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="for the comparison")
    options = parser.parse_args(arguments)
    try:
        use_device(options.device)
        model = load_model(options.model)
        twin = to_pytorch(model.network)
        difference, size = largest_difference(model.network, twin)
        out = options.out or options.model.with_suffix(".pt")
        content = {
            "settings": model.network.config,
            "weights": twin.state_dict(),
            "mean": torch.from_numpy(np.array(model.standardization.mean)),
            "std": torch.from_numpy(np.array(model.standardization.std)),
            "class_names": model.class_names,
        }
        with written_aside(out) as file:
            torch.save(content, file)
    except UserError as problem:
        parser.error(str(problem))
    print(f"Logits of a random image: at most {size:.3g} in size; ours (on the {device_name()})")
    print(f"and PyTorch's differ by at most {difference:.1e}.")
    if difference > 1e-4 * max(size, 1):
        sys.exit("That is more than rounding: please report it.")
    print(f"Saved {out}. To use it, with the class UNet of this file:")
    print(f"    content = torch.load({str(out)!r})")
    print('    network = UNet(**content["settings"])')
    print('    network.load_state_dict(content["weights"])')


if __name__ == "__main__":
    main()
