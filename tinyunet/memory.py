"""How much memory there is, asked before something large begins.

A computer that runs out of memory is slow to say so, and often ends the program without a word.
"""

import math
import warnings
from pathlib import Path

from tinyunet.backend import device_name, xp
from tinyunet.errors import UserError


def memory() -> tuple[float, float]:
    """Return how many bytes the device in use has free, and in all; infinitely many if unknown."""
    if device_name() == "cuda":
        return xp.cuda.runtime.memGetInfo()
    try:
        found = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free, total = (1024 * int(found[name].split()[0]) for name in ("MemAvailable", "MemTotal"))
        return free, total
    except (OSError, KeyError, ValueError):  # not Linux
        return math.inf, math.inf


def check_memory(needed: float, what: str, remedy: str) -> None:
    """Warn if more memory is needed than is free.

    Parameters
    ----------
    needed : float
        Bytes, an estimate.
    what, remedy : str
        What needs them, and what to do so that fewer are needed.

    Raises
    ------
    UserError
        If more is needed than there is at all.
    """
    free, total = memory()
    text = f"{what} takes about {needed / 1e9:,.1f} GB of memory, and"
    if needed > total:
        raise UserError(f"{text} there are {total / 1e9:,.1f} GB: {remedy}")
    if needed > free:
        warnings.warn(f"{text} {free / 1e9:,.1f} GB are free: {remedy}", stacklevel=3)
