"""What tinyunet's checker says to each wrong backward of "The backward in your hands".

The wrong backwards are those of the gallery in ``tests/wrong_backwards.py``; the page has the same
in JavaScript. Here the checker meets each of them, on the numbers that the page begins with, and
the sentence with which it names the mistake goes into ``mistakes.js``::

    python docs/interactive/name_mistakes.py
"""

import json
import re
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from tests.wrong_backwards import GALLERY  # noqa: E402
from tinyunet import check_gradients  # noqa: E402
from tinyunet.nn import functional  # noqa: E402
from tinyunet.nn.gradcheck import GradientError  # noqa: E402

MISTAKES = HERE / "mistakes.js"
OTHERS = ("Right: ", "Wrong too: ")  # lines that the page has no use for
WRONG = {one.name: one.function for one in GALLERY}


def image(sheet):
    """(H, W) -> (1, H, W, 1), as the operations want it."""
    return sheet[None, :, :, None]


def with_kernel(function):
    """Make a convolution of one channel, on (H, W) and (KH, KW), of one on many channels."""

    def operation(x, weight):
        y, backward = function(image(x), weight[:, :, None, None])

        def flat_backward(dy):
            dx, dweight, *_ = backward(image(dy))
            return dx[0, :, :, 0], dweight[:, :, 0, 0]

        return y[0, :, :, 0], flat_backward

    return operation


def with_patches(im2col):
    """Make a convolution whose dx comes from the backward of an im2col."""

    def operation(x, weight):
        y, backward = with_kernel(functional.conv2d)(x, weight)

        def patches_backward(dy):
            dcolumns = np.einsum("ij,uv->ijuv", dy, weight)[None, ..., None]
            return im2col(image(x))[1](dcolumns)[0, :, :, 0], backward(dy)[1]

        return y, patches_backward

    return operation


def without_bias(function):
    """Give a function that wants a bias a bias of zero."""
    return lambda x, weight: function(x, weight, np.zeros(1))


def pooling(function):
    """Make a pooling of (H, W) of one of many channels."""

    def operation(x):
        y, backward = function(image(x))
        return y[0, :, :, 0], lambda dy: backward(image(dy))[0, :, :, 0]

    return operation


def cross_entropy(function, labels):
    """Make a loss of (pixels, classes) of one of images."""

    def operation(logits):
        y, backward = function(logits[None, None], np.array(labels)[None, None])
        return y, lambda dy: backward(dy)[0, 0]

    return operation


def not_divided(logits, labels):
    """Forget to divide by the number of pixels; the gallery's has weights of classes, too."""
    loss, backward = functional.softmax_cross_entropy(logits, labels)
    return loss, lambda dloss=1.0: backward(dloss) * labels.size


def operation(name, labels):
    """Make of a wrong backward of the gallery one on arrays as the page shows them."""
    if name.startswith("im2col"):
        return with_patches(WRONG[name])
    if name.startswith("max_pool"):
        return pooling(WRONG[name])
    if name.endswith("never_stored"):
        return with_kernel(without_bias(WRONG[name]))
    if name.startswith("cross_entropy"):
        function = not_divided if "not_divided" in name else WRONG[name]
        return cross_entropy(function, labels)
    return with_kernel(WRONG[name])


TABS = {
    "convolution": "convolution",
    "im2col": "convolution",
    "max": "maxPooling",
    "transposed": "transposedConvolution",
    "cross": "crossEntropy",
}


def sentence(name, first_numbers):
    """Let the checker look at a wrong backward, and give the sentence that names its mistake."""
    inputs = first_numbers[TABS[name.partition("_")[0]]]
    arrays = [np.array(inputs[key], float) for key in ("x", "weight") if key in inputs]
    try:
        check_gradients(operation(name, inputs.get("labels")), *arrays)
    except GradientError as error:
        said, _, _ = str(error).partition("\nOff at ")
        return " ".join(line for line in said.split("\n") if not line.startswith(OTHERS))
    raise ValueError(f"the checker lets {name} pass")


def script():
    """Write the sentence for each wrong backward of the page, as a script that the page loads."""
    text = (HERE / "backward.js").read_text(encoding="utf-8")
    first_numbers = json.loads(text.partition("FIRST_NUMBERS = ")[2].partition(";")[0])
    operations = (HERE / "operations.js").read_text(encoding="utf-8")
    names = re.findall(r'name: "(\w+)"', operations)
    said = {name: sentence(name, first_numbers) for name in names}
    text = json.dumps(said, indent=1, ensure_ascii=False)
    comment = "// Written by name_mistakes.py: what the checker says to each wrong backward."
    return f"{comment}\nconst MISTAKES = {text};\n"


if __name__ == "__main__":
    MISTAKES.write_text(script(), encoding="utf-8")
