"use strict";
// The trials, either embedded in the page (reports) or followed in files beside it (live).
// state.json is small and rewritten; points.jsonl and genes.jsonl only grow, so an update
// fetches nothing but their new bytes.

const FOLDER = "joint-ga/";
const COMPLETE = 0, FAILED = 1, CENSORED = 2;
const ORDER = "trial";   // beside the metrics: a trial's place in the order they finished

const store = {
  state: null,
  space: { genes: [], kinds: [] },
  rows: [],            // one per finished trial, in the order they finished
  byUid: new Map(),
  front: new Set(),
  live: true,
};

function resetStore() {
  store.rows = [];
  store.byUid = new Map();
  store.read = { points: 0, genes: 0 };
}

function addPoints(lines) {
  for (const [uid, trial, time, status, feasible, origin, metrics, reason] of lines) {
    const row = { uid, trial, time, status, feasible: feasible === 1, origin, metrics, reason, genes: null };
    const known = store.byUid.get(uid);
    if (known) {
      Object.assign(known, row, { genes: known.genes });
    } else {
      store.byUid.set(uid, row);
      row.order = store.rows.push(row);
    }
  }
}

function addGenes(lines) {
  for (const [uid, genes] of lines) {
    const row = store.byUid.get(uid);
    if (row) row.genes = genes;
  }
}

function setState(state) {
  store.state = state;
  store.front = new Set(state.front);
}

function loadEmbedded(data) {
  resetStore();
  store.live = false;
  store.space = data.space;
  addPoints(data.points);
  addGenes(data.genes);
  setState(data.state);
}

async function fetchJson(name) {
  const response = await fetch(FOLDER + name, { cache: "no-store" });
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  return response.json();
}

// Whole lines of a growing file from byte `from` to byte `to`, parsed.
async function fetchLines(name, from, to) {
  if (to <= from) return [];
  const response = await fetch(FOLDER + name, {
    cache: "no-store", headers: { Range: `bytes=${from}-${to - 1}` },
  });
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  let bytes = await response.arrayBuffer();
  if (response.status === 200) bytes = bytes.slice(from, to);   // a server that ignores Range
  const text = new TextDecoder().decode(bytes).trim();
  return text ? JSON.parse(`[${text.replaceAll("\n", ",")}]`) : [];
}

// State and space as the page's head has asked for them, once; null for what did not come.
async function early() {
  const asked = window.askedEarly || [];
  window.askedEarly = null;
  return Promise.all(asked);
}

// One poll. Resolves to what changed: "nothing", "counts" (no finished trial is new) or "points".
async function pollStore() {
  const previous = store.state, [first, space] = await early();
  const state = first || await fetchJson("state.json");
  if (previous && state.version === previous.version) return "nothing";
  if (!previous || state.generation !== previous.generation) {
    resetStore();
    store.space = space && space.generation === state.generation ? space : await fetchJson("space.json");
  }
  const grown = state.bytes.points > store.read.points;
  addPoints(await fetchLines("points.jsonl", store.read.points, state.bytes.points));
  store.read.points = state.bytes.points;
  setState(state);
  return grown ? "points" : "counts";
}

// Chromosomes are the larger part; they are fetched after the front has been drawn.
async function pollGenes() {
  const from = store.read.genes, to = store.state.bytes.genes;
  if (to <= from) return false;
  addGenes(await fetchLines("genes.jsonl", from, to));
  store.read.genes = to;
  return true;
}

// Asked for some hundred thousand times an update.
const columns = { of: null, at: new Map() };
function metricIndex(name) {
  const { metrics } = store.state;
  if (columns.of !== metrics) Object.assign(columns, { of: metrics, at: new Map(metrics.map((m, i) => [m, i])) });
  return columns.at.get(name) ?? -1;
}
const value = (row, name) => (name === ORDER ? row.order : row.metrics[metricIndex(name)]);
// What ranks a trial: the value that is expected of the finished network, where there is one.
const ranked = (row, name) => {
  const at = metricIndex(`expected_${name}`), expected = at < 0 ? null : row.metrics[at];
  return expected ?? value(row, name);
};
// The name of that value.
const rankedName = (name) => (metricIndex(`expected_${name}`) < 0 ? name : `expected_${name}`);
const isLimited = (name) => store.state.limits.some((l) => rankedName(l.metric) === name);
const objectives = () => Object.keys(store.state.objectives).filter((m) => store.state.metrics.includes(m));
const isSingle = () => objectives().length === 1;

// A gene of a row in plain form: choices are stored as the index of their value.
function geneValue(row, index) {
  const raw = row.genes ? row.genes[index] : null;
  const { values } = store.space.genes[index];
  return values && raw !== null ? values[raw] : raw;
}

function chromosome(row) {
  const result = {};
  store.space.genes.forEach(({ name }, index) => {
    const v = geneValue(row, index);
    if (v !== null && v !== undefined) result[name] = v;
  });
  return result;
}

function frontRows() {
  return store.rows.filter((row) => store.front.has(row.uid));
}

// The member of the front nearest to the ideal corner, objectives scaled to the front's range.
function kneeRow() {
  const rows = frontRows();
  const objectives = Object.entries(store.state.objectives);
  const spans = objectives.map(([name]) => {
    const all = rows.map((row) => ranked(row, name));
    return [Math.min(...all), Math.max(...all)];
  });
  let best = null, least = Infinity;
  for (const row of rows) {
    let distance = 0;
    objectives.forEach(([name, mode], i) => {
      const [low, high] = spans[i];
      const scaled = high > low ? (ranked(row, name) - low) / (high - low) : 0;
      distance += (mode === "maximize" ? 1 - scaled : scaled) ** 2;
    });
    if (distance < least) [best, least] = [row, distance];
  }
  return best;
}
