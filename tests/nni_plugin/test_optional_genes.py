"""The optional genes on their whole way: space, tuner, trial, exported files."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nni_plugin.cli.app import app
from nni_plugin.search_space import parse
from nni_plugin.setup.config_check import check_config
from nni_plugin.study.tuner_args import TunerArgs
from nni_plugin.trial import main

TASK = """
import torch
from torch import nn
from evaluators import Task
from evaluators.batches import ArrayBatches

def build():
    torch.manual_seed(0)
    x = torch.randn(96, 3, 6, 6)
    y = (x.mean((1, 2, 3)) > 0).long()
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 48, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU(),
        nn.Conv2d(48, 32, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 2),
    )
    batches = ArrayBatches(x, y, batch_size=32)
    return Task(
        model=model.eval(), train=batches, val=batches, test=batches, example_input=x[:2],
        loss=nn.functional.cross_entropy,
        metric=lambda out, target: float((out.argmax(1) == target).float().mean()),
    )
"""
NAMES = ("--task", "thin_task:build", "--device", "stm32f746")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "thin_task.py").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOINT_GA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delitem(sys.modules, "thin_task", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def joint_ga(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_from_space_to_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joint_ga(
        "space", *NAMES, "--with", "pruner,scheme,sparsity,rank", "--channel-multiple", "4",
        "--first-last", "8", "-o", "space.json",
    )  # fmt: skip
    written = json.loads(Path("space.json").read_text())
    kinds = {key.rsplit(".", 1)[-1] for key in written}
    assert kinds == {"pruner", "prune", "w_bits", "a_bits", "w_scheme", "sparsity", "rank"}
    assert not [k for k in written if k.startswith("0.") and k != "0.prune"]
    config = {
        "searchSpaceFile": "space.json",
        "trialCommand": f"python3 -m nni_plugin.trial {' '.join(NAMES)} --network "
        "space.network.json",
        "trialCodeDirectory": ".", "trialConcurrency": 1, "maxTrialNumber": 4,
        "tuner": {
            "className": "nni_plugin.JointGATuner", "codeDirectory": ".",
            "classArgs": {
                "objectives": {"accuracy": "maximize", "size_kb": "minimize"},
                "costs": {"network": "space.network.json", "device": "stm32f746"},
            },
        },
        "trainingService": {"platform": "local"},
    }  # fmt: skip
    Path("config.json").write_text(json.dumps(config))
    assert check_config("config.json") == []

    space = parse(written)
    args = config["tuner"]["classArgs"]
    costs = TunerArgs.parse(args, [folder]).cost_model()
    assert costs is not None
    rng = random.Random(5)
    for number in range(3):
        params = space.decode(space.sample(rng))
        Path("params.json").write_text(json.dumps({**params, "uid": number}))
        capsys.readouterr()
        words = [*NAMES, "--params", "params.json", "--network", "space.network.json"]
        assert main([*words, "--epochs", "1"]) == 0
        metrics = json.loads(capsys.readouterr().out.splitlines()[-1])
        told = costs(params)
        assert {name: metrics[name] for name in told} == told
        assert metrics["uid"] == number


def test_the_files_have_the_bytes(folder: Path) -> None:
    params = {
        "pruner": "slim", "0.prune": 0.25, "3.rank": 0.25, "3.w_scheme": "power_of_two",
        "3.w_bits": 4, "6.sparsity": 0.75, "6.w_bits": 4, "10.sparsity": 0.5, "10.rank": 0.5,
    }  # fmt: skip
    Path("params.json").write_text(json.dumps(params))
    export = ["export", *NAMES, "--params", "params.json", "--epochs", "1"]
    said = joint_ga(*export, "--c-prefix", "wake_word", "-o", "out")
    # As they come, then all of them with their places.
    for line in ("wrote model.onnx, ", "verifying the files", "  out/model.onnx  "):
        assert line in said, line
    metrics = json.loads(Path("out/metrics.json").read_text())
    size = Path("out/weights.bin").stat().st_size
    assert round(size / 1024, 3) == metrics["size_kb"]
    assert metrics["onnx_mismatches"] == 0
    assert metrics["integer_mismatches"] == 0
    assert "--c-prefix wake_word" in metrics["command"]
    assert "void wake_word_infer(" in Path("out/c/wake_word.h").read_text()
    card = Path("out/card.md").read_text()
    assert "| 3.0 |" in card
    assert "4 (powers of two)" in card
    assert "4, 10368 of 13824 zero" in card
    header = Path("out/weights.h").read_text()
    assert '{"3.0"' in header
    assert '{"10.1"' in header
