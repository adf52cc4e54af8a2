"""What a run learns from and is judged by: files read, and divided in two."""

from tinyunet.checkpoint import TrainingState
from tinyunet.data.class_table import parse_class_table, read_class_table
from tinyunet.data.dataset import Dataset, load_pairs
from tinyunet.data.images import ImageFormat, warn_once
from tinyunet.data.pairing import find_pairs
from tinyunet.data.splits import limit_validation, places_of, spatial_split
from tinyunet.errors import UserError
from tinyunet.nn.unet import UNet
from tinyunet.training.config import TrainingConfig


def load_datasets(
    config: TrainingConfig, state: TrainingState | None, progress: bool
) -> tuple[Dataset, Dataset]:
    """Read the files that the settings name; returns the training and the validation images."""
    training = load_training(config, state, progress)
    if config.val_images is not None:
        pairs = find_pairs(config.val_images, config.val_masks)
        options = {"image_format": training.image_format, "cache": config.cache}
        validation = load_pairs(pairs, training.table, progress=progress, **options)
    elif config.val_split == "random":
        if len({scene for scene, _ in places_of(training)}) < len(training):
            warn_once(
                "tiles of one scene are split at random: validation sees neighbors of what was "
                "learned, and flatters; --val-split spatial holds out a block of the scene instead"
            )
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
    names = ("class_names", "bands", "alpha", "cache")
    settings = {name: getattr(config, name) for name in names} | {"ignore": config.ignore_index}
    return load_pairs(pairs, table, image_format=image_format, progress=progress, **settings)
