r"""Optimizers: what changes the parameters, given their gradients.

A gradient points uphill, so every method steps the other way; they differ in how they use what the
steps before have told. How large the steps are is a matter of `tinyunet.nn.schedules`.
"""

import math
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np

from tinyunet.backend import Array, to_device, to_host, xp
from tinyunet.nn.module import Parameter

Parameters: TypeAlias = Iterable[Parameter]


class Optimizer:
    """What SGD and Adam share.

    Parameters
    ----------
    parameters : list of Parameter
    lr : float
        The learning rate; assign it before a step to follow a schedule.
    weight_decay : float
        How strongly the parameters are pulled towards zero.

    Attributes
    ----------
    state : dict of name to list of arrays
        What the method keeps from step to step, an array for each parameter.
    steps : int
        How many steps were taken.
    """

    state_names: tuple[str, ...] = ()

    def __init__(self, parameters: Parameters, lr: float, weight_decay: float = 0.0):
        self.parameters = list(parameters)
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = 0
        self.state = {
            name: [xp.zeros_like(parameter.data) for parameter in self.parameters]
            for name in self.state_names
        }
        self.shapes = [parameter.data.shape for parameter in self.parameters]

    def __repr__(self) -> str:
        numbers = sum(math.prod(shape) for shape in self.shapes)
        return f"{type(self).__name__}(lr={self.lr:g}): {numbers:,} numbers, step {self.steps}"

    def zero_grad(self) -> None:
        """Forget the gradients: do this before each step."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Change the parameters in place, by their gradients."""
        self.check_parameters()
        self.steps += 1
        for parameter, *state in zip(self.parameters, *self.state.values(), strict=True):
            self.update(parameter.data, parameter.grad, *state)

    def update(self, values: Array, gradient: Array, *state: Array) -> None:
        """Change the values of a parameter and what is kept of it, in place."""
        raise TypeError(f"{type(self).__name__} does not define update")

    def check_parameters(self) -> None:
        """Check that every parameter has a gradient and still its shape.

        Raises
        ------
        RuntimeError
            If not. A backward that forgets to store a gradient would otherwise go unseen, because
            the other parameters go on learning and the loss still falls.
        """
        for index, (parameter, shape) in enumerate(zip(self.parameters, self.shapes, strict=True)):
            problem = None
            if parameter.grad is None:
                problem = "has no gradient: run backward before a step; did it store them all?"
            elif parameter.data.shape != shape:
                problem = f"is {parameter.data.shape} now, was {shape}: make a new optimizer"
            if problem:
                raise RuntimeError(f"parameter {parameter.name or f'number {index}'} {problem}")

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copy to the host what the next step needs: each kind of state as one row of numbers."""
        rows = {
            name: to_host(xp.concatenate([array.ravel() for array in arrays]))
            for name, arrays in self.state.items()
        }
        return {"steps": np.asarray(self.steps), **rows}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Put back what `state_dict` gave.

        Raises
        ------
        ValueError
            If it is the state of another optimizer or network.
        """
        shapes = {name: array.shape for name, array in self.state_dict().items()}
        if shapes != {name: array.shape for name, array in state.items()}:
            raise ValueError("this state belongs to another optimizer or another network")
        self.steps = int(state["steps"])
        for name, arrays in self.state.items():
            ends = np.cumsum([array.size for array in arrays])
            for array, part in zip(arrays, np.split(state[name], ends[:-1]), strict=True):
                array[...] = to_device(part.reshape(array.shape))


class SGD(Optimizer):
    r"""Stochastic gradient descent with momentum: a ball that rolls downhill.

    .. math:: v \leftarrow \mu v + g, \qquad \theta \leftarrow \theta - \eta v

    Parameters
    ----------
    parameters : list of Parameter
    lr : float
        The learning rate eta.
    momentum : float
        The part mu of the last step that is kept.
    weight_decay : float
        This times the parameter is added to its gradient.
    """

    state_names = ("velocity",)

    def __init__(
        self, parameters: Parameters, lr: float, momentum: float = 0.0, weight_decay: float = 0.0
    ):
        super().__init__(parameters, lr, weight_decay)
        self.momentum = momentum

    def update(self, values: Array, gradient: Array, velocity: Array) -> None:
        """Change the values of a parameter and its velocity, in place."""
        velocity[...] = self.momentum * velocity + gradient + self.weight_decay * values
        values -= self.lr * velocity


class Adam(Optimizer):
    r"""Adam: each number has its own step size, by how large its gradients usually are.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
              v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
              \theta \leftarrow \theta - \eta \, \frac{m / (1 - \beta_1^t)}
              {\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Both averages start at zero and would be too small at first; the divisions correct that.

    Source: D. Kingma and J. Ba, Adam: a method for stochastic optimization (2015), algorithm 1.

    Parameters
    ----------
    parameters : list of Parameter
    lr : float
        The learning rate eta: about how far a number moves in one step.
    betas : pair of float
        How much of the averages m and v is kept from step to step.
    epsilon : float
        Prevents division by zero.
    weight_decay : float
        Each step first shrinks the parameters by lr * weight_decay, apart from the gradient
        (I. Loshchilov and F. Hutter, Decoupled weight decay regularization, 2019).
    """

    state_names = ("mean", "mean_square")

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, lr, weight_decay)
        self.betas = betas
        self.epsilon = epsilon

    def update(self, values: Array, gradient: Array, mean: Array, mean_square: Array) -> None:
        """Change the values of a parameter and its two averages, in place."""
        beta1, beta2 = self.betas
        mean[...] = beta1 * mean + (1 - beta1) * gradient
        mean_square[...] = beta2 * mean_square + (1 - beta2) * gradient**2
        m_hat = mean / (1 - beta1**self.steps)
        v_hat = mean_square / (1 - beta2**self.steps)
        values -= self.lr * self.weight_decay * values
        values -= self.lr * m_hat / (xp.sqrt(v_hat) + self.epsilon)
