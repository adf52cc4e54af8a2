"""The loop that makes a network learn: draw a batch, run forward and backward, take a step.

In the open, with nothing around it, training is this::

    for step in range(steps):
        images, labels = sample_batch(dataset, standardization, ...)
        loss, backward = cross_entropy(network(images), labels)
        network.zero_grad()
        network.backward(backward())
        optimizer.step()

`training_steps` is the same loop with three things added: the batch is shared among threads (and
processes), the learning rate follows a schedule, and what is random depends on the number of the
step alone. It writes no files: a run with a folder, checkpoints and warnings is
`tinyunet.training.trainer.Trainer`, which goes through this loop as well.
"""

from collections.abc import Callable, Iterable, Iterator

from tinyunet.backend import random_generator
from tinyunet.data.augmentation import sample_batch
from tinyunet.data.dataset import Dataset
from tinyunet.distributed.replicas import Replicas
from tinyunet.nn.standardization import Standardization


def training_steps(
    steps: Iterable[int],
    draw_batch: Callable[[int], tuple],
    replicas: Replicas,
    optimizer,
    loss,
    *,
    schedule: Callable[[int], float] | None = None,
    seed: int = 0,
) -> Iterator[tuple[int, object]]:
    """Train step by step; after each, the caller may look at the network, in eval mode too.

    Parameters
    ----------
    steps : iterable of int
        The numbers of the steps, such as ``range(1000)``, or a progress bar around them.
    draw_batch : function
        Gives the batch of a step by its number: images (N, H, W, C), labels (N, OH, OW) and, if
        the pixels count differently, their weights (N, OH, OW) or None. See `random_batches`.
    replicas : Replicas
        The network, and its copies in other threads.
    optimizer : SGD or Adam
    loss : CrossEntropy, Dice or CrossEntropyAndDice
    schedule : function, optional
        Gives the learning rate of a step by its number; without it, the optimizer keeps its own.
    seed : int
        For dropout, which differs from step to step.

    Yields
    ------
    step : int
    loss : array of no axes
        Still on the device: ``float(loss)`` waits for it.
    """
    for step in steps:
        images, labels, *weights = draw_batch(step)
        pixel_weights = weights[0] if weights else None
        if schedule is not None:
            optimizer.lr = schedule(step)
        optimizer.zero_grad()
        value = replicas.loss_and_gradients(
            images, labels, loss, pixel_weights=pixel_weights, seed=[seed, step]
        )
        replicas.step(optimizer)
        yield step, value


def random_batches(
    dataset: Dataset,
    standardization: Standardization,
    *,
    batch_size: int = 8,
    seed: int = 0,
    **options,
) -> Callable[[int], tuple]:
    """Return the function that draws the batch of a step: random crops of random images.

    Each step has a random generator of its own, made of the seed and the step's number. So any
    step can be repeated without those before it.

    Parameters
    ----------
    dataset, standardization, batch_size, **options
        As in `tinyunet.data.augmentation.sample_batch`: `crop_size`, `augmented`, `elastic`.
    seed : int
        The same seed gives the same batches.
    """

    def draw_batch(step: int) -> tuple:
        rng = random_generator(seed, step)
        return sample_batch(dataset, standardization, batch_size=batch_size, rng=rng, **options)

    return draw_batch
