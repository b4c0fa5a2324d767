"""``joint-ga run`` and its neighbours on an engine without NNI's server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from nni_plugin.cli.config_copy import config_with
from support.engine_runs import LIGHT, REPORT, settings
from support.joint_ga import Done


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NNI_CONFIG_DIR", str(tmp_path / "nni"))
    (tmp_path / "nni").mkdir()
    path = tmp_path / "config.yml"
    text = settings(tmp_path, LIGHT + REPORT, maxTrialNumber=50, trialConcurrency=1)
    del text["experimentWorkingDirectory"]
    path.write_text(json.dumps(text))
    return path


@pytest.mark.slow
def test_a_run_and_all_that_reads_it(
    config: Path, tmp_path: Path, joint_ga: Callable[..., Done]
) -> None:
    done = joint_ga(
        "run", str(config), "--engine", "local", "--trials", "5", "-j", "2", "-o", "out"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5/5 complete" in done.stdout
    name = re.findall(r"Experiment (\w+) is running \(local\)", done.stdout)[0]
    assert (tmp_path / "nni-experiments" / name).is_dir()
    for file in ("trials.csv", "front.csv", "report.html"):
        assert (tmp_path / "out" / file).stat().st_size > 0
    report = joint_ga("report", name, "-o", "again")
    assert report.returncode == 0, report.stderr
    assert (tmp_path / "again/trials.csv").read_text() == (tmp_path / "out/trials.csv").read_text()

    more = joint_ga("resume", name, "--trials", "7")
    assert more.returncode == 0, more.stdout + more.stderr
    assert "7/7 complete" in more.stdout
    # Whose trials are not ours has no task to export.
    export = joint_ga("export", name, "--knee", "-o", "exported")
    assert "were not run by nni_plugin.trial" in export.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--engine", "slurm"), "engine 'slurm' (allowed: nni, local, ray)"),
        (("--engine", "local", "--keep"), "--keep is no option of the engine 'local'"),
        (("--engine", "local", "--host", "0.0.0.0"), "--host is no option"),
        (("--engine", "local", "--address", "a:1"), "--address is no option"),
        (("--warm",), "--warm is no option of the engine 'nni'"),
        (("--trials", "0"), "--trials"),
        (("-j", "0"), "-j"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    config: Path, joint_ga: Callable[..., Done], options: tuple[str, ...], said: str
) -> None:
    done = joint_ga("run", str(config), *options)
    assert done.returncode in (1, 2)
    assert said in re.sub(r"[│\s]+", " ", done.stderr)


def test_a_run_that_can_not_begin_leaves_no_folder(
    config: Path, tmp_path: Path, joint_ga: Callable[..., Done]
) -> None:
    text = json.loads(config.read_text())
    config.write_text(json.dumps({**text, "trialGpuNumber": 1}))
    done = joint_ga("run", str(config), "--engine", "local", "--no-check")
    assert done.returncode == 1
    assert "trialGpuNumber=1 needs --engine nni or ray" in done.stderr
    assert list((tmp_path / "nni-experiments").iterdir()) == []


def test_nni_gets_the_numbers_in_a_copy_beside_the_config(config: Path) -> None:
    with config_with(config, None, None) as same:
        assert same == config
    with config_with(config, 3, 2) as copy:
        assert copy.parent == config.parent
        told = yaml.safe_load(copy.read_text())
    assert (told["maxTrialNumber"], told["trialConcurrency"]) == (3, 2)
    assert told["searchSpace"] == json.loads(config.read_text())["searchSpace"]
    assert not copy.exists()
