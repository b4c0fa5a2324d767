// All metrics at once: an axis for each, a line for each trial. Painted on a canvas: as SVG the lines
// were the costliest part of an update. Where the names have no room side by side, the axes lie one
// below the other.

const MOST_LINES = 300;   // of the dominated trials, and of the front
const MOST_AXES = 9;
const AXIS_PX = 115, LYING_PX = 58, STANDING_PX = 300, LINE_HOVER_PX = 6;
const parallel = { lines: [], at: [], lying: false };   // where the lines run, for the pointer

// Metrics that differ between trials, each with its range.
function parallelAxes(complete) {
  const result = [];
  for (const name of ownMetrics()) {
    const { range } = axisRange(complete.map((r) => value(r, name)).filter((v) => v !== null && v !== undefined), false, 0);
    const [low, high] = range || [0, 0];
    if (complete.some((r) => value(r, name) !== value(complete[0], name))) result.push({ name, low, high: high > low ? high : low + 1, up: direction(name) === "maximize" });
  }
  return result.slice(0, MOST_AXES);
}

// Place of each axis in pixels, and of a share of it: 0 is worst, 1 is best.
function parallelPlaces(count, width, lying) {
  const l = lying ? 10 : 70, r = width - l, top = lying ? 36 : 46, bottom = STANDING_PX - 26;
  return {
    at: Array.from({ length: count }, (_, i) => (lying ? top + LYING_PX * i : l + (r - l) * i / (count - 1))),
    along: (share) => (lying ? l + share * (r - l) : bottom + share * (top - bottom)),
  };
}

function inkParallelAxes(ink, axes, { at, along }, lying) {
  axes.forEach(({ name, low, high, up }, i) => {
    const [worst, best] = up ? [low, high] : [high, low], from = along(0), to = along(1);
    Object.assign(ink, { strokeStyle: theme("soft"), lineWidth: 1 });
    ink.beginPath();
    ink.moveTo(...(lying ? [from, at[i]] : [at[i], from]));
    ink.lineTo(...(lying ? [to, at[i]] : [at[i], to]));
    ink.stroke();
    const say = (text, x, y, align, colour, weight = "") => {
      Object.assign(ink, { textAlign: align, fillStyle: theme(colour), font: `${weight} 12px system-ui, sans-serif` });
      Object.assign(ink, { strokeStyle: theme("card"), lineWidth: 3 });   // to be read above lines
      ink.strokeText(text, x, y);
      ink.fillText(text, x, y);
    };
    if (lying) {
      say(label(name), from, at[i] - 19, "left", "text", "600");
      say(format(worst), from, at[i] - 5, "left", "soft");
      say(format(best), to, at[i] - 5, "right", "soft");
    } else {
      say(name, at[i], 12, "center", "text", "600");
      say(unit(name), at[i], 26, "center", "soft");
      say(format(best), at[i], to - 6, "center", "soft");
      say(format(worst), at[i], from + 16, "center", "soft");
    }
  });
}

function inkLine(ink, { points }, { lying, at }) {
  let down = false;
  ink.beginPath();
  points.forEach((p, i) => {
    if (p === null) {
      down = false;
      return;
    }
    ink[down ? "lineTo" : "moveTo"](...(lying ? [p, at[i]] : [at[i], p]));
    down = true;
  });
  ink.stroke();
}

function drawParallel() {
  const complete = store.rows.filter((r) => r.status === COMPLETE), axes = parallelAxes(complete);
  $("parallel-card").hidden = axes.length < 2;
  if (axes.length < 2) return;
  const width = widthOf("parallel"), lying = width < AXIS_PX * axes.length, canvas = $("parallel");
  const height = lying ? LYING_PX * axes.length - 8 : STANDING_PX;
  canvas.style.height = `${height}px`;
  $("parallel-note").textContent = `${lying ? "right" : "up"} is better on every axis; click a line to choose it`;
  canvas.setAttribute("aria-label", `Parallel lines of ${axes.map(({ name }) => label(name)).join(", ")}, one per trial; the table of trials holds the same`);
  const ink = inkOf(canvas, width, height);
  if (!ink) return;
  const places = parallelPlaces(axes.length, width, lying);
  const line = (row) => ({ row, points: axes.map(({ name, low, high, up }) => {
    const v = value(row, name), share = (v - low) / (high - low);
    return v === null || v === undefined ? null : places.along(up ? share : 1 - share);
  }) });
  const chosen = store.byUid.get(controls.chosen);
  const groups = [
    [complete.filter((r) => !store.front.has(r.uid)).slice(-MOST_LINES), "line", 1],
    [complete.filter((r) => store.front.has(r.uid)).slice(0, MOST_LINES), "front", 1.3],
    [chosen && chosen.status === COMPLETE ? [chosen] : [], "text", 3],
  ];
  Object.assign(parallel, { lines: [], at: places.at, lying });
  for (const [rows, colour, lineWidth] of groups) {
    Object.assign(ink, { strokeStyle: theme(colour), lineWidth, lineJoin: "round" });
    const lines = rows.map(line);
    for (const each of lines) inkLine(ink, each, parallel);
    parallel.lines.push(...lines);
  }
  inkParallelAxes(ink, axes, places, lying);
}

// The trial whose line runs nearest to the pointer; of those on top of each other the uppermost.
function parallelRowAt({ offsetX, offsetY }) {
  const { at, lying, lines } = parallel, [across, along] = lying ? [offsetY, offsetX] : [offsetX, offsetY];
  const i = at.findLastIndex((place) => place <= across);
  if (i < 0 || i >= at.length - 1) return null;
  const share = (across - at[i]) / (at[i + 1] - at[i]);
  let nearest = null, least = LINE_HOVER_PX;
  for (const { row, points } of lines) {
    if (points[i] === null || points[i + 1] === null) continue;
    const distance = Math.abs(points[i] + share * (points[i + 1] - points[i]) - along);
    if (distance <= least) [nearest, least] = [row, distance];
  }
  return nearest;
}

function listenToParallel() {
  const canvas = $("parallel");
  canvas.addEventListener("mousemove", (event) => {
    const row = parallelRowAt(event);
    canvas.style.cursor = row ? "pointer" : "";
    if (row) showTip(row, event);
    else $("tip").hidden = true;
  });
  canvas.addEventListener("mouseleave", () => { $("tip").hidden = true; });
  canvas.addEventListener("click", (event) => {
    const row = parallelRowAt(event);
    if (row) choose(row.uid);
  });
}
