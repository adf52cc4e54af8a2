"""Draw the figures of the book again, all or those of the chapters that are named.

Each script beside this one belongs to a chapter and lists its figures in `FIGURES`: the name of the
picture, and the function that draws it. A function takes `quick`: if true, whatever has to be
trained is trained for a few steps only, to see that it draws (the tests do this). Each is drawn a
second time for narrow screens, and saved as ``NAME_narrow.svg``; what both show is trained once.

    python docs/figures/make.py                    # all of them
    python docs/figures/make.py convolution
"""

import argparse
import functools
import importlib
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent.parent)]

from figure_style import IMAGES, in_style, save  # noqa: E402  (found only now)

CHAPTERS = sorted(
    path.stem for path in FOLDER.glob("*.py") if path.stem not in ("make", "figure_style")
)


def figures(chapter):
    """List a chapter's figures: name of the picture and the function that draws it."""
    module = importlib.import_module(chapter)
    drawings = {name: functools.partial(in_style, draw) for name, draw in module.FIGURES.items()}
    for name in module.FIGURES:
        drawings[f"{name}_narrow"] = functools.partial(drawings[name], narrow=True)
    return drawings


def main(arguments=None):
    """Draw what was asked for, and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help=", ".join(CHAPTERS))
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder for the pictures")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.chapters) - set(CHAPTERS))
    if unknown:
        parser.error(f"no figures for {', '.join(unknown)}; there are: {', '.join(CHAPTERS)}")
    for chapter in options.chapters or CHAPTERS:
        for name, draw in figures(chapter).items():
            print(save(draw(quick=False), name, options.out))


if __name__ == "__main__":
    main()
