r"""ReLU, the rectified linear unit: what is negative becomes zero.

Without something that is not linear between them, two convolutions would be no more than one.

.. math:: y = \max(x, 0) \qquad\qquad dx = \begin{cases} dy & x > 0 \\ 0 & \text{else} \end{cases}

At exactly 0 the slope is not defined; we take 0, as everybody does. Backward asks the output, not
the input: ``y > 0`` says the same as ``x > 0``, and the next layer keeps ``y`` in memory anyway.
"""

from tinyunet.backend import xp


def relu(x, in_place=False):
    """Set what is negative to zero.

    Parameters
    ----------
    x : array of any shape
    in_place : bool
        Overwrite `x`, and in backward `dy`: saves time and memory where nobody needs them any more.

    Returns
    -------
    y : array of the same shape
    backward : function
        ``backward(dy)`` gives ``dx``.
    """
    y = xp.maximum(x, 0, out=x if in_place else None)

    def backward(dy):
        return xp.multiply(dy, y > 0, out=dy if in_place else None)

    return y, backward
