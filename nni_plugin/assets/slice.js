// One gene against one metric: every complete trial a dot, and the mean of each value.

const SLICE_JITTER = 0.28;
const SLICE_PX = 280;   // its height, as in page.css

// A share in [0, 1) that is the same for a uid each time: dots of a choice stand beside each other.
const scatterShare = (uid) => (uid * 0.6180339887) % 1;

function sliceRows(gene, metric) {
  const { values: choices } = store.space.genes[gene];
  const rows = store.rows.filter((r) => r.status === COMPLETE && r.genes && known(r, metric) !== null && typeof r.genes[gene] === "number");
  return { choices, rows };
}

// [[value as text, mean of the metric, number of trials]] of a choice; of numbers, in eight steps.
function sliceMeans(gene, metric) {
  const { choices, rows } = sliceRows(gene, metric);
  if (!rows.length) return [];
  const raw = rows.map((r) => r.genes[gene]), bins = choices ? raw : binned(raw), groups = new Map();
  rows.forEach((row, i) => {
    const group = groups.get(bins[i]) || { sum: 0, of: [] };
    group.sum += value(row, metric);
    group.of.push(raw[i]);
    groups.set(bins[i], group);
  });
  const at = (of) => of.sort((a, b) => a - b)[of.length >> 1];   // a value that was tried
  return [...groups].sort((a, b) => a[0] - b[0]).map(([bin, { sum, of }]) => ({
    at: choices ? bin : at(of), text: format(choices ? choices[bin] : at(of)), mean: sum / of.length, n: of.length,
  }));
}

function drawSlice() {
  const name = $("slice-gene").value, metric = $("slice-metric").value, canvas = $("slice");
  const gene = store.space.genes.findIndex((g) => g.name === name);
  const width = widthOf("slice"), height = SLICE_PX, ink = inkOf(canvas, width, height);
  if (!ink || gene < 0 || !metric) return;
  const { choices, rows } = sliceRows(gene, metric), means = sliceMeans(gene, metric);
  if (!rows.length) {
    ink.fillText("No complete trial has both yet.", 20, 40);
    return;
  }
  const { l, r, t, b } = SCATTER_MARGIN;
  const raw = rows.map((row) => row.genes[gene]), log = !choices && spansPowers(raw);
  const across = choices ? { range: [-0.6, choices.length - 0.4] } : axisRange(raw, log);
  const up = axisRange(rows.map((row) => value(row, metric)), false);
  const xs = sketchAxis(across.range, l, width - r, log), ys = sketchAxis(up.range, height - b, t, false);
  if (choices) {
    const every = Math.ceil(choices.length / ((width - l - r) / 44));
    xs.marks = choices.map((v, i) => [i, format(v).slice(0, 12)]).filter((_, i) => i % every === 0);
  }
  inkAxes(ink, width, height, xs, ys, [name, label(metric)]);
  const place = (row) => {
    const at = row.genes[gene] + (choices ? (scatterShare(row.uid) - 0.5) * 2 * SLICE_JITTER : 0);
    return [xs.at(at), ys.at(value(row, metric))];
  };
  const isFront = (row) => store.front.has(row.uid);
  for (const [of, colour, alpha] of [
    [rows.filter((row) => !isFront(row) && !row.feasible), "infeasible", 0.5],
    [rows.filter((row) => !isFront(row) && row.feasible), "dominated", 0.5],
    [rows.filter(isFront), "front", 0.9],
  ]) {
    ink.globalAlpha = alpha;
    inkDots(ink, of.map(place), 3, theme(colour));
  }
  Object.assign(ink, { globalAlpha: 1, strokeStyle: theme("text"), lineWidth: 2 });
  ink.beginPath();
  means.forEach(({ at, mean }, i) => ink[i ? "lineTo" : "moveTo"](xs.at(at), ys.at(mean)));
  ink.stroke();
  const words = means.map(({ text, mean, n }) => `${text}: ${format(mean)} (${n})`).join(", ");
  canvas.setAttribute("aria-label", `${label(metric)} over ${name}. Mean by value, with the number of trials: ${words}`);
  $("slice-note").textContent = `Line: mean of the trials that have the value. ${words.length < 160 ? `Mean (trials) at ${words}. ` : ""}The other genes vary too, so a mean is no proof.`;
}
