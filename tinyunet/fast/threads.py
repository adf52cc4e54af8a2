"""Threads that help with one operation, where the batch alone does not keep them busy.

A batch is split over threads image by image (see `tinyunet.distributed.replicas`), which needs no
help from the operations. With fewer images than threads, as for one large image, some would stand
idle. These are lent to the threads that work, and `for_each` gives them a part of the work.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager


class Lent(threading.local):
    """How many threads the current thread may use, itself among them; and where they are."""

    count: int = 1
    pool: ThreadPoolExecutor | None = None


lent = Lent()


def thread_count() -> int:
    """Tell how many threads may work for the current one, itself among them."""
    return lent.count


@contextmanager
def lend(pool: ThreadPoolExecutor, count: int) -> Iterator[None]:
    """Within the block, let this thread use `count` threads of a pool."""
    before = lent.count, lent.pool
    lent.count, lent.pool = count, pool
    try:
        yield
    finally:
        lent.count, lent.pool = before


def split_evenly(items: Sequence) -> list[Sequence]:
    """Cut a list into as many runs as there are threads, of nearly equal length, none empty."""
    length = max(1, -(-len(items) // lent.count))
    return [items[first : first + length] for first in range(0, len(items), length)]


def for_each(work: Callable, items: Iterable) -> list:
    """Call ``work(item)`` for each item, on all threads there are; results in order.

    The calls must not depend on each other's order: each writes to a place of its own.
    """
    if lent.count == 1:
        return [work(item) for item in items]
    items = list(items)
    results, waiting = [None] * len(items), iter(enumerate(items))

    def take_turns(_: int) -> None:
        for index, item in waiting:  # each thread takes the next one when it is done with one
            results[index] = work(item)

    run_all(lent.pool, take_turns, lent.count)
    return results


def run_all(pool: ThreadPoolExecutor, work: Callable, count: int) -> list:
    """Call ``work(0)`` to ``work(count - 1)`` on the threads of a pool; results in order.

    If one fails, its error comes when all the others have ended: what they work on is at rest.
    """
    calls = [pool.submit(work, index) for index in range(count)]
    wait(calls)
    return [call.result() for call in calls]
