// The failed trials, each with its reason, the newest first.

const MOST_FAILURES = 50;

function drawFailures() {
  const failed = store.rows.filter((row) => row.status === FAILED);
  $("failed").hidden = !failed.length;
  if (!failed.length) return;
  const shown = failed.slice(-MOST_FAILURES).reverse();
  $("failures-note").textContent = failed.length > shown.length
    ? `the last ${shown.length} of ${failed.length}; trials.csv of a report holds all` : "the newest first";
  const table = element("table");
  const body = table.createTBody();
  for (const row of shown) {
    const line = body.insertRow();
    line.insertCell().textContent = `uid ${row.uid}`;
    const reason = line.insertCell();
    reason.className = "reason";
    reason.textContent = row.reason || "no reason is known";
    line.insertCell().append(...(row.trial ? [whereItFailed(row.trial)] : []));
  }
  $("failures").replaceChildren(table);
}

function whereItFailed(trial) {
  if (!inNni) return element("span", "note", `trial ${trial}`);
  const link = element("a", "", `stderr of ${trial}`);
  link.href = `../api/v1/nni/trial-file/${trial}/stderr`;
  link.target = "_blank";
  return link;
}
