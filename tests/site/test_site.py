"""The built site in a real browser, without a network."""

import re
import threading
from functools import cache, partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import axe_playwright_python
import pytest
import yaml

from dgam_core.experiments.claims import EQUAL, NOT_COMPARABLE, OPPOSITE, SEEN, UNDECIDED
from dgam_core.experiments.records import read_record, recipes
from tests.conftest import ROOT
from tests.site.conftest import PAGES, PHONE, SITE, WIDE, Handler, missing, watched

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
NOTEBOOKS = [page for page in PAGES if page.startswith("book/notebooks/")]
# Pages that show source are made alike; the longest stands for all of them.
SOURCES = sorted(
    (page for page in PAGES if page.startswith("_modules/")), key=lambda page: (SITE / page).stat().st_size
)
VARIED = [page for page in PAGES if page not in SOURCES[:-1]]


@pytest.fixture(scope="module", params=VARIED)
def opened(browser, address, request):
    """Each page of the site, opened once for all tests that look at all pages."""
    page = watched(browser, [address])
    page.goto(address + request.param, wait_until="networkidle")
    page.wait_for_load_state("networkidle")  # the first page leads on to the introduction
    # A colour half-way between light and dark has no contrast to speak of.
    page.add_style_tag(content="*, *::before, *::after { transition: none !important; }")
    yield page
    page.close()


def test_the_site_has_its_pages():
    if not PAGES:
        missing("the site is not built: run `make book` first")
    assert {"index.html", "404.html", "book/intro.html", "book/api/method.html"} <= set(PAGES)
    assert {Path(page).stem for page in NOTEBOOKS} == {path.stem for path in ROOT.glob("notebooks/*.ipynb")}


def test_a_page_opens_without_error_and_without_other_hosts(opened):
    assert opened.elsewhere == []
    assert opened.problems == []
    assert opened.title()


def test_a_page_says_what_it_is_about(opened):
    if "/book/" in opened.url:
        description = opened.get_attribute("meta[name=description]", "content")
        assert len(description) > 20
        assert "\\" not in description
    for image in opened.locator("article img").all():
        assert len(image.get_attribute("alt")) > 10


@cache
def anchors(path):
    """All places within a page that a link can lead to."""
    return set(re.findall(r'\b(?:id|name)="([^"]+)"', path.read_text(encoding="utf-8")))


def test_links_and_downloads_lead_somewhere(opened, address):
    links = "all => all.map(e => e.href || e.src)"
    for link in set(opened.eval_on_selector_all("a[href], img[src]", links)):
        if link.startswith(address) and not link.endswith("#"):
            place, fragment = urldefrag(link)
            target = SITE / unquote(urlsplit(place).path).lstrip("/")
            assert target.exists(), link
            if fragment and target.suffix == ".html":
                assert unquote(fragment) in anchors(target), link


def test_mathematics_is_rendered(opened):
    formulas = opened.locator(".math")
    if formulas.count():
        opened.wait_for_selector("mjx-container", state="attached")
        assert opened.locator("mjx-container").count() == formulas.count()
        assert opened.locator("mjx-merror").count() == 0
    if "equation_tests" not in opened.url and "/api" not in opened.url:  # which show source
        text = opened.locator("main").inner_text()
        assert "$$" not in text
        assert "\\mathcal" not in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_accessible(opened, scheme):
    opened.emulate_media(color_scheme=scheme)
    opened.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
    if not opened.evaluate("'axe' in window"):
        opened.evaluate(AXE.read_text(encoding="utf-8"))
    options = """{
        resultTypes: ['violations'], preload: false, rules: {'label-content-name-mismatch': {enabled: true}},
    }"""
    found = opened.evaluate(f"axe.run({options})")["violations"]
    violations = {rule["id"]: [node["target"] for node in rule["nodes"]][:5] for rule in found}
    assert violations == {}


def test_a_page_fits_a_phone(opened):
    opened.set_viewport_size(PHONE)
    assert opened.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    opened.set_viewport_size(WIDE)


CLIPPED = """() => {
    const overflow = box => getComputedStyle(box).overflowX;
    const wide = [...document.querySelectorAll('article mjx-container[display], article table')];
    return wide.flatMap(element => {
        const content = (element.querySelector('mjx-math') || element).getBoundingClientRect();
        let box = element.parentElement;
        while (box.tagName !== 'ARTICLE' && overflow(box) === 'visible') box = box.parentElement;
        const {left, right} = box.getBoundingClientRect();
        const scrolls = ['auto', 'scroll'].includes(overflow(box));
        const cut = content.left < left - 1 || (content.right > right + 1 && !scrolls);
        return cut ? [element.textContent.trim().slice(0, 40)] : [];
    });
}"""


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_equations_and_tables_begin_in_sight_and_scroll_to_their_end(opened, width):
    opened.set_viewport_size({"width": width, "height": 900})
    assert opened.evaluate(CLIPPED) == []
    opened.set_viewport_size(WIDE)


def test_equations_fit_a_page_and_paper(opened):
    """Beside the table of contents, and printed, where nothing scrolls."""
    wide = """() => [...document.querySelectorAll('article div.math')].filter(
        box => box.scrollWidth > box.clientWidth + 1).map(box => box.textContent.slice(0, 40))"""
    assert opened.evaluate(wide) == []
    opened.emulate_media(media="print")
    boxes = "all => all.map(box => getComputedStyle(box).overflowX)"
    assert set(opened.eval_on_selector_all("article div.math, article .text_html", boxes)) <= {"visible"}
    opened.emulate_media(media="screen")


def test_a_page_says_what_made_it(opened):
    if "/book/" in opened.url:
        footer = opened.locator(".bd-footer-content").inner_text()
        made = r"Version \d+\.\d+\.\d+(, commit \w+)?\. MIT licence\. Built on \d{4}-\d\d-\d\d\."
        assert re.search(made, footer)


def test_what_stands_around_a_page_leads_nowhere_else(opened, address):
    """Links to other hosts are those of the text, or to the repository that the configuration names."""
    links = "all => all.filter(a => !a.closest('article')).map(a => a.href)"
    named = (
        yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8")).get("repository", {}).get("url")
    )
    for link in opened.eval_on_selector_all("a[href]", links):
        assert link.startswith((address, "javascript:", *filter(None, [named]))), link


def test_no_table_of_settings_or_results_scrolls_on_a_wide_screen(opened):
    if "/notebooks/" in opened.url or "/settings" in opened.url:
        scrolls = """() => [...document.querySelectorAll('article :has(> table)')].filter(
            box => box.scrollWidth > box.clientWidth + 1).map(box => box.textContent.slice(0, 40))"""
        assert opened.evaluate(scrolls) == []


# Megabytes, where they are more than those of other pages: here is a data set to play with.
HEAVY = {"book/notebooks/figure1_confusion.html": 4.0}


@pytest.mark.parametrize("name", VARIED)
def test_a_page_is_light(page, name):
    """What a page loads without a server, before anybody touches it."""
    paths = []
    page.on("requestfinished", lambda request: paths.append(unquote(urlsplit(request.url).path)))
    page.goto((SITE / name).as_uri(), wait_until="networkidle")
    page.wait_for_load_state("networkidle")  # the first page leads on to the introduction
    are_set = (
        "document.querySelectorAll('.math').length === document.querySelectorAll('mjx-container').length"
    )
    page.wait_for_function(f"{are_set} && document.fonts.status === 'loaded'")
    assert len(paths) <= 25
    assert sum(Path(path).stat().st_size for path in paths) <= HEAVY.get(name, 2.0) * 1e6


def test_the_search_finds_a_phrase(page, address):
    for site in (address, SITE.as_uri() + "/"):
        page.goto(site + "search.html?q=prior+discrepancy")
        page.wait_for_selector("#search-results li a")
        found = page.locator("#search-results li a").all_inner_texts()
        assert any("Figure 4" in title for title in found)


def test_the_search_finds_a_symbol_of_a_formula(page, address):
    page.goto(address + "search.html?q=t_att")
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a").all_inner_texts()
    assert any("Action prediction" in title for title in found)


@pytest.mark.parametrize("name", [Path(page).stem for page in NOTEBOOKS])
def test_a_notebooks_page_opens_with_its_result(page, address, name):
    """No code stands before its first section, and what every figure shows is said with a number."""
    page.goto(f"{address}book/notebooks/{name}.html")
    assert page.locator("article h1").count() == 1
    first = page.locator("article > section > *:is(section, div.cell)").first
    assert first.evaluate("element => element.localName") == "section"
    for image in page.locator("article .cell_output img").all():
        assert re.search(r"\d", image.get_attribute("alt"))


def test_settings_are_linked_from_the_text_and_say_where_they_are_read(page, address):
    page.goto(address + "book/settings.html")
    row = page.locator("tr", has=page.locator("#setting-sigma-tcam"))
    assert "stages.stage_a" in row.inner_text()
    assert row.locator("a[href*='_modules/dgam_core/stages.html#stage_a']").count() == 1
    page.goto(address + "book/notebooks/table6_latent_dimension.html")
    assert page.locator("article p a[href*='settings.html#setting-latent-dim']").count() >= 1


def test_every_setting_and_every_test_leads_to_its_equation(page, address):
    page.goto(address + "book/settings.html")
    row = page.locator("tr", has=page.locator("#setting-sigma-tcam"))
    assert row.locator("a[href*='#eq-']").all_inner_texts() == ["(13)", "(14)"]
    assert row.locator("a[href='#departure-8']").count() == 1
    page.goto(address + "book/method/optimization.html")
    assert "sigma_tcam" in page.locator("#eq-13 .set-by a").all_inner_texts()
    page.goto(address + "book/equation_tests.html")
    heads = page.locator("article p.code-name")
    assert heads.count() > 20
    for head in heads.all():
        assert head.locator("a[href*='#eq-']").count() >= 1


def test_code_leads_to_its_source(page, address):
    page.goto(address + "book/method/discriminative.html")
    page.locator("#eq-4 .code-name .viewcode-link").click()
    assert page.url.endswith("_modules/dgam_core/attention.html#pool_foreground")
    page.locator("#pool_foreground .viewcode-back").click()
    assert page.url.endswith("book/api/method.html#dgam_core.attention.pool_foreground")
    entry = page.locator("dl", has=page.locator("[id='dgam_core.attention.pool_foreground']")).last
    entry.locator("a[href*='discriminative.html#eq-4']").first.wait_for()


def test_every_equation_stands_under_its_number(page, address):
    numbers = []
    for name in ("framework", "discriminative", "generative", "optimization", "prediction"):
        page.goto(f"{address}book/method/{name}.html", wait_until="networkidle")
        for box in page.locator("div.equation").all():
            number = re.search(r"\((\d+)\)", box.locator("mjx-container").first.inner_text())
            numbers.append(int(box.get_attribute("id").removeprefix("eq-")))
            assert number is None or int(number[1]) == numbers[-1]
            if numbers[-1] >= 4:
                assert "def " in box.locator("pre").first.inner_text()
                assert box.locator(".checked-by a").count() > 0
    assert numbers == list(range(1, 18))


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [
        ("departures", 30, "paper released train_all.py"),
        ("table1_module_swap", 2 * 4, "paper released last test_oracle published"),  # of two presets
        ("table2_attention_statistics", 4, "released last test_oracle published"),
        # methods; two choices of `paper`, three of `released`; in these three, a ceiling for each
        ("table3_thumos14", 19 + 5 + 2, "paper released last label_only test_oracle published"),
        ("table4_ablation", 2 * (4 + 1), "paper released last test_oracle published"),
        ("table5_activitynet12", 9 + 3 + 2, "paper released last test_oracle published"),
        ("table6_latent_dimension", 8, "released last test_oracle published"),  # values tried or published
        ("table7_beta", 6, "released last test_oracle published"),
    ],
)
def test_a_result_page_shows_its_table_and_chart(page, address, name, rows, words):
    page.goto(f"{address}book/notebooks/{name}.html", wait_until="networkidle")
    text = page.inner_text("article")
    assert "Every number of this run is " in text
    assert all(word in text for word in words.split())
    assert page.locator("table.dataframe tbody tr").count() == rows
    chart = page.locator("article img").first
    assert chart.evaluate("image => image.complete && image.naturalWidth") > 500
    for kind in ("ipynb", "csv", "svg", "png"):
        with page.expect_download() as download:
            page.locator("#downloads").get_by_text(f"{name}.{kind}", exact=True).click()
        assert Path(download.value.path()).stat().st_size > 100


def cells(row):
    return [cell.inner_text().strip() for cell in row.locator("td").all()]


def test_claims_are_those_of_the_run(page, address):
    page.goto(address + "book/experiments/results.html")
    rows = [cells(row) for row in page.locator("article tbody tr").all()]
    assert {row[0].split(",")[0] for row in rows} == {f"Table {n}" for n in range(1, 8)} | {"Figure 4"}
    said = f"({'|'.join([SEEN, OPPOSITE, EQUAL, UNDECIDED, NOT_COMPARABLE])})"
    data = r"\(\w+, (?:simulated|measured on real features)\)"
    for _, claim, verdict, measured, _ in rows:
        match = re.fullmatch(rf"{said} {data}; alone: {said}", verdict)
        assert match, claim
        assert match[1] in (match[2], UNDECIDED)  # the correction takes back, and decides nothing anew
        assert re.search(r"\(95\s%: .* to .*, \d+ seeds\)", measured)
    for name in ("Table 1", "Table 3", "Table 4", "Table 5"):
        assert {f"{name}, paper", f"{name}, released"} <= {row[0] for row in rows}
    page.goto(address + "book/experiments/attention.html")
    quoted = [cells(row) for row in page.locator("article tbody tr").all()]
    alone, tables = re.compile("; alone: .*"), ("Table 1", "Table 2")
    assert quoted == [[alone.sub("", cell) for cell in row] for row in rows if row[0].startswith(tables)]


def test_recorded_runs_stand_beside_this_build(page, address):
    made = {name: record for name in recipes() if (record := read_record(name))}
    page.goto(address + "book/reproduction.html")
    heads = [head.inner_text() for head in page.locator("article thead th").all()]
    assert heads[:3] == ["claim of the paper", "published", "simulated, this build"]
    rows = [cells(row) for row in page.locator("article tbody tr").all()]
    list_items = [item.inner_text() for item in page.locator("#where-the-columns-come-from li").all()]
    for name, recipe in recipes().items():
        if recipe.sweep or {"confusion_phase", "rivals"} & {*recipe.notebooks}:  # these check no claim
            continue
        column = heads.index(recipe.about)
        (said,) = (item for item in list_items if item.startswith(recipe.about))
        assert f"make record RECORD={name}" in said
        if name not in made:
            assert {row[column] for row in rows} == {"–"}
            assert "not recorded yet" in said
            continue
        about = made[name].content
        assert about["date"] in said
        assert about["data"]["provenance"] in said
        (shown,) = (
            row[column] for row in rows if "released" in row[0] and "Generative modeling raises" in row[0]
        )
        (claim,) = (
            claim
            for claim in made[name].claims["table4_ablation"]
            if claim["preset"] == "released" and "Generative" in claim["claim"]
        )
        assert shown.replace("−", "-").startswith(f"{claim['effect'][0]:+.1f} (")
    page.goto(address + "book/notebooks/table4_ablation.html")
    recorded = page.locator("#recorded-runs").inner_text()
    for name, record in made.items():
        if "table4_ablation" in record.content["parameters"]:
            assert f"{recipes()[name].about}, {record.content['data']['provenance']}, recorded:" in recorded


class Project(Handler):
    """The site below the path of a project, with its 404 page under every address that leads nowhere."""

    def do_GET(self):
        self.path = self.path.removeprefix("/project") if self.path.startswith("/project/") else "/nowhere"
        if not Path(self.translate_path(self.path)).is_file():
            content = (SITE / "404.html").read_bytes()
            self.send_response(404)
            self.end_headers()
            self.wfile.write(content)
        else:
            super().do_GET()


@pytest.mark.parametrize(
    "missing_page",
    ["nosuch.html", "book/nosuch.html", "book/method/nosuch.html", "_modules/dgam_core/nosuch"],
)
def test_the_404_page_is_whole_below_the_path_of_a_project(browser, address, missing_page):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Project, directory=SITE)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}/project/"
        page = watched(browser, [root])
        page.goto(root + missing_page, wait_until="networkidle")
        assert_whole(page, root)
        page.get_by_role("link", name="the beginning").click()
        assert page.url == root + "book/intro.html"
        assert page.elsewhere == []
        # The browser looks ahead for files before it has run the script that says where they are.
        assert [said for said in page.problems if "Failed to load resource" not in said] == []
        page.close()
        server.shutdown()


def test_the_404_page_is_whole_from_a_file(page):
    page.goto((SITE / "404.html").as_uri(), wait_until="networkidle")
    assert_whole(page, SITE.as_uri() + "/")
    assert page.elsewhere == page.problems == []


def assert_whole(page, root):
    """Styled, and with links to pages that there are."""
    assert page.locator("h1:visible").all_inner_texts() == ["There is no such page"]
    assert page.title().startswith("There is no such page")
    assert page.locator(".bd-sidebar-primary").bounding_box()["x"] == 0
    assert page.evaluate("getComputedStyle(document.querySelector('.bd-main')).display") == "flex"
    loaded = page.evaluate("[...document.styleSheets].filter(s => s.href).map(s => s.href)")
    assert loaded
    assert all(place.startswith(root + "_static/") for place in loaded)
    links = page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
    assert len(links) > 30
    for link in links:
        place = urldefrag(link).url
        assert place.startswith(root), link
        assert place == page.url or (SITE / place.removeprefix(root)).is_file(), link
