"""Which part of the data judges: a region of its own, with every class in it.

Neighboring pixels resemble each other. If some of them train the network and those between them
judge it, the judgment is too kind. So a spatial split sets a block of each scene aside, and a strip
around it that belongs to nobody. Where it lies is chosen so that the block has its share of every
class. A scene may be one image, or lie there in pieces: tiles that are named by their first pixel.
"""

import itertools
import re
import sys
from collections import defaultdict
from functools import partial
from operator import itemgetter

import numpy as np

from tinyunet.backend import random_generator
from tinyunet.data.dataset import Dataset, count_classes
from tinyunet.data.images import blocks, warn_once
from tinyunet.errors import UserError

NAME = re.compile(r"(?P<scene>.*)_r(?P<row>\d+)_c(?P<column>\d+)")
BINS = 64  # strips of a scene that are counted: the block consists of some of them
JUDGED = 4_000_000  # pixels of large scenes that are predicted at each checkpoint
WINDOW = 512  # pixels a side of what is picked for that


def spatial_split(
    dataset: Dataset, fraction: float, buffer: int = 0, smallest: int = 1
) -> tuple[Dataset, Dataset]:
    """Divide scenes, whole or in tiles, by region: a block of each scene is for validation.

    Parameters
    ----------
    dataset : Dataset
        Tiles, with names as `tinyunet.data.tiles` gives them, or whole scenes.
    fraction : float
        Share to set aside, between 0 and 1.
    buffer : int
        Pixels of a scene between the two parts that belong to neither.
    smallest : int
        Parts with a shorter side are dropped.

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
    scenes = defaultdict(list)  # the images of each: index, and where its first pixel lies
    for index, (scene, place) in enumerate(places_of(dataset)):
        scenes[scene].append((index, place))
    training, validation = [], []
    for pieces in scenes.values():
        axis, start, stop = choose_block(dataset, pieces, fraction)
        between = partial(cut, dataset, pieces, axis, smallest)
        judge = between(start, stop)
        rest = between(0, start - buffer) + between(stop + buffer, sys.maxsize)
        if not judge or not rest:  # no room for two parts
            judge, rest = [], between(0, sys.maxsize)
        training += rest
        validation += judge
    if not training or not validation:
        raise UserError(
            "a spatial split needs a scene with room for two parts and, between them, a receptive "
            f"field ({buffer} pixels): choose a smaller crop or depth, or give --val-images"
        )
    return dataset.parts(sorted(training, key=itemgetter(1))), dataset.parts(validation)


def choose_block(dataset: Dataset, pieces: list, fraction: float) -> tuple[int, int, int]:
    """Choose the rows (axis 0) or columns (axis 1) of a scene that judge: axis, start and stop.

    The scene is counted in strips along its longer side: those between the first pixels of its
    tiles, or, of one image, `BINS` of equal width.
    """
    table = dataset.table
    ignored = table.ignore_index if table else None
    classes = len(table.names) if table else 1 + max(m[:, :].max() for m in dataset.masks)
    first = np.array([place for _, place in pieces])
    last = first + [dataset.masks[index].shape for index, _ in pieces]
    height, width = np.ptp([*first, *last], axis=0)
    axis = int(width >= height)
    begins, end = sorted({*first[:, axis].tolist()}), int(last[:, axis].max())
    if len(pieces) == 1:
        begins = [*range(begins[0], end, -(-(end - begins[0]) // BINS))]
    strips = [cut(dataset, pieces, axis, 1, *ends) for ends in itertools.pairwise([*begins, end])]
    masks = [dataset.parts(strip).masks for strip in strips]
    counts = np.array([count_classes(each, classes, ignored) for each in masks])
    _, start, stop = best_block(counts, fraction)
    return axis, begins[start], [*begins, end][stop]


def cut(dataset: Dataset, pieces: list, axis: int, smallest: int, start: int, stop: int) -> list:
    """Cut out what lies between two rows or columns of a scene; see `Dataset.parts`."""
    parts = []
    for index, place in pieces:
        window = [slice(0, side) for side in dataset.masks[index].shape]
        side = window[axis].stop
        first, last = max(start - place[axis], 0), min(stop - place[axis], side)
        name = dataset.stems[index]
        if last - first < side:
            window[axis] = slice(first, last)
            name += "_r{0.start}-{0.stop}_c{1.start}-{1.stop}".format(*window)
        if last - first >= min(side, smallest):
            parts.append((name, index, *window))
    return parts


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
    strips, total = len(counts), counts.sum(axis=0)
    if strips < 2:
        return -1.0, 0, 0
    width = min(max(round(fraction * strips), 1), strips - 1)
    sums = np.concatenate([np.zeros_like(counts[:1]), np.cumsum(counts, axis=0)])
    # The share of each class in each block, (blocks, K).
    shares = ((sums[width:] - sums[:-width]) / np.maximum(total, 1))[:, total > 0]
    scores = np.minimum(shares / fraction, (1 - shares) / (1 - fraction)).min(axis=1)
    scores[1:-1] -= 0.1  # those at the ends have one border only, and the last comes first
    first = len(scores) - 1 - int(scores[::-1].round(9).argmax())
    return float(scores[first]), first, first + width


def limit_validation(validation: Dataset, judged: int = JUDGED) -> Dataset:
    """Pick windows spread over large scenes, so that a checkpoint doesn't take an hour.

    If no image has more than `judged` pixels, all stay as they are.
    """
    if max(mask.shape[0] * mask.shape[1] for mask in validation.masks) <= judged:
        return validation
    windows = cut_into_tiles(validation, WINDOW)
    warn_once(f"validation looks at windows of {WINDOW} x {WINDOW} pixels, not at all there is")
    count = min(len(windows), judged // WINDOW**2)
    return windows.subset(np.linspace(0, len(windows) - 1, count).round())


def cut_into_tiles(dataset: Dataset, side: int) -> Dataset:
    """Cut images into tiles that are named by their place; tiles from ``tinyunet tile`` stay."""
    if all(NAME.fullmatch(stem) for stem in dataset.stems):
        return dataset
    return dataset.parts(
        (f"{stem}_r{rows.start}_c{columns.start}", index, rows, columns)
        for index, (stem, mask) in enumerate(zip(dataset.stems, dataset.masks, strict=True))
        for rows, columns in blocks(mask.shape, side)
        # What is narrower than half a crop can't be mirrored to a whole one.
        if 2 * min(rows.stop - rows.start, columns.stop - columns.start) >= side
    )


def places_of(dataset: Dataset) -> list[tuple[str, tuple[int, int]]]:
    """Tell of each image in which scene its first pixel lies, and where; by the names of tiles."""
    tiles = [NAME.fullmatch(stem) for stem in dataset.stems]
    if not all(tiles):
        return [(stem, (0, 0)) for stem in dataset.stems]
    return [(tile["scene"], (int(tile["row"]), int(tile["column"]))) for tile in tiles]


def folds_of(dataset: Dataset, split: str, count: int, seed: int, buffer: int = 0):
    """Divide tiles into folds; returns for each a pair of data sets, to train and to judge.

    A spatial fold is a region: tiles in the order of their scenes and, within a scene, along the
    longer side; those that lie nearer to it than `buffer` pixels train no network. A random fold is
    drawn from everywhere, and so are the tiles to train on, as many as a spatial fold leaves: the
    two differ in nothing but where the tiles lie.

    Raises
    ------
    UserError
        If there are fewer tiles than folds, or none are left to train on.
    """
    if len(dataset) < count:
        raise UserError(f"{len(dataset)} tiles are too few for {count} folds: cut smaller ones")
    names, starts = map(np.array, zip(*places_of(dataset), strict=True))
    scenes = np.unique(names, return_inverse=True)[1]
    stops = starts + [mask.shape for mask in dataset.masks]
    height, width = stops.max(axis=0)
    across, along = (0, 1) if width > height else (1, 0)
    by_place = np.lexsort((starts[:, across], starts[:, along], scenes))
    rng = random_generator(seed)
    drawn = rng.permutation(len(dataset))
    parts = []
    for region, sample in zip(*(np.array_split(o, count) for o in (by_place, drawn)), strict=True):
        # Pixels between each tile (tiles, 1, 2) and those of the region (1, tiles, 2).
        gap = np.maximum(starts[:, None] - stops[region], starts[region] - stops[:, None])
        near = ((scenes[:, None] == scenes[region]) & (gap.max(axis=2) < buffer)).any(axis=1)
        rest = np.flatnonzero(~near)
        if not len(rest):
            fault = f"no tile is {buffer} pixels (the receptive field) away from a fold"
            raise UserError(f"{fault}: choose a smaller --depth or --crop-size")
        judged = region
        if split == "random":
            judged, rest = sample, rng.permutation(np.setdiff1d(drawn, sample))[: len(rest)]
        parts.append((dataset.subset(sorted(rest)), dataset.subset(sorted(judged))))
    return parts
