"""The guide to tasks of other shapes, followed as it is written but for NNI."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evaluators import evaluate, load_task, trace
from evaluators.baseline import baseline_metric
from evaluators.export import export_candidate
from nni_plugin.cli.app import app
from support.paths import REPOSITORY

PAGE = (REPOSITORY / "docs" / "guide" / "own_task.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    functions = [block for block in blocks("python") if "-> Task:" in block]
    (tmp_path / "my_detector.py").write_text("\n".join(functions), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_detector_is_trained_compressed_and_exported(folder: Path) -> None:
    (init,) = [line for line in blocks("sh")[0].splitlines() if " init " in line]
    done = CliRunner().invoke(app, shlex.split(init)[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "overlap: maximize" in (folder / "ga_joint.yml").read_text()

    task = load_task("my_detector:build")
    assert baseline_metric(task) > 0.3
    params = {"body.1.0.prune": 0.25, "body.2.0.w_bits": 4}
    metrics = export_candidate(task, params, device="stm32f746", out_dir="out", epochs=1)
    assert metrics["onnx_mismatches"] == 0
    assert metrics["test"]["overlap"] > 0.2
    assert metrics["test"]["samples"] == 32


def test_the_same_without_labels(folder: Path) -> None:
    task = load_task("my_detector:unlabelled")
    metrics = evaluate(task, {}, device="stm32f746").metrics
    assert 20 < metrics["sqnr_db"] < metrics["baseline_sqnr_db"]


def test_what_is_decided_about_its_layers(folder: Path) -> None:
    network = trace(load_task("my_detector:decided"))
    assert {g.name for g in network.groups if g.prunable} <= {"body.0.0", "body.1.0", "body.2.0"}
    assert network.allowed["body.0.0.w_bits"] == (8,)
    assert network.allowed["body.2.0.a_bits"] == (4, 8)

    (command,) = blocks("sh")[1].splitlines()
    done = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    genes = json.loads((folder / "space.json").read_text())
    assert "body.0.0.w_bits" not in genes
    assert genes["body.1.0.prune"]["_value"] == [0.0, 0.25, 0.5]


def test_the_table_of_measures_is_complete() -> None:
    from evaluators.fidelity import MEASURES

    table = dict(re.findall(r"^\| `(\w+)` \| .* \| (max|min) \|$", PAGE, re.MULTILINE))
    assert table == {name: mode for name, (_, mode) in MEASURES.items()}
