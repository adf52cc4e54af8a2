"""The settings of a training run; the command line has an option for each."""

import math
import reprlib
from dataclasses import dataclass
from typing import get_args, get_origin, get_type_hints

from tinyunet.errors import UserError

CHOICES = {
    "upsampling": ("transpose", "nearest"),
    "padding": ("same", "valid"),
    "norm": ("batch", "none"),
    "optimizer": ("adam", "sgd"),
    "loss": ("ce", "dice", "ce+dice"),
    "class_weights": ("auto", "none"),
    "val_split": ("random", "spatial"),
    "sampling": ("balanced", "uniform"),
}

# From the lowest number that makes sense to the highest that anybody could mean.
RANGES = {
    "steps": (1, 10**9),
    "batch_size": (1, 10**4),
    "crop_size": (1, 2**15),
    "base_channels": (1, 2**12),
    "depth": (1, 12),
    "threads": (1, 256),
    "val_interval": (1, 10**9),
    "patience": (1, 10**9),
    "preview_interval": (1, 10**9),
    "seed": (0, 2**63 - 1),
}


@dataclass
class TrainingConfig:
    """The settings of a run; the command line has an option for each.

    Attributes
    ----------
    images, masks : str
        Folders; a mask has the stem of its image and holds class indices.
    out : str
        The folder of the run.
    val_images, val_masks : str, optional
        Folders of the images to validate on. Without them, part of the images is held out.
    val_fraction : float
        The fraction of the images held out for validation, between 0 and 1.
    val_split : str
        How these are chosen: "random", by the seed, or "spatial", a block at the end of each scene,
        for tiles that `tinyunet.data.tiles` cut.
    steps, batch_size, crop_size : int
        How many steps; crops a step; height and width of a crop in pixels.
    sampling : str
        "balanced" draws a third of the crops around a pixel of a class that is drawn evenly among
        those present, so that rare classes are seen more often; "uniform" draws all by chance.
    base_channels, depth, upsampling, padding, norm, dropout
        The network, as in `UNet` (`norm` "batch" or "none").
    lr : float
        The highest learning rate: it rises to this over the first twentieth of the steps, then
        falls to 0 along half a cosine.
    optimizer : str
        "adam", or "sgd" for stochastic gradient descent with momentum.
    momentum : float
        Of SGD, at least 0 and below 1; the U-Net paper's is 0.99.
    loss : str
        "ce" is cross-entropy, "dice" the soft Dice loss, "ce+dice" their sum.
    class_weights : str
        "auto" lets the pixels of rare classes count more, "none" counts all alike.
    class_names : list of str, optional
        A name for each class; also says how many there are.
    weight_map : bool
        Let the gaps between objects count more, as the U-Net paper does.
    instances : str, optional
        Folder of masks that number the objects, for the weight map; without it, each connected
        piece of a class other than 0 is an object.
    elastic : bool
        Bend the crops at random, as the U-Net paper does.
    ignore_index : int, optional
        Mask pixels of this value don't count, neither in training nor in any score.
    classes : str, optional
        A file with the class table; see `tinyunet.data.class_table`. Without it, the table is
        worked out from the training masks.
    bands : list of int, optional
        Which bands of the images to use, counted from 1.
    alpha : str, optional
        What transparent pixels mean: "valid" (missing data), "drop" or "channel".
    exif : str, optional
        "turn" or "stored": on which pixels masks were drawn that EXIF data turn.
    cache : int
        Bytes that images and masks may take in memory; larger scenes are read by windows.
    val_interval : int
        How many steps from one checkpoint to the next: validation, files and pictures.
    patience : int, optional
        Stop after so many validations in a row without a better score.
    preview_interval : int, optional
        Draw the preview every so many steps, too, not only at checkpoints.
    seed : int
        The random seed: the same one gives the same run.
    device : str
        "auto", "cpu" or "cuda".
    threads : int, optional
        How many threads share each batch; without it, as many as there are cores.
    resume : bool
        Resume the run in `out` from its last checkpoint.
    """

    images: str
    masks: str
    out: str
    val_images: str | None = None
    val_masks: str | None = None
    val_fraction: float = 0.2
    val_split: str = "random"
    steps: int = 1000
    batch_size: int = 8
    crop_size: int = 128
    sampling: str = "uniform"
    base_channels: int = 16
    depth: int = 4
    upsampling: str = "transpose"
    padding: str = "same"
    norm: str = "batch"
    dropout: float = 0.0
    lr: float = 1e-3
    optimizer: str = "adam"
    momentum: float = 0.99
    loss: str = "ce"
    class_weights: str = "none"
    weight_map: bool = False
    instances: str | None = None
    elastic: bool = False
    class_names: list[str] | None = None
    ignore_index: int | None = None
    classes: str | None = None
    bands: list[int] | None = None
    alpha: str | None = None
    exif: str | None = None
    cache: int = 2_000_000_000
    val_interval: int = 100
    patience: int | None = None
    preview_interval: int | None = None
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        """Turn paths into text, which JSON can hold."""
        for name in ("images", "masks", "out", "val_images", "val_masks", "instances", "classes"):
            if getattr(self, name) is not None:
                setattr(self, name, str(getattr(self, name)))
        if self.class_names is not None:
            self.class_names = [str(name) for name in self.class_names]

    def check(self) -> None:
        """Raise a UserError if a setting makes no sense by itself."""
        for name, hint in get_type_hints(type(self)).items():
            value, kinds = getattr(self, name), get_args(hint) or (hint,)
            kinds = [get_origin(kind) or kind for kind in kinds] + [int] * (float in kinds)
            if type(value) not in kinds:
                raise UserError(f"{name} can't be {reprlib.repr(value)}")
        for name, (lowest, highest) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not lowest <= value <= highest:
                raise UserError(
                    f"{name} must be at least {lowest} and at most {highest}, and is {value}"
                )
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name} must be one of {', '.join(choices)}")
        if not 0 < self.lr < math.inf:
            raise UserError(f"lr must be above 0, and is {self.lr}")
        for name in ("dropout", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(
                    f"{name} must be at least 0 and below 1, and is {getattr(self, name)}"
                )
        if (self.val_images is None) != (self.val_masks is None):
            raise UserError("val_images and val_masks go together: give both or neither")
        if self.weight_map and self.loss == "dice":
            raise UserError(
                "weight_map weighs pixel by pixel, and the Dice loss has no such weights: choose "
                "the loss ce or ce+dice"
            )
        if self.instances and not self.weight_map:
            raise UserError("instances are used by the weight map only: choose weight_map as well")
        if self.class_names and len(set(self.class_names)) < len(self.class_names):
            raise UserError(f"two classes have the same name: {', '.join(self.class_names)}")


# What may differ between a run and the one that resumes it: where things are, how long to go on,
# and what is looked at meanwhile. Everything else decides the result.
MAY_CHANGE = (
    *("images", "masks", "instances", "out", "device", "threads", "resume"),
    *("steps", "patience", "preview_interval", "cache"),
)
