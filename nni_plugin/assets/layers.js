// What a chromosome does to each layer: plain DOM, no chart library.

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

const hasLayers = () => store.space.genes.some(({ name }) => layerGene(name) !== null);

const rgbOf = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

// Background of a cell, and the ink that can be read on it (WCAG 2: at least 4.5 to 1 with one of both).
function cellColours(share) {
  const low = rgbOf(theme("low")), high = rgbOf(theme("high"));
  const mixed = low.map((c, i) => Math.round(c + (high[i] - c) * share));
  const [r, g, b] = mixed.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return { background: `rgb(${mixed.join()})`, color: luminance > 0.179 ? "#000" : "#fff" };
}

// Cells of one look are asked for hundreds of times.
const cellLooks = new Map();
function cellLook(share) {
  const key = `${theme("low")}${Math.round(share * 100)}`;
  if (!cellLooks.has(key)) cellLooks.set(key, cellColours(share));
  return cellLooks.get(key);
}

function heatCell(layer, kind, v, { text, against, fixed }) {
  const cell = element("td", "cell");
  if (v === undefined || v === null) {
    cell.className = "cell none";
    return cell;
  }
  const differs = against !== undefined && against !== v;
  Object.assign(cell.style, cellLook(strength(kind, v)));
  cell.title = `${layer}.${kind.name} = ${v}${fixed ? ", never varied" : ""}${differs ? ", differs" : ""}`;
  if (differs) cell.classList.add("differs");
  if (fixed) cell.classList.add("fixed");
  cell.append(element("span", text ? "" : "unseen", String(cellText(kind, v))));
  return cell;
}

// The rows of the heat map: each kind of gene, once for each of the points.
function heatLines(points) {
  const known = points.map((row) => ({ row, ...byLayer(row) }));
  const { layers } = known[0], lines = [];
  for (const kind of store.space.kinds) {
    if (!layers.some((layer) => known[0].values[layer][kind.name] !== undefined)) continue;
    known.forEach(({ row, values }, i) => lines.push({
      name: points.length > 1 ? `${kind.label}, uid ${row.uid}` : kind.label, kind,
      at: (layer) => values[layer][kind.name],
      against: points.length > 1 ? (layer) => known[1 - i].values[layer][kind.name] : () => undefined,
    }));
  }
  return { layers, lines };
}

// One point's layers, or those of two; upright, with a row for each layer, where they have no room.
function heatMap(points, { named, room, fixed = new Set() }) {
  const { layers, lines } = heatLines(points);
  const names = points.length > 1 ? 170 : 110, few = layers.length <= 16;   // pixels of the lines' names
  const upright = named && room < names + (few ? 26 : 9) * layers.length;
  const text = named && (upright || (room - names) / layers.length >= 26);
  const table = element("table", upright ? "heat upright" : "heat"), body = table.createTBody();
  const cell = (layer, { kind, at, against }) => heatCell(layer, kind, at(layer),
    { text, against: against(layer), fixed: fixed.has(`${layer}.${kind.name}`) });
  const head = (className, name, scope) => Object.assign(element("th", className, name), { scope, title: name });
  if (upright) {
    const top = table.createTHead().insertRow();
    top.append(head("", "layer", "col"), ...lines.map(({ name }) => head("", name, "col")));
    for (const layer of layers) body.insertRow().append(head("", layer, "row"), ...lines.map((line) => cell(layer, line)));
    return table;
  }
  for (const line of lines) {
    const tr = body.insertRow();
    if (named) tr.append(head("", line.name, "row"));
    tr.append(...layers.map((layer) => cell(layer, line)));
  }
  if (text) {
    const foot = table.createTFoot().insertRow();
    foot.append(element("td", ""), ...layers.map((layer) => {
      const th = element("td", "");
      th.append(Object.assign(element("span", "", layer), { className: "layer-name", title: layer }));
      return th;
    }));
  }
  return table;
}

function otherGenes(points, most = Infinity) {
  const table = element("table"), known = points.map((row) => byLayer(row).other);
  const head = table.createTHead().insertRow();
  for (const title of ["parameter", ...points.map((row) => `uid ${row.uid}`)]) head.append(Object.assign(element("th", "", title), { scope: "col" }));
  const body = table.createTBody();
  known[0].slice(0, most).forEach(([name], i) => {
    const line = body.insertRow();
    line.append(Object.assign(element("th", "", name), { scope: "row" }));
    for (const other of known) line.insertCell().textContent = format(other[i][1]);
  });
  return table;
}

// Genes that have one value in all complete trials, with that value: {name: value}.
function neverVaried() {
  const rows = store.rows.filter((r) => r.status === COMPLETE && r.genes);
  const fixed = new Map();
  if (rows.length < 2) return fixed;
  store.space.genes.forEach(({ name }, g) => {
    const first = rows[0].genes[g];
    if (rows.every((row) => row.genes[g] === first)) fixed.set(name, geneValue(rows[0], g));
  });
  return fixed;
}

function drawLayers() {
  const row = store.byUid.get(controls.chosen), other = store.byUid.get(controls.against);
  const box = $("layers"), layered = hasLayers();
  // A chromosome does not change: it is drawn again only when another one, or the page, does.
  const key = [row && row.genes && row.uid, other && other.genes && other.uid, fixedGenes.size, innerWidth, theme("low"), store.state.generation].join();
  if (row && row.genes && box.dataset.key === key) return;
  box.dataset.key = key;
  $("h-layers").textContent = layered ? "Layers of the chosen point" : "Parameters of the chosen trial";
  box.replaceChildren();
  if (!row || !row.genes) {
    box.append(element("p", "empty", row ? "Loading the chromosome …" : "No point is chosen yet."));
    return;
  }
  const points = other && other.genes && other !== row ? [row, other] : [row];
  const { layers, other: rest } = byLayer(row);
  const notes = layers.length ? ["darker = compressed more; a group of tied layers shares one prune gene, shown at its first layer"] : [];
  if (layers.length && fixedGenes.size) notes.push("dotted = never varied");
  if (points.length > 1 && layers.length) notes.push("framed = they differ");
  $("layers-note").textContent = notes.join("; ");
  if (layers.length) box.append(heatMap(points, { named: true, room: widthOf("layers"), fixed: fixedGenes }));
  if (rest.length) box.append(otherGenes(points));
}
