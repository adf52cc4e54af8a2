r"""Batch normalization: give every channel mean 0 and variance 1, then a learned scale and shift.

**The idea.** For each channel, over all M pixels of all images of the batch,

.. math:: \mu = \frac1M \sum x, \quad \sigma^2 = \frac1M \sum (x - \mu)^2, \quad
          \hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \quad y = \gamma \hat x + \beta

**The gradient.** Each pixel also moves the mean and the variance, and through them every other
pixel. With :math:`d\hat x = \gamma\, dy`, and writing mean(.) for the mean over the M pixels,

.. math:: dx = \frac{1}{\sqrt{\sigma^2 + \epsilon}} \left( d\hat x - \mathrm{mean}(d\hat x)
          - \hat x \; \mathrm{mean}(d\hat x \cdot \hat x) \right)

The two terms that are taken off are what no change of x can achieve: moving the mean of the output,
and its spread. A batch of one color has variance 0; :math:`\epsilon` prevents division by zero.
Where a batch is divided, the sums must run over all parts: then it is the same normalization, and
the same gradient, as in one piece.

At inference an image must not depend on what else is in the batch: mean and variance are then
constants (running averages from training), and only :math:`dx = d\hat x / \sqrt{\cdot}` is left.

Source: S. Ioffe and C. Szegedy, Batch normalization (2015), section 3.
"""

from collections.abc import Callable

from tinyunet.backend import Array, xp

PIXELS = (0, 1, 2)  # the axes N, H and W: all but the channels


def batch_norm2d(
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    epsilon: float = 1e-5,
    mean: Array | None = None,
    variance: Array | None = None,
) -> tuple[Array, Callable]:
    """Normalize each channel, then scale and shift it.

    Parameters
    ----------
    x : array (N, H, W, C)
    gamma, beta : arrays (C,), the learned scale and shift
    epsilon : float, added to the variance
    mean, variance : arrays (C,), optional
        Constants to normalize with (inference). Without them the batch's own are used (training).

    Returns
    -------
    y : array (N, H, W, C)
    backward : function
        ``backward(dy)`` gives ``(dx, dgamma, dbeta)``; with ``input_gradient=False``, dx is None.

    Raises
    ------
    ValueError
        If only one of mean and variance is given.
    """
    if (mean is None) != (variance is None):
        raise ValueError("give both mean and variance, or neither to use those of the batch")
    if mean is None:
        return normalize_batch(x, gamma, beta, epsilon=epsilon)[0]
    std = xp.sqrt(variance + epsilon)
    x_hat = (x - mean) / std
    y = gamma * x_hat + beta

    def backward(dy: Array, input_gradient: bool = True) -> tuple:
        dx_hat = gamma * dy
        dx = dx_hat / std if input_gradient else None
        return dx, (dy * x_hat).sum(axis=PIXELS), dy.sum(axis=PIXELS)

    return y, backward


def one_part(*sums: Array) -> tuple[Array, ...]:
    """Sum over the parts of a batch that has only one: what is given is the sum."""
    return sums


def normalize_batch(
    x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5, sum_over_parts=one_part
) -> tuple[tuple[Array, Callable], Array, Array]:
    """Normalize by the batch's own statistics, and tell them: a layer keeps averages of them.

    Parameters
    ----------
    x, gamma, beta, epsilon : as for `batch_norm2d`
    sum_over_parts : function
        Where `x` is a part of a batch: ``sum_over_parts(a, b)`` adds sums over its pixels to those
        of the other parts.

    Returns
    -------
    (y, backward), mean, variance
        The pair as `batch_norm2d` returns it. Mean and variance (C,), the latter as it is estimated
        from a sample, with division by M - 1.
    """
    pixels = xp.full((), x.size // x.shape[3], dtype=x.dtype)
    total, pixels = sum_over_parts(x.sum(axis=PIXELS), pixels)
    mean = total / pixels
    (squares,) = sum_over_parts(((x - mean) ** 2).sum(axis=PIXELS))
    std = xp.sqrt(squares / pixels + epsilon)
    x_hat = (x - mean) / std
    y = gamma * x_hat + beta

    def backward(dy: Array, input_gradient: bool = True) -> tuple:
        dgamma, dbeta = (dy * x_hat).sum(axis=PIXELS), dy.sum(axis=PIXELS)
        dx = None
        if input_gradient:
            # Since dx_hat = gamma * dy, the means of dx_hat and of dx_hat * x_hat are these:
            sum_of_product, sum_of_dy = sum_over_parts(dgamma, dbeta)
            mean_of_dx_hat = gamma * sum_of_dy / pixels
            mean_of_product = gamma * sum_of_product / pixels
            dx = (gamma * dy - mean_of_dx_hat - x_hat * mean_of_product) / std
        return dx, dgamma, dbeta

    return (y, backward), mean, squares / xp.maximum(pixels - 1, 1)
