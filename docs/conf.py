"""How Sphinx builds the book: ``python -m sphinx -W -b html docs docs/_build/html``."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path

from sphinx.errors import ExtensionError

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
default_role = "py:obj"  # a name in `backquotes` in a docstring is a link to it
napoleon_google_docstring = False

html_theme = "furo"
html_title = "tinyunet"
html_show_copyright = False
# The pieces to play with: a page loads what it needs of them (interactive/pieces.js).
html_static_path = ["_static", "interactive"]
html_css_files = ["book.css", "pieces.css"]
html_js_files = ["pieces.js"]

# Formulas are drawn without the network: MathJax, one script and its letters, lies in the book.
mathjax_path = "mathjax/tex-chtml.js"


def tidy(app, page, source):
    """Mend in each page's text what reads well as Markdown but not as a web page."""
    # An alternative text that runs over several lines would lose the spaces between them.
    text = re.sub(r"!\[[^\]]*\]", lambda found: " ".join(found[0].split()), source[0])
    # What only Sphinx understands is a comment for everyone else.
    text = re.sub(r"<!-- sphinx\n(.*?)\n-->", r"\1", text, flags=re.DOTALL)
    # The empty line at the end of an example, which doctest needs.
    source[0] = re.sub(r"\n\n( *```\n)", r"\n\1", text)


def copy_mathjax(app, error):
    """Lay MathJax into the finished book: of the package that brings it, what a page needs."""
    if error or app.builder.format != "html":
        return
    package = importlib.util.find_spec("sphinx-mathjax-offline")
    if package is None:
        raise ExtensionError("the formulas need MathJax: python -m pip install '.[docs]'")
    source = Path(package.submodule_search_locations[0]) / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(source / "tex-chtml.js", target)
    letters = "output/chtml/fonts/woff-v2"
    shutil.copytree(source / letters, target / letters, dirs_exist_ok=True)


def setup(app):
    """Register what is done to each page and to the finished book."""
    app.connect("source-read", tidy)
    app.connect("build-finished", copy_mathjax)
