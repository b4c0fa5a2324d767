"""What is believed of a front stands in the tables and figures of a report."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nni_plugin.results.experiment import Experiment
from nni_plugin.results.luck import believed
from nni_plugin.results.report import write_report
from nni_plugin.study.trial_log import TrialLog
from support.spaces import bits_space, truth

NOISE = 0.05


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """Forty random networks, with costs known before their trials, and one that ran again."""
    space, rng = bits_space(3), random.Random(1)
    genes: dict[str, Any] = {
        gene.name: {"_type": "choice", "_value": list(getattr(gene, "values", ()))}
        for gene in space.genes
    }
    goals = {"accuracy": "maximize", "size_kb": "minimize"}
    events: list[dict[str, Any]] = [
        {"event": "start", "version": 1, "objectives": goals, "space": genes, "time": 1.0}
    ]
    for uid in range(1, 41):
        params = space.decode(space.sample(rng))
        costs = {"size_kb": truth(params)["size_kb"]}
        events.append(
            {"event": "ask", "uid": uid, "params": params, "costs": costs, "origin": "ga"}
        )
        metrics = {**costs, "accuracy": truth(params)["accuracy"] + rng.gauss(0, NOISE)}
        events.append({"event": "tell", "uid": uid, "metrics": metrics})
    again = {"accuracy": 0.5, "size_kb": events[1]["costs"]["size_kb"]}
    events.append({"event": "measure", "uid": 1, "metrics": again})
    events.append({"event": "ask", "uid": 99, "params": {"gone": 1}})
    events.append({"event": "tell", "uid": 99, "metrics": {"accuracy": 0.1, "size_kb": 0.1}})
    (tmp_path / "journal.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    return Experiment(tmp_path)


def test_the_front_has_means_and_intervals(experiment: Experiment, tmp_path: Path) -> None:
    frame = experiment.frame().set_index("uid")
    assert frame.loc[1, "measurements"] == 2
    assert not any(column.startswith("size_kb.") for column in frame.columns), (
        "known before a trial"
    )
    fitting = frame[frame["front"] & (frame.index != 99)]
    ends = fitting[["accuracy.low", "accuracy.mean", "accuracy.high"]]
    assert len(ends) > 1
    assert (ends.diff(axis=1).iloc[:, 1:] > 0).all(axis=None)
    assert frame[~frame["front"]]["accuracy.mean"].isna().all()
    assert pd.isna(frame.loc[99, "accuracy.mean"]), "it does not fit the search space"
    written = pd.read_csv(write_report(experiment, tmp_path / "report")["front"])
    assert {"accuracy.low", "accuracy.mean", "accuracy.high", "measurements"} <= set(written)


def test_luck_is_taken_off(experiment: Experiment) -> None:
    found = [b for b in believed(experiment.log).values() if b.mean]
    assert len(found) == 40
    true = [truth(b.evaluation.params)["accuracy"] for b in found]

    def error(values: list[float]) -> float:
        return sum(abs(v - t) for v, t in zip(values, true, strict=True)) / len(true)

    read = [(b.evaluation.metrics or {})["accuracy"] for b in found]
    assert error([b.mean["accuracy"] for b in found]) < 0.7 * error(read)


def test_a_space_that_cannot_be_read_leaves_the_readings(tmp_path: Path) -> None:
    log = TrialLog(tmp_path / "journal.jsonl")
    log.objectives, log.space = {"accuracy": "maximize"}, {"x": {"_type": "nonsense"}}
    assert believed(log) == {}
