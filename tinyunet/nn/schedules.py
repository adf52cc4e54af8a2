"""Schedules: how large the step is, a function from the step's number to the learning rate."""

import math
from collections.abc import Callable


def cosine(lr: float, steps: int, warmup_steps: int = 0) -> Callable[[int], float]:
    """Rise in a straight line for `warmup_steps`, then fall to zero at `steps` on half a cosine.

    Large steps explore first, small ones settle at the end, so that the result does not swing with
    the last batches. (I. Loshchilov and F. Hutter, SGDR, 2017, without restarts.)
    """

    def schedule(step: int) -> float:
        if step < warmup_steps:
            return lr * (step + 1) / warmup_steps
        progress = (step - warmup_steps) / max(steps - warmup_steps, 1)
        return lr * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))

    return schedule
