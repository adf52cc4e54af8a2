"""What a check says, and how to put it."""

from collections.abc import Iterable
from typing import NamedTuple

SEVERITIES = ("problem", "warning", "note")


class Finding(NamedTuple):
    """One thing that a check noticed.

    Attributes
    ----------
    severity : str
        "problem": training stops. "warning": it may learn nonsense. "note": good to know.
    title, advice : str
        What it is, and what it means and what to do.
    """

    severity: str
    title: str
    advice: str


def plural(count: int, noun: str) -> str:
    """Count things: "1 image", "2 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Iterable[str], most: int = 5, separator: str = ", ") -> str:
    """List a few names: "a, b, c and 7 more"."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return separator.join(names[:most]) + more
