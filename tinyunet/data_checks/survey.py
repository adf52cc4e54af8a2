"""What there is in two folders of images and masks: every file looked at once, nothing judged.

Only figures are kept, no pixels, so a data set may be far larger than the memory.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinyunet.data.class_table import (
    ClassTable,
    MaskSummary,
    open_mask,
    stored_values,
    summarize_mask,
)
from tinyunet.data.dataset import Windowed, fit_together
from tinyunet.data.images import ImageFormat, Raster, open_raster, prepare
from tinyunet.data.pairing import Pair, match
from tinyunet.data_checks.alignment import agreement
from tinyunet.errors import UserError
from tinyunet.progress import tqdm

LARGE = 50_000_000  # pixels: of larger scenes only every so many rows and columns are looked at


@dataclass
class PairSummary:
    """What one pair looks like.

    Attributes
    ----------
    pair : Pair
    problems : list of str
        Why the image or the mask could not be read, or do not fit together. What could not be read
        leaves the attributes below at their defaults.
    image_shape : tuple (H, W, C)
    image_format : ImageFormat or None
    is_constant : bool
        Whether all pixels of the image are the same.
    missing : float
        The share of the pixels that are no data.
    digest : bytes
        The same for images whose pixels are the same, whatever the format of the file.
    mask : MaskSummary or None
    agreement : array or None
        See `tinyunet.data_checks.alignment.agreement`.
    """

    pair: Pair
    problems: list[str] = field(default_factory=list)
    image_shape: tuple = ()
    image_format: ImageFormat | None = None
    is_constant: bool = False
    missing: float = 0.0
    digest: bytes = b""
    mask: MaskSummary | None = None
    agreement: np.ndarray | None = None


@dataclass
class Survey:
    """What two folders hold: a `PairSummary` of each pair, and the files without a partner."""

    images_dir: Path
    masks_dir: Path
    summaries: list[PairSummary]
    lone_images: list[Path]
    lone_masks: list[Path]
    options: dict


def survey(
    images: str | Path,
    masks: str | Path,
    table: ClassTable | None = None,
    progress: bool = False,
    **options,
) -> Survey:
    """Look at every pair of two folders; `options` are those of `inspect_pair`.

    Raises
    ------
    UserError
        If there are no pairs; see `tinyunet.data.pairing.find_pairs`.
    """
    pairs, lone_images, lone_masks = match(images, masks)
    summaries = [
        inspect_pair(pair, table, **options)
        for pair in tqdm(pairs, "looking", unit="pair", disable=not progress)
    ]
    return Survey(Path(images), Path(masks), summaries, lone_images, lone_masks, options)


def inspect_pair(
    pair: Pair, table: ClassTable | None = None, bands=None, alpha=None, exif=None
) -> PairSummary:
    """Read an image and its mask as training does, and note what they are like."""
    summary = PairSummary(pair)
    image = mask = None
    by_color = table is not None and table.by_color
    try:
        image = open_raster(pair.image_path)
        chosen = prepare(image, bands, alpha)
        note_image(summary, chosen)
        summary.image_format = ImageFormat.of(chosen)
    except UserError as error:
        summary.problems.append(str(error))
    try:
        mask = open_mask(pair.mask_path)
        if image is not None and not summary.problems:
            chosen = prepare(fit_together(image, mask, exif), bands, alpha)
            middle = [
                slice(max(0, side - 1024) // 2, (side + 1024) // 2) for side in mask.shape[:2]
            ]
            edges = stored_values(mask, *middle)[0]
            summary.agreement = agreement(chosen.pixels(*middle), edges)
            summary.mask = summarize_mask(mask, by_color, chosen)
        else:
            summary.mask = summarize_mask(mask, by_color)
    except UserError as error:
        summary.problems.append(str(error))
    return summary


def note_image(summary: PairSummary, image: Raster) -> None:
    """Note what the image is like."""
    pixels, valid = sample_of(image)
    summary.image_shape = image.shape
    data = pixels[valid]
    summary.missing = 1 - valid.mean()
    summary.is_constant = bool((data == data[:1]).all())
    if (data == data[:, :1]).all():
        pixels = pixels[:, :, :1]  # gray, stored as colors
    pixels = np.where(valid[:, :, None], pixels, 0)
    shape = f"{pixels.shape} {pixels.dtype}".encode()
    summary.digest = hashlib.sha256(shape + np.ascontiguousarray(pixels).tobytes()).digest()


def sample_of(image: Raster) -> tuple[np.ndarray, np.ndarray]:
    """Read an image and which pixels are data; of a large scene only every so many rows."""
    every = max(1, round((image.shape[0] * image.shape[1] / LARGE) ** 0.5 + 0.49))
    if every == 1:
        pixels, valid = image.read(slice(None), slice(None))
        return pixels, np.ones(pixels.shape[:2], bool) if valid is None else valid
    steps = slice(None, None, every), slice(None, None, every)
    pixels = Windowed(image.shape, image.dtype, image.pixels)[steps]
    return pixels, Windowed(image.shape[:2], bool, image.valid)[steps]
