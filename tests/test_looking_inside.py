"""The demos that look inside a network: what they show is what the network computed."""

import base64
import html.parser
import itertools
import json
import re
import subprocess
import types
import zlib
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from tests.browser import BROWSER, set_screen, wait_for
from tests.networks import in_float64
from tests.test_demos import load
from tinyunet.checkpoint import Model, save_model
from tinyunet.cli import main as cli
from tinyunet.data.images import ImageFormat, open_raster, prepare
from tinyunet.data.scenes import CLASS_COLORS
from tinyunet.inference.sliding_window import predict_classes, predict_probabilities
from tinyunet.nn.operations import operations, use_operations
from tinyunet.nn.standardization import Standardization
from tinyunet.nn.unet import UNet
from tinyunet.plots.colors import IGNORED, PALETTE

WIRINGS = [
    {"padding": padding, "upsampling": up}
    for padding in ("same", "valid")
    for up in ("transpose", "nearest")
]
LINE_NAMES = ("row", "column")


def small_model(channels=3, classes=3, seed=0, **options):
    """Make a model of a few channels, whose biases and running averages are no longer 0."""
    options = {"base_channels": 3, "depth": 2, "norm": "batch", **options}
    network = UNet(channels, classes, seed=seed, **options)
    in_float64(network, seed)
    for _, parameter in network.named_parameters():
        parameter.data = parameter.data.astype("float32")
    network.head.weight.data *= 2  # an untrained network would hardly prefer any class
    names = [f"class {index}" for index in range(classes)]
    return Model(network.eval(), Standardization([100.0] * channels, [50.0] * channels), names)


def random_image(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


# -- watched.py ----------------------------------------------------------------------------------


@pytest.mark.parametrize("wiring", WIRINGS, ids=str)
@pytest.mark.parametrize("norm", [None, "batch"])
def test_what_is_kept_of_a_network_is_what_it_computed(wiring, norm):
    network = small_model(norm=norm, dropout=0.5, **wiring).network
    height, width = network.valid_sizes()[4:6]
    x = np.random.default_rng(0).normal(size=(1, height, width, 3)).astype(np.float32)
    kept = {
        name: watched.array for name, watched in load("parts/watched").watch(network, x).items()
    }
    plain, skips = {}, []
    y = x
    for index, block in enumerate(network.encoder):
        y = plain[f"encoder {index + 1}"] = block(y).copy()
        skips.append(y)
        y = network.pools[index](y)
    y = plain["bottleneck"] = network.bottleneck(y).copy()
    for index, block in enumerate(network.decoder):
        y = network.concats[index](skips.pop(), network.upsamplers[index](y))
        y = plain[f"decoder {network.depth - index}"] = block(y).copy()
    plain["prediction"] = network.head(y)
    assert list(kept) == list(plain)
    for name, array in plain.items():
        np.testing.assert_array_equal(kept[name], array, err_msg=name)
    np.testing.assert_array_equal(kept["prediction"], network(x))


@pytest.fixture
def plain_operations():
    """Use the plain operations: in the fast ones a few rows share what is not a number."""
    before = operations.name
    use_operations("plain")
    yield
    use_operations(before)


@pytest.mark.parametrize("wiring", WIRINGS, ids=str)
def test_a_row_sees_exactly_the_rows_that_can_spoil_it(wiring, plain_operations):
    network = UNet(1, 1, base_channels=1, depth=2, **wiring).eval()
    for parameter in network.parameters():
        parameter.data = abs(parameter.data) + np.float32(0.1)  # let nothing cancel out
    size = next(n for n in network.valid_sizes() if n >= 64)
    x = np.ones((size, size, 16 if wiring["padding"] == "same" else size, 1), np.float32)
    x[range(size), range(size)] = np.nan  # in image k, row k; what is not a number spreads
    spoiled = load("parts/watched").watch(network, x)
    for name, watched in load("parts/watched").watch(network, np.ones_like(x[:1])).items():
        rows = np.arange(watched.shape[1])
        first, last = watched.sees(rows, rows)
        middle = spoiled[name].shape[2] // 2
        for row in rows:
            sources = np.flatnonzero(np.isnan(spoiled[name].array[:, row, middle, 0]))
            expected = max(first[row], 0), min(last[row], size - 1)
            assert (sources[0], sources[-1]) == expected, (name, row)


@pytest.mark.parametrize("wiring", WIRINGS, ids=str)
def test_the_widest_view_of_each_level_is_that_of_the_trace(wiring):
    model = small_model(depth=3, **wiring)
    seen = load("parts/feature_levels").view(model, random_image(90, 70))
    for level in seen.levels:
        for ends in (level.rows, level.columns):
            assert np.ptp(ends, axis=1).max() + 1 == level.receptive_field, level.name
    assert seen.levels[-1].receptive_field == model.network.receptive_field


# -- feature_levels.py ---------------------------------------------------------------------------


@pytest.mark.parametrize("wiring", WIRINGS, ids=str)
@pytest.mark.parametrize("size", [32, 256])
def test_the_prediction_shown_is_the_prediction(wiring, size):
    model, image = small_model(**wiring), random_image(70, 61)
    model.ignore_index = 1
    seen = load("parts/feature_levels").view(model, image, size)
    height, width = seen.image.shape[:2]
    part = np.s_[seen.top : seen.top + height, seen.left : seen.left + width]
    np.testing.assert_array_equal(seen.image, image[part])
    assert (height, width) == (70, 61) or max(height, width) <= 32
    probabilities = seen.levels[-1].maps
    standardized = model.standardization.transform(image)
    swept = predict_probabilities(model.network, standardized, ignore_index=1, tile=size)
    np.testing.assert_allclose(probabilities, swept[part], atol=1e-4)
    answers = predict_classes(model, image, tile=size)[part]
    np.testing.assert_array_equal(probabilities.argmax(axis=-1), answers)
    assert 1 not in answers and len(np.unique(answers)) == 2


@pytest.mark.parametrize("wiring", WIRINGS, ids=str)
def test_each_map_lies_where_its_pixels_come_from(wiring):
    model = small_model(**wiring)
    seen = load("parts/feature_levels").view(model, random_image(50, 43))
    for level in seen.levels:
        for length, begins, ends, count in zip(
            (50, 43),
            (level.top, level.left),
            (level.rows, level.columns),
            level.maps.shape,
            strict=False,
        ):
            assert begins <= 0 and begins + count * level.scale >= length
            assert begins > -level.scale and begins + count * level.scale < length + level.scale
            centers = begins + level.scale * (np.arange(count) + 0.5)
            # Up-convolutions with kernels of even size see as far to one side as to the other only
            # on average.
            off = ends.mean(axis=1) + 0.5 - centers
            assert abs(off).max() <= 2**model.network.depth


def test_the_strongest_map_is_that_of_the_highest_contrast():
    rows = np.arange(8.0)[:, None] * np.ones(8)
    maps = np.stack([0 * rows + 100, 0.1 * rows, -rows], axis=-1)
    assert load("parts/feature_levels").strongest(maps).tolist() == [2, 1, 0]


# -- single_map.py, influence.py -----------------------------------------------------------------


def test_the_auc_counts_pairs_in_the_right_order():
    pytest.importorskip("scipy", reason="needs the extra 'demos'")
    rng = np.random.default_rng(0)
    values, positive = rng.integers(0, 5, (40, 3)), rng.random(40) < 0.4
    pairs = itertools.product(values[positive], values[~positive])
    right = np.mean([(high > low) + 0.5 * (high == low) for high, low in pairs], axis=0)
    np.testing.assert_allclose(load("parts/single_map").separation(values, positive), right)


def test_a_single_map_is_judged_where_it_was_not_chosen():
    pytest.importorskip("scipy", reason="needs the extra 'demos'")
    judge = load("parts/single_map").single_map
    truth = np.zeros((32, 64), int)
    truth[8:16] = 1
    noise = np.random.default_rng(0).normal(size=(16, 32))
    dark = -truth[::2, ::2].astype(float)
    lucky = np.where(np.arange(32) < 16, truth[::2, ::2], 0)
    level = types.SimpleNamespace(top=0.0, left=0.0, scale=2)
    level.maps = np.stack([noise, dark], axis=-1)
    assert judge(level, truth, 1) == 1  # dark where the class is tells as much
    level.maps = np.stack([0.1 * noise, lucky], axis=-1)
    assert judge(level, truth, 1) == 0.5  # right on the left half only
    assert np.isnan(judge(level, truth, 2))


def test_half_of_the_influence_lies_near():
    influence = np.zeros((9, 9))
    influence[2, 3], influence[3, 4], influence[8, 8] = 3, 2, 5
    assert load("parts/influence").half_side(influence, 2, 3) == 3


@pytest.mark.parametrize("wiring", WIRINGS, ids=str)
def test_the_influence_is_measured_within_the_receptive_field(wiring):
    demo = load("parts/influence")
    model = small_model(**wiring)
    fields = []
    demo.half_side = lambda influence, row, column: fields.append((influence, row, column)) or 1
    demo.typical_half_side(model, random_image(50, 43))
    reach = model.network.receptive_field
    assert fields
    for influence, row, column in fields:
        rows, columns = np.nonzero(influence)
        assert row - reach < rows.min() <= row <= rows.max() < row + reach
        assert column - reach < columns.min() <= column <= columns.max() < column + reach
        assert influence[row, column] > 0
    assert not model.network.saves_backward


def test_where_nothing_moves_the_answer_there_is_nothing_to_halve():
    model = small_model()
    model.network.head.weight.data[...] = 0
    assert load("parts/influence").typical_half_side(model, random_image(20, 20)) is None


# -- feature_maps.py -----------------------------------------------------------------------------


def run(name, capsys, *arguments):
    """Run a demo on the CPU; returns what it said, line by line."""
    load(name).main([*map(str, arguments), "--device", "cpu"])
    return capsys.readouterr().out.splitlines()


def save_inputs(folder, image, **options):
    """Write a model and an image for it; returns both paths."""
    model = small_model(image.shape[2], **options)
    paths = folder / "model.npz", folder / "image.png"
    Image.fromarray(image.squeeze()).save(paths[1])
    # A trained model remembers what its masks and images were, also what a transparent pixel means.
    lines = [f"{name}: {index}" for index, name in enumerate(model.class_names)]
    model.metadata["class_table"] = "\n".join([*lines, "ignore: 255"])
    alpha = "channel" if image.shape[2] == 4 else None
    image_format = ImageFormat.of(prepare(open_raster(paths[1]), alpha=alpha))
    model.metadata["image_format"] = asdict(image_format) | {"alpha": alpha}
    save_model(paths[0], model)
    return paths


def test_the_maps_of_a_network_trained_for_a_moment(tmp_path, capsys):
    pytest.importorskip("scipy", reason="needs the extra 'demos'")
    out = tmp_path / "new" / "maps.png"
    small = ["--steps", 2, "--size", 96, "--threads", 1]
    *_, judged, saved, sentence = run("feature_maps", capsys, *small, "--out", out)
    with Image.open(out) as picture:
        assert min(picture.size) > 1000
    assert saved == f"The picture: {out}" and "bottleneck" in judged
    begin = "You should have seen the maps shrink from 96 x 96 to 12 x 12 pixels and what each of "
    assert sentence.startswith(begin + "these sees grow from 5 x 5 to 68 x 68")


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_maps_of_any_model_and_image(channels, padding, tmp_path, capsys):
    pytest.importorskip("scipy", reason="needs the extra 'demos'")
    image = random_image(53, 45, channels)
    paths = save_inputs(tmp_path, image, classes=2, padding=padding)
    first, *_, sentence = run("feature_maps", capsys, *paths, "--out", tmp_path / "maps.png")
    assert "image.png, 53 x 45 pixels." in first and sentence.startswith("You should have seen")
    first, *_ = run("feature_maps", capsys, *paths, "--size", 32, "--out", tmp_path / "maps.png")
    assert "of its 53 x 45" in first and "--size 53" in first


# -- explore.py ----------------------------------------------------------------------------------


class Numbers(html.parser.HTMLParser):
    """Find what is in the script that holds the page's numbers."""

    inside, text = False, ""

    def handle_starttag(self, tag, attributes):
        self.inside = ("id", "numbers") in attributes

    def handle_data(self, data):
        self.text += data if self.inside else ""

    def handle_endtag(self, tag):
        self.inside = False


def numbers_in(path):
    """Read a page's numbers, and its arrays in the order in which they are packed."""
    parser = Numbers()
    parser.feed(path.read_text(encoding="utf-8"))
    page = json.loads(parser.text)
    data = memoryview(zlib.decompress(base64.b64decode(page["data"])))
    size = page["height"], page["width"]
    shapes = [
        ("u1", (*size, 3)),
        ("<u2", (*size, page["ranked"])),
        ("<u2", (*size, page["ranked"])),
        *(page["known"] * [("<u2", size)]),
    ]
    for level in page["levels"]:
        shapes += len(level["maps"]) * [("u1", (len(level["rows"]), len(level["columns"])))]
    arrays = []
    for kind, shape in shapes:
        length = np.dtype(kind).itemsize * int(np.prod(shape))
        arrays.append(np.frombuffer(data[:length], kind).reshape(shape))
        data = data[length:]
    assert len(data) == 0
    return page, arrays


@pytest.mark.parametrize("classes", [3, 11])
@pytest.mark.parametrize("channels", [1, 4])
def test_the_page_holds_the_numbers_of_the_model(classes, channels, tmp_path, capsys):
    image = random_image(45, 53, channels)
    paths = save_inputs(tmp_path, image, classes=classes)
    out = tmp_path / "page.html"
    *_, saved, sentence = run("explore", capsys, *paths, "--maps", 5, "--out", out)
    assert str(out) in saved and sentence.startswith("You should have seen the frame")
    page, (rgb, ranking, shares, *maps) = numbers_in(out)
    assert rgb[..., 0].tolist() == image[..., 0].tolist()
    model = small_model(channels, classes)
    standardized = model.standardization.transform(image)
    probabilities = predict_probabilities(model.network, standardized)
    kept = np.take_along_axis(probabilities, ranking.astype(int), axis=-1)
    np.testing.assert_allclose(shares / 65535, kept, atol=1e-4)
    assert shares.shape[2] == min(classes, 8) and (np.diff(shares.astype(int)) <= 0).all()
    command = ["predict", *map(str, paths), "--device", "cpu"]
    assert cli.main([*command, "--out", str(tmp_path / "maps")]) in (0, None)
    with Image.open(tmp_path / "maps" / "image.png") as predicted:
        np.testing.assert_array_equal(ranking[..., 0], np.asarray(predicted))
    seen = load("parts/feature_levels").view(model, image)
    facts = [fact for level in page["levels"] for fact in level["maps"]]
    levels = [level for level in seen.levels[:-1] for _ in range(min(5, level.maps.shape[2]))]
    for stored, fact, level in zip(maps, facts, levels, strict=True):
        values = level.maps[..., fact["channel"] - 1]
        low, high = values.min(), values.max()
        np.testing.assert_allclose(stored, 255 * (values - low) / max(high - low, 1e-9), atol=0.51)
        assert abs(stored.std() - fact["deviation"]) < 1e-6


def test_the_page_needs_nothing_from_elsewhere_and_no_name_breaks_it(tmp_path, capsys):
    demo = load("explore")
    model = small_model()
    model.class_names = ['</script><b title="x">', "<!--<script>", "öl & wasser"]
    seen = load("parts/feature_levels").view(model, random_image(20, 20))
    given = load("parts/model_and_image").Given(model, "", seen.image, "<title>", None)
    page = demo.contents(seen, given, 3, "&amp;", 4)
    text = demo.fill(demo.TEMPLATE.read_text(encoding="utf-8"), page)
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    assert [
        one["name"] for one in numbers_in(tmp_path / "page.html")[0]["classes"]
    ] == model.class_names
    assert text.count("</script>") == 2 and demo.EMPTY not in text
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|src=", text)
    assert '<html lang="en">' in text and "<title>" in text


def test_the_empty_page_is_never_overwritten(monkeypatch, capsys):
    demo = load("explore")
    monkeypatch.chdir(demo.TEMPLATE.parent)
    before = demo.TEMPLATE.read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        demo.main(["--device", "cpu", "--out", "explore.html"])
    assert stopped.value.code == 2 and "choose another --out" in capsys.readouterr().err
    assert demo.TEMPLATE.read_text(encoding="utf-8") == before and before.count(demo.EMPTY) == 1


def test_a_map_without_contrast_is_dark():
    assert not load("explore").as_bytes(np.full((3, 4), 7.0, np.float32)).any()


@pytest.mark.parametrize("demo", ["feature_maps", "explore"])
def test_what_cannot_be_looked_at_is_refused_in_one_line(demo, tmp_path, capsys):
    if demo == "feature_maps":
        pytest.importorskip("scipy", reason="needs the extra 'demos'")
    model, image = save_inputs(tmp_path, random_image(40, 40, 1))
    Image.fromarray(random_image(40, 40)).save(tmp_path / "color.png")
    for arguments, complaint in (
        (["nowhere.npz"], "no such model file"),
        ([model], "takes images of 1 channel"),
        ([model, tmp_path / "nowhere.png"], "nowhere.png"),
        ([model, tmp_path / "color.png"], "takes images of 1 channel"),
        (["--steps", 0], "--steps"),
        (["--maps", 0], "--maps"),
        (["--size", 8], "--size"),
        *([(["--mask", image], "--mask goes with")] if demo == "explore" else []),
    ):
        with pytest.raises(SystemExit) as stopped:
            load(demo).main([*map(str, arguments), "--device", "cpu", "--out", str(tmp_path / "x")])
        assert stopped.value.code == 2
        assert complaint in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "x").exists()


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
def test_a_browser_shows_the_pixel_that_the_address_names(tmp_path, capsys):
    image = random_image(45, 53)
    paths = save_inputs(tmp_path, image)
    run("explore", capsys, *paths, "--out", tmp_path / "page.html")
    model = small_model()
    probabilities = predict_probabilities(model.network, model.standardization.transform(image))
    for row, column in ((10, 20), (44, 0)):
        shown = dump(tmp_path, f"#row={row}&column={column}")
        expected = [f"{100 * one:.2f} %" for one in probabilities[row, column]]
        bars = re.findall(r'<span class="name">([^<]*)<.*?<span class="number">([^<]*)<', shown)
        assert [name for name, _ in bars] == model.class_names
        for (_, said), right in zip(bars, expected, strict=True):
            assert abs(float(said.split()[0]) - float(right.split()[0])) < 0.011
        best = int(probabilities[row, column].argmax())
        assert re.search(rf'id="answer">.*class {best}, ', shown)
        assert shown.count('class="level ') == 5 and shown.count('<div class="maps">') == 5


def open_page(browser, tmp_path, capsys, *, with_mask=True):
    """Make a page with a browser on it; gives the image, the truth and the class of each pixel."""
    image = random_image(45, 53)
    truth = np.random.default_rng(1).integers(0, 3, image.shape[:2], dtype=np.uint8)
    truth[0] = 255
    paths = save_inputs(tmp_path, image)
    Image.fromarray(truth).save(tmp_path / "mask.png")
    given = [*paths, "--mask", tmp_path / "mask.png"] if with_mask else paths
    run("explore", capsys, *given, "--out", tmp_path / "page.html")
    browser.get((tmp_path / "page.html").as_uri())
    wait_for(browser, "document.querySelector('main').hidden === false")
    return image, truth, predict_classes(small_model(), image)


def field(browser):
    return browser.find_element("id", "field").text


def chosen(browser):
    return [int(browser.find_element("id", name).get_property("value")) for name in LINE_NAMES]


def first_map(browser, level):
    return browser.find_elements("css selector", ".level")[level].find_element("class name", "map")


def hover(browser, element):
    from selenium.webdriver import ActionChains

    ActionChains(browser).move_to_element(element).perform()


def press(browser, key):
    from selenium.webdriver import ActionChains, Keys

    ActionChains(browser).send_keys(getattr(Keys, key)).perform()


def test_pointing_at_a_map_frames_what_its_pixel_sees(browser, tmp_path, capsys):
    open_page(browser, tmp_path, capsys)
    assert "pixel of the prediction" in field(browser)
    for level, said in enumerate(("encoder 1: 5 × 5", "encoder 2: 14 × 14")):
        hover(browser, first_map(browser, level))
        wait_for(browser, f"document.getElementById('field').textContent.includes('{said}')")
        assert abs(np.subtract(chosen(browser), (22, 26))).max() <= 1  # the middle
    browser.find_element("id", "image").click()  # which holds the pixel
    held = chosen(browser)
    browser.execute_script("document.getElementById('row').value = 3")
    browser.find_element("id", "row").send_keys("1")
    hover(browser, first_map(browser, 0))
    wait_for(browser, "document.getElementById('field').textContent.includes('encoder 1')")
    assert chosen(browser) == [31, held[1]]


def test_a_click_or_a_key_enlarges_a_map(browser, tmp_path, capsys):
    open_page(browser, tmp_path, capsys)
    is_open = "document.getElementById('large').open"
    first_map(browser, 0).click()
    assert browser.execute_script(f"return {is_open}")
    assert "of encoder 1" in browser.find_element("id", "title-large").text
    wait_for(browser, "document.getElementById('value').textContent.includes('5 × 5')")
    large = browser.find_element("css selector", "#map canvas")
    assert large.rect["width"] > 4 * first_map(browser, 0).rect["width"]
    press(browser, "ESCAPE")
    wait_for(browser, f"!{is_open}")
    browser.execute_script("arguments[0].focus()", first_map(browser, 2))
    wait_for(browser, "document.getElementById('field').textContent.includes('the bottleneck')")
    press(browser, "ENTER")
    wait_for(browser, is_open)
    set_screen(browser, 400, 800, touch=True)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
    browser.find_element("css selector", "dialog button").click()
    wait_for(browser, f"!{is_open}")


def test_truth_and_errors_are_layers_of_the_image(browser, tmp_path, capsys):
    _, truth, answers = open_page(browser, tmp_path, capsys)
    _, (_, ranking, _, stored, *_) = numbers_in(tmp_path / "page.html")
    np.testing.assert_array_equal(stored, np.where(truth == 255, 65535, truth.astype(int)))
    browser.find_element("css selector", "[value=errors]").click()
    wrong = (truth != answers) & (truth != 255)
    share = 100 * wrong.sum() / (truth != 255).sum()
    wait_for(browser, "!document.getElementById('share').hidden")
    assert f" {share:.1f} %" in browser.find_element("id", "share").text
    pixels = browser.execute_script(
        "return ['errors', 'truths'].map((layer) =>"
        "Array.from(page[layer].getContext('2d').getImageData(0, 0, 53, 45).data))"
    )
    errors, truths = np.reshape(pixels, (2, 45, 53, 4))[..., :3]
    np.testing.assert_array_equal((errors == [255, 0, 200]).all(axis=-1), wrong)
    expected = np.where((truth == 255)[..., None], IGNORED, PALETTE[truth % 3])
    np.testing.assert_array_equal(truths, expected)


def test_without_a_truth_there_are_no_layers_of_it(browser, tmp_path, capsys):
    open_page(browser, tmp_path, capsys, with_mask=False)
    shown = browser.find_element("id", "layers").text
    assert "prediction" in shown and "truth" not in shown and "errors" not in shown


def test_the_book_has_a_page_ready_made(browser, book):
    browser.get((book / "_static" / "explore.html").as_uri())
    wait_for(browser, "document.querySelector('main').hidden === false")
    assert browser.find_element("css selector", "[value=errors]").is_displayed()
    assert (book / "_static" / "explore.html").stat().st_size < 2e6
    page, _ = numbers_in(book / "_static" / "explore.html")
    colors = ["#{:02x}{:02x}{:02x}".format(*color) for color in CLASS_COLORS]
    assert [one["color"] for one in page["classes"]] == colors
    for name in ("wiring", "index"):
        assert "_static/explore.html" in (book / f"{name}.html").read_text(encoding="utf-8")


def dump(folder, address):
    """Open the page in a browser without a window; returns the page as it is after a moment."""
    # Without a sandbox, which does not start in many containers: the page is our own.
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    options += " --disable-background-networking --disable-component-update --disable-sync"
    command = [BROWSER, *options.split(), f"--user-data-dir={folder / 'profile'}"]
    command += [
        "--virtual-time-budget=5000",
        "--dump-dom",
        f"{(folder / 'page.html').as_uri()}{address}",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_page_starts_where_the_network_doubts_most():
    shares = np.full((16, 24, 2), (60000, 5535), np.uint16)
    shares[9, 13] = 33000, 32535
    shares[0, 0] = 32768, 32767  # at the edge, where the network sees less
    assert load("explore").most_doubtful(shares) == [9, 13]


def test_the_page_names_the_model_and_not_the_makers_folders(tmp_path, capsys):
    paths = save_inputs(tmp_path, random_image(45, 53))
    said = run("explore", capsys, *paths, "--out", tmp_path / "page.html")
    assert said[0].startswith("Model: model.npz. Image: image.png")
    assert str(tmp_path) not in (tmp_path / "page.html").read_text(encoding="utf-8")
