// The trade-off in plain ink, for the second that the browser takes to read Plotly: all points, the
// front, axes with ticks, where Plotly will draw them. It answers the mouse as the chart will.

const SCATTER_MARGIN = { l: 60, r: 12, t: 26, b: 44 };

// Round numbers within [low, high], about `count` of them.
function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= raw);
  const result = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) result.push(i * step || 0);   // never -0
  return result;
}

function sketchAxis(range, from, to, log) {
  const [low, high] = range;
  const at = (v) => from + ((log ? Math.log10(v) : v) - low) / (high - low) * (to - from);
  const count = Math.max(2, Math.min(6, Math.abs(to - from) / 60));
  return { at, marks: ticks(low, high, count).map((t) => (log ? 10 ** t : t)) };
}

// A canvas that fills its box, at the screen's own resolution, with its ink; null while it is hidden.
function inkOf(canvas, width, height) {
  if (!width || !height) return null;
  const scale = devicePixelRatio || 1;
  Object.assign(canvas, { width: width * scale, height: height * scale });
  const ink = canvas.getContext("2d");
  ink.scale(scale, scale);
  ink.font = "12px system-ui, sans-serif";
  ink.strokeStyle = theme("line");
  ink.fillStyle = theme("text");
  return ink;
}

// Grid, ticks and names of two axes; `xs.marks` and `ys.marks` may be [value, text].
function inkAxes(ink, width, height, xs, ys, names) {
  const { l, r, t, b } = SCATTER_MARGIN;
  const line = (x0, y0, x1, y1) => { ink.beginPath(); ink.moveTo(x0, y0); ink.lineTo(x1, y1); ink.stroke(); };
  const mark = (m) => (Array.isArray(m) ? m : [m, format(m)]);
  ink.textAlign = "center";
  for (const [v, text] of xs.marks.map(mark)) {
    line(xs.at(v), t, xs.at(v), height - b);
    ink.fillText(text, xs.at(v), height - b + 16);
  }
  ink.fillText(names[0], (l + width - r) / 2, height - 8);
  ink.textAlign = "right";
  for (const [v, text] of ys.marks.map(mark)) {
    line(l, ys.at(v), width - r, ys.at(v));
    ink.fillText(text, l - 6, ys.at(v) + 4);
  }
  ink.textAlign = "left";
  ink.fillText(names[1], 4, t - 10);
}

function drawSketch() {
  const canvas = $("cloud"), box = $("scatter");
  const width = box.clientWidth, height = box.clientHeight, { x, y, log, complete, feasible, front, infeasible } = scatterRows();
  const ink = inkOf(canvas, width, height);
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  const across = axisRange(spread(complete, x), log).range, up = axisRange(spread(complete, y), false).range;
  if (!ink || !across || !up) return;
  const { l, r, t, b } = SCATTER_MARGIN;
  const xs = sketchAxis(across, l, width - r, log), ys = sketchAxis(up, height - b, t, false);
  inkAxes(ink, width, height, xs, ys, [label(x), label(y)]);
  cloud.sketch = (row) => [xs.at(value(row, x)), ys.at(value(row, y))];
  const dots = (rows, size, colour, alpha, hollow) => {
    Object.assign(ink, { globalAlpha: alpha, fillStyle: theme(colour), strokeStyle: theme(colour) });
    for (const row of rows) {
      ink.beginPath();
      ink.arc(xs.at(value(row, x)), ys.at(value(row, y)), size, 0, 2 * Math.PI);
      if (hollow) ink.stroke(); else ink.fill();
    }
  };
  dots(feasible.filter((row) => !store.front.has(row.uid)), 3, "dominated", 0.5, false);
  dots(infeasible, 3, "infeasible", 0.65, true);
  dots(front, 4.5, "front", 1, false);
}
