"""What a run learns from and is judged by: files read, and divided in two."""

import warnings

from tinyunet.checkpoint import TrainingState
from tinyunet.data.class_table import parse_class_table, read_class_table
from tinyunet.data.dataset import Dataset, load_instances, load_pairs
from tinyunet.data.images import ImageFormat
from tinyunet.data.pairing import Pair, find_pairs
from tinyunet.data.splits import limit_validation, spatial_split
from tinyunet.errors import UserError
from tinyunet.nn.unet import UNet
from tinyunet.training import diagnostics
from tinyunet.training.config import TrainingConfig


def load_datasets(
    config: TrainingConfig, state: TrainingState | None, progress: bool
) -> tuple[Dataset, Dataset]:
    """Read the files that the settings name; returns the training and the validation images."""
    training = load_training(config, state, progress)
    if config.val_images is not None:
        validation = load_pairs(
            find_pairs(config.val_images, config.val_masks),
            training.table,
            image_format=training.image_format,
            cache=config.cache,
            progress=progress,
        )
    elif config.val_split == "random":
        warning = diagnostics.tiles_split_at_random(training.stems)
        if warning:
            warnings.warn(warning, stacklevel=2)
        training, validation = training.split(config.val_fraction, config.seed)
    else:
        buffer = receptive_field(config.depth)
        smallest = -(-config.crop_size // 2)  # more is not mirrored
        training, validation = spatial_split(training, config.val_fraction, buffer, smallest)
    return training, limit_validation(validation)


def receptive_field(depth: int) -> int:
    """Give how many pixels a network of this depth sees: so far apart must parts of a scene lie."""
    return UNet(1, 2, base_channels=1, depth=depth).receptive_field


def load_training(config: TrainingConfig, state: TrainingState | None, progress: bool) -> Dataset:
    """Read the images and masks that the settings name, before any are held out.

    A run that is resumed reads masks through the class table that it began with, and divides the
    images that it began with: what trained the network never judges it.
    """
    table = read_class_table(config.classes) if config.classes else None
    pairs, image_format = find_pairs(config.images, config.masks), None
    if state is not None and "class_table" in state.model.metadata:
        begun = state.model.metadata
        table = parse_class_table(begun["class_table"])
        image_format = ImageFormat(**begun["image_format"])
        pairs = pairs_of_the_run(pairs, begun["images"])
    training = load_pairs(
        pairs,
        table,
        class_names=config.class_names,
        ignore=config.ignore_index,
        image_format=image_format,
        bands=config.bands,
        alpha=config.alpha,
        cache=config.cache,
        progress=progress,
    )
    if config.instances is not None:
        load_instances(training, config.instances)
    return training


def pairs_of_the_run(pairs: list[Pair], stems: list[str]) -> list[Pair]:
    """Pick the images that a run began with; say which are new, and refuse if one is gone."""
    known, there = set(stems), {pair.stem for pair in pairs}
    for stem in sorted(known - there)[:1]:
        raise UserError(
            f"the run was started with the image {stem}, not found now: put it back, or start a "
            "new run"
        )
    if there - known:
        warnings.warn(
            f"images were added since the run was started, such as {min(there - known)}: they are "
            "not used, as a new division would let images judge that have been learned from",
            stacklevel=2,
        )
    return [pair for pair in pairs if pair.stem in known]
