// The legend of the trade-off, in HTML above the chart: it covers no point, wraps on a narrow screen,
// and is read aloud.

const SIGNS = {
  dot: (c) => `<circle cx="9" cy="7" r="4" fill="${c}"/>`,
  ring: (c) => `<circle cx="9" cy="7" r="4" fill="none" stroke="${c}" stroke-width="1.6"/>`,
  bigRing: (c) => `<circle cx="9" cy="7" r="6" fill="none" stroke="${c}" stroke-width="2"/>`,
  diamond: (c) => `<path d="M9 1 L15 7 L9 13 L3 7 Z" fill="${c}"/>`,
  star: (c) => `<path d="M9 0l2 5h5l-4 3 1.6 5L9 10l-4.600 3L6 8 2 5h5z" fill="${c}"/>`,
  line: (c) => `<path d="M0 7 H18" stroke="${c}" stroke-width="2"/>`,
  dashes: (c) => `<path d="M0 7 H18" stroke="${c}" stroke-width="2" stroke-dasharray="5 3"/>`,
  shade: (c) => `<rect width="18" height="14" fill="${c}"/>`,
};

function legendEntry(sign, colour, text) {
  const item = element("li");
  item.innerHTML = `<svg viewBox="0 0 18 14" aria-hidden="true">${SIGNS[sign](theme(colour))}</svg>`;
  item.append(element("span", "", text));
  return item;
}

function colourScale(by) {
  const item = element("li"), bar = element("span", "scale");
  bar.style.background = `linear-gradient(to right, ${VIRIDIS.map((c) => `rgb(${c.join()})`).join()})`;
  item.append(element("span", "", `${label(by)}: ${format(cloud.range[0])}`), bar, element("span", "", format(cloud.range[1])));
  return item;
}

function drawLegend({ x, y, feasible, front, infeasible }) {
  const by = $("colour").value, single = isSingle();
  const entries = [by === "front" ? legendEntry("dot", "dominated", single ? "trial" : "dominated") : colourScale(by)];
  if (front.length) entries.push(legendEntry("dot", "front", single ? "best" : "Pareto front"));
  entries.push(legendEntry("line", "front", single ? "best so far" : "best of this pair"));
  if (infeasible.length) entries.push(legendEntry("ring", "infeasible", "infeasible"));
  if (isLimited(x) || isLimited(y)) entries.push(legendEntry("shade", "limit", "beyond a limit"));
  for (const { name, symbol, colour, at } of marks()) {
    const point = at[x] !== undefined && at[x] !== null;
    if (at[y] !== undefined && at[y] !== null) entries.push(legendEntry(point ? symbol : "dashes", colour, name));
  }
  if (store.byUid.has(controls.chosen)) entries.push(legendEntry("bigRing", "text", "chosen"));
  $("legend").replaceChildren(...entries);
  const words = single ? [] : [WORDS.front];
  if (store.state.limits.length) words.push(WORDS.infeasible);
  if (marks().length) words.push(WORDS.int8);
  if (!single) words.push("With the chart in focus, the arrow keys go along the front.");
  $("scatter-note").textContent = words.join(" ");
  $("scatter").setAttribute("aria-label", `${label(y)} over ${label(x)}: ${front.length} ${single ? "best" : "on the front"}, `
    + `${feasible.length} feasible, ${infeasible.length} infeasible. Left and right arrows choose ${single ? "the best" : "along the front"}.`);
}
