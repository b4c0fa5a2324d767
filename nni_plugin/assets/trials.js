// All trials as a table that can be sorted, filtered and downloaded.

const PAGE_ROWS = 25;
const COLUMN_PX = 105;
const STATES = ["complete", "failed", "stopped early"];
const SHOWN = [["all", "all"], ["front", "on the front"], ["feasible", "feasible"], ["infeasible", "infeasible"],
  ["failed", "failed"], ["censored", "stopped early"], ["final", "trained to the end"]];
const isFinal = (row) => row.origin === "final" || objectives().some((m) => known(row, `final_${m}`) !== null);
const trialTable = { by: ORDER, down: true, page: 0 };

const stateOf = (row) => (store.front.has(row.uid) ? (isSingle() ? "best" : "front") : row.status === COMPLETE && !row.feasible ? "infeasible" : STATES[row.status]);

const IS_SHOWN = {
  all: () => true,
  front: (row) => store.front.has(row.uid),
  feasible: (row) => row.status === COMPLETE && row.feasible,
  infeasible: (row) => row.status === COMPLETE && !row.feasible,
  failed: (row) => row.status === FAILED,
  censored: (row) => row.status === CENSORED,
  final: isFinal,
};

const COMPARE = {
  "<=": (a, b) => a <= b, ">=": (a, b) => a >= b, "<": (a, b) => a < b, ">": (a, b) => a > b, "=": (a, b) => String(a) === b || Number(a) === Number(b),
};

// A test of rows for one word of the filter; an error names what it can't find.
function termTest(word) {
  const match = /^(.+?)(<=|>=|=|<|>)(.+)$/.exec(word);
  if (!match) {
    const wanted = word.toLowerCase();
    return (row) => [row.uid, row.trial, stateOf(row), row.origin, row.reason].some((v) => String(v ?? "").toLowerCase().includes(wanted));
  }
  const [, name, op, right] = match, gene = store.space.genes.findIndex((g) => g.name === name);
  if (gene < 0 && metricIndex(name) < 0 && name !== ORDER) throw new Error(`there is no metric or gene "${name}"`);
  const number = op === "=" ? right : Number(right);
  if (Number.isNaN(number)) throw new Error(`"${right}" is no number`);
  return (row) => {
    const v = gene >= 0 ? geneValue(row, gene) : value(row, name);
    return v !== null && v !== undefined && COMPARE[op](v, number);
  };
}

// The rows that pass select and filter, sorted; and what is wrong with the filter.
function filteredTrials() {
  const isShown = IS_SHOWN[$("trials-show").value];
  let tests = [], fault = "";
  try {
    tests = $("trials-filter").value.trim().split(/\s+/).filter(Boolean).map(termTest);
  } catch (error) {
    fault = error.message;
  }
  const rows = store.rows.filter((row) => isShown(row) && tests.every((test) => test(row)));
  const { by, down } = trialTable, sign = down ? -1 : 1;
  if (by === ORDER) return { rows: down ? rows.reverse() : rows, fault };   // as they are
  const key = { uid: (r) => r.uid, state: stateOf }[by] || ((r) => value(r, by));
  const missing = (v) => v === null || v === undefined;
  const keys = new Map(rows.map((row) => [row, key(row)]));
  rows.sort((a, b) => {
    const x = keys.get(a), y = keys.get(b);
    if (missing(x) || missing(y)) return missing(x) - missing(y);   // what is missing goes last, either way
    return sign * (x < y ? -1 : x > y ? 1 : 0);
  });
  return { rows, fault };
}

// As many metrics as have room; the download has all.
function trialColumns() {
  const room = Math.max(1, Math.floor(widthOf("trials") / COLUMN_PX) - 2);
  const metrics = [...objectives(), ...store.state.metrics.filter((m) => !objectives().includes(m))];
  return metrics.slice(0, room);
}

function sortButton(name, text) {
  const th = Object.assign(element("th"), { scope: "col" }), button = element("button", "", text);
  const active = trialTable.by === name;
  button.type = "button";
  if (active) {
    th.setAttribute("aria-sort", trialTable.down ? "descending" : "ascending");
    button.append(trialTable.down ? " ▾" : " ▴");
  }
  button.onclick = () => {
    Object.assign(trialTable, { by: name, down: active ? !trialTable.down : false, page: 0 });
    drawTrials();
    [...document.querySelectorAll("#trials th button")].find((b) => b.dataset.by === name)?.focus();
  };
  button.dataset.by = name;
  th.append(button);
  return th;
}

function drawTrials() {
  const { rows, fault } = filteredTrials(), metrics = trialColumns();
  const pages = Math.max(1, Math.ceil(rows.length / PAGE_ROWS));
  trialTable.page = Math.min(trialTable.page, pages - 1);
  const from = trialTable.page * PAGE_ROWS, shown = rows.slice(from, from + PAGE_ROWS);
  const table = element("table"), head = table.createTHead().insertRow(), body = table.createTBody();
  head.append(sortButton("uid", "uid"), sortButton("state", "state"), ...metrics.map((m) => sortButton(m, label(m))));
  for (const row of shown) {
    const line = body.insertRow(), pick = element("button", "", String(row.uid));
    line.className = row.uid === controls.chosen ? "chosen" : "";
    pick.type = "button";
    pick.setAttribute("aria-label", `Choose uid ${row.uid}`);
    pick.onclick = () => { choose(row.uid); document.querySelector(`#trials [aria-label="Choose uid ${row.uid}"]`)?.focus(); };
    line.insertCell().append(pick);
    line.insertCell().textContent = stateOf(row);
    for (const metric of metrics) line.insertCell().textContent = format(value(row, metric));
  }
  $("trials").replaceChildren(table);
  const hidden = store.state.metrics.length - metrics.length;
  $("trials-count").textContent = fault || (rows.length ? `${from + 1} to ${from + shown.length} of ${rows.length}` : "no trial fits")
    + (hidden > 0 ? `; ${hidden} more metrics on a wider window` : "");
  $("trials-back").disabled = trialTable.page === 0;
  $("trials-on").disabled = trialTable.page >= pages - 1;
}

// As the report's trials.csv has it; a text that a spreadsheet would take for a formula gets a quote.
function csvCell(v) {
  if (v === null || v === undefined) return "";
  if (typeof v === "number") return String(v);
  const text = /^[=+\-@\t\r]/.test(v) ? `'${v}` : String(v);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function trialsCsv() {
  const own = ["uid", "trial", "status", "origin", "feasible", "front", "seconds", "reason"], { metrics } = store.state;
  const genes = store.space.genes.map(({ name }) => (own.includes(name) || metrics.includes(name) ? `param.${name}` : name));
  const lines = [[...own, ...metrics, ...genes]];
  for (const row of filteredTrials().rows) {
    lines.push([row.uid, row.trial, ["complete", "failed", "censored"][row.status], row.origin, row.feasible ? "True" : "False",
      store.front.has(row.uid) ? "True" : "False", row.time, row.reason, ...row.metrics, ...genes.map((_, i) => geneValue(row, i))]);
  }
  return lines.map((line) => line.map(csvCell).join()).join("\n") + "\n";
}

function listenToTrials() {
  const hasFinal = () => store.state !== null && store.rows.some(isFinal);
  const fill = () => fillSelect($("trials-show"), SHOWN.filter(([v]) => v !== "final" || hasFinal()), "all");
  fill();
  const again = () => { trialTable.page = 0; drawTrials(); };
  $("trials-show").addEventListener("change", again);
  $("trials-show").addEventListener("focus", fill);
  $("trials-filter").addEventListener("input", again);
  $("trials-back").addEventListener("click", () => { trialTable.page -= 1; drawTrials(); });
  $("trials-on").addEventListener("click", () => { trialTable.page += 1; drawTrials(); });
  $("download").addEventListener("click", () => {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([trialsCsv()], { type: "text/csv" }));
    link.download = `${store.state.experiment || "trials"}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href));
  });
}
