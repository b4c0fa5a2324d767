"""A search in this process whose trials score low, and whose networks finish higher."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ga.evaluation import RUNNING
from nni_plugin.protocol.final_run import EPOCHS, SEED, TEST
from nni_plugin.study.study import Study
from nni_plugin.study.trial import FinalTrial, Trial
from nni_plugin.study.tuner_args import TunerArgs

SPACE = {name: {"_type": "choice", "_value": list(range(8))} for name in ("x", "y")}
FINAL = {"epochs": 40, "trials": 4, "count": 2, "seeds": 2}
CLASS_ARGS = {
    "objectives": {"accuracy": "maximize", "size_kb": "minimize"},
    "population_size": 8,
    "final": FINAL,
}
BASELINE = 0.98


def search(folder: Path, **class_args: object) -> Study:
    """The search of a folder, taken up where its journal ends."""
    args = {**CLASS_ARGS, **class_args}
    parsed = TunerArgs.parse(args, base=[folder])
    return Study(parsed, SPACE, folder / "journal.jsonl", args)


def result(params: Mapping[str, object]) -> dict[str, float]:
    """What a trial with these parameters reports, trained to the end or not."""
    x, y = params["x"], params["y"]
    assert isinstance(x, int)
    assert isinstance(y, int)
    gap = 0.8 * 0.8 ** (x + y) + 0.01 * ((3 * x + 5 * y) % 4)
    found: dict[str, float] = {"size_kb": 1.0 + x + 0.5 * y, "baseline_accuracy": BASELINE}
    if EPOCHS in params:
        seed = params[SEED]
        assert isinstance(seed, int)
        gap = gap / 8 * (1 + 0.1 * seed)
        found[EPOCHS] = float(str(params[EPOCHS]))
        if params[TEST]:
            found["test_accuracy"] = BASELINE - 0.02 - gap
    found["accuracy"] = found["default"] = BASELINE - gap
    return found


def next_trial(study: Study, planned: int) -> Trial | FinalTrial:
    """What the tuner would ask for."""
    return study.finals.ask(planned) or study.ask()


def run(study: Study, planned: int, count: int | None = None) -> list[Trial]:
    """Asks and tells, one after the other.

    Args:
        study: the search.
        planned: trials of the experiment.
        count: of trials that are run now; all by default.
    """
    asked = []
    for _ in range(planned if count is None else count):
        trial = next_trial(study, planned)
        study.tell(trial.uid, result(trial.params))
        assert trial.status != RUNNING
        asked.append(trial)
    return asked
