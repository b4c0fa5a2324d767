"""`joint-ga space` with decisions about layers, and that trial and export follow them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hardware import Network
from nni_plugin.cli.app import app
from nni_plugin.registration import register
from nni_plugin.setup.config_check import check_config
from nni_plugin.trial import main as trial

TASK = """
import torch
from torch import nn
from evaluators import Task

def build(whole=0):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(128, 4),
    )
    x = torch.randn(24, 1, 8, 8)
    decided = {"keep": ["0"], "bits": {":last": 8}} if whole else {}
    return Task(
        model=model, train=x.split(8), val=x.split(8), example_input=x[:2], metric="sqnr_db",
        **decided,
    )

def bits_only():
    torch.manual_seed(0)
    x = torch.randn(16, 6)
    return Task(
        model=nn.Sequential(nn.Linear(6, 4)), train=x.split(8), val=x.split(8), example_input=x[:2],
        metric="sqnr_db",
    )
"""
DEVICE = ("--device", "stm32f746")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "decided_task.py").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def space(function: str, *options: str) -> tuple[str, dict[str, list[Any]]]:
    """What the command says, and the values of the genes that it writes."""
    arguments = ["space", "--task", f"decided_task:{function}", *DEVICE, "-o", "s.json", *options]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    genes = json.loads(Path("s.json").read_text())
    return done.output, {name: gene["_value"] for name, gene in genes.items()}


def run_trial(params: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The trial's exit code and its last line."""
    Path("p.json").write_text(json.dumps(params))
    arguments = ["--task", "decided_task:build", *DEVICE, "--network", "s.network.json"]
    code = trial([*arguments, "--params", "p.json"])
    out, err = capsys.readouterr()
    return code, (out if code == 0 else err).splitlines()[-1]


def test_from_the_space_to_the_export(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--keep", "0", "--ratios", "2=0,0.5", "--bits", "*=4,8", "--bits", ":last=8")
    said, genes = space("build", *options)
    assert genes == {
        "0.w_bits": [4, 8], "0.a_bits": [4, 8],
        "2.prune": [0.0, 0.5], "2.w_bits": [4, 8], "2.a_bits": [4, 8],
    }  # fmt: skip
    assert "6 layers, 1 prunable channel groups" in said
    assert "stay whole: 0: kept whole by the pattern '0'" in said
    assert "stay whole: 5: its channels are the network's output" in said

    code, line = run_trial({"2.prune": 0.5, "2.w_bits": 4, "5.w_bits": 8}, capsys)
    assert code == 0
    assert json.loads(line)["sqnr_db"] > 0
    for params, words in (
        ({"5.w_bits": 4}, "5.w_bits=4 is not allowed"),
        ({"2.prune": 0.25}, "2.prune=0.25 is not allowed"),
        ({"0.prune": 0.5}, "this group cannot be pruned (kept whole by the pattern '0')"),
    ):
        code, line = run_trial(params, capsys)
        assert code == 1
        assert words in line

    Path("p.json").write_text(json.dumps({"2.prune": 0.5, "2.w_bits": 4}))
    export = ["export", "--task", "decided_task:build", *DEVICE, "--params", "p.json"]
    export += ["--network", "s.network.json", "-o", "out"]
    assert CliRunner().invoke(app, export, catch_exceptions=False).exit_code == 0
    kept = Network.load(folder / "out" / "network.json")
    assert kept == Network.load(folder / "s.network.json")
    assert kept.allowed["5.w_bits"] == (8,)
    Path("p.json").write_text(json.dumps({"5.w_bits": 4}))
    with pytest.raises(ValueError, match=r"5\.w_bits=4 is not allowed"):
        CliRunner().invoke(app, [*export[:-1], "out2"], catch_exceptions=False)


def test_init_takes_the_same_options(folder: Path) -> None:
    options = ["--keep", "0", "--ratios", "2=0,0.5", "--bits", "5.w_bits=8", "--bits", "5.a_bits=8"]
    arguments = ["init", "--task", "decided_task:build", *DEVICE, *options]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    genes = json.loads((folder / "space.json").read_text())
    assert set(genes) == {"0.w_bits", "0.a_bits", "2.prune", "2.w_bits", "2.a_bits"}
    assert genes["2.prune"]["_value"] == [0.0, 0.5]
    assert Network.load(folder / "space.network.json").allowed["5.w_bits"] == (8,)
    assert "space.network.json" in (folder / "ga_joint.yml").read_text()
    arguments[:1] = ["init", "elsewhere", "--ratios", "no values"]
    with pytest.raises(ValueError, match="--ratios 'no values': write PATTERN=VALUE"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_a_space_that_was_widened_by_hand_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNI_CONFIG_DIR", str(folder))
    register()
    arguments = ["init", "--task", "decided_task:build?whole=1", *DEVICE]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    assert check_config(folder / "ga_joint.yml") == []
    genes = json.loads((folder / "space.json").read_text())
    genes["5.w_bits"] = {"_type": "choice", "_value": [4, 8]}
    (folder / "space.json").write_text(json.dumps(genes))
    (problem,) = check_config(folder / "ga_joint.yml")
    assert "5.w_bits=4 is not allowed" in problem


def test_what_the_task_says_holds_without_options(folder: Path) -> None:
    said, genes = space("build?whole=1")
    assert "stay whole: 0: kept whole by the pattern '0'" in said
    assert set(genes) == {"0.w_bits", "0.a_bits", "2.prune", "2.w_bits", "2.a_bits"}
    # Options come after it, and so count.
    _, genes = space("build?whole=1", "--bits", "5.w_bits=2,4")
    assert genes["5.w_bits"] == [2, 4]
    assert "5.a_bits" not in genes


def test_bits_alone_where_nothing_can_be_pruned(folder: Path) -> None:
    said, genes = space("bits_only")
    assert set(genes) == {"0.w_bits", "0.a_bits"}
    assert "0 prunable channel groups" in said
    assert "its channels are the network's output" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--keep", "convs"), r"keep 'convs' matches no layer with weights; there are '0', '2'"),
        (("--bits", "2=5"), r"2\.w_bits=5 is not supported by device 'stm32f746' \(allowed: 2, 4"),
        (("--bits", "2"), r"--bits '2': write PATTERN=VALUE,VALUE"),
        (("--ratios", "2=0,half"), r"--ratios '2=0,half': write PATTERN=VALUE"),
        (("--ratios", "2=1"), r"ratios of '2'=1 must be a number in \[0, 1\)"),
        (("--keep", "2", "--ratios", "2=0.5"), r"layer '2' can't be pruned \(kept whole by"),
    ],
)
def test_decisions_that_cannot_be(folder: Path, options: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        space("build", *options)
