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

import tinyunet
from tinyunet.backend import DEVICES
from tinyunet.cli.crossvalidate import SPLITS, run_crossvalidate
from tinyunet.cli.data import run_check, run_tile
from tinyunet.cli.describe import run_gradcheck, run_info, run_inspect
from tinyunet.cli.evaluate import run_evaluate
from tinyunet.cli.export import run_export
from tinyunet.cli.learn import add_learn_options, run_learn
from tinyunet.cli.predict import run_predict
from tinyunet.cli.rasterize import run_rasterize
from tinyunet.cli.terminal import Stream
from tinyunet.cli.train import run_train
from tinyunet.data.images import plain
from tinyunet.errors import UserError
from tinyunet.inference.sliding_window import DEFAULT_MARGIN, DEFAULT_TILE
from tinyunet.training.config import NETWORK, READING, TrainingConfig, add_options


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


FLAG = {"action": "store_true"}


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

    def command(name: str, run, summary: str) -> Parser:
        added = commands.add_parser(name, help=summary, description=summary)
        added.set_defaults(run=run)
        return added

    train = command("train", run_train, "Train a network on images and their masks.")
    settings = [each.name for each in fields(TrainingConfig) if each.name != "out"]
    # What was not typed stays out of the result, so that --resume can tell what a person wants.
    add_options(train, [*settings, "out"], default=argparse.SUPPRESS)

    check = command("check", run_check, "Find what is wrong with images and masks.")
    add_options(check, ("images", "masks", "val_images", "val_masks", *READING, "crop_size"))
    check.add_argument("--out", metavar="DIR", help="Folder for the report and a contact sheet.")

    summary = "Measure how much a random split of these images flatters a network."
    cross = command("crossvalidate", run_crossvalidate, summary)
    add = cross.add_argument
    add_options(cross, ("images", "masks"))
    add("--out", metavar="DIR", required=True, help="Folder for the scores and their picture.")
    folds = "Number of parts, each of which is judged once (default: 5)."
    add("--folds", type=whole(2, 100), default=5, metavar="N", help=folds)
    splits = "How tiles are divided: at random, by region, or both (default: random,spatial)."
    add("--split", type=splits_of, default=SPLITS, metavar="A,B", help=splits)
    steps = "Number of training steps of each network (default: 300)."
    add("--steps", type=whole(1), default=300, metavar="N", help=steps)
    channels = "Number of channels of the first level (default: 8)."
    add("--base-channels", type=whole(1, 4096), default=8, metavar="N", help=channels)
    more = ("depth", "batch_size", "crop_size", "class_weights", "lr", "seed", "device", "threads")
    add_options(cross, (*READING, *more))

    summary = "Turn polygons into the mask of a georeferenced scene."
    add = command("rasterize", run_rasterize, summary).add_argument
    add("scene", metavar="SCENE", help="A georeferenced image.")
    add("polygons", metavar="POLYGONS", help="A GeoPackage, GeoJSON or shapefile.")
    add("--out", metavar="MASK", required=True, help="The GeoTIFF to write.")
    field = "Attribute that tells the class (default: none, all polygons are class 1)."
    add("--field", metavar="NAME", help=field)
    add("--layer", metavar="NAME", help="Layer of a GeoPackage that has several (default: first).")
    outside = "What pixels outside of all polygons become: 255 does not count (default: 0)."
    add("--outside", type=int, choices=(0, 255), default=0, help=outside)

    add = command("tile", run_tile, "Cut scenes and their masks into tiles.").add_argument
    add("scene", metavar="SCENE", help="An image, georeferenced or not, or a folder of images.")
    add(
        "mask",
        metavar="MASK",
        help="The mask of the image, or a folder of masks.",
    )
    add("--out", metavar="DIR", required=True, help="New folder for images/ and masks/.")
    size = "Height and width of a tile in pixels (default: 256)."
    add("--size", type=whole(1), default=256, metavar="N", help=size)
    overlap = "Number of pixels that neighboring tiles share (default: 0)."
    add("--overlap", type=whole(0), default=0, metavar="N", help=overlap)
    add("--skip-empty", **FLAG, help="Leave out tiles whose mask stores nothing but 0.")

    predict = command("predict", run_predict, "Find the class of each pixel of an image.")
    add = predict.add_argument
    add("model", metavar="MODEL", help="The model file, such as RUN/model.npz.")
    add("images", metavar="IMAGE_OR_DIR", nargs="+", help="Images, or folders of images.")
    add = group(predict, "output")
    add("--out", metavar="DIR", required=True, help="Folder for the results.")
    probabilities = "Also write a TIFF for each class, with its probability as 0 to 255."
    add("--probabilities", **FLAG, help=probabilities)
    add("--polygons", **FLAG, help="Also write the classes as polygons, a GeoPackage.")
    applicability = "Also map where the image looks like the training images to the network."
    add("--applicability", **FLAG, help=applicability)
    area = "Leave out polygons of a smaller area (default: 0)."
    add("--min-area", type=float, default=0, metavar="A", help=area)
    add_window_options(predict)

    evaluate = command("evaluate", run_evaluate, "Compare a model's predictions with masks.")
    add = evaluate.add_argument
    add("model", metavar="MODEL", help="The model file, such as RUN/model.npz.")
    add("images", metavar="IMAGES", help="Folder of the test images.")
    add("masks", metavar="MASKS", help="Folder of the masks of the test images.")
    add = group(evaluate, "output")
    add("--json", metavar="FILE", help="Also write the scores as JSON.")
    drawn = "Also draw the confusion matrix, the calibration and the worst images."
    add("--out", metavar="DIR", help=drawn)
    objects = "Also count connected pieces: found, missed, merged, split, and false alarms."
    add("--objects", **FLAG, help=objects)
    add_window_options(evaluate)

    export = command("export", run_export, "Write a model as an ONNX file, for QGIS.")
    add = export.add_argument
    add("model", metavar="MODEL", help="The model file, such as RUN/model.npz.")
    add("--out", metavar="FILE", required=True, help="The file to write, such as model.onnx.")
    tile = "Height and width of the images that the file takes, in pixels (default: 512)."
    add("--tile", type=whole(1), default=512, metavar="N", help=tile)
    add("--resolution", type=float, metavar="CM", help="Size of a pixel on the ground, in cm.")

    inspect = command("inspect", run_inspect, "Show a network layer by layer.")
    add = inspect.add_argument
    model = "A model file; without one, the network that the options describe."
    add("model", metavar="MODEL", nargs="?", default=None, help=model)
    add_options(inspect, NETWORK, default=argparse.SUPPRESS)
    add(
        "--channels",
        type=whole(1, 4096),
        metavar="N",
        default=3,
        help="Number of channels of an image (default: 3).",
    )
    add(
        "--classes",
        type=whole(1, 4096),
        metavar="N",
        default=2,
        help="Number of classes (default: 2).",
    )
    size = "Height and width of the image in pixels (default: 256)."
    add("--size", default="256", metavar="N|HxW", help=size)

    learn = command("learn", run_learn, "Learn backpropagation by writing it.")
    add_learn_options(learn.add_argument)

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


def splits_of(text: str) -> list[str]:
    """Read which splits are meant, such as random,spatial."""
    splits = text.split(",")
    if len(set(splits)) < len(splits) or not set(splits) <= set(SPLITS):
        raise argparse.ArgumentTypeError(f"choose from {','.join(SPLITS)}")
    return splits


def group(parser: Parser, title: str):
    """Begin a group of options; returns the function that adds one to it."""
    return parser.add_argument_group(title).add_argument


def add_window_options(parser: Parser) -> None:
    """Describe how an image is divided."""
    add = group(parser, "computation")
    tile = f"Height and width of the tiles of the image in pixels (default: {DEFAULT_TILE})."
    add("--tile", type=whole(1), default=DEFAULT_TILE, metavar="N", help=tile)
    margin = f"Number of pixels seen around each tile (default: {DEFAULT_MARGIN})."
    add("--margin", type=whole(0), metavar="N", help=margin)
    tta = "Average the predictions of the eight flips and quarter turns: slower, usually better."
    add("--tta", **FLAG, help=tta)
    batch = "Number of tiles computed at once (default: one for each thread)."
    add("--batch-size", type=whole(1), metavar="N", help=batch)
    threads = "Number of threads that share the work (default: all cores)."
    add("--threads", type=whole(1, 256), metavar="N", help=threads)
    device = "Where to compute (default: auto, a GPU if there is one)."
    add("--device", choices=DEVICES, default="auto", help=device)
