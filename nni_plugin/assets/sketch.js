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

// A dot or a ring of a radius, in rows of whole pixels, [x, y, width, height] each: as arcs, thousands of
// them take a browser without a GPU twenty times as long.
const shapes = new Map();
function dotShape(radius, hollow) {
  const key = `${radius} ${hollow}`;
  if (shapes.has(key)) return shapes.get(key);
  const rows = Math.ceil(radius), hole = radius - Math.max(1, radius / 3), half = (r, y) => Math.round(Math.sqrt(Math.max(0, r * r - y * y)));
  const rects = [], add = (x, y, w) => {
    const above = rects.findLast((rect) => rect[0] === x && rect[2] === w);
    if (above && above[1] + above[3] === y) above[3] += 1;
    else if (w) rects.push([x, y, w, 1]);
  };
  for (let y = -rows; y < rows; y++) {
    const outer = half(radius, y + 0.5), inner = hollow ? half(hole, y + 0.5) : 0;
    if (!inner) add(-outer, y, 2 * outer);
    else for (const x of [-outer, inner]) add(x, y, outer - inner);
  }
  shapes.set(key, rects);
  return rects;
}

// Dots at places in CSS pixels (null: none), of one colour or of one each.
function inkDots(ink, places, size, colour, hollow = false) {
  const scale = devicePixelRatio || 1, shape = dotShape(size * scale, hollow);
  ink.save();
  ink.setTransform(1, 0, 0, 1, 0, 0);
  if (typeof colour === "string") ink.fillStyle = colour;
  places.forEach((at, i) => {
    if (!at) return;
    const left = Math.round(at[0] * scale), top = Math.round(at[1] * scale);
    if (typeof colour !== "string") ink.fillStyle = colour[i];
    for (const [x, y, w, h] of shape) ink.fillRect(left + x, top + y, w, h);
  });
  ink.restore();
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
    ink.globalAlpha = alpha;
    inkDots(ink, rows.map(cloud.sketch), size, theme(colour), hollow);
  };
  dots(feasible.filter((row) => !store.front.has(row.uid)), 3, "dominated", 0.5, false);
  dots(infeasible, 3, "infeasible", 0.65, true);
  dots(front, 4.5, "front", 1, false);
}
