"""How well one feature map alone tells a class from the others.

The measure is the AUC: the chance that of two pixels, one of the class and one not, the map puts
them in the right order. 0.5 is guessing, 1 is perfect. Among many maps one is good by luck, so the
best is chosen on the left half of the image and judged on the right half.
"""

import numpy as np
from scipy.stats import rankdata

FEWEST = 20  # pixels of a class, and of others, without which a half is no judge


def separation(values, positive):
    """Compute the AUC of each column of `values` (pixels, C) for the pixels that are `positive`."""
    ranks = rankdata(values, axis=0)[positive].sum(axis=0)
    count = positive.sum()
    return (ranks / count - (count + 1) / 2) / (len(positive) - count)


def single_map(level, truth, index):
    """Judge the best single map of a level for one class; NaN where a half has too little of it."""
    rows, columns = (
        np.floor((np.arange(length) + 0.5 - begins) / level.scale).astype(int)
        for length, begins in zip(truth.shape, (level.top, level.left), strict=True)
    )
    values, middle = level.maps[rows[:, None], columns], truth.shape[1] // 2
    halves = [
        (part[::2, ::2].reshape(-1, values.shape[2]), mask[::2, ::2].ravel() == index)
        for part, mask in (
            (values[:, :middle], truth[:, :middle]),
            (values[:, middle:], truth[:, middle:]),
        )
    ]
    if any(min(where.sum(), (~where).sum()) < FEWEST for _, where in halves):
        return np.nan
    chosen, judged = (separation(*half) for half in halves)
    best = abs(chosen - 0.5).argmax()
    # A map that is dark where the class is tells as much as one that is bright there.
    return judged[best] if chosen[best] > 0.5 else 1 - judged[best]
