"""How every figure of the book looks: one calm style, for light pages and dark ones.

A figure has no background of its own, so the page's shows through. What stands directly on the page
(letters, lines, arrows) has a gray that is as far from white as from a dark page. What is a number
stands on a cell of its own color, dark on light or light on dark. The colors are those of
`tinyunet.plots.colors`, chosen so that people who see colors differently can tell them apart.
"""

import importlib.util
import json
import sys
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # draws into files, needs no screen
from matplotlib import pyplot
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import FancyArrowPatch, Rectangle

from tinyunet.plots.colors import PALETTE

BOOK = Path(__file__).resolve().parent.parent
IMAGES = BOOK / "images"

INK = "#797979"  # as readable on white as on the dark page of the theme or of a code-hosting site
FAINT = "#9a9a9a80"
BLUE, ORANGE, GREEN, YELLOW, VERMILION, SKY, PURPLE = (
    "#{:02x}{:02x}{:02x}".format(*color) for color in PALETTE[:7]
)

# Cells: from paper to blue by size; from orange over paper to blue where a sign counts.
LEVEL = LinearSegmentedColormap.from_list("level", ["#efe9db", "#a9c3d3", "#5f93b7", "#1f5f8f"])
SIGNED = LinearSegmentedColormap.from_list("signed", ["#c77f1a", "#efe9db", "#1f5f8f"])

# An image's own cells: the larger the number, the brighter.
BRIGHTNESS = LinearSegmentedColormap.from_list("brightness", ["#35383d", "#f3f0e6"])

WIDE, NARROW = 8.0, 4.6  # of a page's text, in inches

STYLE = {
    "figure.figsize": (WIDE, 3.0),
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters everywhere
    "font.size": 11,
    "axes.titlesize": 12,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "lines.linewidth": 2,
    "axes.prop_cycle": matplotlib.cycler(color=[BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY]),
    "legend.frameon": False,
    "image.cmap": "cividis",
    "svg.fonttype": "path",  # letters are drawn, so they look the same in every browser
    "svg.hashsalt": "tinyunet",  # the same figure gives the same file
}


def in_style(draw, quick, narrow=False):
    """Draw a figure in the book's style, whatever the settings are around it."""
    with pyplot.rc_context(STYLE | {"figure.figsize": (NARROW if narrow else WIDE, 3.0)}):
        return draw(quick)


def is_narrow():
    """Whether a figure is being drawn for a narrow screen."""
    return pyplot.rcParams["figure.figsize"][0] == NARROW


def panels(rows=1, columns=1, *, height=3.0, **settings):
    """Make a figure with a grid of panels, in the book's style.

    For a narrow screen, the panels of a single row stand one below the other, or, if they are more
    than three, in two columns.

    Parameters
    ----------
    rows, columns : int
    height : float
        In inches; a single row that becomes several has as many times that.
    **settings
        Passed on to `matplotlib.pyplot.subplots`, such as ``width_ratios``.

    Returns
    -------
    figure, axes
        The axes as an array (rows, columns), or (columns,) if there is one row.
    """
    single_row, count = rows == 1, columns
    if is_narrow() and single_row:
        columns = 2 if count > 3 else 1
        rows = -(-count // columns)
        height *= rows
        settings.pop("width_ratios", None)
    size = (pyplot.rcParams["figure.figsize"][0], height)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=size, layout="constrained", squeeze=False, **settings
    )
    if not single_row:
        return figure, axes
    axes, left_over = np.split(axes.ravel(), [count])
    for panel in left_over:
        panel.remove()
    return figure, axes


def canvas(columns, rows):
    """Make a figure that is one sheet of squared paper, to draw several matrices side by side.

    A unit is a cell: `cells` with ``at=(row, column)`` puts a matrix's first cell there, and
    `frame`, `arrow` and `write` take the same coordinates. The cell (0, 0) is at the top left.

    Parameters
    ----------
    columns, rows : float
        How many cells fit.

    Returns
    -------
    figure, axes
    """
    width = pyplot.rcParams["figure.figsize"][0]
    figure = pyplot.figure(figsize=(width, width * rows / columns))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.letters = 0.72 if is_narrow() else 1.0  # their size, beside that in `cells` and `write`
    bare(axes)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    return figure, axes


def bare(axes, title="", below=""):
    """Leave only what is drawn: no ticks, no frame; a title above and a line below."""
    axes.set(xticks=[], yticks=[], title=title)
    axes.set_xlabel(below)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def cells(
    axes, numbers, *, colors=None, low=None, high=None, form="{:g}", size=11, room=None, at=None
):
    """Draw a matrix as a grid of cells, each colored by its number, which is written inside.

    Unless `colors` says otherwise: where no number is negative, the larger the bluer; else blue is
    positive and orange negative.

    Parameters
    ----------
    axes : matplotlib axes
        Made bare; a cell is 1 x 1, the first row is at the top.
    numbers : array (rows, columns)
        A cell that holds nan is left empty.
    colors : color map of matplotlib's, optional
        Such as `BRIGHTNESS` for an image.
    low, high : float, optional
        The numbers at the ends of the colors; by default the least and the largest.
    form : str
        How a number is written; ``""`` writes none.
    size : float
        Of the letters, in points.
    room : (rows, columns), optional
        Make the panel large enough for this many, so that cells are of one size in all panels.
    at : (row, column), optional
        Where on a `canvas` the first cell is; the panel is left as it is.
    """
    numbers = np.asarray(numbers)
    first_row, first_column = at or (0, 0)
    size *= getattr(axes, "letters", 1.0)
    low = min(np.nanmin(numbers), 0) if low is None else low
    high = max(np.nanmax(numbers) if high is None else high, low + 1e-9)
    if low < 0:
        low, high = -max(-low, high), max(-low, high)
    colors = colors or (SIGNED if low < 0 else LEVEL)
    for (row, column), number in np.ndenumerate(numbers):
        if np.isnan(number):
            continue
        row, column = row + first_row, column + first_column
        color = colors((number - low) / (high - low))
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=color, edgecolor=FAINT, linewidth=0.8))
        if form:
            written = form.format(number).replace("-", "\N{MINUS SIGN}")
            axes.text(
                column, row, written, ha="center", va="center", fontsize=size, color=on(color)
            )
    if at:
        return
    bare(axes, axes.get_title(), axes.get_xlabel())
    rows, columns = numbers.shape
    more_rows, more_columns = np.subtract(room or numbers.shape, numbers.shape) / 2 + 0.1
    axes.set(
        xlim=(-0.5 - more_columns, columns - 0.5 + more_columns),
        ylim=(rows - 0.5 + more_rows, -0.5 - more_rows),
        aspect="equal",
    )


def on(color):
    """Choose the letters' color on a cell of this color: the one that differs more."""
    light = luminance(color)
    return "white" if contrast(1.0, light) > contrast(0.0, light) else "black"


def luminance(color):
    """How light a color is, from 0 for black to 1 for white (WCAG 2, "relative luminance")."""
    srgb = np.asarray(matplotlib.colors.to_rgb(color))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one, other):
    """How easily two luminances are told apart, from 1 to 21 (WCAG 2, "contrast ratio")."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def frame(axes, row, column, rows=1, columns=1, *, color=VERMILION, **settings):
    """Draw a frame around a block of cells (or of an image's pixels)."""
    width = 3 * getattr(axes, "letters", 1.0)
    style = {"fill": False, "edgecolor": color, "linewidth": width, "clip_on": False, "zorder": 3}
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), columns, rows, **style | settings))


def arrow(axes, start, end, *, color=INK, bend=0.0, **settings):
    """Draw an arrow between two places of a panel, each (row, column) as for `cells`."""
    style = {
        "arrowstyle": "-|>",
        "mutation_scale": 14,
        "linewidth": 1.5,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    style |= {"color": color, "connectionstyle": f"arc3,rad={bend}"}
    axes.add_patch(FancyArrowPatch(start[::-1], end[::-1], **style | settings))


def write(axes, row, column, text, *, size=11, **settings):
    """Write a text with its center at a place of a panel, (row, column) as for `cells`."""
    size *= getattr(axes, "letters", 1.0)
    style = {"ha": "center", "va": "center", "fontsize": size, "color": INK}
    axes.text(column, row, text, **style | settings)


def percent(share, digits=0):
    """Write a share as the text does."""
    return f"{100 * share:.{digits}f} %"


def demo(name):
    """Load a demo as a module, so that a figure shows what the demo computes, not a copy of it."""
    return script(BOOK.parent / "demos" / f"{name}.py")


def interactive(name):
    """Load a script of the pages to play with as a module."""
    return script(BOOK / "interactive" / f"{name}.py")


def script(path):
    """Load a script as a module; as when it is run, it finds its neighbors."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measured(figure, numbers):
    """Note numbers that a figure's run gave, as the chapter quotes them; gives the figure back.

    They are written beside the picture, and a test looks for each of them in the chapter.

    Parameters
    ----------
    figure : matplotlib figure
    numbers : dict of str to str
        What was measured, and the number as it stands in the text.
    """
    figure.measured = numbers
    return figure


def save(figure, name, folder=IMAGES):
    """Write a figure as ``NAME.svg``, and what it measured as ``NAME.json``; gives the path."""
    path = Path(folder) / f"{name}.svg"
    if hasattr(figure, "measured") and not name.endswith("_narrow"):
        numbers = json.dumps(figure.measured, indent=4) + "\n"
        path.with_suffix(".json").write_text(numbers, encoding="utf-8")
    with pyplot.rc_context(STYLE):
        figure.savefig(path, dpi=150, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    return path
