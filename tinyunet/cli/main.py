"""The command ``tinyunet``: what can be typed. What it does is in `tinyunet.cli`.

Exit status: 0 if all went well; 1 if a gradient check failed; 2 with one line on the error stream
for a mistake that the person can fix; 130 after Ctrl-C. A traceback means that the fault is ours.
`main` is the one place where errors become lines.
"""

import argparse
import errno
import inspect
import io
import sys
import warnings
from dataclasses import fields
from typing import Any

import tinyunet
from tinyunet.cli.arguments import Parser
from tinyunet.cli.crossvalidate import run_crossvalidate
from tinyunet.cli.data import run_check, run_rasterize, run_tile
from tinyunet.cli.describe import run_export, run_gradcheck, run_info, run_inspect
from tinyunet.cli.evaluate import run_evaluate
from tinyunet.cli.predict import predict, run_predict
from tinyunet.cli.train import run_train
from tinyunet.course.session import run_learn
from tinyunet.data.images import plain
from tinyunet.errors import UserError
from tinyunet.inference.sliding_window import sliding_window
from tinyunet.training.config import NETWORK, READING, TrainingConfig


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
            # In one line, without the place in our code that it comes from.
            warnings.showwarning = lambda text, *place: complain(f"note: {text}", 0)
            typed = vars(parser().parse_args(arguments))
            status = typed.pop("run")(**typed) or 0
            output.flush()
            if output.error is not None and output.error.errno != errno.EPIPE:
                output.error.filename = "standard output"
                raise output.error  # a closed pipe is no error: `| head` has seen enough
    except UserError as error:
        return complain(error, 2)
    except OSError as error:
        path = "" if error.filename is None else f"cannot use {error.filename}: "
        return complain(f"{path}{error.strerror or error}", 2)
    except MemoryError:
        return complain("out of memory: choose a smaller crop, tile or batch, or fewer threads", 2)
    except KeyboardInterrupt:
        return complain("stopped; a training goes on from its last checkpoint with --resume", 130)
    finally:
        sys.stdout, sys.stderr = streams
    return status


def complain(problem, status: int) -> int:
    """Print a problem as one line on the error stream; returns the status."""
    print("tinyunet:", plain(" ".join(str(problem).split())), file=sys.stderr)
    return status


# -- Standard output and standard error ------------------------------------------------------------


class Stream:
    """Stands for a text stream and never raises an error, whatever happens to it.

    What it can't encode is escaped. When it can't be written to any more, since the disk is full or
    the reader is gone, all further text is dropped.

    Attributes
    ----------
    error : OSError or None
        Why it could not be written to.
    """

    def __init__(self, stream) -> None:
        self.stream = stream
        self.error: OSError | None = None
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write a text; returns its length."""
        self._attempt("write", text)
        return len(text)

    def flush(self) -> None:
        """Hand on what is still in the stream's buffer."""
        self._attempt("flush")

    def _attempt(self, method: str, *arguments) -> None:
        if self.stream is not None and self.error is None:  # None: there is none, as in a service
            try:
                getattr(self.stream, method)(*arguments)
            except OSError as error:
                self.error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


# -- What can be typed -----------------------------------------------------------------------------


def parser() -> Parser:
    """Describe the command line: each command by the function that it runs."""
    epilog = "Type tinyunet COMMAND --help for the options of a command."
    top = Parser(prog="tinyunet", description=tinyunet.__doc__, epilog=epilog)
    version = f"tinyunet {tinyunet.__version__}"
    top.add_argument("--version", action="version", version=version, help="Show the version.")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run, *settings: str, **more) -> None:
        summary = inspect.getdoc(run).splitlines()[0]
        added = commands.add_parser(name, help=summary, description=summary)
        added.set_defaults(run=run)
        added.add(TrainingConfig, settings, **more)
        added.add(run)
        if run is run_predict:
            added.add(predict)
        if run in (run_predict, run_evaluate):
            added.add(sliding_window, ("tile", "margin", "threads", "tta"))

    # What was not typed stays out of the result, so that --resume can tell what a person wants.
    everything = [each.name for each in fields(TrainingConfig)]
    command("train", run_train, *everything, default=argparse.SUPPRESS)
    pairs, network = ("images", "masks"), ("depth", "crop_size")
    validation = ("val_images", "val_masks")
    command("check", run_check, *pairs, *validation, *READING, *network)
    more = ("batch_size", "class_weights", "lr", "seed", "device", "threads")
    command("crossvalidate", run_crossvalidate, *pairs, *READING, *network, *more)
    command("rasterize", run_rasterize)
    command("tile", run_tile)
    command("predict", run_predict, "alpha")
    command("evaluate", run_evaluate, "alpha")
    command("export", run_export)
    command("inspect", run_inspect, *NETWORK, default=argparse.SUPPRESS)
    command("learn", run_learn)
    command("gradcheck", run_gradcheck)
    command("info", run_info)
    return top
