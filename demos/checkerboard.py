"""Where checkerboards come from: three ways to double an image, tried on one that is flat.

A transposed convolution stamps its kernel onto the output. A 3 x 3 kernel with stride 2 overlaps
itself unevenly; a 2 x 2 kernel with stride 2 touches each pixel once, but its four weights differ
until training has made them fit; nearest neighbors and then a convolution treat all pixels alike.
Above: how many products are summed into each output pixel, for one channel. Below: what random
kernels make of a flat image.

    python demos/checkerboard.py          # a second
"""

import sys

import numpy as np
from parts.command_line import demo_parser, prepare

from tinyunet.backend import random_generator, to_device, to_host
from tinyunet.nn.functional import conv2d, conv_transpose2d, upsample_nearest2d

try:
    import matplotlib

    matplotlib.use("Agg")  # draws into files, needs no screen
    from matplotlib import pyplot
except ImportError as error:
    sys.exit(f"{error}: this demo needs more packages: python -m pip install '.[demos]'")

CHANNELS = 16  # of the flat image


def transposed_3(x, kernels):
    """Upsample by a transposed convolution, 3 x 3, stride 2."""
    return conv_transpose2d(x, kernels.swapaxes(2, 3), stride=2, padding=1)[0]


def transposed_2(x, kernels):
    """Upsample by a transposed convolution, 2 x 2, stride 2."""
    return conv_transpose2d(x, kernels[:2, :2].swapaxes(2, 3), stride=2)[0]


def nearest(x, kernels):
    """Repeat each pixel, then convolve."""
    return conv2d(upsample_nearest2d(x)[0], kernels, padding="same")[0]


WAYS = {
    "transposed convolution\n3 x 3, stride 2": transposed_3,
    "transposed convolution\n2 x 2, stride 2": transposed_2,
    "nearest neighbors,\nthen a 3 x 3 convolution": nearest,
}


def inside(y):
    """Cut off two pixels at each side, where the border of the image shows."""
    return y[:, 2:-2, 2:-2]


def measure(upsample, size, kernels):
    """Count what each output pixel sums up, and see what kernels make of a flat image.

    Returns
    -------
    counts : array (H, W)
        How many products are summed into each pixel, for one channel.
    pattern : array (H, W)
        The flat image through the first of the kernels.
    unevenness : float
        How much the pixels of such an image vary: the standard deviation inside, over the root
        mean square, for all kernels together. 0 is as flat as what went in.
    """
    ones = np.ones((1, size, size, 1))
    counts = to_host(upsample(to_device(ones), to_device(np.ones((3, 3, 1, 1)))))
    flat = to_device(np.repeat(ones, CHANNELS, axis=3))
    outputs = to_host(upsample(flat, to_device(kernels)))
    variance = inside(outputs).var(axis=(1, 2)).mean()
    unevenness = np.sqrt(variance / (inside(outputs) ** 2).mean())
    return inside(counts)[0, :, :, 0], inside(outputs)[0, :, :, 0], unevenness


def draw(path, results):
    """Draw a column for each way: the counts above, the pattern below.

    Each pattern is divided by its mean, so that 1 is what a flat image should stay.
    """
    pyplot.rcParams.update({"font.size": 10})
    figure, rows = pyplot.subplots(2, 3, figsize=(10.5, 7.6), dpi=120, layout="constrained")
    for (above, below), (title, result) in zip(rows.T, results.items(), strict=True):
        counts, pattern, unevenness = result
        above.imshow(counts, cmap="cividis", vmin=0, vmax=10)
        for place, count in np.ndenumerate(counts):
            color = "black" if count > 5 else "white"
            style = {"color": color, "ha": "center", "va": "center", "fontsize": 8}
            above.text(*place[::-1], f"{count:.0f}", **style)
        above.set_title(title, fontsize=12)
        shown = below.imshow(pattern / pattern.mean(), cmap="gray", vmin=-1, vmax=3)
        below.set_title(f"unevenness {unevenness:.2f}", fontsize=11)
        for axes in (above, below):
            axes.set(xticks=[], yticks=[])
    rows[0, 0].set_ylabel("how many products are summed", fontsize=11)
    rows[1, 0].set_ylabel("a flat image, random kernels", fontsize=11)
    figure.colorbar(shown, ax=rows[1], label="times the mean", ticks=[-1, 0, 1, 2, 3])
    figure.savefig(path, format="png")
    pyplot.close(figure)


def main(arguments=None):
    """Upsample in three ways, draw, and say what came out."""
    options = parse(arguments)
    rng = random_generator(options.seed)
    kernels = rng.normal(size=(3, 3, CHANNELS, options.kernels))
    results = {title: measure(way, options.size, kernels) for title, way in WAYS.items()}
    draw(options.out, results)
    counts, _, unevenness = zip(*results.values(), strict=True)
    spans = [(int(count.min()), int(count.max())) for count in counts]
    sums = [f"always {low}" if low == high else f"{low} to {high}" for low, high in spans]
    print(f"The picture: {options.out}")
    print(
        f"You should have seen a checkerboard: an output pixel sums {sums[0]} products of the "
        f"3 x 3 transposed convolution, {sums[1]} of the 2 x 2, {sums[2]} "
        f"after nearest neighbors, and a flat image comes out uneven by {unevenness[0]:.2f}, "
        f"{unevenness[1]:.2f} (its four taps differ) and {unevenness[2]:.2f}."
    )


def parse(arguments):
    """Read the command line, and choose the device."""
    parser = demo_parser(__doc__, "checkerboard.png")
    parser.add_argument("--size", type=int, default=9, help="side of the image in pixels (9)")
    parser.add_argument("--kernels", type=int, default=64, help="random kernels to try (64)")
    options = parser.parse_args(arguments)
    if options.size < 4 or options.kernels < 1 or options.seed < 0:
        parser.error("--size must be 4 or more, --kernels 1 or more, --seed 0 or more")
    return prepare(parser, options)


if __name__ == "__main__":
    main()
