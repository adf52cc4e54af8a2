"""Train the small network of "How many trees make an orchard?" and write its weights for the page.

The page computes in JavaScript what `UNet` computes here, so it gets the weights in the plainest
form: batch normalization folded into the convolutions before it, all numbers as float16, one after
another, as text (base64) in ``orchard_weights.js``. About ten minutes on a core::

    python docs/interactive/train_orchard.py
"""

import base64
import json
from pathlib import Path

import numpy as np

from tinyunet.backend import random_generator
from tinyunet.data.augmentation import sample_batch
from tinyunet.data.scenes import CLASSES, paint_scenes
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.optimizers import Adam
from tinyunet.nn.schedules import cosine
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet

WEIGHTS = Path(__file__).parent / "orchard_weights.js"
CONFIG = {"in_channels": 3, "classes": len(CLASSES), "base_channels": 8, "depth": 3}


def train(steps=2500, scenes=80, crop_size=96):
    """Train on painted scenes; returns the network, with batch normalization, and the scaling."""
    dataset = paint_scenes(scenes, seed=2015)
    standardization = Standardization.fit(dataset.images)
    network = UNet(norm="batch", **CONFIG)
    optimizer, loss = Adam(network.parameters()), CrossEntropy()
    learning_rate = cosine(3e-3, steps)
    for step in range(steps):
        images, labels = sample_batch(
            dataset,
            standardization,
            batch_size=4,
            crop_size=crop_size,
            rng=random_generator(0, step),
        )
        value, backward = loss(network(images), labels)
        network.zero_grad()
        network.backward(backward())
        optimizer.lr = learning_rate(step)
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step}: loss {float(value):.3f}", flush=True)
    return network.eval(), standardization


def fold(network):
    """Make the same network without batch normalization.

    What normalization does to a channel after training is a multiplication and an addition, and
    ``scale * (weight * x) + shift`` is again a convolution: its kernel is ``scale * weight`` and
    its bias ``shift``.
    """
    state, folded = network.state_dict(), UNet(norm=None, **CONFIG).eval()
    for name in folded.state_dict():
        norm = name.replace("conv", "norm").rpartition(".")[0]
        if f"{norm}.gamma" not in state:
            continue  # the upsamplers and the head have no normalization after them
        gamma, beta, mean, variance = (
            state[f"{norm}.{part}"]
            for part in ("gamma", "beta", "running_mean", "running_variance")
        )
        scale = gamma / np.sqrt(variance + 1e-5)
        if name.endswith("weight"):
            state[name] = state[name] * scale
        else:
            state[name] = beta - mean * scale
    folded.load_state_dict({name: state[name] for name in folded.state_dict()})
    return folded


def most_telling_channels(network, x):
    """Choose one channel a level to show: there the one that varies most over the image."""
    chosen = {}
    for block_name in [
        *(f"encoder.{level}" for level in range(network.depth)),
        "bottleneck",
        *(f"decoder.{level}" for level in range(network.depth)),
    ]:
        block = dict(named_blocks(network))[block_name]
        forward, kept = block.forward, []
        block.forward = lambda x, forward=forward, kept=kept: kept.append(forward(x)) or kept[0]
        network(x)
        block.forward = forward
        chosen[block_name] = int(kept[0].std(axis=(0, 1, 2)).argmax())
    return chosen


def named_blocks(network):
    """List the blocks of the U with the names that their parameters begin with."""
    return [
        *((f"encoder.{level}", block) for level, block in enumerate(network.encoder)),
        ("bottleneck", network.bottleneck),
        *((f"decoder.{level}", block) for level, block in enumerate(network.decoder)),
    ]


def write(network, standardization, channels, path=WEIGHTS):
    """Write the weights as a script that the page loads, and that `read` reads."""
    state = network.state_dict()
    numbers = np.concatenate([array.ravel() for array in state.values()]).astype("<f2")
    header = {
        **CONFIG,
        "classNames": list(CLASSES),
        "mean": standardization.mean.round(4).tolist(),
        "std": standardization.std.round(4).tolist(),
        "shapes": {name: list(array.shape) for name, array in state.items()},
        "channels": channels,
    }
    text = base64.b64encode(numbers.tobytes()).decode()
    path.write_text(
        "// Written by train_orchard.py: a trained U-Net, its weights as float16 in base64.\n"
        f"const ORCHARD_MODEL = {json.dumps(header, indent=1)};\n"
        f'ORCHARD_MODEL.weights =\n  "{text}";\n'
    )


def read(path=WEIGHTS):
    """Read what `write` wrote: the network, its standardization, and the header."""
    text = path.read_text()
    header = json.loads(text[text.index("{") : text.index(";\nORCHARD_MODEL")])
    numbers = np.frombuffer(base64.b64decode(text.split('"')[-2]), "<f2").astype(np.float32)
    network, state, position = UNet(norm=None, **CONFIG).eval(), {}, 0
    for name, shape in header["shapes"].items():
        size = int(np.prod(shape))
        state[name] = numbers[position : position + size].reshape(shape)
        position += size
    network.load_state_dict(state)
    return network, Standardization(header["mean"], header["std"]), header


def main():
    """Train, fold, write, and say how good it is on scenes that it has not seen."""
    trained, standardization = train()
    network = fold(trained)
    scene = standardization.transform(paint_scenes(1, seed=7).images[0][:96, :96])[None]
    write(network, standardization, most_telling_channels(network, scene))
    network, standardization, _ = read()
    fresh = paint_scenes(8, seed=1)
    right = [
        (network(standardization.transform(image)[None])[0].argmax(axis=-1) == mask).mean()
        for image, mask in zip(fresh.images, fresh.masks, strict=True)
    ]
    print(f"pixels right on scenes that it has not seen: {100 * np.mean(right):.1f} %")


if __name__ == "__main__":
    main()
