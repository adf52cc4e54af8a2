"""Where arrays live, and what is said when they cannot live on a GPU."""

import sys
import types

import numpy as np
import pytest

from tests.conftest import CUDA_PROBLEM
from tinyunet import backend, cuda
from tinyunet.errors import UserError


@pytest.mark.gpu
def test_a_cuda_device_answers():
    if CUDA_PROBLEM:
        pytest.skip(f"the tests on a CUDA device are left out: {CUDA_PROBLEM}")
    assert backend.use_device("cuda") == "cuda"
    backend.use_device("cpu")


def test_arrays_go_to_the_device_and_come_back(xp):
    array = np.arange(6.0).reshape(2, 3)
    there = backend.to_device(array)
    assert isinstance(there, xp.ndarray)
    np.testing.assert_array_equal(backend.to_host(there), array)
    assert backend.on_host(backend.to_host(there))


def test_xp_is_the_module_of_the_device():
    backend.use_device("cpu")
    assert backend.xp.exp is np.exp
    assert backend.device_name() == "cpu"


def test_random_numbers_are_drawn_on_the_host_and_repeat():
    first = backend.random_generator([1, 2], 3).random(4)
    np.testing.assert_array_equal(first, np.random.default_rng([1, 2, 3]).random(4))


def test_an_unknown_device_is_named_with_those_that_exist():
    with pytest.raises(UserError, match="unknown device 'tpu': choose one of auto, cpu, cuda"):
        backend.use_device("tpu")


@pytest.fixture
def fake_cupy(monkeypatch):
    """Put a stand-in for CuPy in place, whose device the test can break."""
    cupy = types.ModuleType("cupy")
    cupy.float32 = np.float32
    cupy.full, cupy.tanh = np.full, np.tanh
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cupy


def test_a_device_that_computes_rightly_has_no_problem(fake_cupy):
    assert cuda.cuda_problem() is None


def test_without_cupy_the_reason_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # importing it fails
    with pytest.raises(UserError, match=r"CuPy is not installed; pip install 'tinyunet\[cuda13\]'"):
        backend.use_device("cuda")
    assert backend.use_device("auto") == "cpu"


@pytest.mark.parametrize("kind", [RuntimeError, ImportError])
@pytest.mark.parametrize(
    "message", ["cudaErrorInsufficientDriver: too old\na page more", "cudaErrorNoDevice: none"]
)
def test_a_driver_or_library_that_does_not_answer_is_the_reason(fake_cupy, message, kind):
    def fail(*arguments, **options):
        raise kind(message)

    fake_cupy.full = fail
    problem = cuda.cuda_problem()
    assert message.splitlines()[0] in problem
    assert "\n" not in problem


def test_a_device_that_computes_wrongly_is_refused(fake_cupy):
    fake_cupy.tanh = np.sin
    assert "wrong numbers" in cuda.cuda_problem()


def test_a_compiler_that_is_missing_is_the_reason(fake_cupy):
    def fail(array):
        raise RuntimeError("libnvrtc.so.13 not found")

    fake_cupy.tanh = fail
    problem = cuda.cuda_problem()
    assert "cannot compute" in problem and "libnvrtc" in problem and "[ctk]" in problem


def test_a_generator_without_a_seed_is_another_each_time():
    assert backend.random_generator().random() != backend.random_generator().random()
