"""``tinyunet predict``: a class for each pixel of an image of any size."""

import contextlib
import os
import sys
from pathlib import Path

import numpy as np

from tinyunet.atomic_io import make_folder, save_picture
from tinyunet.backend import use_device
from tinyunet.checkpoint import Model, load_model
from tinyunet.data.dataset import Windowed, open_for
from tinyunet.data.images import Raster, filled, plain
from tinyunet.data.maps import class_map, nodata_of, raster_file, save_polygons
from tinyunet.data.pairing import list_images
from tinyunet.errors import UserError
from tinyunet.inference.applicability import mark_applicability
from tinyunet.inference.sliding_window import ProbabilityFile, check_image, predict_classes
from tinyunet.plots.colors import overlay, palette
from tinyunet.plots.pictures import draw_grid, legend_of, marked
from tinyunet.progress import is_watched, tqdm

LONGEST = 1024  # pixels, of a side of the overlay: a picture to look at need not hold every pixel
IN_MEMORY = 100_000_000  # pixels: larger scenes are read by windows


def run_predict(options) -> int:
    """Write what was found on each image; a bad file is named, and the rest goes on."""
    use_device(options.device)
    model = load_model(options.model)
    out = Path(options.out)
    classes = model.network.config["classes"] if options.probabilities else 0
    paths = images_to_predict(options.images, out, classes)
    keywords = window_options(options)
    if out.exists() and not out.is_dir():
        make_folder(out)  # says why not, once
    several, failed = len(paths) > 1, 0
    for path in tqdm(paths, "predicting", unit="image", disable=not (several and is_watched())):
        try:
            predict(model, path, out, options, keywords)
        except UserError as error:
            if not several:
                raise
            failed += 1
            tqdm.write(plain(f"tinyunet: {' '.join(str(error).split())}"), file=sys.stderr)
    done = len(paths) - failed
    print(f"{done} image{'s' * (done != 1)} predicted; the results are in {out}.")
    return 2 if failed else 0


def window_options(options) -> dict:
    """Pick what `tinyunet.inference.sliding_window.sliding_window` is to be told."""
    names = ("tile", "margin", "batch_size", "threads", "tta")
    return {name: getattr(options, name) for name in names} | {"progress": is_watched()}


def predict(model: Model, path: Path, out: Path, options, keywords: dict) -> None:
    """Predict one image. The class map comes last: once it is there, so is everything else.

    The results of an image that lies somewhere on Earth are TIFF files that lie there too.
    """
    raster = open_for(model, path, options.alpha)
    image, valid = pixels_of(raster)
    check_image(model.network, image)
    make_folder(out)
    classes, shape = model.network.config["classes"], raster.shape[:2]
    as_tiff = raster.place is not None or isinstance(image, Windowed)
    if options.polygons and raster.place is None:
        raise UserError(f"{path}: is not georeferenced, so polygons have no place on a map")
    nodata = nodata_of(classes)
    small = Thumbnail(shape, nodata)
    trusted = Thumbnail(shape, nodata_of(2)) if options.applicability else None

    def finish(map_path: Path) -> None:
        if options.polygons:
            name = out / f"{path.stem}_polygons.gpkg"
            save_polygons(map_path, name, model.class_names, options.min_area)

    @contextlib.contextmanager
    def to_file(target: Thumbnail, stem: str, names: list[str], colors, finish=None):
        """Write a map as a TIFF, or as a PNG once it is complete."""
        target.valid = valid
        if as_tiff:
            name = out / f"{stem}.tif"
            with class_map(name, shape, raster.place, names, colors, finish) as target.target:
                yield target
        else:
            target.target = np.empty(shape, np.uint8 if target.nodata == 255 else np.uint16)
            yield target
            save_picture(target.target, out / f"{stem}.png")

    with contextlib.ExitStack() as stack:
        file = None
        if options.probabilities:
            file = stack.enter_context(ProbabilityFile(out, (*shape, classes)))
        colors = palette(classes)
        stack.enter_context(to_file(small, path.stem, model.class_names, colors, finish))
        predict_classes(model, image, valid=valid, out=small, probabilities=file, **keywords)
        if trusted:
            names, colors = ["outside", "inside"], palette(2)[::-1]
            with to_file(trusted, f"{path.stem}_applicability", names, colors):
                share = mark_applicability(model, image, trusted, valid=valid, **keywords)
            tqdm.write(
                f"{plain(path.name)}: {100 * share:.1f} % lies outside the area of applicability; "
                "there it does not look like the training images, so don't trust the map"
            )
        save_picture(overview(model, image, small, trusted), out / f"{path.stem}_overlay.png")
        for index in range(classes if file else 0):
            name = out / f"{path.stem}_probability_{index}.tif"
            if as_tiff:
                with raster_file(name, shape, "uint8", raster.place) as tiff:
                    tiff.write(file.read(index), 1)
                    if valid is not None:
                        tiff.write_mask(valid[:, :])
            else:
                save_picture(file.read(index), name, compression="tiff_deflate")


def pixels_of(raster: Raster):
    """Give the pixels of an image and which are data, or None: arrays, or windows of a scene."""
    if raster.by_windows and raster.shape[0] * raster.shape[1] > IN_MEMORY:
        valid = None if raster.complete else Windowed(raster.shape[:2], bool, raster.valid)
        return Windowed(raster.shape, raster.dtype, raster.pixels), valid
    return raster.read(slice(None), slice(None))


class Thumbnail:
    """A class map on its way to where it is kept: without data it is nodata; a small copy stays."""

    def __init__(self, shape: tuple[int, int], nodata: int):
        self.every = -(-max(shape) // LONGEST)
        self.nodata, self.target, self.valid = nodata, None, None
        self.classes = np.zeros([-(-side // self.every) for side in shape], np.int32)

    def __setitem__(self, window: tuple[slice, slice], classes: np.ndarray) -> None:
        """Pass a part on."""
        classes = classes.astype(np.uint8 if self.nodata == 255 else np.uint16)
        if self.valid is not None:
            classes[~self.valid[window]] = self.nodata
        self.target[window] = classes
        # Rows and columns of the small copy that lie in this part.
        kept = [
            np.arange(-(-part.start // self.every), -(-part.stop // self.every)) for part in window
        ]
        inside = [self.every * k - part.start for k, part in zip(kept, window, strict=True)]
        self.classes[np.ix_(*kept)] = classes[np.ix_(*inside)]


def overview(model: Model, image, small: Thumbnail, trusted: Thumbnail | None):
    """Draw the image beside itself in the colors of the classes, with their legend.

    And in pale gray, with dark red where the map is not to be trusted.
    """
    every = slice(None, None, small.every)
    valid = None if small.valid is None else small.valid[every, every]
    image, classes = filled(image[every, every], valid), small.classes
    row = [("image", image), ("prediction", overlay(image, classes, small.nodata))]
    if trusted:
        row.append(("outside (red)", marked(image, trusted.classes == 0)))
    legend = legend_of([plain(name) for name in model.class_names], [classes], small.nodata)
    return draw_grid([row], legend, panel=max(256, *classes.shape))


def images_to_predict(given: list[str], out: Path, classes_to_write: int) -> list[Path]:
    """List the images that are meant, folders opened; nothing may collide with the results."""
    paths = []
    for path in map(Path, given):
        paths += list_images(path).values() if path.is_dir() else [path]
    if not paths:
        raise UserError(f"no images in {', '.join(given)}")
    endings = ["", "_overlay", "_applicability"]
    endings += [f"_probability_{index}" for index in range(classes_to_write)]
    taken = {}
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: no such image")
        if os.path.dirname(os.path.realpath(path)) == os.path.realpath(out):
            raise UserError(f"the images lie in {out} themselves: choose another --out")
        for name in (path.stem + ending for ending in endings):
            if name in taken:
                raise UserError(f"{taken[name]} and {path} would both become {name}: rename one")
            taken[name] = path
    return paths
