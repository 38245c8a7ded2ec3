// The table of cases, worst first, and the slices of the chosen one.
let chooseCase = () => {};

(() => {
  const place = document.getElementById("cases");
  if (!place) return;
  const { html } = Chart;
  const runs = DATA.runs.filter((run) => run.cases.length);
  const shown = (v) => (typeof v === "number" ? v.toFixed(3) : "–");
  const main = DATA.metrics[0]?.key;
  const state = { run: runs.length - 1, by: "mean", down: false };
  const labels = DATA.labels;

  function rows() {
    const run = runs[state.run];
    const known = new Map((run?.cases ?? []).map((c) => [c.case, c]));
    return DATA.cases.map(({ case: name }) => {
      const found = known.get(name)?.labels ?? {};
      const values = labels.map((l) => found[l.value]?.[main]).filter((v) => typeof v === "number");
      const mean = values.length ? values.reduce((a, b) => a + b, 0) / values.length : undefined;
      return { name, found, mean };
    });
  }
  const key = (row) => (state.by === "name" ? row.name : state.by === "mean" ? row.mean : row.found[state.by]?.[main]);

  function draw() {
    const sorted = rows().sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      return (x < y ? -1 : x > y ? 1 : 0) * (state.down ? -1 : 1);
    });
    const measured = main === undefined ? [] : [["mean", `mean ${DATA.metrics[0].name}`], ...labels.map((l) => [l.value, l.name])];
    const columns = [["name", "case"], ...measured];
    const head = html("tr", {}, ...columns.map(([by, text]) => {
      const sort = html("button", { type: "button", class: "plain" }, text);
      sort.addEventListener("click", () => { state.down = state.by === by && !state.down; state.by = by; draw(); });
      const current = state.by === by ? { "aria-sort": state.down ? "descending" : "ascending" } : {};
      return html("th", { scope: "col", ...current }, sort);
    }));
    const body = sorted.map((row) => {
      const open = html("button", { type: "button", class: "plain" }, row.name);
      open.addEventListener("click", () => chooseCase(row.name));
      const cells = measured.map(([by]) => html("td", {}, shown(by === "mean" ? row.mean : row.found[by]?.[main])));
      return html("tr", { "data-case": row.name }, html("th", { scope: "row" }, open), ...cells);
    });
    place.replaceChildren(html("table", {}, html("thead", {}, head), html("tbody", {}, ...body)));
    return sorted.map((row) => row.name);
  }

  chooseCase = (name) => {
    const found = DATA.cases.find((c) => c.case === name);
    if (!found) return;
    for (const row of place.querySelectorAll("tr")) row.classList.toggle("chosen", row.dataset.case === name);
    const box = document.getElementById("case");
    const parts = [html("h3", {}, name)];
    if (found.picture) parts.push(html("img", { alt: `Slices of ${name} with predictions and truth`, src: `data:image/png;base64,${found.picture}` }));
    else if (!found.volumes) parts.push(html("p", { class: "soft" }, "no pictures of this case are in the page"));
    box.replaceChildren(...parts);
    document.dispatchEvent(new CustomEvent("case", { detail: found }));
  };

  if (runs.length > 1) {
    const choice = Chart.select("Measured on", runs.map((run, i) => [i, run.name]), (v) => { state.run = Number(v); draw(); });
    choice.querySelector("select").value = state.run;
    place.before(html("div", { class: "controls" }, choice));
  }
  const order = draw();
  // The worst case that can be seen, once the viewer listens.
  const seen = new Set(DATA.cases.filter((c) => c.picture || c.volumes).map((c) => c.case));
  const worst = order.find((name) => seen.has(name));
  if (worst !== undefined) document.addEventListener("DOMContentLoaded", () => chooseCase(worst));
})();

for (const [id, draw] of [["boxes", boxes], ["agreement", agreement], ["curves", curves]]) {
  const place = document.getElementById(id);
  if (place) draw(place);
}
