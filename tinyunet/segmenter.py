"""A U-Net to use from Python in four lines: fit, predict, evaluate, save.

For those who have images as arrays and want classes for each pixel. What happens inside is the loop
of `tinyunet.training.loop`; for a run with validation, checkpoints and pictures use the command
``tinyunet train``. The model files are the same: either reads what the other has saved.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyunet.checkpoint import Model, load_model, save_model
from tinyunet.data.dataset import Dataset, read_mask
from tinyunet.data.images import read_image
from tinyunet.data.pairing import find_pairs
from tinyunet.errors import UserError
from tinyunet.inference.applicability import sample_features
from tinyunet.inference.evaluation import Scores, evaluate
from tinyunet.inference.sliding_window import predict_classes, predict_probabilities
from tinyunet.progress import tqdm
from tinyunet.training.config import TrainingConfig
from tinyunet.training.setup import Training, new_model, new_network

Images = str | Path | Sequence[np.ndarray | str | Path]


class Segmenter:
    """A U-Net that learns from images with masks, and then finds the class of each pixel.

    Images are arrays (H, W, C), channels last, or (H, W) where they are gray; of any size, and of
    numbers in any range: each channel is standardized by its mean and standard deviation in the
    training images. So the images to predict must come in the same range as those, and one of
    another number type (say ``float32`` instead of ``uint8``) is refused. Masks are integer arrays
    (H, W): the class of each pixel, 0 to K - 1.

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
        self.classes, self.ignore_index = [str(name) for name in classes], ignore_index
        self.base_channels, self.depth, self.seed = base_channels, depth, seed
        self.losses: list[float] = []
        self._model: Model | None = None
        new_network(self._config(), 1, len(classes))  # if a number makes no sense, say so now

    def __repr__(self) -> str:
        settings = f"classes={self.classes}, base_channels={self.base_channels}, depth={self.depth}"
        state = "not trained yet"
        if self._model is not None:
            state = f"trained on {self._model.metadata.get('image_kind', 'image files')}"
        return f"Segmenter({settings}): {state}"

    def fit(
        self,
        images: Images,
        masks: Images,
        *,
        steps: int = 1000,
        progress: bool = True,
        **settings,
    ) -> "Segmenter":
        """Train a new network; calling it again starts from the beginning.

        Parameters
        ----------
        images, masks : list of arrays, list of files, a folder each, or a file each
            The masks of a list are in the order of the images; in folders, files of the same name
            (without the ending) belong together.
        steps : int
            How many batches to learn from: random crops of random images, each flipped, turned and
            lit at random.
        progress : bool
            Show a progress bar.
        **settings
            `batch_size`, `lr`, `loss`, `class_weights`, `elastic`, `threads`, ...: see
            `tinyunet.training.config.TrainingConfig`. The `crop_size` is 128 pixels, or the largest
            that fits into every image.

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
        smallest = min(min(image.shape[:2]) for image in dataset.images)
        fitting = min(128, smallest) // 2**self.depth * 2**self.depth
        config = self._config(**{"crop_size": fitting or 2**self.depth, "steps": steps} | settings)
        model = new_model(config, dataset, dataset)
        losses = []
        with tqdm(total=steps, desc="training", unit="step", disable=not progress) as bar:
            for step, value in Training(config, model, dataset).steps(0, steps):
                losses.append(value)
                if step % 10 == 9:
                    bar.set_postfix_str(f"loss {float(value):.3f}")
                bar.update()
        self.losses = [float(value) for value in losses]
        model.metadata["image_kind"] = kind_of(dataset.images[0])
        model.training_features = sample_features(model, dataset, self.seed, config.threads)
        self._model = model
        return self

    def predict(self, image: np.ndarray | str | Path, **options) -> np.ndarray:
        """Return the class (H, W) of each pixel of an image (H, W, C), or of an image file.

        `options` may be `tile`, `margin`, `batch_size`, `threads`, `tta`: see
        `tinyunet.inference.sliding_window.sliding_window`.
        """
        return predict_classes(self._trained(), self._checked(image), **options)

    def predict_proba(self, image: np.ndarray | str | Path, **options) -> np.ndarray:
        """Return the probability (H, W, K) of each class at each pixel; options as in `predict`."""
        model = self._trained()
        return predict_probabilities(
            model.network,
            self._checked(image),
            ignore_index=self.ignore_index,
            prepare=model.standardization.transform,
            **options,
        )

    def evaluate(self, images: Images, masks: Images) -> Scores:
        """Predict images, given as in `fit`, and compare with their masks."""
        model = self._trained()
        dataset = self._dataset(images, masks)
        self._checked(dataset.images[0], "image 0")
        return evaluate(model, dataset)

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

    def _config(self, **settings) -> TrainingConfig:
        """Gather the settings of a training, and check them."""
        names = ("base_channels", "depth", "ignore_index", "seed")
        settings |= {name: getattr(self, name) for name in names}
        config = TrainingConfig("", "", "", class_names=self.classes, **settings)
        config.check()
        return config

    def _trained(self) -> Model:
        """Return the model, if there is one."""
        if self._model is None:
            raise UserError("this Segmenter is not trained yet: call fit first, or Segmenter.load")
        return self._model

    def _checked(self, image, name: str = "the image") -> np.ndarray:
        """Refuse an image unlike those of the training, such as 0..1 in place of 0..255."""
        image = as_image(image, name)
        expected = self._trained().metadata.get("image_kind")
        if expected not in (None, kind_of(image)):
            raise UserError(
                f"{name} has {kind_of(image)}, and the training images had {expected}: convert it "
                "to the same type and range of numbers"
            )
        return image

    def _dataset(self, images: Images, masks: Images) -> Dataset:
        """Read images and masks, if they are files, and check that they belong together."""
        if isinstance(images, str | Path) and isinstance(masks, str | Path):
            if Path(images).is_dir() or Path(masks).is_dir():
                pairs = find_pairs(images, masks)
            else:
                pairs = [("", images, masks)]
            _, images, masks = zip(*pairs, strict=True)
        for name, several, ndim in (("images", images, 4), ("masks", masks, 3)):
            if isinstance(several, str | Path) or getattr(several, "ndim", ndim) != ndim:
                raise UserError(f"{name} must be a list of arrays or files: [image] if it is one")
        if len(images) != len(masks) or len(images) == 0:
            raise UserError(f"{len(images)} images and {len(masks)} masks: each image needs a mask")
        dataset = Dataset([], [], [])
        for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
            dataset.stems.append(f"image {number}")
            dataset.images.append(as_image(image, f"image {number}"))
            dataset.masks.append(self._as_mask(mask, f"mask {number}", dataset.images[-1].shape))
            kinds = [kind_of(image) for image in (dataset.images[-1], dataset.images[0])]
            if kinds[0] != kinds[1]:
                raise UserError(f"image {number} has {kinds[0]}, but image 0 has {kinds[1]}")
        return dataset

    def _as_mask(self, mask, name: str, shape: tuple) -> np.ndarray:
        """Return a mask (H, W) of an array or a file, or say what was expected."""
        mask = read_mask(mask) if isinstance(mask, str | Path) else np.asarray(mask)
        if mask.shape != shape[:2] or mask.dtype.kind not in "uib":
            raise UserError(
                f"{name}: expected {shape[:2]} integers, the class of each pixel of its image, got "
                f"{mask.shape} of {mask.dtype}"
            )
        counted = mask[mask != self.ignore_index]
        if counted.size and not 0 <= counted.min() <= counted.max() < len(self.classes):
            raise UserError(
                f"{name}: holds {counted.min()} to {counted.max()}, but the classes are 0 to "
                f"{len(self.classes) - 1}; name a value that does not count by ignore_index, and "
                "give 0 and 255 as mask > 0"
            )
        return mask.astype(np.uint8) if mask.dtype.kind == "b" else mask


def as_image(image, name: str) -> np.ndarray:
    """Return an image (H, W, C) of an array or a file, or say what was expected."""
    image = read_image(image) if isinstance(image, str | Path) else np.asarray(image)
    image = image[:, :, np.newaxis] if image.ndim == 2 else image
    if image.ndim != 3 or 0 in image.shape or (image.shape[0] <= 4 < image.shape[2]):
        raise UserError(
            f"{name}: expected (H, W, C), channels last, got {image.shape}; "
            "np.moveaxis(image, 0, -1) moves the channels from the front to the end"
        )
    if image.dtype.kind not in "uif" or not np.isfinite(image).all():
        raise UserError(f"{name}: expected finite numbers, got {image.dtype}, or NaN or infinity")
    return image


def kind_of(image: np.ndarray) -> str:
    """Describe channels and number type; floating-point numbers of any precision are alike."""
    numbers = "floating-point" if image.dtype.kind == "f" else image.dtype.name
    count = image.shape[2]
    return f"{count} channel{'s' * (count != 1)} of {numbers} numbers"
