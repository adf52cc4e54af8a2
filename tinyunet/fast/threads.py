"""Threads that help with one operation, where the batch alone does not keep them busy.

A batch is split over threads image by image (see `tinyunet.distributed.replicas`), which needs no
help from the operations. With fewer images than threads, as for one large image, some would stand
idle. These are lent to the threads that work, and `for_each` lets them do a part of an operation's
bands.
"""

import threading
from contextlib import contextmanager


class Lent(threading.local):
    """How many threads, itself among them, the current thread may use."""

    count = 1
    pool = None


lent = Lent()


@contextmanager
def lend(pool, count):
    """Within the block, let this thread use `count` threads of a pool.

    Parameters
    ----------
    pool : concurrent.futures.ThreadPoolExecutor
    count : int
    """
    before = lent.count, lent.pool
    lent.count, lent.pool = count, pool
    try:
        yield
    finally:
        lent.count, lent.pool = before


def shares(items):
    """Cut a list into as many runs as threads were lent, of nearly equal length, none empty."""
    length = max(1, -(-len(items) // lent.count))
    return [items[first : first + length] for first in range(0, len(items), length)]


def for_each(work, items):
    """Call ``work(item)`` for each item, on as many threads as were lent; results in order.

    The calls must not depend on each other's order: each writes to a place of its own.
    """
    if lent.count == 1:
        return [work(item) for item in items]
    return list(lent.pool.map(work, items))
