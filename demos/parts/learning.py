"""The steps of training that the demos have in common: a batch of crops, there and back, a step."""

from tinyunet.backend import random_generator
from tinyunet.data.augmentation import sample_batch


def training_steps(
    steps,
    replicas,
    optimizer,
    loss,
    scenes,
    standardization,
    *,
    crop_size,
    seed,
    learning_rate=None,
    augmented=True,
):
    """Train on random crops of scenes; yields the number and the loss of each finished step.

    Between two steps the caller may look at the network, in eval mode too.

    Parameters
    ----------
    steps : iterable of int
        The steps' numbers; what is random in a step comes from the seed and its number.
    replicas : tinyunet.distributed.replicas.Replicas
    optimizer : Optimizer
    loss : CrossEntropy, Dice
    scenes : Dataset
    standardization : Standardization
    crop_size : int
        Height and width of the eight crops of a batch, in pixels.
    seed : int
    learning_rate : function, optional
        Gives that of a step by its number; without it the optimizer keeps its own.
    augmented : bool

    Yields
    ------
    step : int
    loss : array of no axes, on the device
    """
    for step in steps:
        rng = random_generator(seed, step)
        settings = {"batch_size": 8, "crop_size": crop_size, "rng": rng, "augmented": augmented}
        images, labels = sample_batch(scenes, standardization, **settings)
        replicas.train()
        if learning_rate is not None:
            optimizer.lr = learning_rate(step)
        optimizer.zero_grad()
        value = replicas.loss_and_gradients(images, labels, loss)
        replicas.step(optimizer)
        yield step, value
