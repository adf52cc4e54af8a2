"""``tinyunet predict``: a class for each pixel of an image of any size."""

import math
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from tinyunet.atomic_io import make_folder, save_picture
from tinyunet.backend import use_device
from tinyunet.checkpoint import Model, load_model
from tinyunet.data.class_table import NO_CLASS
from tinyunet.data.dataset import Windowed, open_for
from tinyunet.data.images import Raster, filled, plain
from tinyunet.data.maps import raster_file, save_class_map, save_polygons
from tinyunet.data.pairing import list_images
from tinyunet.errors import UserError
from tinyunet.inference.applicability import mark_applicability
from tinyunet.inference.sliding_window import check_image, predict_classes
from tinyunet.plots.colors import palette
from tinyunet.plots.pictures import draw_grid, marked
from tinyunet.progress import is_watched, tqdm

LONGEST = 1024  # pixels, of a side of the overlay: a picture to look at need not hold every pixel
IN_MEMORY = 100_000_000  # pixels: larger scenes are read by windows


def run_predict(
    model: str,
    images: Annotated[list[str], "IMAGE_OR_DIR"],
    *,
    out: Annotated[str, "DIR"],
    device: Literal["auto", "cpu", "cuda"] = "auto",
    **options,
) -> int:
    """Find the class of each pixel of an image.

    A bad file is named, and the rest goes on.

    Parameters
    ----------
    model : str
        The model file, such as RUN/model.npz.
    images : list of str
        Images, or folders of images.
    out : str
        Folder for the results.
    device : str
        Where to compute (default: auto, a GPU if there is one).
    **options
        See `predict`.

    Returns
    -------
    int
        2 if an image could not be predicted, else 0.
    """
    use_device(device)
    loaded = load_model(model)
    paths = images_to_predict(images, Path(out), len(loaded.class_names))
    failed, hidden = 0, len(paths) < 2 or not is_watched()
    for path in tqdm(paths, "predicting", unit="image", disable=hidden):
        try:
            predict(loaded, path, Path(out), **options)
        except UserError as error:
            failed += 1
            tqdm.write(plain(f"tinyunet: {' '.join(str(error).split())}"), file=sys.stderr)
    if done := len(paths) - failed:
        print(f"{done} image{'s' * (done > 1)} predicted; the results are in {out}.")
    return 2 if failed else 0


def images_to_predict(given: list[str], out: Path, classes: int) -> list[Path]:
    """List the images that are meant, folders opened; nothing may collide with the results."""
    paths = [path for place in given for path in list_images(place).values()]
    if not paths:
        raise UserError(f"no images in {', '.join(given)}")
    if os.path.realpath(out) in {os.path.dirname(os.path.realpath(path)) for path in paths}:
        raise UserError(f"the images lie in {out} themselves: choose another --out")
    endings = ["", "_overlay", "_applicability", *(f"_probability_{k}" for k in range(classes))]
    results = Counter(path.stem + ending for path in paths for ending in endings)
    name, count = results.most_common(1)[0]
    if count > 1:
        raise UserError(f"results of two images would both become {name}: rename one")
    return paths


def predict(
    model: Model,
    path: Path,
    out: Path,
    *,
    probabilities: bool = False,
    polygons: bool = False,
    applicability: bool = False,
    min_area: Annotated[float, "A"] = 0.0,
    alpha: str | None = None,
    **windows,
) -> None:
    """Predict one image.

    The results of an image that lies somewhere on Earth are TIFF files that lie there too.

    Parameters
    ----------
    probabilities : bool
        Also write a TIFF for each class, with its probability as 0 to 255.
    polygons : bool
        Also write the classes as polygons, a GeoPackage.
    applicability : bool
        Also map where the image looks like the training images to the network.
    min_area : float
        Leave out polygons of a smaller area.
    **windows
        See `tinyunet.inference.sliding_window.sliding_window`.
    """
    raster = open_for(model, path, alpha)
    if polygons and raster.place is None:
        raise UserError(f"{path}: is not georeferenced, so polygons have no place on a map")
    image, valid = pixels_of(raster)
    check_image(model.network, image)
    make_folder(out)
    names = model.class_names
    windows |= {"valid": valid, "progress": is_watched()}
    shape = image.shape[:2]
    levels = on_disk((*shape, len(names)), np.uint8, out) if probabilities else None
    classes = on_disk(shape, np.uint8, out)
    predict_classes(model, image, out=classes, levels=levels, **windows)

    every = -(-max(classes.shape) // LONGEST)
    small = np.s_[::every, ::every]
    shown = filled(image[small], None if valid is None else valid[small])
    row = [("image", shown), ("prediction", shown, classes[small])]
    if applicability:
        marks = mark_applicability(model, image, out=on_disk(shape, np.uint8, out), **windows)
        share = (marks == 0).sum() / max((marks != 255).sum(), 1)
        text = f"{plain(path.name)}: {100 * share:.1f} % lies outside the area of applicability"
        tqdm.write(f"{text}: it looks unlike the training images, so don't trust the map there")
        row.append(("outside (red)", marked(shown, marks[small] == 0)))
        save_map(marks, f"{out / path.stem}_applicability", raster, ["outside", "inside"])
    picture = draw_grid([row], names, NO_CLASS, panel=max(256, *shown.shape[:2]))
    save_picture(picture, out / f"{path.stem}_overlay.png")
    for index in range(len(names) if probabilities else 0):
        name = f"{out / path.stem}_probability_{index}.tif"
        if raster.place is None:
            save_picture(levels[:, :, index], name)
            continue
        with raster_file(name, shape, "uint8", raster.place) as file:
            file.write(levels[:, :, index], 1)
            if valid is not None:
                file.write_mask(valid[:, :])
    save_map(classes, str(out / path.stem), raster, names)
    if polygons:
        name = out / f"{path.stem}_polygons.gpkg"
        save_polygons(out / f"{path.stem}.tif", name, names, min_area)


def pixels_of(raster: Raster):
    """Give the pixels of an image and which are data, or None: arrays, or windows of a scene."""
    if raster.shape[0] * raster.shape[1] > IN_MEMORY:
        valid = Windowed(raster.shape[:2], bool, raster.valid)
        return Windowed(raster.shape, raster.dtype, raster.pixels), valid
    return raster.read(slice(None), slice(None))


def on_disk(shape: tuple, dtype, folder: Path) -> np.ndarray:
    """Make an array that may be larger than the memory: in a file that is gone when it is."""
    file = tempfile.TemporaryFile(dir=folder)
    if hasattr(os, "posix_fallocate"):  # else a full disk would end the program without a word
        os.posix_fallocate(file.fileno(), 0, math.prod(shape) * np.dtype(dtype).itemsize)
    return np.memmap(file, dtype, "w+", shape=shape)


def save_map(classes: np.ndarray, path: str, raster: Raster, names: list[str]) -> None:
    """Write a class map (H, W): a GeoTIFF where the image lies, or a PNG if it lies nowhere."""
    if raster.place is None:
        save_picture(classes, f"{path}.png")
    else:
        save_class_map(f"{path}.tif", classes, raster.place, names, palette(len(names)))
