"""Max pooling: of each 2 x 2 pixels, keep the largest.

THE IDEA. Going down the U, an image shrinks to half its height and width. What matters is that
something was found, not exactly where; so of four neighbors the largest number stays. Each
channel is pooled by itself.

FORWARD        y[n, i, j, c] = max of x[n, 2 i + u, 2 j + v, c] over u, v in {0, 1}

BACKWARD. Only the winner of each window had a say. If one of the others grows a little, y does
not change at all. So who gets dy, and what do the others get?

Forward has already stacked the four members of each window, and noted in `winner` which of them
was the largest: 0, 1, 2 or 3, in the order of the loop. (Where two are equal, the first
counts.)
"""

import numpy as np


def max_pool2d(x):
    """Pool images (N, H, W, C) of even height and width to (N, H / 2, W / 2, C)."""
    members = np.stack([x[:, u::2, v::2] for u in (0, 1) for v in (0, 1)])  # (4, N, H/2, W/2, C)
    winner = members.argmax(axis=0)  # (N, H/2, W/2, C)
    y = np.take_along_axis(members, winner[None], axis=0)[0]

    def backward(dy):
        dx = ...  # your turn, shape (N, H, W, C)
        return dx

    return y, backward
