"""The book: its examples print what they say, its links lead somewhere, and it builds."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
# Pages that show nothing to run in Python: they are about the command line, or lists.
WITHOUT_EXAMPLES = {"api", "contributing", "glossary", "index", "results", "speed", "your_images"}
CODE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_print_what_the_page_says(page):
    failed, run = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert failed == 0
    assert (run > 0) == (page.stem not in WITHOUT_EXAMPLES)


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_every_relative_link_leads_to_a_file(page):
    prose = CODE.sub("", page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    relative = [link for link in links if not re.match(r"[a-z]+:|#", link)]
    missing = [link for link in relative if not (page.parent / link.split("#")[0]).exists()]
    assert not missing


def test_every_page_is_in_the_table_of_contents():
    entries = set(re.findall(r"^\w+$", (DOCS / "index.md").read_text(encoding="utf-8"), re.M))
    assert {page.stem for page in PAGES} - {"index"} <= entries


def test_the_book_builds_without_a_warning(tmp_path):
    for package in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(package)
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    build += ["-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")]
    result = subprocess.run(build, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "html" / "convolution.html").exists()
