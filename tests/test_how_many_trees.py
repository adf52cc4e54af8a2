"""How many trees make an orchard? The page computes what NumPy computes, stroke by stroke."""

import importlib.util

import numpy as np
import pytest

from tests.browser import INTERACTIVE, piece_page, set_screen, wait_for
from tinyunet.data.scenes import CLASS_COLORS, CLASSES

SCRIPTS = ("scene.js", "network.js", "orchard_weights.js")


@pytest.fixture(scope="module")
def training():
    """Load the script that trained the network and wrote its weights."""
    path = INTERACTIVE / "train_orchard.py"
    spec = importlib.util.spec_from_file_location("train_orchard", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def open_piece(browser, tmp_path):
    browser.get(piece_page(tmp_path, "orchard"))
    wait_for(browser, "document.querySelector('[data-answers]') !== null")


def settle(browser, before):
    """Wait until the network has answered again after a stroke."""
    wait_for(
        browser, "Number(document.querySelector('.piece').dataset.answers) > arguments[0]", before
    )


def answers(browser):
    return browser.execute_script("return Number(document.querySelector('.piece').dataset.answers)")


def click(browser, selector):
    before = answers(browser)
    browser.find_element("css selector", selector).click()
    settle(browser, before)


def shares(browser):
    """Read the share of each class in the framed square from the bars."""
    bars = browser.find_elements("css selector", ".bar")
    return {name: float(bar.text.split()[-2]) for name, bar in zip(CLASSES, bars, strict=True)}


def class_map(browser):
    """Read the class map's pixels, as their colors."""
    pixels = browser.execute_script(
        "const map = document.querySelector('.map');"
        "return Array.from(map.getContext('2d').getImageData(0, 0, 96, 96).data)"
    )
    return np.reshape(pixels, (96, 96, 4))[..., :3]


@pytest.mark.parametrize("cut", [[False] * 3, [True, False, False], [False, True, True]], ids=str)
def test_the_pages_logits_are_numpys(browser, tmp_path, training, cut):
    open_piece(browser, tmp_path)
    click(browser, "[data-rows='9']")
    image, logits, maps = browser.execute_script(
        "const scene = new Scene(5);"
        "scene.add({kind: 'road', from: [0, 10], to: [95, 40]});"
        "scene.add({kind: 'roof', y: 30, x: 70});"
        "for (const x of [20, 33, 45, 60]) scene.add({kind: 'tree', y: 70, x});"
        "const image = scene.photograph();"
        "const weights = namedWeights(ORCHARD_MODEL);"
        "const {logits, maps} = runUNet(ORCHARD_MODEL, weights, image, 96, arguments[0]);"
        "return [image, logits, maps.bottleneck.data].map((numbers) => Array.from(numbers))",
        cut,
    )
    network, standardization, _ = training.read()
    for concat, is_cut in zip(network.concats, reversed(cut), strict=True):
        if is_cut:
            whole = concat.forward
            concat.forward = lambda skip, x, whole=whole: whole(np.zeros_like(skip), x)
    seen = []
    block = network.bottleneck.forward
    network.bottleneck.forward = lambda x: seen.append(block(x)) or seen[0]
    x = standardization.transform(np.uint8(image).reshape(96, 96, 3))[None]
    expected = network(x)
    assert expected.std() > 1
    np.testing.assert_allclose(np.reshape(logits, expected.shape), expected, atol=2e-4)
    np.testing.assert_allclose(np.reshape(maps, seen[0].shape), seen[0], atol=2e-4)


def test_the_weights_on_the_page_are_a_unet_of_the_size_that_the_text_names(training):
    network, _, header = training.read()
    assert sum(parameter.data.size for parameter in network.parameters()) == 120_861
    assert header["classNames"] == list(CLASSES)
    text = (INTERACTIVE / "orchard_weights.js").read_text()
    assert len(text) < 400_000


def test_folding_the_normalization_into_the_convolutions_changes_nothing(training):
    network = training.UNet(norm="batch", **training.CONFIG)
    rng = np.random.default_rng(0)
    for name, parameter in network.named_parameters():
        noise = rng.normal(size=parameter.data.shape).astype(np.float32)
        # A variance is positive; all else goes both ways.
        parameter.data = parameter.data + 0.2 * (abs(noise) if "variance" in name else noise)
    x = rng.normal(size=(1, 16, 24, 3)).astype(np.float32)
    expected = network.eval()(x)
    folded = training.fold(network)(x)
    np.testing.assert_allclose(folded, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


def test_weights_are_read_as_they_were_written(training, tmp_path):
    network, standardization, header = training.read()
    training.write(network, standardization, header["channels"], tmp_path / "again.js")
    assert (tmp_path / "again.js").read_text() == training.WEIGHTS.read_text()


def test_more_trees_in_rows_make_more_orchard(browser, tmp_path):
    open_piece(browser, tmp_path)
    orchard = [shares(browser)["orchard meadow"]]
    for count in (1, 4, 9, 25):
        click(browser, f"[data-rows='{count}']")
        orchard.append(shares(browser)["orchard meadow"])
    assert orchard == sorted(orchard)
    assert orchard[0] < 5 < 25 < orchard[2] < 75 < 95 < orchard[4]
    dots = browser.find_elements("css selector", ".plot circle")
    assert len(dots) == 5


def test_crowded_trees_make_a_forest(browser, tmp_path):
    open_piece(browser, tmp_path)
    click(browser, "[data-forest]")
    assert shares(browser)["forest"] > 80


def click_photo(browser, row, column):
    """Click on a pixel of the photograph."""
    from selenium.webdriver import ActionChains

    photo = browser.find_element("class name", "photo")
    scale = photo.size["width"] / 96
    before = answers(browser)
    offset = round((column - 48) * scale), round((row - 48) * scale)
    ActionChains(browser).move_to_element_with_offset(photo, *offset).click().perform()
    settle(browser, before)


def test_trees_planted_by_hand_make_an_orchard_and_can_be_removed(browser, tmp_path):
    open_piece(browser, tmp_path)
    for row in (24, 36, 48, 60):
        for column in (24, 36, 48, 60):
            click_photo(browser, row, column)
    wait_for(browser, "document.querySelector('.saying').textContent.startsWith('16 trees')")
    assert shares(browser)["orchard meadow"] > 60
    click(browser, "[data-undo]")
    browser.find_element("css selector", "[data-tool=remove]").click()
    click_photo(browser, 24, 24)
    wait_for(browser, "document.querySelector('.saying').textContent.startsWith('14 trees')")


def test_a_house_and_a_road_appear_in_the_class_map(browser, tmp_path):
    from selenium.webdriver import ActionChains

    open_piece(browser, tmp_path)
    browser.find_element("css selector", "[data-tool=house]").click()
    click_photo(browser, 45, 40)
    assert shares(browser)["building"] > 5
    click(browser, "[data-clear]")
    browser.find_element("css selector", "[data-tool=road]").click()
    photo = browser.find_element("class name", "photo")
    width, before = photo.size["width"], answers(browser)
    drag = ActionChains(browser).move_to_element_with_offset(photo, -width // 2 + 4, 0)
    drag.click_and_hold().move_by_offset(width // 2, 5).move_by_offset(width // 2 - 10, 5)
    drag.release().perform()
    settle(browser, before)
    wait_for(
        browser, "parseFloat(document.querySelectorAll('.bar')[4].textContent.match(/\\d+/)) > 8"
    )


def test_cutting_a_skip_changes_the_map_and_joining_it_restores_it(browser, tmp_path):
    open_piece(browser, tmp_path)
    click(browser, "[data-rows='9']")
    whole = class_map(browser)
    click(browser, "[data-skip='1']")
    assert browser.find_element("css selector", "[data-skip='1']").text == "cut: brings zeros"
    cut = class_map(browser)
    assert (whole != cut).any(axis=-1).mean() > 0.01
    click(browser, "[data-skip='1']")
    np.testing.assert_array_equal(class_map(browser), whole)


def test_the_keyboard_alone_plants_and_takes_back(browser, tmp_path):
    from selenium.webdriver import ActionChains, Keys

    open_piece(browser, tmp_path)
    for _ in range(20):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        if browser.switch_to.active_element.get_attribute("class") == "photo":
            break
    keys = ActionChains(browser)
    keys.send_keys(Keys.ENTER, Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ENTER)
    keys.perform()
    wait_for(browser, "document.querySelector('.saying').textContent.startsWith('2 trees')")
    ActionChains(browser).send_keys(Keys.BACKSPACE).perform()
    wait_for(browser, "document.querySelector('.saying').textContent.startsWith('1 tree:')")


@pytest.mark.parametrize("width", [400, 1280])
def test_a_finger_plants_and_nothing_is_wider_than_the_screen(browser, tmp_path, width):
    set_screen(browser, width, 800, touch=True)
    open_piece(browser, tmp_path)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    photo = browser.find_element("class name", "photo")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", photo)
    box = browser.execute_script("return arguments[0].getBoundingClientRect().toJSON()", photo)
    point = {"x": box["x"] + 30, "y": box["y"] + 40}
    for kind, points in (("touchStart", [point]), ("touchEnd", [])):
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    wait_for(browser, "document.querySelector('.saying').textContent.startsWith('1 tree:')")


def test_each_class_has_the_color_that_it_has_in_all_figures(browser, tmp_path):
    open_piece(browser, tmp_path)
    colors = browser.execute_script("return CLASS_COLORS.map(rgb)")
    np.testing.assert_array_equal(colors, CLASS_COLORS)
