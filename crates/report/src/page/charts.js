"use strict";
// Charts of the page, drawn as SVG from the JSON in it. No library, nothing fetched.
const DATA = JSON.parse(document.getElementById("data").textContent);

const Chart = (() => {
  const W = 960, H = 300, LEFT = 64, RIGHT = 16, TOP = 14, BOTTOM = 36;
  const colour = (i) => `var(--run${i % 6})`;

  function svg(name, attributes, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }
  function html(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }
  // A choice in a labelled list; calls back with the value.
  function select(label, options, changed) {
    const list = html("select", {}, ...options.map(([value, text]) => html("option", { value }, text)));
    list.addEventListener("change", () => changed(list.value));
    return html("label", {}, label, list);
  }
  function checkbox(label, on, changed) {
    const box = html("input", { type: "checkbox" });
    box.checked = on;
    box.addEventListener("change", () => changed(box.checked));
    return html("label", {}, box, label);
  }
  function slider(label, [min, max, step], value, changed) {
    const range = html("input", { type: "range", min, max, step, value });
    range.addEventListener("input", () => changed(Number(range.value)));
    return html("label", {}, label, range);
  }
  function legend(entries) {
    return html("div", { class: "legend" }, ...entries.map(([text, paint]) => {
      const mark = html("i", {});
      mark.style.background = paint;
      return html("span", {}, mark, text);
    }));
  }
  // Round numbers across a range.
  function ticks(low, high, count) {
    const span = Math.max(high - low, 1e-12);
    const power = 10 ** Math.floor(Math.log10(span / count));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => span / s <= count);
    const found = [];
    for (let v = Math.ceil(low / step) * step; v <= high + 1e-9 * span; v += step) found.push(v);
    return found;
  }
  const shown = (v) => (v !== 0 && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e6) ? v.toExponential(1) : String(Number(v.toPrecision(6))));

  // An empty chart with axes; gives it with functions from values to places.
  function frame({ x: [x0, x1], y: [y0, y1], xTicks, label, xName, yName, log }) {
    const place = (v) => (log ? Math.log10(Math.max(v, 1e-12)) : v);
    const [b0, b1] = [place(y0), place(y1)];
    const at = {
      x: (v) => LEFT + ((v - x0) / (x1 - x0 || 1)) * (W - LEFT - RIGHT),
      y: (v) => H - BOTTOM - ((place(v) - b0) / (b1 - b0 || 1)) * (H - TOP - BOTTOM),
      valueX: (px) => x0 + ((px - LEFT) / (W - LEFT - RIGHT)) * (x1 - x0),
    };
    const node = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label });
    const decades = log ? Array.from({ length: Math.floor(b1) - Math.ceil(b0) + 1 }, (_, i) => 10 ** (Math.ceil(b0) + i)) : [];
    for (const v of decades.length > 1 ? decades : ticks(y0, y1, 5)) {
      node.append(svg("line", { class: "axis", x1: LEFT, x2: W - RIGHT, y1: at.y(v), y2: at.y(v) }),
        svg("text", { x: LEFT - 8, y: at.y(v) + 4, "text-anchor": "end" }, shown(v)));
    }
    for (const [v, text] of xTicks ?? ticks(x0, x1, 8).map((v) => [v, shown(v)])) {
      node.append(svg("text", { x: at.x(v), y: H - BOTTOM + 18, "text-anchor": "middle" }, text));
    }
    node.append(svg("text", { x: (LEFT + W - RIGHT) / 2, y: H - 3, "text-anchor": "middle" }, xName ?? ""),
      svg("text", { x: 12, y: H / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${H / 2})` }, yName ?? ""));
    return [node, at];
  }
  const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  return { W, H, LEFT, RIGHT, TOP, BOTTOM, colour, svg, html, select, checkbox, slider, legend, frame, path, shown };
})();

// Loss and validation curves: drag to zoom, double click for the whole.
function curves(place) {
  const { html, svg } = Chart;
  const names = [...new Set(DATA.runs.flatMap((run) => run.curves.map((curve) => curve.name)))];
  if (!names.length) return;
  const state = { name: names[0], smooth: 0.9, log: false, x: null };
  const holder = html("div", {});
  const redraw = () => { holder.replaceChildren(draw()); };
  const choices = html("div", { class: "controls" },
    Chart.select("Show", names.map((n) => [n, n]), (v) => { state.name = v; state.x = null; redraw(); }),
    Chart.slider("Smoothing", [0, 0.99, 0.01], state.smooth, (v) => { state.smooth = v; redraw(); }),
    Chart.checkbox("Logarithmic", false, (v) => { state.log = v; redraw(); }));
  const whole = html("button", { type: "button" }, "Whole range");
  whole.addEventListener("click", () => { state.x = null; redraw(); });
  choices.append(whole, html("span", { class: "soft" }, "Drag over the chart to zoom."));
  place.append(choices, holder);
  if (DATA.runs.length > 1) place.append(Chart.legend(DATA.runs.map((run, i) => [run.name, Chart.colour(i)])));
  redraw();

  function draw() {
    const lines = DATA.runs.map((run, i) => ({ i, points: (run.curves.find((c) => c.name === state.name)?.points ?? []) }));
    const all = lines.flatMap((line) => line.points);
    const range = (values) => values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    const x = state.x ?? range(all.map((p) => p[0]));
    const inside = all.filter((p) => p[0] >= x[0] && p[0] <= x[1]);
    const y = range((inside.length ? inside : all).map((p) => p[1]));
    const [node, at] = Chart.frame({ x, y, log: state.log && y[0] > 0, label: `${state.name} over steps`, xName: "step", yName: state.name });
    const clip = svg("clipPath", { id: "inside" }, svg("rect", { x: Chart.LEFT, y: 0, width: Chart.W - Chart.LEFT - Chart.RIGHT, height: Chart.H }));
    node.append(clip);
    for (const { i, points } of lines) {
      const raw = svg("path", { d: Chart.path(points.map((p) => [at.x(p[0]), at.y(p[1])])), fill: "none", stroke: Chart.colour(i), "stroke-opacity": 0.3, "clip-path": "url(#inside)" });
      let mean = 0, weight = 0;
      const smooth = points.map(([px, py]) => {
        mean = state.smooth * mean + (1 - state.smooth) * py;
        weight = state.smooth * weight + (1 - state.smooth);
        return [at.x(px), at.y(mean / weight)];
      });
      node.append(raw, svg("path", { d: Chart.path(smooth), fill: "none", stroke: Chart.colour(i), "stroke-width": 2, "clip-path": "url(#inside)" }));
    }
    let from = null;
    const band = svg("rect", { y: Chart.TOP, height: Chart.H - Chart.TOP - Chart.BOTTOM, fill: "var(--accent)", opacity: 0.15, width: 0 });
    node.append(band);
    const pixel = (event) => ((event.clientX - node.getBoundingClientRect().left) / node.getBoundingClientRect().width) * Chart.W;
    node.addEventListener("pointerdown", (event) => { from = pixel(event); node.setPointerCapture(event.pointerId); });
    node.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const to = pixel(event);
      band.setAttribute("x", Math.min(from, to));
      band.setAttribute("width", Math.abs(to - from));
    });
    node.addEventListener("pointerup", (event) => {
      const to = pixel(event);
      if (from !== null && Math.abs(to - from) > 8) {
        state.x = [from, to].sort((a, b) => a - b).map(at.valueX);
        redraw();
      }
      from = null;
    });
    node.addEventListener("dblclick", () => { state.x = null; redraw(); });
    return node;
  }
}

// The values of a metric: one per case.
function valuesOf(run, label, metric) {
  return run.cases.filter((c) => typeof c.labels[label]?.[metric] === "number").map((c) => ({ case: c.case, value: c.labels[label][metric] }));
}

// Boxes from quartile to quartile, whiskers to the last value within 1.5 of that, every case a dot.
function boxes(place) {
  const { html, svg } = Chart;
  const runs = DATA.runs.map((run, i) => ({ ...run, i })).filter((run) => run.cases.length);
  if (!runs.length || !DATA.metrics.length) return;
  let metric = DATA.metrics[0].key;
  const holder = html("div", {});
  const redraw = () => holder.replaceChildren(draw());
  const controls = html("div", { class: "controls" });
  if (DATA.metrics.length > 1) controls.append(Chart.select("Measure", DATA.metrics.map((m) => [m.key, m.name]), (v) => { metric = v; redraw(); }));
  place.append(controls, holder);
  if (runs.length > 1) place.append(Chart.legend(runs.map((run) => [run.name, Chart.colour(run.i)])));
  redraw();

  function draw() {
    const name = DATA.metrics.find((m) => m.key === metric).name;
    const all = DATA.labels.flatMap((l) => runs.flatMap((run) => valuesOf(run, l.value, metric).map((v) => v.value)));
    if (!all.length) return html("p", { class: "soft" }, "no case has it");
    let [low, high] = [Math.min(...all), Math.max(...all)];
    if (low >= 0 && high <= 1) [low, high] = [Math.min(low, 0.5), 1];
    const [node, at] = Chart.frame({
      x: [-0.5, DATA.labels.length - 0.5], y: [low, high],
      xTicks: DATA.labels.map((l, i) => [i, l.name]), label: `${name} by label, a box for each run`, yName: name,
    });
    const width = 0.7 / runs.length;
    const span = at.x(1) - at.x(0);
    DATA.labels.forEach((label, l) => runs.forEach((run, r) => {
      const cases = valuesOf(run, label.value, metric);
      if (!cases.length) return;
      const sorted = cases.map((c) => c.value).sort((a, b) => a - b);
      const quantile = (q) => {
        const place = q * (sorted.length - 1), i = Math.floor(place);
        return sorted[i] + (place - i) * ((sorted[i + 1] ?? sorted[i]) - sorted[i]);
      };
      const [q1, q2, q3] = [0.25, 0.5, 0.75].map(quantile);
      const reach = 1.5 * (q3 - q1);
      const [lowest, highest] = [sorted.find((v) => v >= q1 - reach), sorted.findLast((v) => v <= q3 + reach)];
      const middle = at.x(l + (r - (runs.length - 1) / 2) * width), half = Math.min(0.36 * width * span, 26);
      const paint = Chart.colour(run.i);
      const line = (x1, y1, x2, y2, thick) => svg("line", { x1, y1, x2, y2, stroke: paint, "stroke-width": thick });
      node.append(line(middle, at.y(lowest), middle, at.y(q1), 1.5), line(middle, at.y(q3), middle, at.y(highest), 1.5),
        svg("rect", { x: middle - half, width: 2 * half, y: at.y(q3), height: Math.max(at.y(q1) - at.y(q3), 1), fill: paint, "fill-opacity": 0.25, stroke: paint }),
        line(middle - half, at.y(q2), middle + half, at.y(q2), 2.5));
      cases.forEach((c, i) => {
        const dot = svg("circle", { cx: middle + half * (((i * 0.618) % 1) - 0.5), cy: at.y(c.value), r: 3, fill: paint, "fill-opacity": 0.8 },
          svg("title", {}, `${c.case}, ${label.name}${runs.length > 1 ? `, ${run.name}` : ""}: ${Chart.shown(c.value)}`));
        dot.style.cursor = "pointer";
        dot.addEventListener("click", () => chooseCase(c.case));
        node.append(dot);
      });
    }));
    return node;
  }
}

// Bland and Altman's plot of volumes.
function agreement(place) {
  const { html, svg } = Chart;
  const holder = html("div", {});
  const runs = DATA.runs.map((run, i) => ({ ...run, i })).filter((run) => run.cases.length);
  if (!runs.length) return;
  let label = DATA.labels[0]?.value;
  const redraw = () => holder.replaceChildren(draw());
  place.append(html("div", { class: "controls" }, Chart.select("Label", DATA.labels.map((l) => [l.value, l.name]), (v) => { label = v; redraw(); })), holder);
  if (runs.length > 1) place.append(Chart.legend(runs.map((run) => [run.name, Chart.colour(run.i)])));
  redraw();

  function draw() {
    const points = runs.flatMap((run) => run.cases.filter((c) => typeof c.labels[label]?.volume_truth_ml === "number").map((c) => {
      const { volume_prediction_ml: found, volume_truth_ml: truth } = c.labels[label];
      return { run, case: c.case, mean: (found + truth) / 2, difference: found - truth };
    }));
    if (!points.length) return html("p", { class: "soft" }, "no case has volumes");
    const limits = runs.map((run) => {
      const own = points.filter((p) => p.run === run).map((p) => p.difference);
      const mean = own.reduce((a, b) => a + b, 0) / (own.length || 1);
      const sd = Math.sqrt(own.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(own.length - 1, 1));
      return { run, lines: [mean, mean - 1.96 * sd, mean + 1.96 * sd] };
    });
    const ys = [...points.map((p) => p.difference), ...limits.flatMap((l) => l.lines), 0];
    const xs = points.map((p) => p.mean);
    const pad = (Math.max(...xs) - Math.min(...xs)) * 0.05 || 1;
    const [node, at] = Chart.frame({
      x: [Math.min(...xs) - pad, Math.max(...xs) + pad], y: [Math.min(...ys), Math.max(...ys)],
      label: "differences of volumes over their means", xName: "mean of both volumes, ml", yName: "predicted − true, ml",
    });
    for (const { run, lines } of limits) {
      lines.forEach((v, i) => node.append(svg("line", { x1: Chart.LEFT, x2: Chart.W - Chart.RIGHT, y1: at.y(v), y2: at.y(v), stroke: Chart.colour(run.i), "stroke-dasharray": i ? "6 5" : "none" })));
    }
    for (const p of points) {
      const dot = svg("circle", { cx: at.x(p.mean), cy: at.y(p.difference), r: 4, fill: Chart.colour(p.run.i), "fill-opacity": 0.8 },
        svg("title", {}, `${p.case}: ${Chart.shown(p.difference)} ml of ${Chart.shown(p.mean)} ml`));
      dot.style.cursor = "pointer";
      dot.addEventListener("click", () => chooseCase(p.case));
      node.append(dot);
    }
    return node;
  }
}
