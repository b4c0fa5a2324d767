"""What the live page, the report and the page of several experiments show of a run."""

from __future__ import annotations

import json
import time
from typing import TypedDict

from ga.evaluation import COMPLETE, FAILED, IMPORTED, RUNNING
from ga.history.unmet_limits import PATIENCE, unmet_limits
from nni_plugin.protocol.json_types import JsonObject, Params
from nni_plugin.protocol.units import unit_of
from nni_plugin.results.finalists import finalists
from nni_plugin.results.pareto_front import SETTLED_AFTER, FrontHistory
from nni_plugin.study.trial_log import FINAL, Trial, TrialLog

__all__ = ["BUDGET", "PageData", "flatten"]

BUDGET = "budget"
"""Why a search is over all of whose trials are done, as the tuner says it."""


class PageData:
    """What the page shows, derived from a :class:`TrialLog` step by step.

    Args:
        log: the experiment's trials; this class calls its ``refresh``.
        experiment: name shown in the title.
        planned: number of trials after which the experiment is done, where it is known.
    """

    def __init__(self, log: TrialLog, experiment: str = "", planned: int | None = None) -> None:
        self.log = log
        self.experiment = experiment
        self.planned = planned
        self.generation = time.time()
        self._factors: dict[str, float] | None = None
        self._reset([])

    def _reset(self, metrics: list[str]) -> None:
        self.metrics = metrics
        self.genes = _genes(self.log)
        self._codes = [(gene["name"], _codes(gene["values"])) for gene in self.genes]
        self.points: list[str] = []
        self.chromosomes: list[str] = []
        self._finish_times: list[float] = []
        self._front = (
            FrontHistory(self.log.objectives, self.log.constraints) if self.log.objectives else None
        )
        self._basis = self._shown_by()
        self.generation += 1

    @property
    def front(self) -> list[int]:
        """Uids on the front."""
        return self._front.front if self._front else []

    @property
    def hypervolume(self) -> float | None:
        """As the page shows it; None until its box is known."""
        return self._front.hypervolume if self._front and self._front.is_settled else None

    def refresh(self) -> tuple[list[str], list[str]]:
        """Reads what the journal gained; returns the new lines of points and of chromosomes.

        When the columns change (a new metric, another search space or other objectives), or a
        point by a further measurement, the data starts anew under another ``generation``, and all
        lines are returned.
        """
        read_before = not self.points and bool(self.log.trials)
        finished = self.log.refresh()
        finished = self.log.finished() if read_before else finished
        metrics = self.log.metric_names()
        names = [gene["name"] for gene in self.genes]
        changed = [g["name"] for g in _genes(self.log)] != names or self._shown_by() != self._basis
        if changed or set(metrics) - set(self.metrics):
            self._reset(metrics)
            finished = self.log.finished()
        points = [self._point(t) for t in finished]
        chromosomes = [self._chromosome(t) for t in finished]
        self.points += points
        self.chromosomes += chromosomes
        self._finish_times += [round(t.elapsed, 1) for t in finished if t.status == COMPLETE]
        if self._front is not None:
            self._front.extend(finished)
        return points, chromosomes

    def _shown_by(self) -> tuple[object, ...]:
        """What earlier points would look different for; expected values change with forecasts."""
        log = self.log
        return log.objectives, log.constraints, log.measurements, log.forecasts

    def _point(self, trial: Trial) -> str:
        feasible = self._front is not None and self._front.feasible(trial)
        row: list[object] = [
            trial.uid,
            trial.job_id,
            round(trial.elapsed, 1),
            FINAL.index(trial.status),
            int(feasible),
            trial.origin,
            [trial.shown.get(name) for name in self.metrics],
        ]
        if trial.status == FAILED:
            row.append(trial.reason)
        return json.dumps(row, separators=(",", ":"))

    def _chromosome(self, trial: Trial) -> str:
        # Of hundreds of genes each call counts.
        is_nested = any(type(value) is dict for value in trial.params.values())
        value_of = (flatten(trial.params) if is_nested else trial.params).get
        coded = [
            value_of(name) if codes is None else codes.get(_key(value_of(name)))
            for name, codes in self._codes
        ]
        return json.dumps([trial.uid, coded], separators=(",", ":"))

    def state(self) -> JsonObject:
        """The small part that is rewritten: counts, front, hypervolume, limits, marks, notes."""
        log, front = self.log, self._front
        failed = log.finished(FAILED)
        int8 = log.uniform_int8()
        uids = self.front
        known = [*log.trials.values(), *log.finals.values()]
        return {
            "generation": self.generation,
            "experiment": self.experiment,
            "ended": self.ended(),
            "planned": self.planned,
            "elapsed": round(max((t.elapsed for t in known), default=0.0), 1),
            "counts": log.counts(),
            "trained": sum(run.status == COMPLETE for run in log.finals.values()),
            "failure": failed[-1].reason if failed else "",
            "objectives": log.objectives,
            "software": _software(log),
            "limits": [
                {"metric": c.metric, "op": c.operator, "limit": c.bound}
                for c in (front.constraints if front else ())
            ],
            "metrics": self.metrics,
            "units": {name: unit for name in self.metrics if (unit := unit_of(name))},
            "errors": self._errors(),
            "exportable": self._is_of_layers(),
            "baseline": log.baseline(),
            "int8": int8.uid if int8 else None,
            "front": uids,
            "front_values": [[log.trials[u].ranked[m] for m in log.objectives] for u in uids],
            "settled_after": SETTLED_AFTER,
            "unmet": self._unmet(),
            "notes": list(log.notes),
            "finalists": [one.row() for one in finalists(log)],
            "hypervolume": self._hypervolume(),
        }

    def ended(self) -> str:
        """Why the search is over; empty while it goes on.

        NNI tells no tuner that its ``maxTrialNumber`` is reached, and an experiment whose web UI
        is kept leaves its tuner running.
        """
        if self.log.ended or self.planned is None or self.log.running():
            return self.log.ended
        own = [trial for trial in self.log.finished() if trial.origin != IMPORTED]
        done = len(own) + sum(run.status != RUNNING for run in self.log.finals.values())
        return BUDGET if done >= self.planned else ""

    def _unmet(self) -> str:
        """Which limits no trial keeps; empty while it is early, or where one keeps them all."""
        complete = {trial.uid: trial.metrics for trial in self.log.finished(COMPLETE)}
        if self._front is None or self._front.front or len(complete) < PATIENCE:
            return ""
        return unmet_limits(self._front.constraints, complete) or ""

    def _is_of_layers(self) -> bool:
        """Whether the chromosomes are of a network's layers, which an export can be made of."""
        from hardware.ir.gene_kinds import kind_of

        return any(kind_of(gene["name"]) is not None for gene in self.genes)

    def _errors(self) -> dict[str, float]:
        """Factor of each estimate between its value and the ends of its interval, if known."""
        if self._factors is None and self.log.stack is not None:
            self._factors = _interval_factors(self.log.stack)
        return self._factors or {}

    def _hypervolume(self) -> list[list[float]]:
        if self._front is None or not self._front.steps:
            return []
        times = self._finish_times
        rows = [[n, times[n - 1], round(v, 6)] for n, v in self._front.steps]
        if rows[-1][0] != len(times):
            rows.append([len(times), times[-1], rows[-1][2]])
        return rows

    def space(self) -> JsonObject:
        """What stays: the genes, and how to show the kinds that belong to layers."""
        # Imported here, as above.
        from hardware.ir.gene_kinds import gene_kinds

        kinds = [
            {
                "name": kind.name,
                "label": kind.label,
                "neutral": kind.neutral,
                "strongest": kind.strongest,
                "percent": kind.percent,
                "texts": dict(kind.value_labels),
            }
            for kind in gene_kinds()
            if kind.scope != "network"
        ]
        return {"genes": self.genes, "kinds": kinds}

    def embedded(self) -> JsonObject:
        """Everything at once, for a self-contained page; call :meth:`refresh` before."""
        return {
            "state": self.state(),
            "space": self.space(),
            "points": [json.loads(line) for line in self.points],
            "genes": [json.loads(line) for line in self.chromosomes],
        }


def _software(log: TrialLog) -> str:
    """Which software the costs are of, as a sentence; empty if the journal does not say."""
    if log.stack is None:
        return ""
    # Imported here, as above.
    from hardware.stacks import in_words

    device, name = log.stack.get("device"), str(log.stack.get("name"))
    return f"Latency, energy, RAM and flash are estimates for {device} with {in_words(name)}."


def _interval_factors(stack: JsonObject) -> dict[str, float]:
    """Of each estimate, ``high / value``; empty if the device's file is not here any more."""
    # Imported here, as above.
    from hardware import load_device
    from hardware.calibration.prediction_intervals import factors

    try:
        return factors(load_device(str(stack.get("device")), str(stack.get("name"))))
    except (ValueError, OSError):
        return {}


def flatten(params: Params, prefix: str = "") -> Params:
    """Nested NNI choices as flat genes: ``{"a": {"_name": "x", "b": 1}}`` -> ``a: x, a/b: 1``."""
    flat: Params = {}
    for key, value in params.items():
        if isinstance(value, dict):
            flat[prefix + key] = value.get("_name")
            flat.update(
                flatten({k: v for k, v in value.items() if k != "_name"}, f"{prefix}{key}/")
            )
        else:
            flat[prefix + key] = value
    return flat


class _Gene(TypedDict):
    name: str
    values: list[object] | None


def _genes(log: TrialLog) -> list[_Gene]:
    """Genes in the order of the search space; ``values`` is None where they are numbers.

    A gene that several options of a nested choice share by name appears once.
    """
    genes: dict[str, list[object] | None] = {}

    def walk(space: JsonObject, prefix: str) -> None:
        for key, entry in space.items():
            if not isinstance(entry, dict) or "_type" not in entry:
                continue
            values = entry.get("_value") if entry["_type"] == "choice" else None
            nested = [v for v in values or [] if isinstance(v, dict)]
            if nested:
                assert values is not None
                values = [v.get("_name") if isinstance(v, dict) else v for v in values]
            name = prefix + key
            genes[name] = values if genes.get(name, values) == values else None
            for option in nested:
                walk({k: v for k, v in option.items() if k != "_name"}, f"{prefix}{key}/")

    walk(log.space, "")
    return [{"name": name, "values": values} for name, values in genes.items()]


def _key(value: object) -> object:
    return value if isinstance(value, (int, float, str)) else json.dumps(value)


def _codes(values: list[object] | None) -> dict[object, int] | None:
    return None if values is None else {_key(v): i for i, v in enumerate(values)}
