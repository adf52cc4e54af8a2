"""Which mask belongs to which image: by file name, in two folders, in one, or as two files.

``images/north.jpg`` belongs to ``masks/north.png``: the name without its ending, the *stem*, makes
the pair. Where no stems are equal, a word that the masks share is looked for: ``north_mask.png``.
"""

import os
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

from tinyunet.data.images import Raster, listed, warn_once
from tinyunet.errors import UserError, problems_named

SUFFIXES = tuple(".png .jpg .jpeg .jfif .tif .tiff .bmp .webp .gif .jp2 .j2k".split())
# Files that usually lie beside images, and are not missed.
COMPANIONS = tuple(".txt .csv .json .xml .tfw .pgw .jgw .wld .prj .ovr .msk .qml .md .npz".split())
# What names have beside that of the pair: north_sat.jpg with north_mask.png, img_1 with mask_1.
IMAGE_WORD = "(image|img|sat|rgb|leftImg8bit|training|test)"
IMAGE_AFFIX = re.compile(rf"^{IMAGE_WORD}[_\-. ]?|[_\-. ]{IMAGE_WORD}$", re.IGNORECASE)
MASK_WORD = re.compile(r"mask|label|gt|seg|annot|truth|matte|class", re.IGNORECASE)
BOUNDARY = re.compile(r"[_\-. ]|(?<=[a-z])(?=\d)")


class Pair(NamedTuple):
    """An image and its mask, as files or open already; the stem of the image is their name."""

    stem: str
    image_path: str | Path | Raster
    mask_path: str | Path | Raster


def list_images(place: str | Path) -> dict[str, Path]:
    """Find the image files right in a folder, by stem, sorted; or give the single file.

    Hidden files (``.name``) and folders inside are skipped. ``.PNG`` is ``.png``. Files with
    endings that are not read here are named in a warning.

    Raises
    ------
    UserError
        If there is no such folder or file, or two files have the same stem.
    """
    place = Path(place)
    if not place.exists():
        raise UserError(f"{place}: no such {'file' if place.suffix else 'folder'}")
    if place.is_file():
        return {unicodedata.normalize("NFC", place.stem): place}
    with problems_named(place, "cannot be listed"):
        files = [path for path in place.iterdir() if path.name[0] != "." and not path.is_dir()]
    found: dict[str, Path] = {}
    left_out = []
    for path in sorted(files):
        # A Mac stores "é" as two characters, others as one: compare the one-character form.
        stem = unicodedata.normalize("NFC", path.stem)
        if path.suffix.lower() not in SUFFIXES:
            left_out += [path.name] * (path.suffix.lower() not in COMPANIONS)
        elif stem in found:
            names = f"{found[stem].name} and {path.name}"
            raise UserError(f"{place}: {names} could both be one of a pair: rename or remove one")
        else:
            found[stem] = path
    if left_out:
        warn_once(f"{place}: {len(left_out)} files are not read here: {listed(left_out)}")
    return dict(sorted(found.items()))


def find_pairs(images: str | Path, masks: str | Path) -> list[Pair]:
    """Pair images with masks, sorted by stem; files without a partner are left out.

    Parameters
    ----------
    images, masks : path
        Two folders, one folder that holds both, or two files.

    Raises
    ------
    UserError
        If a place is missing, a stem occurs twice in one, there is no pair at all, or images and
        masks are the same.
    """
    return match(images, masks)[0]


def match(images: str | Path, masks: str | Path) -> tuple[list[Pair], list[Path], list[Path]]:
    """Pair images with masks: the pairs, images without a mask, masks without an image."""
    image_files, mask_files = list_images(images), list_images(masks)
    same = os.path.realpath(images) == os.path.realpath(masks)
    if Path(images).is_file() and Path(masks).is_file():
        mask_of = {} if same else dict(zip(image_files, mask_files, strict=True))
    else:
        mask_of = {stem: stem for stem in image_files if stem in mask_files and not same}
        mask_of = mask_of or _match_by_affix(list(image_files), list(mask_files), same)
    if not mask_of:
        first, second = (listed(each, 1) or "no image files" for each in (image_files, mask_files))
        found = f"{images} has {first}, {masks} has {second}"
        found = f"{images} is given for images and masks" if same else found
        hint = "a mask has the name of its image and, in one folder, a suffix such as _mask"
        raise UserError(f"no pairs: {found}; {hint} (north.jpg with north_mask.png)")
    pairs = [Pair(stem, image_files[stem], mask_files[mask_of[stem]]) for stem in sorted(mask_of)]
    used = {path for pair in pairs for path in pair[1:]}
    alone = [path for path in image_files.values() if path not in used]
    lone = [path for path in mask_files.values() if path not in used and not same]
    return pairs, alone, lone


def _match_by_affix(images: list[str], masks: list[str], same: bool) -> dict[str, str]:
    """Find what most masks add to the stem of an image, at its end or its beginning."""
    bases = {IMAGE_AFFIX.sub("", stem): stem for stem in reversed(images)}
    bases |= {stem: stem for stem in images}
    found: dict[str, dict[str, str]] = {}
    for mask in masks:
        cuts = [cut.span() for cut in BOUNDARY.finditer(mask)]
        parts = [(mask[:start], mask[start:]) for start, _ in cuts]
        for base, affix in [*parts, *((mask[end:], mask[:end]) for _, end in cuts)]:
            if bases.get(base, mask) != mask and (MASK_WORD.search(affix) or not same):
                found.setdefault(affix, {})[bases[base]] = mask
    if not found:
        return {}
    affix, pairs = max(found.items(), key=lambda each: (len(each[1]), "label" in each[0].lower()))
    warn_once(f"{len(pairs)} masks are paired by {affix!r} in their names")
    return pairs
