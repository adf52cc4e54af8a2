"""The command ``tinyunet``: what can be typed. What it does is in `tinyunet.cli`.

Exit status: 0 if all went well; 1 if a gradient check failed; 2 with one line on the error stream
for a mistake that the person can mend; 130 after Ctrl-C. A traceback means that the fault is ours.
`main` is the one place where errors become lines.
"""

import argparse
import errno
import sys
import warnings

import tinyunet
from tinyunet.backend import DEVICES
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
from tinyunet.inference.sliding_window import DEFAULT_TILE
from tinyunet.training.config import CHOICES, RANGES


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

    add_check_options(command("check", run_check, "find what is wrong with images and masks"))

    summary = "turn polygons into the mask of a georeferenced scene"
    add = command("rasterize", run_rasterize, summary).add_argument
    add("scene", metavar="SCENE", help="a georeferenced image")
    add("polygons", metavar="POLYGONS", help="a GeoPackage, GeoJSON or shapefile")
    add("--out", metavar="MASK", required=True, help="the GeoTIFF to write")
    add("--field", metavar="NAME", help="attribute that tells the class (all are class 1)")
    add("--layer", metavar="NAME", help="layer of a GeoPackage with several (the first)")
    add(
        "--outside",
        type=int,
        choices=(0, 255),
        default=0,
        help="where no polygon lies: 0 is background, 255 does not count (0)",
    )

    add = command("tile", run_tile, "cut scenes and their masks into tiles").add_argument
    add("scene", metavar="SCENE", help="an image, georeferenced or not, or a folder of them")
    add("mask", metavar="MASK", help="its mask, of the same size, or a folder of them")
    add("--out", metavar="DIR", required=True, help="new folder for images/ and masks/")
    add("--size", type=whole(1), default=256, metavar="N", help="height and width of a tile (256)")
    add("--overlap", type=whole(0), default=0, metavar="N", help="pixels neighbors share (0)")
    add("--skip-empty", action="store_true", help="leave out tiles whose mask stores 0 only")

    add = command("predict", run_predict, "find the class of each pixel of an image").add_argument
    add("model", metavar="MODEL", help="a model file, such as RUN/model.npz")
    add("images", metavar="IMAGE_OR_DIR", nargs="+", help="images, or folders of them")
    add("--out", metavar="DIR", required=True, help="folder for the results")
    add("--probabilities", action="store_true", help="also write a TIFF (0 to 255) for each class")
    add("--polygons", action="store_true", help="also write a GeoPackage of the classes")
    add("--min-area", type=float, default=0, metavar="A", help="leave smaller polygons out (0)")
    add_sweep_options(add)

    add = command("evaluate", run_evaluate, "compare predictions with masks").add_argument
    add("model", metavar="MODEL", help="a model file, such as RUN/model.npz")
    add("images", metavar="IMAGES", help="folder of images")
    add("masks", metavar="MASKS", help="folder of their masks")
    add("--json", metavar="FILE", help="also write the scores as JSON")
    add("--out", metavar="DIR", help="also draw the confusion matrix and the worst images")
    add_sweep_options(add)

    add = command("export", run_export, "write a model as an ONNX file, for QGIS").add_argument
    add("model", metavar="MODEL", help="a model file, such as RUN/model.npz")
    add("--out", metavar="FILE", required=True, help="the file to write, such as model.onnx")
    add("--tile", type=whole(1), default=512, metavar="N", help="side of its images (512)")
    add("--resolution", type=float, metavar="CM", help="size of a pixel on the ground, in cm")

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
    add("--channels", type=whole(1, 4096), default=3, metavar="N", help="channels of an image (3)")
    add("--classes", type=whole(1, 4096), default=2, metavar="N", help="number of classes (2)")
    add("--size", default="256", metavar="N|HxW", help="height and width of the image (256)")

    add_learn_options(
        command("learn", run_learn, "learn backpropagation by writing it").add_argument
    )

    command("gradcheck", run_gradcheck, "check the gradient of every operation")
    command("info", run_info, "show what tinyunet runs on, and what is missing")
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


def add_check_options(check: Parser) -> None:
    """Describe ``tinyunet check``."""
    add = check.add_argument
    add("images", metavar="IMAGES", help="folder of images, or one scene")
    add("masks", metavar="MASKS", help="folder of their masks, or one")
    add("--val-images", metavar="DIR", help="folder of the images to validate on")
    add("--val-masks", metavar="DIR", help="folder of their masks")
    add("--class-names", type=lambda text: text.split(","), metavar="A,B,...", help="names")
    add_reading_options(add, default=None)
    add(
        "--depth",
        type=whole(1, 12),
        default=4,
        metavar="N",
        help="of the network to be trained (4)",
    )
    add("--crop-size", type=whole(1), default=128, metavar="N", help="of the training (128)")
    add("--out", metavar="DIR", help="keep the report there, with a contact sheet")


def add_reading_options(add, **default) -> None:
    """Describe what images and masks store."""
    table = "class table: what the masks store for each class, as 'building: 255' a line"
    add("--classes", metavar="FILE", help=table, **default)
    text = "mask value that does not count, for a table that is worked out"
    add("--ignore-index", type=int, metavar="N", help=text, **default)
    text = "bands to use, counted from 1, such as 4,1,2 (all)"
    add("--bands", type=numbers, metavar="N,N,...", help=text, **default)
    text = "transparent pixels are missing data, mean nothing, or alpha is a channel"
    add("--alpha", choices=("valid", "drop", "channel"), help=text, **default)
    text = "masks were drawn on images turned as their EXIF data say, or on stored pixels"
    add("--exif", choices=("turn", "stored"), help=text, **default)


def numbers(text: str) -> list[int]:
    """Read a list of numbers, such as 4,1,2."""
    return [int(word) for word in text.split(",")]


def add_train_options(train_command: Parser) -> None:
    """Describe ``tinyunet train``.

    An option that is not typed stays out of the result, so that `--resume` can tell what a person
    wants from what is merely a default. The defaults are those of `TrainingConfig`.
    """
    train_command.argument_default = argparse.SUPPRESS
    add = train_command.add_argument
    add("images", metavar="IMAGES", help="folder of images, or one scene")
    add("masks", metavar="MASKS", help="folder of their masks, or one")
    add("--out", metavar="RUN", required=True, help="folder for the model and all about it")
    add("--val-images", metavar="DIR", help="folder of images to validate on")
    add("--val-masks", metavar="DIR", help="folder of their masks")
    add("--val-fraction", type=float, metavar="F", help="or set this share aside (0.2)")
    add(
        "--val-split",
        choices=CHOICES["val_split"],
        help="how: spatial for tiles and scenes (random)",
    )
    add("--val-interval", type=int, metavar="N", help="steps between checkpoints (100)")
    add("--patience", type=int, metavar="N", help="stop after N checkpoints without a new best")
    add("--preview-interval", type=int, metavar="N", help="draw preview.png every N steps, too")
    add("--steps", type=int, metavar="N", help="steps of training (1000)")
    add("--batch-size", type=int, metavar="N", help="crops in a step (8)")
    add("--crop-size", type=int, metavar="N", help="height and width of a crop (128)")
    add_network_options(add)
    add("--dropout", type=float, metavar="F", help="share of activations dropped (0)")
    add("--lr", type=float, metavar="F", help="highest learning rate of Adam (0.001)")
    add("--loss", choices=CHOICES["loss"], help="cross-entropy, Dice or their sum (ce)")
    add("--class-weights", choices=CHOICES["class_weights"], help="weigh rare classes up (none)")
    add("--weight-map", action="store_true", help="let gaps between objects count more")
    add("--instances", metavar="DIR", help="masks that number the objects, for --weight-map")
    add("--elastic", action="store_true", help="bend the crops at random")
    add("--class-names", type=lambda text: text.split(","), metavar="A,B,...", help="names")
    add_reading_options(add)
    text = "memory for images; larger scenes are read by windows (2)"
    add("--cache", type=lambda text: int(min(float(text), 1e6) * 1e9), metavar="GB", help=text)
    add("--seed", type=int, metavar="N", help="decides everything random (0)")
    add("--device", choices=DEVICES, help="where to compute (auto)")
    add("--threads", type=int, metavar="N", help="threads a batch is split among (all cores)")
    add("--resume", action="store_true", help="go on with the run from its last checkpoint")


def add_network_options(add) -> None:
    """Describe a network."""
    add(
        "--base-channels",
        type=whole(*RANGES["base_channels"]),
        metavar="N",
        help="channels of the first level (16)",
    )
    add(
        "--depth",
        type=whole(*RANGES["depth"]),
        metavar="N",
        help="how often the image is halved (4)",
    )
    add("--upsampling", choices=CHOICES["upsampling"], help="how it is doubled again (transpose)")
    add("--padding", choices=CHOICES["padding"], help="of the convolutions (same)")
    add("--norm", choices=CHOICES["norm"], help="normalization after each (batch)")


def add_sweep_options(add) -> None:
    """Describe how an image is swept."""
    add("--tile", type=whole(1), default=DEFAULT_TILE, metavar="N", help="pixels kept (256)")
    add("--margin", type=whole(0), metavar="N", help="pixels seen around the tile (64)")
    add("--batch-size", type=whole(1), metavar="N", help="windows at once (one for each thread)")
    add(
        "--threads",
        type=whole(1, 256),
        metavar="N",
        help="threads they are split among (all cores)",
    )
    add("--device", choices=DEVICES, default="auto", help="where to compute (auto)")
