"""Floor 7: the command ``tinyunet``: what a person types becomes calls of the floors below.

Exit status: 0 if all went well; 1 if a gradient check failed; 2 with one line on the error stream
for a mistake that the person can mend; 130 after Ctrl-C. A traceback means that the fault is ours.
"""

import argparse
import json
import os
import platform
import sys
import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np
import PIL
from threadpoolctl import threadpool_info

import tinyunet
from tinyunet import processes
from tinyunet.backend import DEVICES, cuda_problem, installed_cupy_packages, use_device
from tinyunet.checkpoint import Model, load_model, written_aside
from tinyunet.data.folder import find_pairs, list_images, load_pairs, read_image
from tinyunet.errors import UserError
from tinyunet.evaluation import evaluate
from tinyunet.parallel import available_cores
from tinyunet.pictures import as_rgb, colour_mask, preview, save_picture
from tinyunet.prediction import DEFAULT_TILE, predict_classes, predict_probabilities
from tinyunet.selfcheck import run_cases, table
from tinyunet.trace import trace
from tinyunet.training import CHOICES, TrainingConfig, new_network, settings_to_resume, train

NETWORK = ("base", "depth", "up", "padding", "norm")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Parameters
    ----------
    arguments : list of str, optional
        What follows the command's name; without it, what was typed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # overflow: the loss is watched anyway
            warnings.showwarning = show_warning
            options = parser().parse_args(arguments)
            status = options.run(options) or 0
            sys.stdout.flush()
    except UserError as error:
        return complain(error, 2)
    except KeyboardInterrupt as stop:
        return complain(f"stopped{stop}", 130)
    except BrokenPipeError:  # `tinyunet inspect | head`: whoever read us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def complain(problem, status: int) -> int:
    """Print a problem as one line on the error stream; returns the status."""
    print("tinyunet:", " ".join(str(problem).split()), file=sys.stderr)
    return status


def show_warning(message, *place) -> None:
    """Print a warning as one line, without the place in our code that it comes from."""
    complain(f"note: {message}", 0)


# -- What can be typed -----------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line, as all of tinyunet does."""

    def error(self, message: str):
        """Raise instead of printing a page and leaving."""
        raise UserError(f"{message} (see {self.prog} --help)")


def parser() -> Parser:
    """Describe the command line: one subcommand for each function below."""
    top = Parser(prog="tinyunet", description=tinyunet.__doc__)
    top.add_argument("--version", action="version", version=f"tinyunet {tinyunet.__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run, summary: str) -> Parser:
        added = commands.add_parser(name, help=summary, description=summary)
        added.set_defaults(run=run)
        return added

    add_train_options(command("train", run_train, "train a network on a folder of images"))

    add = command("predict", run_predict, "find the class of each pixel of an image").add_argument
    add("model", metavar="MODEL", help="a model file, such as RUN/model.npz")
    add("images", metavar="IMAGE_OR_DIR", nargs="+", help="images, or folders of them")
    add("--out", metavar="DIR", required=True, help="folder for the results")
    add("--probabilities", action="store_true", help="also write a TIFF (0 to 255) for each class")
    add_sweep_options(add)

    add = command("evaluate", run_evaluate, "compare predictions with masks").add_argument
    add("model", metavar="MODEL", help="a model file, such as RUN/model.npz")
    add("images", metavar="IMAGES", help="folder of images")
    add("masks", metavar="MASKS", help="folder of their masks")
    add("--json", metavar="FILE", help="also write the scores as JSON")
    add_sweep_options(add)

    inspect = command("inspect", run_inspect, "show a network layer by layer")
    inspect.argument_default = argparse.SUPPRESS
    add = inspect.add_argument
    add(
        "model",
        metavar="MODEL",
        nargs="?",
        default=None,
        help="a model file; or describe a network:",
    )
    add_network_options(add)
    add("--channels", type=int, default=3, metavar="N", help="channels of an image (3)")
    add("--classes", type=int, default=2, metavar="N", help="number of classes (2)")
    add("--size", default="256", metavar="N|HxW", help="height and width of the image (256)")

    command("gradcheck", run_gradcheck, "check the gradient of every operation")
    command("info", run_info, "show what tinyunet runs on, and what is missing")
    return top


def add_train_options(train_command: Parser) -> None:
    """Describe ``tinyunet train``.

    An option that is not typed stays out of the result, so that `--resume` can tell what a person
    wants from what is merely a default. The defaults are those of `TrainingConfig`.
    """
    train_command.argument_default = argparse.SUPPRESS
    add = train_command.add_argument
    add("images", metavar="IMAGES", help="folder of images")
    add("masks", metavar="MASKS", help="folder of masks with the same stems: class indices")
    add("--out", metavar="RUN", required=True, help="folder for the model and all about it")
    add("--val-images", metavar="DIR", help="folder of images to validate on")
    add("--val-masks", metavar="DIR", help="folder of their masks")
    add("--val-fraction", type=float, metavar="F", help="or set this share aside (0.2)")
    add("--val-every", type=int, metavar="N", help="steps between checkpoints (100)")
    add("--steps", type=int, metavar="N", help="steps of training (1000)")
    add("--batch", type=int, metavar="N", help="crops in a step (8)")
    add("--crop", type=int, metavar="N", help="height and width of a crop (128)")
    add_network_options(add)
    add("--dropout", type=float, metavar="F", help="share of activations dropped (0)")
    add("--lr", type=float, metavar="F", help="highest learning rate of Adam (0.001)")
    add("--class-weights", choices=CHOICES["class_weights"], help="weigh rare classes up (none)")
    add("--class-names", type=lambda text: text.split(","), metavar="A,B,...", help="names")
    add("--ignore-index", type=int, metavar="N", help="mask value of pixels that don't count")
    add("--seed", type=int, metavar="N", help="decides everything random (0)")
    add("--device", choices=DEVICES, help="where to compute (auto)")
    add("--threads", type=int, metavar="N", help="threads a batch is split among (all cores)")
    add("--resume", action="store_true", help="go on with the run from its last checkpoint")


def add_network_options(add) -> None:
    """Describe a network."""
    add("--base", type=int, metavar="N", help="channels of the first level (16)")
    add("--depth", type=int, metavar="N", help="how often the image is halved (4)")
    add("--up", choices=CHOICES["up"], help="how it is doubled again (transpose)")
    add("--padding", choices=CHOICES["padding"], help="of the convolutions (same)")
    add("--norm", choices=CHOICES["norm"], help="normalisation after each (batch)")


def add_sweep_options(add) -> None:
    """Describe how an image is swept."""
    add("--tile", type=int, default=DEFAULT_TILE, metavar="N", help="pixels kept of a window (256)")
    add("--margin", type=int, metavar="N", help="pixels seen around the tile (64)")
    add("--device", choices=DEVICES, default="auto", help="where to compute (auto)")


# -- The commands ----------------------------------------------------------------------------------


def run_train(options) -> None:
    """Train a network; under ``mpiexec``, with the other processes that it started."""
    names = {field.name for field in fields(TrainingConfig)}
    typed = {name: value for name, value in vars(options).items() if name in names}
    with processes.team() as team:
        if typed.pop("resume", False):
            config = settings_to_resume(typed.pop("out"), **typed)
        else:
            config = TrainingConfig(**typed)
        try:
            result = train(config, team=team)
        except KeyboardInterrupt as stop:
            kept = (Path(config.out) / "last.npz").exists()
            raise KeyboardInterrupt("; go on from the last checkpoint by --resume" * kept) from stop
    if team.is_writer:
        print(f"Validation mean IoU {result.best_mean_iou:.3f} at step {result.best_step}.")
        print(f"The model is {Path(config.out) / 'model.npz'}; look at preview.png and curves.png.")


def run_evaluate(options) -> None:
    """Print the scores of a model on images with masks."""
    use_device(options.device)
    model = load_model(options.model)
    network = model.network.config
    pairs = find_pairs(options.images, options.masks)
    dataset = load_pairs(pairs, network["classes"], model.ignore_index, network["in_channels"])
    scores = evaluate(
        model, dataset, tile=options.tile, margin=options.margin, progress=on_terminal()
    )
    if options.json:
        text = json.dumps(scores.as_json(model.class_names), indent=2, allow_nan=False)
        with written_aside(options.json) as file:
            file.write((text + "\n").encode())
    print(scores.table(model.class_names))


def run_predict(options) -> None:
    """Write a class map, a picture of it and, if asked, the probabilities of each image."""
    use_device(options.device)
    model = load_model(options.model)
    out = Path(options.out)
    paths = images_to_predict(options.images, out)
    sweeping = {"tile": options.tile, "margin": options.margin, "progress": on_terminal()}
    for path in paths:
        image = read_image(path)
        classes = predict_classes(model, image, **sweeping)
        out.mkdir(parents=True, exist_ok=True)
        save_picture(classes, out / f"{path.stem}.png")
        save_picture(overview(model, image, classes), out / f"{path.stem}_overlay.png")
        if options.probabilities:
            save_probabilities(model, image, out / path.stem, sweeping)
    print(f"{len(paths)} image{'s' * (len(paths) != 1)} predicted; the results are in {out}.")


def on_terminal() -> bool:
    """Tell whether a person is watching, who wants to see a progress bar."""
    return sys.stderr.isatty()


def images_to_predict(given: list[str], out: Path) -> list[Path]:
    """List the images that are meant, folders opened; nothing may collide with the results."""
    paths = []
    for path in map(Path, given):
        paths += list_images(path).values() if path.is_dir() else [path]
    if not paths:
        raise UserError(f"no images in {', '.join(given)}")
    seen = {}
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: no such image")
        if path.stem in seen:
            raise UserError(f"{path} and {seen[path.stem]} would both become {path.stem}.png")
        seen[path.stem] = path
        if path.resolve().parent == out.resolve():
            raise UserError(
                f"the results would lie among the images in {out}: choose another --out"
            )
    return paths


def overview(model: Model, image, classes):
    """Draw the image beside itself with the classes in colour and their legend, to be looked at.

    At most 1024 pixels a side: a picture of a whole scene need not hold every pixel.
    """
    every = -(-max(classes.shape) // 1024)
    image, classes = as_rgb(image[::every, ::every]), classes[::every, ::every]
    blend = image // 2 + colour_mask(classes) // 2
    return preview(
        [(image, blend)],
        model.class_names,
        ignore_index=model.ignore_index,
        titles=("image", "prediction"),
        panel=max(256, *classes.shape),
    )


def save_probabilities(model: Model, image, stem: Path, sweeping: dict) -> None:
    """Write a gray TIFF for each class: 0 is impossible, 255 certain."""
    probabilities = predict_probabilities(
        model.network,
        image,
        ignore_index=model.ignore_index,
        prepare=model.standardization.apply,
        **sweeping,
    )
    for index in range(probabilities.shape[2]):
        gray = np.round(255 * probabilities[:, :, index]).astype(np.uint8)
        save_picture(gray, stem.with_name(f"{stem.name}_probability_{index}.tif"))


def run_inspect(options) -> None:
    """Print the layer table of a model, or of a network that is described."""
    use_device("cpu")
    described = {name: getattr(options, name) for name in NETWORK if hasattr(options, name)}
    if options.model and described:
        raise UserError(f"{options.model} says itself what its network is: leave the options out")
    if options.model:
        network = load_model(options.model).network
    else:
        config = TrainingConfig(images="", masks="", out="", **described)
        config.check()
        network = new_network(config, options.channels, options.classes)
    height, width = parse_size(options.size)
    print(trace(network, height, width))


def parse_size(text: str) -> tuple[int, int]:
    """Read ``256`` or ``256x384`` as (height, width)."""
    try:
        sides = [int(side) for side in text.lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise UserError(f"size {text!r}: give one number, or height and width as 256x384")
    return sides[0], sides[-1]


def run_gradcheck(options) -> int:
    """Print how far each operation's gradient is from a numerical one; status 1 if any is wrong."""
    use_device("cpu")
    outcomes = []

    def noted():
        for outcome in run_cases():
            outcomes.append(outcome)
            yield outcome

    for line in table(noted()):
        print(line, flush=True)
    return 1 if any(outcome.error is None for outcome in outcomes) else 0


def run_info(options) -> None:
    """Print what tinyunet runs on."""
    lines = [
        ("tinyunet", tinyunet.__version__),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("NumPy", np.__version__),
        ("Pillow", PIL.__version__),
        ("processor cores", f"{available_cores()}"),
    ]
    for pool in threadpool_info():
        name = f"{pool['internal_api']} {pool['version'] or ''}".strip()
        lines.append((f"{pool['user_api']} library", f"{name}, {pool['num_threads']} threads"))
    packages = ", ".join(installed_cupy_packages())
    lines.append(("CuPy", packages or "not installed"))
    problem = cuda_problem()
    lines.append(("CUDA", f"not available: {problem}" if problem else describe_gpu()))
    for name, value in lines:
        print(f"{name:16} {value}")


def describe_gpu() -> str:
    """Name the GPU, and the versions of CuPy and of CUDA: the driver's and CuPy's own."""
    import cupy

    runtime = cupy.cuda.runtime
    name = runtime.getDeviceProperties(0)["name"].decode()
    driver, own = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    return f"{name}; CuPy {cupy.__version__} with CUDA {version(own)}, driver for {version(driver)}"


def version(number: int) -> str:
    """Write CUDA's 13020 as 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"
