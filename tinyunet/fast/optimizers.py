"""The optimizers on one long row of numbers, a chunk at a time, on all threads.

A network has some fifty parameters, many of them small. Laid end to end in one row, they are
updated by a few long operations in place of hundreds of short ones; on a GPU each of those is a
kernel launch.
"""

import math
from typing import Any

from tinyunet.backend import Array, device_name, xp
from tinyunet.fast.threads import for_each, split_evenly
from tinyunet.nn import optimizers

# How many numbers are updated at a time. On a CPU a chunk and what belongs to it stay in the cache
# from one line of the update to the next; on a GPU one chunk is one set of kernel launches.
CHUNK_SIZE = {"cpu": 2**15, "cuda": 2**31}


class OneRow(optimizers.Optimizer):
    """An optimizer whose parameters are views into one row, and likewise each kind of its state."""

    def __init__(self, *arguments: Any, **settings: Any):
        super().__init__(*arguments, **settings)
        self.lay_out()  # now, while there are no gradients and activations beside it

    def step(self) -> None:
        """Change the parameters in place, by their gradients."""
        self.check_parameters()
        pairs = zip(self.parameters, self.views, strict=True)
        if not all(parameter.data is view for parameter, view in pairs):
            self.lay_out()  # a parameter got another array
        self.steps += 1
        gradients = row_of([parameter.grad for parameter in self.parameters])
        size = CHUNK_SIZE[device_name()]

        def update_from(firsts: range) -> None:
            for first in firsts:
                chunk = slice(first, first + size)
                state = [row[chunk] for row in self.state_rows]
                self.update(self.values[chunk], gradients[chunk], *state)

        for_each(update_from, split_evenly(range(0, self.values.size, size)))

    def lay_out(self) -> None:
        """Copy parameters and state into rows, and put views of the rows in their place."""
        self.values = row_of([parameter.data for parameter in self.parameters])
        self.views = views_of(self.values, self.shapes)
        for parameter, view in zip(self.parameters, self.views, strict=True):
            parameter.data = view
        self.state_rows = []
        for name, arrays in self.state.items():
            row = row_of(arrays)
            self.state[name] = views_of(row, self.shapes)
            self.state_rows.append(row)


def row_of(arrays: list[Array]) -> Array:
    """Copy arrays into one row, end to end."""
    row = xp.empty(sum(array.size for array in arrays), dtype=arrays[0].dtype)
    for view, array in zip(views_of(row, [a.shape for a in arrays]), arrays, strict=True):
        view[...] = array
    return row


def views_of(row: Array, shapes: list[tuple]) -> list[Array]:
    """View the parts of a row as arrays of these shapes."""
    views, first = [], 0
    for shape in shapes:
        last = first + math.prod(shape)
        views.append(row[first:last].reshape(shape))
        first = last
    return views


class SGD(OneRow, optimizers.SGD):
    """The plain SGD, without arrays in between."""

    def update(self, values: Array, gradient: Array, velocity: Array) -> None:
        """Change a chunk of the values and their velocity, in place."""
        velocity *= self.momentum
        velocity += gradient
        if self.weight_decay:
            velocity += self.weight_decay * values
        values -= self.lr * velocity


class Adam(OneRow, optimizers.Adam):
    """The plain Adam, with few arrays in between."""

    def update(self, values: Array, gradient: Array, mean: Array, mean_square: Array) -> None:
        """Change a chunk of the values and their averages, in place."""
        beta1, beta2 = self.betas
        correction1, correction2 = 1 - beta1**self.steps, 1 - beta2**self.steps
        if self.weight_decay:
            values *= 1 - self.lr * self.weight_decay
        mean *= beta1
        mean += (1 - beta1) * gradient
        mean_square *= beta2
        mean_square += (1 - beta2) * gradient * gradient
        # lr * (mean / correction1) / (sqrt(mean_square / correction2) + epsilon)
        size = xp.sqrt(mean_square)
        size *= correction2**-0.5
        size += self.epsilon
        step = mean / size
        step *= self.lr / correction1
        values -= step
