"""Checkpoints that later trials start from: who inherits, how much is kept, what may go wrong."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from evaluators import Task, evaluate, trace
from evaluators.fine_tuning.warm_start import Inheritance, distance
from support.nets import ZOO
from support.tasks import build_task


def task_of(name: str = "residual") -> Task:
    build, shape = ZOO[name]
    torch.manual_seed(0)
    return build_task(build(), shape)


def chromosome(task: Task, prune: float, bits: int = 8) -> dict[str, Any]:
    network = trace(task)
    params: dict[str, Any] = {f"{g.name}.prune": prune for g in network.groups if g.prunable}
    return params | {f"{name}.w_bits": bits for name in network.gene_layers}


def run(task: Task, folder: Path, params: dict[str, Any], uid: int, **options: Any) -> Any:
    inheritance = Inheritance(folder, uid=uid, **options)
    return evaluate(task, params, device="stm32f746", epochs=1, inheritance=inheritance)


@pytest.mark.parametrize("name", ["residual", "unet", "grouped", "dense", "shared"])
def test_an_heir_continues_with_the_ancestors_weights(name: str, tmp_path: Path) -> None:
    task = task_of(name)
    network = trace(task)
    parent = chromosome(task, 0.25)
    assert run(task, tmp_path, parent, 7).notes == ()
    result = run(task, tmp_path, chromosome(task, 0.5, 4), 8)
    assert result.notes[0].startswith("started from the checkpoint of uid 7 (1 epochs")

    # Asked again for the parent itself, the model is the one that was trained.
    found = Inheritance(tmp_path).start(task, network, parent)
    assert found is not None
    (stored,) = [
        torch.load(path, weights_only=True)
        for path in tmp_path.glob("*/*.pt")
        if '"uid": 7' in path.with_suffix(".json").read_text()
    ]
    state = found.model.state_dict()
    assert set(state) == set(task.model.state_dict())
    assert all(torch.equal(state[key], stored[key]) for key in stored)


def test_only_a_wider_and_nearer_network_is_an_ancestor(tmp_path: Path) -> None:
    task = task_of()
    network = trace(task)
    run(task, tmp_path, chromosome(task, 0.5), 1)
    run(task, tmp_path, chromosome(task, 0.25), 2)
    folder = Inheritance(tmp_path)

    def uid(prune: float, bits: int = 8) -> str:
        found = folder.start(task, network, chromosome(task, prune, bits))
        return "float" if found is None else found.note.split("uid ")[1].split()[0]

    assert uid(0.75) == "1"
    assert uid(0.5, 4) == "1"
    assert uid(0.25) == "2"
    # Nothing to prune: both lack channels.
    assert uid(0.0, 4) == "float"
    # Another model's checkpoints lie in another folder.
    torch.manual_seed(5)
    build, shape = ZOO["residual"]
    other = build_task(build(), shape)
    assert folder.start(other, trace(other), chromosome(other, 0.5)) is None


def test_distance_counts_channels_and_doublings_of_bits() -> None:
    task = task_of()
    network = trace(task)
    whole = chromosome(task, 0.0)
    assert distance(network, whole, {}) == 0.0
    assert distance(network, chromosome(task, 0.5), whole) == pytest.approx(0.5)
    # Weights of half the bits, activations as they were.
    assert distance(network, chromosome(task, 0.0, 4), whole) == pytest.approx(1 / 6)


def test_the_folder_is_bounded_and_keeps_what_is_used(tmp_path: Path) -> None:
    task = task_of()
    network = trace(task)
    run(task, tmp_path, chromosome(task, 0.25), 1)
    (entry,) = tmp_path.glob("*/*.pt")
    limit = 3.5 * entry.stat().st_size / 2**20
    for uid, layer in enumerate(network.gene_layers[:5], start=2):
        # Far in the future: as if it had just been used, whatever the clock's resolution.
        os.utime(entry.with_suffix(".json"), (2**33, 2**33))
        run(task, tmp_path, chromosome(task, 0.0) | {f"{layer}.a_bits": 4}, uid, limit_mb=limit)
    left = sorted(tmp_path.glob("*/*.pt"))
    assert sum(path.stat().st_size for path in left) <= limit * 2**20
    assert entry in left
    assert {path.stem for path in left} == {path.stem for path in tmp_path.glob("*/*.json")}
    with pytest.raises(ValueError, match="limit_mb=0"):
        Inheritance(tmp_path, limit_mb=0)


@pytest.mark.parametrize("damage", ["truncated", "foreign", "gone", "entry"])
def test_a_damaged_checkpoint_costs_the_head_start_only(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = task_of()
    alone = evaluate(task, chromosome(task, 0.5), device="stm32f746", epochs=1)
    run(task, tmp_path, chromosome(task, 0.25), 1)
    (weights,) = tmp_path.glob("*/*.pt")
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:500])
    elif damage == "foreign":
        torch.save({"x": torch.zeros(3)}, weights)
    elif damage == "gone":
        weights.unlink()
    else:
        weights.with_suffix(".json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        result = run(task, tmp_path, chromosome(task, 0.5), 2)
    assert result.metrics == alone.metrics
    assert result.notes == ()
    assert weights.stem in caplog.text


def test_a_full_disk_is_said_and_the_trial_goes_on(tmp_path: Path) -> None:
    task = task_of()
    (tmp_path / "file").write_text("in the way")
    result = run(task, tmp_path / "file" / "folder", chromosome(task, 0.25), 1)
    assert "could not be written" in result.notes[0]
    alone = evaluate(task, chromosome(task, 0.25), device="stm32f746", epochs=1)
    assert result.metrics == alone.metrics


TRIAL = """
import sys
import torch
from test_warm_start import chromosome, run, task_of
from evaluators import trace
torch.set_num_threads(1)
folder, uid = sys.argv[1], int(sys.argv[2])
task = task_of()
for step, layer in enumerate(trace(task).gene_layers[uid : uid + 3]):
    params = chromosome(task, 0.25) | {f"{layer}.a_bits": 4}
    run(task, folder, params, 10 * uid + step, limit_mb=0.1)
"""


@pytest.mark.slow
def test_two_trials_share_a_folder(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    trials = [
        subprocess.Popen(
            [sys.executable, "-c", TRIAL, str(tmp_path), uid],
            env={**os.environ, "PYTHONPATH": path},
        )
        for uid in ("1", "2")
    ]
    assert [trial.wait(180) for trial in trials] == [0, 0]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".pt", ".json", ".lock"}
    for path in tmp_path.glob("*/*.pt"):
        torch.load(path, weights_only=True)
