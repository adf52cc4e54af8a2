r"""Dropout: in training, switch off random values, so that no one feature is relied on alone.

Each value is set to zero with probability `rate`; those that stay are scaled up by
:math:`1 / (1 - rate)`, so that the expected sum stays the same, and at inference nothing needs to
change. Being a multiplication by a mask, its backward is a multiplication by the same mask.

Source: N. Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting
(2014). The U-Net paper has it at the end of the contracting path.
"""

from collections.abc import Callable

import numpy as np

from tinyunet.backend import Array, to_device, xp


def dropout(x: Array, rate: float, rng: np.random.Generator) -> tuple[Array, Callable]:
    """Set a random part of the values to zero and scale the rest up.

    Parameters
    ----------
    x : array of any shape
    rate : float
        Probability that a value is dropped, 0 <= rate < 1.
    rng : numpy.random.Generator
        Draws on the host, so that NumPy and CuPy drop the same values for the same seed.

    Returns
    -------
    y : array of the same shape
    backward : function
        ``backward(dy)`` gives ``dx``.

    Raises
    ------
    ValueError
        If the rate is not in [0, 1).
    """
    if not 0 <= rate < 1:
        raise ValueError(f"dropout rate {rate}: it must be at least 0 and less than 1")
    kept = to_device(rng.random(x.shape, dtype="float32") >= rate)
    mask = xp.where(kept, x.dtype.type(1 / (1 - rate)), x.dtype.type(0))
    y = x * mask

    def backward(dy: Array) -> Array:
        return dy * mask

    return y, backward
