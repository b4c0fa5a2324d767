// Which genes matter for a metric, and which the search never varied.

const MOST_GENES = 40;
let fixedGenes = new Map();

// Share of a metric's variance that one gene explains alone (epsilon squared: adjusted for the
// number of values, so that a gene of noise scores about 0, not 1/n). Real-valued genes: 8 bins.
function explained(genes, values, bins) {
  const sums = new Float64Array(bins), counts = new Float64Array(bins);
  let total = 0, squares = 0;
  const n = values.length;
  for (let i = 0; i < n; i++) {
    const v = values[i];
    sums[genes[i]] += v;
    counts[genes[i]] += 1;
    total += v;
    squares += v * v;
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

// A gene that spans powers of ten (a learning rate) is looked at in its logarithm.
function spansPowers(raw) {
  let low = Infinity, high = -Infinity;
  for (const v of raw) {
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  return low > 0 && high >= 100 * low;
}

function binned(raw) {
  if (spansPowers(raw)) return binned(raw.map(Math.log10));
  const low = raw.reduce((a, b) => Math.min(a, b)), high = raw.reduce((a, b) => Math.max(a, b));
  return high > low ? raw.map((v) => Math.min(7, Math.floor((v - low) / (high - low) * 8))) : raw.map(() => 0);
}

// The genes' shares of the metric's variance, the largest first, and what no single gene explains.
// Genes that go together in the trials claim the same variance twice: then all are scaled down.
function geneImportance(metric) {
  const rows = store.rows.filter((r) => r.status === COMPLETE && r.genes && known(r, metric) !== null);
  const values = Float64Array.from(rows, (r) => value(r, metric));
  const alone = [], raw = new Array(rows.length);   // one array for all genes: there may be hundreds
  store.space.genes.forEach(({ name, values: choices }, g) => {
    if (fixedGenes.has(name)) return;
    for (let i = 0; i < rows.length; i++) {
      raw[i] = rows[i].genes[g];
      if (typeof raw[i] !== "number") return;
    }
    alone.push([name, choices ? explained(raw, values, choices.length) : explained(binned(raw), values, 8)]);
  });
  const whole = Math.max(1, alone.reduce((sum, [, share]) => sum + share, 0));
  const scores = alone.map(([name, share]) => [name, share / whole]).sort((a, b) => b[1] - a[1]);
  return { trials: rows.length, scores, rest: Math.max(0, 1 - scores.reduce((sum, [, share]) => sum + share, 0)) };
}

// Every gene of every trial is looked at, so it is done again only when 2 % more trials are known.
const importance = { metric: "", trials: 0 };

function drawImportance() {
  const box = $("importance"), metric = $("importance-metric").value, count = store.rows.length;
  if (metric === importance.metric && count >= importance.trials && count < 1.02 * importance.trials) return;
  Object.assign(importance, { metric, trials: count });
  $("h-importance").textContent = hasLayers() ? "Gene importance" : "Importance of the parameters";
  const { trials, scores, rest } = geneImportance(metric);
  box.replaceChildren();
  if (trials < 10 || !scores.length) {
    box.append(element("p", "empty", `Shown from 10 complete trials on (${trials} so far).`));
  } else {
    const shown = scores.slice(0, MOST_GENES), others = scores.slice(MOST_GENES);
    for (const [name, share] of shown) box.append(importanceBar(name, share));
    if (others.length) {
      box.append(importanceBar(`the other ${others.length}`, others.reduce((sum, [, share]) => sum + share, 0), "rest"));
    }
    box.append(importanceBar(`no ${hasLayers() ? "gene" : "parameter"} by itself`, rest, "rest"));
    box.append(element("p", "note", `Shares of the variance of ${metric} over the trials; together 100%. The last is what they do together, and chance.`));
  }
  if (fixedGenes.size) {
    const texts = [...fixedGenes].slice(0, MOST_GENES).map(([name, v]) => `${name} = ${format(v)}`);
    const more = fixedGenes.size > texts.length ? ` and ${fixedGenes.size - texts.length} more` : "";
    box.append(element("p", "note", `Never varied in these trials, so nothing is known of them: ${texts.join(", ")}${more}.`));
  }
}

function importanceBar(name, share, kind = "") {
  const line = element("div", `gene ${kind}`), name_ = element("span", "", name), bar = element("i"), track = element("span");
  name_.title = name;
  bar.style.width = `${Math.max(0.5, share * 100)}%`;
  track.append(bar);
  line.append(name_, track, element("span", "", `${(share * 100).toFixed(1)}%`));
  return line;
}
