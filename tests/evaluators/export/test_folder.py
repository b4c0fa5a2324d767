"""The whole way on the digits task: fine-tune, write, verify."""

from __future__ import annotations

import dataclasses
import json
import resource
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from evaluators import load_task, trace
from evaluators.export import board, card, emulate, export_candidate, export_model, load
from evaluators.export.verify import onnx_runner
from hardware import Network, load_device


class ReadOnce:
    """A test split that tells how often it was read."""

    def __init__(self, batches: Any) -> None:
        self.batches, self.reads = batches, 0

    def __iter__(self) -> Iterator[Any]:
        self.reads += 1
        return iter(self.batches)


def mixed_bits(network):
    params = {"uid": 12}
    weighted = [layer.name for layer in network.layers if layer.is_weighted]
    for i, name in enumerate(weighted):
        params[f"{name}.w_bits"] = (8, 4, 2)[i % 3]
        params[f"{name}.a_bits"] = (8, 4)[i % 2]
    return params | {g.name + ".prune": 0.25 for g in network.groups if g.prunable}


@pytest.fixture(scope="module")
def said():
    """What the export told while it wrote."""
    return []


@pytest.fixture(scope="module")
def exported(tmp_path_factory, said):
    task = load_task("evaluators.tasks.digits:build")
    task.test = ReadOnce(task.test)
    folder = tmp_path_factory.mktemp("export") / "candidate"
    folder.mkdir()  # an empty folder is as good as none
    network = trace(task)
    metrics = export_candidate(
        task,
        mixed_bits(network),
        device="stm32f746",
        out_dir=folder,
        epochs=2,
        seed=3,
        network=network,
        command="joint-ga export 7 --trial x",
        say=said.append,
    )
    return task, folder, metrics


@pytest.mark.slow
def test_predictions_are_those_of_the_network_on_the_whole_test_split(exported):
    task, folder, metrics = exported
    assert metrics["onnx_mismatches"] == 0
    assert metrics["onnx_mismatches_default_options"] == 0
    assert metrics["test"]["samples"] == 360
    assert task.test.reads == 1, "the test split is read once"
    x, y = next(iter(task.test.batches))
    with torch.no_grad():
        network = load(folder)(x).argmax(1)
    onnx = onnx_runner(folder / "model.onnx")((x.numpy(),)).argmax(1)
    assert np.array_equal(network.numpy(), onnx)
    assert metrics["test"]["accuracy"] == pytest.approx(float((network == y).float().mean()))


@pytest.mark.slow
def test_the_float_network_is_there_for_tools_that_quantize(exported):
    task, folder, metrics = exported
    assert metrics["float_onnx_mismatches"] == 0
    assert metrics["float_onnx_opset"] == 13
    x, y = next(iter(task.test.batches))
    with torch.no_grad():
        got = torch.export.load(folder / "model_float.pt2").module()(x).argmax(1)
    accuracy = float((got == y).float().mean())
    assert metrics["test"]["pruned_float_accuracy"] == pytest.approx(accuracy)
    # 2 bits are in it, so INT4 and its opset.
    assert (metrics["onnx_opset"], metrics["onnx_integers"]) == (21, "uint8")


@pytest.mark.slow
def test_what_flash_holds_is_a_file_that_tflite_micro_runs(tmp_path):
    pytest.importorskip("ai_edge_litert", reason="the optional ai-edge-litert is not installed")
    pytest.importorskip("tflite_micro", reason="the optional tflite-micro is not installed")
    task = load_task("evaluators.tasks.digits:build")
    network = trace(task)
    params = {
        f"{layer.name}.w_bits": (4, 2)[i % 2]
        for i, layer in enumerate(x for x in network.layers if x.is_weighted)
    }
    metrics = export_candidate(
        task, params, device="stm32f746", out_dir=tmp_path / "out", epochs=0, network=network,
        onnx_integers="int8",
    )  # fmt: skip
    files = metrics["files"]
    # The file saves at least the half of the weights that the bits saved.
    saved = files["model.tflite"] - files["model_int4.tflite"]
    weights = sum(x.weights for x in network.layers if x.is_weighted)
    assert saved >= weights / 2
    assert metrics["tflite_int4_runtime"] == "tflite-micro"
    assert metrics["tflite_int4_mismatches"] <= 20, "an untrained network of 2 bits has close calls"
    assert (metrics["onnx_opset"], metrics["onnx_mismatches"]) == (13, 0)
    card = (tmp_path / "out" / "card.md").read_text()
    assert f"tflite-micro and LiteRT ({files['model_int4.tflite']} bytes)" in card
    assert "`model.onnx` has opset 13, and 8-bit integers of type int8." in card


def test_each_file_is_told_as_it_is_written(exported, said):
    _, _, metrics = exported
    told = [line.split()[1].rstrip(",") for line in said if line.startswith("wrote ")]
    assert len(told) == len(set(told))
    assert set(told) == set(metrics["files"]) - {"params.json", "network.json"}
    assert f"wrote weights.bin, {metrics['weights_bytes']:,} bytes" in said
    assert said[-1] == "verifying the files on the test split"


def test_the_size_quoted_is_the_size_of_the_file(exported):
    _, folder, metrics = exported
    size = (folder / "weights.bin").stat().st_size
    assert round(size / 1024, 3) == metrics["size_kb"] == metrics["val"]["size_kb"]
    assert metrics["files"]["weights.bin"] == metrics["weights_bytes"] == size
    assert metrics["size_kb"] < metrics["size_kb_int8"] < metrics["size_kb_float32"]


@pytest.mark.usefixtures("emulator")
def test_the_c_code_predicts_on_a_cortex_m_what_onnx_predicts(exported):
    task, folder, metrics = exported
    x, _ = next(iter(task.test.batches))
    outputs = emulate.outputs(folder / "c", x.numpy())
    onnx = onnx_runner(folder / "model.onnx")((x.numpy(),))
    assert (outputs.argmax(1) != onnx.argmax(1)).sum() == metrics["integer_mismatches"] == 0
    assert np.abs(outputs - onnx).max() < 2e-6 * np.ptp(onnx)


def test_metrics_and_card_are_complete(exported):
    _, folder, metrics = exported
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert "uid" not in metrics["params"]
    card = (folder / "card.md").read_text()
    for text in (
        "0 of 360 test predictions",
        "The C, compiled for this machine, gave 360 of these predictions.",
        "joint-ga export 7 --trial x",
        "| block1.0 | depthwise |",
        f"({metrics['weights_bytes']} bytes)",
        "seed 3",
        f"torch {torch.__version__}",
        "`train`: 1077 samples",
    ):
        assert text in card, text
    for kind in ("tflite", "pte"):
        reason = metrics[f"{kind}_reason"]
        assert f"no `model.{kind}`: {reason}." in card
        assert f"model.{kind}" not in metrics["files"]
    assert "activations" in metrics["tflite_reason"]
    assert metrics["c_prefix"] == "model"
    assert metrics["c_samples"] == 360
    assert metrics["c_reason"] is None
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_board_that_is_too_small_is_said_in_numbers(exported):
    _, folder, metrics = exported
    device = load_device(metrics["device"])
    assert metrics["exceeds"] == []
    small = dataclasses.replace(device, flash_kb=2.0, ram_kb=1.5, name="Crumb")
    stored, arena = metrics["weights_bytes"] / 1024, metrics["integer_ram_bytes"] / 1024
    found = board.exceeded({**metrics, "val": {**metrics["val"], "flash_kb": None}}, small)
    assert found == [
        f"flash: {stored:,.1f} KB are needed (the weights alone), Crumb has 2.0 KB",
        f"RAM: {arena:,.1f} KB are needed (the arena of the C), Crumb has 1.5 KB",
    ]
    layers = Network.load(folder / "network.json").layers
    page = card.render({**metrics, "exceeds": found}, layers, small, data="")
    assert "**Does not fit.** flash: " in page
    assert "**Does not fit.** RAM: " in page


def test_the_onnx_file_takes_any_batch(exported):
    _, folder, _ = exported
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    for n in (1, 7):
        (out,) = session.run(None, {"input": np.zeros((n, 1, 8, 8), np.float32)})
        assert out.shape == (n, 10)


def test_a_folder_that_holds_something_is_refused_before_any_work(exported, tmp_path):
    task, folder, _ = exported
    reads = task.test.reads
    with pytest.raises(FileExistsError, match=r"not empty .*give a new folder"):
        export_candidate(task, {}, device="stm32f746", out_dir=folder)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        export_candidate(task, {}, device="stm32f746", out_dir=file)
    assert task.test.reads == reads


def test_a_prefix_that_c_cannot_use_is_refused_before_any_work(exported, tmp_path):
    task, _, _ = exported
    reads = task.test.reads
    with pytest.raises(ValueError, match=r"prefix of the C code is 'Wake Word'"):
        export_candidate(
            task, {}, device="stm32f746", out_dir=tmp_path / "out", c_prefix="Wake Word"
        )
    assert task.test.reads == reads
    assert list(tmp_path.iterdir()) == []


def test_an_export_without_a_compiler_says_that_the_c_was_not_run(exported, tmp_path, monkeypatch):
    task, _, _ = exported
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    out = tmp_path / "out"
    metrics = export_candidate(
        task, {}, device="stm32f746", out_dir=out, epochs=0, c_prefix="digits"
    )
    assert metrics["integer_mismatches"] == 0
    assert metrics["c_samples"] == 0
    assert "no C compiler was found" in metrics["c_reason"]
    assert "The C was not run here: no C compiler was found" in (out / "card.md").read_text()
    assert {"c/digits.c", "c/digits.h", "c/digits_selftest.c"} <= set(metrics["files"])


def test_a_chromosome_of_another_model_leaves_nothing(exported, tmp_path):
    task, _, _ = exported
    with pytest.raises(ValueError, match="another model"):
        export_candidate(task, {"nothere.w_bits": 8}, device="stm32f746", out_dir=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(exported, tmp_path):
    task, _, _ = exported
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            export_candidate(task, {}, device="stm32f746", out_dir=tmp_path / "out", epochs=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_network_beyond_the_kernels_still_gets_its_onnx(network, describe, tmp_path):
    net = network("Sequence", lambda i: (16, 8))
    batches = [(net.x, torch.zeros(len(net.x), dtype=torch.int64))]
    metrics = export_model(
        net.model,
        net.calibration,
        describe(net.float_model, net.x, net.calibration),
        (net.x[:2],),
        batches,
        tmp_path,
        metric=lambda outputs, targets: float((outputs.argmax(1) == targets).float().mean()),
    )
    assert metrics["integer_mismatches"] is None
    assert "more than 8 bits" in metrics["integer_reason"] == metrics["c_reason"]
    assert metrics["onnx_mismatches"] == 0
    assert not (tmp_path / "c").exists()


def test_a_network_of_two_inputs(quantize, describe, tmp_path):
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(4, 6), torch.nn.Linear(5, 6)

        def forward(self, x, y):
            return self.a(x) + self.b(y)

    torch.manual_seed(0)
    x, y = torch.randn(32, 4), torch.randn(32, 5)

    class Joined(torch.nn.Module):  # calibration runs on one tensor
        def __init__(self, two):
            super().__init__()
            self.two = two

        def forward(self, z):
            return self.two(z[:, :4], z[:, 4:])

    net = quantize(Joined(Two()), torch.cat([x, y], 1), lambda i: (8, 8))
    calibration = {k.removeprefix("two."): v for k, v in net.calibration.items()}
    metrics = export_model(
        net.model.two,
        calibration,
        (),
        (x[:2], y[:2]),
        [((x, y), torch.zeros(32, dtype=torch.int64))],
        tmp_path,
        metric=lambda outputs, targets: 0.0,
    )
    assert metrics["onnx_mismatches"] == 0
    assert "more than one input" in metrics["integer_reason"]
    assert torch.equal(load(tmp_path)(x, y), net.model.two(x, y))
