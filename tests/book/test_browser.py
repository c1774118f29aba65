"""The built pages in a browser: drawn, readable and without the network.

One Chromium for the module; skipped with the reason where there is none, unless BOOK_BROWSER is
"required". `pytest -n` keeps a module in one process (--dist loadscope).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from built import documents, parse
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [pytest.mark.html, pytest.mark.browser]

DESKTOP, PHONE = (1360, 900), (390, 844)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CONTRAST = 4.5  # WCAG 2.2, level AA, for text of normal size

AXE = Path(__file__).parent / "vendor" / "axe" / "axe.min.js"
STILL = "*, *::before, *::after { transition: none !important; animation: none !important }"

# Which page a reader means who types this: it comes before those that only mention the words.
SEARCHES = {
    "false positive": "book/ch05_collapse_warning/index",
    "tCPA": "book/ch01_autobidding/theory",
    "VCG": "book/ch01_autobidding/theory",
    "price of anarchy": "book/ch01_autobidding/ceilings",
    "CUSUM": "book/ch05_collapse_warning/theory",
    "contract": "book/ch05_collapse_warning/theory",
    "label leak": "book/ch05_collapse_warning/beyond",
    "verdict": "book/method",
    "license": "book/running",
    "what did you find": "book/found",
}

SCREENS = 12
"""Windows of 1360 x 900 that a notebook may fill, its code folded."""

LONG: dict[str, float] = {
    "notebooks/ch01_autobidding/04_real_data": 13.8,
    "notebooks/ch05_collapse_warning/02_markets": 12.8,
    "notebooks/ch05_collapse_warning/04_audit": 15,
}
"""Notebooks that are longer, with their ceilings: to become shorter, or fewer."""

WEIGHT = 2000
"""Kilobytes, uncompressed, that a page may fetch."""

HEAVY: dict[str, int] = {
    "book/ledger": 2500,  # every row of the book, and again for programs
    "book/reference/compute_governance": 2300,
    "notebooks/ch01_autobidding/03_equilibria": 2900,
    "notebooks/ch01_autobidding/04_real_data": 2150,
    "notebooks/ch02_semantic_ids/03_experiment": 2100,
    "notebooks/ch05_collapse_warning/02_markets": 2200,
    "notebooks/ch05_collapse_warning/04_audit": 3000,
    "notebooks/ch07_robot_provenance/01_campaign": 2050,
    "notebooks/ch10_compute_governance/01_planner": 2150,
    "notebooks/ch10_compute_governance/03_countermeasures": 3050,
    "notebooks/ch10_compute_governance/05_parts": 2100,
}
"""Pages that fetch more, with their ceilings: most have a chart that can be moved, by Vega."""

# Every piece of text in an element that shows: its contrast with the first opaque ground below it.
LOW_CONTRAST = r"""
const [root, least, done] = arguments;
const rgba = (text) => {
  const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
  return {r, g, b, a};
};
const over = (top, below) => ({
  r: top.a * top.r + (1 - top.a) * below.r,
  g: top.a * top.g + (1 - top.a) * below.g,
  b: top.a * top.b + (1 - top.a) * below.b,
  a: 1,
});
const light = ({r, g, b}) => {
  const [x, y, z] = [r, g, b].map((v) => {
    v /= 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const ground = (element) => {
  const layers = [];
  for (let e = element; e; e = e.parentElement) {
    const colour = rgba(getComputedStyle(e).backgroundColor);
    if (colour.a > 0) layers.push(colour);
    if (colour.a === 1) break;
  }
  return layers.reverse().reduce((below, top) => over(top, below), {r: 255, g: 255, b: 255, a: 1});
};
const found = {};
let checked = 0;
for (const element of document.querySelectorAll(root + ", " + root + " *")) {
  if (element.closest("svg, mjx-container, script, style, .vega-chart, noscript")) continue;
  const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!own || !element.getClientRects().length) continue;
  const style = getComputedStyle(element);
  if (style.visibility !== "visible" || Number(style.opacity) === 0) continue;
  checked += 1;
  const below = ground(element);
  const [a, b] = [light(over(rgba(style.color), below)), light(below)];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < least) {
    const name = element.tagName.toLowerCase() + "." + element.className;
    found[name] ??= ratio.toFixed(2) + " " + element.textContent.trim().slice(0, 40);
  }
}
return {checked, found};
"""

SETTLE = r"""
const done = arguments[arguments.length - 1];
const maths = window.MathJax?.startup?.promise ?? Promise.resolve();
const drawn = () => [...document.querySelectorAll(".vega-chart")].every((c) =>
  c.querySelector("svg, canvas, .vega-failed"));
const start = Date.now();
const wait = () => (drawn() || Date.now() - start > 10000) ? done(true) : setTimeout(wait, 50);
Promise.all([maths, document.fonts.ready]).then(wait, (error) => done(String(error)));
"""


class Quiet(SimpleHTTPRequestHandler):
    """A file server that prints nothing."""

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def site(html: Path) -> Iterator[str]:
    """Serve the book on a free port of this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(html))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Browser:
    """A Chromium that notes what its pages asked for and complained about."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def look(self, size: tuple[int, int], theme: str) -> None:
        """Take on a window size and the reader's preference for light or dark."""
        width, height = size
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE},
        )
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": theme}]},
        )

    def open(self, address: str) -> None:
        """Open a page and wait until mathematics, fonts and charts are there."""
        self.complaints(), self.requests()
        self.driver.get(address)
        assert self.driver.execute_async_script(SETTLE) is True

    def js(self, code: str, *arguments: Any) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(code, *arguments)

    def complaints(self) -> list[str]:
        """Return the errors on the console since the last call."""
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] == "SEVERE"]

    def requests(self) -> list[str]:
        """Return the addresses asked for since the last call."""
        events = (json.loads(e["message"])["message"] for e in self.driver.get_log("performance"))
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]


@pytest.fixture(scope="module")
def browser(html: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start Chromium with a profile of its own."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, names)), None)
    chromedriver = shutil.which("chromedriver")
    refuse = pytest.fail if os.environ.get("BOOK_BROWSER") == "required" else pytest.skip
    if not program or not chromedriver:
        refuse(f"no browser: found chromium {program}, chromedriver {chromedriver}")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    try:
        driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    except WebDriverException as error:
        refuse(f"the browser does not start: {error.msg}")
    driver.set_page_load_timeout(60)
    driver.set_script_timeout(60)
    yield Browser(driver)
    driver.quit()


def foreign(addresses: list[str], site: str) -> list[str]:
    """Return the addresses that lead off this machine."""
    here = urlsplit(site).netloc
    return [
        a
        for a in addresses
        # chrome: the browser's own start page, which may still be loading.
        if urlsplit(a).scheme not in ("data", "blob", "about", "file", "chrome")
        and urlsplit(a).netloc != here
    ]


def check_names_and_roles(browser: Browser) -> None:
    """No serious or critical violation in axe-core; contrast has a check of its own, above."""
    # Of a table of hundreds of like rows the first are enough.
    browser.js(
        "for (const row of document.querySelectorAll('table.ledger-table > tbody > tr')) "
        "if (row.rowIndex > 40) row.hidden = true"
    )
    browser.js(AXE.read_text(encoding="utf-8"))
    found = violations(browser, contrast=False)
    # Sphinx makes the reference of Python as lists whose terms stand in the wrong place.
    if "/book/reference/" in browser.driver.current_url:
        found = [one for one in found if not one.startswith("definition-list x")]
    assert found == []


def violations(browser: Browser, *, contrast: bool) -> list[str]:
    """Return rule, element and number of each serious or critical violation."""
    found = browser.driver.execute_async_script(
        "const [contrast, done] = arguments;"
        "axe.run(document, {resultTypes: ['violations'],"
        " rules: {'color-contrast': {enabled: contrast}}})"
        ".then((r) => done(r.violations), (error) => done(String(error)))",
        contrast,
    )
    return [
        f"{one['id']} x {len(one['nodes'])}: {one['nodes'][0]['html'][:120]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def weight(requests: list[str], html: Path) -> float:
    """Return how many kilobytes the files that a page asked for have together."""
    paths = {urlsplit(one).path.lstrip("/") for one in requests if one.startswith("http")}
    return sum((html / path).stat().st_size for path in paths if (html / path).is_file()) / 1000


def check_contrast(browser: Browser) -> None:
    result = browser.js(LOW_CONTRAST, "article.bd-article", CONTRAST)
    assert result["checked"] > 5
    assert result["found"] == {}


@pytest.mark.parametrize("doc", documents())
def test_desktop_in_light(doc: str, browser: Browser, site: str, html: Path) -> None:
    browser.look(DESKTOP, "light")
    browser.open(f"{site}/{doc}.html")
    assert browser.complaints() == []
    requests = browser.requests()
    assert len(requests) > 5
    assert foreign(requests, site) == []
    assert weight(requests, html) <= HEAVY.get(doc, WEIGHT)
    if doc.startswith("notebooks/"):
        screens = browser.js("return document.documentElement.scrollHeight / innerHeight")
        assert screens <= LONG.get(doc, SCREENS)
    formulas, wrong, raw = browser.js(
        "return ['mjx-container', 'mjx-merror, mjx-container [data-mjx-error]', '.math']"
        ".map((s) => document.querySelectorAll('article ' + s).length)"
    )
    assert wrong == 0
    assert formulas >= raw
    assert any("mathjax" in one for one in requests) == (formulas > 0)
    charts = browser.js(
        "return [...document.querySelectorAll('.vega-chart')].map((c) => {"
        " const r = c.querySelector('svg, canvas')?.getBoundingClientRect();"
        " return r ? Math.min(r.width, r.height) : 0 })"
    )
    assert all(size > 50 for size in charts)
    assert browser.js("return document.documentElement.dataset.theme") == "light"
    check_contrast(browser)
    check_names_and_roles(browser)


@pytest.mark.parametrize("doc", documents())
def test_phone_in_dark(doc: str, browser: Browser, site: str) -> None:
    browser.look(PHONE, "dark")
    browser.open(f"{site}/{doc}.html")
    assert browser.complaints() == []
    width, shown = browser.js("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= shown <= PHONE[0]
    assert browser.js("return document.documentElement.dataset.theme") == "dark"
    check_contrast(browser)
    check_names_and_roles(browser)


def test_the_contrast_check_sees_what_is_pale(browser: Browser, site: str) -> None:
    browser.look(DESKTOP, "light")
    browser.open(f"{site}/book/method.html")
    browser.js("document.querySelector('article.bd-article p').style.color = '#999'")
    assert list(browser.js(LOW_CONTRAST, "article.bd-article", CONTRAST)["found"]) == ["p."]


def test_the_check_of_names_sees_what_has_none(browser: Browser, site: str) -> None:
    browser.look(DESKTOP, "light")
    browser.open(f"{site}/book/method.html")
    browser.js("document.querySelector('article').append(document.createElement('button'))")
    browser.js("document.querySelector('article p').style.color = '#999'")
    browser.js(AXE.read_text(encoding="utf-8"))
    found = {one.split(" x ")[0] for one in violations(browser, contrast=True)}
    assert found == {"button-name", "color-contrast"}


@pytest.mark.parametrize("doc", ["book/intro", "book/ch01_autobidding/index"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_frame_of_a_page_has_contrast(
    doc: str, theme: str, browser: Browser, site: str
) -> None:
    browser.look(DESKTOP, theme)
    browser.open(f"{site}/{doc}.html")
    # Colours fade when a page takes on its theme; half-way they are nobody's.
    browser.js(f"document.head.insertAdjacentHTML('beforeend', '<style>{STILL}</style>')")
    browser.js(AXE.read_text(encoding="utf-8"))
    assert violations(browser, contrast=True) == []


def test_few_stops_before_the_text(browser: Browser, site: str) -> None:
    browser.look(DESKTOP, "light")
    stops = {}
    for doc in ("book/intro", "book/ch05_collapse_warning/theory"):
        browser.open(f"{site}/{doc}.html")
        stops[doc] = browser.js(
            "const all = [...document.querySelectorAll('a[href], button, input, summary')].filter("
            "(e) => e.getClientRects().length && getComputedStyle(e).visibility === 'visible');"
            "return all.findIndex((e) => e.closest('article'))"
        )
    assert 5 < stops["book/intro"] <= 40
    assert 5 < stops["book/ch05_collapse_warning/theory"] <= 50


def chapters() -> list[str]:
    """Return the page of each written chapter that holds its rows."""
    return [doc for doc in documents() if re.fullmatch(r"book/ch\d\d_\w+/claims", doc)]


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("doc", chapters())
def test_the_verdicts_are_seen(
    doc: str, size: tuple[int, int], browser: Browser, site: str
) -> None:
    browser.look(size, "light")
    browser.open(f"{site}/{doc}.html")
    badges = browser.js(
        "return [...document.querySelectorAll('table.ledger-chapter > tbody > tr')].map((row) => {"
        " const badge = row.querySelector(':scope > td:last-child .verdict-badge');"
        " const b = badge.getBoundingClientRect();"
        " return b.width > 20 && b.height > 10 && b.left >= 0 && b.right <= window.innerWidth })"
    )
    assert badges
    assert all(badges)


def test_the_ledger_can_be_filtered(browser: Browser, site: str) -> None:
    browser.look(DESKTOP, "light")
    browser.open(f"{site}/book/ledger.html")
    count = (
        "return [...document.querySelectorAll('table.ledger-all > tbody > tr')]"
        ".filter((row) => row.getClientRects().length).length"
    )
    everything = browser.js(count)
    browser.js(
        "const s = [...document.querySelectorAll('.ledger-filters select')]"
        ".find((s) => [...s.options].some((o) => o.value === 'by-ours'));"
        "s.value = 'by-ours'; s.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    ours = browser.js(
        "return document.querySelectorAll('table.ledger-all tbody tr.by-ours').length"
    )
    assert 0 < ours < everything
    assert browser.js(count) == ours


def theorem_word(html: Path) -> tuple[str, str]:
    """Return a theory page and the longest word in the name of one of its statements."""
    for doc in documents():
        for title in parse(html / f"{doc}.html").select("div.proof .admonition-title"):
            words = re.findall(r"[a-z]{7,}", title.text.partition("(")[2].lower())
            if words:
                return doc, max(words, key=len)
    pytest.fail("no page has a named statement", pytrace=False)


def test_search_finds_a_theorem(browser: Browser, site: str, html: Path) -> None:
    doc, word = theorem_word(html)
    browser.look(DESKTOP, "light")
    browser.open(f"{site}/search.html?q={word}")
    find = "return [...document.querySelectorAll('#search-results li a')].map((a) => a.href)"
    WebDriverWait(browser.driver, 20).until(
        lambda _: any(f"/{doc}.html" in link for link in browser.js(find))
    )
    assert browser.complaints() == []


@pytest.mark.parametrize(("words", "doc"), SEARCHES.items())
def test_search_puts_the_page_on_a_thing_first(
    words: str, doc: str, browser: Browser, site: str
) -> None:
    browser.look(DESKTOP, "light")
    browser.open(f"{site}/search.html?q={words}")
    find = "return [...document.querySelectorAll('#search-results li a')].map((a) => a.href)"
    WebDriverWait(browser.driver, 20).until(lambda _: browser.js(find))
    assert urlsplit(browser.js(find)[0]).path == f"/{doc}.html"


def test_a_printed_page_is_a_paper(browser: Browser, site: str) -> None:
    browser.look(DESKTOP, "dark")
    browser.open(f"{site}/book/ch01_autobidding/index.html")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = browser.js(
        "window.dispatchEvent(new Event('beforeprint'));"
        "const seen = (s) => [...document.querySelectorAll(s)]"
        ".some((e) => e.getClientRects().length);"
        "const frame = '.bd-sidebar-primary, .bd-header-article, .prev-next-footer, #jb-print-toc';"
        "return [document.documentElement.dataset.theme, seen('article h1'),"
        " seen('.finding-figure'), seen(frame)]"
    )
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert shown == ["light", True, True, False]


def test_the_theme_button_switches(browser: Browser, site: str) -> None:
    browser.look(DESKTOP, "light")
    browser.open(f"{site}/book/method.html")
    seen = set()
    for _ in range(3):
        browser.js("document.querySelector('.article-header-buttons .theme-switch-button').click()")
        seen.add(browser.js("return document.documentElement.dataset.theme"))
    browser.js("localStorage.clear()")
    assert seen == {"light", "dark"}


def test_a_page_opens_from_disk(browser: Browser, html: Path, site: str) -> None:
    doc = next(d for d in documents() if parse(html / f"{d}.html").select("article .math"))
    browser.look(DESKTOP, "light")
    browser.open((html / f"{doc}.html").as_uri())
    assert browser.complaints() == []
    assert foreign(browser.requests(), site) == []
    assert browser.js("return document.querySelectorAll('article mjx-container').length") > 0
    faces = browser.js(
        "return [...document.fonts].filter((f) => f.status === 'loaded').map((f) => f.family)"
    )
    assert any("Source Serif" in face for face in faces)
    assert any("MJX" in face for face in faces)


def test_the_network_check_sees_a_request(browser: Browser, site: str) -> None:
    browser.open(f"{site}/book/method.html")
    browser.requests()
    browser.js("new Image().src = 'https://example.invalid/a.png'")
    time.sleep(0.5)
    assert foreign(browser.requests(), site) == ["https://example.invalid/a.png"]
