"""The built book: complete without the network, whole on a phone, light and dark."""

import re
from pathlib import Path

import pytest

from tests.browser import DOCS, LOCAL, empty_logs, set_screen, wait_for

PAGES = sorted(page.stem for page in DOCS.glob("*.md"))


def test_the_book_is_small(book):
    size = sum(file.stat().st_size for file in book.rglob("*") if file.is_file())
    assert size < 25e6


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_whole_without_the_network_and_on_a_phone(browser, book, page):
    address = (book / f"{page}.html").as_uri()
    for width, scheme in ((400, "dark"), (1280, "light")):
        browser.get("about:blank")  # else the figures for the other width are loaded as well
        set_screen(browser, width, 800, touch=width < 600, scheme=scheme)
        browser.get(address)
        # What is wider than the screen is scrolled by itself, not with the page around it.
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        pieces = "document.querySelectorAll('[data-piece]:not(.started)').length"
        wait_for(browser, f"{pieces} === 0")
        formulas = "document.querySelectorAll('.math').length"
        drawn = "document.querySelectorAll('.math mjx-container').length"
        wait_for(browser, f"{drawn} === {formulas}")
        errors, requests = empty_logs(browser)
        assert not errors
        assert all(LOCAL.match(url) for url in requests)
        files = {url for url in requests if url.startswith("file:")}
        loaded = [Path(url.removeprefix("file://").split("?")[0]) for url in files]
        assert sum(file.stat().st_size for file in loaded) < 2e6


WITH_FIGURES = [page for page in PAGES if "](images/" in (DOCS / f"{page}.md").read_text("utf-8")]


@pytest.mark.parametrize("page", WITH_FIGURES)
def test_figures_are_whole_on_a_phone(browser, book, page):
    shown = (
        "return [...document.querySelectorAll('article p img')].map((img) =>"
        "[img.currentSrc.endsWith('_narrow.svg'), img.naturalWidth > 0, img.width])"
    )
    for width in (400, 1280):
        set_screen(browser, width, 800, touch=width < 600)
        browser.get((book / f"{page}.html").as_uri())
        browser.execute_script(
            "for (const img of document.querySelectorAll('img')) img.loading = 'eager'"
        )
        wait_for(browser, "[...document.images].every((img) => img.complete)")
        figures = browser.execute_script(shown)
        assert figures
        for is_narrow, is_there, wide in figures:
            assert is_narrow == (width == 400) and is_there and wide <= width


@pytest.mark.parametrize("page", ["README", *PAGES])
def test_formulas_have_no_spaces_that_the_repositorys_page_would_print(page):
    path = DOCS.parent / "README.md" if page == "README" else DOCS / f"{page}.md"
    text = re.sub(r"^ *```.*?^ *```", "", path.read_text(), flags=re.M | re.S)
    formulas = re.findall(r"\$\$.+?\$\$|\$[^$\n]+\$", text, re.S)
    assert not [formula for formula in formulas if re.search(r"\\[;,:!]", formula)]


def test_the_front_page_links_every_chapter(browser, book):
    browser.get((book / "index.html").as_uri())
    links = browser.execute_script(
        "return [...document.querySelectorAll('article li > p > a')].map((a) => a.href)"
    )
    assert {Path(link).stem for link in links} == set(PAGES) - {"index"}
    assert browser.find_elements("css selector", "article img")
