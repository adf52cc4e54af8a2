"""Figures of the chapter on convolution."""

import numpy as np
from figure_style import (
    BLUE,
    BRIGHTNESS,
    INK,
    LEVEL,
    VERMILION,
    arrow,
    canvas,
    cells,
    frame,
    is_narrow,
    panels,
    write,
)

from tinyunet.nn.functional import col2im, conv2d, im2col


def convolution_idea(quick):
    """Show the window on the image, the kernel, the one number that comes out."""
    image = np.array([[0.0, 0.0, 9.0, 9.0, 9.0]] * 4)
    kernel = np.array([[-1.0, 0.0, 1.0]] * 3)
    y, _ = conv2d(image[None, :, :, None], kernel[:, :, None, None])
    figure, axes = panels(1, 3, height=2.0 if is_narrow() else 2.9, width_ratios=(5, 3, 3))
    axes[0].set_title("the image, and a window")
    cells(axes[0], image, colors=BRIGHTNESS)
    axes[1].set_title("the kernel")
    cells(axes[1], kernel, room=(4, 3))
    axes[2].set_title("the answers")
    cells(axes[2], y[0, :, :, 0], room=(4, 3))
    frame(axes[0], 0, 1, 3, 3)
    frame(axes[2], 0, 1)
    return figure


ARITHMETIC = {  # height and width of the image, kernel, stride, padding
    "no padding": (5, 3, 1, 0),
    "padding 1 keeps the size": (5, 3, 1, 1),
    "padding 1, stride 2": (6, 3, 2, 1),
}


def convolution_arithmetic(quick):
    """Show where windows lie for three choices of size, stride and padding, and what comes out."""
    figure, axes = canvas(24, 18.4)
    left, first_answer = 0.2, 11.2
    for title, (size, kernel, stride, padding) in ARITHMETIC.items():
        x, ones = np.ones((1, size, size, 1)), np.ones((kernel, kernel, 1, 1))
        places = conv2d(x, ones, stride=stride, padding=padding)[0].shape[1]
        padded = np.pad(x[0, :, :, 0], padding)
        side = len(padded)
        # Where in the padded image each window begins, and how many windows a pixel lies in
        number = np.arange(side * side).reshape(1, side, side, 1)
        columns, _ = im2col(number, kernel, stride)
        seen = col2im(np.ones_like(columns), number.shape, kernel, stride)[0][0, :, :, 0]

        middle, top = left + (side - 1) / 2, 1.4 + (8 - side) / 2
        write(axes, 0.1, middle, title, size=12)
        for (row, column), inside in np.ndenumerate(padded):
            place = row + top, column + left
            if inside:
                cells(axes, [[1]], low=0, high=3, form="", at=place)
            else:
                frame(axes, *place, color=INK, linewidth=0.8, linestyle=":", zorder=1)
                write(
                    axes, *place, "0" if seen[row, column] else "\N{MULTIPLICATION SIGN}", size=10
                )
        for begin in columns[0, :, :, 0, 0, 0].ravel():
            row, column = divmod(int(begin), side)
            center = kernel // 2
            axes.plot(left + column + center, top + row + center, "o", color="black", markersize=4)
        arrow(axes, (top + side - 0.2, middle), (first_answer - 0.8, middle))
        first_column = middle - (places - 1) / 2
        answers = np.ones((places, places))
        cells(axes, answers, low=0, high=2, form="", at=(first_answer, first_column))
        for index, color, line in ((0, VERMILION, "-"), (places - 1, BLUE, "--")):
            look = {"color": color, "linestyle": line}
            begin = index * stride
            frame(axes, top + begin, left + begin, kernel, kernel, **look)
            frame(axes, first_answer + index, first_column + index, **look)
        step = f" / {stride}" if stride > 1 else ""
        formula = f"({size} + {2 * padding} \N{MINUS SIGN} {kernel}){step} + 1"
        exact = (size + 2 * padding - kernel) / stride + 1
        result = f"= {places}" if exact == places else f"= {exact:g}, so {places}"
        write(axes, 17.2, middle, f"{formula}\n{result}", size=11)
        left += side + 1.8
    return figure


def convolution_im2col(quick):
    """Show the patches of a small image as the rows of a matrix, and the product with a kernel."""
    image, kernel = np.arange(9.0).reshape(3, 3), np.array([[0.0, 1.0], [2.0, -1.0]])
    columns, _ = im2col(image[None, :, :, None], 2)
    patches, weights = columns.reshape(4, 4), kernel.reshape(4, 1)
    y, _ = conv2d(image[None, :, :, None], kernel[:, :, None, None])
    figure, axes = canvas(18.4, 5.6)
    parts = (  # title, first row and column, numbers, the cells to frame
        ("the image", 1.5, 0.2, image, (0, 1, 2, 2)),
        ("P: a patch in each row", 1, 5.2, patches, (1, 0, 1, 4)),
        ("W", 1, 10.4, weights, None),
        ("P W", 1, 12.6, patches @ weights, (1, 0)),
        ("the answers", 2, 15.8, y[0, :, :, 0], (0, 1)),
    )
    for title, row, column, numbers, framed in parts:
        if title == "W":
            cells(axes, numbers, at=(row, column))
        else:
            colors = LEVEL if "W" in title or "answers" in title else BRIGHTNESS
            cells(axes, numbers, at=(row, column), colors=colors, high=y.max())
        write(axes, 0, column + (numbers.shape[1] - 1) / 2, title, size=12)
        if framed:
            frame(axes, row + framed[0], column + framed[1], *framed[2:])
    arrow(axes, (2.5, 3.0), (2.5, 4.4))
    arrow(axes, (2.5, 13.5), (2.5, 14.9))
    write(axes, 2.5, 9.3, "\N{MULTIPLICATION SIGN}", size=16)
    write(axes, 2.5, 11.5, "=", size=16)
    return figure


def convolution_backward(quick):
    """Show how two entries of dy spread over their windows, and how the overlap adds up."""
    kernel = np.array([[1.0, 2.0], [3.0, 4.0]])
    y, backward = conv2d(np.zeros((1, 3, 3, 1)), kernel[:, :, None, None])
    figure, axes = canvas(17.4, 8.2)
    write(axes, 3.2, 0.7, "kernel", size=12)
    cells(axes, kernel, high=44, at=(4.3, 0.2))
    write(axes, 0.7, 3.4, "dy")
    write(axes, 5.2, 3.4, "dx")
    upstreams = ([[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 10.0]], [[1.0, 0.0], [0.0, 10.0]])
    for upstream, left in zip(upstreams, (4.6, 9.2, 13.8), strict=True):
        dy = np.array(upstream)
        dx, _ = backward(dy[None, :, :, None])
        cells(axes, dy, high=44, at=(0.2, left + 0.5))
        arrow(axes, (2, left + 1), (3.4, left + 1))
        cells(axes, dx[0, :, :, 0], high=44, at=(4.2, left))
        for place, color, line in ((0, VERMILION, "-"), (1, BLUE, "--")):
            if dy[place, place]:
                look = {"color": color, "linestyle": line}
                frame(axes, 0.2 + place, left + 0.5 + place, **look)
                frame(axes, 4.2 + place, left + place, 2, 2, **look)
    for row in (0.7, 5.2):
        write(axes, row, 8.1, "+", size=16)
        write(axes, row, 12.7, "=", size=16)
    return figure


def convolution_channels(quick):
    """Show that each filter has a sheet of weights for each channel, and sums over all of them."""
    rng = np.random.default_rng(5)
    x = rng.integers(0, 4, (1, 3, 3, 3)).astype(float)  # (N, H, W, C)
    weight = rng.integers(-1, 3, (2, 2, 3, 2)).astype(float)  # (KH, KW, C, F)
    y, _ = conv2d(x, weight)
    row, column = 0, 1  # of the output that is looked at
    figure, axes = canvas(23.6, 11.6)
    lefts = (3.6, 8.6, 13.6)
    write(axes, 2.6, 0.9, "the image")
    for channel, left in enumerate(lefts):
        write(axes, 0.2, left + 1, f"channel {channel}", size=12)
        cells(axes, x[0, :, :, channel], at=(1.4, left), colors=BRIGHTNESS, low=-2, high=5)
        frame(axes, 1.4 + row, left + column, 2, 2)
    for number, top in enumerate((5.9, 9.3)):
        write(axes, top + 0.5, 0.9, f"filter {number}")
        for channel, left in enumerate(lefts):
            sheet = weight[:, :, channel, number]
            cells(axes, sheet, at=(top, left), low=-2, high=2)
            window = x[0, row : row + 2, column : column + 2, channel]
            products = f"{(window * sheet).sum():g}".replace("-", "\N{MINUS SIGN}")
            write(axes, top + 0.5, left + 2.35, f"\N{RIGHTWARDS ARROW} {products}")
            write(axes, top + 0.5, left + 3.65, "+" if channel < 2 else "=", size=16)
        write(axes, top - 0.9, 20, f"output, channel {number}", size=11)
        cells(axes, y[0, :, :, number], at=(top, 19.5), high=24)
        frame(axes, top + row, 19.5 + column)
    return figure


def convolution_turned(quick):
    """Show dx as a convolution of dy, inside a border of zeros, with the kernel turned around."""
    kernel = np.array([[1.0, 2.0], [3.0, 4.0]])
    dy = np.array([[1.0, 10.0], [100.0, 1000.0]])
    dx, _ = conv2d(np.zeros((1, 3, 3, 1)), kernel[:, :, None, None])[1](dy[None, :, :, None])
    turned, padded = kernel[::-1, ::-1], np.pad(dy, 1)
    again, _ = conv2d(padded[None, :, :, None], turned[:, :, None, None])
    np.testing.assert_array_equal(dx, again)

    # On a narrow screen, all from "on" to the right stands below.
    down, back = (4.8, 5.7) if is_narrow() else (0.0, 0.0)
    figure, axes = canvas(18.6 - back, 6.4 + down)
    write(axes, 0, 0.7, "the kernel", size=12)
    cells(axes, kernel, at=(2.2 - down / 5, 0.2), low=-0.1, high=8)
    arrow(axes, (2.7 - down / 5, 1.9), (2.7 - down / 5, 3.7))
    write(axes, 2.1 - down / 5, 2.8, "turn")
    cells(axes, turned, at=(2.2 - down / 5, 4.2), low=-0.1, high=8)
    write(axes, 0, 4.7, "turned", size=12)
    write(axes, 2.7 + down, 6.5 - back, "on")
    write(axes, down, 9.2 - back, "dy, and a border of zeros", size=12)
    for (row, column), number in np.ndenumerate(padded):
        place = (row + 1.2 + down, column + 7.7 - back)
        if 1 <= row <= 2 and 1 <= column <= 2:
            cells(axes, [[number]], at=place, low=0, high=8000, size=10)
        else:
            frame(axes, *place, color=INK, linewidth=0.8, linestyle=":", zorder=1)
            write(axes, *place, "0", size=10)
    write(axes, 2.7 + down, 12.8 - back, "=", size=16)
    write(axes, down, 15.2 - back, "dx", size=12)
    cells(axes, dx[0, :, :, 0], at=(1.7 + down, 14.2 - back), low=0, high=8000, size=10)
    for row, column, color, line in ((0, 0, BLUE, "--"), (1, 1, VERMILION, "-")):
        look = {"color": color, "linestyle": line}
        frame(axes, 1.2 + down + row, 7.7 - back + column, 2, 2, **look)
        frame(axes, 1.7 + down + row, 14.2 - back + column, **look)
    terms = " + ".join(
        f"{dy_number:g} \N{MULTIPLICATION SIGN} {weight:g}"
        for dy_number, weight in zip(dy.ravel(), turned.ravel(), strict=True)
    )
    write(axes, 5.8 + down, 9.2 - back / 2, f"in the middle: {terms} = {dx[0, 1, 1, 0]:g}")
    return figure


FIGURES = {
    "convolution_idea": convolution_idea,
    "convolution_channels": convolution_channels,
    "convolution_arithmetic": convolution_arithmetic,
    "convolution_im2col": convolution_im2col,
    "convolution_backward": convolution_backward,
    "convolution_turned": convolution_turned,
}
