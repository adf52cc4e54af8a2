"""The Python side of "A U-Net that learns while you look": it runs in the reader's browser.

The page calls a function by name, with an argument and for a result in JSON.
"""

import json

import numpy as np

from tinyunet import use_operations
from tinyunet.backend import random_generator
from tinyunet.data.augmentation import sample_batch
from tinyunet.data.scenes import CLASSES, paint_scene, paint_scenes
from tinyunet.nn import functional
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.operations import operations
from tinyunet.nn.optimizers import Adam
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet

SIZE = 64  # of the crops and of the scene that is looked at


# -- Backwards that are wrong, under forwards that are right ---------------------------------------


def concat_without_the_skip(skip, x):
    """Lose the gradient of the skip: the encoder hears only what comes through the bottleneck."""
    y, right = functional.concat(skip, x)

    def backward(dy):
        dskip, dx = right(dy)
        return np.zeros_like(dskip), dx

    return y, backward


def max_pool2d_to_all(x, size=2):
    """Give the gradient to every pixel of the window, not to the largest alone."""
    y, _ = functional.max_pool2d(x, size)
    return y, lambda dy: dy.repeat(size, axis=1).repeat(size, axis=2)


def relu_that_lets_all_through(x):
    """Forget that ReLU has a backward at all."""
    y, _ = functional.relu(x)
    return y, lambda dy: dy.copy()


def conv_transpose2d_never_stored(x, weight, bias=None, **options):
    """Forget to store the gradients of weight and bias: they stay as random as they began."""
    y, right = functional.conv_transpose2d(x, weight, bias, **options)

    def backward(dy):
        dx, *others = right(dy)
        return dx, *(np.zeros_like(gradient) for gradient in others)

    return y, backward


MISTAKES = {
    "": {},
    "the skips lose their gradient": {"concat": concat_without_the_skip},
    "pooling gives to all four": {"max_pool2d": max_pool2d_to_all},
    "ReLU lets every gradient through": {"relu": relu_that_lets_all_through},
    "the up-convolutions never learn": {"conv_transpose2d": conv_transpose2d_never_stored},
}


def put_right():
    """Let the layers use the plain operations of the book again."""
    use_operations("plain")
    for change in MISTAKES.values():
        for name in change:
            vars(operations).pop(name, None)


# -- The training that the page shows --------------------------------------------------------------


class Live:
    """A network that is being trained, and what there is to see of it."""

    def __init__(self):
        self.scenes = paint_scenes(12, size=(128, 128), seed=3)
        self.standardization = Standardization.fit(self.scenes.images)
        self.photo, self.truth = paint_scene((SIZE, SIZE), seed=11)
        self.start_over()

    def start_over(self):
        """Forget everything learned; the same start each time, so that runs can be compared."""
        self.network = UNet(3, len(CLASSES), base_channels=8, depth=2, norm="batch", seed=1)
        self.optimizer = Adam(self.network.parameters())
        self.loss, self.steps = CrossEntropy(), 0

    def step(self, lr, batch_size, mistake):
        """Take one step; returns the loss of its batch."""
        put_right()
        vars(operations).update(MISTAKES[mistake])  # the layers ask for these by their names
        images, labels = sample_batch(
            self.scenes,
            self.standardization,
            batch_size=batch_size,
            crop_size=SIZE,
            rng=random_generator(0, self.steps),
        )
        self.network.train()
        value, backward = self.loss(self.network(images), labels)
        self.network.zero_grad()
        self.network.backward(backward())
        self.optimizer.lr = lr
        self.optimizer.step()
        self.steps += 1
        return float(value)

    def look(self, row, column):
        """Predict the scene; and follow the gradient of one pixel's best score back to the image.

        Returns
        -------
        classes : (SIZE, SIZE) array of int
        maps : dict of str to array (h, w)
            How large the gradient is where it enters each block, and at the image, 0 to 1.
        """
        network, maps, undo = self.network.eval(save_backward=True), {}, []
        logits = network(self.standardization.transform(self.photo)[None])
        classes = logits[0].argmax(axis=-1)
        for name, block in blocks(network).items():
            undo.append((block, block.backward))
            block.backward = watched(block.backward, maps, name)
        dlogits = np.zeros_like(logits)
        dlogits[0, row, column, classes[row, column]] = 1
        maps["image"] = size_of(network.backward(dlogits))
        for block, backward in undo:
            block.backward = backward
        return classes, maps

    def filters(self):
        """Give the first convolution's kernels as small color images, (8, 3, 3, 3) of 0 to 1."""
        weight = np.moveaxis(self.network.parameters()[0].data, -1, 0)
        return 0.5 + 0.5 * weight / abs(weight).max(axis=(1, 2, 3), keepdims=True)


def blocks(network):
    """Name the blocks of the U as the page does."""
    named = {f"encoder.{level}": block for level, block in enumerate(network.encoder)}
    named["bottleneck"] = network.bottleneck
    return named | {f"decoder.{step}": block for step, block in enumerate(network.decoder)}


def watched(backward, maps, name):
    """Wrap a block's backward so that it notes how large the gradient is that comes in."""

    def noting(dy, *others):
        maps[name] = size_of(dy)
        return backward(dy, *others)

    return noting


def size_of(gradient):
    """Sum a gradient's magnitude over the channels; square root, so that small ones show too."""
    size = np.sqrt(abs(gradient[0]).sum(axis=-1))
    return size / max(size.max(), 1e-12)


# -- What the page calls ---------------------------------------------------------------------------

live = None


def start(_):
    """Paint the scenes and make the network; tells what to choose from."""
    global live
    live = Live()
    return json.dumps(
        {
            "photo": live.photo.ravel().tolist(),
            "truth": live.truth.ravel().tolist(),
            "size": SIZE,
            "mistakes": list(MISTAKES),
            "names": list(CLASSES),
        }
    )


def start_over(_):
    """Begin again."""
    live.start_over()
    return "null"


def steps(argument):
    """Take some steps, then look."""
    wanted = json.loads(argument)
    losses = [
        live.step(wanted["lr"], wanted["batchSize"], wanted["mistake"])
        for _ in range(wanted["count"])
    ]
    return json.dumps({"losses": losses, "steps": live.steps, **seen(wanted)})


def seen(wanted):
    """Look at the network; arrays become lists."""
    classes, maps = live.look(wanted["row"], wanted["column"])
    return {
        "classes": classes.ravel().tolist(),
        "right": float((classes == live.truth).mean()),
        "maps": {name: np.round(one, 3).tolist() for name, one in maps.items()},
        "filters": np.round(live.filters(), 3).reshape(8, -1).tolist(),
    }
