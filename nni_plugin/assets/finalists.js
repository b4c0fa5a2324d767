// The networks that were trained to the end: what the search measured, what was expected, what came.

function drawFinalists() {
  const found = store.state.finalists || [];
  $("finalists-card").hidden = !found.length;
  if (!found.length) return;
  const table = element("table"), { metric } = found[0];
  headed(table, ["", "in the search", "expected", "trained", "test"]);
  const body = table.createTBody();
  for (const { uid, measured, expected, low, high, mean, trainings, test } of found) {
    const line = body.insertRow(), head = Object.assign(element("th"), { scope: "row" }), pick = element("button", "", `uid ${uid}`);
    pick.type = "button";
    pick.onclick = () => choose(uid);
    head.append(pick);
    line.append(head);
    const cells = [[measured], [expected, `${format(low)} to ${format(high)}`], [mean, `mean of ${trainings}`], [test]];
    for (const [v, note] of cells) line.insertCell().append(format(v), ...(note ? [element("span", "range", note)] : []));
  }
  $("finalists").replaceChildren(table);
  $("finalists-note").textContent = `${label(metric)}. Expected: after the whole training, with nine cases of ten between the ends.`;
}
