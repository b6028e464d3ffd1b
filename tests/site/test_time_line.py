"""The interactive time line: its arithmetic against the package's, and what the reader sees and does."""

import json
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from pytest import approx

from dgam_core.evaluation.mean_ap import mean_average_precision
from dgam_core.localize import find_segments
from dgam_core.segments import SegmentTable, tiou
from tests.conftest import ROOT
from tests.site.conftest import PHONE, SITE, missing

PAGE = "book/notebooks/figure1_confusion.html"
MODELS = ("without", "with")
SCRIPT = ROOT / "dgam_core" / "figures" / "time_line.js"


def segments_of(attention, video, threshold):
    """Start, end, mean attention and best tIoU of each segment, (S, 4)."""
    lam, actions = np.array(attention["lam"]), np.array(video["actions"]).reshape(-1, 2)
    rows = []
    for first, end in find_segments(lam, threshold).astype(int):
        bounds_s = (first * attention["cell_s"], min(end * attention["cell_s"], video["duration_s"]))
        best = tiou(bounds_s, actions).max(initial=0)
        rows.append((*bounds_s, lam[first:end].mean(), best))
    return np.array(rows).reshape(-1, 4)


def ap_of(rows, video):
    """Average precision at tIoU 0.5 of a video's segments, classes not told apart."""
    found = SegmentTable.from_rows(("v", "any", *row[:3]) for row in rows.tolist())
    truth = SegmentTable.from_rows(("v", "any", *action, 0.0) for action in video["actions"])
    return mean_average_precision(found, truth, ["v"], [0.5]).average_map


@pytest.mark.parametrize("seed", range(30))
def test_segments_and_average_precision_are_those_of_the_package(script, seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(5, 60))
    starts = np.sort(random.random(4)) * count * 0.64
    video = {
        "duration_s": count * 0.64 - 0.3,
        "actions": [
            [start, start + length] for start, length in zip(starts, random.random(4) * 5, strict=True)
        ],
    }
    # Few values, so that segments tie in their scores; one action twice, so that they tie in tIoU.
    video["actions"].append(video["actions"][0])
    attention = {"lam": random.integers(0, 4, count).astype(float).tolist(), "cell_s": 0.64}
    for action in video["actions"][:3]:  # segments that match
        cells = slice(*(round(second / 0.64) for second in action))
        attention["lam"][cells] = [2.0] * len(attention["lam"][cells])
    for threshold in (0.0, 0.5, 1.0, 3.0):
        found = script.evaluate(
            """([attention, threshold, video]) => {
                const found = timeLine.segments(attention, threshold, video);
                const ap = timeLine.averagePrecision(found, video.actions);
                return [found.map((s) => [...s.bounds, s.score, s.tiou]), ap];
            }""",
            [attention, threshold, video],
        )
        expected = segments_of(attention, video, threshold)
        assert np.array(found[0]).reshape(-1, 4) == approx(expected, abs=1e-12)
        assert found[1] == approx(ap_of(expected, video), abs=1e-12)


def test_average_precision_counts_each_action_once(script):
    segments = [{"bounds": [0, 2], "score": s} for s in (0.9, 0.8)] + [{"bounds": [4, 6], "score": 0.7}]
    ap = "([found, actions]) => timeLine.averagePrecision(found, actions)"
    assert script.evaluate(ap, [segments, [[0, 2], [4, 6]]]) == approx((1 + 2 / 3) / 2)  # hit, miss, hit
    assert script.evaluate(ap, [[], [[0, 2]]]) == 0
    assert script.evaluate(ap, [segments, []]) is None


@pytest.fixture(scope="module")
def content():
    """What the page was given."""
    if not (SITE / PAGE).is_file():
        missing("the site is not built: run `make book` first")
    text = (SITE / PAGE).read_text(encoding="utf-8")
    given = 'timeLine.draw(document.getElementById("time-line"), '
    return json.JSONDecoder().raw_decode(text, text.index(given) + len(given))[0]


@pytest.fixture
def time_line(page, address):
    page.goto(address + PAGE)
    page.wait_for_selector("#time-line rect")
    yield page
    assert page.elsewhere == page.problems == []


def labels(content, name, stream, threshold):
    """What the segments of a video should be called."""
    video = next(video for video in content["videos"] if video["name"] == name)
    return [
        f"{model}, {start:.2f} s to {end:.2f} s, tIoU {best:.2f}"
        for model in MODELS
        for start, end, _, best in segments_of(video["attention"][stream][model], video, threshold)
    ]


def shown_labels(page):
    said = page.eval_on_selector_all(
        "#time-line rect", "all => all.map(e => e.getAttribute('aria-label') || '')"
    )
    return [label for label in said if "tIoU" in label]


def part(page, name):
    return page.locator(f"#time-line [data-part='{name}']")


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_the_time_line_follows_the_keyboard(page, address, content, scheme):
    page.goto((address if scheme == "http" else SITE.as_uri() + "/") + PAGE)
    video = content["videos"][7]
    part(page, "video").select_option(video["name"])
    part(page, "stream").focus()
    page.keyboard.press("End")  # the last of the streams
    stream = part(page, "stream").input_value()
    assert stream == content["streams"][-1]
    seen = set()
    for key in [None, *["ArrowRight"] * 5, "Home", "ArrowRight"]:
        part(page, "threshold").focus()
        if key:
            page.keyboard.press(key)
        threshold = float(part(page, "threshold").input_value())
        expected = labels(content, video["name"], stream, threshold)
        assert shown_labels(page) == expected
        for model in MODELS:
            ap = ap_of(segments_of(video["attention"][stream][model], video, threshold), video)
            assert part(page, f"{model}-result").inner_text().endswith(f"AP {100 * ap:.1f} %")
        seen.add(tuple(expected))
    assert len(seen) > 2
    assert page.elsewhere == page.problems == []


@pytest.mark.parametrize("model", MODELS)
def test_the_dashed_line_can_be_dragged(time_line, content, model):
    part(time_line, model).scroll_into_view_if_needed()
    line = time_line.locator(f"#time-line [data-part='{model}'] .threshold .seen")
    strip = part(time_line, model).bounding_box()
    at = line.bounding_box()
    time_line.mouse.move(at["x"] + 150, at["y"] + at["height"] / 2)
    time_line.mouse.down()
    time_line.mouse.move(at["x"] + 160, strip["y"] + 60, steps=4)  # λ = 0.5 lies 60 pixels below the edge
    threshold = float(part(time_line, "threshold").input_value())
    assert threshold == approx(0.5, abs=0.011)
    assert shown_labels(time_line) == labels(
        content, content["videos"][0]["name"], content["streams"][0], threshold
    )
    assert line.bounding_box()["y"] == approx(strip["y"] + 60, abs=2)
    time_line.mouse.move(at["x"] + 160, strip["y"] - 300)
    assert part(time_line, "threshold").input_value() == "1"
    time_line.mouse.up()
    time_line.mouse.move(at["x"] + 160, strip["y"] + 60)
    assert part(time_line, "threshold").input_value() == "1"  # let go


def test_videos_are_chosen_by_class_and_by_change(time_line, content):
    label = content["videos"][3]["labels"][0]
    listed = "#time-line [data-part='video'] option"
    values = "all => all.map(option => option.value)"
    part(time_line, "class").select_option(label)
    of_class = [video for video in content["videos"] if label in video["labels"]]
    assert 0 < len(of_class) < len(content["videos"])
    assert time_line.eval_on_selector_all(listed, values) == [video["name"] for video in of_class]
    assert part(time_line, "video").input_value() == of_class[0]["name"]
    part(time_line, "order").select_option("change")
    by_change = sorted(of_class, key=lambda video: -abs(video["change"]))
    assert time_line.eval_on_selector_all(listed, values) == [video["name"] for video in by_change]
    assert part(time_line, "video").input_value() == by_change[0]["name"]
    words = f"{by_change[0]['change']:+.2f}".replace("-", "−")
    assert time_line.locator(listed).first.inner_text() == f"{by_change[0]['name']} ({words})"


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_the_address_keeps_the_choice(page, address, content, scheme):
    site = address if scheme == "http" else SITE.as_uri() + "/"
    page.goto(site + PAGE)
    video, stream = content["videos"][5]["name"], content["streams"][-1]
    part(page, "video").select_option(video)
    part(page, "stream").select_option(stream)
    part(page, "threshold").fill("0.33")
    kept = page.url
    assert parse_qs(urlsplit(kept).fragment) == {"video": [video], "stream": [stream], "t": ["0.33"]}
    expected = shown_labels(page)
    page.goto("about:blank")
    page.goto(kept)
    assert shown_labels(page) == expected == labels(content, video, stream, 0.33)
    assert page.locator("#time-line").bounding_box()["y"] < 400  # in sight
    page.goto(f"{site}{PAGE}#video=nosuch&t=7")
    page.reload()
    assert part(page, "video").input_value() == content["videos"][0]["name"]
    assert float(part(page, "threshold").input_value()) == approx(content["threshold"], abs=0.005)
    assert page.elsewhere == page.problems == []


@pytest.mark.parametrize("width", [PHONE["width"], 768, 1280])
def test_nothing_of_the_time_line_is_cut(time_line, width):
    time_line.set_viewport_size({"width": width, "height": 900})
    time_line.wait_for_timeout(200)  # it is drawn anew
    cut = """() => [...document.querySelectorAll('#time-line svg')].flatMap((svg) => {
        const article = document.querySelector('article').getBoundingClientRect();
        const frame = svg.getBoundingClientRect();
        const parts = [...svg.querySelectorAll('text, rect, circle')].filter((part) => {
            const box = part.getBoundingClientRect();
            const across = box.left < frame.left - 0.5 || box.right > frame.right + 0.5;
            return across || box.bottom > frame.bottom + 0.5;
        });
        const wide = frame.right > article.right + 1 ? [svg] : [];
        return [...parts, ...wide].map((part) => part.outerHTML.slice(0, 80));
    })"""
    assert time_line.evaluate(cut) == []


def test_the_time_line_is_named_and_follows_the_colours_of_the_page(time_line):
    assert time_line.get_by_role("group", name="Time line of a test video").count() == 1
    for name in ("Class", "Order", "Test video", "Stream", "Threshold t on attention"):
        assert time_line.locator("#time-line").get_by_label(name).count() == 1
    time_line.emulate_media(color_scheme="dark")
    time_line.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    brightness = """(selector) => {
        const style = getComputedStyle(document.querySelector(selector));
        return [style.fill, style.backgroundColor].map((colour) => colour.match(/[\\d.]+/g).map(Number));
    }"""
    fill, _ = time_line.evaluate(brightness, "#time-line text")
    assert min(fill[:3]) > 150
    time_line.wait_for_timeout(500)  # for the theme's transitions
    _, background = time_line.evaluate(brightness, ".text_html:has(#time-line)")
    assert background[3:] == [0]
