"""What a check says, and how to put it."""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

SEVERITIES = ("problem", "warning", "note")


class Finding(NamedTuple):
    """One thing that a check noticed.

    Attributes
    ----------
    severity : str
        "problem": training fails, or learns nonsense. "warning": it may. "note": good to know.
    title, meaning, advice : str
        What it is, what it means for training, and what to do.
    """

    severity: str
    title: str
    meaning: str
    advice: str


def plural(count: int, noun: str) -> str:
    """Count things: "1 image", "2 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Iterable[str], most: int = 5, separator: str = ", ") -> str:
    """List a few names: "a, b, c and 7 more"."""
    names = iter(names)
    shown = separator.join(itertools.islice(names, most))
    more = sum(1 for _ in names)
    return f"{shown} and {more:,} more" if more else shown


def size(shape: tuple) -> str:
    """Write a size as "height x width"."""
    return f"{shape[0]} x {shape[1]}"
