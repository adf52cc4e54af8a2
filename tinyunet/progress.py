"""Progress bars: on a terminal a line that moves, in a notebook the notebook's own."""

import sys
import warnings

from tqdm import TqdmExperimentalWarning, std

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmExperimentalWarning)
    from tqdm.autonotebook import tqdm

__all__ = ["is_watched", "tqdm"]


def is_watched() -> bool:
    """Tell whether somebody can see a bar move; a log file should get lines instead."""
    return tqdm is not std.tqdm or bool(sys.stderr and sys.stderr.isatty())
