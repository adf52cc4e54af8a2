"""The README's Python examples run as they are printed."""

import doctest
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def test_the_examples_in_the_readme_print_what_it_says():
    failed, run = doctest.testfile(str(README), module_relative=False)
    assert run > 0
    assert failed == 0
