"""The figures of the book: each is drawn again, stands in a chapter, and is readable."""

import json
import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = {page: page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md"))}
PICTURES = [
    (page.stem, *picture)
    for page, text in PAGES.items()
    for picture in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text)
]
# The front page shows a figure that belongs to a chapter.
CHAPTER_PICTURES = [picture for picture in PICTURES if picture[0] != "index"]
CHAPTERS = sorted({f.stem for f in DOCS.glob("figures/*.py")} - {"make", "figure_style"})
DARK_PAGES = ("#131416", "#0d1117")  # the theme's, and a code-hosting site's


def test_every_picture_of_the_book_is_there_and_is_told_in_words():
    assert PICTURES
    for page, words, path in PICTURES:
        assert (DOCS / path).is_file(), f"{page}: {path}"
        assert len(words.split()) > 8, f"{page}: {path} needs a text that tells what it shows"


@pytest.mark.parametrize("path", sorted(DOCS.glob("images/*.json")), ids=lambda path: path.stem)
def test_the_text_quotes_what_a_figures_run_has_measured(path):
    (text,) = (
        PAGES[DOCS / f"{page}.md"] for page, _, shown in CHAPTER_PICTURES if path.stem in shown
    )
    for what, number in json.loads(path.read_text(encoding="utf-8")).items():
        assert number in " ".join(text.split()), f"{what}: the run gave {number}"


@pytest.fixture(scope="module")
def make():
    """Import the script that draws all figures."""
    pytest.importorskip("matplotlib", reason="needs the extra 'docs'")
    pytest.importorskip("scipy", reason="needs the extra 'docs'")
    pytest.importorskip("sklearn", reason="needs the extra 'demos'")
    sys.path.append(str(DOCS / "figures"))
    import make

    return make


def test_every_figure_stands_in_its_chapter_and_no_drawing_is_left_over(make):
    drawn = {
        (chapter, f"images/{n}.svg") for chapter in make.CHAPTERS for n in make.figures(chapter)
    }
    shown = {(page, path) for page, _, path in CHAPTER_PICTURES if path.endswith(".svg")}
    narrow = {(page, path) for page, path in drawn if path.endswith("_narrow.svg")}
    assert drawn - narrow == shown
    assert {(page, path.replace("_narrow", "")) for page, path in narrow} == shown
    assert {path for _, path in drawn} == {f"images/{f.name}" for f in DOCS.glob("images/*.svg")}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapters_figures_are_drawn_again(make, chapter, tmp_path):
    assert chapter in make.CHAPTERS
    for name, draw in make.figures(chapter).items():
        figure = draw(quick=True)
        assert figure.get_facecolor()[3] == 0, "the page's own background should show through"
        written = make.save(figure, name, tmp_path).read_text(encoding="utf-8")
        assert "<svg" in written and len(written) < 1_500_000
        assert (DOCS / "images" / f"{name}.svg").stat().st_size < 1_500_000


def test_letters_are_readable_on_a_light_and_on_a_dark_page(make):
    import figure_style

    ink = figure_style.luminance(figure_style.INK)
    for page in ("white", *DARK_PAGES):
        # 3 is what WCAG asks of large letters, 4.5 of small ones; both at once is out of reach.
        assert figure_style.contrast(ink, figure_style.luminance(page)) > 4.2


def test_letters_are_readable_on_every_cell(make):
    import figure_style

    for colors in (figure_style.LEVEL, figure_style.SIGNED, figure_style.BRIGHTNESS):
        for share in range(11):
            cell = figure_style.luminance(colors(share / 10))
            letters = figure_style.luminance(figure_style.on(colors(share / 10)))
            assert figure_style.contrast(cell, letters) > 4.5


def test_lines_are_told_apart_by_everybody(make):
    import figure_style
    from matplotlib.colors import to_rgb

    from tests.color_vision import color_distance

    names = ("BLUE", "VERMILION", "GREEN", "ORANGE")
    colors = [[255 * c for c in to_rgb(getattr(figure_style, name))] for name in names]
    for number, color in enumerate(colors):
        for other in colors[:number]:
            assert color_distance(color, other) > 15


def test_the_script_names_the_chapters_there_are(make, capsys):
    with pytest.raises(SystemExit) as stopped:
        make.main(["nonsense"])
    assert stopped.value.code == 2
    assert "convolution" in capsys.readouterr().err
