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
    """Read the files that the settings name; returns the training and the validation images.

    A run that is resumed reads masks through the class table that it began with, and divides the
    images that it began with: what trained the network never judges it.
    """
    table = read_class_table(config.classes) if config.classes else None
    image_format, images = None, None
    if state is not None and "class_table" in state.model.metadata:
        table = parse_class_table(state.model.metadata["class_table"])
        image_format = ImageFormat(**state.model.metadata["image_format"])
        images = state.model.metadata["images"]
    pairs = find_pairs(config.images, config.masks)
    if images is not None:
        pairs = pairs_of_the_run(pairs, images)
    options = {"cache": config.cache, "progress": progress}
    training = load_pairs(
        pairs,
        table,
        class_names=config.class_names,
        ignore=config.ignore_index,
        image_format=image_format,
        bands=config.bands,
        alpha=config.alpha,
        **options,
    )
    if config.instances is not None:
        load_instances(training, config.instances)
    if config.val_images is not None:
        pairs = find_pairs(config.val_images, config.val_masks)
        validation = load_pairs(
            pairs, training.table, image_format=training.image_format, **options
        )
    elif config.val_split == "random":
        warning = diagnostics.tiles_split_at_random(training.stems)
        if warning:
            warnings.warn(warning, stacklevel=2)
        training, validation = training.split(config.val_fraction, config.seed)
    else:
        field = UNet(1, 2, base_channels=1, depth=config.depth).receptive_field
        smallest = -(-config.crop_size // 2)  # more is not mirrored
        training, validation = spatial_split(training, config.val_fraction, field, smallest)
    return training, limit_validation(validation)


def pairs_of_the_run(pairs: list[Pair], stems: list[str]) -> list[Pair]:
    """Pick the images that a run began with; name those that are new, and refuse if one is gone."""
    missing = sorted(set(stems) - {pair.stem for pair in pairs})
    if missing:
        raise UserError(
            f"the run was started with the image {missing[0]}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + ", not found now: put it back, or start a new run"
        )
    added = [pair.stem for pair in pairs if pair.stem not in set(stems)]
    if added:
        warnings.warn(
            f"{len(added)} image{'s' * (len(added) > 1)} added since the run was started, such as "
            f"{added[0]}: not used, as a new division would let images judge that have been "
            "learned from; start a new run to use them",
            stacklevel=2,
        )
    return [pair for pair in pairs if pair.stem in set(stems)]
