"""Tasks that are no image classification, from training to export, on little data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evaluators import evaluate, load_task
from evaluators.export import export_candidate
from evaluators.tasks import cwru, detection, kws, segmentation
from hardware import Network
from nni_plugin.cli.app import app
from support.datasets import write_cwru, write_kws

DEVICE = "stm32f746"


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for task in (detection, segmentation):
        for split in ("TRAIN", "VAL", "TEST"):
            monkeypatch.setattr(task, split, 64)
    for module, name in (
        (detection, "EPOCHS"), (segmentation, "EPOCHS"), (cwru, "EPOCHS"),
        (kws, "TRANSFORMER_EPOCHS"), (kws, "GRU_EPOCHS"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, 4)
    # Its own cache: a baseline of four epochs is no baseline of other tests.
    monkeypatch.setenv("JOINT_GA_CACHE", str(tmp_path / "cache"))


def data_of(task: str, folder: Path) -> str | None:
    if task.startswith("kws"):
        write_kws(folder / kws.FILE, 6)
    elif task.startswith("cwru"):
        write_cwru(folder / "cwru_de12k.npz")
    else:
        return None
    return str(folder)


def half(name: str, folder: Path, data: str | None) -> tuple[Network, dict[str, Any]]:
    """The network that ``joint-ga space`` writes, and half of all channels at 4 bits."""
    arguments = ["space", "--task", name, "--device", DEVICE, "-o", str(folder / "s.json")]
    given = ["--data", data] if data else []
    CliRunner().invoke(app, arguments + given, catch_exceptions=False)
    genes = json.loads((folder / "s.json").read_text())
    params: dict[str, Any] = {key: 0.5 for key in genes if key.endswith(".prune")}
    params |= {key: 4 for key in genes if key.endswith(".w_bits")}
    return Network.load(folder / "s.network.json"), params


CASES = [
    pytest.param("detection:build", "map50", True, marks=pytest.mark.slow),
    pytest.param("segmentation:build", "miou", False, marks=pytest.mark.slow),
    pytest.param("kws:build_transformer", "accuracy", False),
    pytest.param("cwru:build", "accuracy", True),
]
"""Task, metric, and whether the integer kernels must hold it."""


@pytest.mark.parametrize(("name", "metric", "in_c"), CASES)
def test_from_training_to_export(name: str, metric: str, in_c: bool, tmp_path: Path) -> None:
    name = f"evaluators.tasks.{name}"
    data = data_of(name.split(".")[-1], tmp_path)
    network, params = half(name, tmp_path, data)
    assert sum(key.endswith(".prune") for key in params) >= 3
    task = load_task(name, data)
    assert task.training_seconds == 0.0  # it was trained for the space
    result = evaluate(task, params, device=DEVICE, network=network, epochs=1)
    whole = evaluate(task, {}, device=DEVICE, network=network, epochs=0)
    assert result.metrics["size_kb"] < 0.5 * whole.metrics["size_kb"]
    assert 0.0 <= result.metrics[metric] <= 1.0

    found = export_candidate(
        task, params, device=DEVICE, network=network, out_dir=tmp_path / "out", epochs=1
    )
    test = found["test"]
    assert test[f"onnx_{metric}"] == pytest.approx(test[metric], abs=1e-4)
    has_c = (tmp_path / "out" / "c" / "model.c").is_file()
    assert has_c == (found["integer_reason"] is None)
    if has_c:
        assert found["onnx_mismatches"] == found["integer_mismatches"] == 0
        assert test[f"integer_{metric}"] == pytest.approx(test[metric], abs=1e-4)
    else:
        # Off ties only with integers, so that the order of a sum decides a rounding now and then.
        assert found["onnx_mismatches"] <= 0.15 * test["samples"]
    assert has_c or not in_c


def test_a_recurrent_network_loses_hidden_units_and_is_exported(tmp_path: Path) -> None:
    name = "evaluators.tasks.kws:build_gru"
    data = data_of("kws", tmp_path)
    network, params = half(name, tmp_path, data)
    task = load_task(name, data)
    result = evaluate(task, params, device=DEVICE, network=network, epochs=1)
    shapes = {name: tuple(p.shape) for name, p in result.model.named_parameters()}
    (recurrent,) = [shape for key, shape in shapes.items() if key.endswith("weight_hh_l0")]
    assert recurrent == (3 * 24, 24)
    folder = tmp_path / "out"
    found = export_candidate(task, params, device=DEVICE, network=network, out_dir=folder, epochs=0)
    assert found["onnx_mismatches"] == 0
    assert found["integer_reason"] is None
    assert found["c_samples"] > 0, found["c_reason"]
    assert (folder / "c" / "recurrent.h").exists()
