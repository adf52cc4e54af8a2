"""Which part of the data judges: a region of its own, with every class in it.

Neighboring pixels resemble each other. If some of them train the network and those between them
judge it, the judgment is too kind. So a spatial split sets a block aside, of each scene or of the
tiles of each scene. Where it lies is chosen so that the block has its share of every class.
"""

import itertools
import re
import warnings
from collections import defaultdict

import numpy as np

from tinyunet.data.dataset import Dataset
from tinyunet.data.images import blocks
from tinyunet.errors import UserError

NAME = re.compile(r"(?P<scene>.*)_r(?P<row>\d+)_c(?P<column>\d+)")
BINS = 64  # strips of a scene that are counted: the block consists of some of them
JUDGED = 4_000_000  # pixels of large scenes that are predicted at each checkpoint
WINDOW = 512  # pixels a side of what is picked for that


def spatial_split(
    dataset: Dataset, fraction: float, buffer: int = 0, smallest: int = 1
) -> tuple[Dataset, Dataset]:
    """Divide tiles or scenes by region: a block of each scene is for validation.

    Parameters
    ----------
    dataset : Dataset
        Tiles, with names as `tinyunet.data.tiles` gives them, or whole scenes.
    fraction : float
        Share to set aside, between 0 and 1.
    buffer : int
        Pixels of a scene between the two parts that belong to neither.
    smallest : int
        Parts of a scene with a shorter side are dropped.

    Returns
    -------
    training, validation : Dataset

    Raises
    ------
    UserError
        If the fraction is not between 0 and 1, or no scene has room for two parts.
    """
    if not 0 < fraction < 1:
        raise UserError(f"a fraction of {fraction} cannot be set aside: choose between 0 and 1")
    if all(NAME.fullmatch(stem) for stem in dataset.stems):
        parts = _split_tiles(dataset, fraction)
        training, validation = (dataset.subset(sorted(indices)) for indices in parts)
    else:
        parts = ([], [])
        for index in range(len(dataset)):
            for part, found in zip(
                parts, _split_scene(dataset, index, fraction, buffer, smallest), strict=True
            ):
                part += found
        training, validation = map(dataset.parts, parts)
    if not len(training) or not len(validation):
        raise UserError(
            "a spatial split needs a scene with room for two parts (or at least two tiles of one "
            "that do not overlap): cut smaller tiles, choose a smaller crop, or give --val-images"
        )
    return training, validation


def best_block(counts: np.ndarray, fraction: float) -> tuple[float, int, int]:
    """Choose a block of strips that has its share of every class.

    Parameters
    ----------
    counts : array (strips, K)
        Pixels of each class in each strip, or tiles.
    fraction : float
        The share that is wanted.

    Returns
    -------
    score : float
        1 if every class is divided as wanted, 0 if one is missing on a side.
    first, last : int
        The block is ``strips[first:last]``; at least one strip stays outside.
    """
    strips = len(counts)
    if strips < 2:
        return -1.0, 0, 0
    width = min(max(round(fraction * strips), 1), strips - 1)
    total = counts.sum(axis=0)
    present = total > 0
    sums = np.concatenate([np.zeros_like(counts[:1]), np.cumsum(counts, axis=0)])
    best = (-1.0, 0, 0)
    # The block at the end comes first, then that at the beginning: they have one border only.
    for first in sorted(range(strips - width + 1), key=lambda k: (k != strips - width, k != 0)):
        share = (sums[first + width] - sums[first])[present] / total[present]
        score = float(min((share / fraction).min(), ((1 - share) / (1 - fraction)).min()))
        score -= 0.1 * (first not in (0, strips - width))
        if score > best[0] + 1e-9:
            best = (score, first, first + width)
    return best


def _classes_of(dataset: Dataset) -> tuple[int, int | None]:
    """Tell how many classes there are, and which number does not count."""
    if dataset.table is not None:
        return len(dataset.table.names), dataset.table.ignore_index
    return 1 + max(
        int(mask[window].max()) for mask in dataset.masks for window in blocks(mask.shape)
    ), None


def _split_tiles(dataset: Dataset, fraction: float) -> tuple[list[int], list[int]]:
    """Choose for each scene the rows or columns of tiles that judge; those that overlap go."""
    scenes = defaultdict(list)
    for index, stem in enumerate(dataset.stems):
        found = NAME.fullmatch(stem)
        scenes[found["scene"]].append((index, (int(found["row"]), int(found["column"]))))
    classes, ignore = _classes_of(dataset)
    counts = [
        np.bincount(np.asarray(mask[:, :]).ravel(), minlength=classes)[:classes]
        for mask in dataset.masks
    ]
    training, validation = [], []
    for tiles in scenes.values():
        parts, best = ([index for index, _ in tiles], []), -1.0
        sides = [sorted({place[axis] for _, place in tiles}) for axis in (0, 1)]
        for axis in (1, 0) if len(sides[1]) >= len(sides[0]) else (0, 1):
            begins = sides[axis]
            strips = np.zeros((len(begins), classes))
            for index, place in tiles:
                strips[begins.index(place[axis])] += counts[index]
            score, first, last = best_block(strips, fraction)
            chosen = begins[first:last]
            ends = {k: place[axis] + dataset.images[k].shape[axis] for k, place in tiles}
            inside = [k for k, place in tiles if place[axis] in chosen]
            stop = max((ends[k] for k in inside), default=0)
            outside = [k for k, place in tiles if place[axis] >= stop or ends[k] <= chosen[0]]
            # The longer side comes first: it divides more finely.
            if inside and outside and score > best + 0.1:
                parts, best = (outside, inside), score
        training += parts[0]
        validation += parts[1]
    return training, validation


def _split_scene(dataset: Dataset, index: int, fraction: float, buffer: int, smallest: int):
    """Cut a scene into parts for training and one for validation: (name, index, rows, columns)."""
    stem, mask = dataset.stems[index], dataset.masks[index]
    classes, _ = _classes_of(dataset)
    sides = mask.shape
    steps = [max(1, -(-side // BINS)) for side in sides]
    strips = [
        np.zeros((-(-side // step), classes)) for side, step in zip(sides, steps, strict=True)
    ]
    for window in blocks(sides):
        labels = mask[window].astype(np.int64)
        for axis in (0, 1):
            position = np.arange(window[axis].start, window[axis].stop) // steps[axis]
            position = position[:, None] if axis == 0 else position[None, :]
            counted = labels < classes
            cells = (position * classes + np.where(counted, labels, 0))[counted]
            strips[axis] += np.bincount(cells, minlength=strips[axis].size).reshape(-1, classes)
    order = (1, 0) if sides[1] >= sides[0] else (0, 1)
    scored = [
        (*best_block(strips[axis], fraction), axis) for axis in order if len(strips[axis]) > 1
    ]
    if not scored:
        return [(stem, index, slice(0, sides[0]), slice(0, sides[1]))], []
    best = max(scored, key=lambda block: block[0] + 0.1 * (block[3] == order[0]))
    _, first, last, axis = best
    start, stop = first * steps[axis], min(last * steps[axis], sides[axis])

    def cut(begin: int, end: int) -> list:
        rows, columns = (
            slice(begin, end) if k == axis else slice(0, side) for k, side in enumerate(sides)
        )
        name = f"{stem}_r{rows.start}-{rows.stop}_c{columns.start}-{columns.stop}"
        long_enough = end - begin >= smallest
        return [(name, index, rows, columns)] if long_enough else []

    training = cut(0, start - buffer) + cut(stop + buffer, sides[axis])
    validation = cut(start, stop)
    if not training or not validation:
        return [(stem, index, slice(0, sides[0]), slice(0, sides[1]))], []
    return training, validation


def limit_validation(validation: Dataset, judged: int = JUDGED) -> Dataset:
    """Pick windows spread over large scenes, so that a checkpoint doesn't take an hour.

    Images of at most `judged` pixels stay as they are.
    """
    places, picked = [], 0
    large = sum(mask.shape[0] * mask.shape[1] > judged for mask in validation.masks)
    for index, (stem, mask) in enumerate(zip(validation.stems, validation.masks, strict=True)):
        height, width = mask.shape
        if height * width <= judged:
            places.append((stem, index, slice(0, height), slice(0, width)))
            continue
        side = min(WINDOW, height, width)
        tops, lefts = range(0, height - side + 1, side), range(0, width - side + 1, side)
        windows = list(itertools.product(tops, lefts))
        most = min(len(windows), max(1, judged // large // side**2))
        for k in np.linspace(0, len(windows) - 1, most).round().astype(int):
            top, left = windows[k]
            window = slice(top, top + side), slice(left, left + side)
            places.append((f"{stem}_r{top}_c{left}", index, *window))
        picked += most
    if not picked:
        return validation
    warnings.warn(
        f"validation looks at {picked} windows of {WINDOW} x {WINDOW} pixels, spread over what is "
        "set aside; 'tinyunet evaluate' judges all of an image",
        stacklevel=2,
    )
    return validation.parts(places)
