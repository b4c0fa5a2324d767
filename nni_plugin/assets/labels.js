// How names, units and numbers are written, and what the words of the page mean.

const $ = (id) => document.getElementById(id);

// Colours are asked for by the thousand, and the browser computes the page's style for each.
const colours = new Map();
function theme(name) {
  if (!colours.has(name)) colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return colours.get(name);
}

// Reading a width makes the browser lay out the page. Once the page stands, only the window changes it.
const widths = new Map();
function widthOf(id) {
  const key = `${id} ${innerWidth}`;
  if (!window.jointGA.updates || !widths.has(key)) widths.set(key, $(id).clientWidth);
  return widths.get(key);
}

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

const unit = (metric) => store.state.units[metric] || "";
const label = (metric) => (metric === ORDER ? "trial, in the order they finished" : unit(metric) ? `${metric} (${unit(metric)})` : metric);

function direction(name) {
  const given = store.state.objectives[name];
  if (given) return given;
  return name === ORDER || /(_kb|_ms|_mj|macs|bops|loss|error)$/.test(name) ? "minimize" : "maximize";
}

// The same as an element that breaks after an underline and before the unit, never within a word.
function labelled(tag, metric) {
  const node = element(tag);
  metric.split(/(?<=_)/).forEach((part, i) => node.append(...(i ? [element("wbr"), part] : [part])));
  if (unit(metric)) node.append(" ", element("span", "unit", `(${unit(metric)})`));
  return node;
}

const better = (name) => (direction(name) === "maximize" ? "more is better" : "less is better");

function format(v) {
  if (v === null || v === undefined) return "–";
  if (typeof v !== "number") return String(v);
  for (const [power, letter, from] of [[1e9, "G", 1e9], [1e6, "M", 1e7]]) {
    if (Math.abs(v) >= from) return `${+(v / power).toPrecision(4)} ${letter}`;   // 54,160,422 MACs: 54.16 M
  }
  if (Number.isInteger(v)) return v.toLocaleString("en");
  return Math.abs(v) >= 1000 ? Math.round(v).toLocaleString("en") : String(+v.toPrecision(4));
}

// Metrics that belong to another one: its forecast, the ends of that, its value after the whole
// training and on test data.
const OF_ANOTHER = /^(?:expected_(.+?)(?:_low|_high)?|(?:test|inherited|final)_(.+))$/;

function ownMetrics() {
  const { metrics } = store.state;
  return metrics.filter((m) => {
    const match = OF_ANOTHER.exec(m);
    return m !== "final_runs" && (!match || !metrics.includes(match[1] || match[2]));
  });
}

function known(row, name) {
  const at = metricIndex(name);
  return at < 0 ? null : row.metrics[at] ?? null;
}

// [low, high] of an estimate, from the error of its model; null where it is exact or nobody knows.
function interval(metric, v) {
  const factor = store.state.errors[metric];
  return factor > 1 && v !== null && v !== undefined ? [v / factor, v * factor] : null;
}

const WORDS = {
  uid: "uid: the trial's own number in this experiment.",
  export: "joint-ga export takes it as --trial.",
  knee: "Knee: the member of the front nearest to the best of all objectives at once, each scaled to the front's range.",
  front: "Pareto front: what no other trial beats in all objectives.",
  infeasible: "Infeasible: breaks a limit, so it is never on the front.",
  int8: "Uniform int8: the whole network at 8 bits, nothing pruned. Baseline: the float network.",
};

const ENDINGS = {
  budget: "all planned trials are done",
  trials: "all planned trials are done",
  stagnation: "the hypervolume no longer grew",
  exhausted: "every candidate was tried",
  stopped: "it was stopped",
  error: "it ended in an error",
};
const ending = (reason) => ENDINGS[reason] || reason;
const wasCut = () => ["stopped", "error"].includes(store.state.ended);
