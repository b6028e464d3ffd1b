"""The built site in a real browser, without a network."""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from playwright.sync_api import sync_playwright

from tests.conftest import ROOT

SITE = ROOT / "book" / "_build" / "html"
PAGES = sorted(
    path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts
)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]
pages = pytest.mark.parametrize("name", PAGES)


def missing(reason):
    """Skip for want of something; where all must be there, fail."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    if not PAGES:
        missing("the site is not built: run `make book` first")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        missing("no Chromium found: install Debian's package chromium, or another build of it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """A page that lists what it wanted from other hosts, and its errors."""
    page = browser.new_page()
    page.elsewhere, page.problems = [], []

    def only_here(route):
        if route.request.url.startswith((address, "data:", "blob:")):
            route.continue_()
        else:
            page.elsewhere.append(route.request.url)
            route.abort()

    page.route("**/*", only_here)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: message.type == "error" and page.problems.append(message.text))
    yield page
    page.close()


def test_the_site_has_its_pages():
    if not PAGES:
        missing("the site is not built: run `make book` first")
    assert {"index.html", "book/intro.html", "book/api.html", "book/notebooks/table4_ablation.html"} <= set(
        PAGES
    )


@pages
def test_a_page_opens_without_error_and_without_other_hosts(page, address, name):
    page.goto(address + name, wait_until="networkidle")
    assert page.elsewhere == []
    assert page.problems == []
    assert page.title()


@pages
def test_links_lead_somewhere(page, address, name):
    page.goto(address + name, wait_until="networkidle")
    for link in page.eval_on_selector_all("a[href], img[src]", "all => all.map(e => e.href || e.src)"):
        target = urlsplit(urljoin(address + name, link))
        if target.scheme.startswith("http") and link.startswith(address):
            assert (SITE / unquote(target.path).lstrip("/")).exists(), link


@pytest.mark.parametrize("name", ["book/intro.html", "book/notebooks/table4_ablation.html"])
def test_mathematics_is_rendered(page, address, name):
    page.goto(address + name, wait_until="networkidle")
    page.wait_for_selector("mjx-container")
    rendered = page.locator("mjx-container").count()
    assert rendered == page.locator(".math").count() > 2
    assert page.locator("mjx-merror").count() == 0
    assert "$$" not in page.inner_text("article")
    assert "\\mathcal" not in page.inner_text("article")


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("departures", 24 + 21),  # departures; variants
        ("table1_module_swap", 4),
        ("table2_attention_statistics", 4),
        ("table3_thumos14", 19 + 3),  # methods; model choices
        ("table4_ablation", 4),
        ("table5_activitynet12", 9 + 3),
        ("table6_latent_dimension", 8),  # values tried or published
        ("table7_beta", 6),
    ],
)
def test_a_result_page_shows_its_table_and_chart(page, address, name, rows):
    page.goto(f"{address}book/notebooks/{name}.html", wait_until="networkidle")
    text = page.inner_text("article")
    assert "Every number of this run is " in text
    for words in ("last", "label_only", "test_oracle", "published"):
        assert words in text
    assert page.locator("table.dataframe tbody tr").count() == rows
    chart = page.locator("article img").first
    assert chart.evaluate("image => image.complete && image.naturalWidth") > 500


def test_the_introduction_quotes_the_run(page, address):
    page.goto(address + "book/intro.html")
    table = (ROOT / "book" / "notebooks" / "table4_ablation.ipynb").read_text()
    text = page.inner_text("#a-first-result")
    assert "'" not in text.split("(")[1].split(")")[0]
    assert any(f"({words})" in text for words in ("simulated", "measured on real features"))
    value = text.split(" to ")[1].split(" %")[0].strip()
    assert f"{value} ± " in table
