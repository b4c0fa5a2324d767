// Controls, the chosen point, and the loop that follows a running experiment.

const controls = { chosen: null, follow: true, lost: false };
const POLL_MS = 1000, IDLE_POLL_MS = 5000;
const inNni = location.pathname.includes("/logs/");
window.jointGA = { store, updates: 0, lastUpdateMs: null, points: 0 };   // read by tests and benchmarks

function fillSelect(select, options, wanted) {
  const before = select.value;
  const key = JSON.stringify(options);
  if (select.dataset.options === key) return;
  select.dataset.options = key;
  select.replaceChildren(...options.map(([v, text]) => new Option(text, v)));
  const has = (v) => options.some(([o]) => o === v);
  select.value = has(before) && before ? before : (has(wanted) ? wanted : (options[0] || [""])[0]);
}

function fillControls() {
  const { metrics, objectives } = store.state;
  const named = metrics.map((m) => [m, m]);
  const keys = Object.keys(objectives).filter((m) => metrics.includes(m));
  const up = keys.find((m) => objectives[m] === "maximize") || keys[0] || metrics[0];
  const across = keys.find((m) => m !== up) || metrics.find((m) => m !== up) || up;
  fillSelect($("x"), named, across);
  fillSelect($("y"), named, up);
  fillSelect($("colour"), [["front", "none"], ["order", "order"], ...named], "front");
  fillSelect($("importance-metric"), named, up);
}

function drawHeader() {
  const { state } = store, { counts } = state;
  $("experiment").textContent = state.experiment;
  document.title = `${counts.complete} trials · Pareto front ${state.experiment}`;
  const last = state.hypervolume.at(-1);
  const minutes = state.elapsed / 60;
  const figures = [["complete", counts.complete], ["running", counts.running], ["failed", counts.failed],
    ["stopped early", counts.censored], ["front", state.front.length],
    ["hypervolume", last ? last[2].toFixed(4) : "–"],
    ["time", minutes < 90 ? `${minutes.toFixed(1)} min` : `${(minutes / 60).toFixed(1)} h`]];
  $("figures").replaceChildren(...figures.filter(([name, n]) => n || !["failed", "stopped early"].includes(name)).map(([name, n]) => {
    const box = element("div");
    box.append(element("dt", "", name), element("dd", "", String(n)));
    return box;
  }));
  const running = store.live && !state.ended;
  setStatus(running ? "running" : state.ended ? `ended: ${state.ended}` : "report", running ? "running" : "");
  const nothing = !counts.complete;
  $("notice").hidden = !nothing && !(counts.complete && !state.front.length);
  $("notice").textContent = nothing
    ? (counts.failed ? `No trial has completed; ${counts.failed} failed. Last reason: ${state.failure || "unknown"}`
      : "Waiting for the first result.")
    : "No trial satisfies every constraint yet; the amber points are infeasible.";
}

function setStatus(text, kind) {
  $("status").textContent = text;
  $("status").className = `pill ${kind}`;
}

function choose(uid) {
  controls.chosen = uid;
  controls.follow = false;
  drawChosen();
  drawScatter();
  drawParallel();
}

function drawChosen() {
  if (controls.follow || !store.byUid.has(controls.chosen)) {
    const knee = kneeRow();
    controls.chosen = knee ? knee.uid : null;
  }
  const row = store.byUid.get(controls.chosen);
  const options = frontRows().map((r) => [String(r.uid), `uid ${r.uid}`]);
  if (row && !store.front.has(row.uid)) options.unshift([String(row.uid), `uid ${row.uid} (not on it)`]);
  fillSelect($("pick"), options, "");
  $("chosen-metrics").replaceChildren(row ? metricTable(row) : element("p", "empty", "The front is empty so far."));
  $("chosen-links").replaceChildren(...(row ? links(row) : []));
  if (row) $("pick").value = String(row.uid);
  drawLayers();
}

function metricTable(row) {
  const table = element("table");
  const head = table.createTHead().insertRow();
  const reference = marks();
  for (const title of ["", `uid ${row.uid}`, ...reference.map((m) => m.name), "goal"]) head.append(element("th", "", title));
  const body = table.createTBody();
  for (const metric of store.state.metrics) {
    const line = body.insertRow(), v = value(row, metric);
    line.insertCell().textContent = metric;
    const cell = line.insertCell();
    cell.textContent = format(v);
    const limits = store.state.limits.filter((l) => l.metric === metric);
    if (limits.some((l) => !satisfies(v, l))) cell.className = "broken";
    for (const { at } of reference) line.insertCell().textContent = format(at[metric]);
    const goal = line.insertCell();
    goal.className = "goal";
    goal.textContent = [store.state.objectives[metric] ? (direction(metric) === "maximize" ? "↑" : "↓") : "",
      ...limits.map((l) => `${l.op} ${format(l.limit)}`)].join(" ");
  }
  return table;
}

function satisfies(v, { op, limit }) {
  if (v === null || v === undefined) return false;
  return { "<=": v <= limit, "<": v < limit, ">=": v >= limit, ">": v > limit, "==": v === limit }[op];
}

function links(row) {
  const result = [];
  if (row.trial && inNni) {
    const detail = element("a", "", `trial ${row.trial} in NNI`);
    detail.href = "../detail";
    detail.title = "Opens the trial list; the trial is found there by this id.";
    const log = element("a", "", "its log");
    log.href = `../api/v1/nni/trial-file/${row.trial}/stdout`;
    for (const link of [detail, log]) link.target = "_blank";
    result.push(detail, log);
  } else if (row.trial) {
    result.push(element("span", "note", `trial ${row.trial}`));
  }
  const copy = element("button", "", "Copy chromosome");
  copy.type = "button";
  copy.onclick = async () => {
    await navigator.clipboard.writeText(JSON.stringify(chromosome(row), null, 1));
    copy.textContent = "Copied";
  };
  result.push(copy);
  if (store.state.experiment && row.trial) {
    result.push(element("code", "", `joint-ga export ${store.state.experiment} --trial ${row.trial} -o out`));
  }
  return result;
}

function showTip(row, { clientX, clientY }) {
  const tip = $("tip"), table = element("table");
  for (const metric of store.state.metrics.slice(0, 8)) {
    const line = table.insertRow();
    line.append(element("th", "", metric), element("td", "", format(value(row, metric))));
  }
  const title = element("b", "", `uid ${row.uid}${row.trial ? ` · trial ${row.trial}` : ""}${row.feasible ? "" : " · infeasible"}`);
  tip.replaceChildren(title, table);
  if (row.genes) {
    const { layers, other } = byLayer(row);
    if (layers.length) tip.append(heatMap(row, { named: layers.length <= 16 }));
    if (other.length) tip.append(otherGenes(other.slice(0, 12)));
  }
  tip.hidden = false;
  const left = clientX + 16 + tip.offsetWidth > innerWidth ? clientX - 16 - tip.offsetWidth : clientX + 16;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(clientY + 12, innerHeight - tip.offsetHeight - 8))}px`;
}

function listen(id) {
  $(id).on("plotly_hover", (event) => {
    const row = store.byUid.get(event.points[0].customdata);
    if (row) showTip(row, event.event);
  });
  $(id).on("plotly_unhover", () => { $("tip").hidden = true; });
  $(id).on("plotly_click", (event) => {
    const uid = event.points[0].customdata;
    if (store.byUid.has(uid)) choose(uid);
  });
}

function drawFront() {
  fillControls();
  drawHeader();
  drawChosen();
  drawScatter();
  window.jointGA.points = store.rows.length;
}

// The parts below the fold wait for the browser to have painted the front.
function drawRest() {
  drawHypervolume();
  drawParallel();
  drawLayers();
  drawImportance();
}

const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

// Reading 4.8 MB of Plotly takes a browser longer than all else together, so the front is sketched
// first. (The file has been fetched meanwhile: the page asks for it in its head.)
function loadPlotly() {
  if (window.Plotly) return Promise.resolve();
  return new Promise((loaded, failed) => {
    const script = element("script");
    Object.assign(script, { src: `${FOLDER}plotly.min.js`, onload: loaded, onerror: () => { script.remove(); failed(new Error("plotly.min.js is not served")); } });
    document.head.append(script);
  });
}

async function follow() {
  let wait = POLL_MS;
  try {
    const start = performance.now();
    const changed = await pollStore();
    if (changed === "points" || !window.jointGA.updates) {
      drawFront();
      await painted();
      if (!window.jointGA.updates) {
        performance.mark("joint-ga-front");
        await loadPlotly();
        drawScatter();
        await painted();
        performance.mark("joint-ga-interactive");
      }
      await pollGenes();
      drawRest();
      finishUpdate(start);
    } else if (changed === "counts" || controls.lost) {
      drawHeader();
    }
    controls.lost = false;
    if (store.state.ended) wait = IDLE_POLL_MS;
  } catch (error) {
    controls.lost = true;
    setStatus("disconnected", "lost");
    $("status").title = `${error}. The last state is shown; this page tries again.`;
    wait = IDLE_POLL_MS;
  }
  setTimeout(follow, wait);
}

function finishUpdate(start) {
  if (!window.jointGA.updates) {
    for (const id of ["scatter", "parallel"]) listen(id);
    listenToCloud();
    performance.mark("joint-ga-ready");
  }
  window.jointGA.updates += 1;
  window.jointGA.lastUpdateMs = performance.now() - start;
}

function start() {
  for (const id of ["x", "y", "colour", "log-x", "show-infeasible"]) $(id).addEventListener("change", drawScatter);
  $("hv-axis").addEventListener("change", drawHypervolume);
  $("importance-metric").addEventListener("change", drawImportance);
  $("pick").addEventListener("change", () => choose(Number($("pick").value)));
  $("theme").addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).getPropertyValue("--bg").trim() === "#10141b";
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    drawFront();
    drawRest();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (store.state) { drawFront(); drawRest(); } });
  $("nni-link").hidden = !inNni;
  const embedded = $("joint-ga-data");
  if (embedded) {
    const begin = performance.now();
    loadEmbedded(JSON.parse(embedded.textContent));
    drawFront();
    drawRest();
    finishUpdate(begin);
  } else {
    follow();
  }
}

document.addEventListener("DOMContentLoaded", start);
