"""The backward in your hands: its numbers are NumPy's, and mouse, keys and fingers move it."""

import importlib.util
import re
import time

import numpy as np
import pytest

from tests.browser import INTERACTIVE, piece_page, set_screen, wait_for
from tinyunet.nn import functional

TABS = {
    "convolution": functional.conv2d,
    "transposedConvolution": functional.conv_transpose2d,
    "maxPooling": functional.max_pool2d,
    "crossEntropy": functional.softmax_cross_entropy,
}
MINUS = "\N{MINUS SIGN}"


def numbers(shape, seed):
    return np.random.default_rng(seed).normal(size=shape)


def image(grid):
    """(H, W) -> (1, H, W, 1)."""
    return np.asarray(grid, float)[None, :, :, None]


def sheet(array):
    """(1, H, W, 1) -> (H, W)."""
    return array[0, :, :, 0]


def in_numpy(tab, inputs, dy):
    """Compute forward and backward of a tab's operation with tinyunet."""
    if tab == "crossEntropy":
        logits, labels = np.asarray(inputs["x"], float)[None, None], [[inputs["labels"]]]
        loss, backward = functional.softmax_cross_entropy(logits, np.array(labels))
        return [[float(loss)]], {"x": backward(dy[0][0])[0, 0]}
    if tab == "maxPooling":
        y, backward = functional.max_pool2d(image(inputs["x"]))
        return sheet(y), {"x": sheet(backward(image(dy)))}
    weight = np.asarray(inputs["weight"], float)[:, :, None, None]
    y, backward = TABS[tab](image(inputs["x"]), weight)
    dx, dweight = backward(image(dy))
    return sheet(y), {"x": sheet(dx), "weight": dweight[:, :, 0, 0]}


EXAMPLES = [
    ("convolution", {"x": numbers((5, 5), 0), "weight": numbers((3, 3), 1)}, (3, 3)),
    ("convolution", {"x": numbers((4, 7), 2), "weight": numbers((3, 2), 3)}, (2, 6)),
    ("transposedConvolution", {"x": numbers((3, 3), 4), "weight": numbers((3, 3), 5)}, (7, 7)),
    ("transposedConvolution", {"x": numbers((2, 4), 6), "weight": numbers((2, 3), 7)}, (4, 9)),
    ("maxPooling", {"x": numbers((4, 6), 8)}, (2, 3)),
    ("maxPooling", {"x": np.ones((2, 4))}, (1, 2)),  # all tie: the first of each window wins
    ("crossEntropy", {"x": numbers((4, 3), 9), "labels": [2, 0, 1, 1]}, (1, 1)),
    ("crossEntropy", {"x": 800 * numbers((2, 5), 10), "labels": [4, 0]}, (1, 1)),
]


def as_lists(inputs):
    return {name: np.asarray(array).tolist() for name, array in inputs.items()}


@pytest.mark.parametrize("tab, inputs, shape", EXAMPLES)
def test_forward_and_backward_are_equal_to_numpys(browser, tmp_path, tab, inputs, shape):
    browser.get(piece_page(tmp_path, "backward"))
    wait_for(browser, "document.querySelector('.started') !== null")
    dy = numbers(shape, 20)
    script = f"return [{tab}.forward(arguments[0]), {tab}.backward(arguments[0], arguments[1])]"
    y, gradients = browser.execute_script(script, as_lists(inputs), dy.tolist())
    expected_y, expected = in_numpy(tab, inputs, dy)
    np.testing.assert_allclose(y, expected_y, rtol=1e-12, atol=1e-12)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        np.testing.assert_allclose(gradients[name], gradient, rtol=1e-12, atol=1e-12)


@pytest.fixture(scope="module")
def name_mistakes():
    """Load the script that lets the checker look at the page's wrong backwards."""
    spec = importlib.util.spec_from_file_location("names", INTERACTIVE / "name_mistakes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_sentences_are_those_of_the_checker_and_name_each_mistake(name_mistakes):
    assert name_mistakes.MISTAKES.read_text(encoding="utf-8") == name_mistakes.script()
    assert "none of the known mistakes" not in name_mistakes.script()


def test_each_broken_backward_is_the_gallerys_and_is_caught(browser, tmp_path, name_mistakes):
    browser.get(piece_page(tmp_path, "backward"))
    wait_for(browser, "document.querySelector('.started') !== null")
    names = browser.execute_script(
        "return Object.entries(wrongBackwards).map(([tab, all]) => [tab, all.map((w) => w.name)])"
    )
    assert sum(len(all_names) for _, all_names in names) == 12
    for tab, all_names in names:
        inputs, shape = next((inputs, shape) for one, inputs, shape in EXAMPLES if one == tab)
        dy = numbers(shape, 30)
        for name in all_names:
            script = (
                f"const named = (one) => one.name === arguments[2];"
                f"const wrong = wrongBackwards.{tab}.find(named).backward;"
                "return [wrong(arguments[0], arguments[1]),"
                f"checkBackward({tab}, wrong, arguments[0], arguments[1]),"
                f"checkBackward({tab}, {tab}.backward, arguments[0], arguments[1])]"
            )
            claims, sentence, right = browser.execute_script(
                script, as_lists(inputs), dy.tolist(), name
            )
            arrays = [np.asarray(inputs[key], float) for key in ("x", "weight") if key in inputs]
            _, backward = name_mistakes.operation(name, inputs.get("labels"))(*arrays)
            gradients = backward(dy[0, 0] if tab == "crossEntropy" else dy)
            gradients = gradients if isinstance(gradients, tuple) else (gradients,)
            for argument, gradient in zip(("x", "weight"), gradients, strict=False):
                np.testing.assert_allclose(claims[argument], gradient, rtol=1e-12, atol=1e-12)
            assert re.match(r"Off at \d+ of \d+ entries, most at d(x|weight)\[", sentence)
            assert right == ""


def shown(browser, grid):
    """Read a grid of numbers from the page, as a reader would."""
    texts = browser.execute_script(
        "return [...document.querySelectorAll(`[data-grid=${arguments[0]}] g[data-place]`)]"
        ".map((cell) => [cell.dataset.place, cell.querySelector('.number').textContent])",
        grid,
    )
    places = [tuple(map(int, place.split(","))) for place, _ in texts]
    result = np.zeros(np.max(places, axis=0) + 1)
    for place, (_, text) in zip(places, texts, strict=True):
        result[place] = float(text.replace(MINUS, "-"))
    return result


def cell(browser, grid, row, column):
    return browser.find_element(
        "css selector", f"[data-grid={grid}] g[data-place='{row},{column}']"
    )


def formula(browser):
    return browser.find_element("class name", "formula").text


def open_piece(browser, tmp_path, **data):
    browser.get(piece_page(tmp_path, "backward", **data))
    wait_for(browser, "document.querySelector('.started') !== null")


def hover(browser, element):
    from selenium.webdriver import ActionChains

    ActionChains(browser).move_to_element(element).perform()


@pytest.mark.parametrize("tab", TABS)
def test_the_page_shows_the_numbers_that_numpy_gives(browser, tmp_path, tab):
    open_piece(browser, tmp_path, tab=tab)
    inputs = {"x": shown(browser, "x")}
    if tab == "crossEntropy":
        inputs["labels"] = shown(browser, "truth").argmax(axis=1).tolist()
    elif tab != "maxPooling":
        inputs["weight"] = shown(browser, "weight")
    y, gradients = in_numpy(tab, inputs, shown(browser, "dy"))
    np.testing.assert_allclose(shown(browser, "y"), y, atol=0.0051)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(shown(browser, f"d{name}"), gradient, atol=0.0051)


def test_pointing_at_a_pixel_lights_every_output_that_used_it(browser, tmp_path):
    open_piece(browser, tmp_path)
    hover(browser, cell(browser, "x", 2, 2))  # the middle: in all nine windows
    lit = "document.querySelectorAll('[data-grid=y] g.lit').length"
    wait_for(browser, f"{lit} === 9")
    terms = re.search(r"dx\[2, 2\] = (.*) = (\S+)$", formula(browser), re.M)
    products = re.findall(r"[a-i]\(?([−\d.]+)\)?·\(?([−\d.]+)\)?", terms[1])
    assert len(products) == 9
    total = sum(float(a.replace(MINUS, "-")) * float(b.replace(MINUS, "-")) for a, b in products)
    assert total == float(terms[2].replace(MINUS, "-")) == shown(browser, "dx")[2, 2]
    hover(browser, cell(browser, "x", 0, 4))  # a corner: in one window only
    wait_for(browser, f"{lit} === 1")
    hover(browser, cell(browser, "y", 1, 0))
    wait_for(browser, "document.querySelectorAll('[data-grid=x] g.lit').length === 9")


def test_what_was_clicked_stays_on_the_way_to_the_button(browser, tmp_path):
    open_piece(browser, tmp_path)
    cell(browser, "x", 2, 2).click()
    hover(browser, cell(browser, "dweight", 0, 1))
    assert "weight[0, 1] was used" in formula(browser)
    hover(browser, browser.find_element("class name", "wiggle"))
    assert "x[2, 2] went into 9 outputs" in formula(browser)


def test_a_number_of_y_explains_itself_while_one_of_x_can_still_be_wiggled(browser, tmp_path):
    open_piece(browser, tmp_path)
    cell(browser, "x", 0, 4).click()
    cell(browser, "dy", 1, 1).click()
    assert "The window under y[1, 1]" in formula(browser)
    assert "x[0, 4] moves by" in browser.find_element("class name", "measured").text
    assert browser.find_element("class name", "wiggle").is_enabled()


def test_dragging_a_number_changes_the_result_and_the_gradient(browser, tmp_path):
    from selenium.webdriver import ActionChains

    open_piece(browser, tmp_path)
    before = shown(browser, "x"), shown(browser, "y"), shown(browser, "dweight")
    drag = ActionChains(browser).click_and_hold(cell(browser, "x", 2, 2))
    drag.move_by_offset(60, 0).release().perform()
    assert shown(browser, "x")[2, 2] == before[0][2, 2] + 5
    np.testing.assert_array_equal(
        shown(browser, "y") - before[1], 5 * shown(browser, "weight")[::-1, ::-1]
    )
    np.testing.assert_array_equal(
        shown(browser, "dweight") - before[2], 5 * shown(browser, "dy")[::-1, ::-1]
    )


def test_a_finger_taps_and_drags(browser, tmp_path):
    set_screen(browser, 400, 800, touch=True)
    open_piece(browser, tmp_path)
    element = cell(browser, "weight", 1, 1)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    before, box = shown(browser, "weight")[1, 1], element.rect
    x = box["x"] + box["width"] / 2
    y = box["y"] + box["height"] / 2 - browser.execute_script("return scrollY")
    touch(browser, "touchStart", x, y)
    assert "weight[1, 1] was used" in formula(browser)
    for step in range(1, 7):
        touch(browser, "touchMove", x - 6 * step, y)
    touch(browser, "touchEnd")
    assert shown(browser, "weight")[1, 1] == before - 3


def touch(browser, kind, *point):
    points = [{"x": point[0], "y": point[1]}] if point else []
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def test_the_keyboard_alone_reaches_and_changes_everything(browser, tmp_path):
    from selenium.webdriver import ActionChains, Keys

    open_piece(browser, tmp_path)

    def press(*keys):
        ActionChains(browser).send_keys(*keys).perform()

    press(Keys.TAB, Keys.ARROW_RIGHT)  # the tabs
    assert browser.switch_to.active_element.text == "Max pooling"
    press(Keys.ARROW_LEFT, Keys.TAB)  # the first cell of x
    press(Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    assert "x[1, 1] went into 4 outputs" in formula(browser)
    press("-1.5")
    assert shown(browser, "x")[1, 1] == -1.5
    press(Keys.BACKSPACE, Keys.BACKSPACE)
    assert shown(browser, "x")[1, 1] == -1
    ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.ARROW_UP).key_up(Keys.SHIFT).perform()
    assert shown(browser, "x")[1, 1] == 0
    press("12")  # not -112: a new number
    assert shown(browser, "x")[1, 1] == 12
    time.sleep(2.1)
    press("7")  # nor 127: there was a pause
    assert shown(browser, "x")[1, 1] == 7
    passed = []
    for _ in range(20):
        press(Keys.TAB)
        passed.append(browser.switch_to.active_element.text)
        if browser.switch_to.active_element.tag_name == "select":
            break
    assert "Wiggle" in passed
    press(Keys.ARROW_DOWN)
    wait_for(browser, "document.querySelector('.verdict').classList.contains('wrong')")


def measured(browser, row):
    rows = browser.find_elements("css selector", ".measured tr")
    return next(
        float(one.text.split()[-1].replace(MINUS, "-")) for one in rows if one.text.startswith(row)
    )


@pytest.mark.parametrize("tab", TABS)
def test_the_measured_slope_stands_beside_the_claim(browser, tmp_path, tab):
    open_piece(browser, tmp_path, tab=tab)
    assert measured(browser, "measured slope") == pytest.approx(
        measured(browser, "backward claims"), rel=1e-4
    )
    browser.find_element("class name", "wiggle").click()
    wait_for(browser, "document.querySelector('.wiggling') !== null")
    wait_for(browser, "document.querySelector('.wiggling') === null")


def test_the_slider_walks_a_v(browser, tmp_path):
    open_piece(browser, tmp_path, tab="crossEntropy")
    errors = {}
    for exponent in (0, -5, -12):
        browser.execute_script(
            "const slider = document.querySelector('.h'); slider.value = arguments[0];"
            "slider.dispatchEvent(new Event('input'))",
            exponent,
        )
        errors[exponent] = measured(browser, "relative error")
    assert errors[-5] < 1e-8 < 1e-5 < min(errors[0], errors[-12])
    points = browser.find_element("class name", "v").get_attribute("points").split()
    assert len(points) == 49


def test_a_broken_backward_shows_in_the_checkers_words_and_no_h_mends_it(browser, tmp_path):
    open_piece(browser, tmp_path)
    assert browser.find_element("class name", "verdict").text == "The checker: all is well."
    right = shown(browser, "dx")
    browser.find_element("css selector", ".break option:nth-child(2)").click()
    verdict = browser.find_element("class name", "verdict").text
    wrong = shown(browser, "dx")
    found = re.search(
        r"it would be right with weight flipped along its rows and columns\. .* "
        r"Off at (\d+) of 25 entries, most at dx\[(\d), (\d)\]: "
        r"backward says (\S+), measured is (\S+)\.",
        verdict,
    )
    place = int(found[2]), int(found[3])
    assert int(found[1]) == (wrong != right).sum()
    assert float(found[4].replace(MINUS, "-")) == wrong[place]
    assert float(found[5].replace(MINUS, "-")) == right[place]
    hover(browser, cell(browser, "dx", *place))
    assert measured(browser, "relative error") > 1e-3


def test_a_symmetric_kernel_hides_that_it_was_not_turned(browser, tmp_path):
    open_piece(browser, tmp_path)
    browser.find_element("css selector", ".break option:nth-child(2)").click()
    browser.execute_script(
        "for (const cell of document.querySelectorAll('[data-grid=weight] g[data-place]')) {"
        "cell.focus();"
        "cell.dispatchEvent(new KeyboardEvent('keydown', {key: '2', bubbles: true})); }"
    )
    assert "These numbers hide the mistake" in browser.find_element("class name", "verdict").text


def test_another_true_class_can_be_chosen(browser, tmp_path):
    open_piece(browser, tmp_path, tab="crossEntropy")
    cell(browser, "truth", 0, 2).click()
    np.testing.assert_array_equal(shown(browser, "truth")[0], [0, 0, 1])


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("tab", TABS)
def test_nothing_is_wider_than_the_screen(browser, tmp_path, width, tab):
    set_screen(browser, width, 800, touch=width < 600)
    open_piece(browser, tmp_path, tab=tab)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_number_can_be_given_in_its_field(browser, tmp_path):
    open_piece(browser, tmp_path)
    hover(browser, cell(browser, "weight", 0, 2))
    field = browser.find_element("css selector", ".number-label input")
    field.clear()
    field.send_keys("2.5")
    assert shown(browser, "weight")[0, 2] == 2.5
