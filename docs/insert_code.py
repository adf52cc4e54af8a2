"""Write the code that the book shows into its pages, from the source.

The book is also read where no Sphinx runs, on the repository's own page. So the code stands in the
Markdown itself, below a marker that names a file and what to show of it::

    <!-- code: tinyunet/nn/functional/pooling.py max_pool2d -->

Names are functions, classes, methods (``UNet.forward``) or assignments; several are shown one below
the other. Of each docstring only the first line is shown: the chapter around it says the rest.

    python docs/insert_code.py            # rewrite the pages after the source has changed
    python docs/insert_code.py --check    # only name the pages that differ from the source
"""

import argparse
import ast
import re
import sys
import textwrap
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

# The marker, and below it what an earlier run has written.
MARKED = re.compile(
    r"^<!-- code: (?P<file>\S+) (?P<names>[^>]+?) -->\n(?:In \[`[^\n]+\n\n```python\n.*?^```\n)?",
    re.MULTILINE | re.DOTALL,
)


def find(tree, dotted_name):
    """Find a definition or an assignment in a module's syntax tree by its dotted name."""
    node = tree
    for name in dotted_name.split("."):
        for child in node.body:
            targets = getattr(child, "targets", [getattr(child, "target", None)])
            names = [getattr(child, "name", None), *(getattr(t, "id", None) for t in targets)]
            if name in names:
                node = child
                break
        else:
            raise LookupError(dotted_name)
    return node


def excerpt(source, dotted_name):
    """Cut a definition out of a module's source, each docstring shortened to its first line."""
    node = find(ast.parse(source), dotted_name)
    lines = source.splitlines()
    left_out = set()
    for inner in ast.walk(node):
        if not isinstance(inner, ast.FunctionDef | ast.ClassDef) or not ast.get_docstring(inner):
            continue
        docstring = inner.body[0]
        if docstring.end_lineno > docstring.lineno:
            lines[docstring.lineno - 1] += '"""'
            left_out |= set(range(docstring.lineno, docstring.end_lineno))
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    kept = [lines[n] for n in range(first - 1, node.end_lineno) if n not in left_out]
    return textwrap.dedent("\n".join(kept))


def block(page, file, names):
    """Write what stands below a marker: where the code is from, and the code."""
    source = (ROOT / file).read_text(encoding="utf-8")
    code = "\n\n\n".join(excerpt(source, name) for name in names.split())
    link = "../" * len(page.parent.relative_to(ROOT).parts) + file
    return f"In [`{file}`]({link}):\n\n```python\n{code}\n```\n"


def updated(page):
    """Give a page's text with the code below each marker as it is in the source now.

    Raises
    ------
    LookupError
        If a marker names a file or a definition that is not there.
    """

    def written(marked):
        try:
            return f"<!-- code: {marked['file']} {marked['names']} -->\n" + block(
                page, *marked.groups()
            )
        except (LookupError, OSError) as error:
            raise LookupError(
                f"{page.name}: {marked['file']} {marked['names']}: {error}"
            ) from error

    return MARKED.sub(written, page.read_text(encoding="utf-8"))


def main(arguments=None):
    """Write the pages, or name those that differ."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="name the pages that differ, change none"
    )
    options = parser.parse_args(arguments)
    changed = []
    for page in PAGES:
        text = updated(page)
        if text != page.read_text(encoding="utf-8"):
            changed.append(page)
            if not options.check:
                page.write_text(text, encoding="utf-8")
    for page in changed:
        print(page.relative_to(ROOT), "differs from the source" if options.check else "written")
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
