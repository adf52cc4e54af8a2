"""What the demos' command lines have in common: where the picture goes, the seed, the device."""

import argparse
from pathlib import Path

from tinyunet.backend import DEVICES, use_device
from tinyunet.errors import UserError


def demo_parser(story, picture, kind="picture"):
    """Make a parser with what every demo takes; the demo adds its own options.

    Parameters
    ----------
    story : str
        The demo's docstring, of which the first line is shown.
    picture : str
        The name of the picture that it leaves, unless ``--out`` says otherwise.
    kind : str
        What it leaves, if that is not a picture.
    """
    parser = argparse.ArgumentParser(description=story.split("\n")[0])
    parser.add_argument("--out", type=Path, default=picture, help=f"{kind} to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    return parser


def prepare(parser, options):
    """Make the picture's folder and choose the device, or end with one line that says why not."""
    if options.out.is_dir():
        options.out /= parser.get_default("out")
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        use_device(options.device)
    except (UserError, OSError) as problem:
        parser.error(str(problem))
    return options


def percent(share, digits=0):
    """Write a share as the book does."""
    return f"{100 * share:.{digits}f} %"
