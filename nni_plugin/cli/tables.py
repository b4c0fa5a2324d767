"""Tables for the terminal: a front with its reference points, and the layers of a network."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ga.evaluation import COMPLETE
from nni_plugin.cli.output import add_result, add_table
from nni_plugin.results.finalists import Finalist, finalists
from nni_plugin.results.front_rows import front_rows, point_names
from nni_plugin.results.pareto_front import FrontHistory
from nni_plugin.study.trial_log import Trial, TrialLog

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from nni_plugin.study.forecasts import Forecast

__all__ = ["dict_table", "finalists_table", "found_tables", "front_table", "make_console", "number"]

_INT8_SIZE = "of int8"
_KNEE = "knee: nearest to the best of all objectives at once; uid: what --trial takes"
_OF_INT8 = "; of int8: share of the size that uniform int8 has"
_PIPE_WIDTH = 180


def make_console() -> Console:
    """A console for stdout; into a pipe or a file tables are written in full, not cut at 80."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)


def number(value: object) -> str:
    """A value in at most about six characters of digits; ``-`` for None."""
    if value is None:
        return "-"
    if not isinstance(value, (int, float)):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10000 else f"{value:.4g}"


def front_table(
    log: TrialLog, history: FrontHistory, most: int = 14, references: bool = True
) -> Table:
    """The front by its first objective, the chosen points named, baseline and int8 first.

    Args:
        log: the experiment's trials.
        history: their front.
        most: rows of the front; of a longer one, the named points and an even choice of the rest.
        references: whether baseline and uniform int8 have rows.
    """
    from rich.table import Table

    metrics = _columns(log)
    front = [log.trials[uid] for uid in history.front]
    names = {uid: ", ".join(words) for uid, words in point_names(front, log.objectives).items()}
    first = next(iter(log.objectives))
    front.sort(key=lambda t: t.ranked[first], reverse=log.objectives[first] == "maximize")
    shown = _thinned(front, set(names), most)
    title = f"Pareto front: {len(front)} of {len(log.finished(COMPLETE))} trials"
    table = Table(title=title + (f", {len(shown)} shown" if len(shown) < len(front) else ""))
    add_result(front=front_rows(log, history))
    for column in ("", "uid", "trial"):
        table.add_column(column, no_wrap=True)
    for name in metrics:
        mode = log.objectives.get(name)
        goal = {"maximize": " ↑", "minimize": " ↓"}.get(mode or "", "")
        limit = log.constraints.get(name)
        table.add_column(f"{name}{goal}{f' ({limit})' if limit else ''}", justify="right")
    int8 = log.uniform_int8()
    shares = int8 is not None and "size_kb" in int8.metrics
    if shares:
        table.add_column(_INT8_SIZE, justify="right")
    if references:
        table.caption = _KNEE + (_OF_INT8 if shares else "")

    def add(label: str, trial: Trial, style: str = "") -> None:
        cells = [label, str(trial.uid), trial.job_id or "", *_values(_told(trial), metrics)]
        if shares and int8 is not None:
            size = trial.metrics.get("size_kb")
            cells.append(f"{size / int8.metrics['size_kb']:.0%}" if size else "-")
        table.add_row(*cells, style=style)

    if references:
        baseline = log.baseline()
        if baseline:
            empty = ["-"] if shares else []
            table.add_row("baseline", "", "", *_values(baseline, metrics), *empty, style="green")
        if int8 is not None:
            add("uniform int8", int8, "magenta")
        table.add_section()
    for trial in shown:
        add(names.get(trial.uid, ""), trial, "bold" if trial.uid in names else "")
    return table


def _columns(log: TrialLog) -> list[str]:
    """Objectives and what has limits; behind a metric that is forecast, what is expected of it."""
    names = list(dict.fromkeys([*log.objectives, *log.constraints]))
    if log.forecasts is not None and log.forecasts.is_known and log.forecasts.metric in names:
        metric = log.forecasts.metric
        names[names.index(metric) + 1 : names.index(metric) + 1] = [f"expected_{metric}"]
    return names


def _told(trial: Trial) -> dict[str, object]:
    """A trial's metrics, what is expected of it with its interval."""
    told: dict[str, object] = dict(trial.shown)
    if trial.forecast is not None:
        told[f"expected_{trial.forecast.metric}"] = _interval(trial.forecast)
    return told


def _interval(forecast: Forecast) -> str:
    return f"{number(forecast.value)} ({number(forecast.low)} to {number(forecast.high)})"


def finalists_table(log: TrialLog, found: Sequence[Finalist]) -> Table:
    """What was trained to the end: best first, with its interval and, once read, test.

    Args:
        log: the experiment's trials.
        found: its finalists, at least one.
    """
    from rich.table import Table

    metric = found[0].forecast.metric
    others = [name for name in dict.fromkeys([*log.objectives, *log.constraints]) if name != metric]
    table = Table(
        title=f"Finalists: {len(found)} trained for {found[0].runs[-1].run.epochs} epochs"
    )
    for column in ("uid", "trial"):
        table.add_column(column, no_wrap=True)
    for column in (f"{metric} in the search", "trainings", "mean", "expected", "test", *others):
        table.add_column(column, justify="right")
    for one in found:
        row = one.row()
        shown = [row[name] for name in ("measured", "trainings", "mean")]
        cells = [*shown, _interval(one.forecast), row["test"]]
        cells += [one.trial.metrics.get(name) for name in others]
        table.add_row(str(row["uid"]), one.trial.job_id or "", *(number(cell) for cell in cells))
    return table


def found_tables(log: TrialLog, history: FrontHistory) -> RenderableType:
    """The finalists, if there are any, and the front."""
    from rich.console import Group

    last = finalists(log)
    front = front_table(log, history)
    return Group(finalists_table(log, last), front) if last else front


def _values(metrics: Mapping[str, object], names: Sequence[str]) -> list[str]:
    return [number(metrics.get(name)) for name in names]


def _thinned(front: list[Trial], named: set[int], most: int) -> list[Trial]:
    if len(front) <= most:
        return front
    rest = [i for i, t in enumerate(front) if t.uid not in named]
    room = max(0, most - len(named))
    kept = {rest[round(i * (len(rest) - 1) / max(1, room - 1))] for i in range(room)}
    return [t for i, t in enumerate(front) if i in kept or t.uid in named]


def dict_table(rows: Iterable[Mapping[str, object]], title: str = "") -> Table:
    """A table of dicts with the same keys; text to the left, numbers to the right."""
    from rich.table import Table

    rows = list(rows)
    add_table(title, rows)
    table = Table(title=title or None)
    for name in rows[0] if rows else ():
        numeric = all(isinstance(row[name], (int, float, type(None))) for row in rows)
        table.add_column(name, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(number(value) for value in row.values()))
    return table
