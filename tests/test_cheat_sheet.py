"""The cheat sheet of shapes: every line of its tables is run, and is true."""

import re
from pathlib import Path

import numpy as np
import pytest

from tinyunet import fast
from tinyunet.nn import functional

PAGE = Path(__file__).resolve().parent.parent / "docs" / "shapes.md"
# All different, so that no two letters can stand for each other; s divides H and W.
SIZES = {"N": 2, "H": 8, "W": 12, "C": 3, "F": 5, "KH": 4, "KW": 6, "K": 7, "S": 11, "s": 2, "p": 1}


def rows_below(heading):
    """Read the table below a heading: a list of cells for each line."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


PLAIN = [("plain", *row) for row in rows_below("Operations")]
FAST = [("fast", *row) for row in rows_below("What the fast forms keep")]


def shapes_in(cell, sizes):
    """List the shapes in a cell, such as ``x `(N, H, W, C)` ``, with what stands before them."""
    found = re.findall(r"(\w*) ?`(\(.*?\))`", cell)
    return [(name, eval(shape, {}, sizes)) for name, shape in found]


def captured_arrays(function):
    """List the arrays that a function keeps in memory, in the functions that it keeps, too."""
    found, functions = {}, [function]
    for inner in functions:
        for cell in inner.__closure__ or ():
            value = cell.cell_contents
            if isinstance(value, np.ndarray):
                while isinstance(value.base, np.ndarray):  # a view keeps the whole alive
                    value = value.base
                found[id(value)] = value
            elif hasattr(value, "__closure__") and value not in functions:
                functions.append(value)
    return list(found.values())


def test_every_operation_is_on_the_cheat_sheet():
    names = {row[1].split("(")[0].strip("`") for row in PLAIN}
    operations = {name for name, value in vars(functional).items() if callable(value)}
    assert names >= operations - {
        "normalize_batch"
    }  # `batch_norm2d` that tells its statistics, too


@pytest.mark.parametrize("row", PLAIN + FAST, ids=lambda row: f"{row[0]} {row[1].split('(')[0]}")
def test_a_line_of_the_cheat_sheet_is_what_the_operation_does(row):
    form, call, taken, given, output_height, gradients, kept = row
    sizes = dict(SIZES)
    if output_height:
        formula = output_height.strip("`")
        sizes["OH"] = eval(formula, {}, sizes)
        across = {"H": sizes["W"], "KH": sizes["KW"]}
        sizes["OW"] = eval(formula, {}, sizes | across)
    rng = np.random.default_rng(0)
    arguments = {
        name: rng.integers(0, sizes["K"], shape) if name == "labels" else rng.normal(size=shape)
        for name, shape in shapes_in(taken, sizes)
    }
    module = functional if form == "plain" else fast
    names = {**vars(module), **sizes, **arguments, "rate": 0.5, "rng": rng}
    y, backward = eval(call.strip("`"), names)
    ((_, expected),) = shapes_in(given, sizes)
    assert np.shape(y) == expected

    kept_shapes = sorted(array.shape for array in captured_arrays(backward) if array.ndim > 2)
    assert kept_shapes == sorted(shape for _, shape in shapes_in(kept, sizes))

    got = backward(rng.normal(size=np.shape(y)))
    got = got if isinstance(got, tuple) else (got,)
    told = re.findall(r"`d(\w+)`", gradients)
    assert [gradient.shape for gradient in got] == [arguments[name].shape for name in told]
