"""The optimizers on one long row of numbers, a chunk at a time, on all threads.

A network has some fifty parameters, many of them small. Laid end to end in one row, they are
updated by a few long operations in place of hundreds of short ones; on a GPU each of those is a
kernel launch.
"""

import itertools
import math
from collections.abc import Iterable
from typing import Any

from tinyunet.backend import Array, device_name, xp
from tinyunet.fast.threads import for_each, split_evenly
from tinyunet.nn import optimizers

# How many numbers are updated at a time. On a CPU a chunk and what belongs to it stay in the cache
# from one line of the update to the next; on a GPU one chunk is one set of kernel launches.
CHUNK_SIZE = {"cpu": 2**15, "cuda": 2**31}


class OneRow(optimizers.Optimizer):
    """An optimizer whose parameters are views into one row; each kind of its state is one, too."""

    def __init__(self, *arguments: Any, **settings: Any):
        super().__init__(*arguments, **settings)
        self.lay_out()  # now, while there are no gradients and activations beside it
        self.state = {name: [xp.zeros_like(self.values)] for name in self.state_names}

    def step(self) -> None:
        """Change the parameters in place, by their gradients."""
        self.check_parameters()
        pairs = zip(self.parameters, self.views, strict=True)
        if not all(parameter.data is view for parameter, view in pairs):
            self.lay_out()  # a parameter got another array
        self.steps += 1
        gradients = row_of(parameter.grad for parameter in self.parameters)
        rows = [self.values, gradients, *(row for (row,) in self.state.values())]
        size = CHUNK_SIZE[device_name()]

        def update_from(firsts: range) -> None:
            for first in firsts:
                self.update(*(row[first : first + size] for row in rows))

        for_each(update_from, split_evenly(range(0, self.values.size, size)))

    def lay_out(self) -> None:
        """Copy the parameters into one row, and put views of the row in their place."""
        self.values = row_of(parameter.data for parameter in self.parameters)
        self.views = views_of(self.values, self.shapes)
        for parameter, view in zip(self.parameters, self.views, strict=True):
            parameter.data = view


def row_of(arrays: Iterable[Array]) -> Array:
    """Copy arrays into one row, end to end."""
    arrays = list(arrays)
    row = xp.empty(sum(array.size for array in arrays), dtype=arrays[0].dtype)
    # Not xp.concatenate: on a GPU that would send it a list of where the arrays lie.
    for view, array in zip(views_of(row, [a.shape for a in arrays]), arrays, strict=True):
        view[...] = array
    return row


def views_of(row: Array, shapes: list[tuple]) -> list[Array]:
    """View the parts of a row as arrays of these shapes."""
    ends = list(itertools.accumulate(map(math.prod, shapes)))
    parts = xp.split(row, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


class SGD(OneRow, optimizers.SGD):
    """The plain SGD on one row."""


class Adam(OneRow, optimizers.Adam):
    """The plain Adam on one row."""
