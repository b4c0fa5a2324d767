// What a chromosome does to each layer, and which genes matter: plain DOM, no chart library.

const MOST_GENES = 40;

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// [layer, kind] of a gene that belongs to a layer; kinds come with the space, see PageData.
function layerGene(name) {
  const dot = name.lastIndexOf(".");
  const kind = dot > 0 && store.space.kinds.find((k) => k.name === name.slice(dot + 1));
  return kind ? [name.slice(0, dot), kind.name] : null;
}

// {layers: [names], values: {layer: {prune, w_bits, ...}}, other: [[gene, value]]}
function byLayer(row) {
  const layers = [], values = {}, other = [];
  store.space.genes.forEach(({ name }, index) => {
    const match = layerGene(name);
    const v = geneValue(row, index);
    if (!match) {
      other.push([name, v]);
      return;
    }
    const [layer, kind] = match;
    if (!values[layer]) {
      values[layer] = {};
      layers.push(layer);
    }
    values[layer][kind] = v;
  });
  return { layers, values, other };
}

// Strength of a cell in [0, 1]: how much this gene compresses, from its neutral value to the strongest.
function strength(kind, v) {
  if (kind.strongest === null) return v === kind.neutral ? 0 : 0.5;
  return Math.max(0, Math.min(1, (kind.neutral - v) / (kind.neutral - kind.strongest)));
}

function cellText(kind, v) {
  return kind.percent ? `${Math.round(v * 100)}%` : kind.texts[v] || v;
}

function heatMap(row, { named }) {
  const { layers, values } = byLayer(row);
  const grid = element("div", "heat");
  grid.style.gridTemplateColumns = `${named ? "max-content " : ""}repeat(${layers.length}, minmax(${named ? 5 : 3}px, 1fr))`;
  const labels = named && layers.length <= 45;
  for (const kind of store.space.kinds) {
    if (!layers.some((layer) => values[layer][kind.name] !== undefined)) continue;
    if (named) grid.append(element("span", "row-name", kind.label));
    for (const layer of layers) {
      const v = values[layer][kind.name];
      const cell = element("span", v === undefined || v === null ? "cell none" : "cell");
      if (v !== undefined && v !== null) {
        const share = Math.round(strength(kind, v) * 100);
        cell.style.background = `color-mix(in srgb, var(--high) ${share}%, var(--low))`;
        if (share > 55) cell.style.color = "var(--card)";
        cell.title = `${layer}.${kind.name} = ${v}`;
        if (labels) cell.textContent = cellText(kind, v);
      }
      grid.append(cell);
    }
  }
  if (labels) {
    grid.append(element("span", "row-name", ""));
    for (const layer of layers) {
      const name = element("span", "layer-name", layer);
      name.title = layer;
      grid.append(name);
    }
  }
  return grid;
}

function otherGenes(other) {
  const table = element("table");
  for (const [name, v] of other) {
    const line = table.insertRow();
    line.insertCell().textContent = name;
    line.insertCell().textContent = format(v);
  }
  return table;
}

function drawLayers() {
  const row = store.byUid.get(controls.chosen);
  const box = $("layers");
  box.replaceChildren();
  if (!row || !row.genes) {
    box.append(element("p", "empty", row ? "Loading the chromosome …" : "No point is chosen yet."));
    return;
  }
  const { layers, other } = byLayer(row);
  $("layers-note").textContent = layers.length
    ? "darker = compressed more; a group of tied layers shares one prune gene, shown at its first layer"
    : "";
  if (layers.length) box.append(heatMap(row, { named: true }));
  if (other.length) box.append(otherGenes(other));
}

// Share of a metric's variance that one gene explains alone (epsilon squared: adjusted for the
// number of values, so that a gene of noise scores about 0, not 1/n). Real-valued genes: 8 bins.
function explained(genes, values, bins) {
  const sums = new Float64Array(bins), counts = new Float64Array(bins);
  let total = 0, squares = 0;
  const n = values.length;
  for (let i = 0; i < n; i++) {
    sums[genes[i]] += values[i];
    counts[genes[i]] += 1;
    total += values[i];
    squares += values[i] * values[i];
  }
  const sst = squares - total * total / n;
  let between = -total * total / n, groups = 0;
  for (let k = 0; k < bins; k++) {
    if (counts[k]) {
      between += sums[k] * sums[k] / counts[k];
      groups += 1;
    }
  }
  if (groups < 2 || n <= groups || sst <= 0) return 0;
  const within = (sst - between) / (n - groups);
  return Math.max(0, (between - (groups - 1) * within) / sst);
}

function binned(raw) {
  const low = Math.min(...raw), high = Math.max(...raw);
  return high > low ? raw.map((v) => Math.min(7, Math.floor((v - low) / (high - low) * 8))) : raw.map(() => 0);
}

function geneImportance(metric) {
  const rows = store.rows.filter((r) => r.status === COMPLETE && r.genes && value(r, metric) !== null);
  const values = rows.map((r) => value(r, metric));
  const scores = [];
  store.space.genes.forEach(({ name, values: choices }, g) => {
    const raw = rows.map((r) => r.genes[g]);
    if (raw.some((v) => typeof v !== "number")) return;
    scores.push([name, choices ? explained(raw, values, choices.length) : explained(binned(raw), values, 8)]);
  });
  return { trials: rows.length, scores: scores.sort((a, b) => b[1] - a[1]) };
}

// Every gene of every trial is looked at, so it is done again only when 2 % more trials are known.
const importance = { metric: "", trials: 0 };

function drawImportance() {
  const box = $("importance"), metric = $("importance-metric").value, known = store.rows.length;
  if (metric === importance.metric && known >= importance.trials && known < 1.02 * importance.trials) return;
  Object.assign(importance, { metric, trials: known });
  const { trials, scores } = geneImportance(metric);
  box.replaceChildren();
  if (trials < 10 || !scores.length) {
    box.append(element("p", "empty", `Shown from 10 complete trials on (${trials} so far).`));
    return;
  }
  for (const [name, score] of scores.slice(0, MOST_GENES)) {
    const line = element("div", "gene");
    const label = element("span", "", name), bar = element("i");
    label.title = name;
    bar.style.width = `${Math.max(0.5, score * 100)}%`;
    const track = element("span");
    track.append(bar);
    line.append(label, track, element("span", "", `${(score * 100).toFixed(1)}%`));
    box.append(line);
  }
  box.append(element("p", "note", "Share of the metric's variance that the gene explains by itself."
    + (scores.length > MOST_GENES ? ` The ${scores.length - MOST_GENES} weakest genes are not shown.` : "")));
}
