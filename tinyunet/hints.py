"""What a type hint says beside the type: which numbers make sense, and how a value is called."""

from types import UnionType
from typing import Literal, NamedTuple, Union, get_args, get_origin


class Range(NamedTuple):
    """The numbers that a setting may have, up to the highest that anybody could mean."""

    lowest: float
    highest: float

    def __contains__(self, number) -> bool:
        return self.lowest <= number <= self.highest

    def __str__(self) -> str:
        return f"from {self.lowest} to {self.highest}"


def unfold(hint) -> tuple:
    """Take a type hint apart: the types that it allows, the values that it lists, its notes.

    A note, as in ``Annotated[int, Range(1, 9), "N"]``, is a `Range` or a name for the help.
    """
    notes = getattr(hint, "__metadata__", ())
    hint = hint.__origin__ if notes else hint
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    choices = [v for kind in kinds if get_origin(kind) is Literal for v in get_args(kind)]
    return kinds, choices, notes
