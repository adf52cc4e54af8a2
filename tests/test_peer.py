"""PyTorch as a second opinion: the same results, gradients and courses of training.

Skipped where PyTorch is not installed; `pip install 'tinyunet[peer]'` brings it. It has channels
first, so images and kernels change the order of their axes on the way there and back.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.comparing import as_tuple, assert_close
from tests.functional.test_joining import joints
from tests.functional.test_normalization import normalizations
from tests.functional.test_pooling import pools
from tests.networks import gradients_of, in_float64, labels_for, small_images, small_unet
from tests.strategies import (
    away_from_zero,
    convolutions,
    image_shapes,
    random_array,
    seeds,
    segmentations,
    transposed_convolutions,
    windows,
)
from tinyunet.nn import functional
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.optimizers import SGD, Adam

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed; pip install 'tinyunet[peer]' to compare with it"
)
torch.set_num_threads(1)  # the arrays are small: threads would only wait for each other
peer = torch.nn.functional

TOLERANCE = 1e-10


# ------------------------------------------------------- between the two orders of axes


def to_peer(array):
    """Bring an array over: (N, H, W, C) to (N, C, H, W), (KH, KW, C, F) to (F, C, KH, KW)."""
    return torch.from_numpy(np.ascontiguousarray(array)).requires_grad_()


def channels_first(x):
    """Reorder images for PyTorch, in a way that gradients can follow."""
    return x.permute(0, 3, 1, 2)


def channels_last(y):
    """Reorder images from PyTorch."""
    return y.permute(0, 2, 3, 1)


def kernel_for_peer(weight):
    """Reorder a kernel; the same order serves both kinds of convolution."""
    return weight.permute(3, 2, 0, 1).contiguous()


def padding_for_peer(padding):
    """Give PyTorch a padding in the form that it takes."""
    return padding if isinstance(padding, str) else tuple(np.broadcast_to(padding, 2).tolist())


def assert_agreement(ours, theirs, *arguments):
    """Compare the results of both sides, and the gradients of all arguments."""
    y, backward = ours(*arguments)
    dy = random_array(0, np.shape(y))
    tensors = [to_peer(argument) for argument in arguments]
    expected = theirs(*tensors)
    expected.backward(torch.from_numpy(np.asarray(dy)))
    assert_close(y, expected.detach().numpy(), TOLERANCE)
    for gradient, tensor in zip(as_tuple(backward(dy)), tensors, strict=True):
        assert_close(gradient, tensor.grad.numpy(), TOLERANCE)


# ------------------------------------------------------------------------- operations


@given(windows(), seeds)
def test_im2col_is_unfold_and_col2im_is_fold(window, seed):
    shape, kernel_size, stride = window
    batch, height, width, channels = shape
    x = random_array(seed, shape)
    columns, _ = functional.im2col(x, kernel_size, stride)
    out_height, out_width = columns.shape[1:3]

    def unfold(x):
        patches = peer.unfold(channels_first(x), kernel_size, stride=stride)
        patches = patches.reshape(batch, channels, *kernel_size, out_height, out_width)
        return patches.permute(0, 4, 5, 2, 3, 1)

    def fold(columns):
        patches = columns.permute(0, 5, 3, 4, 1, 2).reshape(batch, -1, out_height * out_width)
        return channels_last(peer.fold(patches, (height, width), kernel_size, stride=stride))

    assert_agreement(lambda x: functional.im2col(x, kernel_size, stride), unfold, x)
    assert_agreement(lambda c: functional.col2im(c, shape, kernel_size, stride), fold, columns)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@given(convolutions())
def test_conv2d(case):
    stride, padding = case.options["stride"], padding_for_peer(case.options["padding"])

    def theirs(x, weight, bias):
        y = peer.conv2d(
            channels_first(x), kernel_for_peer(weight), bias, stride=stride, padding=padding
        )
        return channels_last(y)

    def ours(x, weight, bias):
        return functional.conv2d(x, weight, bias, **case.options)

    assert_agreement(ours, theirs, case.x, case.weight, case.bias)


@given(transposed_convolutions())
def test_conv_transpose2d(case):
    stride, padding = case.options["stride"], padding_for_peer(case.options["padding"])

    def theirs(x, weight, bias):
        y = peer.conv_transpose2d(
            channels_first(x), kernel_for_peer(weight), bias, stride=stride, padding=padding
        )
        return channels_last(y)

    def ours(x, weight, bias):
        return functional.conv_transpose2d(x, weight, bias, **case.options)

    assert_agreement(ours, theirs, case.x, case.weight, case.bias)


@given(pools(), st.booleans())
def test_max_pool2d(pool, with_ties):
    x, size = pool
    x = np.round(x) if with_ties else x

    def theirs(x):
        return channels_last(peer.max_pool2d(channels_first(x), size))

    assert_agreement(lambda x: functional.max_pool2d(x, size), theirs, x)


@given(image_shapes(largest=5), st.integers(1, 3), seeds)
def test_upsample_nearest2d(shape, scale, seed):
    def theirs(x):
        return channels_last(peer.interpolate(channels_first(x), scale_factor=scale))

    x = random_array(seed, shape)
    assert_agreement(lambda x: functional.upsample_nearest2d(x, scale), theirs, x)


def join(skip, x):
    """Crop and join as PyTorch users write it, for images with channels first."""
    height, width = x.shape[2:]
    top, left = (skip.shape[2] - height) // 2, (skip.shape[3] - width) // 2
    return torch.cat([skip[:, :, top : top + height, left : left + width], x], dim=1)


@given(joints())
def test_concat(joint):
    def theirs(skip, x):
        return channels_last(join(channels_first(skip), channels_first(x)))

    assert_agreement(functional.concat, theirs, *joint)


@given(image_shapes(), seeds)
def test_relu_and_softmax(shape, seed):
    x = away_from_zero(seed, shape)
    assert_agreement(functional.relu, peer.relu, x)
    assert_agreement(functional.softmax, lambda x: peer.softmax(x, dim=-1), x)


@given(image_shapes(), seeds)
def test_dropout(shape, seed):
    # PyTorch draws other numbers; so it is given the entries that ours kept.
    x = away_from_zero(seed, shape)
    y, _ = functional.dropout(x, 0.4, np.random.default_rng(seed))
    kept = torch.from_numpy(y != 0)
    assert_agreement(
        lambda x: functional.dropout(x, 0.4, np.random.default_rng(seed)),
        lambda x: x * kept / (1 - 0.4),
        x,
    )


@given(normalizations(), st.booleans())
def test_batch_norm2d(case, training):
    x, gamma, beta, statistics = case
    mean, variance = (torch.from_numpy(statistics[name]) for name in ("mean", "variance"))

    def theirs(x, gamma, beta):
        if training:
            y = peer.batch_norm(channels_first(x), None, None, gamma, beta, training=True)
        else:
            y = peer.batch_norm(channels_first(x), mean, variance, gamma, beta)
        return channels_last(y)

    def ours(x, gamma, beta):
        return functional.batch_norm2d(x, gamma, beta, **({} if training else statistics))

    assert_agreement(ours, theirs, x, gamma, beta)


def peer_options(options):
    """Turn the options of a segmentation into those of PyTorch's cross-entropy."""
    theirs = {"ignore_index": options.get("ignore_index", -100)}
    if "class_weights" in options:
        theirs["weight"] = torch.from_numpy(options["class_weights"])
    return theirs


@given(segmentations())
def test_softmax_cross_entropy(case):
    logits, labels, options = case
    target = torch.from_numpy(labels.astype("int64"))

    def theirs(logits):
        return peer.cross_entropy(channels_first(logits), target, **peer_options(options))

    def ours(logits):
        return functional.softmax_cross_entropy(logits, labels, **options)

    assert_agreement(ours, theirs, logits)


@given(segmentations(pixel_weights=True))
def test_softmax_cross_entropy_with_pixel_weights(case):
    logits, labels, options = case
    target = torch.from_numpy(labels.astype("int64"))
    pixel_weights = torch.from_numpy(options.get("pixel_weights", np.ones(labels.shape)))
    ignored = labels == options.get("ignore_index", -100)
    class_weights = options.get("class_weights", np.ones(logits.shape[-1]))
    weights = np.where(ignored, 0, class_weights[np.where(ignored, 0, labels)])
    total = (torch.from_numpy(weights) * pixel_weights).sum()

    def theirs(logits):
        losses = peer.cross_entropy(
            channels_first(logits), target, reduction="none", **peer_options(options)
        )
        return (losses * pixel_weights).sum() / total

    def ours(logits):
        return functional.softmax_cross_entropy(logits, labels, **options)

    assert_agreement(ours, theirs, logits)


@given(segmentations())
def test_dice_loss(case):
    logits, labels, options = case
    classes = logits.shape[-1]
    counted = torch.from_numpy(labels != options.get("ignore_index", -100))
    truth = torch.from_numpy(np.where(counted, labels, 0).astype("int64"))
    truth = peer.one_hot(truth, classes) * counted[..., None]
    class_weights = torch.from_numpy(options.get("class_weights", np.ones(classes)))

    def theirs(logits):
        probabilities = torch.softmax(logits, dim=-1) * counted[..., None]
        overlap = (probabilities * truth).sum(dim=(0, 1, 2))
        sizes = probabilities.sum(dim=(0, 1, 2)) + truth.sum(dim=(0, 1, 2))
        scores = (2 * overlap + 1) / (sizes + 1)
        return 1 - (class_weights * scores).sum() / class_weights.sum()

    assert_agreement(lambda z: functional.dice_loss(z, labels, **options), theirs, logits)


# --------------------------------------------------------------------- whole networks


class PeerUNet:
    """The same U-Net in PyTorch's operations, from the state of ours."""

    def __init__(self, network):
        self.config = network.config
        trained = {parameter.name for parameter in network.parameters()}
        self.tensors = {
            name: torch.from_numpy(array.copy()).requires_grad_(name in trained)
            for name, array in network.state_dict().items()
        }

    def parameters(self):
        """List what is trained, in the order of our network."""
        return [tensor for tensor in self.tensors.values() if tensor.requires_grad]

    def convolve(self, x, name, padding):
        """Convolve with the kernel of that name, and its bias if it has one."""
        weight = kernel_for_peer(self.tensors[f"{name}.weight"])
        return peer.conv2d(x, weight, self.tensors.get(f"{name}.bias"), padding=padding)

    def block(self, x, name, training):
        """Run two convolutions, with batch normalization if so configured."""
        for number in (1, 2):
            x = self.convolve(x, f"{name}.conv{number}", self.padding)
            if self.config["norm"]:
                x = peer.batch_norm(
                    x,
                    self.tensors[f"{name}.norm{number}.running_mean"],
                    self.tensors[f"{name}.norm{number}.running_variance"],
                    self.tensors[f"{name}.norm{number}.gamma"],
                    self.tensors[f"{name}.norm{number}.beta"],
                    training=training,
                )
            x = peer.relu(x)
        return x

    def __call__(self, images, training=True):
        """Turn images into logits, channels last on both ends."""
        self.padding = 1 if self.config["padding"] == "same" else 0
        x, skips = channels_first(images), []
        for level in range(self.config["depth"]):
            x = self.block(x, f"encoder.{level}", training)
            skips.append(x)
            x = peer.max_pool2d(x, 2)
        x = self.block(x, "bottleneck", training)
        for level in range(self.config["depth"]):
            if self.config["upsampling"] == "transpose":
                weight = kernel_for_peer(self.tensors[f"upsamplers.{level}.weight"])
                bias = self.tensors[f"upsamplers.{level}.bias"]
                x = peer.conv_transpose2d(x, weight, bias, stride=2)
            else:
                x = peer.interpolate(x, scale_factor=2)
                x = self.convolve(x, f"upsamplers.{level}.conv", self.padding)
            x = self.block(join(skips.pop(), x), f"decoder.{level}", training)
        return channels_last(self.convolve(x, "head", 0))


VARIANTS = [
    {"padding": padding, "upsampling": up, "norm": norm}
    for padding, up, norm in itertools.product(
        ("same", "valid"), ("transpose", "nearest"), (None, "batch")
    )
]
EVERY_VARIANT = pytest.mark.parametrize(
    "variant", VARIANTS, ids=lambda variant: "-".join(str(value) for value in variant.values())
)


@EVERY_VARIANT
@pytest.mark.parametrize("depth", [1, 2])
def test_whole_networks(variant, depth):
    network = in_float64(small_unet(depth=depth, **variant))
    theirs = PeerUNet(network)
    images = small_images(network)
    tensor = to_peer(images)
    logits, expected = network(images), theirs(tensor)
    assert_close(logits, expected.detach().numpy(), TOLERANCE)
    dlogits = random_array(1, logits.shape)
    dx = network.backward(dlogits)
    expected.backward(torch.from_numpy(dlogits))
    assert_close(dx, tensor.grad.numpy(), TOLERANCE)
    for name, gradient in gradients_of(network).items():
        assert_close(gradient, theirs.tensors[name].grad.numpy(), TOLERANCE)
    for name, array in network.state_dict().items():  # the running averages moved alike
        assert_close(array, theirs.tensors[name].detach().numpy(), TOLERANCE)
    in_use = theirs(tensor, training=False).detach().numpy()
    assert_close(network.eval()(images), in_use, TOLERANCE)


def optimizers(epsilon):
    """Pairs of optimizers, ours and PyTorch's, by name."""
    return {
        "sgd": (
            lambda parameters: SGD(parameters, 0.05, momentum=0.9, weight_decay=1e-3),
            lambda parameters: torch.optim.SGD(parameters, 0.05, momentum=0.9, weight_decay=1e-3),
        ),
        "adam": (
            lambda parameters: Adam(parameters, 2e-3, epsilon=epsilon),
            lambda parameters: torch.optim.Adam(parameters, 2e-3, eps=epsilon),
        ),
        "adam with decay": (
            lambda parameters: Adam(parameters, 2e-3, epsilon=epsilon, weight_decay=0.1),
            lambda parameters: torch.optim.AdamW(parameters, 2e-3, eps=epsilon, weight_decay=0.1),
        ),
    }


def every_optimizer(epsilon=1e-8):
    """Run a test with each pair of optimizers."""
    pairs = optimizers(epsilon)
    return pytest.mark.parametrize(("ours", "theirs"), pairs.values(), ids=pairs.keys())


EVERY_VARIANT = pytest.mark.parametrize(
    "variant", [{}, {"upsampling": "nearest", "norm": "batch"}, {"padding": "valid"}], ids=str
)


def both_losses(network, make_ours, make_theirs, dtype, steps=20):
    """Train both from the same start on the same batches; gives the losses of either side."""
    their_network = PeerUNet(network)
    optimizer = make_ours(network.parameters())
    their_optimizer = make_theirs(their_network.parameters())
    loss, losses, their_losses = CrossEntropy(ignore_index=255), [], []
    for step in range(steps):
        images = small_images(network, seed=step, dtype=dtype)
        logits = network(images)
        labels = (images.sum(axis=3) > 0).astype("int64")
        top, left = (
            (a - b) // 2 for a, b in zip(images.shape[1:3], logits.shape[1:3], strict=True)
        )
        labels = labels[:, top : top + logits.shape[1], left : left + logits.shape[2]]
        labels[labels_for(logits, seed=step) == 2] = 255

        optimizer.zero_grad()
        value, backward = loss(logits, labels)
        network.backward(backward(), input_gradient=False)
        optimizer.step()
        losses.append(float(value))

        their_optimizer.zero_grad()
        their_logits = channels_first(their_network(torch.from_numpy(images)))
        target = torch.from_numpy(labels)
        their_value = peer.cross_entropy(their_logits, target, ignore_index=255)
        their_value.backward()
        their_optimizer.step()
        their_losses.append(float(their_value.detach()))
    return losses, their_losses


# Adam takes a full step along any gradient, however small. With its usual epsilon a gradient that
# is nothing but rounding moves a float32 weight as far as a real one, and the two sides part.
@every_optimizer(epsilon=1e-5)
@EVERY_VARIANT
def test_twenty_steps_of_training(ours, theirs, variant):
    network = small_unet(base_channels=8, **variant)
    losses, expected = both_losses(network, ours, theirs, "float32")
    assert losses[-1] < losses[0], "it learns"
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-4)


@every_optimizer()
@EVERY_VARIANT
def test_twenty_steps_in_float64_agree_to_ten_digits(ours, theirs, variant):
    network = in_float64(small_unet(**variant))
    losses, expected = both_losses(network, ours, theirs, "float64")
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-10)
