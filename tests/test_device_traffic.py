"""What a training step asks of a GPU: no copies back, everything in float32, few kernel launches.

The counts need the emulated device, which counts; see .ci/run.
"""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import CUDA_PROBLEM
from tinyunet import backend
from tinyunet.distributed.replicas import Replicas
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.operations import operations
from tinyunet.nn.unet import UNet

if CUDA_PROBLEM:
    pytest.skip("no CUDA device answers", allow_module_level=True)
pytestmark = pytest.mark.gpu

# Counted on the emulated device with CuPy 14, as the book says. A change that launches a twentieth
# more kernels has to say why: a launch costs some 5 microseconds, whatever little it computes.
LAUNCHES = {None: 375, "batch": 969}
BOOK = Path(__file__).resolve().parent.parent / "docs" / "fast.md"


@pytest.fixture
def cuda():
    backend.use_device("cuda")
    yield backend.xp
    backend.use_device("cpu")


def training(norm=None):
    """Make a step of training, depth 4, on the device in use."""
    network = UNet(3, 4, base_channels=4, depth=4, norm=norm)
    optimizer = operations.Adam(network.parameters())
    replicas, loss = (
        Replicas(network, 1),
        CrossEntropy(class_weights=[1, 2, 1, 1], ignore_index=255),
    )
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 32, 48, 3), dtype="float32")
    labels = rng.integers(0, 4, (2, 32, 48))

    def step():
        optimizer.zero_grad()
        value = replicas.loss_and_gradients(images, labels, loss)
        replicas.step(optimizer)
        return value

    return network, optimizer, step


@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_training_step_copies_nothing_back_and_launches_few_kernels(cuda, norm):
    counter = pytest.importorskip("cupy_on_cpu", reason="only the emulated device counts")
    _, _, step = training(norm)
    step()  # the first one fills caches
    with counter.measure() as used:
        value = step()
    assert used["d2h"] == 0
    assert used["h2d"] <= 3  # images, labels, class weights
    assert used["launches"] <= 1.05 * LAUNCHES[norm]
    assert str(LAUNCHES[norm]) in BOOK.read_text(encoding="utf-8")
    with counter.measure() as used:
        float(value)
    assert used["d2h"] == 1  # the loss, when somebody wants to see it


@pytest.mark.parametrize("norm", [None, "batch"])
def test_everything_of_a_step_lives_on_the_device_in_float32(cuda, norm):
    network, optimizer, step = training(norm)
    value = step()
    arrays = [parameter.data for _, parameter in network.named_parameters()]
    arrays += [parameter.grad for parameter in network.parameters()]
    arrays += [value, optimizer.values, *(row for (row,) in optimizer.state.values())]
    for array in arrays:
        assert isinstance(array, cuda.ndarray)
        assert array.dtype == "float32"


@pytest.mark.parametrize("norm", [None, "batch"])
def test_training_on_the_device_follows_training_on_the_cpu(cuda, norm):
    losses = []
    for device in ("cuda", "cpu"):
        backend.use_device(device)
        _, _, step = training(norm)
        losses.append([float(step()) for _ in range(5)])
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-4)
    assert losses[0][-1] < losses[0][0]


def test_a_label_out_of_range_is_refused_before_it_reaches_the_device(cuda):
    logits = cuda.zeros((1, 2, 3, 4), dtype="float32")
    labels = np.array([[[0, 1, 2], [3, 4, 0]]])
    with pytest.raises(ValueError, match="label 4 is not a class: the logits have 0 to 3"):
        operations.softmax_cross_entropy(logits, labels)
