"""What every test may use: hypothesis profiles and the devices to run on."""

import itertools
import os
import signal

import pytest
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

from tests.browser import book, browser, shared_browser  # noqa: F401  (fixtures)
from tinyunet import backend
from tinyunet.cuda import cuda_problem
from tinyunet.nn import layers
from tinyunet.nn.operations import use_operations

# The tests' matrices are small: several BLAS threads would wait for each other twice as long.
threadpool_limits(1)

# Where the tests run in the background of a script, Ctrl-C is ignored, and by what they start, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "default",
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# More examples, drawn anew each time: HYPOTHESIS_PROFILE=thorough python -m pytest
settings.register_profile(
    "thorough", settings.get_profile("default"), max_examples=300, derandomize=False
)
# Fewer examples, for devices on which each costs a hundred kernel launches or an emulator.
settings.register_profile("emulated", settings.get_profile("default"), max_examples=5)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# The whole suite on the plain operations: TINYUNET_OPERATIONS=plain python -m pytest
use_operations(os.environ.get("TINYUNET_OPERATIONS", "fast"))

CUDA_PROBLEM = cuda_problem()
# Where no device answers, one test says so (in test_backend.py), not every test again.
DEVICES = ["cpu"] if CUDA_PROBLEM else ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def xp(request):
    """Run the test on every device that answers; gives the array module, NumPy or CuPy."""
    backend.use_device(request.param)
    yield backend.xp
    backend.use_device("cpu")


@pytest.fixture(autouse=True)
def fresh_starts_that_repeat(monkeypatch):
    """Let layers without a generator start from 0, 1, 2, ...: a failure can be seen again."""
    starts = itertools.count()

    def random_generator(*seed):
        return backend.random_generator(*(seed or (next(starts),)))

    monkeypatch.setattr(layers, "random_generator", random_generator)


@pytest.fixture(autouse=True)
def computed_on_the_cpu_unless_asked():
    """Bring the device back to the CPU after a test, whatever the test chose."""
    yield
    backend.use_device("cpu")
