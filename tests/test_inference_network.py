"""The network for inference gives what the network gives, with less to do."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.comparing import assert_close
from tests.networks import in_float64, small_images
from tinyunet.backend import to_host
from tinyunet.distributed.replicas import Replicas
from tinyunet.fast import winograd
from tinyunet.fast.bands import BAND_BYTES
from tinyunet.fast.inference import Convolution, for_inference
from tinyunet.fast.threads import lend
from tinyunet.nn.layers import BatchNorm2d, ReLU
from tinyunet.nn.unet import UNet

networks = st.builds(
    UNet,
    in_channels=st.integers(1, 3),
    classes=st.integers(2, 4),
    base_channels=st.integers(1, 5),
    depth=st.integers(1, 3),
    padding=st.sampled_from(["same", "valid"]),
    upsampling=st.sampled_from(["transpose", "nearest"]),
    norm=st.sampled_from([None, "batch"]),
    dropout=st.sampled_from([0, 0.3]),
    seed=st.integers(0, 100),
)


@given(networks, st.sampled_from([1, 3000, 2**22]), st.sampled_from([1, 10**6]))
def test_the_network_for_inference_gives_the_same_logits(network, band_bytes, min_pixels):
    in_float64(network).eval()
    images = small_images(network)
    expected = network(images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BAND_BYTES, "cpu", band_bytes)
        patch.setattr(winograd, "MIN_PIXELS", min_pixels)
        assert_close(for_inference(network)(images), expected, 1e-12)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_in_float32_the_logits_differ_by_rounding_only(xp, padding):
    network = UNet(3, 4, base_channels=8, depth=2, norm="batch", padding=padding).eval()
    rng = np.random.default_rng(0)
    for name, parameter in network.named_parameters():
        if "running" in name:
            parameter.data += xp.asarray(rng.uniform(0, 3, parameter.data.shape), "float32")
    images = small_images(network, dtype="float32")
    expected = to_host(network(images))
    result = for_inference(network)(images)
    assert result.dtype == "float32"
    np.testing.assert_allclose(to_host(result), expected, atol=1e-5 * abs(expected).max())


def test_convolutions_do_the_work_of_normalization_and_relu_and_the_network_stays():
    network = UNet(3, 2, base_channels=2, depth=1, norm="batch")
    before = network.state_dict()
    twin = for_inference(network)
    kinds = {type(layer) for layer in twin.modules()}
    assert Convolution in kinds and not kinds & {BatchNorm2d, ReLU}
    assert network.training and BatchNorm2d in {type(layer) for layer in network.modules()}
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_what_is_not_folded_is_shared_not_copied():
    network = UNet(3, 2, base_channels=2, depth=1)
    shared = {id(parameter) for parameter in network.parameters()}
    assert {id(parameter) for parameter in for_inference(network).parameters()} == shared


@pytest.mark.parametrize("threads", [2, 3])
def test_the_threads_that_help_with_one_image_change_nothing(threads):
    network = for_inference(in_float64(UNet(2, 3, base_channels=2, depth=2, norm="batch")))
    images = small_images(network, batch=1)
    expected = network(images)
    with ThreadPoolExecutor(threads) as pool, lend(pool, threads):
        np.testing.assert_allclose(network(images), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(Replicas(network, threads).logits(images), expected, atol=1e-12)
