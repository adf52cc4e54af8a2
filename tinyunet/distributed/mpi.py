"""One training run in several processes, on one computer or many.

``mpiexec -n 4 tinyunet train ...`` starts the same program four times. MPI, the *message passing
interface*, tells each process its *rank* (0, 1, 2, 3) and carries arrays between them. Training
needs very little of it:

- every process draws the same batch from the same seed, and takes its `share` of the images;
- each computes the loss and the gradients of its share, as if these were a thread's part;
- one *allreduce* sums them: every process gives an array and gets the sum of all
  (`sum_in_place`). From equal gradients follow equal weights, so nothing else need be sent;
- only the process of rank 0 writes files and prints.

Without ``mpiexec`` there is a single process, for which all this is nothing at all, and mpi4py need
not be installed.

Source: M. Li et al., Scaling distributed machine learning with the parameter server (2014), for
the idea of data-parallel training; the MPI standard, version 4.0, chapter 6, for allreduce.
"""

import atexit
import os
import sys
import time

import numpy as np

from tinyunet.backend import to_device, to_host
from tinyunet.errors import UserError

# What MPICH and its kin, Open MPI, and launchers that speak PMIx (srun) set for each process.
SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
RANK_VARIABLE = "PMIX_RANK"

# How long a process that fails waits for rank 0 to fail in the same way, in seconds.
TIMEOUT = 5.0


def find_communicator():
    """Find who else works on this run: `Communicator` under ``mpiexec``, else `SingleProcess`.

    Raises
    ------
    UserError
        If ``mpiexec`` started several processes that cannot reach each other.
    """
    size = next((os.environ[name] for name in SIZE_VARIABLES if name in os.environ), None)
    if size == "1" or (size is None and RANK_VARIABLE not in os.environ):
        return SingleProcess()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py finds no MPI library
        cure = "pip install 'tinyunet[mpi]', or start without mpiexec"
        raise UserError(f"the processes cannot reach each other: {error}; {cure}") from error
    return Communicator(MPI) if MPI.COMM_WORLD.size > 1 else SingleProcess()


class SingleProcess:
    """One process alone; what `Communicator` does with several, here does nothing.

    Use it as a context, ``with find_communicator() as communicator:``, around all that the
    processes do together.

    Attributes
    ----------
    rank, size : int
        Which process this is, of how many.
    is_main_process : bool
        Whether this is rank 0, the only process that writes files and prints.
    """

    rank, size, is_main_process = 0, 1, True

    def share(self, count):
        """Tell which of `count` images are this process's: a slice, all of nearly equal size."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum_in_place(self, *arrays):
        """Replace each array, on the device, by its sum over all processes."""

    def wait(self):
        """Wait until every process has come here."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        """Let an error pass."""


class Communicator(SingleProcess):
    """Several processes that MPI connects.

    Parameters
    ----------
    mpi : module
        ``mpi4py.MPI``.
    """

    def __init__(self, mpi):
        self.mpi, self.everyone = mpi, mpi.COMM_WORLD
        self.rank, self.size = self.everyone.rank, self.everyone.size
        self.is_main_process = self.rank == 0

    def sum_in_place(self, *arrays):
        """Replace each array, on the device, by its sum over all processes.

        All travel in one row of numbers, of the first one's dtype, because a message costs time
        however short it is.
        """
        rows = [to_host(array).ravel() for array in arrays]
        row = np.concatenate(rows, dtype=arrays[0].dtype, casting="same_kind")
        self.everyone.Allreduce(self.mpi.IN_PLACE, row)
        ends = np.cumsum([array.size for array in arrays])
        for array, part in zip(arrays, np.split(row, ends[:-1]), strict=True):
            array[...] = to_device(part.reshape(array.shape))

    def wait(self):
        """Wait until every process has come here."""
        self.everyone.Barrier()

    def __exit__(self, kind, error, trace):
        """End together: a process that fails alone ends the others, which would wait for ever.

        Most mistakes, such as a missing folder, strike all processes alike. So the others let
        rank 0 speak first; when it has told the error and ends, it ends them.
        """
        if error is not None:
            if not self.is_main_process:
                time.sleep(TIMEOUT)
            print(
                f"process {self.rank} of {self.size}, counted from 0, stops all:", file=sys.stderr
            )
            atexit.register(self.everyone.Abort, 2 if isinstance(error, UserError) else 1)
            atexit.register(time.sleep, 1)  # before that: mpiexec passes on what was printed
