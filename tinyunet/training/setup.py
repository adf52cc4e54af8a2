"""From settings to what is trained: images, network, optimizer, loss, and batches."""

from dataclasses import asdict

import numpy as np

from tinyunet.backend import to_device
from tinyunet.checkpoint import Model, TrainingState
from tinyunet.data.augmentation import check_crop
from tinyunet.data.class_table import parse_class_table, read_class_table
from tinyunet.data.dataset import ClassPixels, Dataset, load_pairs
from tinyunet.data.images import ImageFormat, warn_once
from tinyunet.data.pairing import find_pairs
from tinyunet.data.splits import limit_validation, places_of, spatial_split
from tinyunet.data.weight_maps import connected_components, suggest_class_weights, weight_map
from tinyunet.distributed.mpi import SingleProcess
from tinyunet.distributed.replicas import Replicas
from tinyunet.errors import UserError
from tinyunet.memory import check_memory
from tinyunet.nn.losses import LOSSES
from tinyunet.nn.operations import operations
from tinyunet.nn.schedules import cosine
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.summary import summarize
from tinyunet.nn.unet import UNet
from tinyunet.training.config import TrainingConfig
from tinyunet.training.loop import random_batches, training_steps

NEVER = -1e4  # a score so low that the probability is 0, and so is its gradient
WEIGHT_COPIES = 8  # at most, in training: 4 to 6.5 were measured, and a checkpoint copies them


# -- Images ----------------------------------------------------------------------------------------


def load_datasets(
    config: TrainingConfig, state: TrainingState | None, progress: bool
) -> tuple[Dataset, Dataset]:
    """Read the files that the settings name; returns the training and the validation images."""
    training = load_training(config, state, progress)
    if config.val_images is not None:
        pairs = find_pairs(config.val_images, config.val_masks)
        options = {"image_format": training.image_format, "cache": config.cache * 1e9}
        validation = load_pairs(pairs, training.table, progress=progress, **options)
    elif config.val_split == "random":
        if len({scene for scene, _ in places_of(training)}) < len(training):
            warn_once(
                "tiles of one scene are split at random: validation sees neighbors of what was "
                "learned, and flatters; --val-split spatial holds out a block of the scene instead"
            )
        training, validation = training.split(config.val_fraction, config.seed)
    else:
        smallest = -(-config.crop_size // 2)  # more is not mirrored
        fraction, buffer = config.val_fraction, receptive_field(config)
        training, validation = spatial_split(training, fraction, buffer, smallest)
    return training, limit_validation(validation)


def receptive_field(config: TrainingConfig) -> int:
    """Tell how many pixels a network of these settings looks at, in each direction, for one."""
    return UNet(1, 2, base_channels=1, depth=config.depth).receptive_field


def load_training(config: TrainingConfig, state: TrainingState | None, progress: bool) -> Dataset:
    """Read the images and masks that the settings name, before any are held out.

    A run that is resumed reads masks through the class table that it began with, and must find the
    images that it began with: in a new division, some that it has learned from would judge it.
    """
    table = read_class_table(config.classes) if config.classes else None
    pairs, image_format = find_pairs(config.images, config.masks), None
    if state is not None and "class_table" in state.model.metadata:
        begun = state.model.metadata
        table = parse_class_table(begun["class_table"])
        image_format = ImageFormat(**begun["image_format"])
        if changed := set(begun["images"]) ^ {pair.stem for pair in pairs}:
            raise UserError(
                f"{config.images}: {min(changed, key=str)} was added or is gone since the run was "
                "started: put the images back as they were, or start a new run"
            )
    settings = {name: getattr(config, name) for name in ("class_names", "bands", "alpha")}
    settings |= {"ignore": config.ignore_index, "cache": config.cache * 1e9}
    return load_pairs(pairs, table, image_format=image_format, progress=progress, **settings)


# -- What learns from them -------------------------------------------------------------------------


def new_network(config: TrainingConfig, in_channels: int, classes: int) -> UNet:
    """Make an untrained network by the settings."""
    names = ("base_channels", "depth", "padding", "upsampling", "dropout", "seed")
    settings = {name: getattr(config, name) for name in names}
    norm = None if config.norm == "none" else config.norm
    return UNet(in_channels, classes, norm=norm, **settings)


def new_model(config: TrainingConfig, training: Dataset, validation: Dataset) -> Model:
    """Make an untrained network that fits the images, and what belongs to it.

    The standardization is measured on the training images alone: the validation images stand for
    those that nobody has seen yet.
    """
    table, ignore_index = training.table, config.ignore_index
    names, metadata = config.class_names, {"settings": asdict(config)}
    if table is not None:
        names, ignore_index = table.names, table.ignore_index
        metadata["class_table"] = str(table)
        metadata["image_format"] = asdict(training.image_format)
        metadata["images"] = training.sources
    elif names is None:
        masks = training.masks + validation.masks
        largest = max(mask[mask != ignore_index].max(initial=1) for mask in masks)
        names = [f"class {index}" for index in range(largest + 1)]
    network = new_network(config, training.channels, len(names))
    standardization = Standardization.fit(training.valid_pixels())
    return Model(network, standardization, list(names), ignore_index, metadata)


class Training:
    """A network that learns from a data set, by settings; no validation, no files.

    Parameters
    ----------
    config : TrainingConfig
        The settings.
    model : Model
        What is trained; see `new_model`.
    dataset : Dataset
        The images to learn from.
    communicator : Communicator, optional
        The processes that share the work.

    Raises
    ------
    UserError
        If images, masks, crop and network don't fit together.
    """

    def __init__(self, config: TrainingConfig, model: Model, dataset: Dataset, communicator=None):
        self.config, self.model, self.training = config, model, dataset
        self.communicator = communicator or SingleProcess()
        self.network, crop_size = model.network, config.crop_size
        self.network.check_size(crop_size, crop_size)
        check_crop(dataset, crop_size)
        table = summarize(self.network, crop_size)
        at_once = -(-config.batch_size // self.communicator.size)
        needed = WEIGHT_COPIES * 4 * table.parameters + at_once * table.bytes
        what = f"a step with {at_once} crops of {crop_size} x {crop_size} pixels"
        check_memory(needed, what, "choose a smaller batch or crop size, or fewer base channels")
        class_pixels = self.find_classes(dataset, "training")
        self.counts = class_pixels.counts.sum(axis=0)
        if np.count_nonzero(self.counts) < 2:
            alone = model.class_names[self.counts.argmax()]
            raise UserError(f"the training masks hold a single class, {alone}: two are needed")
        # A class that no mask shows would keep the score that it began with, and win by chance.
        self.network.head.bias.data[to_device(self.counts == 0)] = NEVER
        self.class_weights = None
        if config.class_weights == "auto":
            self.class_weights = suggest_class_weights(self.counts, model.ignore_index)
        # A weight map holds the class weights already.
        weights = None if config.weight_map else self.class_weights
        self.loss = LOSSES[config.loss](weights, model.ignore_index)
        if config.optimizer == "sgd":
            self.optimizer = operations.SGD(self.network.parameters(), config.lr, config.momentum)
        else:
            self.optimizer = operations.Adam(self.network.parameters(), config.lr)
        self.schedule = cosine(config.lr, config.steps, warmup_steps=config.steps // 20)
        options = {name: getattr(config, name) for name in ("batch_size", "crop_size", "elastic")}
        options["class_pixels"] = class_pixels if config.sampling == "balanced" else None
        self.batches = random_batches(dataset, model.standardization, seed=config.seed, **options)
        self.replicas = Replicas(self.network, config.threads, self.communicator)

    def find_classes(self, dataset: Dataset, name: str) -> ClassPixels:
        """Count the pixels of each class; raise a UserError if there are none."""
        found = ClassPixels(dataset.masks, len(self.model.class_names), self.model.ignore_index)
        if not found.counts.any():
            raise UserError(f"every pixel of the {name} masks is ignored")
        return found

    def steps(self, first: int, stop: int):
        """Take the steps `first` to `stop` - 1: yields the number and the loss of each."""
        learning = self.draw_batch, self.replicas, self.optimizer, self.loss
        options = {"schedule": self.schedule, "seed": self.config.seed}
        return training_steps(range(first, stop), *learning, **options)

    def draw_batch(self, step: int):
        """Draw what a step learns from: images, labels, and pixel weights or None."""
        images, labels = self.batches(step)
        weights = None
        if self.config.weight_map:
            weights = self.center_crop(np.stack([self.pixel_weights(mask) for mask in labels]))
        return images, self.center_crop(labels), weights

    def pixel_weights(self, mask):
        """Give each pixel of a mask its weight; pixels that don't count are no object."""
        objects = connected_components(np.where(mask == self.model.ignore_index, 0, mask))
        return weight_map(mask, objects, self.class_weights)

    def center_crop(self, labels):
        """Cut the labels (N, H, W) to the center that a network with valid padding predicts."""
        height, width = labels.shape[1:]
        rows, columns = self.network.output_size(height, width)
        top, left = (height - rows) // 2, (width - columns) // 2
        return labels[:, top : top + rows, left : left + columns]
