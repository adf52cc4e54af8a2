"""The book: its examples print what they say, its links lead somewhere, and it builds."""

import doctest
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TEXTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + PAGES
# Pages that show nothing to run in Python: they are about the command line, or lists.
WITHOUT_EXAMPLES = {
    "api",
    "api_data",
    "api_tools",
    "course",
    "course_unit",
    "glossary",
    "index",
    "learning_live",
    "results",
    "robustness",
    "speed",
    "your_images",
}
CODE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_print_what_the_page_says(page):
    failed, run = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert failed == 0
    assert (run > 0) == (page.stem not in WITHOUT_EXAMPLES)


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.stem)
def test_every_relative_link_leads_to_a_file(page):
    prose = CODE.sub("", page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    links += re.findall(r'src(?:set)?="([^"]+)"', prose)
    relative = [link for link in links if not re.match(r"[a-z]+:|#", link)]
    missing = [link for link in relative if not (page.parent / link.split("#")[0]).exists()]
    assert not missing


@pytest.fixture(scope="module")
def insert_code():
    """Import the script that writes code into the pages."""
    spec = importlib.util.spec_from_file_location("insert_code", DOCS / "insert_code.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", [TEXTS[0], *PAGES], ids=lambda page: page.stem)
def test_the_code_on_a_page_is_the_code_in_the_source(insert_code, page):
    text = page.read_text(encoding="utf-8")
    assert insert_code.updated(page) == text, "run: python docs/insert_code.py"


def test_code_that_differs_from_the_source_is_rewritten(insert_code, monkeypatch, tmp_path):
    (tmp_path / "code.py").write_text(
        '"""A module."""\n\n\nclass A:\n    def f(self):\n        return 1\n'
    )
    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- code: code.py A.f -->\n\nafter\n")
    monkeypatch.setattr(insert_code, "ROOT", tmp_path)
    monkeypatch.setattr(insert_code, "PAGES", [page])
    assert insert_code.main(["--check"]) == 1
    assert "return" not in page.read_text()
    assert insert_code.main([]) == 0
    assert "```python\ndef f(self):\n    return 1\n```\n\nafter" in page.read_text()
    page.write_text(page.read_text().replace("return 1", "return 2"))
    insert_code.main([])
    assert "return 2" not in page.read_text()
    assert insert_code.main(["--check"]) == 0


def test_a_docstring_is_shortened_to_its_first_line(insert_code):
    source = 'def f():\n    """Do it.\n\n    At length.\n    """\n    return 1\n'
    assert insert_code.excerpt(source, "f") == 'def f():\n    """Do it."""\n    return 1'


def test_a_marker_for_code_that_is_gone_is_named(insert_code, tmp_path, monkeypatch):
    monkeypatch.setattr(insert_code, "ROOT", tmp_path)
    (tmp_path / "code.py").write_text("x = 1\n")
    page = tmp_path / "page.md"
    page.write_text("<!-- code: code.py lost -->\n")
    with pytest.raises(LookupError, match="page.md: code.py lost"):
        insert_code.updated(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_plain_markdown_where_no_sphinx_runs(page):
    text = page.read_text(encoding="utf-8")
    for_all = re.sub(r"<!-- sphinx\n.*?\n-->", "", text, flags=re.DOTALL)
    assert "```{" not in for_all
    assert text.count("<!-- sphinx\n") == text.count("\n```\n-->\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_formula_is_one_that_the_repositorys_page_can_show(page):
    prose = re.sub(r"`[^`\n]*`", "", CODE.sub("", page.read_text(encoding="utf-8")))
    for formula in re.findall(r"\$\$.*?\$\$|\$[^$]+?\$", prose, re.DOTALL):
        # Markdown takes a backslash before punctuation away: no space like \; and no new row \\.
        assert not re.search(r"\\[^A-Za-z\s]", formula), formula
        # A line that begins like this begins a list, a heading or a quotation.
        assert not re.search(r"\n *([-+*=#>]|\d+\.)", formula), formula
        assert formula.startswith("$$") or "\n" not in formula, formula


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_answers_of_exercises_are_folded_away(page):
    text = page.read_text(encoding="utf-8")
    exercises = re.findall(r"^## Exercises?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    for exercise in exercises:
        assert exercise.count("\n<details>\n<summary>Answer") == 1
        assert exercise.count("\n</details>\n") == 1


def test_the_glossary_is_in_order_and_has_the_words_a_beginner_meets():
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    words = [word.lower().replace("_", " ") for word in re.findall(r"^- \*\*(.*?)\*\*", text, re.M)]
    assert words == sorted(words)
    wanted = {"backpropagation", "backward", "blas", "chain rule", "forward", "gradient", "tape"}
    assert wanted <= set(words)


def test_every_page_is_in_both_tables_of_contents_in_the_same_order():
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    listed, _, for_sphinx = text.partition("<!-- sphinx\n```{toctree}\n")
    listed = listed[listed.index("**How it works**") : listed.index("## The demos")]
    entries = re.findall(r"^\w+$", for_sphinx, re.MULTILINE)
    assert re.findall(r"\((\w+)\.md\)", listed) == entries
    assert {page.stem for page in PAGES} - {"index"} == set(entries)


def test_the_book_builds_without_a_warning(tmp_path):
    for package in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(package)
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    build += ["-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")]
    result = subprocess.run(build, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "html" / "convolution.html").exists()
