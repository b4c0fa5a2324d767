// The chosen point, alone or against another one: its metrics, and what to do with it.

function choose(uid) {
  controls.chosen = uid;
  controls.follow = false;
  drawChosen();
  drawScatter();
  drawPart("parallel");
  drawTrials();
}

// The next one along the front from left to right, for the arrow keys; said aloud.
function chooseAlong(step) {
  const x = $("x").value;
  const order = frontRows().sort((a, b) => value(a, x) - value(b, x));
  if (!order.length) return;
  const at = order.findIndex((row) => row.uid === controls.chosen);
  const row = order[Math.max(0, Math.min(order.length - 1, at < 0 ? 0 : at + step))];
  choose(row.uid);
  $("announce").textContent = `uid ${row.uid}: ${objectives().map((m) => `${label(m)} ${format(value(row, m))}`).join(", ")}`;
}

function pointOptions() {
  const front = frontRows(), knee = kneeRow();
  const int8 = store.byUid.get(store.state.int8);
  const name = (r) => (!isSingle() && r === knee ? " (knee)" : r === int8 ? " (uniform int8)" : "");
  const known = front.map((r) => [String(r.uid), `uid ${r.uid}${name(r)}`]);
  if (int8 && !store.front.has(int8.uid)) known.push([String(int8.uid), `uid ${int8.uid} (uniform int8)`]);
  return known;
}

// A select shows a uid that is not among its options too: one chosen in the chart or the table.
function fillPoints(select, uid, first) {
  const options = pointOptions();
  if (uid !== null && !options.some(([v]) => v === String(uid)) && store.byUid.has(uid)) options.unshift([String(uid), `uid ${uid} (not on it)`]);
  fillSelect(select, first ? [first, ...options] : options, "");
  select.value = uid === null ? "" : String(uid);
}

// Until somebody chooses, the chosen point is the knee of the front, wherever that moves.
function followKnee() {
  if (!controls.follow && store.byUid.has(controls.chosen)) return;
  const knee = kneeRow();
  controls.chosen = knee ? knee.uid : null;
}

function drawChosen() {
  followKnee();
  const row = store.byUid.get(controls.chosen), other = store.byUid.get(controls.against);
  $("h-chosen").textContent = isSingle() ? "Chosen trial" : "Chosen point";
  $("pick-label").textContent = isSingle() ? "best" : "front";
  fillPoints($("pick"), controls.chosen, null);
  fillPoints($("against"), other ? other.uid : null, ["", "nothing"]);
  $("chosen-metrics").replaceChildren(row ? metricTable(row, other === row ? undefined : other) : element("p", "empty", "The front is empty so far."));
  $("chosen-links").replaceChildren(...(row ? links(row) : []));
  $("chosen-note").textContent = [WORDS.uid, ...(store.state.exportable ? [WORDS.export] : []), ...(isSingle() ? [] : [WORDS.knee])].join(" ");
  drawLayers();
}

function headed(table, titles) {
  const head = table.createTHead().insertRow();
  for (const title of titles) head.append(title ? Object.assign(element("th", "", title), { scope: "col" }) : element("td"));
}

// Beside the measured value of a metric: the ends of its interval, what the finished network is
// expected to have, and what it has on test data.
function besides(row, metric) {
  const result = [], range = interval(metric, value(row, metric));
  const say = (text) => result.push(element("span", "range", text));
  if (range) say(`${format(range[0])} to ${format(range[1])}`);
  const expected = known(row, `expected_${metric}`);
  if (expected !== null) {
    const ends = ["low", "high"].map((end) => known(row, `expected_${metric}_${end}`));
    say(`expected ${format(expected)}${ends.includes(null) ? "" : ` (${ends.map(format).join(" to ")})`}`);
  }
  const final = known(row, `final_${metric}`), runs = known(row, "final_runs");
  if (final !== null) say(`trained to the end ${format(final)}${runs ? `, mean of ${format(runs)}` : ""}`);
  const test = known(row, `test_${metric}`);
  if (test !== null) say(`test ${format(test)}`);
  return result;
}

function metricTable(row, other) {
  const box = element("div"), table = element("table");
  const reference = other || isSingle() ? marks().filter(({ uid }) => isSingle() && uid !== row.uid) : marks();
  const goals = store.state.metrics.some((m) => store.state.objectives[m]) || store.state.limits.length;
  headed(table, ["", `uid ${row.uid}`, ...(other ? [`uid ${other.uid}`, "difference"] : []), ...reference.map((m) => m.name), ...(goals ? ["goal"] : [])]);
  const body = table.createTBody();
  for (const metric of ownMetrics()) {
    const line = body.insertRow();
    line.append(Object.assign(labelled("th", metric), { scope: "row" }));
    const limits = store.state.limits.filter((l) => l.metric === metric);
    for (const each of other ? [row, other] : [row]) {
      const cell = line.insertCell(), v = value(each, metric), broken = limits.some((l) => !satisfies(ranked(each, metric), l));
      cell.append(format(v), ...besides(each, metric));
      if (broken) Object.assign(cell, { className: "broken", title: "breaks its limit" });
    }
    if (other) line.insertCell().textContent = difference(value(row, metric), value(other, metric));
    for (const { at } of reference) line.insertCell().textContent = format(at[metric]);
    if (!goals) continue;
    const goal = line.insertCell();
    goal.className = "goal";
    goal.textContent = [store.state.objectives[metric] ? (direction(metric) === "maximize" ? "↑" : "↓") : "",
      ...limits.map((l) => `${l.op} ${format(l.limit)}`)].join(" ");
    goal.title = store.state.objectives[metric] ? better(metric) : "";
  }
  box.append(table, ...remarks(other ? [row, other] : [row]).map((text) => element("p", "note remark", text)));
  return box;
}

function difference(a, b) {
  if (typeof a !== "number" || typeof b !== "number") return "–";
  const share = a !== 0 && Math.abs(b - a) / Math.abs(a);
  return `${b > a ? "+" : ""}${format(+(b - a).toPrecision(6))}${share ? ` (${b > a ? "+" : "-"}${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%)` : ""}`;
}

// What a reader should not miss: an interval's meaning, and a test result far below validation.
function remarks(rows) {
  const result = [];
  const estimated = ownMetrics().filter((m) => rows.some((row) => interval(m, value(row, m))));
  if (estimated.length) result.push(`The ranges of ${estimated.join(" and ")} hold nine boards of ten, by the error of the device's model.`);
  for (const metric of ownMetrics()) {
    for (const row of rows) {
      const test = known(row, `test_${metric}`), v = value(row, metric);
      if (test === null || v === null) continue;
      const loss = direction(metric) === "maximize" ? v - test : test - v;
      if (loss > TEST_LOSS * Math.max(Math.abs(v), Math.abs(test))) {
        result.push(`uid ${row.uid}: ${metric} is ${format(test)} on test data, far from its ${format(v)} on validation data. The search may have fitted the validation split: trust the test value.`);
      }
    }
  }
  return result;
}
const TEST_LOSS = 0.03;

function satisfies(v, { op, limit }) {
  if (v === null || v === undefined) return false;
  return { "<=": v <= limit, "<": v < limit, ">=": v >= limit, ">": v > limit, "==": v === limit }[op];
}

function links(row) {
  const result = [];
  if (row.trial && inNni) {
    const detail = element("a", "", `trial ${row.trial} in NNI`);
    detail.href = "../detail";
    detail.title = "Opens the trial list; the trial is found there by this id.";
    const log = element("a", "", "its log");
    log.href = `../api/v1/nni/trial-file/${row.trial}/stdout`;
    for (const link of [detail, log]) link.target = "_blank";
    result.push(detail, log);
  } else if (row.trial) {
    result.push(element("span", "note", `trial ${row.trial}`));
  }
  const copy = element("button", "", hasLayers() ? "Copy chromosome" : "Copy parameters");
  copy.type = "button";
  copy.onclick = async () => {
    await navigator.clipboard.writeText(JSON.stringify(chromosome(row), null, 1));
    copy.textContent = "Copied";
  };
  result.push(copy);
  if (store.state.experiment && row.trial && store.state.exportable) {
    result.push(element("code", "", `joint-ga export ${store.state.experiment} --trial ${row.trial} -o out`));
  }
  return result;
}
