r"""ReLU, the rectified linear unit: what is negative becomes zero.

Without something that is not linear between them, two convolutions would be no more than one.

.. math:: y = \max(x, 0) \qquad\qquad dx = \begin{cases} dy & x > 0 \\ 0 & \text{else} \end{cases}

At exactly 0 the slope is not defined; we take 0, as everybody does. Backward asks the output, not
the input: ``y > 0`` says the same as ``x > 0``, and the next layer keeps ``y`` anyway.
"""

from collections.abc import Callable

from tinyunet.backend import Array, xp


def relu(x: Array) -> tuple[Array, Callable]:
    """Set what is negative to zero.

    Parameters
    ----------
    x : array of any shape

    Returns
    -------
    y : array of the same shape
    backward : function
        ``backward(dy)`` gives ``dx``.
    """
    y = xp.maximum(x, 0)

    def backward(dy: Array) -> Array:
        return dy * (y > 0)

    return y, backward
