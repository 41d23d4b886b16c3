"""The report in a real browser: every picture draws, nothing is fetched, all of it can be read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from privfed.report import write_report
from privfed.report.training import write_training
from privfed.report.vertical import write_vertical
from tests.report.samples import sample
from tests.report.training_samples import SHAPES as TRAININGS
from tests.report.vertical_samples import SHAPES as VERTICALS

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

# Every picture's size, and how many of its shapes have an extent.
PICTURES = """
return [...document.querySelectorAll("svg.picture")].map(svg => {
  const box = svg.getBoundingClientRect();
  const shapes = [...svg.querySelectorAll("path, use")].filter(shape => {
    if (shape.closest("defs, clipPath")) return false;
    const style = getComputedStyle(shape);
    const { width, height } = shape.getBoundingClientRect();
    return width + height > 0 && (style.stroke !== "none" || style.fill !== "none");
  });
  const texts = [...svg.querySelectorAll("text")].filter(t => t.getBoundingClientRect().width > 0);
  return { id: svg.id, width: box.width, height: box.height,
           shapes: shapes.length, texts: texts.length };
});
"""

# Every visible piece of text whose contrast with what lies under it is below 4.5, after WCAG 2.2.
UNREADABLE = """
const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const parse = text => text.match(/[\\d.]+/g).map(Number);
const luminance = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
const ground = element => {
  for (; element; element = element.parentElement) {
    const colour = parse(getComputedStyle(element).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let read = 0;
for (let node; (node = walker.nextNode());) {
  const element = node.parentElement;
  if (!node.data.trim() || !element.checkVisibility({ checkVisibilityCSS: true })) continue;
  if (element.closest("script, style, title, desc")) continue;
  const style = getComputedStyle(element);
  const text = luminance(parse(element.closest("svg") ? style.fill : style.color));
  const under = luminance(ground(element));
  const contrast = (Math.max(text, under) + .05) / (Math.min(text, under) + .05);
  read += 1;
  if (contrast < 4.5) found.push([node.data.trim(), contrast]);
}
return { read, found };
"""

SHAPES = {
    "full": sample(rounds=500, seeds=5),
    "one seed, surrogate": sample(
        rounds=60, seeds=1, splits=("overlapping",), is_surrogate=True, epsilons=(3.0,)
    ),
    "digits": sample(
        rounds=60, seeds=2, dataset="digits", splits=("disjoint",),
        arms=("guest", "host", "party-3", "overall", "federated", "federated-he"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        message = "needs chromium and chromedriver: apt-get install chromium chromium-driver"
        if os.environ.get("PRIVFED_REQUIRE_CHROMIUM") == "1":
            pytest.fail(message)
        pytest.skip(message)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module", params=SHAPES)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    directory: Path = tmp_path_factory.mktemp("report")
    return write_report(SHAPES[request.param], directory).as_uri()


@pytest.fixture(scope="module", params=TRAININGS)
def training(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    directory: Path = tmp_path_factory.mktemp("training")
    return write_training(TRAININGS[request.param], directory).as_uri()


@pytest.fixture(scope="module", params=VERTICALS)
def vertical(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    directory: Path = tmp_path_factory.mktemp("vertical")
    return write_vertical(VERTICALS[request.param], directory).as_uri()


def show(browser: webdriver.Chrome, page: str, *, scheme: str, width: int) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page)
    browser.execute_script(
        "document.querySelectorAll('details').forEach(element => { element.open = true; })"
    )


def test_every_picture_draws_and_nothing_is_fetched(browser: webdriver.Chrome, page: str) -> None:
    assert len(drawn_alone(browser, page)) >= 7


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_a_trainings_page_draws_and_can_be_read(
    browser: webdriver.Chrome, training: str, scheme: str, width: int
) -> None:
    check_reading(browser, training, scheme, width)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_a_vertical_trainings_page_draws_and_can_be_read(
    browser: webdriver.Chrome, vertical: str, scheme: str, width: int
) -> None:
    check_reading(browser, vertical, scheme, width)


def check_reading(browser: webdriver.Chrome, page: str, scheme: str, width: int) -> None:
    drawn_alone(browser, page)
    show(browser, page, scheme=scheme, width=width)
    result = browser.execute_script(UNREADABLE)
    assert result["read"] > 60
    assert result["found"] == []
    whole, window = widths(browser)
    assert whole == window
    assert window > width - 20  # a desk's window has a bar to scroll with


def drawn_alone(browser: webdriver.Chrome, page: str) -> list[Any]:
    """The page's pictures, all of which draw; it fetches nothing and complains of nothing."""
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get_log("browser")
    show(browser, page, scheme="light", width=1280)
    pictures: list[Any] = browser.execute_script(PICTURES)
    for picture in pictures:
        assert picture["width"] > 300, picture
        assert picture["height"] > 50, picture
        assert picture["shapes"] >= 3, picture
        assert picture["texts"] >= 3, picture
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    addresses = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert page in addresses
    assert [a for a in addresses if a != page and not a.startswith("data:")] == []
    return pictures


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(browser: webdriver.Chrome, page: str, scheme: str) -> None:
    show(browser, page, scheme=scheme, width=1280)
    assert _ground(browser) == (scheme == "dark")
    result = browser.execute_script(UNREADABLE)
    assert result["read"] > 200
    assert result["found"] == []


def test_the_button_changes_the_theme_without_the_network(
    browser: webdriver.Chrome, page: str
) -> None:
    show(browser, page, scheme="light", width=1280)
    button = browser.find_element("id", "theme")
    for dark in (True, False):
        button.click()
        assert _ground(browser) == dark
        assert browser.execute_script(UNREADABLE)["found"] == []


def test_a_telephone_needs_no_sideways_scrolling(browser: webdriver.Chrome, page: str) -> None:
    show(browser, page, scheme="light", width=390)
    assert widths(browser) == [390, 390]
    pictures = browser.execute_script(PICTURES)
    assert all(200 < picture["width"] <= 390 for picture in pictures)


def widths(browser: webdriver.Chrome) -> list[int]:
    """Of the page and of the window."""
    root: list[int] = browser.execute_script(
        "const r = document.documentElement; return [r.scrollWidth, r.clientWidth];"
    )
    return root


def _ground(browser: webdriver.Chrome) -> bool:
    """Whether the page's ground is dark."""
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    channels = [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    return sum(channels) < 3 * 128
