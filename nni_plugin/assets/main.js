// Controls, the chosen point, and the loop that follows a running experiment.

const controls = { chosen: null, against: null, follow: true, lost: false };
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
  const { metrics } = store.state, keys = objectives();
  const named = metrics.map((m) => [m, label(m)]), placed = [...named, [ORDER, "order of the trials"]];
  const up = keys.find((m) => direction(m) === "maximize") || keys[0] || metrics[0];
  // One plain number has nothing to be traded for: it is shown as it came in.
  const across = isSingle() ? ORDER : keys.find((m) => m !== up) || metrics.find((m) => m !== up) || ORDER;
  const genes = store.space.genes.map(({ name }) => [name, name]);
  fillSelect($("x"), placed, across);
  fillSelect($("y"), named, up);
  // Expected values come in the course of a search; they are what ranks from then on.
  if (up && !$("y").dataset.chosen) $("y").value = rankedName(up);
  fillSelect($("colour"), [["front", "none"], ...placed], "front");
  fillSelect($("importance-metric"), named, up);
  fillSelect($("slice-metric"), named, up);
  fillSelect($("slice-gene"), genes, (genes[0] || [""])[0]);
}

function drawHeader() {
  const { state } = store, { counts } = state;
  const single = isSingle(), best = single ? frontRows()[0] : null;
  $("kind").textContent = single ? "Search" : "Pareto front";
  $("main").classList.toggle("single", single);
  $("infeasible-label").hidden = !state.limits.length;
  $("h-slice").textContent = `Slice: one ${hasLayers() ? "gene" : "parameter"}`;
  $("h-scatter").textContent = single ? "Results" : "Trade-off";
  $("experiment").textContent = state.experiment;
  document.title = `${counts.complete} trials · ${$("kind").textContent} ${state.experiment}`;
  const last = state.hypervolume.at(-1);
  const minutes = state.elapsed / 60;
  const complete = state.planned ? `${counts.complete} of ${state.planned}` : counts.complete;
  const figures = [["complete", complete], ["running", state.ended ? 0 : counts.running], ["failed", counts.failed],
    ["stopped early", counts.censored], ["trained to the end", state.trained],
    ...(single ? [[`best ${label(objectives()[0])}`, best ? format(value(best, objectives()[0])) : "–"]]
      : [["front", state.front.length], ["hypervolume", last ? last[2].toFixed(4) : `from ${state.settled_after} trials on`]]),
    ["time", minutes < 90 ? `${minutes.toFixed(1)} min` : `${(minutes / 60).toFixed(1)} h`]];
  const optional = ["failed", "stopped early", "trained to the end", ...(state.ended ? ["running"] : [])];
  $("figures").replaceChildren(...figures.filter(([name, n]) => n || !optional.includes(name)).map(([name, n]) => {
    const box = element("div");
    box.append(element("dt", "", name), element("dd", "", String(n)));
    return box;
  }));
  const running = store.live && !state.ended;
  setStatus(running ? "running" : state.ended ? (wasCut() ? ending(state.ended) : `done: ${ending(state.ended)}`) : "report", running ? "running" : "");
  $("software").hidden = !state.software;
  $("software").textContent = state.software || "";
  const nothing = !counts.complete;
  $("notice").hidden = !nothing && !(counts.complete && !state.front.length);
  $("notice").textContent = nothing
    ? (counts.failed ? `No trial has completed; ${counts.failed} failed. Last reason: ${state.failure || "unknown"}`
      : state.ended ? "The search ended without a result." : "Waiting for the first result.")
    : `No trial satisfies every constraint yet; the amber points are infeasible. ${state.unmet || ""}`;
  drawAdvice();
}

function setStatus(text, kind) {
  $("status").textContent = text;
  $("status").className = `pill ${kind}`;
}

function showTip(row, event) {
  const tip = $("tip"), table = element("table");
  for (const metric of ownMetrics().slice(0, 8)) {
    const line = table.insertRow();
    line.append(labelled("th", metric), element("td", "", format(value(row, metric))));
  }
  const title = element("b", "", `uid ${row.uid}${row.trial ? ` · trial ${row.trial}` : ""}${row.feasible ? "" : " · infeasible"}`);
  tip.replaceChildren(title, table);
  if (row.genes) {
    const { layers, other } = byLayer(row);
    if (layers.length) tip.append(heatMap([row], { named: layers.length <= 16, room: 400 }));
    if (other.length) tip.append(otherGenes([row], 12));
  }
  placeTip(event);
}

function placeTip({ clientX, clientY }) {
  const tip = $("tip");
  tip.hidden = false;
  const left = clientX + 16 + tip.offsetWidth > innerWidth ? clientX - 16 - tip.offsetWidth : clientX + 16;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(clientY + 12, innerHeight - tip.offsetHeight - 8))}px`;
}

// Plotly's events of a chart, once it has been drawn for the first time.
function listen(id) {
  if ($(id).dataset.listens) return;
  $(id).dataset.listens = "yes";
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

// What the first look needs, and no more.
function drawFront() {
  fillControls();
  drawHeader();
  followKnee();
  drawScatter();
  window.jointGA.points = store.rows.length;
}

// Costly parts wait until they come near the window: out of sight they may be some updates behind.
const COSTLY = { hypervolume: drawHypervolume, parallel: drawParallel, importance: drawImportance, slice: drawSlice };
const NEAR = "400px 0px";
const sight = { near: new Set(), late: new Set() };

function listenToSight() {
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const name = target.dataset.part;
      sight.near[isIntersecting ? "add" : "delete"](name);
      if (isIntersecting && sight.late.delete(name)) COSTLY[name]();
    }
  }, { rootMargin: NEAR });
  for (const name of Object.keys(COSTLY)) {
    const card = $(name).closest(".card");
    card.dataset.part = name;
    watcher.observe(card);
  }
  addEventListener("beforeprint", () => drawLate());
}

function drawLate() {
  for (const name of sight.late) COSTLY[name]();
  sight.late.clear();
}

// The parts below the front.
function drawRest() {
  fixedGenes = neverVaried();
  drawChosen();
  drawFinalists();
  drawTrials();
  drawFailures();
  for (const name of Object.keys(COSTLY)) drawPart(name);
}

// A costly part, now or once it is near. One that hides itself is drawn, to find out whether it still has to.
function drawPart(name) {
  const waits = window.jointGA.updates && !sight.near.has(name) && !$(name).closest(".card").hidden;
  sight.late[waits ? "add" : "delete"](name);
  if (!waits) COSTLY[name]();
}

const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

// Reading 4.8 MB of Plotly takes a browser longer than all else together, so the front is sketched
// first, and the file is asked for once that is painted: its megabytes would be in the way.
function askForPlotly() {
  if (window.Plotly || document.querySelector("link[rel=preload]")) return;
  document.head.append(Object.assign(element("link"), { rel: "preload", href: `${FOLDER}plotly.min.js`, as: "script" }));
}

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
      if (!window.jointGA.updates) performance.mark("joint-ga-front");
      askForPlotly();
      await pollGenes();
      drawRest();
      if (!window.jointGA.updates) {
        await painted();
        performance.mark("joint-ga-content");
        await loadPlotly();
        drawScatter();
        await painted();
      }
      finishUpdate(start);
    } else if (changed === "counts" || controls.lost) {
      drawHeader();
    }
    controls.lost = false;
    if (store.state.ended) wait = IDLE_POLL_MS;
  } catch (error) {
    wait = controls.lost ? IDLE_POLL_MS : POLL_MS;
    controls.lost = true;
    setStatus("disconnected", "lost");
    $("status").title = `${error}. The last state is shown; this page tries again.`;
  }
  setTimeout(follow, wait);
}

function finishUpdate(start) {
  if (!window.jointGA.updates) {
    listenToPlotly();
    performance.mark("joint-ga-ready");
  }
  window.jointGA.updates += 1;
  window.jointGA.lastUpdateMs = performance.now() - start;
}

// What is laid out by width in scripts, and not in CSS, is drawn again when that changes.
function listenToWidth() {
  let width = innerWidth, waiting = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (!store.state) return;
      drawScatter();
      drawRest();
    }, 150);
  });
}

function start() {
  $("y").addEventListener("change", () => { $("y").dataset.chosen = "yes"; });
  for (const id of ["x", "y", "colour", "log-x", "show-infeasible"]) $(id).addEventListener("change", drawScatter);
  $("hv-axis").addEventListener("change", drawHypervolume);
  for (const id of ["slice-gene", "slice-metric"]) $(id).addEventListener("change", drawSlice);
  $("importance-metric").addEventListener("change", drawImportance);
  $("pick").addEventListener("change", () => choose(Number($("pick").value)));
  $("against").addEventListener("change", () => {
    controls.against = $("against").value ? Number($("against").value) : null;
    drawChosen();
  });
  $("scatter").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    chooseAlong(step);
  });
  listenToTrials();
  listenToParallel();
  listenToHypervolume();
  listenToCloud();
  listenToSight();
  listenToWidth();
  $("theme").addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).getPropertyValue("--bg").trim() === "#10141b";
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    colours.clear();
    drawFront();
    drawRest();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    colours.clear();
    if (store.state) { drawFront(); drawRest(); }
  });
  $("nni-link").hidden = !inNni;
  $("index-link").hidden = !new URLSearchParams(location.search).has("of");
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
