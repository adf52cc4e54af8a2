"""A trained model and an image to look at: the reader's own, or a small one and a painted scene.

Whoever has no data should see something too. Without a model, a small U-Net learns from painted
scenes for about a minute; without an image, a scene is painted that it has not seen.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from parts.feature_levels import SIDE
from tinyunet.checkpoint import Model, load_model
from tinyunet.data.dataset import load_pairs, meaning_of
from tinyunet.data.images import read_image
from tinyunet.data.pairing import Pair
from tinyunet.data.scenes import CLASS_COLORS, CLASSES, paint_scene, paint_scenes
from tinyunet.distributed.replicas import Replicas, available_cores
from tinyunet.errors import UserError
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.operations import operations
from tinyunet.nn.schedules import cosine
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet
from tinyunet.plots.colors import palette
from tinyunet.training.loop import random_batches, training_steps

DEPTH = 3


@dataclass
class Given:
    """What there is to look at.

    Attributes
    ----------
    model : Model
    model_name, image_name : str
        To tell the reader what it is.
    image : array (H, W, C)
    truth : array (H, W) of integers, or None
        The class of each pixel, where it is known: in a painted scene, to a model of its classes.
    """

    model: Model
    model_name: str
    image: np.ndarray
    image_name: str
    truth: np.ndarray | None


def add_arguments(parser):
    """Add what to look at, and how, to the command line of a demo."""
    parser.add_argument("model", metavar="MODEL", type=Path, nargs="?", help="a model.npz")
    parser.add_argument("image", metavar="IMAGE", type=Path, nargs="?", help="an image file")
    parser.add_argument(
        "--size",
        type=int,
        default=SIDE,
        help="of an image with a longer side, show one tile of this size (%(default)s pixels)",
    )
    parser.add_argument("--steps", type=int, default=200, help="of training, without MODEL (200)")
    parser.add_argument("--threads", type=int, default=available_cores())


def check_arguments(parser, options):
    """End with one line if a number makes no sense."""
    if min(options.steps, options.threads) < 1 or options.size < 32 or options.seed < 0:
        parser.error("--steps, --threads must be 1 or more, --size 32 or more, --seed 0 or more")


def model_and_image(options):
    """Load or train the model, load or paint the image.

    Returns
    -------
    Given

    Raises
    ------
    UserError
        If a file cannot be read, or there is no image for a model that does not take 3 channels.
    """
    image, name, truth = None, "a painted scene", None
    if options.image is not None:  # before the training: a wrong name should not cost a minute
        image, name = read_image(options.image), options.image.name
    if options.model is not None:
        model, model_name = load_model(options.model), options.model.name
    else:
        model, model_name = trained(options), f"a small U-Net after {options.steps} steps"
    if image is None:
        channels = model.network.config["in_channels"]
        if channels != 3:
            raise UserError(f"the model takes images of {channels} channel(s): name an IMAGE")
        side = min(256, options.size)
        image, truth = paint_scene((side, side), seed=(options.seed, 1))
        truth = truth if model.class_names == list(CLASSES) else None
    return Given(model, model_name, image, name, truth)


def read_truth(model, options):
    """Read the class of each pixel from a mask, as `tinyunet evaluate` does; -1: does not count."""
    table, image_format = meaning_of(model)
    pair = Pair(options.image.stem, options.image, options.mask)
    mask = load_pairs([pair], table, image_format=image_format).masks[0][:, :].astype(int)
    return np.where(mask == table.ignore_index, -1, mask)


def class_colors(class_names):
    """Give the colors of the classes, (K, 3): those of the painted scenes, or the palette's."""
    return CLASS_COLORS if list(class_names) == list(CLASSES) else palette(len(class_names))


def describe_part(given, seen, size):
    """Say what is shown: of a large image not all (a `feature_levels.View` tells which part)."""
    height, width = seen.image.shape[:2]
    said = f"Model: {given.model_name}. Image: {given.image_name}, {height} x {width} pixels"
    if seen.image.shape == given.image.shape:
        return f"{said}."
    whole = "{} x {}".format(*given.image.shape)
    return (
        f"{said} of its {whole}, from row {seen.top}, column {seen.left} on: one of the tiles, of "
        f"at most {size} pixels a side, in which it is predicted. "
        f"With --size {max(given.image.shape[:2])} it would be all."
    )


def trained(options):
    """Train a small U-Net on painted scenes; gives a Model, as if it came from a file."""
    scenes = paint_scenes(40, size=(160, 160), seed=options.seed)
    standardization = Standardization.fit(scenes.images)
    network = UNet(3, len(CLASSES), base_channels=12, depth=DEPTH, norm="batch", seed=options.seed)
    replicas, cross_entropy = Replicas(network, options.threads), CrossEntropy()
    optimizer = operations.Adam(network.parameters())
    learning_rate = cosine(4e-3, options.steps, warmup_steps=options.steps // 20)
    batches = random_batches(scenes, standardization, crop_size=96, seed=options.seed)
    bar = tqdm(range(options.steps), "training", unit="step", leave=False)
    for _ in training_steps(
        bar, batches, replicas, optimizer, cross_entropy, schedule=learning_rate
    ):
        pass
    return Model(network, standardization, list(CLASSES))
