"""Images and masks from two folders, paired by file name.

``images/north.jpg`` belongs to ``masks/north.png``: the name without its ending, the *stem*, makes
the pair. A mask holds one number for each pixel, the class: 0, 1, 2, ...

Files come from everywhere and are often not what they seem, so reading is strict: what cannot be
understood without guessing is a `UserError` that names the file and says what to do.
"""

import contextlib
import functools
import threading
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from tinyunet.errors import UserError
from tinyunet.progress import tqdm

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "TIFF")

# A scene of 20,000 x 20,000 pixels fits. A file of a few kilobytes can claim far more, and would
# fill the memory on decoding: a "decompression bomb".
MAX_PIXELS = 500_000_000

SAVE_AS = (
    "save it as gray, RGB, or four channels with the fourth marked as alpha "
    "(gdal_translate -co PHOTOMETRIC=RGB -co ALPHA=YES)"
)


class Pair(NamedTuple):
    """An image and its mask: two files with the same stem."""

    stem: str
    image_path: Path
    mask_path: Path


@dataclass
class Dataset:
    """Images with their masks, in memory.

    Attributes
    ----------
    stems : list of str
        A name for each image, for messages.
    images : list of array (H, W, C)
        Sizes may vary from image to image, C does not.
    masks : list of array (H, W), integers
        The class of each pixel.
    instances : list of array (H, W), integers, optional
        0 on the background, and a number of its own for each object.
    """

    stems: list[str]
    images: list[np.ndarray]
    masks: list[np.ndarray]
    instances: list[np.ndarray] | None = None

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    @property
    def channels(self) -> int:
        """The number of channels, the same for all images."""
        return self.images[0].shape[-1]

    def subset(self, indices: Iterable[int]) -> "Dataset":
        """Pick some of the images with their masks; nothing is copied."""
        chosen = [int(index) for index in indices]
        return Dataset(
            stems=[self.stems[index] for index in chosen],
            images=[self.images[index] for index in chosen],
            masks=[self.masks[index] for index in chosen],
            instances=self.instances and [self.instances[index] for index in chosen],
        )

    def split(self, fraction: float, seed: int) -> tuple["Dataset", "Dataset"]:
        """Set a random part aside, for validation.

        Tiles that were cut from one scene resemble their neighbors, so a random split lets the
        network see almost the images it is judged on. Set whole scenes aside instead.

        Parameters
        ----------
        fraction : float
            Share of the images to set aside, between 0 and 1; at least one image lands on
            either side.
        seed : int
            The same seed always gives the same split.

        Returns
        -------
        rest, part : Dataset
            The images that stay (training) and those set aside (validation).

        Raises
        ------
        UserError
            If there are fewer than two images, or the fraction is not between 0 and 1.
        """
        if not 0 < fraction < 1:
            raise UserError(f"a fraction of {fraction} cannot be set aside: choose between 0 and 1")
        if len(self) < 2:
            raise UserError(
                f"{len(self)} image(s) cannot be split into training and validation: "
                "at least 2 are needed"
            )
        count = min(max(round(fraction * len(self)), 1), len(self) - 1)
        order = np.random.default_rng(seed).permutation(len(self))
        return self.subset(sorted(order[count:])), self.subset(sorted(order[:count]))


# --- Which files -----------------------------------------------------------------------------


def list_images(folder: str | Path) -> dict[str, Path]:
    """Find the PNG, JPEG and TIFF files right in a folder, by stem, sorted.

    Hidden files (``.name``), other endings and folders inside are skipped. ``.PNG`` is ``.png``.

    Raises
    ------
    UserError
        If there is no such folder, or two of its files have the same stem.
    """
    folder = Path(folder)
    if not folder.exists():
        raise UserError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise UserError(f"{folder}: is a file, but a folder of images is needed")
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror})") from error
    found: dict[str, Path] = {}
    for path in files:
        if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES or path.is_dir():
            continue
        # A Mac stores "é" as two characters, others as one: compare the one-character form.
        stem = unicodedata.normalize("NFC", path.stem)
        if stem in found:
            raise UserError(
                f"{folder}: {found[stem].name} and {path.name} have the same name before the "
                "ending, so a pair would not be clear: rename or remove one"
            )
        found[stem] = path
    return dict(sorted(found.items()))


def find_pairs(images_dir: str | Path, masks_dir: str | Path) -> list[Pair]:
    """Pair the files of two folders by stem, sorted by stem.

    Files without a partner are left out; `unpaired` lists them.

    Raises
    ------
    UserError
        If a folder is missing, a stem occurs twice in one, or there is no pair at all.
    """
    images, masks = list_images(images_dir), list_images(masks_dir)
    pairs = [Pair(stem, path, masks[stem]) for stem, path in images.items() if stem in masks]
    if not pairs:
        raise UserError(
            f"no pairs: {_found(images_dir, images)} and {_found(masks_dir, masks)}; a mask has "
            "the name of its image (north.jpg and north.png), and PNG, JPEG and TIFF are read"
        )
    return pairs


def unpaired(images_dir: str | Path, masks_dir: str | Path) -> tuple[list[Path], list[Path]]:
    """List the images that have no mask, and the masks that have no image."""
    images, masks = list_images(images_dir), list_images(masks_dir)
    return (
        [path for stem, path in images.items() if stem not in masks],
        [path for stem, path in masks.items() if stem not in images],
    )


def _found(folder: str | Path, files: dict[str, Path]) -> str:
    """Say how many files a folder has, with the first names: ``m has 3 files (a.png, ...)``."""
    names = [path.name for path in files.values()]
    examples = f" ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})" if names else ""
    return f"{folder} has {len(names)} image file{'' if len(names) == 1 else 's'}{examples}"


# --- One file --------------------------------------------------------------------------------


def read_image(path: str | Path) -> np.ndarray:
    """Read a PNG, JPEG or TIFF file, turned the way its EXIF orientation says.

    ==========================  =====================================================
    file                        array
    ==========================  =====================================================
    gray                        1 channel; with transparency 2
    black and white (1 bit)     1 channel, 0 and 255
    color                       3 channels; with transparency 4
    palette                     3 channels, its colors
    CMYK                        4 channels
    16 bits, gray               ``uint16``
    16 bits, color              ``uint8``, with a warning: Pillow keeps the upper 8 bits
    32 bits, gray               ``uint16`` where the values fit, else ``float32``
    floating point, gray        ``float32``
    several frames or pages     the first, with a warning
    ==========================  =====================================================

    Returns
    -------
    array (H, W, C), uint8, uint16 or float32

    Raises
    ------
    UserError
        If the file is missing, empty, truncated or otherwise broken, of another format, larger
        than `MAX_PIXELS`, has more channels than Pillow reads, or holds NaN or infinity.
    """
    image, _ = _decode(path)
    if image.mode in ("P", "PA", "YCbCr"):
        image = image.convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    array = _as_array(image)
    if array.dtype == np.int32:
        array = array.astype(np.float32)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(
            f"{path}: holds NaN or infinity, often a mark for missing data: fill those pixels first"
        )
    return array if array.ndim == 3 else array[:, :, np.newaxis]


def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask: the class of each pixel.

    The number stored in the file is the class: the gray value, the index into a palette (its
    colors do not matter), 0 or 1 in a 1-bit file.

    Returns
    -------
    array (H, W), uint8, uint16 or int32

    Raises
    ------
    UserError
        As `read_image`; also if the mask is a JPEG, has several channels, or holds numbers that
        are not whole.
    """
    image, raw_mode = _decode(path)
    if image.format in ("JPEG", "MPO"):
        raise UserError(
            f"{path}: a mask cannot be a JPEG, whose compression changes the class numbers: "
            "save it as PNG"
        )
    if len(image.getbands()) > 1:
        colors = image.convert("RGB").getcolors(maxcolors=1000)
        count = len(colors) if colors else "over 1000"
        raise UserError(
            f"{path}: is a color image ({image.mode}, {count} colors), but a mask holds one "
            "number for each pixel, its class 0, 1, 2, ...: save it as a gray or palette PNG of "
            "these numbers"
        )
    array = _as_array(image)
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.round(array)).any():
            raise UserError(f"{path}: holds numbers that are not whole, but classes are 0, 1, 2")
        array = array.astype(np.int32)
    # Pillow spreads 2 and 4 bits over 0 to 255, as a picture needs; a class number is the raw one.
    for bits, raw in ((2, "L;2"), (4, "L;4")):
        if raw_mode.startswith(raw):
            array = array // (255 // (2**bits - 1))
    return array


def _decode(path: str | Path) -> tuple[Image.Image, str]:
    """Read a file with Pillow; returns the image, decoded, and Pillow's name of the stored form."""
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path}: is empty (0 bytes)")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's, about odd metadata
            with without_pillows_limit():
                image = Image.open(path, formats=FORMATS)
                frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
            with image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise UserError(
                        f"{path}: claims {height:,} x {width:,} pixels, more than the "
                        f"{MAX_PIXELS:,} that are read: cut it into smaller images"
                    )
                stored = image.tile[0][3] if image.tile else ""
                raw_mode = str(stored if isinstance(stored, str) else stored[0])
                samples = len(image.getbands())
                if image.format == "TIFF":
                    samples = image.tag_v2.get(277, samples)  # 277 is SamplesPerPixel
                if samples > len(image.getbands()):
                    raise UserError(
                        f"{path}: has {samples} channels, of which Pillow reads "
                        f"{len(image.getbands())}: {SAVE_AS}"
                    )
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except Exception as error:  # a broken file can surface in Pillow as any kind of exception
        raise UserError(_what_is_wrong(path, error)) from error
    if frames > 1:
        _warn_once(f"{path}: has {frames} frames or pages; only the first is read")
    if len(image.getbands()) > 1 and ";16" in raw_mode:
        # Without the name: a whole folder is like this.
        _warn_once("color images of 16 bits a channel are read with 8: Pillow keeps the upper 8")
    return image, raw_mode


@functools.cache  # which lets each message through once
def _warn_once(message: str) -> None:
    warnings.warn(message, stacklevel=4)


def _what_is_wrong(path: Path, error: Exception) -> str:
    """Put Pillow's complaint about a file into one line."""
    if isinstance(error, Image.UnidentifiedImageError):
        with open(path, "rb") as file:
            start = file.read(2)
        if start in (b"II", b"MM"):
            return f"{path}: Pillow does not read this TIFF; if it has many channels, {SAVE_AS}"
        return f"{path}: is not a PNG, JPEG or TIFF image, or is broken at its very start"
    if isinstance(error, OSError) and error.strerror:
        return f"{path}: cannot be read ({error.strerror})"
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{path}: is broken or incomplete ({reason}): copy or export it again"


_LIMIT_LOCK = threading.Lock()


@contextlib.contextmanager
def without_pillows_limit() -> Iterator[None]:
    """Lift Pillow's own limit of pixels, a global that is too low for scenes; ours stands in."""
    with _LIMIT_LOCK:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _as_array(image: Image.Image) -> np.ndarray:
    """Copy the pixels out, with the bytes of a number in this computer's order; 32 bits shrink."""
    array = np.array(image)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype == np.int32 and array.min() >= 0 and array.max() <= np.iinfo(np.uint16).max:
        array = array.astype(np.uint16)
    return array


# --- All of them -----------------------------------------------------------------------------


def load_pairs(
    pairs: Sequence[Pair],
    classes: int | None = None,
    ignore_index: int | None = None,
    channels: int | None = None,
    progress: bool = False,
) -> Dataset:
    """Read all pairs into memory and check that they fit together.

    Parameters
    ----------
    pairs : sequence of Pair
        From `find_pairs`.
    classes : int, optional
        How many classes there are; without it any value is accepted, and `number_of_classes`
        tells how many the masks need.
    ignore_index : int, optional
        The mask value of pixels that do not count; it need not be a class.
    channels : int, optional
        How many channels the images must have; without it, as many as the first.
    progress : bool
        Show a progress bar.

    Raises
    ------
    UserError
        If a file cannot be read, an image and its mask differ in size, an image has another
        number of channels, or a mask holds a value that is not a class.
    """
    dataset = Dataset([], [], [])
    for stem, image_path, mask_path in tqdm(pairs, "reading", unit="pair", disable=not progress):
        image, mask = read_image(image_path), read_mask(mask_path)
        if image.shape[:2] != mask.shape:
            raise UserError(
                f"{mask_path}: has {_size(mask)} pixels, but its image {image_path.name} has "
                f"{_size(image)} (height x width): a mask has a class for each pixel of its image"
            )
        if channels is None:
            channels = image.shape[2]
        if image.shape[2] != channels:
            raise UserError(
                f"{image_path}: has {_channels(image.shape[2])}, but {_channels(channels)} "
                f"{'is' if channels == 1 else 'are'} expected, as in the other images: save all "
                "images the same way"
            )
        if classes is not None:
            _check_classes(mask, classes, ignore_index, mask_path)
        dataset.stems.append(stem)
        dataset.images.append(image)
        dataset.masks.append(mask)
    return dataset


def load_instances(dataset: Dataset, folder: str | Path) -> None:
    """Add masks that number the objects, from files with the stems of the images.

    Raises
    ------
    UserError
        If an image has none, one cannot be read, or has another size than the image.
    """
    files = list_images(folder)
    dataset.instances = []
    for stem, mask in zip(dataset.stems, dataset.masks, strict=True):
        if stem not in files:
            raise UserError(f"{folder}: has no instance mask for the image {stem}")
        instances = read_mask(files[stem])
        if instances.shape != mask.shape:
            raise UserError(
                f"{files[stem]}: has {_size(instances)} pixels, but its image has {_size(mask)} "
                "(height x width)"
            )
        dataset.instances.append(instances)


def number_of_classes(masks: Sequence[np.ndarray], ignore_index: int | None = None) -> int:
    """Tell from the masks how many classes there are: the largest value plus one, background too.

    Raises
    ------
    UserError
        If the masks hold one class only, values below 0, or values with large gaps between them,
        such as 0 and 255: those are colors, and would need 256 classes.
    """
    values = np.unique(np.concatenate([np.unique(mask) for mask in masks]))
    values = values[values != ignore_index] if ignore_index is not None else values
    shown = ", ".join(str(value) for value in values[:6]) + (", ..." if len(values) > 6 else "")
    if len(values) < 2:
        raise UserError(
            f"the masks hold a single class ({shown or 'all pixels are ignored'}), so there is "
            "nothing to tell apart: check that they are masks with classes 0, 1, 2, ..."
        )
    if values[0] < 0:
        raise UserError(
            f"the masks hold the value {values[0]}: classes are 0, 1, 2, ...; is it the one to "
            "ignore? Then give it as the ignore index"
        )
    classes = int(values[-1]) + 1
    if 2 * len(values) < classes:
        raise UserError(
            f"the masks hold the values {shown}: that would make {classes} classes, most of them "
            f"without a pixel. {_renumber(values)}"
        )
    return classes


def count_classes(
    masks: Iterable[np.ndarray], classes: int, ignore_index: int | None = None
) -> np.ndarray:
    """Count the pixels of each class, over all masks; ignored pixels are not counted.

    Returns
    -------
    array (classes,), int64

    Raises
    ------
    UserError
        If a mask holds a value that is not a class.
    """
    counts = np.zeros(classes, dtype=np.int64)
    for mask in masks:
        _check_classes(mask, classes, ignore_index, "a mask")
        counted = mask if ignore_index is None else mask[mask != ignore_index]
        counts += np.bincount(counted.ravel(), minlength=classes)
    return counts


def _check_classes(mask: np.ndarray, classes: int, ignore_index: int | None, name) -> None:
    """Raise a `UserError` if a mask holds a value that is neither a class nor the ignored one."""
    wrong = (mask < 0) | (mask >= classes)
    if ignore_index is not None:
        wrong &= mask != ignore_index
    if wrong.any():
        values = np.unique(mask)
        raise UserError(
            f"{name}: holds the value {mask[wrong].max()}, but the {classes} classes are 0 to "
            f"{classes - 1}. {_renumber(values)}"
        )


def _renumber(values: np.ndarray) -> str:
    """Say what to do about mask values that are not 0, 1, 2, ..."""
    if set(values.tolist()) <= {0, 255}:
        return "A mask of 0 and 255 is drawn for the eye: divide it by 255 to get classes 0 and 1"
    if values[-1] == 255:
        return "If 255 marks pixels that do not count, give 255 as the ignore index"
    return "Number the classes 0, 1, 2, ... without gaps"


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]} x {array.shape[1]}"


def _channels(count: int) -> str:
    return f"{count} channel{'' if count == 1 else 's'}"
