"""The README: its Python runs as it is printed, and the sizes that it tells are right."""

import ast
import doctest
import io
import re
import tokenize
from pathlib import Path

import numpy as np

import tinyunet
from tests.wrong_backwards import GALLERY

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def lines_of_code(path):
    """Count the lines of a file that hold code: no blanks, comments or docstrings."""
    text = path.read_text(encoding="utf-8")
    lines, docstrings = set(), set()
    for node in ast.walk(ast.parse(text)):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in (*layout, tokenize.ENDMARKER):
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def test_the_python_in_the_readme_runs_and_prints_what_it_says(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names, losses = {}, []
    runner, parser = doctest.DocTestRunner(), doctest.DocTestParser()
    for block in BLOCKS:
        if ">>>" in block:
            example = parser.get_doctest(block, names, "README.md", "README.md", 0)
            runner.run(example, clear_globs=False)
            names |= example.globs
        else:
            # What is shown is run; the losses are noted besides.
            names["noted"] = losses
            exec(block.replace("optimizer.step()", "optimizer.step(); noted.append(loss)"), names)
    assert runner.summarize().failed == 0
    assert runner.summarize().attempted >= 5
    assert len(losses) == 100
    assert np.isfinite(losses).all() and losses[-1] < losses[0] / 2
    assert names["classes"].shape == (96, 96)
    assert 0 < names["scores"].mean_iou < 1
    assert (tmp_path / "model.npz").is_file()


def test_the_first_operation_and_the_loop_that_trains_stand_on_the_first_screen():
    lines = README.splitlines()
    assert lines.index(">>> y, backward = relu(np.array([-1.0, 2.0, 3.0]))") < 40
    assert lines.index("for step in range(100):") < 40
    assert "backpropagation" in "\n".join(lines[:6])


def test_the_readme_tells_how_long_the_lesson_is():
    (told,) = re.findall(r"lesson is about ([\d,]+) lines of code", README)
    files = (Path(tinyunet.__file__).parent / "nn").rglob("*.py")
    checkers = ("gradcheck", "gradcheck_cases", "diagnosis")
    counted = sum(lines_of_code(file) for file in files if file.stem not in checkers)
    told = int(told.replace(",", ""))
    assert abs(counted - told) <= told / 10, f"the lesson has {counted} lines now"


def test_the_readme_tells_how_long_the_one_page_is():
    (told,) = re.findall(r"U-Net \[on one\s+page\]\(demos/unet_on_one_page.py\) is (\d+)", README)
    page = (ROOT / "demos" / "unet_on_one_page.py").read_text(encoding="utf-8")
    assert len(page.splitlines()) == int(told)


def test_the_readme_tells_how_many_wrong_backwards_the_gallery_has():
    assert re.findall(r"a gallery of (\d+) wrong backwards", README) == [str(len(GALLERY))]
