"""Optimizers: what to do with a gradient once you have it.

THE IDEA. The gradient g points uphill, so a step goes the other way. The *learning rate* lr
says how far. Two ways to do better than value - lr * g:

SGD WITH MOMENTUM is a ball that rolls. It has a velocity, keeps a part of it (`momentum`, such
as 0.9) from step to step, and each gradient pushes it:

               velocity = momentum * velocity + g
               value = value - lr * velocity

ADAM gives each number a step size of its own. It keeps an average of the gradients (mean) and
one of their squares, in which old ones fade:

               mean = beta1 * mean + (1 - beta1) * g
               mean_square = beta2 * mean_square + (1 - beta2) * g**2

Both start at zero, so in the beginning they are too small. Step t (1, 2, 3, ...) corrects that:

               m = mean / (1 - beta1**t)
               s = mean_square / (1 - beta2**t)
               value = value - lr * m / (sqrt(s) + epsilon)

There is nothing to derive here. Write each as a function that returns the new arrays, and
changes none of those that it was given: `value -= ...` would.
"""


def sgd(value, g, velocity, lr=0.1, momentum=0.9):
    """Take one step of SGD with momentum; all arrays have the same shape."""
    new_velocity = ...  # your turn
    new_value = ...  # your turn
    return new_value, new_velocity


def adam(value, g, mean, mean_square, t, lr=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Take step number t of Adam; all arrays have the same shape."""
    new_mean = ...  # your turn
    new_mean_square = ...  # your turn
    new_value = ...  # your turn (np.sqrt: import numpy as np, at the top)
    return new_value, new_mean, new_mean_square
