// The trade-off in plain ink, for the second that the browser takes to read Plotly: all points, the
// front, axes with ticks, where Plotly will draw them.

const SCATTER_MARGIN = { l: 60, r: 12, t: 26, b: 44 };

// Round numbers within [low, high], about `count` of them.
function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= raw);
  const result = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) result.push(i * step);
  return result;
}

function sketchAxis(range, from, to, log) {
  const [low, high] = range;
  const at = (v) => from + ((log ? Math.log10(v) : v) - low) / (high - low) * (to - from);
  return { at, marks: ticks(low, high, 6).map((t) => (log ? 10 ** t : t)) };
}

function drawSketch() {
  const canvas = $("cloud"), box = $("scatter"), scale = devicePixelRatio || 1;
  const width = box.clientWidth, height = box.clientHeight, { x, y, log, complete, feasible, front, infeasible } = scatterRows();
  Object.assign(canvas, { width: width * scale, height: height * scale });
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  const across = axisRange(spread(complete, x), log).range, up = axisRange(spread(complete, y), false).range;
  if (!across || !up) return;
  const { l, r, t, b } = SCATTER_MARGIN;
  const xs = sketchAxis(across, l, width - r, log), ys = sketchAxis(up, height - b, t, false);
  const ink = canvas.getContext("2d");
  ink.scale(scale, scale);
  ink.font = "12px system-ui, sans-serif";
  ink.strokeStyle = theme("line");
  ink.fillStyle = theme("text");
  const line = (x0, y0, x1, y1) => { ink.beginPath(); ink.moveTo(x0, y0); ink.lineTo(x1, y1); ink.stroke(); };
  ink.textAlign = "center";
  for (const v of xs.marks) {
    line(xs.at(v), t, xs.at(v), height - b);
    ink.fillText(format(v), xs.at(v), height - b + 16);
  }
  ink.fillText(x, (l + width - r) / 2, height - 8);
  ink.textAlign = "right";
  for (const v of ys.marks) {
    line(l, ys.at(v), width - r, ys.at(v));
    ink.fillText(format(v), l - 6, ys.at(v) + 4);
  }
  ink.textAlign = "left";
  ink.fillText(y, 4, t - 10);
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
