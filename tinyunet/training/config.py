"""The settings of a training run; `tinyunet.cli.arguments` makes options of them."""

import reprlib
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Annotated, Literal, get_origin, get_type_hints

from tinyunet.errors import UserError
from tinyunet.hints import Range, unfold

READING = ("classes", "class_names", "ignore_index", "bands", "alpha")
NETWORK = ("base_channels", "depth", "upsampling", "padding", "norm")

# What may differ between a run and the one that resumes it: where things are, how long to go on,
# and what is looked at meanwhile. Everything else decides the result.
MAY_CHANGE = "images masks out device threads resume steps patience cache".split()

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
    cache : float
        Gigabytes of memory for images; larger scenes are read by windows.
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
    out: Annotated[str, "RUN"]
    _: KW_ONLY
    val_images: Annotated[str | None, "DIR"] = None
    val_masks: Annotated[str | None, "DIR"] = None
    val_fraction: float = 0.2
    val_split: Literal["random", "spatial"] = "random"
    classes: Annotated[str | None, "FILE"] = None
    class_names: Annotated[list[str] | None, "A,B,..."] = None
    ignore_index: int | None = None
    bands: Annotated[list[int] | None, "N,N,..."] = None
    alpha: Literal["valid", "drop", "channel"] | None = None
    cache: Annotated[float, "GB", Range(0, 10**6)] = 2.0
    elastic: bool = False
    base_channels: Annotated[int, Range(1, 2**12)] = 16
    depth: Annotated[int, Range(1, 12)] = 4
    upsampling: Literal["transpose", "nearest"] = "transpose"
    padding: Literal["same", "valid"] = "same"
    norm: Literal["batch", "none"] = "batch"
    dropout: Annotated[float, Range(0, 0.99)] = 0.0
    steps: Annotated[int, Range(1, 10**9)] = 1000
    batch_size: Annotated[int, Range(1, 10**4)] = 8
    crop_size: Annotated[int, Range(1, 2**15)] = 128
    sampling: Literal["balanced", "uniform"] = "balanced"
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: Annotated[float, Range(0, 0.9999)] = 0.99
    lr: Annotated[float, Range(1e-12, 10**6)] = 1e-3
    loss: Literal["ce", "dice", "ce+dice"] = "ce"
    class_weights: Literal["auto", "none"] = "none"
    weight_map: bool = False
    val_interval: Annotated[int, Range(1, 10**9)] = 100
    patience: Annotated[int | None, Range(1, 10**9)] = None
    seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int | None, Range(1, 256)] = None
    resume: bool = False

    def check(self) -> None:
        """Raise a UserError if a setting makes no sense by itself."""
        hints = get_type_hints(type(self), include_extras=True)
        for name in (each.name for each in fields(self)):
            value, (kinds, choices, notes) = getattr(self, name), unfold(hints[name])
            types = [get_origin(kind) or kind for kind in kinds] + [int] * (float in kinds)
            value = str(value) if isinstance(value, Path) else value
            if choices and value not in (*choices, *[None] * (NoneType in kinds)):
                raise UserError(f"{name} must be one of {', '.join(choices)}")
            if not choices and type(value) not in types:
                raise UserError(f"{name} can't be {reprlib.repr(value)}")
            for note in notes:
                if isinstance(note, Range) and value is not None and value not in note:
                    raise UserError(f"{name} must be {note}, and is {value}")
        if self.base_channels * 2**self.depth > 2**12:  # that many have 500 million weights
            remedy = "choose fewer base channels or a smaller depth"
            raise UserError(f"there would be more than 4096 channels at the bottom: {remedy}")
        if (self.val_images is None) != (self.val_masks is None):
            raise UserError("val_images and val_masks go together: give both or neither")
        if self.weight_map and self.loss == "dice":
            raise UserError("the Dice loss has no weights for a weight_map: choose ce or ce+dice")
        if self.class_names and len(set(self.class_names)) < len(self.class_names):
            raise UserError(f"two classes have the same name: {', '.join(self.class_names)}")
