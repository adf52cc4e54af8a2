r"""Batch normalization: give every channel mean 0 and variance 1, then a learned scale and shift.

**The idea.** For each channel, over all M pixels of all images of the batch,

.. math:: \mu = \frac1M \sum x, \quad \sigma^2 = \frac1M \sum (x - \mu)^2, \quad
          \hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \quad y = \gamma \hat x + \beta

**The gradient.** Each pixel also moves the mean and the variance, and through them every other
pixel. With :math:`d\hat x = \gamma\, dy`, and writing mean(.) for the mean over the M pixels,

.. math:: dx = \frac{1}{\sqrt{\sigma^2 + \epsilon}} \left( d\hat x - \mathrm{mean}(d\hat x)
          - \hat x \; \mathrm{mean}(d\hat x \cdot \hat x) \right)

The two terms that are taken off are what no change of x can achieve: moving the mean of the output,
and its spread. A batch of one color has variance 0; :math:`\epsilon` keeps the division alive.

When the network is used, an image must not depend on what else is in the batch: mean and variance
are then constants (running averages from training), and only :math:`dx = d\hat x / \sqrt{\cdot}`
is left.

Source: S. Ioffe and C. Szegedy, Batch normalization (2015), section 3.
"""

from tinyunet.backend import xp
from tinyunet.nn.functional.convolution import sum_over_pixels


def batch_norm2d(x, gamma, beta, *, epsilon=1e-5, mean=None, variance=None, of_batch=False):
    """Normalize each channel, then scale and shift it.

    Parameters
    ----------
    x : array (N, H, W, C)
    gamma, beta : arrays (C,)
        The learned scale and shift.
    epsilon : float
        Added to the variance.
    mean, variance : arrays (C,), optional
        Constants to normalize with (inference). Without them the batch's own are used (training).
    of_batch : bool
        The mean and variance given are no constants but what `batch_statistics` found for this
        very batch, so that they need not be worked out twice.

    Returns
    -------
    y : array (N, H, W, C)
    backward : function
        ``backward(dy)`` gives ``(dx, dgamma, dbeta)``.

    Raises
    ------
    ValueError
        If only one of mean and variance is given.
    """
    if (mean is None) != (variance is None):
        raise ValueError("give both mean and variance, or neither to use those of the batch")
    training = mean is None or of_batch
    if mean is None:
        mean, variance = batch_statistics(x)
    scale = 1 / xp.sqrt(variance + epsilon)
    x_hat = x - mean
    x_hat *= scale
    y = x_hat * gamma
    y += beta

    def backward(dy):
        dgamma = sum_over_pixels(dy * x_hat)
        dbeta = sum_over_pixels(dy)
        if not training:
            return dy * (gamma * scale), dgamma, dbeta
        pixels = dy.size // dy.shape[3]
        # mean(dx_hat) = gamma * dbeta / M and mean(dx_hat * x_hat) = gamma * dgamma / M
        dx = x_hat * (-dgamma / pixels)
        dx += dy
        dx -= dbeta / pixels
        dx *= gamma * scale
        return dx, dgamma, dbeta

    return y, backward


def batch_statistics(x):
    """Mean and (biased) variance of each channel of (N, H, W, C), two arrays (C,)."""
    pixels = x.size // x.shape[3]
    mean = sum_over_pixels(x) / pixels
    # The mean of squared deviations, not E[x^2] - E[x]^2: that would cancel in float32.
    deviation = x - mean
    return mean, sum_over_pixels(deviation * deviation) / pixels
