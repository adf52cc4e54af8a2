"""How Sphinx builds the book: ``python -m sphinx -W -b html docs docs/_build/html``."""

import ast
import base64
import contextlib
import importlib.util
import io
import re
import shutil
import sys
import zipfile
from pathlib import Path

from docutils.nodes import literal_block
from sphinx.domains.python import PyObject
from sphinx.errors import ExtensionError
from sphinx.util.nodes import make_refnode

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
autodoc_preserve_defaults = True  # PALETTE, not the numbers in it
maximum_signature_line_length = 88  # a longer one has a line for each argument
default_role = "py:obj"  # a name in `backquotes` in a docstring is a link to it
napoleon_google_docstring = False
napoleon_use_ivar = True  # two classes may have an attribute of one name
for field in PyObject.doc_field_types:
    if field.name == "variable":
        field.label = "Attributes"

html_theme = "furo"
html_title = "tinyunet"
pygments_dark_style = "github-dark"  # no module's name underlined like a link
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


def head_module(app, what, name, obj, options, lines):
    """Give each module of an API page its name as a heading, and each of several names its line."""
    if what == "module":
        lines[:0] = [f".. rubric:: {name}", "   :heading-level: 3", ""]
    elif what == "class" and "Attributes" in lines:
        after = lines.index("Attributes")
        for index in range(len(lines) - 1, after, -1):
            names, colon, kind = lines[index].partition(" : ")
            if ", " in names and not names.startswith(" "):
                meaning = lines[index + 1]
                lines[index : index + 1] = [
                    line for one in names.split(", ") for line in (one + colon + kind, meaning)
                ][:-1]


def leave_drawings_plain(app, doctree):
    """Color an indented block of a docstring as Python only where it is: not a drawn diagram."""
    for block in doctree.findall(literal_block):
        if block.get("language") == "default":
            block["language"] = "none"
            with contextlib.suppress(SyntaxError):
                ast.parse(block.astext())
                block["language"] = "python"


def find_short_name(app, env, node, contnode):
    """Link a name that is written without its module, if there is only one of that name."""
    name, domain = node.get("reftarget", ""), env.get_domain("py")
    # A name in small letters is mostly an argument's.
    if node.get("refdomain") != "py" or not name[:1].isupper():
        return None
    found = domain.find_obj(env, "", "", name, None, searchmode=1)
    if len(found) != 1:
        return None
    (full_name, entry), *_ = found
    return make_refnode(
        app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, full_name
    )


def shorten_signature(app, what, name, obj, options, signature, return_annotation):
    """Leave out of a signature what the command line alone needs to know of an argument."""
    kind = r"(?:~?typing\.)?Annotated\[((?:[^,\[\]]|\[[^\]]*\])+),[^\]]*\]"
    return signature and re.sub(kind, r"\1", signature), return_annotation


def skip_field(app, what, name, obj, skip, options):
    """Leave out the fields of a named tuple: its own docstring tells what they are."""
    return True if str(obj.__doc__).startswith("Alias for field number") else None


def offer_narrow(app, page, template, context, doctree):
    """Let a browser with a narrow screen take a figure's narrow form, where there is one."""

    def with_narrow(image):
        narrow = f"{image[1]}_narrow.svg"
        if not (Path(app.srcdir) / "images" / narrow).exists():
            return image[0]
        source = f'<source media="(max-width: 40em)" srcset="_images/{narrow}">'
        return f"<picture>{source}{image[0]}</picture>"

    body = context.get("body", "")
    context["body"] = re.sub(r'<img [^>]*src="_images/(\w+)\.svg"[^>]*>', with_narrow, body)


def keep_together(app, page, template, context, doctree):
    """Keep a formula with the full stop behind it, and a number with its unit, on one line."""
    formula = r'(<span class="math [^>]*>[^<]*</span>)([.,;:)?!]+)'
    body = re.sub(formula, r'<span class="together">\1\2</span>', context.get("body", ""))
    parts = re.split(r"(<pre.*?</pre>|<[^>]*>)", body, flags=re.DOTALL)
    text = [re.sub(r"(?<=\d) (?=%|x \d)|(?<=\d x) (?=\d)", "&#160;", part) for part in parts[::2]]
    parts[::2] = text
    context["body"] = "".join(parts)


def copy_narrow(app, error):
    """Lay the narrow figures beside the others; Sphinx takes only those that a page names."""
    if not error and app.builder.format == "html":
        for figure in (Path(app.srcdir) / "images").glob("*_narrow.svg"):
            shutil.copy(figure, Path(app.outdir) / "_images")


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


def pack_source(app, error):
    """Lay the package's source into the finished book, for the pages that run it (python.js)."""
    if error or app.builder.format != "html":
        return
    docs = Path(__file__).resolve().parent
    files = {
        file: file.relative_to(docs.parent) for file in (docs.parent / "tinyunet").rglob("*.*")
    }
    files |= {file: file.name for file in (docs / "interactive").glob("*.py")}
    for name in ("threadpoolctl", "tqdm"):  # what the package imports, pure Python as well
        origin = Path(importlib.util.find_spec(name).origin)
        folder = origin.parent if origin.name == "__init__.py" else origin
        sources = folder.rglob("*.py") if folder.is_dir() else [folder]
        files |= {file: file.relative_to(folder.parent) for file in sources}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, name in sorted(files.items()):
            if file.is_file() and file.suffix != ".pyc":
                archive.write(file, name)
    text = f'const TINYUNET_ZIP =\n  "{base64.b64encode(packed.getvalue()).decode()}";\n'
    (Path(app.outdir) / "_static" / "tinyunet_source.js").write_text(text)


def write_example(app, error):
    """Lay one page of demos/explore.py into the finished book."""
    if error or app.builder.format != "html":
        return
    sys.path.insert(0, str(Path(__file__).resolve().parent / "interactive"))
    from explore_example import example_page

    (Path(app.outdir) / "_static" / "explore.html").write_text(example_page(), encoding="utf-8")


def setup(app):
    """Register what is done to each page and to the finished book."""
    app.connect("source-read", tidy)
    # Before napoleon, which turns the sections of a docstring into fields.
    app.connect("autodoc-process-docstring", head_module, priority=400)
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("autodoc-skip-member", skip_field)
    app.connect("doctree-read", leave_drawings_plain)
    app.connect("missing-reference", find_short_name)
    app.connect("html-page-context", offer_narrow)
    app.connect("html-page-context", keep_together)
    app.connect("build-finished", copy_narrow)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", pack_source)
    app.connect("build-finished", write_example)
