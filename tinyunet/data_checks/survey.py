"""What there is in two folders of images and masks: every file looked at once, nothing judged.

Only figures are kept, no pixels, so a data set may be far larger than the memory.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinyunet.data.dataset import Pair, find_pairs, read_image, unpaired
from tinyunet.data_checks.alignment import agreement
from tinyunet.data_checks.repair import RawMask, count_values, read_raw_mask
from tinyunet.errors import UserError
from tinyunet.progress import tqdm

THUMBNAIL = 16  # pixels a side


@dataclass
class PairSummary:
    """What one pair looks like.

    Attributes
    ----------
    pair : Pair
    problems : list of str
        Why the image or the mask could not be read. What could not be read leaves the attributes
        below at their defaults.
    image_shape : tuple (H, W, C)
    image_type : str
        The number type, such as "uint8".
    is_constant : bool
        Whether all pixels of the image are the same.
    digest : bytes
        The same for images whose pixels are the same, whatever the format of the file.
    thumbnail : array (THUMBNAIL * THUMBNAIL,)
        The image's light and dark, coarsely; with mean 0 and length 1 (all 0 if there is none).
    mask_shape : tuple (H, W)
    numbers, colors : Counter or None
        How often each number, each color (0xRRGGBB) occurs in the mask.
    palette : dict
        The color of each number, if the mask has a palette.
    agreement : array or None
        See `tinyunet.data_checks.alignment.agreement`.
    """

    pair: Pair
    problems: list[str] = field(default_factory=list)
    image_shape: tuple = ()
    image_type: str = ""
    is_constant: bool = False
    digest: bytes = b""
    thumbnail: np.ndarray | None = None
    mask_shape: tuple = ()
    numbers: Counter | None = None
    colors: Counter | None = None
    palette: dict = field(default_factory=dict)
    agreement: np.ndarray | None = None

    @property
    def has_mask(self) -> bool:
        """Whether the mask could be read."""
        return self.mask_shape != ()


@dataclass
class Survey:
    """What two folders hold: a `PairSummary` at each pair, and the files without a partner."""

    images_dir: Path
    masks_dir: Path
    looks: list[PairSummary]
    lone_images: list[Path]
    lone_masks: list[Path]


def survey(images_dir: str | Path, masks_dir: str | Path, progress: bool = False) -> Survey:
    """Look at every pair of two folders.

    Raises
    ------
    UserError
        If there are no pairs; see `tinyunet.data.dataset.find_pairs`.
    """
    pairs = find_pairs(images_dir, masks_dir)
    looks = [
        inspect_pair(pair) for pair in tqdm(pairs, "looking", unit="pair", disable=not progress)
    ]
    return Survey(Path(images_dir), Path(masks_dir), looks, *unpaired(images_dir, masks_dir))


def inspect_pair(pair: Pair) -> PairSummary:
    """Read an image and its mask, and note what they are like."""
    look = PairSummary(pair)
    image = mask = None
    try:
        image = read_image(pair.image_path)
        note_image(look, image)
    except UserError as error:
        look.problems.append(str(error))
    try:
        mask = read_raw_mask(pair.mask_path)
        note_mask(look, mask)
    except UserError as error:
        look.problems.append(str(error))
    if image is not None and mask is not None and image.shape[:2] == mask.shape:
        look.agreement = agreement(image, mask.colors if mask.numbers is None else mask.numbers)
    return look


def note_image(look: PairSummary, image: np.ndarray) -> None:
    """Note what the image is like."""
    look.image_shape, look.image_type = image.shape, str(image.dtype)
    look.is_constant = bool((image == image[0, 0]).all())
    content = image
    if content.shape[2] in (2, 4) and content.dtype == np.uint8 and (content[..., -1] == 255).all():
        content = content[:, :, :-1]  # an alpha channel that says nothing
    if (content == content[:, :, :1]).all():
        content = content[:, :, :1]  # gray, stored as colors
    shape = f"{content.shape} {content.dtype}".encode()
    look.digest = hashlib.sha256(shape + np.ascontiguousarray(content).tobytes()).digest()
    look.thumbnail = thumbnail(content)


def note_mask(look: PairSummary, mask: RawMask) -> None:
    """Note what the mask is like."""
    look.mask_shape = mask.shape
    look.numbers = None if mask.numbers is None else count_values(mask.numbers)
    look.colors = None if mask.colors is None else count_values(mask.colors)
    if mask.numbers is not None and mask.colors is not None:
        numbers, first = np.unique(mask.numbers, return_index=True)
        colors = mask.colors.ravel()[first]
        look.palette = dict(zip(numbers.tolist(), colors.tolist(), strict=True))


def thumbnail(image: np.ndarray, side: int = THUMBNAIL) -> np.ndarray:
    """Shrink an image (H, W, C) to the mean light of side x side blocks, mean 0 and length 1."""
    gray = image.mean(axis=2, dtype=np.float64)
    for axis in (0, 1):
        # Blocks may overlap or repeat a pixel where the image is smaller than the thumbnail.
        ends = np.linspace(0, gray.shape[axis], side + 1)
        blocks = [
            np.take(gray, range(int(start), max(int(start) + 1, int(end))), axis).mean(axis)
            for start, end in zip(ends[:-1], ends[1:], strict=True)
        ]
        gray = np.stack(blocks, axis)
    values = gray.ravel() - gray.mean()
    length = np.linalg.norm(values)
    return values / length if length > 1e-6 * (1 + np.abs(gray).max()) else np.zeros_like(values)
