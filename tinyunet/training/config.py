"""The settings of a training run, each with the option of the command line that sets it."""

import argparse
import math
import re
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import get_args, get_origin, get_type_hints

from tinyunet.backend import DEVICES
from tinyunet.errors import UserError

CHOICES = {
    "val_split": ("random", "spatial"),
    "alpha": ("valid", "drop", "channel"),
    "upsampling": ("transpose", "nearest"),
    "padding": ("same", "valid"),
    "norm": ("batch", "none"),
    "sampling": ("balanced", "uniform"),
    "optimizer": ("adam", "sgd"),
    "loss": ("ce", "dice", "ce+dice"),
    "class_weights": ("auto", "none"),
    "device": DEVICES,
}

# From the lowest number that makes sense to the highest that anybody could mean.
RANGES = {
    "steps": (1, 10**9),
    "batch_size": (1, 10**4),
    "crop_size": (1, 2**15),
    "base_channels": (1, 2**12),
    "depth": (1, 12),
    "dropout": (0, 0.99),
    "momentum": (0, 0.9999),
    "threads": (1, 256),
    "val_interval": (1, 10**9),
    "patience": (1, 10**9),
    "seed": (0, 2**63 - 1),
}

# The first setting of each group in --help, and settings that other commands have as well.
GROUPS = {
    "val_images": "data",
    "alpha": "data",
    "base_channels": "network",
    "steps": "training",
    "resume": "output",
}
READING = ("classes", "class_names", "ignore_index", "bands", "alpha")
NETWORK = ("base_channels", "depth", "upsampling", "padding", "norm")

# What may differ between a run and the one that resumes it: where things are, how long to go on,
# and what is looked at meanwhile. Everything else decides the result.
MAY_CHANGE = (
    *("images", "masks", "instances", "out", "device", "threads", "resume"),
    *("steps", "patience", "cache"),
)

# As in O. Ronneberger, P. Fischer and T. Brox, U-Net (2015): ``tinyunet train --paper``. The paper
# does not tell the learning rate.
PAPER = {
    **{"base_channels": 64, "padding": "valid", "norm": "none", "dropout": 0.5},
    **{"crop_size": 572, "batch_size": 1, "sampling": "uniform", "elastic": True},
    **{"weight_map": True, "class_weights": "auto", "optimizer": "sgd", "momentum": 0.99},
}


@dataclass
class TrainingConfig:
    """The settings of a run; what is said of them here is what ``tinyunet train --help`` says.

    Attributes
    ----------
    images : str
        Folder of the images, or one scene.
    masks : str
        Folder of their masks, or the mask of the scene.
    out : str
        Folder for the model, metrics and pictures.
    val_images : str, optional
        Folder of the images to validate on.
    val_masks : str, optional
        Folder of the masks of the validation images.
    val_fraction : float
        Fraction of the images held out for validation.
    val_split : str
        How the held-out images are chosen: spatial is a block of each scene.
    classes : str, optional
        Class table: what the masks store for each class, in lines such as 'building: 255'.
    class_names : list of str, optional
        Names of the classes, in the order of their numbers.
    ignore_index : int, optional
        Mask value of pixels that do not count, if there is no class table.
    bands : list of int, optional
        Bands of the images to use, counted from 1, such as 4,1,2 (default: all).
    alpha : str, optional
        Whether transparent pixels are missing data, mean nothing, or alpha is a channel.
    cache : int
        Gigabytes of memory for images; larger scenes are read by windows (default: 2).
    elastic : bool
        Deform the crops elastically at random, as the U-Net paper does.
    base_channels : int
        Number of channels of the first level.
    depth : int
        How many times the image is halved.
    upsampling : str
        How the image is doubled on the way up.
    padding : str
        Whether convolutions keep the size of the image or shrink it.
    norm : str
        What normalizes the output of each convolution.
    dropout : float
        Fraction of the activations that are dropped at the bottom of the U.
    steps : int
        Number of training steps.
    batch_size : int
        Number of crops in each step.
    crop_size : int
        Height and width of a crop in pixels.
    sampling : str
        How crops are drawn: balanced draws a third of them around a pixel of a class drawn evenly,
        so that rare classes are seen more often.
    optimizer : str
        How the weights are changed by their gradients.
    momentum : float
        Momentum of the optimizer sgd.
    lr : float
        Highest learning rate.
    loss : str
        Loss to minimize: cross-entropy, Dice, or their sum.
    class_weights : str
        Whether the pixels of rare classes count more.
    weight_map : bool
        Make the gaps between objects count more, as the U-Net paper does.
    instances : str, optional
        Folder of masks that number the objects, for the gaps.
    val_interval : int
        Number of steps between checkpoints, each with a validation.
    patience : int, optional
        Stop after N checkpoints without a better validation score.
    seed : int
        Random seed: the same one gives the same run.
    device : str
        Where to compute (default: auto, a GPU if there is one).
    threads : int, optional
        Number of threads that share each batch (default: all cores).
    resume : bool
        Resume the run in RUN from its last checkpoint.
    """

    images: str
    masks: str
    out: str
    val_images: str | None = None
    val_masks: str | None = None
    val_fraction: float = 0.2
    val_split: str = "random"
    classes: str | None = None
    class_names: list[str] | None = None
    ignore_index: int | None = None
    bands: list[int] | None = None
    alpha: str | None = None
    cache: int = 2_000_000_000
    elastic: bool = False
    base_channels: int = 16
    depth: int = 4
    upsampling: str = "transpose"
    padding: str = "same"
    norm: str = "batch"
    dropout: float = 0.0
    steps: int = 1000
    batch_size: int = 8
    crop_size: int = 128
    sampling: str = "balanced"
    optimizer: str = "adam"
    momentum: float = 0.99
    lr: float = 1e-3
    loss: str = "ce"
    class_weights: str = "none"
    weight_map: bool = False
    instances: str | None = None
    val_interval: int = 100
    patience: int | None = None
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
            lowest, highest = RANGES.get(name, (None, None))
            if None not in (value, lowest) and not lowest <= value <= highest:
                raise UserError(
                    f"{name} must be at least {lowest} and at most {highest}, and is {value}"
                )
            if value is not None and value not in CHOICES.get(name, (value,)):
                raise UserError(f"{name} must be one of {', '.join(CHOICES[name])}")
        if not 0 < self.lr < math.inf:
            raise UserError(f"lr must be above 0, and is {self.lr}")
        if (self.val_images is None) != (self.val_masks is None):
            raise UserError("val_images and val_masks go together: give both or neither")
        if self.weight_map and self.loss == "dice":
            raise UserError("the Dice loss has no weights for a weight_map: choose ce or ce+dice")
        if self.instances and not self.weight_map:
            raise UserError("instances are used by the weight map only: choose weight_map as well")
        if self.class_names and len(set(self.class_names)) < len(self.class_names):
            raise UserError(f"two classes have the same name: {', '.join(self.class_names)}")


# -- On the command line ---------------------------------------------------------------------------


def numbers(text: str) -> list[int]:
    """Read a list of numbers, such as 4,1,2."""
    return [int(word) for word in text.split(",")]


def gigabytes(text: str) -> int:
    """Read so many gigabytes; returns bytes."""
    return int(min(float(text), 1e6) * 1e9)


FORMS = {
    bool: {},
    int: {"type": int, "metavar": "N"},
    float: {"type": float, "metavar": "F"},
    str: {"metavar": "DIR"},
    list[int]: {"type": numbers, "metavar": "N,N,..."},
    list[str]: {"type": lambda text: text.split(","), "metavar": "A,B,..."},
    "cache": {"type": gigabytes, "metavar": "GB"},
    "classes": {"metavar": "FILE"},
    "out": {"metavar": "RUN", "required": True},
}


def settings_in(options: argparse.Namespace) -> dict:
    """Pick what belongs to a `TrainingConfig` among all that was typed."""
    names = {each.name for each in fields(TrainingConfig)}
    return {name: value for name, value in vars(options).items() if name in names}


def add_options(parser, names: Iterable[str], usual: dict | None = None, **more) -> None:
    """Give a parser an option for each of these settings, described as in `TrainingConfig`.

    Parameters
    ----------
    parser : ArgumentParser
    names : iterable of str
        ``images`` and ``masks`` become arguments, the others options, in groups.
    usual : dict, optional
        Values that differ from those of `TrainingConfig`.
    **more
        For each option: ``default=argparse.SUPPRESS`` leaves out what was not typed.
    """
    hints, groups, title = get_type_hints(TrainingConfig), {}, "settings"
    defaults = {each.name: each.default for each in fields(TrainingConfig)} | (usual or {})
    texts = re.findall(r"    (\w+) : .*\n((?: {8}.+\n)+)", TrainingConfig.__doc__ or "")
    texts = {name: " ".join(text.split()) for name, text in texts}
    for name in names:
        if name in ("images", "masks"):
            add_option(parser, name.upper(), texts[name])
            continue
        title = GROUPS.get(name, title)
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        form = FORMS.get(name) or FORMS[(get_args(hints[name]) or (hints[name],))[0]]
        form = {"choices": CHOICES[name]} if name in CHOICES else form
        option = "--" + name.replace("_", "-")
        add_option(groups[title], option, texts[name], defaults[name], **form | more)


def add_option(parser, name: str, help: str, usual=None, **more) -> None:
    """Add an option, ``"--size N"``, or an argument, ``"SCENE"``; the help tells the default."""
    flag, _, metavar = name.partition(" ")
    if usual is False:
        more["action"] = "store_true"
    elif not flag.startswith("--"):
        flag, metavar = more.pop("dest", flag.lower()), flag
    if metavar:
        more["metavar"] = metavar
    if type(usual) in (int, float, str) and "(default: " not in help:
        help = f"{help[:-1]} (default: {usual})."
    parser.add_argument(flag, **{"help": help, "default": usual} | more)
