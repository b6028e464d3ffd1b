// The toy of section 3.3: points in the plane, and a conditional auto-encoder whose best decoder has a closed form.
// The page states the equations; tests/site/test_toy.py compares `fit` and `pull` with NumPy.
"use strict";

const toy = (() => {
  const LATENT_DIM = 128;
  const POINTS_PER_KIND = 12;
  const KINDS = ["action", "context", "background"];
  const LEARNED_FROM = { action: 0.9, context: 0.9, background: 0.1 };

  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1];
  const subtract = (a, b) => [a[0] - b[0], a[1] - b[1]];
  const along = (a, b, t) => [a[0] + t * b[0], a[1] + t * b[1]];

  /* The same cloud, a spiral around (0, 0), for every kind. */
  const cloud = (() => {
    const points = Array.from({ length: POINTS_PER_KIND }, (_, i) => {
      const radius = 0.55 * Math.sqrt((i + 0.5) / POINTS_PER_KIND);
      return [radius * Math.cos(2.4 * i), radius * Math.sin(2.4 * i)];
    });
    const centre = [0, 1].map((axis) => mean(points.map((point) => point[axis])));
    return points.map((point) => subtract(point, centre));
  })();

  /* Snippets {kind, x}: context leaves the action in the direction (-0.8, 0.6). */
  const snippets = (separation) => {
    const centres = { action: [3, 0], context: [3 - 0.8 * separation, 0.6 * separation], background: [0, 0] };
    return KINDS.flatMap((kind) => cloud.map((offset) => ({ kind, x: along(centres[kind], offset, 1) })));
  };

  /* The decoder c + λb + a·z̄ of least squared error, z̄ ~ N(rλ, 1/Z); it reads λ itself or has b = 0. */
  const fit = (points, r, readsLam) => {
    const lams = points.map((point) => LEARNED_FROM[point.kind]);
    const lamMean = mean(lams);
    const xMean = [0, 1].map((axis) => mean(points.map((point) => point.x[axis])));
    const k = [0, 1].map((axis) => mean(points.map((point, i) => point.x[axis] * (lams[i] - lamMean))));
    const v = mean(lams.map((lam) => (lam - lamMean) ** 2));
    const b = k.map((value) => (readsLam ? value / v : 0));
    const a = k.map((value) => (readsLam ? 0 : (r * value) / (r * r * v + 1 / LATENT_DIM)));
    const d = along(b, a, r);
    return { a, b, d, c: along(xMean, d, -lamMean), noise: dot(a, a) / LATENT_DIM };
  };

  /* Mean μ(λ) of the reconstruction. */
  const reconstruct = (decoder, lam) => along(decoder.c, decoder.d, lam);

  /* Expected L_re of one snippet at 2σ² = 1, and minus its derivative by λ. */
  const error = (decoder, x, lam) => {
    const rest = subtract(x, reconstruct(decoder, lam));
    return dot(rest, rest) + decoder.noise;
  };
  const pull = (decoder, x, lam) => 2 * dot(decoder.d, subtract(x, reconstruct(decoder, lam)));

  /* Per kind: mean error, mean pull, and the λ of least error; null where λ makes no difference. */
  const summary = (points, decoder, lam) =>
    KINDS.map((kind) => {
      const xs = points.filter((point) => point.kind === kind).map((point) => point.x);
      const length = dot(decoder.d, decoder.d);
      const best = mean(xs.map((x) => dot(decoder.d, subtract(x, decoder.c)))) / length;
      return {
        kind,
        error: mean(xs.map((x) => error(decoder, x, lam))),
        pull: mean(xs.map((x) => pull(decoder, x, lam))),
        best: length > 1e-12 ? Math.min(Math.max(best, 0), 1) : null,
      };
    });

  return { KINDS, LATENT_DIM, LEARNED_FROM, snippets, fit, reconstruct, error, pull, summary };
})();

// What the reader sees.
(() => {
  const root = document.getElementById("toy");
  if (!root) return;
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const sliders = Object.fromEntries(["lam", "r", "separation"].map((name) => [name, part(name)]));

  const fixed = (value) => value.toFixed(1);
  const points = (list) => list.map(([x, y]) => `${fixed(x)} ${fixed(y)}`).join(" L");
  const text = (x, y, words, anchor = "middle") => `<text x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}">${words}</text>`;
  const signed = (value) => (Math.abs(value) < 0.005 ? "0.00" : value.toFixed(2).replace("-", "−").replace(/^(?=\d)/, "+"));
  const scale = (from, to, low, high) => (value) => low + ((value - from) / (to - from)) * (high - low);
  const steps = (from, to, count) => Array.from({ length: count + 1 }, (_, i) => from + ((to - from) * i) / count);

  const PX_PER_UNIT = 68; // of the plane

  const drawPlane = (snippets, decoder, lam) => {
    const place = ([x, y]) => [PX_PER_UNIT * (x + 1.75), PX_PER_UNIT * (4.05 - y)];
    const [start, middle, end] = [0, lam, 1].map((value) => place(toy.reconstruct(decoder, value)));
    const length = Math.hypot(...decoder.d);
    const unit = decoder.d.map((value) => (length > 1e-6 ? value / length : 0));
    const dots = snippets.map(({ kind, x }) => {
      const [left, top] = place(x);
      // Where its reconstruction would go: a third of the way, but not out of the picture.
      const way = length > 1e-6 ? (PX_PER_UNIT * toy.pull(decoder, x, lam)) / (2 * length) : 0;
      const step = Math.sign(way) * Math.min(Math.abs(way) / 3, 34);
      const tip = [left + step * unit[0], top - step * unit[1]];
      const arrow = Math.abs(step) > 3 ? `<path class="pull" d="M${points([[left, top], tip])}" marker-end="url(#toy-arrow)"/>` : "";
      return `<circle class="${kind}" cx="${fixed(left)}" cy="${fixed(top)}" r="4.5"/>${arrow}`;
    });
    const names = toy.KINDS.map((kind) => {
      const xs = snippets.filter((snippet) => snippet.kind === kind).map((snippet) => place(snippet.x));
      const centre = xs.reduce((sum, [x]) => sum + x, 0) / xs.length;
      const edge = kind === "context" ? Math.min(...xs.map(([, y]) => y)) - 12 : Math.max(...xs.map(([, y]) => y)) + 24;
      return text(centre, edge, kind);
    });
    const spread = PX_PER_UNIT * Math.sqrt(decoder.noise);
    const ends = [-spread, spread].map((by) => [middle[0] + by * unit[0], middle[1] - by * unit[1]]);
    part("plane").innerHTML = `<path class="spread" d="M${points(ends)}"/><path class="decoder" d="M${points([start, end])}"/>
      <circle class="end" cx="${fixed(start[0])}" cy="${fixed(start[1])}" r="3"/><circle class="end" cx="${fixed(end[0])}" cy="${fixed(end[1])}" r="3"/>
      ${dots.join("")}${names.join("")}
      <circle class="reconstruction" cx="${fixed(middle[0])}" cy="${fixed(middle[1])}" r="7"/>${text(middle[0], middle[1] - 14, `μ(${lam.toFixed(2)})`)}`;
  };

  const drawPrior = (r, lam) => {
    const left = scale(-0.35, 1.85, 10, 390);
    const sd = 1 / Math.sqrt(toy.LATENT_DIM);
    const bump = (centre) =>
      steps(-0.35, 1.85, 220).map((z) => [left(z), 110 - 80 * Math.exp(-0.5 * ((z - centre) / sd) ** 2)]);
    const ticks = [0, 0.5, 1, 1.5].map((z) => `<path class="axis" d="M${points([[left(z), 110], [left(z), 115]])}"/>${text(left(z), 132, z)}`);
    part("prior").innerHTML = `<path class="density" d="M${points(bump(r * lam))} Z"/>
      <path class="other" d="M${points(bump(0))}"/><path class="other" d="M${points(bump(r))}"/>
      <path class="axis" d="M10 110 H390"/>${ticks.join("")}
      ${text(Math.max(left(r * lam), 75), 20, `p(z̄ | λ = ${lam.toFixed(2)})`)}`;
  };

  const drawErrors = (snippets, decoder, lam, rows) => {
    const [left, top] = [scale(0, 1, 35, 385), scale(0, 14, 285, 15)];
    const curves = rows.map(({ kind, error, pull }) => {
      const xs = snippets.filter((snippet) => snippet.kind === kind).map((snippet) => snippet.x);
      const at = (value) => xs.reduce((sum, x) => sum + toy.error(decoder, x, value), 0) / xs.length;
      const line = points(steps(0, 1, 50).map((value) => [left(value), top(at(value))]));
      // Down the tangent; a pull that is strong makes it long.
      const toward = Math.sign(pull);
      const [across, down] = [left(toward) - left(0), top(error - Math.abs(pull)) - top(error)];
      const length = Math.min(44, 14 + 5 * Math.abs(pull)) / Math.hypot(across, down);
      const tip = [left(lam) + length * across, top(error) + length * down];
      const arrow = Math.abs(pull) > 0.005 ? `<path class="pull" d="M${points([[left(lam), top(error)], tip])}" marker-end="url(#toy-arrow)"/>` : "";
      return `<path class="casing" d="M${line}"/><path class="${kind}" d="M${line}"/>
        <circle class="${kind}" cx="${fixed(left(lam))}" cy="${fixed(top(error))}" r="5"/>${arrow}`;
    });
    const ticks = [
      ...[0, 0.5, 1].map((value) => text(left(value), 305, value)),
      ...[0, 5, 10].map((value) => text(28, top(value) + 5, value, "end")),
    ];
    part("errors").innerHTML = `<path class="axis" d="M35 15 V285 H385"/>${ticks.join("")}${text(210, 322, "λ")}
      <path class="now" d="M${points([[left(lam), 15], [left(lam), 285]])}"/>${curves.join("")}`;
  };

  const update = () => {
    const [lam, r, separation] = Object.values(sliders).map((slider) => Number(slider.value));
    const readsLam = part("reads-lam").checked;
    const snippets = toy.snippets(separation);
    const decoder = toy.fit(snippets, r, readsLam);
    const rows = toy.summary(snippets, decoder, lam);
    drawPlane(snippets, decoder, lam);
    drawPrior(r, lam);
    drawErrors(snippets, decoder, lam, rows);
    for (const [name, slider] of Object.entries(sliders))
      part(`${name}-value`).textContent = Number(slider.value).toFixed(name === "separation" ? 1 : 2);
    for (const row of rows) {
      const [error, pull, best] = part(row.kind).querySelectorAll("td");
      error.textContent = row.error.toFixed(2);
      pull.textContent = signed(row.pull);
      best.textContent = row.best === null ? "any" : row.best.toFixed(2);
    }
    const list = new Intl.ListFormat("en-GB");
    const verb = ({ pull }) => (signed(pull) === "0.00" ? "leaves" : pull > 0 ? "raises" : "lowers");
    const said = ["raises", "leaves", "lowers"].flatMap((does) => {
      const kinds = rows.filter((row) => verb(row) === does).map((row) => row.kind);
      return kinds.length ? [`${does} attention on ${list.format(kinds)}`] : [];
    });
    part("said").textContent = `At λ = ${lam.toFixed(2)} a gradient step ${said.join(", and ")}.`;
  };

  root.addEventListener("input", update);
  update();
})();
