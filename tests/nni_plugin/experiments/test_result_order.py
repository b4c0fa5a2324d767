"""Of several results of one trial the first stands, though NNI's database has them in any order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nni_plugin.study.trial_log import TrialLog
from support.joint_ga_run import TRIAL

AGAIN = "for _ in range(3):\n    nni.report_final_result({**metrics, 'accuracy': -1.0})\n"


@pytest.mark.slow
@pytest.mark.nni
def test_the_first_of_four_results_stands(run: Any, tmp_path: Path) -> None:
    running = run(5, body=TRIAL + AGAIN)
    assert running.process.wait(240) == 0, running.text
    (journal,) = (tmp_path / "experiments").glob("[!_]*/checkpoint/journal.jsonl")
    found = TrialLog.read(journal).finished("complete")
    assert len(found) == 5
    assert [trial.uid for trial in found if trial.metrics["accuracy"] == -1.0] == []
