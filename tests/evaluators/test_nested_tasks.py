"""Several inputs and outputs, as tuples, dicts and dataclasses, from the trace to the export."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from evaluators import Task, evaluate, sensitivity, trace
from evaluators.baseline import metric_and_data
from evaluators.compression.dead_channels import without_dead_channels
from evaluators.compression.decisions import read_candidate
from evaluators.compression.pruning import prune
from evaluators.export import export_candidate, load
from evaluators.export.signature import INPUT, OUTPUT
from evaluators.export.verify import onnx_runner
from evaluators.pytree import call, named_tensors, tensors, with_tensors
from evaluators.task_checks import check_data
from evaluators.training import predict
from support.nested import (
    NESTED_TASKS,
    MeanOverlap,
    detector_task,
    tagger_task,
    two_heads_task,
    two_in_two_out_task,
)

NAMES = {
    "two_heads": (["image"], ["cls", "box"]),
    "two_in_two_out": (["input", "input_1"], ["output", "output_1"]),
    "tagger": (["frames", "attention_mask"], ["logits"]),
    "detector": (["input"], ["scores", "boxes"]),
}
"""Inputs and outputs of the exported files."""

HAVE_C = {"two_heads"}
"""The others have several inputs, or operators that the kernels lack."""


def half(network: Any) -> dict[str, Any]:
    params: dict[str, Any] = {f"{g.name}.prune": 0.5 for g in network.groups if g.prunable}
    return params | {f"{network.gene_layers[0]}.w_bits": 4}


@pytest.mark.parametrize("name", sorted(NESTED_TASKS))
def test_from_the_trial_to_the_export(name: str, tmp_path: Path) -> None:
    task = NESTED_TASKS[name]()
    network = trace(task)
    assert any(group.prunable for group in network.groups)
    params = half(network)
    seen: list[dict[str, float]] = []
    result = evaluate(
        task, params, device="stm32f746", network=network, epochs=1, report=seen.append,
    )  # fmt: skip
    assert all(map(math.isfinite, result.metrics.values()))
    assert len(seen) == 3

    metrics = export_candidate(
        task, params, device="stm32f746", network=network, out_dir=tmp_path / "out", epochs=1
    )
    assert metrics["onnx_mismatches"] == 0
    scores = [metrics[split][task.metric_name] for split in ("val", "test")]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    assert metrics["test"]["samples"] == sum(len(tensors(x)[0]) for x, _ in task.test)
    assert (metrics["integer_mismatches"] == 0) == (name in HAVE_C)
    assert (metrics["integer_reason"] is None) == (name in HAVE_C)
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    given, names = ([x.name for x in v] for v in (session.get_inputs(), session.get_outputs()))
    assert (given, names) == NAMES[name]
    # Fewer samples than the example, and of the padded ones another length.
    inputs = with_tensors(task.test[-1][0], (x[:1] for x in tensors(task.test[-1][0])))
    loaded = call(load(tmp_path / "out"), inputs)
    assert list(named_tensors(loaded, OUTPUT)) == names
    feeds = {k: x.numpy() for k, x in named_tensors(inputs, INPUT).items()}
    for wanted, got in zip(tensors(loaded), session.run(names, feeds), strict=True):
        assert np.abs(wanted.numpy() - got).max() < 0.01 * np.ptp(got)


def test_a_difference_in_any_output_is_a_mismatch(tmp_path: Path) -> None:
    from evaluators.export import verify

    task = two_heads_task()
    right = verify.torch_runner(task.model)

    def wrong(inputs: Any) -> Any:
        outputs = right(inputs)
        outputs["box"] = outputs["box"].copy()
        outputs["box"][1] += 0.1 * np.ptp(outputs["box"])
        return tuple(outputs.values())

    found = verify.predictions(
        {"network": right, "onnx": wrong, "same": right}, task.test, task.metric, "accuracy"
    )
    assert (found.differ("network", "onnx"), found.differ("network", "same")) == (3, 0)
    assert found.differ("network", "tflite") is None
    # Masks and indices are compared as they are.
    masks = np.array([[True, False], [True, True], [False, False]])
    assert verify.mismatches(masks, ~masks & masks[:1], classes=False) == 3
    assert verify.mismatches(np.uint8([[1], [2]]), np.uint8([[1], [3]]), classes=False) == 1


def test_dead_channels_go_and_both_outputs_stay_as_they_are() -> None:
    """openvinotoolkit/nncf#2846: a network with two heads that returns a dict."""
    task = two_heads_task()
    network = trace(task)
    model: Any = task.model
    for block in (model.a, model.b):
        for dead in range(0, len(block[1].weight), 2):
            block[0].weight.data[dead] = 0.0
            for parameter in (block[1].weight.data, block[1].bias.data, block[1].running_mean):
                parameter[dead] = 0.0
    candidate = read_candidate(network, {"a.0.prune": 0.5, "b.0.prune": 0.5})
    pruned = prune(model, task.inputs, network, candidate.kept, candidate.layers)
    found: Any = without_dead_channels(task).model
    assert (found.a[0].out_channels, found.b[0].out_channels) == (4, 8)
    before = predict(model, task.val)[0]
    assert before.keys() == {"cls", "box"}
    for small in (pruned, found):
        after = predict(small, task.val)[0]
        for key, value in before.items():
            assert torch.allclose(value, after[key], atol=1e-5)


def test_sensitivity_of_a_detector() -> None:
    task = detector_task()
    rows = sensitivity(task, device="stm32f746", ratios=[0.5])
    assert {row["gene"].rpartition(".")[2] for row in rows} == {"prune", "w_bits", "a_bits"}
    assert all(math.isfinite(row["metric"]) for row in rows)


def test_scores_of_a_streaming_metric_do_not_know_of_each_other() -> None:
    metric = MeanOverlap()
    task = detector_task(metric=metric)
    one = evaluate(task, {}, device="stm32f746", epochs=0).metrics["overlap"]
    assert evaluate(task, {}, device="stm32f746", epochs=0).metrics["overlap"] == one
    assert metric.count == 0


def test_outputs_of_unequal_length_need_a_streaming_metric() -> None:
    task = tagger_task(metric=lambda o, t: 1.0)
    words = r"outputs on 'val' can't be joined.*\(6, 7, 5\) and \(6, 9, 5\).*update\(outputs"
    with pytest.raises(ValueError, match=words):
        evaluate(task, {}, device="stm32f746", epochs=0)
    task = tagger_task(metric_name="f1")
    with pytest.raises(ValueError, match=r"'f1' gives accuracy, count.*let metric_name be one of"):
        evaluate(task, {}, device="stm32f746", epochs=0)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (
            two_heads_task(distillation=0.5),
            r"needs distillation_loss=.*the model gives dict\(cls \(8, 5\), box \(8, 4\)\)",
        ),
        (
            two_heads_task(distillation=0.5, distillation_loss=lambda o, f: o["cls"] - f["cls"]),
            r"distillation_loss must be a scalar tensor, got \(8, 5\)",
        ),
        (
            two_in_two_out_task(loss=lambda o, t: o["cls"]),
            r"loss fails.*outputs are tuple\(0 \(6, 3, 8, 8\), 1 \(6, 5\)\), targets list\(0",
        ),
        (detector_task(train=[{"image": 1}]), r"several inputs as a tuple or a dict.*is a dict"),
        (
            two_heads_task(val=[({"image": torch.zeros(2, 3, 8, 8)}, torch.zeros(2))] * 2),
            r"metric 'accuracy' fails on 'val' with AssertionError.*outputs are dict\(cls \(4, 5\)",
        ),
        (two_heads_task(metric=lambda o, t: o), r"is no number on 'val' but a dict|gives cls, box"),
    ],
)
def test_what_is_missing_is_said_before_the_trial(task: Task, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        evaluate(task, {}, device="stm32f746", epochs=1)


@pytest.mark.parametrize(
    "task",
    [
        tagger_task(distillation=0.5),  # by its entry `logits`
        two_in_two_out_task(
            distillation=0.5, attention=1.0, relations=1.0,
            distillation_loss=lambda o, f: (o[0] - f[0]).square().mean(),
        ),
    ],
)  # fmt: skip
def test_distillation_of_several_outputs(task: Task) -> None:
    check_data(task)
    result = evaluate(task, half(trace(task)), device="stm32f746", epochs=1)
    assert math.isfinite(result.metrics["default"])


def test_a_model_whose_output_holds_no_tensor() -> None:
    class Silent(torch.nn.Module):
        def forward(self, x: Tensor) -> None:
            return None

    task = detector_task()
    task.model = Silent()
    with pytest.raises(ValueError, match="gives NoneType, which holds no tensor"):
        check_data(task)


def test_the_cached_baseline_knows_metrics_that_differ_in_what_they_hold() -> None:
    class Over:
        def __init__(self, limit: float) -> None:
            self.limit = limit

        def __call__(self, o: Any, t: Any) -> float:
            return self.limit

    def above(o: Any, t: Any) -> float:
        return 1.0

    def below(o: Any, t: Any) -> float:
        return 2.0

    keys = [metric_and_data(two_heads_task(metric=m)) for m in (above, below, MeanOverlap, Over(1))]
    assert len({repr(key) for key in keys}) == 4
    assert metric_and_data(two_heads_task(metric=above)) == keys[0]


def test_an_onnx_runner_takes_a_tuple_of_arrays_too(tmp_path: Path) -> None:
    task = detector_task()
    metrics = export_candidate(task, {}, device="stm32f746", out_dir=tmp_path / "out", epochs=0)
    assert "model.onnx" in metrics["files"]
    outputs = onnx_runner(tmp_path / "out" / "model.onnx")((np.zeros((3, 3, 8, 8), np.float32),))
    assert [x.shape for x in outputs] == [(3, 16, 2), (3, 16, 4)]
