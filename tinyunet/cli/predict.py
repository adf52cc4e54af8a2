"""``tinyunet predict``: a class for each pixel of an image of any size."""

import contextlib
from pathlib import Path

from tinyunet.atomic_io import make_folder, save_picture
from tinyunet.backend import use_device
from tinyunet.checkpoint import Model, load_model
from tinyunet.cli.terminal import on_terminal
from tinyunet.data.dataset import list_images, read_image
from tinyunet.data.georeference import read_georeference, save_georeferenced
from tinyunet.errors import UserError
from tinyunet.inference.sliding_window import ProbabilityFile, check_image, predict_classes
from tinyunet.plots.colors import overlay
from tinyunet.plots.pictures import draw_grid, legend_of
from tinyunet.progress import tqdm

LONGEST = 1024  # pixels, of a side of the overlay: a picture to look at need not hold every pixel


def run_predict(options) -> None:
    """Write a class map, a picture of it and, if asked, the probabilities of each image."""
    use_device(options.device)
    model = load_model(options.model)
    out = Path(options.out)
    classes = model.network.config["classes"] if options.probabilities else 0
    paths = images_to_predict(options.images, out, classes)
    sweeping = {
        name: getattr(options, name) for name in ("tile", "margin", "batch_size", "threads")
    }
    sweeping["progress"] = on_terminal()
    several = len(paths) > 1
    for path in tqdm(paths, "predicting", unit="image", disable=not (several and on_terminal())):
        predict(model, path, out, options.probabilities, sweeping)
    print(f"{len(paths)} image{'s' * several} predicted; the results are in {out}.")


def predict(model: Model, path: Path, out: Path, with_probabilities: bool, sweeping: dict) -> None:
    """Predict one image. The class map comes last: once it is there, so is everything else.

    The results of an image that lies somewhere on Earth are TIFF files that lie there too.
    """
    image, place = read_image(path), read_georeference(path)
    check_image(model.network, image)
    make_folder(out)
    if place is not None:
        place = place.without_nodata()
    shape = (*image.shape[:2], model.network.config["classes"])
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(ProbabilityFile(out, shape)) if with_probabilities else None
        classes = predict_classes(model, image, probabilities=file, **sweeping)
        save_picture(overview(model, image, classes), out / f"{path.stem}_overlay.png")
        del image
        for index in range(model.network.config["classes"] if file else 0):
            name = f"{path.stem}_probability_{index}.tif"
            save_georeferenced(file.read(index), out / name, place)
    ending = ".png" if place is None else ".tif"
    save_georeferenced(classes, out / f"{path.stem}{ending}", place)


def overview(model: Model, image, classes):
    """Draw the image beside itself in the colors of the classes, with their legend."""
    every = -(-max(classes.shape) // LONGEST)
    image, classes = image[::every, ::every], classes[::every, ::every]
    row = [("image", image), ("prediction", overlay(image, classes))]
    legend = legend_of(model.class_names, [classes], model.ignore_index)
    return draw_grid([row], legend, panel=max(256, *classes.shape))


def images_to_predict(given: list[str], out: Path, classes_to_write: int) -> list[Path]:
    """List the images that are meant, folders opened; nothing may collide with the results."""
    paths = []
    for path in map(Path, given):
        paths += list_images(path).values() if path.is_dir() else [path]
    if not paths:
        raise UserError(f"no images in {', '.join(given)}")
    taken = {}
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: no such image")
        if path.resolve().parent == out.resolve():
            raise UserError(
                f"the results would lie among the images in {out}: choose another --out"
            )
        endings = ["", "_overlay", *(f"_probability_{k}" for k in range(classes_to_write))]
        for name in (path.stem + ending for ending in endings):
            if name in taken:
                raise UserError(
                    f"{taken[name]} and {path} would both become {name}: predict them into "
                    "different folders, or rename one"
                )
            taken[name] = path
    return paths
