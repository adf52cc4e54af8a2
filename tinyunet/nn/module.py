"""Parameters and layers: what a network is made of.

An operation of `tinyunet.nn.functional` is a pure function that returns its backward. A `Layer`
adds what training needs: it owns the `Parameter` arrays, keeps the backward of its last forward,
and collects gradients. Layers contain layers, so a network is one too.

A layer of your own defines `forward`, which passes an operation's result through `save_backward`::

    class Square(Layer):
        def forward(self, x):
            return self.save_backward((x**2, lambda dy: 2 * x * dy))
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinyunet.backend import Array, random_generator, to_device, to_host


class Parameter:
    """An array that a layer owns.

    Attributes
    ----------
    data : array
        The values; an optimizer changes them in place.
    grad : array of the same shape, or None
        The gradient of the loss, summed since the last `zero_grad`.
    trainable : bool
        False for what is stored but not learned by gradient, as running averages are.
    name : str
        For messages: where it sits in the network whose `parameters` were listed last, such as
        ``"encoder.0.conv1.weight"``.
    """

    def __init__(self, data: Array, trainable: bool = True):
        self.data = data
        self.grad: Array | None = None
        self.trainable = trainable
        self.name = ""

    def add_gradient(self, gradient: Array) -> None:
        """Add to `grad`: a parameter that is used twice gets the sum of both gradients."""
        self.grad = gradient if self.grad is None else self.grad + gradient

    def __repr__(self) -> str:
        name = f"{self.name}, " if self.name else ""
        return f"Parameter({name}shape {self.data.shape}, {self.data.dtype})"


class Layer:
    """A step of a network: `forward` computes, `backward` gives the gradient of its input.

    ``layer(x)`` is ``layer.forward(x)``. Each backward belongs to the last forward and can be
    called once: then what the forward kept for it is let go.
    """

    training = True
    saves_backward = True
    _backward: Callable | None = None

    def __call__(self, *inputs: Any) -> Any:
        """Run forward; or, with a probe of `tinyunet.nn.summary`, only work out the shapes."""
        if hasattr(inputs[0], "visit"):
            return inputs[0].visit(self, *inputs[1:])
        return self.forward(*inputs)

    def forward(self, x: Array) -> Array:
        """Compute the layer's output, and save how to go back."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def backward(self, dy: Array, input_gradient: bool = True) -> Array | None:
        """Turn the gradient of the output into that of the input; add up those of parameters.

        The operation's backward gives the input's gradient first, then one for each parameter of
        this layer, in the order in which they were defined. Without `input_gradient`, where nobody
        wants the input's own, it is left out and None comes back.
        """
        backward, own = self.pop_backward(), find(Parameter, vars(self).items())
        if not own:
            return backward(dy) if input_gradient else None
        dx, *gradients = backward(dy) if input_gradient else backward(dy, input_gradient=False)
        trained = [parameter for _, parameter in own if parameter.trainable]
        for parameter, gradient in zip(trained, gradients, strict=True):
            parameter.add_gradient(gradient)
        return dx

    def save_backward(self, result: tuple[Array, Callable]) -> Array:
        """Take an operation's (y, backward), keep backward if it is wanted, and hand on y."""
        y, backward = result
        self._backward = backward if self.saves_backward else None
        return y

    def pop_backward(self) -> Callable:
        """Give out the backward of the last forward, and forget it.

        Raises
        ------
        RuntimeError
            If there is none.
        """
        backward, self._backward = self._backward, None
        if backward is not None:
            return backward
        reason = "call forward first, each time; it must return self.save_backward((y, backward))"
        if not self.saves_backward:
            reason = "in evaluation mode none is saved: call train() or eval(save_backward=True)"
        raise RuntimeError(f"{type(self).__name__}.backward: {reason}")

    def input_extent(self, count: int, axis: int) -> int:
        """Tell how many input pixels `count` neighboring output pixels depend on: here as many."""
        return count

    def multiply_adds(self, shape: tuple) -> int:
        """Count the multiplications in matrix products for an input of this shape: here none."""
        return 0

    # -- What is inside ----------------------------------------------------------------------------

    def children(self) -> list[tuple[str, "Layer"]]:
        """List the layers directly inside this one, as (name, layer), in order of definition."""
        return find(Layer, vars(self).items())

    def modules(self) -> list["Layer"]:
        """List this layer and every layer inside it."""
        return [self, *(inside for _, layer in self.children() for inside in layer.modules())]

    def named_parameters(self, prefix: str = "") -> list[tuple[str, Parameter]]:
        """List all parameters of this layer and those inside, as (name, parameter)."""
        own = find(Parameter, vars(self).items())
        found = [(prefix + name, parameter) for name, parameter in own]
        for name, layer in self.children():
            found += layer.named_parameters(f"{prefix}{name}.")
        return found

    def parameters(self) -> list[Parameter]:
        """List the parameters that are trained, each once, always in the same order."""
        trained = {}
        for name, parameter in self.named_parameters():
            if parameter.trainable and parameter not in trained:
                trained[parameter] = parameter.name = name
        return list(trained)

    def zero_grad(self) -> None:
        """Forget the gradients: do this before each step."""
        for parameter in self.parameters():
            parameter.grad = None

    # -- Modes -------------------------------------------------------------------------------------

    def train(self) -> "Layer":
        """Switch to training: dropout drops, batch normalization uses the batch's statistics."""
        return self._switch(training=True, saves_backward=True)

    def eval(self, save_backward: bool = False) -> "Layer":
        """Switch to evaluation: no dropout, running averages for statistics, no backward.

        With `save_backward`, backward works in this mode too: for the gradient of a trained network
        with respect to its image.
        """
        return self._switch(training=False, saves_backward=save_backward)

    def _switch(self, training: bool, saves_backward: bool) -> "Layer":
        for layer in self.modules():
            layer.training, layer.saves_backward, layer._backward = training, saves_backward, None
        return self

    def set_seed(self, *seed: Any) -> None:
        """Reseed the layers that draw random numbers (have an `rng`) from ints or lists of them."""
        for index, layer in enumerate(m for m in self.modules() if hasattr(m, "rng")):
            layer.rng = random_generator(*seed, index)

    # -- Saving ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copy all parameters to the host, running averages too: a dict of name to array."""
        return {name: to_host(parameter.data).copy() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Put values back that `state_dict` gave.

        Raises
        ------
        ValueError
            If names or shapes are not those of this network.
        """
        parameters = dict(self.named_parameters())
        own = {name: parameter.data.shape for name, parameter in parameters.items()}
        given = {name: array.shape for name, array in state.items()}
        for name in sorted(own.keys() | given.keys()):
            here, there = own.get(name, "missing"), given.get(name, "missing")
            if here != there:
                where = f"{name} is {there} in the state, {here} in the network"
                raise ValueError(f"the state does not match this network: {where}")
        for name, parameter in parameters.items():
            parameter.data[...] = to_device(state[name])

    def __repr__(self) -> str:
        parts = [f"{name}={type(layer).__name__}" for name, layer in self.children()]
        if not parts:
            for name, value in vars(self).items():
                if isinstance(value, Parameter):
                    parts.append(f"{name}={value.data.shape}")
                elif isinstance(value, (int, float, str, tuple)) and name not in vars(Layer):
                    parts.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


def find(kind: type, named_values: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Find layers or parameters among values, and inside of lists, tuples and dicts among them.

    Raises
    ------
    TypeError
        If some are in a set, which has no order to name them by.
    """
    found = []
    for name, value in named_values:
        if isinstance(value, kind):
            found.append((name, value))
        elif isinstance(value, (list, tuple)):
            found += find(kind, [(f"{name}.{index}", item) for index, item in enumerate(value)])
        elif isinstance(value, dict):
            found += find(kind, [(f"{name}.{key}", item) for key, item in value.items()])
        elif isinstance(value, (set, frozenset)) and any(isinstance(item, kind) for item in value):
            raise TypeError(f"{name} is a set, and what is in a set has no order: use a list")
    return found
