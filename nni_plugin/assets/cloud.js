// The many: dominated and infeasible trials, painted on a canvas under the scatter plot. As SVG,
// 5,000 of them took seconds to draw; here they take milliseconds. The axes remain Plotly's.

const HOVER_PX = 8;
const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const SHADES = 48;   // of the colour scale: as many as can be told apart
const cloud = { x: "", y: "", rows: [], infeasible: [], colours: null, range: [0, 1], sketch: null, drawn: "" };

function viridis(share) {
  const at = Math.max(0, Math.min(1, share)) * (VIRIDIS.length - 1), i = Math.min(Math.floor(at), VIRIDIS.length - 2);
  return `rgb(${VIRIDIS[i].map((c, k) => Math.round(c + (VIRIDIS[i + 1][k] - c) * (at - i))).join()})`;
}

function setCloud(x, y, rows, infeasible) {
  const by = $("colour").value;
  Object.assign(cloud, { x, y, rows, infeasible, colours: null });
  if (by === "front") return;
  const values = by === "order" ? rows.map((_, i) => i + 1) : rows.map((r) => value(r, by));
  cloud.range = axisRange(values.filter((v) => v !== null), false, 0).range || [0, 1];
  const [low, high] = cloud.range;
  cloud.colours = values.map((v) => viridis(high > low ? Math.round((v - low) / (high - low) * SHADES) / SHADES : 0));
}

// Pixel position of a row within the plot's element, or null outside the axes.
function pixel(row) {
  if (cloud.sketch) return cloud.sketch(row);
  const { xaxis, yaxis } = $("scatter")._fullLayout;
  const px = xaxis.d2p(value(row, cloud.x)), py = yaxis.d2p(value(row, cloud.y));
  if (!(px >= 0 && px <= xaxis._length && py >= 0 && py <= yaxis._length)) return null;
  return [px + xaxis._offset, py + yaxis._offset];
}

function drawCloud() {
  const canvas = $("cloud"), box = $("scatter"), scale = devicePixelRatio || 1;
  if (!box._fullLayout || !box._fullLayout.xaxis) return;
  canvas.width = box.clientWidth * scale;
  canvas.height = box.clientHeight * scale;
  canvas.style.width = `${box.clientWidth}px`;
  canvas.style.height = `${box.clientHeight}px`;
  const ink = canvas.getContext("2d");
  ink.scale(scale, scale);
  ink.globalAlpha = cloud.colours ? 0.85 : 0.5;
  inkDots(ink, cloud.rows.map(pixel), 3, cloud.colours || theme("dominated"));
  ink.globalAlpha = 0.65;
  inkDots(ink, cloud.infeasible.map(pixel), 3, theme("infeasible"), true);
}

function cloudRowAt(event) {
  const bounds = $("scatter").getBoundingClientRect();
  const x = event.clientX - bounds.left, y = event.clientY - bounds.top;
  let nearest = null, least = HOVER_PX ** 2;
  for (const row of [...cloud.rows, ...cloud.infeasible, ...(cloud.sketch ? frontRows() : [])]) {
    const at = pixel(row);
    if (!at) continue;
    const distance = (at[0] - x) ** 2 + (at[1] - y) ** 2;
    if (distance < least) [nearest, least] = [row, distance];
  }
  return nearest;
}

// Plotly reports hovers over its own points; what lies between them may be the cloud's.
let overPlotly = false;
function listenToPlotly() {
  const box = $("scatter");
  box.on("plotly_hover", () => { overPlotly = true; });
  box.on("plotly_unhover", () => { overPlotly = false; });
  for (const event of ["plotly_relayout", "plotly_relayouting", "plotly_afterplot"]) box.on(event, drawCloud);
}

function listenToCloud() {
  const box = $("scatter");
  box.addEventListener("mousemove", (event) => {
    if (overPlotly) return;
    const row = event.buttons || !store.state ? null : cloudRowAt(event);
    if (row) showTip(row, event);
    else $("tip").hidden = true;
  });
  box.addEventListener("click", (event) => {
    const row = overPlotly ? null : cloudRowAt(event);
    if (row) choose(row.uid);
  }, true);
}
