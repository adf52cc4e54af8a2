"""A browser without a window, to see what a reader sees; and a page with one piece on it.

What a test asks for as `browser` is shared by all tests and watched: a script error, or a request
to the network, makes the test fail that caused it.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
INTERACTIVE = DOCS / "interactive"
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
LOCAL = re.compile(r"(file|blob|data|about|chrome)[:-]|http://(localhost|127\.0\.0\.1)[:/]")


def start_browser():
    """Start Chromium with the driver that came with it."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (extra 'test')")
    driver = shutil.which("chromedriver")
    if BROWSER is None or driver is None:
        pytest.skip("left out: needs Chromium or Chrome and its chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    # Without a sandbox, which does not start in many containers: the pages are our own.
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"):
        options.add_argument(f"--{argument}")
    options.add_argument("--disable-background-networking")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    return webdriver.Chrome(options=options, service=service)


@pytest.fixture(scope="session")
def shared_browser():
    """One browser for all tests."""
    driver = start_browser()
    yield driver
    driver.quit()


@pytest.fixture
def browser(shared_browser):
    """Lend the browser, and look afterwards what it complained of and whom it called."""
    set_screen(shared_browser)
    empty_logs(shared_browser)
    yield shared_browser
    errors, requests = empty_logs(shared_browser)
    assert not errors
    assert not [url for url in requests if not LOCAL.match(url)]


@pytest.fixture(scope="session")
def book(tmp_path_factory):
    """Build the book once for all tests."""
    for package in ("sphinx", "myst_parser", "furo", "sphinx-mathjax-offline"):
        pytest.importorskip(package, reason="needs the extra 'docs'")
    folder = tmp_path_factory.mktemp("book")
    build = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-d", str(folder / "doctrees")]
    subprocess.run([*build, str(DOCS), str(folder / "html")], check=True)
    return folder / "html"


def empty_logs(driver):
    """Take the script errors and the addresses of all requests since the last call."""
    errors = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [one for one in messages if one["method"] == "Network.requestWillBeSent"]
    return errors, [one["params"]["request"]["url"] for one in sent]


def set_screen(driver, width=1280, height=900, *, touch=False, scheme="light"):
    """Give the browser a screen of another size, and light or dark colors."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": touch})
    wanted = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})


def piece_page(folder, name, **data):
    """Write a page with nothing on it but one piece; gives its address."""
    attributes = "".join(f' data-{key}="{value}"' for key, value in data.items())
    page = Path(folder) / f"{name}.html"
    page.write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8">
        <meta name="viewport" content="width=device-width"><title>{name}</title>
        <link rel="stylesheet" href="{(INTERACTIVE / "pieces.css").as_uri()}">
        <script src="{(INTERACTIVE / "pieces.js").as_uri()}"></script>
        <div class="piece" data-piece="{name}"{attributes}></div>""",
        encoding="utf-8",
    )
    return page.as_uri()


def wait_for(driver, script, *arguments, seconds=20):
    """Wait until a JavaScript expression is true; gives its value."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, seconds, poll_frequency=0.1).until(
        lambda _: driver.execute_script(f"return {script}", *arguments), f"waited for {script}"
    )
