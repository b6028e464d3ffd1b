"""The toy of section 3.3: its mathematics against NumPy, and what the reader sees of it."""

import re

import numpy as np
import pytest
from pytest import approx

from dgam_core.figures.style import KINDS
from tests.conftest import ROOT
from tests.site.conftest import PHONE, SITE

LATENT_DIM = 128
LEARNED_FROM = {"action": 0.9, "context": 0.9, "background": 0.1}
CENTRES = {"action": (3, 0), "background": (0, 0)}
SCRIPT = ROOT / "book" / "_static" / "toy.js"


def best_decoder(points, r, reads_lam):
    """Weights W of φ = (1, λ, z) that minimize E‖x − Wφ‖², z ~ N(rλ·1, I), (2, 2 + Z): normal equations.

    Without λ among the inputs its weight is 0.
    """
    x = np.array([point["x"] for point in points])
    lam = np.array([LEARNED_FROM[point["kind"]] for point in points])
    phi_mean = inputs(lam, r)
    moment = phi_mean.T @ phi_mean / len(x)
    moment[2:, 2:] += np.eye(LATENT_DIM)
    read = [0, *([1] if reads_lam else []), *range(2, 2 + LATENT_DIM)]
    weights = np.zeros((2, 2 + LATENT_DIM))
    weights[:, read] = np.linalg.solve(moment[np.ix_(read, read)], (phi_mean.T @ x / len(x))[read]).T
    return weights


def inputs(lam, r):
    """Mean of φ = (1, λ, z), (N, 2 + Z)."""
    lam = np.atleast_1d(lam)[:, None]
    return np.hstack([np.ones_like(lam), lam, np.repeat(r * lam, LATENT_DIM, axis=1)])


def expected_loss(weights, x, lam, r):
    """E‖x − Wφ‖² over z ~ N(rλ·1, I), per snippet."""
    return np.square(x - inputs(lam, r) @ weights.T).sum(1) + np.square(weights[:, 2:]).sum()


@pytest.mark.parametrize("reads_lam", [False, True])
@pytest.mark.parametrize(("r", "separation"), [(1.0, 2.4), (0.05, 0.0), (0.3, 4.1), (1.5, 5.0), (0.0, 1.0)])
def test_decoder_error_and_gradient_are_those_of_numpy(script, r, separation, reads_lam):
    points = script.evaluate("toy.snippets", separation)
    weights = best_decoder(points, r, reads_lam)
    x = np.array([point["x"] for point in points])
    for lam in (0.0, 0.37, 0.9, 1.0):
        found = script.evaluate(
            """([points, r, readsLam, lam]) => {
                const decoder = toy.fit(points, r, readsLam);
                return {
                    mean: toy.reconstruct(decoder, lam),
                    error: points.map((point) => toy.error(decoder, point.x, lam)),
                    pull: points.map((point) => toy.pull(decoder, point.x, lam)),
                };
            }""",
            [points, r, reads_lam, lam],
        )
        step = 1e-4
        slope = (expected_loss(weights, x, lam + step, r) - expected_loss(weights, x, lam - step, r)) / (
            2 * step
        )
        assert found["mean"] == approx((inputs(lam, r) @ weights.T)[0], abs=1e-9)
        assert found["error"] == approx(expected_loss(weights, x, lam, r), abs=1e-9)
        assert found["pull"] == approx(-slope, abs=1e-6)


def test_snippets_lie_around_their_centres(script):
    points = script.evaluate("toy.snippets(2)")
    for kind, centre in {**CENTRES, "context": (3 - 2 * 0.8, 2 * 0.6)}.items():
        cloud = np.array([point["x"] for point in points if point["kind"] == kind])
        assert cloud.mean(0) == approx(centre, abs=1e-9)


@pytest.mark.parametrize(
    ("separation", "sign"),
    [(0, 0), (1, 1), (4.7, 1), (4.8, 0), (4.9, -1)],  # ‖context‖² = 9 − 4.8 s + s², 9 at 0 and 4.8
)
def test_action_goes_up_and_context_down_while_it_is_nearer_to_the_background(script, separation, sign):
    rows = summary(script, 0.9, 1, separation, True)
    pulls = {row["kind"]: row["pull"] for row in rows}
    distance = 9 - (9 - 4.8 * separation + separation**2)
    # d = (m − background) / 0.8 with m midway: 2 dᵀ(action − m) = 2 (‖action‖² − ‖context‖²) / (4 · 0.8)
    assert pulls["action"] == approx(distance / 1.6, abs=1e-9)
    assert pulls["context"] == approx(-distance / 1.6, abs=1e-9)
    assert np.sign(round(pulls["action"], 9)) == sign


def summary(page, lam, r, separation, reads_lam):
    return page.evaluate(
        """([lam, r, separation, readsLam]) => {
            const points = toy.snippets(separation);
            return toy.summary(points, toy.fit(points, r, readsLam), lam);
        }""",
        [lam, r, separation, reads_lam],
    )


def test_without_discrepancy_the_code_tells_nothing(script):
    assert [(row["pull"], row["best"]) for row in summary(script, 0.5, 0, 2, False)] == [(0, None)] * 3
    assert summary(script, 0.5, 0, 2, True) == summary(script, 0.5, 1.5, 2, True)  # r is of no use to λ


def test_the_prior_mean_and_the_latent_dimension_are_the_papers(script):
    assert script.evaluate("toy.LATENT_DIM") == LATENT_DIM
    assert script.evaluate("toy.LEARNED_FROM") == LEARNED_FROM


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_the_toy_follows_the_keyboard(page, address, scheme):
    page.goto((address if scheme == "http" else SITE.as_uri() + "/") + "book/method/generative.html")
    lam, r, separation = 0.9, 1.0, 2.4
    said = page.get_by_role("status")
    assert said.inner_text() == (
        "At λ = 0.90 a gradient step raises attention on action, "
        "and lowers attention on context and background."
    )
    shown_as_expected(page, lam, r, separation, False)
    page.get_by_label("attention λ").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    shown_as_expected(page, 0.87, r, separation, False)
    page.get_by_label("separation of context").focus()
    page.keyboard.press("End")
    shown_as_expected(page, 0.87, r, 5.0, False)
    page.get_by_label("discrepancy r").focus()
    page.keyboard.press("Home")
    shown_as_expected(page, 0.87, 0.0, 5.0, False)
    assert page.locator("#toy .pull").count() == 0
    assert "leaves attention on action, context and background" in said.inner_text()
    page.get_by_label("z alone").focus()
    page.keyboard.press("ArrowDown")
    shown_as_expected(page, 0.87, 0.0, 5.0, True)
    assert page.locator("#toy .pull").count() > 12
    assert page.elsewhere == page.problems == []


def shown_as_expected(page, lam, r, separation, reads_lam):
    """The table, the bump of the prior and the reconstruction are at their places."""
    for row in summary(page, lam, r, separation, reads_lam):
        cells = page.locator(f"#toy [data-part={row['kind']}] td").all_inner_texts()
        expected = [row["error"], row["pull"]] + ([] if row["best"] is None else [row["best"]])
        assert [float(cell.replace("−", "-")) for cell in cells if cell != "any"] == approx(
            expected, abs=0.0051
        )
    outline = page.locator("#toy .density").get_attribute("d")
    points = np.array(re.findall(r"([-\d.]+) ([-\d.]+)", outline), dtype=float)
    top = points[points[:, 1].argmin(), 0]
    assert -0.35 + (top - 10) / 380 * 2.2 == approx(r * lam, abs=0.01)  # z̄ from −0.35 to 1.85, 380 units wide
    mean = page.evaluate(
        "([r, s, reads, lam]) => toy.reconstruct(toy.fit(toy.snippets(s), r, reads), lam)",
        [r, separation, reads_lam, lam],
    )
    circle = page.locator("#toy .reconstruction")
    place = [float(circle.get_attribute(name)) for name in ("cx", "cy")]
    assert place == approx([68 * (mean[0] + 1.75), 68 * (4.05 - mean[1])], abs=0.06)


def test_kinds_have_the_colours_of_the_figures(page, address):
    page.goto(address + "book/method/generative.html")
    for kind in ("action", "context", "background"):
        colour = page.locator(f"#toy [data-part=plane] circle.{kind}").first.evaluate(
            "e => getComputedStyle(e).fill"
        )
        assert colour == "rgb({}, {}, {})".format(*bytes.fromhex(KINDS[kind].removeprefix("#")))


def test_the_toy_fits_a_phone_and_its_pictures_hold_all_they_show(page, address):
    page.set_viewport_size(PHONE)
    page.goto(address + "book/method/generative.html")
    outside = """() => [...document.querySelectorAll('#toy svg[data-part]')].flatMap((svg) => {
        const frame = svg.getBoundingClientRect();
        const sticksOut = (part) => {
            const box = part.getBoundingClientRect();
            const across = box.left < frame.left - 1 || box.right > frame.right + 1;
            return across || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
        };
        return [...svg.querySelectorAll('text, circle')].filter(sticksOut).map((part) => part.outerHTML);
    })"""
    for separation in (0, 2.4, 5):
        for lam in (0, 1):
            set_values(page, lam, 1.5, separation)
            assert page.evaluate(outside) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def set_values(page, *values):
    for slider, value in zip(page.locator("#toy input[type=range]").all(), values, strict=True):
        slider.fill(str(value))


def test_the_toy_is_small():
    files = [ROOT / "book" / "_static" / "toy.js", ROOT / "book" / "method" / "toy.html"]
    assert sum(path.stat().st_size for path in files) < 100_000
