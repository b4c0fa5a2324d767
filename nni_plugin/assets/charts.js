// The trade-off, drawn by Plotly from the store and the controls.

const PLOT_CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };

function baseLayout(extra) {
  const axis = { gridcolor: theme("line"), zeroline: false, linecolor: theme("line"), automargin: true };
  const { xaxis, yaxis, ...rest } = extra;
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: theme("text"), size: 12, family: "system-ui, sans-serif" },
    margin: { l: 56, r: 12, t: 8, b: 44 }, showlegend: false, hovermode: "closest",
    uirevision: "keep",
    xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
  };
}

// Members of `rows` that no other beats in both metrics, as a staircase from left to right.
function staircase(rows, x, y) {
  const sx = direction(x) === "maximize" ? -1 : 1, sy = direction(y) === "maximize" ? -1 : 1;
  const sorted = [...rows].sort((a, b) => sx * (value(a, x) - value(b, x)) || sy * (value(a, y) - value(b, y)));
  const result = [];
  let best = Infinity;
  for (const row of sorted) {
    if (sy * value(row, y) < best) {
      best = sy * value(row, y);
      result.push(row);
    }
  }
  return result;
}

function limitShapes(x, y, log) {
  const shapes = [];
  for (const { metric, op, limit } of store.state.limits) {
    for (const [axis, name] of [["x", x], ["y", y]]) {
      if (rankedName(metric) !== name) continue;
      const at = axis === "x" && log ? Math.max(limit, 1e-9) : limit;
      const far = op.startsWith("<") ? at + Math.abs(at) * 50 + 1e-6 : (axis === "x" && log ? 1e-9 : at - Math.abs(at) * 50 - 1e-6);
      const other = axis === "x" ? "y" : "x";
      const common = { layer: "below", line: { width: 0 }, [`${other}ref`]: "paper", [`${other}0`]: 0, [`${other}1`]: 1 };
      shapes.push({ ...common, type: "rect", fillcolor: theme("limit"), [`${axis}0`]: at, [`${axis}1`]: far });
      shapes.push({ ...common, type: "line", line: { width: 1, dash: "dot", color: theme("infeasible") }, [`${axis}0`]: at, [`${axis}1`]: at });
    }
  }
  return shapes;
}

function pointTrace(rows, x, y, name, marker) {
  return {
    type: "scatter", mode: "markers", name, hoverinfo: "none", marker,
    x: rows.map((r) => value(r, x)), y: rows.map((r) => value(r, y)), customdata: rows.map((r) => r.uid),
  };
}

// What the scatter shows: the two metrics (or the order of the trials), and the trials that have both.
function scatterRows() {
  const x = $("x").value, y = $("y").value, log = $("log-x").checked;
  const has = (v) => v !== null && v !== undefined;
  const complete = store.rows.filter((r) => r.status === COMPLETE && has(value(r, x)) && has(value(r, y)));
  const feasible = complete.filter((r) => r.feasible);
  const front = feasible.filter((r) => store.front.has(r.uid));
  const infeasible = $("show-infeasible").checked ? complete.filter((r) => !r.feasible) : [];
  return { x, y, log, complete, feasible, front, infeasible };
}

// All values of a metric that the axes have to cover: the trials' and the reference marks'.
const spread = (rows, name) => rows.map((r) => value(r, name)).concat(marks().map((m) => m.at[name]).filter((v) => v !== undefined && v !== null));

function drawScatter() {
  const shown = scatterRows(), { x, y, log, complete, feasible, front, infeasible } = shown;
  setCloud(x, y, feasible.filter((r) => !store.front.has(r.uid)), infeasible);
  drawLegend(shown);
  if (!window.Plotly) {
    drawSketch();
    return;
  }
  cloud.sketch = null;
  if (!x || !y) {
    cloud.drawn = "";
    Plotly.react("scatter", [], baseLayout({}), PLOT_CONFIG);
    return;
  }
  const traces = [];
  const steps = staircase(feasible, x, y);
  traces.push({
    type: "scatter", mode: "lines", hoverinfo: "skip", name: isSingle() ? "best so far" : "best of this pair",
    line: { shape: direction(y) === direction(x) ? "vh" : "hv", color: theme("front"), width: 1.2 },
    x: steps.map((r) => value(r, x)), y: steps.map((r) => value(r, y)),
  });
  traces.push(pointTrace(front, x, y, "Pareto front", { color: theme("front"), size: 9, line: { color: theme("card"), width: 1 } }));
  traces.push(...markTraces(x, y));
  const chosen = store.byUid.get(controls.chosen);
  if (chosen && chosen.status === COMPLETE) {
    traces.push(pointTrace([chosen], x, y, "chosen", { symbol: "circle-open", size: 18, color: theme("text"), line: { width: 2 } }));
  }
  const shapes = limitShapes(x, y, log);
  const baseline = baselineAt();
  if (baseline[y] !== undefined && baseline[x] === undefined) {
    shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: baseline[y], y1: baseline[y],
      line: { color: theme("baseline"), width: 1.5, dash: "dash" } });
  }
  const layout = baseLayout({
    shapes,
    uirevision: `${x}|${y}|${log}`, margin: SCATTER_MARGIN, modebar: { orientation: "v", bgcolor: "rgba(0,0,0,0)" },
    xaxis: { title: { text: label(x) }, type: log ? "log" : "linear", ...axisRange(spread(complete, x), log) },
    yaxis: { title: { text: label(y) }, ...axisRange(spread(complete, y), false) },
  });
  // Most trials of a long search change nothing that Plotly draws, which is the costliest part.
  const drawn = JSON.stringify([traces, layout]);
  if (drawn === cloud.drawn) {
    drawCloud();
    return;
  }
  cloud.drawn = drawn;
  Plotly.react("scatter", traces, layout, PLOT_CONFIG);
  listen("scatter");
  // Later on it is redrawn by Plotly's own events, zooming included.
  if (!window.jointGA.updates) drawCloud();
}

// Shaded limits must not stretch the axes, so their range is set from the points alone.
function axisRange(values, log, padding = 0.05) {
  let low = Infinity, high = -Infinity;
  for (const v of values) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  if (!(high >= low)) return {};
  if (log) {
    if (low <= 0) return {};
    [low, high] = [Math.log10(low), Math.log10(high)];
  }
  const pad = (high - low) * padding || (high > low ? 0 : Math.abs(high) * 0.05 || 1);
  return { range: [low - pad, high + pad] };
}

// The float network's metrics; what is expected of it is what it has.
function baselineAt() {
  const { baseline } = store.state;
  return { ...baseline, ...Object.fromEntries(Object.entries(baseline).map(([m, v]) => [rankedName(m), v])) };
}

function marks() {
  const result = [];
  const int8 = store.byUid.get(store.state.int8);
  if (int8) {
    result.push({ name: "uniform int8", uid: int8.uid, symbol: "diamond", colour: "int8",
      at: { [ORDER]: int8.order, ...Object.fromEntries(store.state.metrics.map((m) => [m, value(int8, m)])) } });
  }
  if (Object.keys(store.state.baseline).length) {
    result.push({ name: "baseline (float)", uid: null, symbol: "star", colour: "baseline", at: baselineAt() });
  }
  return result;
}

function markTraces(x, y) {
  return marks().map(({ name, uid, symbol, colour, at }) => {
    const known = at[x] !== undefined && at[y] !== undefined;
    return {
      type: "scatter", mode: known ? "markers" : "lines", name, hoverinfo: uid === null ? "name+x+y" : "none",
      x: [known ? at[x] : null], y: [known ? at[y] : null], customdata: [uid],
      marker: { symbol, size: 13, color: theme(colour), line: { color: theme("card"), width: 1 } },
      line: { color: theme(colour), dash: "dash" },
    };
  });
}
