"""Images with their masks: in memory, or in scenes so large that only parts are read."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tinyunet.data import class_table
from tinyunet.data.class_table import ClassTable, open_mask, stored_values
from tinyunet.data.images import ImageFormat, Place, Raster, blocks, in_format, open_raster, prepare
from tinyunet.data.pairing import Pair
from tinyunet.errors import UserError
from tinyunet.progress import tqdm

CACHE = 2_000_000_000  # bytes: larger scenes are read by windows


class Windowed:
    """An array (H, W) or (H, W, C) that is read from its file where it is asked for.

    ``array[rows, columns]`` with two slices gives an ordinary array, as for any other.

    Parameters
    ----------
    shape : tuple
    dtype : numpy.dtype
    read : function
        ``read(rows, columns)`` reads a window; both are slices with a start and a stop.
    corner : (int, int)
        The row and the column of the file where it begins.
    """

    def __init__(self, shape: tuple, dtype, read: Callable, corner: tuple = (0, 0)):
        self.shape, self.dtype, self.read = tuple(shape), np.dtype(dtype), read
        self.corner = corner

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        """Read a window; with steps, only a strip of rows is in memory at a time."""
        (top, bottom, down), (left, right, along) = map(slice.indices, window, self.shape[:2])
        y, x = self.corner
        columns = slice(x + left, x + right)
        if down == along == 1:
            return self.read(slice(y + top, y + bottom), columns)
        rows = [slice(y + row, y + row + 1) for row in range(top, bottom, down)]
        return np.concatenate([self.read(row, columns)[:, ::along] for row in rows])

    def part(self, rows: slice, columns: slice) -> "Windowed":
        """Give a part of it, without reading."""
        (top, bottom, _), (left, right, _) = map(slice.indices, (rows, columns), self.shape[:2])
        shape, (y, x) = (bottom - top, right - left, *self.shape[2:]), self.corner
        return Windowed(shape, self.dtype, self.read, (y + top, x + left))


def part_of(array, rows: slice, columns: slice):
    """Give a part of an array or `Windowed`; nothing is read or copied. No array has no part."""
    if array is None:
        return None
    return array.part(rows, columns) if isinstance(array, Windowed) else array[rows, columns]


def mirrored(position, length):
    """Turn any whole positions into indices: with 4 pixels, -2 ... 5 become 2 1 0 1 2 3 2 1."""
    if length == 1:
        return np.zeros(np.shape(position), dtype=int)
    period = 2 * (length - 1)  # there and back
    position = np.asarray(position).astype(int) % period
    return np.minimum(position, period - position)


def read_mirrored(array, rows: slice, columns: slice) -> np.ndarray | None:
    """Read a window that may reach beyond an array (H, W, ...), where it is mirrored; or None."""
    if array is None:
        return None
    if rows.start >= 0 <= columns.start and all(
        part.stop <= side for part, side in zip((rows, columns), array.shape, strict=False)
    ):
        return array[rows, columns]
    down = mirrored(np.arange(rows.start, rows.stop), array.shape[0])
    along = mirrored(np.arange(columns.start, columns.stop), array.shape[1])
    around = array[down.min() : down.max() + 1, along.min() : along.max() + 1]
    return around[(down - down.min())[:, None], along - along.min()]


@dataclass
class Dataset:
    """Images with their masks.

    Attributes
    ----------
    stems : list of str
        A name for each image, for messages.
    images : list of array (H, W, C), or `Windowed`
        Sizes may vary from image to image, C does not.
    masks : list of array (H, W), integers, or `Windowed`
        The class of each pixel.
    valid : list of array (H, W) of bool, `Windowed` or None, optional
        Which pixels are data; None where all are.
    table : ClassTable, optional
        Through which the masks were read; it has the names of the classes.
    image_format : ImageFormat, optional
        What the numbers of the images mean.
    sources : list of str, optional
        The names of all images that were read, before some were set aside.
    """

    stems: list[str]
    images: list[np.ndarray]
    masks: list[np.ndarray]
    valid: list | None = None
    table: ClassTable | None = None
    image_format: ImageFormat | None = None
    sources: list[str] | None = None

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    @property
    def channels(self) -> int:
        """The number of channels, the same for all images."""
        return self.images[0].shape[-1]

    def subset(self, indices: Iterable[int]) -> "Dataset":
        """Pick some of the images with their masks; nothing is copied."""
        whole = slice(None)
        return self.parts((self.stems[k], k, whole, whole) for k in map(int, indices))

    def parts(self, places: Iterable[tuple[str, int, slice, slice]]) -> "Dataset":
        """Cut parts out of the images: (name, index of the image, rows, columns) each."""
        places = list(places)

        def cut(arrays):
            return arrays and [part_of(arrays[k], rows, columns) for _, k, rows, columns in places]

        names = ("images", "masks", "valid")
        arrays = {name: cut(getattr(self, name)) for name in names}
        return replace(self, stems=[name for name, *_ in places], **arrays)

    def pair(self, index: int) -> tuple:
        """Read an image, its mask, and which pixels are data, whole: None if all are."""
        valid = self.valid_of(index)
        whole = None if valid is None else valid[:, :]
        return self.images[index][:, :], self.masks[index][:, :], whole

    def valid_of(self, index: int):
        """Tell which pixels of an image are data; None if all are."""
        return None if self.valid is None else self.valid[index]

    def valid_pixels(self) -> Iterator[np.ndarray]:
        """Give the pixels that are data, block by block: arrays (pixels, C)."""
        for index, image in enumerate(self.images):
            valid = self.valid_of(index)
            for window in blocks(image.shape):
                pixels = image[window]
                data = slice(None) if valid is None else valid[window].ravel()
                yield pixels.reshape(-1, pixels.shape[-1])[data]

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
        if len(self) < 2 or not 0 < fraction < 1:
            fault = "a split needs at least 2 images and a fraction between 0 and 1"
            raise UserError(f"{fault}, not {len(self)} and {fraction}: try --val-split spatial")
        count = min(max(round(fraction * len(self)), 1), len(self) - 1)
        order = np.random.default_rng(seed).permutation(len(self))
        return self.subset(sorted(order[count:])), self.subset(sorted(order[:count]))


# --- From files --------------------------------------------------------------------------------


def read_mask(path: str | Path) -> np.ndarray:
    """Read the numbers that a mask stores, (H, W), before a class table gives them a meaning."""
    return stored_values(open_mask(path))[0]


def open_pair(pair: Pair) -> tuple[Raster, Raster]:
    """Open an image and its mask, and see that they show the same pixels.

    Raises
    ------
    UserError
        If one cannot be read, their sizes or places differ, or EXIF data turn the image only: the
        mask may have been drawn on the turned image, or on the pixels as they are stored.
    """
    image, mask = open_raster(pair.image_path), open_mask(pair.mask_path)
    if image.turned and not mask.turned:
        fault = "its EXIF data say that it is to be turned, and those of its mask do not"
        remedy = "turn the pixels (magick mogrify -auto-orient) or drop it (exiftool -Orientation=)"
        raise UserError(f"{image.path}: {fault}: {remedy}, as fits the mask")
    if image.shape[:2] != mask.shape[:2]:
        sizes = "has {} x {} pixels, but its image {} has {} x {} (height x width)"
        sizes = sizes.format(*mask.shape[:2], image.path.name, *image.shape[:2])
        raise UserError(f"{mask.path}: {sizes}: they must have the same")
    if apart := places_apart(image.place, mask.place, image.shape):
        raise UserError(f"{mask.path}: {apart} its image {image.path.name}")
    return image, mask


def places_apart(first: Place | None, second: Place | None, shape) -> str:
    """Say how far two places are apart, if more than a hundredth of a pixel; else "".

    The result reads on with a name: "lies 300 pixels to the right and 0 down from" ...
    """
    if first is None or second is None:
        return ""
    if first.crs and second.crs:
        from rasterio.crs import CRS

        ours, theirs = (CRS.from_wkt(place.crs) for place in (first, second))
        if ours != theirs:
            names = (system.to_string()[:60] for system in (theirs, ours))
            return "is in the coordinate system {}, and {} is that of".format(*names)
    ours, theirs = (np.reshape([*place.transform, 0, 0, 1], (3, 3)) for place in (first, second))
    corners = itertools.product((0, shape[1]), (0, shape[0]), (1,))
    moves = [np.linalg.solve(ours, theirs @ corner) - corner for corner in corners]
    largest = max(moves, key=lambda move: np.abs(move).max()).round(4) + 0.0
    if np.abs(largest).max() <= 0.01:
        return ""
    return f"lies {largest[0]:.4g} pixels to the right and {largest[1]:.4g} down from"


@contextlib.contextmanager
def refusals(refused: list[UserError] | None) -> Iterator[None]:
    """Collect the errors of what is done inside, if there is a list for them."""
    try:
        yield
    except UserError as error:
        if refused is None:
            raise
        refused.append(error)


def load_pairs(
    pairs: Sequence[Pair],
    table: ClassTable | None = None,
    *,
    class_names: Sequence[str] | None = None,
    ignore: int | None = None,
    image_format: ImageFormat | None = None,
    bands: Sequence[int] | None = None,
    alpha: str | None = None,
    cache: int = CACHE,
    progress: bool = False,
    refused: list[UserError] | None = None,
) -> Dataset:
    """Read all pairs and check that they fit together.

    Parameters
    ----------
    pairs : sequence of Pair
        From `find_pairs`.
    table : ClassTable, optional
        What the masks store for each class. Without it, the list that CVAT or Roboflow left beside
        the masks is taken, or the table is worked out from the masks.
    class_names : sequence of str, optional
        For a table that is worked out.
    ignore : int, optional
        Likewise: a value whose pixels do not count.
    image_format : ImageFormat, optional
        Of a model, for images to be shown to it. Without it, that of the first image.
    bands, alpha
        See `tinyunet.data.images.prepare`.
    cache : int
        Bytes that images and masks may take in memory; scenes beyond are read by windows.
    progress : bool
        Show a progress bar.
    refused : list, optional
        Takes up why a pair cannot be used, which is then left out. Without it, the first such pair
        ends all.

    Raises
    ------
    UserError
        If a file cannot be read, an image and its mask differ in size or place, the images are of
        different kinds, or it cannot be told what a mask stores.
    """
    table = table or class_table.table_beside(pairs[0].mask_path)
    opened, counted = [], []
    for pair in tqdm(pairs, "reading", unit="pair", disable=not progress):
        with refusals(refused):
            image, mask = open_pair(pair)
            if image_format is None:
                image_format = ImageFormat.of(prepare(image, bands, alpha), bands, alpha)
            image = in_format(image, image_format)
            if table is None:
                counted.append((mask, class_table.count_values(mask)))
            opened.append((pair.stem, image, mask))
    if counted:
        table = class_table.work_out(counted, class_names, ignore)
    arrays = []
    for stem, image, mask in opened:
        bytes_of_pixel = image.shape[2] * image.dtype.itemsize + 2  # with label and validity
        cache -= image.shape[0] * image.shape[1] * bytes_of_pixel
        with refusals(refused):
            arrays.append((stem, *as_arrays(image, mask, table, by_windows=cache < 0)))
    columns = map(list, zip(*arrays, strict=True)) if arrays else ([], [], [], [])
    stems, images, masks, valid = columns
    return Dataset(stems, images, masks, valid, table, image_format, sources=list(stems))


def as_arrays(image: Raster, mask: Raster, table: ClassTable, by_windows: bool = False):
    """Give the pixels, the labels and what is valid, as arrays or, if asked, as `Windowed`.

    Where the image has no data there is no label either.
    """

    def labels(rows, columns):
        stored, labeled = stored_values(mask, rows, columns, table.by_color)
        result = table.labels(stored, labeled, str(mask.path), mask.nodata)
        result[~image.valid(rows, columns)] = table.ignore_index
        return result

    sides = image.shape[:2]
    truth = Windowed(sides, np.uint8, labels)
    if by_windows:
        pixels = Windowed(image.shape, image.dtype, image.pixels)
        return pixels, truth, Windowed(sides, bool, image.valid)
    pixels, valid = image.read(slice(None), slice(None))
    in_memory = np.empty(sides, truth.dtype)
    for window in blocks(sides):
        in_memory[window] = truth[window]
    return pixels, in_memory, None if valid is None or valid.all() else valid


def open_for(model, image: str | Path | Raster, alpha: str | None = None) -> Raster:
    """Open an image as a model needs it, or say what it is instead; `alpha` as in `meaning_of`."""
    image_format, raster = meaning_of(model, alpha)[1], open_raster(image)
    return in_format(raster, image_format) if image_format else prepare(raster, alpha=alpha)


def meaning_of(model, alpha: str | None = None) -> tuple[ClassTable, ImageFormat | None]:
    """Give what a model remembers of its masks and images: class table and image format.

    `alpha` says anew what transparency means. A model that was trained on arrays has class numbers,
    and knows no image format.
    """
    stored = model.metadata.get("class_table")
    if stored:
        remembered = model.metadata["image_format"]
        image_format = ImageFormat(**remembered | ({"alpha": alpha} if alpha else {}))
        return class_table.parse_class_table(stored), image_format
    numbers = range(len(model.class_names))
    ignored = () if model.ignore_index in (None, *numbers) else (model.ignore_index,)
    return class_table.numbered(numbers, model.class_names, ignored), None


# --- Class numbers in memory -------------------------------------------------------------------


def count_classes(
    masks: Iterable[np.ndarray], classes: int, ignore_index: int | None = None
) -> np.ndarray:
    """Count the pixels of each class, (K,), over all masks; see `ClassPixels`."""
    return ClassPixels(masks, classes, ignore_index).counts.sum(axis=0)


class ClassPixels:
    """Where the pixels of each class are: counted block by block, so that one can be drawn.

    Parameters
    ----------
    masks : iterable of array (H, W), or `Windowed`
    classes : int
        K; the values are 0 to K - 1.
    ignore_index : int, optional
        The value of pixels that are not counted.

    Attributes
    ----------
    counts : array (blocks, K), int64
        Pixels of each class in each block.

    Raises
    ------
    UserError
        If a mask holds a value that is not a class.
    """

    def __init__(self, masks: Iterable[np.ndarray], classes: int, ignore_index: int | None = None):
        self.masks = list(masks)
        self.places = [
            (index, window)
            for index, mask in enumerate(self.masks)
            for window in blocks(mask.shape, side=512)
        ]
        self.counts = np.zeros((len(self.places), classes), dtype=np.int64)
        for block, (index, window) in enumerate(self.places):
            labels = self.masks[index][window]
            counted = labels if ignore_index is None else labels[labels != ignore_index]
            if counted.size and not 0 <= counted.min() <= counted.max() < classes:
                raise UserError(f"a mask holds other values than the classes, 0 to {classes - 1}")
            self.counts[block] = np.bincount(counted.ravel(), minlength=classes)

    def draw(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """Draw a class among those present, then one of its pixels: image, row and column."""
        label = rng.choice(np.flatnonzero(self.counts.any(axis=0)))
        shares = self.counts[:, label] / self.counts[:, label].sum()
        index, (rows, columns) = self.places[rng.choice(len(self.places), p=shares)]
        row, column = rng.choice(np.argwhere(self.masks[index][rows, columns] == label))
        return index, rows.start + int(row), columns.start + int(column)
