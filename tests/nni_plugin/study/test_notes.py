"""What the search has met: in the journal once, in the terminal and on the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from ga.history.unmet_limits import PATIENCE
from nni_plugin.cli.progress import _Progress
from nni_plugin.results.experiment import Experiment, NoFrontError
from nni_plugin.results.live_page import PageData
from nni_plugin.study.journal import read
from nni_plugin.study.study import Study
from nni_plugin.study.trial_log import TrialLog
from nni_plugin.study.tuner_args import TunerArgs

SPACE = {"x": {"_type": "choice", "_value": list(range(99))}}


def study_in(folder: Path) -> Study:
    given = {
        "objectives": {"accuracy": "maximize", "size": "minimize"},
        "constraints": {"accuracy": ">= 0.95", "size": "<= 2"},
    }
    return Study(TunerArgs.parse(given, base=[folder]), SPACE, folder / "checkpoint/journal.jsonl")


def tell(study: Study, count: int, accuracy: float, size: float) -> None:
    for _ in range(count):
        study.tell(study.ask().uid, {"accuracy": accuracy, "size": size})


def test_limits_that_nothing_keeps_are_told_everywhere_once(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    tell(study, PATIENCE, 0.9, 2.0)
    study.close()
    again = study_in(tmp_path)
    tell(again, 3, 0.97, 5.0)
    notes = [e["text"] for e in read(tmp_path / "checkpoint/journal.jsonl") if e["event"] == "note"]
    assert len(notes) == 1
    assert notes[0].startswith(f"none of {PATIENCE} results keeps the limits: 'accuracy >= 0.95'")

    said: list[str] = []
    progress = _Progress(tmp_path, None, 0)
    progress.refresh(said.append)
    progress.refresh(said.append)
    assert said == notes

    page = PageData(TrialLog(tmp_path / "checkpoint/journal.jsonl"))
    page.refresh()
    state = page.state()
    assert state["notes"] == notes
    assert str(state["unmet"]).startswith(f"none of {PATIENCE + 3} results keeps the limits")
    with pytest.raises(NoFrontError, match="'size <= 2' are never kept together"):
        Experiment(tmp_path).front()

    tell(again, 1, 0.96, 1.0)
    again.close()
    page.refresh()
    assert page.state()["unmet"] == "", "a trial keeps them all"
