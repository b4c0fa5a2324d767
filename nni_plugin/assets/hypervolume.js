// How the hypervolume grew, as steps on a canvas: a chart of Plotly cost more than all else below the front.

const GROWTH_PX = 300;   // its height, as in page.css
const growth = { steps: [], at: null };   // [across, hypervolume] of each, for the pointer

// Of one objective the main chart already shows all: the best so far.
function drawHypervolume() {
  $("hypervolume-card").hidden = isSingle();
  if (isSingle()) return;
  const { hypervolume: history, settled_after: first } = store.state, last = history.at(-1), canvas = $("hypervolume");
  const minutes = Number($("hv-axis").value) === 1;
  $("hypervolume-note").textContent = last
    ? `The part that the front dominates of the box between the best and the worst of the first ${first} results. The box stays, so the curve never falls; above 1 the search has left that box behind.`
    : `Shown from ${first} complete trials on, when its box is known.`;
  canvas.setAttribute("aria-label", last ? `Hypervolume after ${last[0]} trials: ${last[2].toFixed(4)}` : "Nothing to show yet");
  growth.steps = history.map(([trials, seconds, v]) => [minutes ? seconds / 60 : trials, v]);
  const width = widthOf("hypervolume"), ink = inkOf(canvas, width, GROWTH_PX);
  if (!ink || !last) return;
  const { l, r, t, b } = SCATTER_MARGIN, [farthest] = growth.steps.at(-1);
  const xs = sketchAxis([0, farthest || 1], l, width - r, false), ys = sketchAxis([0, last[2] * 1.06 || 1], GROWTH_PX - b, t, false);
  inkAxes(ink, width, GROWTH_PX, xs, ys, [minutes ? "time (minutes)" : "complete trials", `first ${first} results' box = 1`]);
  growth.at = xs.at;
  Object.assign(ink, { strokeStyle: theme("front"), lineWidth: 2 });
  ink.beginPath();
  growth.steps.forEach(([x, v], i) => {
    if (i) ink.lineTo(xs.at(x), ys.at(growth.steps[i - 1][1]));
    ink[i ? "lineTo" : "moveTo"](xs.at(x), ys.at(v));
  });
  ink.stroke();
}

// The value at the pointer: that of the last step before it.
function listenToHypervolume() {
  const canvas = $("hypervolume");
  canvas.addEventListener("mousemove", (event) => {
    const step = growth.at && growth.steps.findLast(([x]) => growth.at(x) <= event.offsetX);
    $("tip").hidden = !step;
    if (!step) return;
    const place = Number($("hv-axis").value) === 1 ? `${step[0].toFixed(1)} min` : `trial ${step[0]}`;
    $("tip").replaceChildren(element("b", "", `${place}: ${step[1].toFixed(4)}`));
    placeTip(event);
  });
  canvas.addEventListener("mouseleave", () => { $("tip").hidden = true; });
}
