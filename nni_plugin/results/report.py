"""Files that tell a run's story: CSV, PNG, and one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ga.evaluation import COMPLETE, FAILED
from nni_plugin.protocol.units import label
from nni_plugin.results.csv_file import write_csv
from nni_plugin.results.experiment import Experiment, NoFrontError
from nni_plugin.results.finalists import finalists
from nni_plugin.results.live_page import PageData, render
from nni_plugin.results.pareto_front import SETTLED_AFTER, Bounds, FrontHistory, knee
from nni_plugin.results.trial_command import planned_trials
from nni_plugin.study.trial_log import Trial, TrialLog

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "chosen_points", "compare", "write_html", "write_report"]


def chosen_points(experiment: Experiment) -> dict[str, Trial]:
    """The points of the front worth naming: the best of each objective, and the knee.

    Raises:
        NoFrontError: there is no front.
    """
    front = experiment.front()
    objectives = experiment.log.objectives
    points = {"knee": knee(front, objectives)}
    for name, mode in objectives.items():
        sign = -1 if mode == "maximize" else 1
        words = ("highest" if sign < 0 else "lowest", name)
        points[" ".join(words)] = min(front, key=lambda t: sign * t.ranked[name])
    return points


def write_report(experiment: Experiment, folder: str | Path) -> dict[str, Path]:
    """Writes ``trials.csv``, ``front.csv``, ``pareto.png`` and ``report.html``.

    With finalists there is a ``finalists.csv``, too.

    Files of an earlier report in ``folder`` are replaced; other files are left alone. Without a
    front (all trials failed, none feasible) the CSV of the trials and the page are still written.

    Returns:
        What was written: ``{"trials": path, "front": path, "png": path, "html": path}``.

    Raises:
        OSError: the folder can't be written.
    """
    import pandas as pd

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"trials": folder / "trials.csv", "html": folder / "report.html"}
    frame = experiment.frame()
    write_csv(frame, paths["trials"])
    write_html(experiment, paths["html"])
    if last := finalists(experiment.log):
        paths["finalists"] = folder / "finalists.csv"
        write_csv(pd.DataFrame([one.row() for one in last]), paths["finalists"])
    try:
        history = experiment.history()
    except NoFrontError:
        return paths
    paths["front"] = folder / "front.csv"
    first = next(iter(experiment.log.objectives))
    write_csv(frame[frame["front"]].sort_values(first), paths["front"])
    paths["png"] = folder / "pareto.png"
    _draw(experiment, history, frame[frame["front"]], paths["png"])
    return paths


def write_html(experiment: Experiment, path: Path) -> None:
    """Writes the page with all data, and plotly, inside one file (about 5 MB)."""
    data = PageData(TrialLog(experiment.journal), experiment.id, planned_trials(experiment))
    data.refresh()
    path.write_text(render(data.embedded()), encoding="utf-8")


def _draw(
    experiment: Experiment, history: FrontHistory, believed: pd.DataFrame, path: Path
) -> None:
    """The front over the first two objectives that differ in kind, and the hypervolume."""
    from matplotlib.figure import Figure

    log = experiment.log
    names = list(log.objectives)
    y = next((n for n in names if log.objectives[n] == "maximize"), names[0])
    x = next((n for n in names if n != y), None)
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    front = set(history.front)
    complete = [
        t for t in log.finished(COMPLETE) if y in t.metrics and (x is None or x in t.metrics)
    ]

    def scatter(trials: Sequence[Trial], **look: Any) -> None:
        across = [t.ranked[x] if x else t.uid for t in trials]
        left.scatter(across, [t.ranked[y] for t in trials], **look)

    rest = [t for t in complete if t.uid not in front]
    scatter([t for t in rest if history.feasible(t)], s=14, color="#98a2b3", label="dominated")
    infeasible = [t for t in rest if not history.feasible(t)]
    if infeasible:
        scatter(infeasible, s=16, facecolors="none", edgecolors="#d97706", label="infeasible")
    scatter([t for t in complete if t.uid in front], s=34, color="#2563eb", label="Pareto front")
    if f"{y}.mean" in believed:
        mean, low, high = (believed[f"{y}.{part}"] for part in ("mean", "low", "high"))
        left.errorbar(
            believed[x or "uid"], mean, [mean - low, high - mean], fmt="_", color="#1e3a8a",
            elinewidth=1, label="luck taken off, 90 %",
        )  # fmt: skip
    int8 = log.uniform_int8()
    if int8 is not None and int8 in complete:
        scatter([int8], s=70, marker="D", color="#9333ea", label="uniform int8")
    if y in log.baseline():
        left.axhline(log.baseline()[y], color="#059669", ls="--", lw=1, label="baseline (float)")
    told = log.forecasts if log.forecasts is not None and log.forecasts.is_known else None
    vertical = f"expected {label(y)}" if told is not None and told.metric == y else label(y)
    left.set(
        xlabel=label(x) if x else "uid",
        ylabel=vertical,
        title=f"{experiment.id}: {len(front)} on the front",
    )
    left.legend(fontsize=8)
    steps = [*history.steps, (len(log.finished(COMPLETE)), history.hypervolume)]
    right.step([n for n, _ in steps], [v for _, v in steps], where="post", color="#2563eb")
    right.set(
        xlabel="complete trials", ylabel=f"hypervolume (box of the first {SETTLED_AFTER} = 1)"
    )
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=130)


@dataclass(frozen=True)
class Comparison:
    """Several experiments measured in one box.

    Attributes:
        table: one row per experiment: trials, front size, hypervolume, best of each objective.
        steps: ``{experiment id: [(complete trials, hypervolume), ...]}``.
    """

    table: pd.DataFrame
    steps: Mapping[str, list[tuple[int, float]]]

    def draw(self, path: Path) -> None:
        """Hypervolume over trials, one line per experiment, as PNG."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4.4), layout="constrained")
        axes = figure.subplots()
        for (name, steps), trials in zip(self.steps.items(), self.table["complete"], strict=True):
            line = [*steps, (int(trials), steps[-1][1])]
            axes.step([n for n, _ in line], [v for _, v in line], where="post", label=name)
        axes.set(xlabel="complete trials", ylabel="hypervolume (one box for all)")
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
        figure.savefig(path, dpi=130)


def compare(experiments: Sequence[Experiment]) -> Comparison:
    """Measures experiments in one box: bounds over all their complete trials.

    The objectives and constraints of the first one judge all of them.

    Raises:
        NoFrontError: one has no front by those objectives and constraints.
        ValueError: fewer than two experiments.
    """
    import pandas as pd

    if len(experiments) < 2:
        raise ValueError(f"compare needs at least two experiments, {len(experiments)} given")
    log = experiments[0].log
    judge = FrontHistory(log.objectives, log.constraints)
    losses = [
        loss
        for experiment in experiments
        for trial in experiment.log.finished(COMPLETE)
        if (loss := judge.losses(trial)) is not None
    ]
    if not losses:
        raise NoFrontError(f"no trial reports all of the objectives {', '.join(log.objectives)}")
    bounds = Bounds.of(np.array(losses))
    names = [e.id for e in experiments]
    rows, steps = [], {}
    for index, experiment in enumerate(experiments):
        complete = experiment.log.finished(COMPLETE)
        history = FrontHistory(log.objectives, log.constraints, bounds)
        history.extend(complete)
        if not history.front:
            raise NoFrontError(
                f"experiment {experiment.id} has no feasible trial that reports "
                f"{', '.join(log.objectives)}, the objectives of {experiments[0].id}"
            )
        name = experiment.id if names.count(experiment.id) == 1 else f"{experiment.id}#{index + 1}"
        front = [experiment.log.trials[uid].ranked for uid in history.front]
        best = {
            f"best {m}": (max if mode == "maximize" else min)(metrics[m] for metrics in front)
            for m, mode in log.objectives.items()
        }
        rows.append(
            {
                "experiment": name,
                "complete": len(complete),
                "failed": experiment.log.counts()[FAILED],
                "front": len(front),
                "hypervolume": round(history.hypervolume, 5),
                **best,
            }
        )
        steps[name] = history.steps
    return Comparison(pd.DataFrame(rows), steps)
