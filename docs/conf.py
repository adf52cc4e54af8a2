"""How Sphinx builds the book: ``python -m sphinx -W -b html docs docs/_build/html``."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tinyunet import __version__

project = "tinyunet"
author = "The tinyunet authors"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "**.py"]

# Markdown: $...$ and $$...$$ as code-hosting pages have it; a link may point to any heading.
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

# API pages keep the order of the source, which is an order for reading.
autodoc_member_order = "bysource"
napoleon_google_docstring = False

html_theme = "furo"
html_title = "tinyunet"
html_show_copyright = False
# The pieces to play with: a page loads what it needs of them (interactive/pieces.js).
html_static_path = ["_static", "interactive"]
html_css_files = ["book.css", "pieces.css"]
html_js_files = ["pieces.js"]


def tidy(app, page, source):
    """Mend in each page's text what reads well as Markdown but not as a web page."""
    # An alternative text that runs over several lines would lose the spaces between them.
    text = re.sub(r"!\[[^\]]*\]", lambda found: " ".join(found[0].split()), source[0])
    # The empty line at the end of an example, which doctest needs.
    source[0] = re.sub(r"\n\n( *```\n)", r"\n\1", text)


def setup(app):
    """Register `tidy`."""
    app.connect("source-read", tidy)
