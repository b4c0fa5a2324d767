// Several experiments: a table of them, and their fronts in one chart. Each has its page in its folder.

const INDEX_POLL_MS = 2000;
// Told apart by people with any colour vision (Okabe and Ito, 2008), on light and dark alike.
const SERIES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f"];
const several = { names: [], states: new Map() };
window.jointGA = { updates: 0 };   // read by tests

const seriesColour = (i) => SERIES[i % SERIES.length];
const goalsOf = (state) => Object.entries(state.objectives).map(([m, mode]) => `${m} ${mode === "maximize" ? "↑" : "↓"}`).join(", ");

function drawList() {
  const table = element("table"), head = table.createTHead().insertRow(), body = table.createTBody();
  for (const title of ["experiment", "state", "complete", "failed", "front", "hypervolume", "objectives"]) {
    head.append(Object.assign(element("th", "", title), { scope: "col" }));
  }
  several.names.forEach((name, i) => {
    const state = several.states.get(name), line = body.insertRow(), first = Object.assign(element("th"), { scope: "row" });
    const swatch = element("span", "swatch"), link = element("a", "", name);
    swatch.style.background = seriesColour(i);
    link.href = `${encodeURIComponent(name)}/pareto.html?of=all`;
    first.append(swatch, link);
    line.append(first);
    const last = state && state.hypervolume.at(-1);
    const cells = state ? [state.ended ? ending(state.ended) : "running", state.planned ? `${state.counts.complete} of ${state.planned}` : state.counts.complete,
      state.counts.failed, state.front.length, last ? last[2].toFixed(4) : "–", goalsOf(state)] : ["not read", "", "", "", "", ""];
    for (const text of cells) line.insertCell().textContent = String(text);
  });
  $("list").replaceChildren(table);
}

// Experiments that can be drawn together: those with the same objectives, of which there are two or more.
function fillGoals() {
  const kinds = [...new Set([...several.states.values()].filter((s) => Object.keys(s.objectives).length > 1).map(goalsOf))];
  const select = $("goals"), before = select.value;
  if (select.dataset.options === kinds.join("|")) return;
  select.dataset.options = kinds.join("|");
  select.replaceChildren(...kinds.map((text) => new Option(text, text)));
  select.value = kinds.includes(before) ? before : kinds[0] || "";
}

function drawFronts() {
  const goals = $("goals").value, canvas = $("fronts");
  const shown = several.names.map((name, i) => ({ name, i, state: several.states.get(name) })).filter(({ state }) => state && goalsOf(state) === goals && state.front.length);
  $("fronts-card").hidden = !shown.length;
  if (!shown.length) return;
  store.state = shown[0].state;
  const [up, across] = Object.keys(store.state.objectives);
  const points = shown.flatMap(({ state }) => state.front_values);
  const width = canvas.clientWidth, height = canvas.clientHeight, ink = inkOf(canvas, width, height);
  if (!ink) return;
  const { l, r, t, b } = SCATTER_MARGIN;
  const range = (k) => {
    const all = points.map((p) => p[k]), low = Math.min(...all), high = Math.max(...all), pad = (high - low || Math.abs(high) || 1) * 0.05;
    return [low - pad, high + pad];
  };
  const xs = sketchAxis(range(1), l, width - r, false), ys = sketchAxis(range(0), height - b, t, false);
  inkAxes(ink, width, height, xs, ys, [label(across), label(up)]);
  for (const { i, state } of shown) {
    Object.assign(ink, { fillStyle: seriesColour(i), strokeStyle: seriesColour(i) });
    for (const [y, x] of state.front_values) {
      ink.beginPath();
      ink.arc(xs.at(x), ys.at(y), 4, 0, 2 * Math.PI);
      ink.fill();
    }
  }
  $("legend").replaceChildren(...shown.map(({ name, i }) => {
    const item = element("li"), swatch = element("span", "swatch");
    swatch.style.background = seriesColour(i);
    item.append(swatch, element("span", "", name));
    return item;
  }));
  canvas.setAttribute("aria-label", `${label(up)} over ${label(across)} of the fronts of ${shown.map(({ name, state }) => `${name} (${state.front.length} points)`).join(", ")}`);
}

async function followAll() {
  let lost = 0;
  for (const name of several.names) {
    try {
      const response = await fetch(`${encodeURIComponent(name)}/${FOLDER}state.json`, { cache: "no-store" });
      several.states.set(name, await response.json());
    } catch {
      lost += 1;   // the last state is shown
    }
  }
  const running = [...several.states.values()].filter((state) => !state.ended).length;
  $("status").textContent = lost ? "disconnected" : `${running} running, ${several.names.length - running} ended`;
  $("status").className = `pill ${lost ? "lost" : running ? "running" : ""}`;
  drawList();
  fillGoals();
  drawFronts();
  window.jointGA.updates += 1;
  setTimeout(followAll, INDEX_POLL_MS);
}

document.addEventListener("DOMContentLoaded", () => {
  several.names = JSON.parse($("joint-ga-data").textContent);
  $("goals").addEventListener("change", drawFronts);
  addEventListener("resize", drawFronts);
  followAll();
});
