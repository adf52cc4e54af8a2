"""The end of the course: a student's own operations train a U-Net on painted scenes.

The network is tinyunet's `UNet`. Its layers ask for their operations by name, so they can be given
a student's; those that a student has not written yet are tinyunet's plain ones. With all of them
the picture is the same as tinyunet's own, pixel by pixel: everything is computed in float64, where
it makes too little difference to turn a pixel in which order numbers are summed up.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType

import numpy as np

from tinyunet.data.augmentation import sample_batch
from tinyunet.data.scenes import CLASS_COLORS, CLASSES, paint_scenes
from tinyunet.nn import functional
from tinyunet.nn.losses import CrossEntropy
from tinyunet.nn.operations import operations, use_operations
from tinyunet.nn.optimizers import Adam
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet

STEPS = 400  # half a minute
CROP, LEARNING_RATE = 96, 0.01  # one crop a step; the learning rate falls to zero
SHOWN = 3  # scenes in the picture, none of which was trained on


def train_and_draw(
    mine: Mapping[str, Callable], steps: int = STEPS, tell: Callable[[str], None] = print
) -> np.ndarray:
    """Train a small U-Net and draw what it sees.

    Parameters
    ----------
    mine : dict of str to function
        The student's operations, by their names in the exercises; the rest are tinyunet's.
    steps : int
        Steps of training.
    tell : function
        Gets a line of text now and then.

    Returns
    -------
    picture : (H, W, 3) uint8 array
        A row for each scene: the photograph, the truth, and what the network found.
    """
    from tinyunet.plots.pictures import draw_grid  # which needs more than the exercises do

    scenes = paint_scenes(24, (128, 128), seed=1)
    new_scenes = paint_scenes(SHOWN, (96, 128), seed=2)
    standardization = Standardization.fit(scenes.images)
    with chosen(mine):
        network = with_wiring(mine.get("unet"))(
            3, len(CLASSES), base_channels=8, depth=2, norm="batch"
        )
        for _, parameter in network.named_parameters():
            parameter.data = parameter.data.astype("float64")
        optimizer = with_update(mine.get("adam"))(network.parameters(), LEARNING_RATE)
        cross_entropy, rng = CrossEntropy(), np.random.default_rng(0)
        for step in range(1, steps + 1):
            optimizer.lr = LEARNING_RATE * (1 - (step - 1) / steps)
            images, labels = sample_batch(
                scenes, standardization, batch_size=1, crop_size=CROP, rng=rng
            )
            loss, loss_backward = cross_entropy(network(images.astype("float64")), labels)
            network.zero_grad()
            network.backward(loss_backward())
            optimizer.step()
            if step % 50 == 0 or step == steps:
                tell(f"step {step} of {steps}: the loss is {float(loss):.3f}")
        network.eval()
        rows = []
        for image, mask in zip(new_scenes.images, new_scenes.masks, strict=True):
            logits = network(standardization.transform(image[None]).astype("float64"))
            found = np.asarray(logits[0].argmax(axis=-1), dtype="uint8")
            masks = ("truth", mask), ("found by the U-Net", found)
            rows.append([("photograph", image), *masks])
    return np.asarray(draw_grid(rows, CLASSES, colors=CLASS_COLORS, panel=256))


@contextmanager
def chosen(mine: Mapping[str, Callable]) -> Iterator[None]:
    """Use a student's operations within a `with` block, and tinyunet's plain ones for the rest."""
    before, yours = operations.name, ModuleType("tinyunet.course.yours")
    for name in mine.keys() & ADAPTERS.keys():
        setattr(yours, name, ADAPTERS[name](mine[name]))
    if "batch_norm2d" in mine:
        yours.normalize_batch = normalizing(mine["batch_norm2d"])
    # Operations are looked for in modules, by their names: first in this one, which has no file.
    sys.modules[yours.__name__] = yours
    operations.choices["yours"] = [yours.__name__, *operations.choices["plain"]]
    use_operations("yours")
    try:
        yield
    finally:
        use_operations(before)
        del operations.choices["yours"], sys.modules[yours.__name__]


# An exercise leaves out what a U-Net asks of an operation beside the idea: a padding by name, a
# convolution without bias, a gradient of the image that nobody wants.


def convolving(conv2d: Callable) -> Callable:
    """Adapt a student's conv2d."""

    def adapted(x, weight, bias=None, *, stride=1, padding=0):
        kernel_size = weight.shape[0]
        stride = stride if isinstance(stride, int) else stride[0]
        padding = kernel_size // 2 if padding == "same" else padding
        none = np.zeros(weight.shape[3])
        y, backward = conv2d(x, weight, none if bias is None else bias, stride, padding)

        def adapted_backward(dy, input_gradient=True):
            dx, dweight, dbias = backward(dy)
            return (dx, dweight) if bias is None else (dx, dweight, dbias)

        return y, adapted_backward

    return adapted


def stamping(conv_transpose2d: Callable) -> Callable:
    """Adapt a student's conv_transpose2d."""
    return lambda x, weight, bias, *, stride, padding: conv_transpose2d(x, weight, bias)


def pooling(max_pool2d: Callable) -> Callable:
    """Adapt a student's max_pool2d."""
    return lambda x, size: max_pool2d(x)


def scoring(softmax_cross_entropy: Callable) -> Callable:
    """Adapt a student's softmax_cross_entropy."""
    return lambda logits, labels, **no_weights: softmax_cross_entropy(logits, labels)


def normalizing(batch_norm2d: Callable) -> Callable:
    """Adapt a student's batch_norm2d to what the layer asks for in training."""

    def normalize_batch(x, gamma, beta, *, epsilon, sum_over_parts):
        result = batch_norm2d(x, gamma, beta, epsilon)
        return result, x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2), ddof=1)

    return normalize_batch


ADAPTERS = {
    "relu": lambda relu: relu,
    "conv2d": convolving,
    "conv_transpose2d": stamping,
    "max_pool2d": pooling,
    "concat": lambda concat: concat,
    "softmax_cross_entropy": scoring,
    "batch_norm2d": lambda _: functional.batch_norm2d,  # with constants, as at inference
}


def with_wiring(unet: Callable | None) -> type[UNet]:
    """Make tinyunet's U-Net, or one whose layers are wired by a student."""
    if unet is None:
        return UNet

    class YourUNet(UNet):
        """tinyunet's layers, a student's wiring."""

        def forward(self, x):
            """Send images down the U and up again."""
            layers = {"bottleneck": self.bottleneck, "head": self.head}
            for level in (0, 1):
                layers[f"encoder{level}"] = self.encoder[level]
                layers[f"pool{level}"] = self.pools[level]
                layers[f"up{level}"] = self.upsamplers[1 - level]
                layers[f"concat{level}"] = self.concats[1 - level]
                layers[f"decoder{level}"] = self.decoder[1 - level]
            steps = {
                name: lambda *x, layer=layer: (layer(*x), layer.backward)
                for name, layer in layers.items()
            }
            return self.save_backward(unet(x, steps))

        def backward(self, dlogits, input_gradient=True):
            """Walk back."""
            return self.pop_backward()(dlogits)

    return YourUNet


def with_update(adam: Callable | None) -> type[Adam]:
    """Make tinyunet's Adam, or one whose step is a student's."""
    if adam is None:
        return Adam

    class YourAdam(Adam):
        """tinyunet's optimizer, a student's step."""

        def update(self, values, gradient, mean, mean_square):
            """Take a step."""
            beta1, beta2 = self.betas
            values[...], mean[...], mean_square[...] = adam(
                values, gradient, mean, mean_square, self.steps, self.lr, beta1, beta2, self.epsilon
            )

    return YourAdam
