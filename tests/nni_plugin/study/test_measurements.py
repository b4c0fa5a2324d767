"""Further measurements of one chromosome: in the journal, after a resume, and on the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nni_plugin.results.live_page import PageData
from nni_plugin.study.journal import read
from nni_plugin.study.study import Study
from nni_plugin.study.trial_log import TrialLog
from nni_plugin.study.tuner_args import TunerArgs

SPACE = {"x": {"_type": "choice", "_value": list(range(9))}}


def study_in(folder: Path) -> Study:
    return Study(TunerArgs.parse({}, base=[folder]), SPACE, folder / "journal.jsonl")


def test_the_means_count_also_after_a_resume(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    lucky, steady, running = study.ask().uid, study.ask().uid, study.ask().uid
    study.tell(lucky, 0.9)
    study.tell(steady, 0.8)
    study.remeasure(lucky, {"default": 0.5})
    assert study.trials[lucky].metrics == {"default": pytest.approx(0.7)}
    with pytest.raises(ValueError, match="no result yet"):
        study.remeasure(running, 0.4)
    study.close()
    assert [e["event"] for e in read(tmp_path / "journal.jsonl")][-1] == "measure"

    again = study_in(tmp_path)
    assert [e.id for e in again.optimizer.front()] == [steady]
    assert again.optimizer.evaluations == study.optimizer.evaluations
    assert again.trials[lucky].readings == ({"default": 0.9}, {"default": 0.5})
    assert again.ask().params == study.optimizer.ask().params
    again.close()


def test_a_measurement_without_its_result_changes_nothing(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    uid = study.ask().uid
    study.close()
    with (tmp_path / "journal.jsonl").open("a") as file:
        for number in (uid, 77):
            file.write(json.dumps({"event": "measure", "uid": number, "metrics": {"default": 1}}))
            file.write("\n")
    again = study_in(tmp_path)
    assert [trial.uid for trial in again.running()] == [uid]
    again.close()


def test_the_page_starts_anew_with_the_mean(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    lucky, steady = study.ask().uid, study.ask().uid
    study.tell(lucky, 0.9)
    study.tell(steady, 0.8)
    page = PageData(TrialLog(tmp_path / "journal.jsonl"))
    page.refresh()
    assert page.state()["front"] == [lucky]
    before = page.generation
    study.remeasure(lucky, 0.5)
    study.close()
    points, _ = page.refresh()
    assert page.generation > before
    assert page.state()["front"] == [steady]
    assert [json.loads(point)[-1] for point in points] == [[pytest.approx(0.7)], [0.8]]
