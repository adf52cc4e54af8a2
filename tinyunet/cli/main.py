"""The command ``tinyunet``: what can be typed. What it does is in `tinyunet.cli`.

Exit status: 0 if all went well; 1 if a gradient check failed; 2 with one line on the error stream
for a mistake that the person can fix; 130 after Ctrl-C. A traceback means that the fault is ours.
`main` is the one place where errors become lines.
"""

import argparse
import errno
import sys
import warnings
from dataclasses import fields
from functools import partial

import tinyunet
from tinyunet.backend import DEVICES
from tinyunet.cli.crossvalidate import run_crossvalidate
from tinyunet.cli.data import run_check, run_tile
from tinyunet.cli.describe import run_gradcheck, run_info, run_inspect
from tinyunet.cli.evaluate import run_evaluate
from tinyunet.cli.export import run_export
from tinyunet.cli.learn import run_learn
from tinyunet.cli.predict import run_predict
from tinyunet.cli.rasterize import run_rasterize
from tinyunet.cli.terminal import Stream
from tinyunet.cli.train import run_train
from tinyunet.data.images import plain
from tinyunet.errors import UserError
from tinyunet.inference.sliding_window import DEFAULT_MARGIN, DEFAULT_TILE
from tinyunet.training.config import NETWORK, READING, TrainingConfig, add_option, add_options

SMALL = {"base_channels": 8, "steps": 300}  # the networks of crossvalidate


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Parameters
    ----------
    arguments : list of str, optional
        What follows the command's name; without it, what was typed.
    """
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = output, _ = Stream(sys.stdout), Stream(sys.stderr)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # overflow: the loss is watched anyway
            warnings.showwarning = show_warning
            options = parser().parse_args(arguments)
            status = options.run(options) or 0
            output.flush()
            if output.error is not None and output.error.errno != errno.EPIPE:
                output.error.filename = "standard output"
                raise output.error  # a closed pipe is no error: `| head` has seen enough
    except UserError as error:
        return complain(error, 2)
    except OSError as error:
        path = "" if error.filename is None else f"cannot use {error.filename}: "
        return complain(f"{path}{error.strerror or error}", 2)
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        return complain(
            f"out of memory{reason}: choose a smaller crop, tile or batch size, or fewer threads", 2
        )
    except KeyboardInterrupt as stop:
        return complain(f"stopped{stop}", 130)
    finally:
        sys.stdout, sys.stderr = streams
    return status


def complain(problem, status: int) -> int:
    """Print a problem as one line on the error stream; returns the status."""
    print("tinyunet:", plain(" ".join(str(problem).split())), file=sys.stderr)
    return status


def show_warning(message, *place) -> None:
    """Print a warning as one line, without the place in our code that it comes from."""
    complain(f"note: {message}", 0)


# -- What can be typed -----------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line, as all of tinyunet does."""

    def __init__(self, **settings):
        super().__init__(**settings, add_help=False)
        self.add_argument("-h", "--help", action="help", help="Show this help and exit.")

    def error(self, message: str):
        """Raise instead of printing a page and leaving."""
        raise UserError(f"{message} (see {self.prog} --help)")


def parser() -> Parser:
    """Describe the command line: one subcommand for each function below."""
    epilog = "Type tinyunet COMMAND --help for the options of a command."
    top = Parser(prog="tinyunet", description=tinyunet.__doc__, epilog=epilog)
    version = f"tinyunet {tinyunet.__version__}"
    top.add_argument("--version", action="version", version=version, help="Show the version.")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run, summary: str):
        added = commands.add_parser(name, help=summary, description=summary)
        added.set_defaults(run=run)
        return added, partial(add_option, added)

    train, add = command("train", run_train, "Train a network on images and their masks.")
    settings = [each.name for each in fields(TrainingConfig) if each.name != "out"]
    # What was not typed stays out of the result, so that --resume can tell what a person wants.
    add_options(train, [*settings, "out"], default=argparse.SUPPRESS)
    paper = (
        "Train as the U-Net paper did: valid padding, crops of 572, one a batch, elastic "
        "deformation, weight map, dropout, SGD; other options go before this one."
    )
    add("--paper", paper, False)

    check, add = command("check", run_check, "Find what is wrong with images and masks.")
    both = ("images", "masks", "val_images", "val_masks")
    add_options(check, (*both, *READING, "depth", "crop_size"))
    add("--out DIR", "Folder for the report and a contact sheet.")

    summary = "Measure how much a random split of these images flatters a network."
    cross, add = command("crossvalidate", run_crossvalidate, summary)
    add_options(cross, ("images", "masks"))
    add("--out DIR", "Folder for the scores and their picture.", required=True)
    add("--folds N", "Number of parts, each of which is judged once.", 5, type=whole(2, 100))
    splits = "How tiles are divided: at random, by region, or both."
    add("--split", splits, "random,spatial", choices=("random", "spatial", "random,spatial"))
    network = ("base_channels", "depth", "steps", "batch_size", "crop_size", "class_weights", "lr")
    add_options(cross, (*READING, *network, "seed", "device", "threads"), SMALL)

    summary = "Turn polygons into the mask of a georeferenced scene."
    _, add = command("rasterize", run_rasterize, summary)
    add("SCENE", "A georeferenced image.")
    add("POLYGONS", "A GeoPackage, GeoJSON or shapefile.")
    add("--out MASK", "The GeoTIFF to write.", required=True)
    add("--field NAME", "Attribute that tells the class (default: none, all are class 1).")
    add("--layer NAME", "Layer of a GeoPackage that has several (default: first).")
    add("--classes FILE", "Class table of another scene: its names get the same numbers here.")
    outside = "What pixels outside of all polygons become: 255 does not count."
    add("--outside", outside, 0, choices=(0, 255), type=int)

    _, add = command("tile", run_tile, "Cut scenes and their masks into tiles.")
    add("SCENE", "An image, georeferenced or not, or a folder of images.")
    add("MASK", "The mask of the image, or a folder of masks.")
    add("--out DIR", "New folder for images/ and masks/.", required=True)
    add("--size N", "Height and width of a tile in pixels.", 256, type=whole(1))
    add("--overlap N", "Number of pixels that neighboring tiles share.", 0, type=whole(0))
    add("--skip-empty", "Leave out tiles whose mask stores nothing but 0.", False)

    predict, add = command("predict", run_predict, "Find the class of each pixel of an image.")
    add("MODEL", "The model file, such as RUN/model.npz.")
    add("IMAGE_OR_DIR", "Images, or folders of images.", dest="images", nargs="+")
    add("--out DIR", "Folder for the results.", required=True)
    probabilities = "Also write a TIFF for each class, with its probability as 0 to 255."
    add("--probabilities", probabilities, False)
    add("--polygons", "Also write the classes as polygons, a GeoPackage.", False)
    applicability = "Also map where the image looks like the training images to the network."
    add("--applicability", applicability, False)
    add("--min-area A", "Leave out polygons of a smaller area.", 0, type=float)
    add_window_options(predict)
    add_options(predict, ("alpha",))

    evaluate, add = command("evaluate", run_evaluate, "Compare a model's predictions with masks.")
    add("MODEL", "The model file, such as RUN/model.npz.")
    add("IMAGES", "Folder of the test images.")
    add("MASKS", "Folder of the masks of the test images.")
    add("--json FILE", "Also write the scores as JSON.")
    add("--out DIR", "Also draw the confusion matrix, the calibration and the worst images.")
    objects = "Also count connected pieces: found, missed, merged, split, and false alarms."
    add("--objects", objects, False)
    add_window_options(evaluate)
    add_options(evaluate, ("alpha",))

    _, add = command("export", run_export, "Write a model as an ONNX file, for QGIS.")
    add("MODEL", "The model file, such as RUN/model.npz.")
    add("--out FILE", "The file to write, such as model.onnx.", required=True)
    tile = "Height and width of the images that the file takes, in pixels."
    add("--tile N", tile, 512, type=whole(1))
    add("--resolution CM", "Size of a pixel on the ground, in cm.", type=float)

    inspect, add = command("inspect", run_inspect, "Show a network layer by layer.")
    add("MODEL", "A model file; without one, the network that the options describe.", nargs="?")
    add_options(inspect, NETWORK, default=argparse.SUPPRESS)
    add("--channels N", "Number of channels of an image.", 3, type=whole(1, 4096))
    add("--classes N", "Number of classes.", 2, type=whole(1, 4096))
    add("--size N|HxW", "Height and width of the image in pixels.", "256")

    _, add = command("learn", run_learn, "Learn backpropagation by writing it.")
    add("DIR", "Folder of the exercises; the first call makes it.", dest="folder")
    add("--hint", "Give one more hint for the exercise you are at.", False)
    add("--watch", "Check again whenever you save a file (Ctrl-C ends).", False)
    add("--json", "Print the findings as JSON, for a teacher's script.", False)
    names = "Train the U-Net with these operations of yours, such as relu,conv2d, or all."
    add("--with NAMES", names, dest="with_names")

    command("gradcheck", run_gradcheck, "Check the gradient of every operation on this computer.")
    command("info", run_info, "Show what tinyunet runs on, and what is missing.")
    return top


def whole(lowest: int, highest: int = 10**6):
    """Make a type for an option: a whole number, not below the lowest nor above the highest."""

    def number(text: str) -> int:
        value = int(text)
        if not lowest <= value <= highest:
            side = f"below {lowest}" if value < lowest else f"above {highest}"
            raise argparse.ArgumentTypeError(f"{text[:20]} is {side}")
        return value

    number.__name__ = "int"  # for argparse: invalid int value
    return number


def add_window_options(parser: Parser) -> None:
    """Describe how an image is divided."""
    add = partial(add_option, parser.add_argument_group("computation"))
    tile = "Height and width of the tiles of the image in pixels."
    add("--tile N", tile, DEFAULT_TILE, type=whole(1))
    margin = f"Number of pixels seen around each tile (default: {DEFAULT_MARGIN})."
    add("--margin N", margin, type=whole(0))
    tta = "Average the predictions of the eight flips and quarter turns: slower, usually better."
    add("--tta", tta, False)
    batch = "Number of tiles computed at once (default: one for each thread)."
    add("--batch-size N", batch, type=whole(1))
    threads = "Number of threads that share the work (default: all cores)."
    add("--threads N", threads, type=whole(1, 256))
    device = "Where to compute (default: auto, a GPU if there is one)."
    add("--device", device, "auto", choices=DEVICES)
