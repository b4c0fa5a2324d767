"""Tables for the terminal: a front with its reference points, and the layers of a network."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ga.evaluation import COMPLETE
from nni_plugin.results.pareto_front import FrontHistory, knee
from nni_plugin.study.trial_log import Trial, TrialLog

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["dict_table", "front_table", "make_console", "number"]

_INT8_SIZE = "of int8"
_PIPE_WIDTH = 180


def make_console() -> Console:
    """A console for stdout; into a pipe or a file tables are written in full, not cut at 80."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)


def number(value: Any) -> str:
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

    metrics = list(dict.fromkeys([*log.objectives, *log.constraints]))
    front = [log.trials[uid] for uid in history.front]
    names = _names(front, log.objectives)
    first = next(iter(log.objectives))
    front.sort(key=lambda t: t.metrics[first], reverse=log.objectives[first] == "maximize")
    shown = _thinned(front, set(names), most)
    title = f"Pareto front: {len(front)} of {len(log.finished(COMPLETE))} trials"
    table = Table(title=title + (f", {len(shown)} shown" if len(shown) < len(front) else ""))
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

    def add(label: str, trial: Trial, style: str = "") -> None:
        cells = [label, str(trial.uid), trial.job_id or "", *_values(trial.metrics, metrics)]
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


def _values(metrics: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [number(metrics.get(name)) for name in names]


def _names(front: list[Trial], objectives: Mapping[str, str]) -> dict[int, str]:
    """What makes some uids worth naming: the knee and the best of each objective."""
    if not front:
        return {}
    names: dict[int, list[str]] = {knee(front, objectives).uid: ["knee"]}
    for metric, mode in objectives.items():
        choose = max if mode == "maximize" else min
        best = choose(front, key=lambda t, m=metric: t.metrics[m])  # type: ignore[misc]  # a lambda's default has no type
        names.setdefault(best.uid, []).append(f"best {metric}")
    return {uid: ", ".join(words) for uid, words in names.items()}


def _thinned(front: list[Trial], named: set[int], most: int) -> list[Trial]:
    if len(front) <= most:
        return front
    rest = [i for i, t in enumerate(front) if t.uid not in named]
    room = max(0, most - len(named))
    kept = {rest[round(i * (len(rest) - 1) / max(1, room - 1))] for i in range(room)}
    return [t for i, t in enumerate(front) if i in kept or t.uid in named]


def dict_table(rows: Iterable[Mapping[str, Any]], title: str = "") -> Table:
    """A table of dicts with the same keys; text to the left, numbers to the right."""
    from rich.table import Table

    rows = list(rows)
    table = Table(title=title or None)
    for name in rows[0] if rows else ():
        numeric = all(isinstance(row[name], (int, float, type(None))) for row in rows)
        table.add_column(name, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(number(value) for value in row.values()))
    return table
