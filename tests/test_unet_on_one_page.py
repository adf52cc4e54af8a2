"""The U-Net on one page is short, stands alone, is right in every gradient, and learns."""

import ast
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.comparing import assert_close
from tests.strategies import channel_counts, random_array, seeds
from tests.test_demos import DEMOS, load
from tinyunet.backend import to_device
from tinyunet.nn import functional
from tinyunet.nn.optimizers import SGD
from tinyunet.nn.unet import UNet

page = load("unet_on_one_page")
EXACT = 1e-10

# What the page calls a part of the network, and what `UNet` calls it, whose decoder starts below.
PARTS = {
    "encoder0": "encoder.0.",
    "encoder1": "encoder.1.",
    "bottleneck": "bottleneck.",
    "up1": "upsamplers.0.",
    "decoder1": "decoder.0.",
    "up0": "upsamplers.1.",
    "decoder0": "decoder.1.",
    "head": "head.",
}


def parameters_of(network):
    """List the parameters of a `UNet` by the page's names."""
    return {
        part: [
            parameter for name, parameter in network.named_parameters() if name.startswith(start)
        ]
        for part, start in PARTS.items()
    }


def twin_of(parameters, channels, classes, base):
    """Make the `UNet` of depth 2 that has the page's parameters, in float64."""
    network = UNet(channels, classes, base_channels=base, depth=2)
    for part, twins in parameters_of(network).items():
        for twin, values in zip(twins, parameters[part], strict=True):
            assert twin.data.shape == values.shape
            twin.data = to_device(values.copy())
    return network


@st.composite
def networks_and_images(draw):
    """Draw parameters without zeros, the same network as a `UNet`, and images that fit."""
    channels, classes, base = draw(channel_counts), draw(st.integers(2, 4)), draw(channel_counts)
    seed = draw(seeds)
    rng = np.random.default_rng(seed)
    parameters = page.initial_parameters(channels, classes, base, rng)
    for arrays in parameters.values():
        for bias in arrays[1::2]:  # a bias of zero would hide its own mistakes
            bias += rng.uniform(-0.3, 0.5, bias.shape)
    height, width = draw(st.permutations([4, 8, 12]))[:2]  # not square
    x = random_array([seed, 1], (draw(st.integers(1, 3)), height, width, channels))
    return parameters, twin_of(parameters, channels, classes, base), x


def test_the_page_has_at_most_200_lines_and_imports_only_numpy_and_pillow():
    text = (DEMOS / "unet_on_one_page.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert imported == {"argparse", "numpy", "PIL"}


@given(networks_and_images(), seeds)
def test_logits_and_every_gradient_equal_those_of_the_package(drawn, seed):
    parameters, network, x = drawn
    logits, backward = page.unet(x, parameters)
    expected = network(to_device(x))
    assert_close(expected, logits, EXACT)
    dlogits = random_array(seed, logits.shape)
    dx, gradients = backward(dlogits)
    assert_close(network.backward(to_device(dlogits)), dx, EXACT)
    assert gradients.keys() == parameters.keys()
    for part, twins in parameters_of(network).items():
        for twin, gradient in zip(twins, gradients[part], strict=True):
            assert_close(twin.grad, gradient, EXACT)


@given(seeds, st.integers(2, 5), st.sampled_from([1.0, 1000.0]))
def test_the_loss_and_its_gradient_equal_those_of_the_package(seed, classes, size):
    logits = size * random_array(seed, (2, 3, 5, classes))
    labels = np.random.default_rng(seed).integers(0, classes, (2, 3, 5))
    loss, backward = page.softmax_cross_entropy(logits, labels)
    expected, expected_backward = functional.softmax_cross_entropy(to_device(logits), labels)
    assert float(loss) == pytest.approx(float(expected), rel=EXACT)
    assert_close(expected_backward(), backward(), EXACT)


@given(seeds)
def test_of_equal_pixels_the_first_gets_the_gradient_as_in_the_package(seed):
    x = np.random.default_rng(seed).integers(0, 3, (2, 4, 6, 3)).astype("float64")
    dy = random_array(seed, (2, 2, 3, 3))
    y, backward = page.max_pool2d(x)
    expected, expected_backward = functional.max_pool2d(to_device(x))
    assert_close(expected, y, EXACT)
    assert_close(expected_backward(to_device(dy)), backward(dy), EXACT)


def test_the_training_takes_the_steps_of_the_package_s_sgd(tmp_path, capsys):
    page.main(["--steps", "4", "--out", str(tmp_path / "picture.png")])
    printed = float(re.search(r"step 4: loss (\d\.\d+)", capsys.readouterr().out)[1])
    rng = np.random.default_rng(0)
    network = twin_of(page.initial_parameters(3, 3, 8, rng), 3, 3, 8)
    page.paint(8, 64, rng)
    optimizer = SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(4):
        images, labels = page.paint(4, 64, rng)
        logits = network(to_device(images))
        loss, loss_backward = functional.softmax_cross_entropy(logits, labels)
        network.zero_grad()
        network.backward(loss_backward())
        optimizer.step()
    assert printed == pytest.approx(float(loss), abs=0.0006)


def test_no_pixel_s_color_tells_its_class():
    images, labels = page.paint(40, 64, np.random.default_rng(1))
    discs, rings, ground = (images[labels == kind] for kind in (1, 2, 0))
    painted = rings[:, 0] > 0.55
    assert 0.3 < painted.mean() < 0.7
    np.testing.assert_allclose(rings[painted].mean(axis=0), discs.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(rings[~painted].mean(axis=0), ground.mean(axis=0), atol=0.03)


def test_the_page_learns_to_tell_rings_from_discs_and_leaves_a_picture(tmp_path, capsys):
    path = tmp_path / "picture.png"
    page.main(["--steps", "150", "--out", str(path)])
    with Image.open(path) as picture:
        assert picture.width > 2 * picture.height > 600
    *_, third, saved, sentence = capsys.readouterr().out.splitlines()
    assert third.startswith("step 150: loss 0.0")
    assert saved.startswith(f"The picture: {path}")
    assert sentence.startswith("You should have seen rings told from discs")
    iou = float(re.search(r"IoU is (\d\.\d+)\.", sentence)[1])
    assert iou > 0.7  # 0.89 here; by color alone, half of each ring could not be found
