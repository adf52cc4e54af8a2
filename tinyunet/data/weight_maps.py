r"""How much each pixel counts in the loss: weights for rare classes, and for borders between cells.

**Rare classes.** Where 93 % of the pixels are background, a network that says "background"
everywhere is right 93 % of the time. Weights make the pixels of rare classes count more.

**Borders.** Cells that touch are easily taken for one. The U-Net paper makes the thin strip of
background between them count up to eleven times as much as other pixels (Ronneberger, Fischer and
Brox 2015, https://arxiv.org/abs/1505.04597, equation 2):

.. math:: w(x) = w_c(x) + w_0 \, \exp\left(-\frac{(d_1(x) + d_2(x))^2}{2 \sigma^2}\right)

:math:`w_c` is the weight of the pixel's class, :math:`d_1` the distance to the nearest cell and
:math:`d_2` that to the second nearest, in pixels. The paper's figures are :math:`w_0 = 10` and
:math:`\sigma = 5` pixels. In a gap of a few pixels both distances are small and the weight is
large; at the outer border of a lone cell :math:`d_2` is large and nothing is added.
"""

import numpy as np

from tinyunet.errors import import_extra


def suggest_class_weights(counts, ignore_index: int | None = None) -> list[float]:
    r"""Give each class a weight, so that rare classes are heard.

    .. math:: w_k = \frac{1}{a \sqrt{s_k}}, \qquad s_k = \frac{n_k}{\sum_j n_j}, \qquad
              a = \sum_k \sqrt{s_k}

    where n are the counts of pixels and s the shares. The factor 1 / a makes the mean weight of a
    pixel 1, so the size of the loss and the learning rate keep their meaning. The square root is a
    compromise: with 1 / s, a class of a hundred pixels in the whole data set would weigh as much as
    one of millions, and would be found everywhere.

    Parameters
    ----------
    counts : array (K,)
        Pixels of each class, as `tinyunet.data.dataset.count_classes` gives them.
    ignore_index : int, optional
        If it is a class, it gets weight 0 and its pixels are not counted.

    Returns
    -------
    list of K floats
        0 for a class that has no pixel.
    """
    counts = np.array(counts, dtype=np.float64)
    if ignore_index is not None and 0 <= ignore_index < len(counts):
        counts[ignore_index] = 0
    roots = np.sqrt(counts / max(counts.sum(), 1))
    weights = np.zeros(len(counts))
    np.divide(1, roots * roots.sum(), out=weights, where=roots > 0)
    return weights.tolist()


def weight_map(mask, instances, class_weights=None, *, w0=10.0, sigma=5.0):
    """Weigh the pixels of a mask as the U-Net paper does: by class, and by the borders nearby.

    The result already holds the class weights: give it to the loss as pixel weights, alone. The
    sum of the paper is not the product that pixel weights and class weights together would make.

    Parameters
    ----------
    mask : array (H, W), integers
        Class indices. Those beyond `class_weights`, such as an ignored 255, count as 1 here: the
        loss leaves them out by itself.
    instances : array (H, W), integers
        0 between the objects and a number of its own for each. Where nobody numbered them, give the
        `connected_components`; then objects that touch are one, and only those with a gap between
        them are told apart.
    class_weights : sequence of K floats, optional
        1 each, if not given.
    w0, sigma : float
        Largest additional weight, and how wide a gap still counts, in pixels.

    Returns
    -------
    array (H, W), float32

    Raises
    ------
    UserError
        If scipy is missing.
    """
    weights = border_weights(instances, w0, sigma)
    if class_weights is None:
        return weights + np.float32(1)
    is_class = (mask >= 0) & (mask < len(class_weights))
    of_class = np.asarray(class_weights, dtype=np.float32)[np.where(is_class, mask, 0)]
    return weights + np.where(is_class, of_class, np.float32(1))


def border_weights(instances, w0=10.0, sigma=5.0):
    r"""Compute the second term of the paper's weights, large in thin gaps between objects.

    :math:`w_0 \exp(-(d_1 + d_2)^2 / 2 \sigma^2)` on the background, 0 inside the objects and where
    there are fewer than two. Distances are Euclidean, from pixel center to pixel center.

    The weight of an object far away is nil, so each one is measured only in a window around it:
    beyond 5.3 sigma an error of at most w0 / 1,000,000 is made.

    Parameters
    ----------
    instances : array (H, W), integers
        0 on the background, a number of its own for each object: 1, 2, ...
    w0, sigma : float
        As in `weight_map`; sigma in pixels.

    Returns
    -------
    array (H, W), float32

    Raises
    ------
    UserError
        If scipy is missing.
    """
    ndimage = scipys_ndimage()
    nearest = np.full(instances.shape, np.inf)
    second = np.full(instances.shape, np.inf)
    reach = int(np.ceil(sigma * np.sqrt(2 * np.log(1e6))))
    for number, box in enumerate(ndimage.find_objects(instances), start=1):
        if box is None:  # no object has this number
            continue
        window = tuple(slice(max(side.start - reach, 0), side.stop + reach) for side in box)
        distance = ndimage.distance_transform_edt(instances[window] != number)
        second[window] = np.minimum(second[window], np.maximum(nearest[window], distance))
        nearest[window] = np.minimum(nearest[window], distance)
    weights = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    return np.where(instances == 0, weights, 0).astype(np.float32)


def connected_components(mask):
    """Give each connected piece of a class other than 0 a number; pixels connect along a side.

    Parameters
    ----------
    mask : array (H, W), integers

    Returns
    -------
    array (H, W), int32
        0 where the mask is 0; 1, 2, ... elsewhere.

    Raises
    ------
    UserError
        If scipy is missing.
    """
    ndimage = scipys_ndimage()
    components = np.zeros(mask.shape, dtype=np.int32)
    for value in np.unique(mask[mask != 0]):
        pieces, _ = ndimage.label(mask == value)
        components += np.where(pieces > 0, pieces + components.max(), 0).astype(np.int32)
    return components


def scipys_ndimage():
    """Import `scipy.ndimage`, the only thing here that is not NumPy, or say how to get it."""
    return import_extra("demos", "scipy.ndimage")[0]
