// What to do next, in words: what the numbers above mean for somebody who sees the page the first time.

const GROWTH = 0.01;   // of the hypervolume, in the last fifth of the trials

// Whether the last fifth of the trials still made the front (or the best value) better.
function stillGrows() {
  const { hypervolume: history, counts } = store.state;
  if (isSingle()) {
    const best = frontRows()[0];
    return Boolean(best) && counts.complete >= 10 && best.order > 0.8 * store.rows.length;
  }
  const last = history.at(-1);
  if (!last) return false;
  const before = history.findLast(([n]) => n <= 0.8 * last[0]);
  return Boolean(before) && last[2] > before[2] * (1 + GROWTH);
}

// The limit that most complete trials break, with their number.
function hardestLimit() {
  const complete = store.rows.filter((row) => row.status === COMPLETE);
  const broken = store.state.limits.map((l) => [l, complete.filter((row) => !satisfies(ranked(row, l.metric), l)).length]);
  return broken.sort((a, b) => b[1] - a[1])[0];
}

function advice() {
  const { experiment: id, counts, ended, planned, exportable } = store.state;
  const result = [], tell = (text, command) => result.push([text, command]);
  if (!ended && store.live) tell(`The search goes on${planned ? `: ${counts.complete + counts.failed + counts.censored} of ${planned} trials have ended` : ""}. This page follows it.`);
  if (ended && wasCut()) tell(`The search is not complete: ${ending(ended)}. It goes on where it was with`, `joint-ga resume ${id}`);
  if (counts.complete && !store.state.front.length) {
    const [limit, number] = hardestLimit() || [];
    if (limit) tell(`No trial keeps all limits. ${number} of ${counts.complete} break ${limit.metric} ${limit.op} ${format(limit.limit)}: loosen it, or let the search run longer.`);
  }
  if (counts.failed > Math.max(2, counts.complete / 4)) tell(`${counts.failed} trials failed: their reasons are at the end of this page.`);
  if (store.state.front.length && exportable) {
    tell("Write the knee of the front as ONNX, C and PyTorch:", `joint-ga export ${id} --knee -o out`);
    const [metric, goal] = pickExample();
    if (goal) tell("Or choose by a sentence:", `joint-ga export ${id} --pick '${metric}, ${goal}' -o out`);
  } else if (store.state.front.length && isSingle()) {
    tell("Take the best parameters: choose the trial and copy them.");
  }
  if (ended && !wasCut() && stillGrows()) tell("The last fifth of the trials still brought something: a larger maxTrialNumber in the config is likely to pay.");
  if (ended && counts.complete) tell("Keep it as one file, with tables beside it:", `joint-ga report ${id} -o report`);
  return result;
}

// A sentence for --pick that somebody may want: a floor near the knee's value, and the first cost.
function pickExample() {
  const knee = kneeRow(), keys = objectives();
  const up = keys.find((m) => direction(m) === "maximize"), cost = keys.find((m) => m !== up);
  if (!knee || !up || !cost) return [];
  return [`${up} >= ${+(ranked(knee, up) * 0.995).toPrecision(3)}`, `min ${cost}`];
}

function drawAdvice() {
  $("advice").replaceChildren(...advice().map(([text, command]) => {
    const item = element("li", "", `${text} `);
    if (command) item.append(element("code", "", command));
    return item;
  }));
}
