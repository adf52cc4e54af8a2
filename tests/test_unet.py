"""The U-Net: the paper's facts, its gradients as a whole, and what a practitioner tries first."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.comparing import KINKED, assert_close
from tests.networks import (
    as_function,
    gradients_of,
    in_float64,
    labels_for,
    small_images,
    small_unet,
    values_of,
)
from tests.strategies import seeds
from tinyunet import backend
from tinyunet.backend import to_device, to_host
from tinyunet.errors import UserError
from tinyunet.nn.gradcheck import GradientError, check_gradients
from tinyunet.nn.layers import Concat, Conv2d, ConvTranspose2d, Layer, MaxPool2d
from tinyunet.nn.losses import CrossEntropy, Dice
from tinyunet.nn.operations import operations
from tinyunet.nn.summary import summarize
from tinyunet.nn.unet import SizeError, UNet

VARIANTS = [
    {"padding": padding, "upsampling": upsampling, "norm": norm}
    for padding, upsampling, norm in itertools.product(
        ("same", "valid"), ("transpose", "nearest"), (None, "batch")
    )
]
EVERY_VARIANT = pytest.mark.parametrize(
    "variant", VARIANTS, ids=lambda variant: "-".join(str(value) for value in variant.values())
)


def count_parameters(network):
    """Count the numbers that a network learns."""
    return sum(parameter.data.size for parameter in network.parameters())


# ------------------------------------------------------------------ the paper's facts


@pytest.fixture(scope="module")
def paper():
    """Make the network of 2015, once: it has 31 million weights."""
    return UNet.paper()


def test_the_paper_has_23_convolutions(paper):
    kinds = (Conv2d, ConvTranspose2d)
    assert sum(isinstance(layer, kinds) for layer in paper.modules()) == 23


def test_the_paper_has_31030658_parameters(paper):
    assert count_parameters(paper) == 31_030_658


def test_the_paper_turns_572_pixels_into_388(paper):
    assert paper.output_size(572, 572) == (388, 388)
    assert summarize(paper, 572).rows[-1].output_shape == (1, 388, 388, 2)


def test_the_paper_accepts_188_and_every_16th_size_from_there(paper):
    assert paper.valid_sizes(600) == list(range(188, 601, 16))


def test_the_papers_bottleneck_sees_140_pixels(paper):
    rows = {row.name: row for row in summarize(paper, 572).rows}
    assert rows["bottleneck.relu2"].receptive_field == 140
    assert rows["bottleneck.relu2"].output_shape == (1, 28, 28, 1024)


def test_the_paper_runs(paper):
    logits = paper.eval()(np.zeros((1, 188, 204, 1), dtype="float32"))
    assert logits.shape == (1, 4, 20, 2)


@pytest.mark.parametrize(("depth", "parameters"), [(4, 1_941_105), (3, 482_033)])
def test_the_default_network_has_as_many_parameters_as_it_should(depth, parameters):
    assert count_parameters(UNet(3, 1, base_channels=16, depth=depth)) == parameters


def test_channels_double_on_the_way_down():
    network = UNet(3, 2, base_channels=4, depth=3)
    widths = [block.layers[0].weight.data.shape[3] for block in network.encoder]
    assert [*widths, network.bottleneck.layers[0].weight.data.shape[3]] == [4, 8, 16, 32]


def test_the_up_convolution_starts_with_one_tap_for_each_pixel():
    network = UNet(base_channels=32, depth=3)
    weight = to_host(network.upsamplers[0].weight.data)
    assert weight.shape == (2, 2, 128, 256)
    assert math.isclose(weight.std(), math.sqrt(2 / 256), rel_tol=0.02)


# ------------------------------------------------------------------------------ sizes


@EVERY_VARIANT
@pytest.mark.parametrize("depth", [1, 2])
def test_the_announced_output_size_is_the_one_that_comes(variant, depth):
    network = small_unet(depth=depth, base_channels=1, **variant).eval()
    sizes = network.valid_sizes(90)
    for height, width in zip(sizes[:3], sizes[2:5], strict=False):
        logits = network(np.zeros((1, height, width, 3), dtype="float32"))
        assert logits.shape == (1, *network.output_size(height, width), 3)


@EVERY_VARIANT
def test_no_other_size_is_accepted(variant):
    network = small_unet(depth=2, base_channels=1, **variant).eval()
    good = set(network.valid_sizes(60))
    for size in range(1, 60):
        if size in good:
            continue
        for height, width in ((size, max(good)), (max(good), size)):
            with pytest.raises(SizeError):
                network(np.zeros((1, height, width, 3), dtype="float32"))


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_same_padding_accepts_what_can_be_halved_again_and_again(depth):
    network = small_unet(depth=depth, base_channels=1)
    assert network.valid_sizes(100) == list(range(2**depth, 101, 2**depth))
    assert network.output_size(2**depth, 2 * 2**depth) == (2**depth, 2 * 2**depth)


@pytest.mark.parametrize(
    ("options", "size", "axis", "nearest"),
    [
        ({"depth": 4}, (100, 96), "height", ["96", "112"]),
        ({"depth": 4}, (96, 100), "width", ["96", "112"]),
        ({"depth": 3}, (5, 8), "height", ["8"]),
        ({"depth": 4, "padding": "valid"}, (200, 188), "height", ["188", "204"]),
        ({"depth": 4, "padding": "valid"}, (188, 16), "width", ["188"]),
    ],
)
def test_a_size_that_does_not_fit_is_refused_with_the_nearest_that_do(options, size, axis, nearest):
    network = small_unet(base_channels=1, **options)
    with pytest.raises(SizeError) as caught:
        network.check_size(*size)
    message = str(caught.value)
    assert axis in message
    assert all(number in message for number in nearest)
    assert isinstance(caught.value, UserError)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "full"},
        {"upsampling": "bilinear"},
        {"norm": "layer"},
        {"depth": 0},
        {"classes": 0},
        {"in_channels": 0},
        {"base_channels": 0},
        {"dropout": 1.0},
        {"dropout": -0.5},
    ],
)
def test_what_it_cannot_be_built_from_is_refused(options):
    with pytest.raises(UserError):
        UNet(**options)


def test_images_of_another_number_of_channels_are_refused():
    with pytest.raises(ValueError, match="channels"):
        small_unet()(np.zeros((1, 8, 12, 4), dtype="float32"))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((16, 24, 3), r"channels last, got \(16, 24, 3\); .* needs a batch axis: image\[None\]"),
        ((1, 3, 16, 24), r"got \(1, 3, 16, 24\); turn channels-first images by np.moveaxis"),
        ((1, 16, 24, 4), r"expected \(N, H, W, 3\), channels last, got \(1, 16, 24, 4\)"),
        ((16, 24), r"expected \(N, H, W, 3\), channels last, got \(16, 24\)"),
    ],
)
def test_images_of_another_layout_are_refused_in_words(shape, message):
    with pytest.raises(UserError, match=message):
        small_unet()(np.zeros(shape, dtype="float32"))


def test_integer_images_are_refused():
    with pytest.raises(UserError, match="expected floating-point images, got uint8; standardize"):
        small_unet()(np.zeros((1, 8, 12, 3), dtype="uint8"))


def test_raw_pixels_draw_a_warning_and_standardized_ones_none(recwarn):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 12, 3)).astype("float32")
    network = small_unet()
    network((pixels - pixels.mean()) / pixels.std())
    network(pixels / 255)
    assert not recwarn
    with pytest.warns(UserWarning, match="look like raw pixels"):
        network(pixels)


def test_a_network_says_what_it_is():
    network = small_unet(classes=4, norm="batch")
    text = repr(network)
    assert "classes=4" in text and "norm='batch'" in text
    assert f"{count_parameters(network):,} numbers to learn" in text


# -------------------------------------------------------------------------- gradients


@st.composite
def networks(draw, variant, depth):
    """Draw a small U-Net of this kind, with odd numbers of channels too, and images for it."""
    seed = draw(seeds)
    network = small_unet(
        in_channels=draw(st.integers(1, 4), label="in_channels"),
        classes=draw(st.integers(1, 4), label="classes"),
        base_channels=draw(st.sampled_from([1, 2, 3]), label="base_channels"),
        depth=depth,
        seed=seed,
        **variant,
    )
    in_float64(network, seed)
    return network, small_images(network, seed=seed)


@EVERY_VARIANT
@pytest.mark.parametrize("depth", [1, 2])
@given(data=st.data())
@settings(max_examples=2)
def test_gradients_of_whole_networks(variant, depth, data):
    network, images = data.draw(networks(variant, depth))
    check_gradients(
        as_function(network), images, *values_of(network), tolerance=KINKED, coordinates=1
    )


@EVERY_VARIANT
def test_gradients_of_a_network_entry_by_entry(variant):
    network = in_float64(small_unet(base_channels=1, depth=1, **variant), seed=1)
    images = small_images(network, seed=1)
    check_gradients(as_function(network), images, *values_of(network), coordinates=3)


@pytest.mark.parametrize("loss", [CrossEntropy(), Dice()], ids=["cross-entropy", "dice"])
def test_gradients_from_the_loss_down_to_the_image(loss):
    network = in_float64(small_unet(norm="batch"))
    run = as_function(network)
    images = small_images(network)
    labels = labels_for(network(images))

    def function(*arguments):
        logits, backward_of_network = run(*arguments)
        value, backward_of_loss = loss(logits, labels)
        return value, lambda dy: backward_of_network(backward_of_loss(dy))

    check_gradients(function, images, *values_of(network), coordinates=1)


def test_gradients_with_dropout():
    network = in_float64(small_unet(dropout=0.5))
    run = as_function(network)

    def function(*arguments):
        network.set_seed(7)
        y, backward = run(*arguments)

        def seeded_backward(dy):
            network.set_seed(7)
            return backward(dy)

        return y, seeded_backward

    check_gradients(function, small_images(network), *values_of(network), coordinates=1)


def backward_that_loses_the_skip(self, dy):
    """Send nothing through the skip connection."""
    dskip, dx = self.pop_backward()(dy)
    return 0 * dskip, dx


def backward_that_stores_nothing(self, dy):
    """Keep the gradients of the weights to itself: they never learn."""
    dx, dweight, dbias = self.pop_backward()(dy)
    self.weight.add_gradient(0 * dweight)
    self.bias.add_gradient(0 * dbias)
    return dx


def backward_that_shares_among_the_window(self, dy):
    """Give every pixel of a window a quarter."""
    self.pop_backward()
    return dy.repeat(2, axis=1).repeat(2, axis=2) / 4


@pytest.mark.parametrize(
    ("layer", "wrong"),
    [
        (Concat, backward_that_loses_the_skip),
        (ConvTranspose2d, backward_that_stores_nothing),
        (MaxPool2d, backward_that_shares_among_the_window),
    ],
)
def test_one_wrong_layer_shows_in_the_whole_network(monkeypatch, layer, wrong):
    network = in_float64(small_unet())
    images = small_images(network)
    monkeypatch.setattr(layer, "backward", wrong)
    with pytest.raises(GradientError):
        check_gradients(as_function(network), images, *values_of(network), coordinates=0)


@EVERY_VARIANT
def test_every_parameter_gets_a_gradient_that_is_not_zero(variant):
    network = small_unet(base_channels=4, **variant)
    images = small_images(network, dtype="float32")
    logits = network(images)
    network.backward(np.random.default_rng(0).normal(size=logits.shape).astype("float32"))
    for name, gradient in gradients_of(network).items():
        assert gradient.dtype == "float32"
        assert np.abs(gradient).max() > 0, name


def test_the_gradient_of_the_image_can_be_left_out():
    network = in_float64(small_unet())
    images = small_images(network)
    dlogits = np.random.default_rng(0).normal(size=network(images).shape)
    assert network.backward(dlogits).shape == images.shape
    expected = gradients_of(network)
    network.zero_grad()
    network(images)
    assert network.backward(dlogits, input_gradient=False) is None
    for name, gradient in gradients_of(network).items():
        np.testing.assert_array_equal(gradient, expected[name])


# ------------------------------------------------------------------------ what it sees


def test_images_of_a_batch_do_not_touch_each_other():
    network = in_float64(small_unet()).eval()
    images = small_images(network, batch=3)
    together = network(images)
    for n in range(3):
        assert_close(network(images[n : n + 1]), together[n : n + 1], 1e-12)


def test_a_mirrored_network_mirrors_its_answer():
    # Height and width change places in the image and in every kernel: then also in the logits.
    network = in_float64(small_unet(upsampling="transpose", padding="valid")).eval()
    images = small_images(network)
    logits = network(images)
    for parameter in network.parameters():
        if parameter.data.ndim == 4:
            parameter.data = parameter.data.transpose(1, 0, 2, 3)
    assert_close(network(images.transpose(0, 2, 1, 3)), logits.transpose(0, 2, 1, 3), 1e-12)


@pytest.mark.parametrize("upsampling", ["transpose", "nearest"])
def test_a_valid_network_has_no_border_effects(upsampling):
    # What it says about a pixel does not depend on where the image was cut, in steps of 2**depth.
    network = in_float64(small_unet(padding="valid", upsampling=upsampling, depth=1)).eval()
    sizes = network.valid_sizes(80)
    height, width = sizes[3], sizes[5]
    image = np.random.default_rng(0).normal(size=(1, height, width, 3))
    whole = network(image)
    part = network(image[:, 2:, 4:])
    assert_close(part, whole[:, 2:, 4:], 1e-12)


@pytest.mark.parametrize("upsampling", ["transpose", "nearest"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_receptive_field_is_as_wide_as_announced(depth, upsampling):
    # Positive weights and a black image: a white pixel brightens just the outputs that see it.
    network = small_unet(
        in_channels=1, classes=1, base_channels=1, depth=depth, upsampling=upsampling
    ).eval()
    for parameter in network.parameters():
        parameter.data = abs(parameter.data)
    field = network.receptive_field
    width, height = 2 * field - 2 * field % -8, 8
    images = np.zeros((width, height, width, 1), dtype="float32")
    images[np.arange(width), 4, np.arange(width)] = 1
    seen = (network(images)[..., 0] > 0).any(axis=1)  # (white pixel, output pixel)
    extents = [np.ptp(np.flatnonzero(column)) + 1 for column in seen.T]
    assert max(extents) == field


def test_a_deeper_network_sees_farther():
    fields = [small_unet(depth=depth, base_channels=1).receptive_field for depth in (1, 2, 3)]
    assert fields == sorted(set(fields))


# ---------------------------------------------------------------------------- its state


def test_a_network_is_rebuilt_from_its_config_and_its_state():
    network = small_unet(norm="batch", upsampling="nearest", dropout=0.1, seed=3)
    images = small_images(network, dtype="float32")
    network(images)  # moves the running averages
    again = UNet(**network.config)
    again.load_state_dict(network.state_dict())
    np.testing.assert_array_equal(again.eval()(images), network.eval()(images))


def test_the_names_in_a_state_tell_where_a_parameter_sits():
    network = small_unet(norm="batch")
    names = set(network.state_dict())
    assert {
        "encoder.0.conv1.weight",
        "encoder.1.norm2.running_variance",
        "bottleneck.conv2.weight",
        "upsamplers.0.weight",
        "upsamplers.1.bias",
        "decoder.1.norm1.gamma",
        "head.bias",
    } <= names
    assert {parameter.name for parameter in network.parameters()} <= names


def test_the_same_seed_gives_the_same_network():
    first, again, other = (small_unet(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not any(np.array_equal(first[name], other[name]) for name in first if "weight" in name)


def test_both_devices_give_the_same_answer_and_the_same_gradients(xp):
    network = in_float64(small_unet(norm="batch", dropout=0.5))
    state = network.state_dict()
    results = []
    for device in (backend.device_name(), "cpu"):
        backend.use_device(device)
        network = in_float64(small_unet(norm="batch", dropout=0.5))
        network.load_state_dict(state)
        network.set_seed(5)
        logits = network(small_images(network))
        loss, backward = operations.softmax_cross_entropy(logits, labels_for(logits))
        network.backward(backward())
        results.append({"logits": to_host(logits), "loss": float(loss), **gradients_of(network)})
    for name, expected in results[1].items():
        assert_close(np.asarray(results[0][name]), expected, 1e-10)


# ------------------------------------------------------------ what a practitioner tries


@pytest.mark.parametrize("classes", [2, 5, 12])
@EVERY_VARIANT
def test_the_first_loss_is_near_the_logarithm_of_the_classes(variant, classes):
    network = UNet(3, classes, base_channels=8, depth=2, **variant | {"norm": "batch"})
    images = small_images(network, batch=4, dtype="float32")
    logits = network(images)
    loss, _ = operations.softmax_cross_entropy(logits, labels_for(logits))
    assert math.isclose(float(loss), math.log(classes), abs_tol=1)


def scenes(classes=3, batch=4, size=(16, 24)):
    """Draw images with a square of each class on a noisy ground, and their labels."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, *size, 3)).astype("float32")
    labels = np.zeros((batch, *size), dtype="int64")
    for n in range(batch):
        for k in range(1, classes):
            top, left = rng.integers(0, size[0] - 8), rng.integers(0, size[1] - 8)
            labels[n, top : top + 8, left : left + 8] = k
    images[..., 0] += labels
    return images, labels


def train_on(network, images, labels, optimizer, steps, loss=None):
    """Take some steps on one and the same batch; gives the losses."""
    loss = loss or CrossEntropy()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        value, backward = loss(network(to_device(images)), labels)
        network.backward(backward(), input_gradient=False)
        optimizer.step()
        losses.append(float(value))
    return losses


@pytest.mark.parametrize(
    "variant", [{}, {"upsampling": "nearest", "norm": "batch"}], ids=["plain", "batch"]
)
def test_one_batch_can_be_learned_by_heart(variant):
    images, labels = scenes()
    network = UNet(3, 3, base_channels=8, depth=2, **variant)
    losses = train_on(network, images, labels, operations.Adam(network.parameters(), lr=5e-3), 150)
    accuracy = (network(images).argmax(axis=-1) == labels).mean()
    assert accuracy > 0.99
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.parametrize("loss", [CrossEntropy(), Dice()], ids=["cross-entropy", "dice"])
@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_class_that_never_occurs_gives_no_nan(loss, norm):
    images, labels = scenes(classes=2)
    network = UNet(3, 4, base_channels=4, depth=2, norm=norm)
    losses = train_on(
        network, images, labels, operations.Adam(network.parameters(), lr=0.05), 40, loss
    )
    assert np.isfinite(losses).all()
    assert all(np.isfinite(array).all() for array in network.state_dict().values())
    assert set(network(images).argmax(axis=-1).ravel()) <= {0, 1}


@pytest.mark.parametrize("loss", [CrossEntropy(ignore_index=255), Dice(ignore_index=255)])
def test_a_batch_of_ignored_pixels_changes_nothing(loss):
    images, labels = scenes()
    network = UNet(3, 3, base_channels=4, depth=2)
    before = network.state_dict()
    losses = train_on(
        network,
        images,
        np.full_like(labels, 255),
        operations.SGD(network.parameters(), 0.1),
        2,
        loss,
    )
    assert np.isfinite(losses).all()
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_an_image_of_one_color_gives_no_nan():
    network = small_unet(norm="batch")
    logits = network(np.ones((2, 8, 12, 3), dtype="float32"))
    dx = network.backward(np.ones_like(logits))
    assert np.isfinite(logits).all() and np.isfinite(dx).all()


def test_in_use_nothing_is_remembered():
    network = small_unet(norm="batch").eval()
    network(small_images(network, dtype="float32"))
    assert all(layer._backward is None for layer in network.modules())


def test_memory_is_freed_on_the_way_back():
    network = small_unet()
    logits = network(small_images(network, dtype="float32"))
    network.backward(np.ones_like(logits))
    assert all(layer._backward is None for layer in network.modules())


def test_a_network_is_a_layer():
    assert isinstance(small_unet(), Layer)
