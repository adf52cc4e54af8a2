"""Several processes: the same result as one, one voice, and a clean end when one of them fails.

The first half plays the processes by threads, so it runs everywhere; the second is for the real
MPI, with ``mpiexec``.
"""

import os
import shutil
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.comparing import assert_close
from tests.networks import gradients_of, in_float64, small_unet
from tests.test_parallel import BATCH, LOSSES, batch, in_one_piece
from tests.test_training import blobs, write_folders
from tinyunet.checkpoint import load_model
from tinyunet.cli.main import main
from tinyunet.distributed import mpi
from tinyunet.distributed.replicas import Replicas
from tinyunet.errors import UserError

ROOT = Path(__file__).parent.parent


# -- Processes played by threads -------------------------------------------------------------------


class Actors:
    """Lets threads play the processes of a team."""

    def __init__(self, size):
        self.barrier = threading.Barrier(size, timeout=10)
        self.given = [None] * size
        self.messages = 0
        self.teams = [self.member(rank, size) for rank in range(size)]

    def member(self, rank, size):
        team = mpi.SingleProcess()
        team.rank, team.size, team.is_main_process = rank, size, rank == 0
        team.wait = self.barrier.wait
        team.sum_in_place = lambda *arrays: self.sum_in_place(rank, arrays)
        return team

    def sum_in_place(self, rank, arrays):
        self.given[rank] = [array.copy() for array in arrays]
        self.messages += rank == 0
        self.barrier.wait()
        for array, several in zip(arrays, zip(*self.given, strict=True), strict=True):
            array[...] = sum(several)
        self.barrier.wait()

    def play(self, function):
        """Call function(team) for every member, all at once; their results in order."""
        with ThreadPoolExecutor(len(self.teams)) as pool:
            return list(pool.map(function, self.teams))


@pytest.mark.parametrize("size", [2, 3, BATCH])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_a_team_gives_what_one_process_gives_in_one_message(size, threads, loss):
    images, labels = batch()
    expected_value, expected = in_one_piece(in_float64(small_unet()), images, labels, loss)
    actors = Actors(size)

    def work(team):
        network = in_float64(small_unet())
        value = Replicas(network, threads, team).loss_and_gradients(images, labels, loss)
        return value, gradients_of(network)

    for value, gradients in actors.play(work):
        assert_close(value, expected_value, 1e-13)
        for name, gradient in gradients.items():
            assert_close(gradient, expected[name], 1e-12)
    assert actors.messages == 1


@pytest.mark.parametrize(("size", "threads"), [(2, 1), (5, 1), (2, 2)])
def test_processes_normalize_and_drop_as_threads_do(size, threads):
    images, labels = batch()
    results = {}

    def work(team, threads=1):
        network = in_float64(small_unet(norm="batch", dropout=0.5))
        replicas = Replicas(network, threads, team)
        replicas.loss_and_gradients(images, labels, LOSSES["plain"], seed=[1, 2])
        states = [replica.state_dict() for replica in replicas.replicas]
        return states, gradients_of(network)

    results = Actors(size).play(lambda team: work(team, threads))
    states, expected = work(mpi.SingleProcess(), size * threads)
    for (state, *_), gradients in results:
        for name, array in state.items():
            assert_close(array, states[0][name], 1e-12)
        for name, gradient in gradients.items():
            assert_close(gradient, expected[name], 1e-12)


def test_each_process_needs_an_image():
    images, labels = batch()

    def work(team):
        with pytest.raises(UserError, match="5 images for 6 processes.*larger batch or fewer"):
            Replicas(small_unet(), 1, team).loss_and_gradients(images, labels, LOSSES["plain"])

    Actors(BATCH + 1).play(work)


def test_gradients_of_an_earlier_step_would_be_summed_again():
    images, labels = batch()
    team = Actors(1).teams[0]
    team.size = 2
    network = in_float64(small_unet())
    network.parameters()[0].grad = np.ones(1)
    with pytest.raises(RuntimeError, match="zero_grad"):
        Replicas(network, 1, team).loss_and_gradients(images, labels, LOSSES["plain"])


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_shares_are_the_batch(count):
    shares = [team.share(count) for team in Actors(3).teams]
    assert [image for share in shares for image in range(count)[share]] == list(range(count))


@pytest.mark.parametrize("environment", [{}, {"PMI_SIZE": "1"}, {"OMPI_COMM_WORLD_SIZE": "1"}])
def test_without_mpiexec_one_is_alone_and_needs_no_mpi4py(environment, monkeypatch):
    for name in (*mpi.SIZE_VARIABLES, mpi.RANK_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with mpi.find_communicator() as team:
        team.wait()
        assert (team.rank, team.size, team.is_main_process, team.share(5)) == (
            0,
            1,
            True,
            slice(0, 5),
        )


def test_mpiexec_without_mpi4py_is_a_mistake_that_is_told(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(UserError, match=r"pip install 'tinyunet\[mpi\]'"):
        mpi.find_communicator()


# -- Real processes --------------------------------------------------------------------------------


def mpiexec_path():
    """Find mpiexec: that of the virtual environment, which mpi4py there uses, or the system's."""
    beside_python = Path(sys.executable).with_name("mpiexec")
    return str(beside_python) if beside_python.exists() else shutil.which("mpiexec")


def mpi_problem():
    """Say why MPI can't be tested; None if it can."""
    if mpiexec_path() is None:
        return "there is no mpiexec: install an MPI, such as by pip install mpich"
    try:
        from mpi4py import MPI  # noqa: F401
    except (ImportError, RuntimeError) as error:
        return f"mpi4py cannot be used: {error}"
    return None


@pytest.fixture(scope="module")
def mpiexec():
    """Give a function that runs Python in two processes and returns what they said."""
    problem = mpi_problem()
    if problem:
        pytest.skip(problem)

    def run(*arguments):
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            # Open MPI refuses these by default, and containers need them.
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_rmaps_base_oversubscribe": "1",
            "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        }
        return subprocess.run(
            [mpiexec_path(), "-n", "2", sys.executable, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def script(tmp_path):
    """Give a function that writes a program and returns its path."""

    def write(text):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(text))
        return path

    return write


SMALL = (
    "--steps 6 --batch-size 5 --crop-size 16 "
    "--base-channels 2 --depth 1 --val-interval 3 --device cpu"
).split()


def test_two_processes_train_as_one_with_two_threads_does(mpiexec, tmp_path):
    write_folders(tmp_path, blobs())
    folders = [str(tmp_path / "images"), str(tmp_path / "masks")]
    done = mpiexec(
        *("-m", "tinyunet", "train", *folders, "--out", tmp_path / "two", "--threads", "1", *SMALL)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("The model is") == 1, "one speaks for both"
    assert done.stderr.count("step 3 of 6") == 1
    main(["train", *folders, "--out", str(tmp_path / "one"), "--threads", "2", *SMALL])
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == names
    one, two = (
        load_model(tmp_path / run / "model.npz").network.state_dict() for run in ("one", "two")
    )
    for name, array in one.items():
        assert_close(two[name], array, 1e-4)


def test_a_mistake_that_all_make_is_told_once(mpiexec, tmp_path):
    done = mpiexec("-m", "tinyunet", "train", "nowhere", "nowhere", "--out", tmp_path / "run")
    assert done.returncode != 0
    assert done.stderr.count("tinyunet:") == 1 and "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_when_one_process_fails_all_end(mpiexec, script):
    path = script(
        """
        import numpy as np
        from tinyunet.distributed import mpi

        mpi.TIMEOUT = 0.5
        with mpi.find_communicator() as team:
            total = np.ones(3)
            team.sum_in_place(total)
            assert total.tolist() == [2, 2, 2]
            if team.rank == 1:
                raise OSError("the disk is full")
            team.sum_in_place(total)  # would wait for ever
        """
    )
    done = mpiexec(path)
    assert done.returncode != 0
    assert "process 1 of 2, counted from 0, stops all:" in done.stderr
    assert "OSError: the disk is full" in done.stderr, "a fault of ours keeps its traceback"
