"""Figure of the chapter on arrays and layout."""

import numpy as np
from figure_style import FAINT, LEVEL, is_narrow, on, panels
from matplotlib.patches import Rectangle

HEIGHT, WIDTH, CHANNELS = 3, 4, 2


def arrays_layout(quick):
    """Show an image's numbers in two orders in memory, those of one window marked."""
    x = np.array(
        [
            [[f"{row}{column}{channel}" for channel in "ab"] for column in range(WIDTH)]
            for row in range(HEIGHT)
        ]
    )  # each entry tells its own place: row, column, channel
    marked = set(x[:2, 1:3].ravel())
    lines = 2 if is_narrow() else 1  # of a row of memory
    figure, axes = panels(3, 1, height=3.6, height_ratios=(3, lines, lines))
    image = axes[0, 0]
    for channel in range(CHANNELS):
        draw(image, x[:, :, channel], marked, left=channel * (WIDTH + 1))
    wide = x.size // lines
    title = "the image: two channels, a and b; an entry is row, column, channel"
    image.set_title(title.replace("; ", ";\n") if is_narrow() else title, fontsize=11)
    image.set(xlim=(4.5 - wide / 2, 4.3 + wide / 2), ylim=(2.6, -0.6))
    for row, (name, order) in zip(
        axes[1:, 0], {"last": x, "first": x.transpose(2, 0, 1)}.items(), strict=True
    ):
        draw(row, order.reshape(lines, -1), marked)
        row.set_title(f"in memory, channels {name}", fontsize=11, loc="left")
        row.set(xlim=(-0.6, wide - 0.4), ylim=(lines - 0.4, -0.6))
    return figure


def draw(axes, names, marked, left=0):
    """Draw a grid of entries by name; those of the window are dark and framed."""
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    for (row, column), name in np.ndenumerate(names):
        color = LEVEL(0.95 if name in marked else 0.05)
        corner = (left + column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=color, edgecolor=FAINT, linewidth=0.8))
        place = {"ha": "center", "va": "center", "fontsize": 8.5, "color": on(color)}
        weight = "bold" if name in marked else "normal"
        axes.text(left + column, row, name, fontweight=weight, **place)


FIGURES = {"arrays_layout": arrays_layout}
