"""Convolution by hand: a window that slides over the image is one row of a matrix.

Above: a tiny image, the window at one place, and the patch matrix in which that window is a row;
times the kernel, written as a column, it gives the output. Below: three kernels that people wrote
long before any network learned them, run over a painted scene by the same `conv2d`.

    python demos/convolution_by_hand.py   # a second
"""

import sys

import numpy as np
from parts.command_line import demo_parser, prepare

from tinyunet.backend import random_generator, to_device, to_host
from tinyunet.data.scenes import paint_scene
from tinyunet.nn.functional import conv2d, im2col
from tinyunet.plots.colors import PALETTE

try:
    import matplotlib

    matplotlib.use("Agg")  # draws into files, needs no screen
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle
except ImportError as error:
    sys.exit(f"{error}: this demo needs more packages: python -m pip install '.[demos]'")

LEFT_TO_RIGHT = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])  # Sobel's: is it lighter at right?
BLUR = np.full((5, 5), 1 / 25)  # the mean of the neighborhood
IDENTITY = np.pad([[1]], 2)
SHARPEN = IDENTITY + 1.5 * (IDENTITY - BLUR)  # the image, plus what a blur takes away
WINDOW = 6  # the place that is drawn


def slide(image, kernel):
    """Convolve the slow way: stop at each place, multiply, sum."""
    size = len(kernel)
    places = [
        (i, j) for i in range(len(image) - size + 1) for j in range(image.shape[1] - size + 1)
    ]
    sums = [(image[i : i + size, j : j + size] * kernel).sum() for i, j in places]
    return np.reshape(sums, (len(image) - size + 1, -1))


def multiply(image, kernel):
    """Convolve by one matrix product; gives the patch matrix, too."""
    columns, _ = im2col(to_device(image[None, :, :, None]), kernel.shape)
    patches = to_host(columns).reshape(-1, kernel.size)
    return patches, patches @ kernel.ravel()


def filtered(photo, kernel):
    """Run one kernel over each color of a photograph, by `conv2d`."""
    weight = kernel[:, :, None, None] * np.eye(3)  # (KH, KW, 3, 3): no color touches another
    y, _ = conv2d(to_device(photo[None] / 255.0), to_device(weight), padding="same")
    return to_host(y)[0]


def contrast(photo):
    """Measure how much neighboring pixels differ on average, of 255."""
    return 255 * abs(np.diff(photo[2:-2, 2:-2], axis=1)).mean()  # away from the zeros around


def draw(path, image, patches, output, photos):
    """Draw the tiny convolution with its numbers, and the photographs below."""
    pyplot.rcParams.update({"font.size": 10})
    figure = pyplot.figure(figsize=(12, 7.6), dpi=120)
    upper = figure.add_gridspec(1, 4, left=0.02, right=0.98, top=0.94, bottom=0.47, wspace=0.12)
    upper.set_width_ratios((7, 9, 2.2, 5))
    lower = figure.add_gridspec(1, 4, left=0.02, right=0.98, top=0.39, bottom=0.01, wspace=0.04)
    place = divmod(WINDOW, output.shape[1])
    panels = (
        ("the image, and a window", image, (*place[::-1], 3, 3)),
        ("the patch matrix: each window is a row", patches, (0, WINDOW, patches.shape[1], 1)),
        ("the kernel", LEFT_TO_RIGHT.reshape(-1, 1), None),
        ("the output: row times kernel", output, (*place[::-1], 1, 1)),
    )
    for column, (title, numbers, frame) in enumerate(panels):
        axes = figure.add_subplot(upper[column])
        axes.imshow(numbers, cmap="gray", vmin=-3 * abs(numbers).max(), vmax=abs(numbers).max())
        for (row, place_in_row), number in np.ndenumerate(numbers):
            axes.text(place_in_row, row, f"{number:d}", ha="center", va="center")
        if frame:
            x, y, width, height = frame
            corner = (x - 0.5, y - 0.5)
            style = {"fill": False, "edgecolor": PALETTE[4] / 255, "linewidth": 3, "clip_on": False}
            axes.add_patch(Rectangle(corner, width, height, **style))
        axes.set_axis_off()
        axes.set_title(title, fontsize=12)
    for column, (title, photo) in enumerate(photos.items()):
        axes = figure.add_subplot(lower[column])
        axes.imshow(photo.clip(0, 1), cmap="gray")
        axes.set_axis_off()
        axes.set_title(title, fontsize=12)
    figure.savefig(path, format="png")
    pyplot.close(figure)


def main(arguments=None):
    """Convolve in three ways, filter a scene, draw, and say what came out."""
    options = parse(arguments)
    image = random_generator(options.seed).integers(0, 10, (5, 6))
    by_hand = slide(image, LEFT_TO_RIGHT)
    patches, product = multiply(image, LEFT_TO_RIGHT)
    kernel = to_device(LEFT_TO_RIGHT[:, :, None, None] * 1.0)
    by_conv2d, _ = conv2d(to_device(image[None, :, :, None] * 1.0), kernel)
    differences = [by_hand.ravel() - other for other in (product, to_host(by_conv2d).ravel())]
    photo, _ = paint_scene((options.size, options.size), seed=options.seed)
    photos = {"a painted scene": photo / 255} | {
        title: filtered(photo, kernel)
        for title, kernel in (("blur (the rim: zeros around)", BLUR), ("sharpen", SHARPEN))
    }
    edges = filtered(photo, LEFT_TO_RIGHT).mean(axis=2)[1:-1, 1:-1] / 2 + 0.5
    draw(options.out, image, patches, by_hand, photos | {"edges: is it lighter at right?": edges})
    before, blurred, sharpened = (contrast(one) for one in photos.values())
    print(f"The picture: {options.out}")
    print(
        f"You should have seen one window become one row and one sum, "
        f"{by_hand.ravel()[WINDOW]}: sliding, matrix product and conv2d differ by at most "
        f"{np.abs(differences).max():.0f}; neighboring pixels of the scene differ by "
        f"{before:.1f} of 255, after the blur by {blurred:.1f}, sharpened by {sharpened:.1f}."
    )


def parse(arguments):
    """Read the command line, and choose the device."""
    parser = demo_parser(__doc__, "convolution_by_hand.png")
    parser.add_argument("--size", type=int, default=128, help="side of the scene in pixels (128)")
    options = parser.parse_args(arguments)
    if options.size < 32 or options.seed < 0:
        parser.error("--size must be 32 or more, --seed 0 or more")
    return prepare(parser, options)


if __name__ == "__main__":
    main()
