"""`joint-ga space` says which files an export will lack."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nni_plugin.cli.app import app
from nni_plugin.setup.config_check import examine_config

TASK = """
import torch
from torch import nn
from evaluators import Task

def build(act="ReLU"):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), getattr(nn, act)(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(128, 4),
    )
    x = torch.randn(24, 1, 8, 8)
    return Task(
        model=model, train=x.split(8), val=x.split(8), example_input=x[:2], metric="sqnr_db"
    )
"""


def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, *options: str):
    (tmp_path / "exported_task.py").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = ["space", "--task", task, "--device", "stm32f746", "-o", "s.json", *options]
    return CliRunner().invoke(app, arguments)


def test_missing_files_are_listed_with_their_layer(tmp_path, monkeypatch):
    done = space(tmp_path, monkeypatch, "exported_task:build?act=Hardswish")
    assert done.exit_code == 0
    assert "not exported: c/, model.tflite: operator hardswish at '1'" in done.output


def test_a_file_that_is_needed_and_missing_is_an_error(tmp_path, monkeypatch):
    done = space(tmp_path, monkeypatch, "exported_task:build?act=Hardswish", "--need", "c")
    assert done.exit_code != 0
    assert "operator hardswish at '1'" in str(done.exception or done.output)
    assert not (tmp_path / "s.json").exists()


def test_a_needed_file_that_there_will_be_is_no_error(tmp_path, monkeypatch):
    done = space(tmp_path, monkeypatch, "exported_task:build", "--need", "c", "--need", "onnx")
    assert done.exit_code == 0
    assert "not exported: c/" not in done.output


def test_an_unknown_kind_is_named(tmp_path, monkeypatch):
    done = space(tmp_path, monkeypatch, "exported_task:build", "--need", "gguf")
    assert done.exit_code != 0
    assert "onnx, c, tflite" in str(done.exception or done.output)


def test_the_model_is_read_once_for_costs_and_files(tmp_path, monkeypatch):
    def again(*_: object) -> None:
        raise AssertionError("the model is read a second time")

    monkeypatch.setattr("evaluators.export.folding.read_program", again)
    done = space(tmp_path, monkeypatch, "exported_task:build?act=Hardswish")
    assert done.exit_code == 0, done.exception
    assert "not exported: c/" in done.output


def test_init_and_check_say_it_before_the_search(tmp_path, monkeypatch):
    (tmp_path / "exported_task.py").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    said = "not exported: c/, model.tflite: operator hardswish at '1'"
    task = ["--task", "exported_task:build?act=Hardswish", "--device", "stm32f746", "--no-check"]
    done = CliRunner().invoke(app, ["init", "out", *task])
    assert done.exit_code == 0, done.output
    assert said in done.output
    assert said in examine_config(Path("out/ga_joint.yml"), None).notes
