"""A U-Net to use from Python in four lines: fit, predict, evaluate, save.

For those who have images as arrays and want classes for each pixel. What happens inside is the loop
of `tinyunet.training.loop`; for a run with validation, checkpoints and pictures use the command
``tinyunet train``. The model files are the same: either reads what the other has saved.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tinyunet.checkpoint import Model, load_model, save_model
from tinyunet.data.class_table import numbered
from tinyunet.data.dataset import Dataset, load_pairs, meaning_of, open_for
from tinyunet.data.images import Raster, raster_of
from tinyunet.data.pairing import Pair, find_pairs
from tinyunet.errors import UserError
from tinyunet.inference.applicability import sample_features
from tinyunet.inference.evaluation import Scores, evaluate
from tinyunet.inference.sliding_window import predict_classes, predict_probabilities
from tinyunet.progress import tqdm
from tinyunet.training.config import TrainingConfig
from tinyunet.training.setup import Training, new_model

Images = str | Path | Sequence[np.ndarray | str | Path]


class Segmenter:
    """A U-Net that learns from images with masks, and then finds the class of each pixel.

    Images are arrays (H, W, C), channels last, or (H, W) where they are gray; of any size, and of
    numbers in any range: each channel is standardized by its mean and standard deviation in the
    training images. So the images to predict must come in the same range as those, and one of
    another number type (say ``float32`` instead of ``uint8``) is refused. Where an image is NaN
    there is no data. Masks are integer arrays (H, W): the class of each pixel, 0 to K - 1.

    Both may be files instead, which are read as on the command line: the model remembers what
    their numbers mean, and what the masks store for each class.

    Parameters
    ----------
    classes : list of str
        The K names, in the order of the numbers in the masks.
    base_channels : int
        Channels of the first level; they double with each level down.
    depth : int
        How many times the image is halved.
    ignore_index : int, optional
        The mask value of pixels that do not count.
    seed : int
        The same seed, images and number of threads give the same network.

    Attributes
    ----------
    config : TrainingConfig
        The settings.
    losses : list of float
        The training loss of each step.

    Examples
    --------
    >>> from tinyunet import Segmenter
    >>> Segmenter(classes=["meadow", "orchard"], base_channels=8, depth=3)
    Segmenter(classes=['meadow', 'orchard'], base_channels=8, depth=3): not trained yet
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        base_channels: int = 16,
        depth: int = 4,
        ignore_index: int | None = None,
        seed: int = 0,
    ):
        if isinstance(classes, str | int) or len(classes) < 2:
            raise UserError(f"classes must be a list of at least two names, and is {classes!r}")
        settings = {"base_channels": base_channels, "depth": depth, "seed": seed}
        settings |= {"class_names": list(map(str, classes)), "ignore_index": ignore_index}
        self.config = TrainingConfig("", "", "", **settings)
        self.config.check()
        self.losses: list[float] = []
        self._model: Model | None = None

    def __repr__(self) -> str:
        names, config = self.config.class_names, self.config
        settings = f"classes={names}, base_channels={config.base_channels}, depth={config.depth}"
        return f"Segmenter({settings}): {'trained' if self._model else 'not trained yet'}"

    def fit(self, images: Images, masks: Images, progress: bool = True, **settings) -> "Segmenter":
        """Train a new network; calling it again starts from the beginning.

        Parameters
        ----------
        images, masks : list of arrays, list of files, a folder each, or a file each
            The masks of a list are in the order of the images; in folders, files of the same name
            (without the ending) belong together.
        progress : bool
            Show a progress bar.
        **settings
            `steps`, `batch_size`, `crop_size`, `lr`, `loss`, `class_weights`, `threads`, ...: see
            `tinyunet.training.config.TrainingConfig`. A step learns from random crops of random
            images, each flipped, turned and lit at random.

        Returns
        -------
        Segmenter
            Itself.

        Raises
        ------
        UserError
            If an image or a mask is not what was expected; names it, and what was expected.
        """
        dataset = self._dataset(images, masks)
        config = replace(self.config, **settings)
        config.check()
        model = new_model(config, dataset, dataset)
        training = Training(config, model, dataset).steps(0, config.steps)
        bar = tqdm(training, "training", config.steps, unit="step", disable=not progress)
        self.losses = list(map(float, [loss for _, loss in bar]))
        model.training_features = sample_features(model, dataset, config.seed, config.threads)
        self._model = model
        return self

    def predict(self, image: np.ndarray | str | Path, **options) -> np.ndarray:
        """Return the class (H, W) of each pixel of an image (H, W, C), or of an image file.

        It is 255 where the image has no data. `options` may be `tile`, `margin`, `threads`, `tta`:
        see `tinyunet.inference.sliding_window.sliding_window`.
        """
        pixels, valid = self._read(image)
        return predict_classes(self._model, pixels, valid=valid, **options)

    def predict_proba(self, image: np.ndarray | str | Path, **options) -> np.ndarray:
        """Return the probability (H, W, K) of each class at each pixel; options as in `predict`."""
        pixels, valid = self._read(image)
        pixels = self._model.standardization.transform(pixels, valid)
        options["ignore_index"] = self._model.ignore_index
        return predict_probabilities(self._model.network, pixels, **options)

    def evaluate(self, images: Images, masks: Images) -> Scores:
        """Predict images, given as in `fit`, and compare with their masks."""
        model = self._trained()
        return evaluate(model, self._dataset(images, masks, *meaning_of(model)))

    def save(self, path: str | Path) -> None:
        """Save the trained network as a model file, which ``tinyunet predict`` reads, too."""
        save_model(path, self._trained())

    @classmethod
    def load(cls, path: str | Path) -> "Segmenter":
        """Load what `save` or ``tinyunet train`` saved."""
        model = load_model(path)
        settings = {name: model.network.config[name] for name in ("base_channels", "depth", "seed")}
        segmenter = cls(model.class_names, ignore_index=model.ignore_index, **settings)
        segmenter._model = model
        return segmenter

    # -- Inside ---------------------------------------------------------------------------

    def _trained(self) -> Model:
        """Return the model, if there is one."""
        if self._model is None:
            raise UserError("this Segmenter is not trained yet: call fit first, or Segmenter.load")
        return self._model

    def _read(self, image) -> tuple[np.ndarray, np.ndarray | None]:
        """Read an image as the model needs it, and which of its pixels are data."""
        raster = open_for(self._trained(), as_raster(image, "the image"))
        return raster.read(slice(None), slice(None))

    def _dataset(self, images: Images, masks: Images, table=None, image_format=None) -> Dataset:
        """Read images and masks, and check that they belong together."""
        names, ignore = self.config.class_names, self.config.ignore_index
        if isinstance(images, str | Path) and isinstance(masks, str | Path):
            pairs = find_pairs(images, masks)
        else:
            if len(images) != len(masks) or len(images) == 0:
                raise UserError("give lists of images and masks, one mask for each image")
            pairs = [
                Pair(f"image {k}", as_raster(image, f"image {k}"), as_raster(mask, f"mask {k}"))
                for k, (image, mask) in enumerate(zip(images, masks, strict=True))
            ]
        if table is None and any(isinstance(pair.mask_path, Raster) for pair in pairs):
            table = numbered(range(len(names)), names, () if ignore is None else (ignore,))
        return load_pairs(pairs, table, class_names=names, ignore=ignore, image_format=image_format)


def as_raster(source, name: str) -> Raster | str | Path:
    """Give an array (H, W, C) or (H, W) as an open image of this name; files stay files."""
    if isinstance(source, str | Path):
        return source
    array = np.asarray(source)
    channels_first = array.ndim == 3 and array.shape[0] <= 4 < array.shape[-1]
    is_image = array.dtype.kind in "buif" and array.ndim in (2, 3) and array.size > 0
    if channels_first or not is_image:
        raise UserError(
            f"{name}: expected numbers (H, W, C), channels last, got {array.dtype} {array.shape}; "
            "np.moveaxis(image, 0, -1) moves the channels from the front to the end"
        )
    return raster_of(array.astype(np.uint8) if array.dtype.kind == "b" else array, name)
