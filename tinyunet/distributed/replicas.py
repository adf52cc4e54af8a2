"""One batch on several threads: split it, let each compute its gradients, sum them up.

The gradient of a sum is the sum of the gradients, so the parts of a batch can be computed apart.
NumPy lets go of Python's lock inside its loops and matrix products, so threads do run at the same
time. Each has a *replica* of the network: the same parameters, its own activations and gradients.
Batch normalization needs sums over the whole batch; there the parts wait for each other and add up
(`SumOverParts`). So the network that is learned does not depend on how many threads there are.

Meanwhile the BLAS library, which would use all cores for each product, is kept at one thread: many
small layers share the cores better image by image than product by product.

The same split and sum serve several processes, on one computer or many: a `Communicator` of
`tinyunet.distributed.mpi` first divides the batch among its members, and sums up in the end.
"""

import copy
import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from threadpoolctl import ThreadpoolController

from tinyunet.backend import device_name, to_device, xp
from tinyunet.distributed.mpi import SingleProcess
from tinyunet.errors import UserError
from tinyunet.fast.memory import keep_freed_memory
from tinyunet.fast.threads import lend, run_all
from tinyunet.nn.module import Parameter


class Replicas:
    """A network and its replicas, one for each thread.

    Parameters
    ----------
    network : Layer
    threads : int, optional
        By default as many as the process may use cores; one for each process of several, of which
        one usually starts as many as there are cores. On a GPU there is always one.
    team : Communicator, optional
        The processes that share each batch; see `tinyunet.distributed.mpi`.
    """

    def __init__(self, network, threads=None, team=None):
        self.network, self.team = network, team or SingleProcess()
        if threads is None:  # processes are started as many as there are cores
            threads = available_cores() if self.team.size == 1 else 1
        if device_name() == "cuda":
            threads = 1
        keep_freed_memory()
        self.replicas = [network] + [replica_of(network) for _ in range(threads - 1)]
        self.parameters = [[p for _, p in each.named_parameters()] for each in self.replicas]
        self.pool, self.helpers = ThreadPoolExecutor(threads), ThreadPoolExecutor(threads)
        self.controller = ThreadpoolController()

    def loss_and_gradients(self, images, labels, loss, *, pixel_weights=None, seed=0):
        """Compute the loss of a batch and add its gradients to the network's parameters.

        In a team of processes, each gives the whole batch, works on its share, and gets the loss
        and gradients of the whole.

        Parameters
        ----------
        images : host array (N, H, W, C)
        labels : host integer array (N, H, W)
        loss : CrossEntropy, Dice
            Anything that gives ``(value, backward)`` for logits and labels, and a part's `weight`.
        pixel_weights : host array (N, H, W), optional
        seed : int or list of ints
            For dropout. The same seed and number of threads give the same gradients, bit for bit.

        Returns
        -------
        loss : array of no axes, on the device

        Raises
        ------
        UserError
            If there are fewer images than processes.
        RuntimeError
            In a team, if there are gradients already: they would be summed over the team again.
        """
        team = self.team
        if len(images) < team.size:
            cure = "choose a larger batch or fewer processes"
            raise UserError(f"{len(images)} images for {team.size} processes: {cure}")
        if team.size > 1 and any(p.grad is not None for p in self.parameters[0]):
            raise RuntimeError("call zero_grad before each step")
        targets = (labels,) if pixel_weights is None else (labels, pixel_weights)
        total = loss.weight(*targets) or 1.0
        own = team.share(len(images))
        images, targets = images[own], [array[own] for array in targets]
        parts = split(len(images), len(self.replicas))
        sums = SumOverParts(len(parts), team)

        def work(index):
            replica, part = self.replicas[index].train(), parts[index]
            replica.set_seed(seed, team.rank * len(self.replicas) + index)
            with sums.for_part(index, replica):
                logits = replica(to_device(images[part]))
                targets_of_part = [array[part] for array in targets]
                value, backward = loss(logits, *targets_of_part)
                # The batch's loss is the weighted mean of the parts': by the chain rule a part's
                # gradient is scaled by its share of the weight.
                share = loss.weight(*targets_of_part) / total
                replica.backward(backward(share), input_gradient=False)
                return value * share

        value = xp.asarray(sum(self.run(work, len(parts))))
        self.sum_gradients(len(parts))
        if team.size > 1:  # loss and gradients, all in one message
            team.sum_in_place(*(parameter.grad for parameter in self.network.parameters()), value)
        return value

    def step(self, optimizer):
        """Let the optimizer take its step on all threads."""
        with lend(self.helpers, len(self.replicas)):
            optimizer.step()

    def logits(self, images, forward=lambda network, images: network(images)):
        """Run host images (N, H, W, C) through the network in eval mode: (N, OH, OW, K).

        `forward` is called with a replica and the part of the images that is its own; the logits
        stay on the device.
        """
        parts = split(len(images), len(self.replicas))

        def work(index):
            return forward(self.replicas[index].eval(), to_device(images[parts[index]]))

        return xp.concatenate(self.run(work, len(parts)))

    def run(self, work, count):
        """Call ``work(0)`` to ``work(count - 1)`` on threads of their own; results in order."""
        # With fewer parts than threads, the others help with the operations.
        threads_each = len(self.replicas) // count
        for twins in self.parameters[1:]:
            for parameter, twin in zip(self.parameters[0], twins, strict=True):
                # What a replica adds to running averages is lost: all add the same, the statistics
                # of the whole batch, and the network itself keeps them.
                twin.data = parameter.data if parameter.trainable else parameter.data.copy()

        def work_with_helpers(index):
            with lend(self.helpers, threads_each):
                return work(index)

        with self.controller.limit(limits=1, user_api="blas"):
            return run_all(self.pool, work_with_helpers, count)

    def sum_gradients(self, count):
        """Add the replicas' gradients to the network's, always in the same order."""
        for parameters in self.parameters[1:count]:
            for parameter, part in zip(self.parameters[0], parameters, strict=True):
                if part.grad is not None:
                    parameter.add_gradient(part.grad)
                    part.grad = None


class SumOverParts:
    """Sums over all parts of a batch, while they are computed: each part waits for the others.

    All parts run the same layers, so each asks for the same sums in the same order.

    Parameters
    ----------
    count : int
        How many parts this process has, each on a thread.
    team : Communicator
        The processes that have the other parts.
    """

    def __init__(self, count: int, team):
        self.team = team
        self.given = [()] * count
        self.sums = []
        self.barrier = threading.Barrier(count, action=self._add)

    @contextmanager
    def for_part(self, index: int, replica):
        """Let the layers of a replica sum over all parts; one that fails holds nobody up."""
        divided = len(self.given) * self.team.size > 1
        layers = [m for m in replica.modules() if divided and hasattr(m, "sum_over_parts")]
        for layer in layers:
            layer.sum_over_parts = partial(self._sum, index)
        try:
            yield
        except BaseException as error:
            self.barrier.abort()
            if not isinstance(error, threading.BrokenBarrierError):
                raise  # else another part has failed, and says why
        finally:
            for layer in layers:
                del layer.sum_over_parts

    def _sum(self, index, *arrays):
        self.given[index] = arrays
        self.barrier.wait()
        return self.sums

    def _add(self):
        """Add up, once all have come: in the order of the parts, so that it repeats bit for bit."""
        self.sums = [xp.asarray(sum(parts)) for parts in zip(*self.given, strict=True)]
        self.team.sum_in_place(*self.sums)


def replica_of(network):
    """Make a twin of a network: the same values, its own activations and gradients.

    Several threads can then each run their part of a batch through "the same" network.
    """
    # A deep copy, but for the values: what is in `memo` counts as copied already.
    memo = {id(p): Parameter(p.data, p.trainable) for _, p in network.named_parameters()}
    twin = copy.deepcopy(network, memo)
    for layer in twin.modules():
        layer._backward = None
    return twin


def split(count, parts):
    """Cut `count` images into at most `parts` slices of nearly equal size, none empty."""
    edges = [count * part // min(count, parts) for part in range(min(count, parts) + 1)]
    return [slice(*ends) for ends in itertools.pairwise(edges)]


def available_cores():
    """Count the processor cores that this process may use."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
