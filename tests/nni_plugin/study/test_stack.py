"""A search keeps the software and the version of the costs with which it began."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nni_plugin.results.live_page import PageData
from nni_plugin.study.journal import read
from nni_plugin.study.study import Study
from nni_plugin.study.trial_log import TrialLog
from nni_plugin.study.tuner_args import TunerArgs
from support.paths import REPOSITORY

CONFIGS = REPOSITORY / "experiment_configs"


def study(folder: Path, device: str = "stm32f746") -> Study:
    class_args = {
        "objectives": {"accuracy": "maximize", "latency_ms": "minimize"},
        "costs": {"network": "n.json", "device": device},
        "seed": 1,
    }
    space = json.loads((CONFIGS / "digits.space.json").read_text())
    args = TunerArgs.parse(class_args, base=[folder])
    return Study(args, space, folder / "journal.jsonl", class_args)


def began(folder: Path) -> None:
    """One trial, asked for and told."""
    first = study(folder)
    trial = first.ask()
    first.tell(trial.uid, {"accuracy": 0.5, **(trial.costs or {})})
    first.close()


def as_of_version_1(file: Path) -> None:
    data = json.loads(file.read_text())
    del data["costs_version"], data["metadata"]["stack"]
    file.write_text(json.dumps(data))


def test_the_journal_and_the_page_say_which_software(tmp_path: Path) -> None:
    shutil.copy(CONFIGS / "digits.space.network.json", tmp_path / "n.json")
    began(tmp_path)
    (start,) = (e for e in read(tmp_path / "journal.jsonl") if e["event"] == "start")
    assert start["stack"] == {"device": "stm32f746", "name": "joint-ga-c", "costs_version": 2}
    page = PageData(TrialLog(tmp_path / "journal.jsonl"))
    page.refresh()
    assert "stm32f746 with joint-ga-c, the C code that an export writes" in page.state()["software"]


def test_a_search_of_before_goes_on_with_its_own_costs(tmp_path: Path) -> None:
    shutil.copy(CONFIGS / "digits.space.network.json", tmp_path / "n.json")
    as_of_version_1(tmp_path / "n.json")
    began(tmp_path)
    again = study(tmp_path)
    assert again.log.stack == {
        "device": "stm32f746", "name": "hale-1.0.175", "costs_version": 1
    }  # fmt: skip
    assert "flash_kb" not in (again.ask().costs or {})
    again.close()


def test_a_network_file_of_other_costs_is_refused(tmp_path: Path) -> None:
    shutil.copy(CONFIGS / "digits.space.network.json", tmp_path / "n.json")
    as_of_version_1(tmp_path / "n.json")
    began(tmp_path)
    shutil.copy(CONFIGS / "digits.space.network.json", tmp_path / "n.json")
    with pytest.raises(ValueError, match=r"began with other costs .*hale-1.0.175.*joint-ga-c"):
        study(tmp_path)
    # A journal of before has no word for its stack: it is version 1.
    text = (tmp_path / "journal.jsonl").read_text().splitlines()
    first = json.loads(text[0])
    del first["stack"]
    (tmp_path / "journal.jsonl").write_text("\n".join([json.dumps(first), *text[1:]]) + "\n")
    with pytest.raises(ValueError, match=r"costs_version 1\)"):
        study(tmp_path)
