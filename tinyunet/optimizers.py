r"""Optimizers: what changes the parameters, given their gradients.

A gradient points uphill, so every method steps the other way; they differ in how they use what the
steps before have told. A *schedule* says how large the step is: a function of the step's number.
"""

import math

from tinyunet.backend import to_device, to_host, xp


class Optimizer:
    """What SGD and Adam share.

    Attributes
    ----------
    lr : float
        The learning rate; assign it before a step to follow a schedule.
    steps : int
        How many steps were taken.
    """

    # The names of the arrays that are kept for each parameter from step to step
    memory_names: tuple = ()

    def __init__(self, parameters, lr, weight_decay=0.0):
        self.parameters = list(parameters)
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = 0
        self.memory = {
            name: [xp.zeros_like(parameter.data) for parameter in self.parameters]
            for name in self.memory_names
        }

    def zero_grad(self):
        """Forget the gradients: do this before each step."""
        for parameter in self.parameters:
            parameter.grad = None

    def state(self):
        """Copy to the host what the next step needs: a dict of name to array."""
        state = {"steps": xp.module.asarray(self.steps)}
        for name, arrays in self.memory.items():
            state.update({f"{name}.{index}": array for index, array in enumerate(arrays)})
        return {name: to_host(array).copy() for name, array in state.items()}

    def load_state(self, state):
        """Put back what `state` gave.

        Raises
        ------
        ValueError
            If it is the state of another optimizer or network.
        """
        expected = self.state()
        if expected.keys() != state.keys() or any(
            expected[name].shape != state[name].shape for name in expected
        ):
            raise ValueError("this state belongs to another optimizer or another network")
        self.steps = int(state["steps"])
        for name, arrays in self.memory.items():
            for index, array in enumerate(arrays):
                array[...] = to_device(state[f"{name}.{index}"])


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

    memory_names = ("velocity",)

    def __init__(self, parameters, lr, momentum=0.0, weight_decay=0.0):
        super().__init__(parameters, lr, weight_decay)
        self.momentum = momentum

    def step(self):
        """Change every parameter that has a gradient, in place."""
        for parameter, velocity in zip(self.parameters, self.memory["velocity"], strict=True):
            if parameter.grad is None:
                continue
            velocity *= self.momentum
            velocity += parameter.grad
            if self.weight_decay:
                velocity += self.weight_decay * parameter.data
            parameter.data -= self.lr * velocity
        self.steps += 1


class Adam(Optimizer):
    r"""Adam: each parameter has its own step size, by how large its gradients usually are.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
              v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
              \theta \leftarrow \theta - \eta \, \frac{m / (1 - \beta_1^t)}
              {\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Both averages start at zero and would be too small at first; the divisions correct that.

    Parameters
    ----------
    parameters : list of Parameter
    lr : float
        The learning rate eta: about how far a parameter moves in one step.
    betas : pair of float
        How much of the averages m and v is kept from step to step.
    epsilon : float
        Keeps the division alive.
    weight_decay : float
        Each step first shrinks the parameters by lr * weight_decay, apart from the gradient
        (I. Loshchilov and F. Hutter, Decoupled weight decay regularization, 2019).

    Source: D. Kingma and J. Ba, Adam: a method for stochastic optimization (2015), algorithm 1.
    """

    memory_names = ("mean", "mean_square")

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), epsilon=1e-8, weight_decay=0.0):
        super().__init__(parameters, lr, weight_decay)
        self.betas = betas
        self.epsilon = epsilon

    def step(self):
        """Change every parameter that has a gradient, in place."""
        self.steps += 1
        beta1, beta2 = self.betas
        correction1, correction2 = 1 - beta1**self.steps, 1 - beta2**self.steps
        for parameter, mean, mean_square in zip(
            self.parameters, self.memory["mean"], self.memory["mean_square"], strict=True
        ):
            gradient = parameter.grad
            if gradient is None:
                continue
            if self.weight_decay:
                parameter.data *= 1 - self.lr * self.weight_decay
            mean *= beta1
            mean += (1 - beta1) * gradient
            mean_square *= beta2
            mean_square += (1 - beta2) * gradient * gradient
            size = xp.sqrt(mean_square)
            size *= correction2**-0.5
            size += self.epsilon
            xp.divide(mean, size, out=size)
            size *= self.lr / correction1
            parameter.data -= size


def constant(lr):
    """Keep the learning rate: a schedule, from the step's number to `lr`."""
    return lambda step: lr


def cosine(lr, steps, warmup_steps=0):
    """Rise in a straight line for `warmup_steps`, then fall to zero at `steps` on half a cosine.

    Large steps explore first, small ones settle at the end, so that the result does not swing with
    the last batches. (I. Loshchilov and F. Hutter, SGDR, 2017, without restarts.)
    """

    def schedule(step):
        if step < warmup_steps:
            return lr * (step + 1) / warmup_steps
        progress = (step - warmup_steps) / max(steps - warmup_steps, 1)
        return lr * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))

    return schedule
