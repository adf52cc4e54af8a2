"""From a function to what can be typed."""

import argparse
from typing import Annotated, Literal

import pytest

from tinyunet.cli.arguments import Parser
from tinyunet.errors import UserError
from tinyunet.hints import Range


def paint(
    place: str,
    colors: Annotated[list[str], "COLOR"],
    *,
    out: Annotated[str, "FILE"],
    coats: Annotated[int, Range(1, 9)] = 2,
    kind: Literal["oil", "water"] = "oil",
    shares: list[int] | None = None,
    room: Annotated[float, "GB"] = 7.0,
    with_: Annotated[float | None, Range(0, 1)] = None,
    quick: bool = False,
    hidden: int = 3,
):
    """Paint something.

    Parameters
    ----------
    place : str
        Where it is.
    colors : list of str
        Colors, as many
        as you like.
    out : str
        What to write.
    coats : int
        Number of coats.
    kind : str
        What the paint is made of.
    shares : list of int, optional
        How much of each (default: the same).
    room : float
        How much room there is.
    with_ : float, optional
        With how much force.
    quick : bool
        Hurry up.
    """


def parsed(text, **more):
    parser = Parser(prog="paint")
    parser.add(paint, **more)
    return vars(parser.parse_args(text.split()))


def test_what_is_not_typed_has_its_usual_value():
    expected = {"place": "wall", "colors": ["red"], "out": "x", "coats": 2, "kind": "oil"}
    expected |= {"shares": None, "room": 7, "with_": None, "quick": False}
    assert parsed("wall red --out x") == expected


def test_what_is_typed_is_read_by_its_type():
    text = "wall red blue --out x --coats 9 --kind water --shares 1,2 --room 0.5 --with 1 --quick"
    expected = {"place": "wall", "colors": ["red", "blue"], "out": "x", "coats": 9, "quick": True}
    expected |= {"kind": "water", "shares": [1, 2], "room": 0.5, "with_": 1.0}
    assert parsed(text) == expected


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("wall red", "required: --out"),
        ("--out x", "required: PLACE, COLOR"),
        ("wall red --out x --coats 10", "argument --coats: 10 is not from 1 to 9"),
        ("wall red --out x --coats 0", "argument --coats: 0 is not from 1 to 9"),
        ("wall red --out x --with nan", "argument --with: nan is not from 0 to 1"),
        ("wall red --out x --coats two", "argument --coats: invalid int value: 'two'"),
        ("wall red --out x --shares a,b", "argument --shares: invalid list value"),
        ("wall red --out x --kind milk", "argument --kind: invalid choice: 'milk'"),
        ("wall red --out x --hidden 4", "unrecognized arguments"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(wrong, message):
    with pytest.raises(UserError, match=message):
        parsed(wrong)


def test_some_parameters_alone_can_be_asked_for_and_left_out_where_not_typed():
    assert parsed("", names=("coats", "kind"), default=argparse.SUPPRESS) == {}
    assert parsed("--coats 3", names=("coats", "kind"), default=argparse.SUPPRESS) == {"coats": 3}


def test_help_has_the_words_of_the_docstring_and_the_values_that_hold():
    parser = Parser(prog="paint")
    parser.add(paint)
    said = " ".join(parser.format_help().split())
    assert "COLOR Colors, as many as you like." in said
    assert "--coats N Number of coats (default: 2)." in said
    assert "--shares SHARES How much of each (default: the same)." in said
    assert "--room GB" in said and "--with F With how much force." in said
