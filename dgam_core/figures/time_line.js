// The interactive time line: a test video, a stream and a threshold make segments, of two models.
// Segments, tIoU and average precision are computed here; a test holds them equal to those of the package.
"use strict";

var timeLine = (() => {
  const TOLERANCE = 1e-9; // of tIoU, as in dgam_core.segments
  const HIT_TIOU = 0.5;

  const tiou = ([start, end], [otherStart, otherEnd]) => {
    const overlap = Math.max(0, Math.min(end, otherEnd) - Math.max(start, otherStart));
    const union = end - start + otherEnd - otherStart - overlap;
    return union > 0 ? overlap / union : 0;
  };

  /* Runs of cells above the threshold: bounds in seconds, mean attention, best tIoU with an action. */
  const segments = ({ lam, cell_s }, threshold, video) => {
    const found = [];
    for (let first = 0; first < lam.length; first++) {
      if (!(lam[first] > threshold)) continue;
      let end = first;
      while (lam[end] > threshold) end++;
      const bounds = [first * cell_s, Math.min(end * cell_s, video.duration_s)];
      const score = lam.slice(first, end).reduce((sum, value) => sum + value, 0) / (end - first);
      found.push({ bounds, score, tiou: Math.max(0, ...video.actions.map((action) => tiou(bounds, action))) });
      first = end;
    }
    return found;
  };

  /* Average precision at tIoU 0.5 by the ActivityNet protocol, classes not told apart; null without actions. */
  const averagePrecision = (found, actions) => {
    if (!actions.length) return null;
    const ranked = found.map((_, i) => i).sort((i, j) => found[j].score - found[i].score || j - i);
    const isTaken = actions.map(() => false);
    const isHit = ranked.map((i) => {
      let [best, chosen] = [HIT_TIOU, -1];
      actions.forEach((action, k) => {
        const overlap = tiou(found[i].bounds, action);
        if (isTaken[k] || overlap < best - TOLERANCE) return;
        [best, chosen] = [Math.max(best, overlap), k];
      });
      if (chosen >= 0) isTaken[chosen] = true;
      return chosen >= 0;
    });
    let hits = 0;
    const precision = isHit.map((hit, i) => (hits += hit) / (i + 1));
    for (let i = precision.length - 2; i >= 0; i--) precision[i] = Math.max(precision[i], precision[i + 1]);
    return precision.reduce((sum, value, i) => sum + (isHit[i] ? value : 0), 0) / actions.length;
  };

  // In pixels: a strip has the curve, from 0 to 1, above a row of segments and a row of detections.
  const LEFT = 70;
  const RIGHT = 12;
  const [ONE_Y, ZERO_Y, SEGMENTS_Y, DETECTIONS_Y] = [10, 110, 119, 139];

  const draw = (root, data) => {
    const part = (name) => root.querySelector(`[data-part="${name}"]`);
    const byName = new Map(data.videos.map((video) => [video.name, video]));
    const state = { video: data.videos[0].name, stream: data.streams[0], threshold: data.threshold };

    const lambdaY = (lam) => ZERO_Y + lam * (ONE_Y - ZERO_Y);
    const seconds = (value) => `${value.toFixed(2)} s`;
    const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
    const text = (x, y, words, anchor) => `<text x="${x}" y="${y}" text-anchor="${anchor}">${words}</text>`;
    const bar = (x, [start, end], y, height, colour, label, opacity = 1) => `<rect role="img" aria-label="${label}"
      x="${x(start)}" y="${y}" width="${Math.max(x(end) - x(start), 1)}" height="${height}" fill="${colour}"
      fill-opacity="${opacity}"><title>${label}</title></rect>`;
    const times = ([start, end]) => `${seconds(start)} to ${seconds(end)}`;

    const curve = (x, { lam, cell_s }) =>
      lam.map((value, i) => `${i ? "V" : `M${x(0)} `}${lambdaY(value)} H${x((i + 1) * cell_s)}`).join(" ");

    const drawStrip = (model, x, video) => {
      const attention = video.attention[state.stream][model];
      const colour = data.colours[model];
      const found = segments(attention, state.threshold, video);
      const rows = [
        ...video.actions.map(([start, end]) => `<rect x="${x(start)}" y="${ONE_Y}" width="${x(end) - x(start)}"
          height="${ZERO_Y - ONE_Y}" fill="${data.colours.action}" fill-opacity="0.28"/>`),
        `<path class="axis" d="M${LEFT} ${ONE_Y} V${ZERO_Y} H${x.end}"/>`,
        ...[0, 0.5, 1].map((lam) => text(LEFT - 6, lambdaY(lam) + 4, lam === 1 ? "λ = 1" : lam, "end")),
        `<path d="${curve(x, attention)}" stroke="${colour}" stroke-width="2"/>`,
        text(LEFT - 6, SEGMENTS_Y + 11, "λ > t", "end"),
        ...found.map(({ bounds, tiou }) =>
          bar(x, bounds, SEGMENTS_Y, 14, colour, `${model}, ${times(bounds)}, tIoU ${tiou.toFixed(2)}`, 0.25 + 0.75 * tiou)),
        text(LEFT - 6, DETECTIONS_Y + 10, "detected", "end"),
        ...(video.detections[model] || []).map(([start, end, score]) =>
          bar(x, [start, end], DETECTIONS_Y, 10, colour, `${model}, ${times([start, end])}, score ${score.toFixed(3)}`, 0.9)),
      ];
      part(model).querySelector("g").innerHTML = rows.join("");
      const line = part(model).querySelector(".threshold");
      line.setAttribute("transform", `translate(0 ${lambdaY(state.threshold)})`);
      for (const path of line.querySelectorAll("path")) path.setAttribute("d", `M${LEFT} 0 H${x.end}`);
      line.querySelector("circle").setAttribute("cx", x.end);
      const hits = found.filter((segment) => segment.tiou >= HIT_TIOU - TOLERANCE).length;
      const ap = averagePrecision(found, video.actions);
      part(`${model}-result`).textContent =
        `${found.length} segment${found.length === 1 ? "" : "s"}, ${hits} with tIoU of at least 0.5; ` +
        (ap === null ? "no action" : `AP ${(100 * ap).toFixed(1)} %`);
    };

    const update = () => {
      const video = byName.get(state.video);
      const width = Math.max(root.clientWidth, 280);
      const cells = video.attention[state.stream].with;
      const duration = Math.max(video.duration_s, cells.lam.length * cells.cell_s);
      const x = (time) => LEFT + (time / duration) * (width - LEFT - RIGHT);
      x.end = x(duration);
      for (const svg of root.querySelectorAll("svg")) svg.setAttribute("width", width);
      part("truth").innerHTML = text(LEFT - 6, 15, "truth", "end") + video.truth.map(([kind, start, end]) =>
        bar(x, [start, end], 3, 16, data.colours[kind], `${kind}, ${times([start, end])}`)).join("");
      data.models.forEach((model) => drawStrip(model, x, video));
      const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find((value) => duration / value <= width / 70);
      const ticks = Array.from({ length: Math.floor(duration / step) + 1 }, (_, i) => i * step);
      part("time").innerHTML = `<path class="axis" d="M${LEFT} 1 H${x.end}"/>` + ticks.map((time) =>
        `<path class="axis" d="M${x(time)} 1 v5"/>${text(x(time), 19, time, "middle")}`).join("") +
        text((LEFT + x.end) / 2, 36, "time (s)", "middle");
      part("video").value = state.video;
      part("stream").value = state.stream;
      part("threshold").value = state.threshold;
      part("threshold-value").textContent = state.threshold.toFixed(2);
    };

    /* The videos of the class chosen, in the order chosen. */
    const listVideos = () => {
      const label = part("class").value;
      const videos = data.videos.filter((video) => !label || video.labels.includes(label));
      if (part("order").value === "change")
        videos.sort((a, b) => Math.abs(b.change ?? 0) - Math.abs(a.change ?? 0));
      part("video").replaceChildren(...videos.map((video) =>
        new Option(video.name + (video.change === null ? "" : ` (${signed(video.change)})`), video.name)));
      if (!videos.some((video) => video.name === state.video) || part("order").value === "change")
        state.video = videos[0].name;
    };

    /* What the address names, where there is such a thing. */
    const readAddress = () => {
      const wanted = new URLSearchParams(location.hash.slice(1));
      const threshold = Number(wanted.get("t") ?? NaN);
      if (!byName.has(wanted.get("video"))) return false;
      state.video = wanted.get("video");
      if (data.streams.includes(wanted.get("stream"))) state.stream = wanted.get("stream");
      if (threshold >= 0 && threshold <= 1) state.threshold = threshold;
      [part("class").value, part("order").value] = ["", "name"];
      listVideos();
      update();
      return true;
    };

    const change = (values) => {
      Object.assign(state, values);
      update();
      const { video, stream, threshold } = state;
      const address = new URLSearchParams({ video, stream, t: threshold.toFixed(2) });
      history.replaceState(history.state, "", `#${address}`);
    };

    const classes = [...new Set(data.videos.flatMap((video) => video.labels))].sort();
    part("class").append(...classes.map((label) => new Option(label, label)));
    part("stream").append(...data.streams.map((stream) => new Option(stream, stream)));
    for (const list of [part("class"), part("order")])
      list.addEventListener("change", () => {
        listVideos();
        change({});
      });
    part("video").addEventListener("change", (event) => change({ video: event.target.value }));
    part("stream").addEventListener("change", (event) => change({ stream: event.target.value }));
    part("threshold").addEventListener("input", (event) => change({ threshold: Number(event.target.value) }));
    for (const model of data.models) {
      const svg = part(model);
      const line = svg.querySelector(".threshold");
      const drag = (event) => {
        const lam = (ZERO_Y - (event.clientY - svg.getBoundingClientRect().top)) / (ZERO_Y - ONE_Y);
        change({ threshold: Math.round(100 * Math.min(Math.max(lam, 0), 1)) / 100 });
      };
      line.addEventListener("pointerdown", (event) => {
        line.setPointerCapture(event.pointerId);
        event.preventDefault(); // or the text beside it would be selected
      });
      line.addEventListener("pointermove", (event) => line.hasPointerCapture(event.pointerId) && drag(event));
    }
    listVideos();
    new ResizeObserver(update).observe(root);
    window.addEventListener("hashchange", readAddress);
    if (readAddress()) root.scrollIntoView();
    update();
  };

  return { tiou, segments, averagePrecision, draw };
})();
