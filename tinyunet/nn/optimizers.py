r"""Optimizers: what changes the parameters, given their gradients.

A gradient points uphill, so every method steps the other way; they differ in how they use what the
steps before have told. A *schedule* says how large the step is: a function of the step's number.
"""

import math

from tinyunet.backend import device_name, to_device, to_host, xp
from tinyunet.fast.threads import for_each, shares

# How many numbers are updated at a time. On a CPU a piece and what belongs to it stay in the cache
# from one line of the update to the next; on a GPU one piece is one set of kernel launches.
CHUNK_SIZE = {"cpu": 2**15, "cuda": 2**31}


class Optimizer:
    """What SGD and Adam share: all parameters in one row of numbers, and what is kept of them.

    The parameters become views of that row, so one update serves them all, and their gradients can
    be sent to other processes in one piece.

    Parameters
    ----------
    parameters : list of Parameter
    lr : float
        The learning rate; assign it before a step to follow a schedule.
    weight_decay : float

    Attributes
    ----------
    values, gradients : arrays (number of parameters in total,)
    memory : dict of name to array of the same shape
        What the method keeps from step to step.
    steps : int
        How many steps were taken.
    """

    state_names: tuple = ()

    def __init__(self, parameters, lr, weight_decay=0.0):
        self.parameters = list(parameters)
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = 0
        self.values = xp.concatenate([parameter.data.ravel() for parameter in self.parameters])
        self.gradients = xp.zeros_like(self.values)
        self.memory = {name: xp.zeros_like(self.values) for name in self.state_names}
        first = 0
        for parameter in self.parameters:
            place = slice(first, first + parameter.data.size)
            shape = parameter.data.shape
            parameter.data = self.values[place].reshape(shape)
            parameter.grad_buffer = self.gradients[place].reshape(shape)
            first = place.stop

    def zero_grad(self):
        """Forget the gradients: do this before each step."""
        for parameter in self.parameters:
            parameter.grad = None

    def gather_gradients(self):
        """See that the parameters' gradients are all there, in one row.

        Raises
        ------
        RuntimeError
            If a parameter has none: a backward that forgets to store it would otherwise go unseen,
            because the others go on learning and the loss still falls.
        """
        for parameter in self.parameters:
            if parameter.grad is None:
                raise RuntimeError(
                    f"parameter {parameter.name} has no gradient: run backward before a step, and "
                    "give the optimizer only what is to be trained"
                )
            if parameter.grad is not parameter.grad_buffer:
                parameter.grad_buffer[...] = parameter.grad
        return self.gradients

    def step(self):
        """Change the parameters in place, by their gradients."""
        self.gather_gradients()
        self.steps += 1
        size = CHUNK_SIZE[device_name()]

        def update_from(firsts):
            for first in firsts:
                piece = slice(first, first + size)
                memory = [array[piece] for array in self.memory.values()]
                self.update(self.values[piece], self.gradients[piece], *memory)

        for_each(update_from, shares(range(0, self.values.size, size)))

    def update(self, values, gradients, *memory):
        """Change a piece of the values and of the memory, in place."""
        raise TypeError(f"{type(self).__name__} does not define update")

    def state_dict(self):
        """Copy to the host what the next step needs: a dict of name to array."""
        memory = {name: to_host(array).copy() for name, array in self.memory.items()}
        return {"steps": to_host(self.steps), **memory}

    def load_state_dict(self, state):
        """Put back what `state` gave.

        Raises
        ------
        ValueError
            If it is the state of another optimizer or network.
        """
        expected = self.state_dict()
        if expected.keys() != state.keys() or any(
            expected[name].shape != state[name].shape for name in expected
        ):
            raise ValueError("this state belongs to another optimizer or another network")
        self.steps = int(state["steps"])
        for name, array in self.memory.items():
            array[...] = to_device(state[name])


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

    def __init__(self, parameters, lr, momentum=0.0, weight_decay=0.0):
        super().__init__(parameters, lr, weight_decay)
        self.momentum = momentum

    def update(self, values, gradients, velocity):
        """Change a piece of the values and their velocity, in place."""
        velocity *= self.momentum
        velocity += gradients
        if self.weight_decay:
            velocity += self.weight_decay * values
        values -= self.lr * velocity


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

    state_names = ("mean", "mean_square")

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), epsilon=1e-8, weight_decay=0.0):
        super().__init__(parameters, lr, weight_decay)
        self.betas = betas
        self.epsilon = epsilon

    def update(self, values, gradients, mean, mean_square):
        """Change a piece of the values and their averages, in place."""
        beta1, beta2 = self.betas
        correction1, correction2 = 1 - beta1**self.steps, 1 - beta2**self.steps
        if self.weight_decay:
            values *= 1 - self.lr * self.weight_decay
        mean *= beta1
        mean += (1 - beta1) * gradients
        mean_square *= beta2
        mean_square += (1 - beta2) * gradients * gradients
        # lr * (mean / correction1) / (sqrt(mean_square / correction2) + epsilon)
        size = xp.sqrt(mean_square)
        size *= correction2**-0.5
        size += self.epsilon
        step = mean / size
        step *= self.lr / correction1
        values -= step


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
