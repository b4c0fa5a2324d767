"""Tuner and assessor in one process, as NNI's dispatcher calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nni.assessor import AssessResult

from nni_plugin import JointGATuner, ParetoAssessor
from nni_plugin.study.journal import read
from support.death import succeed_in

SPACE = {name: {"_type": "uniform", "_value": [0.0, 1.0]} for name in "ab"}


def as_experiment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lets NNI take a folder for the experiment's, in a process that had no tuner yet."""
    monkeypatch.setenv("NNI_CHECKPOINT_DIRECTORY", str(folder))
    monkeypatch.setenv("NNI_LOG_DIRECTORY", str(folder))
    monkeypatch.delenv("NNI_TUNER_COMMAND_CHANNEL", raising=False)
    monkeypatch.setattr("nni_plugin.tuner._running", None)
    return folder


class Process:
    """Tuner and assessor with trials that report three times."""

    def __init__(self, folder: Path, **class_args: Any) -> None:
        self.folder = folder
        succeed_in(folder, self._let_go)
        self.tuner = JointGATuner(objectives={"gain": "maximize", "size": "minimize"})
        self.tuner.grace_failed = self.tuner.grace_succeeded = 0.05
        self.assessor = ParetoAssessor(**class_args)
        self.tuner.update_search_space(SPACE)
        self.next_id = 0
        self.errors: list[str] = []

    def _let_go(self) -> None:
        self.tuner.study.close()
        self.assessor.stopping.close()

    def start(self) -> tuple[int, int]:
        parameter_id = self.next_id
        self.next_id += 1
        (params,) = self.tuner.generate_multiple_parameters([parameter_id])
        return parameter_id, params["uid"]

    def report(self, parameter_id: int, uid: int, *values: float, size: float = 1.0) -> bool:
        history = [{"gain": v, "size": size, "uid": uid} for v in values]
        return bool(self.assessor.assess_trial(f"t{parameter_id}", history) is AssessResult.Good)

    def run_whole(self, final: float, size: float = 1.0) -> int:
        parameter_id, uid = self.start()
        for rung in range(3):
            self.report(
                parameter_id, uid, *[final - 0.1 * (2 - r) for r in range(rung + 1)], size=size
            )
        value = {"gain": final, "size": size, "uid": uid}
        self.tuner.receive_trial_result(parameter_id, "", value)
        self.end(parameter_id, True)
        return uid

    def end(self, parameter_id: int, success: bool) -> None:
        self.assessor.trial_end(f"t{parameter_id}", success)
        self.tuner.trial_end(parameter_id, success)

    @property
    def journal(self) -> list[dict[str, Any]]:
        return read(self.folder / "journal.jsonl")
