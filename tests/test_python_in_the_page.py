"""The pages that run the book's Python in the browser: training while one looks, and the lab.

With the files of Pyodide in the folder TINYUNET_PYODIDE (see .ci/run) they are tested in a browser;
without, what they do in Python is tested all the same.
"""

import base64
import contextlib
import http.server
import io
import json
import os
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.browser import INTERACTIVE, empty_logs, wait_for
from tests.course_answers import solve
from tinyunet import use_operations
from tinyunet.cli.main import main
from tinyunet.nn import functional
from tinyunet.nn.gradcheck import GradientError, check_gradients
from tinyunet.nn.operations import operations

PYODIDE = os.environ.get("TINYUNET_PYODIDE")
needs_pyodide = pytest.mark.skipif(
    PYODIDE is None, reason="left out: needs Pyodide's files in a folder, named by TINYUNET_PYODIDE"
)


# -- In Python, as it is -------------------------------------------------------------------------


@pytest.fixture
def live_training():
    """Import the Python side of the page, and put the operations back afterwards."""
    if str(INTERACTIVE) not in sys.path:
        sys.path.append(str(INTERACTIVE))
    import live_training

    before = operations.name
    yield live_training
    live_training.put_right()
    use_operations(before)


def run(live_training, count, mistake="", row=30, column=30):
    wanted = {"count": count, "lr": 5e-3, "batchSize": 2, "mistake": mistake}
    return json.loads(live_training.steps(json.dumps({**wanted, "row": row, "column": column})))


def test_training_makes_the_loss_fall_with_right_and_with_wrong_gradients(live_training):
    mistakes = json.loads(live_training.start("null"))["mistakes"]
    assert mistakes[0] == "" and len(mistakes) == 5
    for mistake in ("", "the skips lose their gradient"):
        live_training.start_over("null")
        losses = run(live_training, 12, mistake)["losses"]
        assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_each_mistake_is_one_that_the_checker_finds(live_training):
    rng = np.random.default_rng(0)
    shapes = {
        "concat": [(1, 3, 4, 2), (1, 3, 4, 3)],
        "max_pool2d": [(1, 4, 6, 2)],
        "relu": [(1, 3, 4, 2)],
        "conv_transpose2d": [(1, 2, 3, 2), (2, 2, 3, 2), (3,)],
    }
    wrong = [change for change in live_training.MISTAKES.values() if change]
    assert sorted(name for change in wrong for name in change) == sorted(shapes)
    for change in wrong:
        for name, function in change.items():
            arguments = [rng.normal(size=shape) for shape in shapes[name]]
            with pytest.raises(GradientError):
                check_gradients(function, *arguments)
            check_gradients(getattr(functional, name), *arguments)


def test_the_gradient_of_a_pixel_reaches_only_what_it_can_see(live_training):
    live_training.start("null")
    seen = run(live_training, 3, row=20, column=40)
    entering = np.array(seen["maps"]["decoder.1"])
    assert entering.shape == (64, 64)
    # It enters through the last block at that one pixel, and leaves at the image spread out.
    np.testing.assert_array_equal(np.argwhere(entering > 0), [[20, 40]])
    reached = np.argwhere(np.array(seen["maps"]["image"]) > 0)
    radius = live_training.live.network.receptive_field // 2 + 1
    assert len(reached) > 100
    assert (abs(reached - [20, 40]) <= radius).all()


def test_a_lost_skip_shows_in_the_maps_of_the_gradient(live_training):
    live_training.start("null")
    right = np.array(run(live_training, 1)["maps"]["encoder.0"])
    live_training.start_over("null")
    lost = np.array(run(live_training, 1, "the skips lose their gradient")["maps"]["encoder.0"])
    assert (right > 0).sum() != (lost > 0).sum()


# -- In the browser --------------------------------------------------------------------------------


@contextlib.contextmanager
def serve(**folders):
    """Serve folders on this machine, each under its name; gives the address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path):
            name, _, rest = path.split("?")[0].lstrip("/").partition("/")
            return str(Path(folders.get(name, "nowhere")) / rest)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def status(browser):
    return browser.find_element("class name", "status").text


def open_live(browser, address, files):
    browser.get(f"{address}/book/learning_live.html?python={address}/{files}/")
    wait_for(browser, "document.querySelector('.started') !== null")
    browser.find_element("css selector", "[data-do=start]").click()


def test_a_plain_sentence_tells_that_python_could_not_be_loaded(browser, book):
    with serve(book=book) as address:
        open_live(browser, address, "nowhere")
        wait_for(browser, "document.querySelector('.status').textContent.includes('could not be')")
        assert "needs the internet" in status(browser)
        _, requests = empty_logs(browser)  # (a file that is missing is an error in the log)
        assert {url.split("/")[3].split("?")[0] for url in requests if "http" in url[:4]} <= {
            "book",
            "nowhere",
            "favicon.ico",
        }


def test_a_file_that_is_not_the_known_one_is_refused(browser, book, tmp_path):
    (tmp_path / "pyodide.js").write_text("postMessage({progress: 'I am somebody else'})")
    with serve(book=book, wrong=tmp_path) as address:
        open_live(browser, address, "wrong")
        wait_for(browser, "document.querySelector('.status').textContent.includes('could not be')")
        assert "somebody else" not in status(browser)
        empty_logs(browser)


def test_without_another_folder_only_the_pinned_network_is_asked(browser, book):
    browser.get((book / "learning_live.html").as_uri())
    wait_for(browser, "document.querySelector('.started') !== null")
    browser.find_element("css selector", "[data-do=start]").click()
    wait_for(browser, "document.querySelector('.status').textContent.match(/loading|not be/)")
    _, requests = empty_logs(browser)
    asked = [url for url in requests if url.startswith("http")]
    pinned = (
        "https://cdn.jsdelivr.net/npm/pyodide@0.27.7/",
        "https://cdn.jsdelivr.net/pyodide/v0.27.7/full/",
    )
    assert all(url.startswith(pinned) for url in asked)
    browser.get("about:blank")  # ends the worker
    empty_logs(browser)


@needs_pyodide
def test_the_loss_falls_while_one_looks_and_a_wrong_backward_starts_anew(browser, book):
    with serve(book=book, pyodide=PYODIDE) as address:
        open_live(browser, address, "pyodide")
        steps = "Number(document.querySelector('.piece').dataset.steps)"
        wait_for(browser, f"{steps} >= 24", seconds=240)
        browser.find_element("css selector", "[data-do=start]").click()
        assert browser.find_element("css selector", "[data-do=start]").text == "Go on"
        line = browser.find_element("css selector", ".run.now").get_attribute("points").split()
        heights = [float(point.split(",")[1]) for point in line]
        assert np.mean(heights[-5:]) > np.mean(heights[:5])  # lower on the page: a smaller loss
        assert len(browser.find_elements("css selector", ".filters canvas")) == 8
        browser.find_element("css selector", "select option:nth-child(2)").click()
        wait_for(browser, f"{steps} === 0", seconds=60)
        browser.find_element("css selector", "[data-do=step]").click()
        wait_for(browser, f"{steps} === 1", seconds=60)
        assert len(browser.find_elements("css selector", ".run")) == 2
        assert "broken" in browser.find_element("css selector", ".run.now").get_attribute("class")
        errors, _ = empty_logs(browser)
        assert not [error for error in errors if "favicon" not in error]


# -- The lab ---------------------------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Import the Python side of the lab; its folder is made in an empty one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(INTERACTIVE))
    import lab

    return lab


def test_the_lab_checks_as_the_course_does_and_gives_its_hints(lab):
    kept = {"files": {"02_bias": "import numpy as np\n"}, "hints": {"02_bias": 1}}
    exercises = {one["name"]: one for one in json.loads(lab.start(json.dumps(kept)))}
    assert len(exercises) == 16
    assert len(exercises["02_bias"]["hints"]) == 1 and not exercises["01_relu"]["hints"]
    original = exercises["01_relu"]["original"]
    for text, state in (
        (original, "to do"),
        (solve("01_relu", original), "right"),
        (solve("01_relu", original).replace("(x > 0)", "(x < 0)"), "wrong"),
    ):
        found = json.loads(lab.check(json.dumps({"name": "01_relu", "text": text})))
        assert found["state"] == state
    assert found["message"]
    assert json.loads(lab.hint(json.dumps({"name": "01_relu"})))


def test_what_is_downloaded_is_a_folder_for_tinyunet_learn(lab, tmp_path, capsys):
    (first, *_) = json.loads(lab.start(json.dumps({"files": {}, "hints": {}})))
    solved = {"01_relu": solve("01_relu", first["original"])}
    packed = base64.b64decode(json.loads(lab.bundle(json.dumps({"files": solved}))))
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(tmp_path / "taken")
    main(["learn", str(tmp_path / "taken" / "mycourse"), "--json"])
    assert '"right"' in capsys.readouterr().out


LAB = "document.querySelector('[data-piece=lab]').lab"
TEXT = f"{LAB}.text"


def test_the_editor_indents_keeps_what_is_typed_and_lets_the_keyboard_out(browser, book):
    from selenium.webdriver import ActionChains, Keys

    browser.get((book / "course.html").as_uri())
    wait_for(browser, "document.querySelector('.started') !== null")
    browser.execute_script(
        f"{LAB}.desk.hidden = false; {LAB}.kept.current = 'one';"
        f"{LAB}.openText(''); {LAB}.view.focus()"
    )
    keys = ActionChains(browser)
    keys.send_keys("def f(x):", Keys.ENTER, "return x", Keys.ENTER, Keys.TAB, "y").perform()
    written = "def f(x):\n    return x\n        y"
    assert browser.execute_script(f"return {TEXT}") == written
    kept = "JSON.parse(localStorage.getItem('tinyunet-lab')).files.one"
    assert browser.execute_script(f"return {kept}") == written
    assert browser.find_elements("css selector", ".editor .keyword")
    inside = "document.querySelector('.editor').contains(document.activeElement)"
    assert browser.execute_script(f"return {inside}")
    ActionChains(browser).send_keys(Keys.ESCAPE, Keys.TAB).perform()
    assert not browser.execute_script(f"return {inside}")
    assert browser.execute_script(f"return {TEXT}") == written
    browser.execute_script("localStorage.clear()")


def press(browser, name):
    """Scroll a button into the middle of the screen, where nothing lies over it, and press it."""
    button = browser.find_element("css selector", f"[data-do={name}]")
    middle = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})"
    browser.execute_script(middle, button)
    button.click()


def write(browser, text):
    """Put a text into the editor, as if it had been typed."""
    browser.execute_script(f"{TEXT} = arguments[0]", text)


def check(browser):
    """Press the button and wait for what the checker says."""
    press(browser, "check")
    return wait_for(
        browser,
        "(!document.querySelector('[data-do=check]').disabled)"
        " && document.querySelector('.message').textContent",
        seconds=60,
    )


def open_lab(browser, address):
    browser.get(f"{address}/book/course.html?python={address}/pyodide/")
    wait_for(browser, "document.querySelector('.started') !== null")
    press(browser, "load")
    wait_for(browser, f"{TEXT}.length > 100", seconds=150)


@needs_pyodide
def test_an_exercise_in_the_page_right_and_three_times_wrong_and_kept(browser, book):
    with serve(book=book, pyodide=PYODIDE) as address:
        open_lab(browser, address)
        original = browser.execute_script(f"return {TEXT}")
        assert "three dots" in check(browser)
        right = solve("01_relu", original)
        said = []
        for wrong in ("dx = dy", "dx = dy * (dy > 0)", "dx = dy * (x < 0)"):
            write(browser, right.replace("dx = dy * (x > 0)", wrong))
            said.append(check(browser))
        assert len(set(said)) == 3 and all("dx is wrong" in one for one in said)
        press(browser, "hint")
        wait_for(browser, "document.querySelectorAll('.hints li').length === 1")
        write(browser, right)
        assert check(browser) == "Right. Next opens another one."
        assert "1 of 16" in status(browser)
        press(browser, "next")
        write(browser, "# mine\n")
        browser.refresh()
        wait_for(browser, "document.querySelector('.started') !== null")
        press(browser, "load")
        assert wait_for(browser, TEXT, seconds=240) == "# mine\n"
        assert "1 of 16" in status(browser)
        errors, _ = empty_logs(browser)
        assert not [error for error in errors if "favicon" not in error]


@needs_pyodide
def test_an_endless_loop_is_stopped_and_a_python_that_ended_is_started_again(browser, book):
    free = "!document.querySelector('[data-do=check]').disabled"
    with serve(book=book, pyodide=PYODIDE) as address:
        open_lab(browser, address)
        right = solve("01_relu", browser.execute_script(f"return {TEXT}"))
        endless = "while True:\n    pass\n" + right
        write(browser, endless)
        press(browser, "check")
        wait_for(browser, "document.querySelector('.message').textContent.includes('checking')")
        # Meanwhile the network is gone: a sentence says so, and the button to load is back.
        elsewhere = "history.replaceState(null, '', arguments[0])"
        browser.execute_script(elsewhere, f"?python={address}/nowhere/")
        press(browser, "stop")
        wait_for(browser, "document.querySelector('.status').textContent.includes('could not be')")
        browser.execute_script(elsewhere, f"?python={address}/pyodide/")
        press(browser, "load")
        wait_for(browser, free, seconds=150)
        assert browser.execute_script(f"return {TEXT}") == endless
        press(browser, "check")
        press(browser, "stop")
        assert "loop that never ends" in browser.find_element("css selector", ".message").text
        wait_for(browser, free, seconds=150)
        focused = browser.switch_to.active_element.get_attribute("data-do")
        assert focused == "check"
        write(browser, "import os\nos._exit(1)\n")
        press(browser, "check")
        wait_for(browser, "document.querySelector('.message').textContent.includes('has ended')")
        wait_for(browser, free, seconds=150)
        write(browser, right)
        assert check(browser) == "Right. Next opens another one."
        empty_logs(browser)  # (files that are missing are errors in the log)
