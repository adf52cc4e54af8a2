"""ReLU: what is negative becomes zero.

THE IDEA. A network of nothing but sums and products could draw only straight lines. Between
them it needs something that bends, and this is the simplest thing that does: positive numbers
pass, negative ones become 0.

FORWARD        y = max(x, 0), for each number by itself

BACKWARD. `dy` has the shape of y. It says how much the loss grows when an entry of y grows a
little: the *gradient* of the loss with respect to y. Your task is to turn it into `dx`, the
same for x. Think of one number. If it is 3 and you make it 3.001, what does y do? And if it is
-3? So how much of dy belongs into dx at either place?

Every exercise is like this one: forward is there and works, and where three dots stand it is
your turn. Write `backward` so that it returns dx, an array of x's shape. Then save the file and
run `tinyunet learn` with this folder again.
"""

import numpy as np


def relu(x):
    """Set what is negative to zero; x may have any shape."""
    y = np.maximum(x, 0)

    def backward(dy):
        dx = ...  # your turn: of dy, what passes?
        return dx

    return y, backward
