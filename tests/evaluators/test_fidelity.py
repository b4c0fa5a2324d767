"""Tasks without labels: measures against closed forms, and the way from the space to the export."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from evaluators import Task, evaluate, load_task, trace
from evaluators.batches import ArrayBatches
from evaluators.export import export_candidate
from evaluators.fidelity import MEASURES, FloatOutputs, inputs_of, output_loss
from evaluators.training import fit, reestimate_batch_norm
from nni_plugin import search
from support.nested import Tagger, TwoHeads, tagger_task
from support.nets import ZOO, randomize


def measured(name: str, *pairs: tuple[Any, Any]) -> float:
    measure = MEASURES[name][0]()
    for found, wanted in pairs:
        measure.update(found, wanted)
    return float(measure.compute())


def test_measures_of_known_errors() -> None:
    wanted = torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    found = wanted + torch.tensor([[0.3, 0.4], [0.0, 0.5]])  # a tenth of each
    # The split's sums, however it is cut into batches.
    for pairs in ([(found, wanted)], [(found[:1], wanted[:1]), (found[1:], wanted[1:])]):
        assert measured("relative_error", *pairs) == pytest.approx(0.1)
        assert measured("sqnr_db", *pairs) == pytest.approx(20.0)
        assert measured("cosine_similarity", *pairs) == pytest.approx(1.0)
        assert measured("agreement", *pairs) == 1.0
    turned = torch.tensor([[-4.0, 3.0], [0.0, 5.0]])
    assert measured("cosine_similarity", (turned, wanted)) == pytest.approx(0.5)
    assert measured("agreement", (torch.tensor([[5.0, 4.0], [0.0, 5.0]]), wanted)) == 0.5


def test_equal_outputs_have_finite_figures() -> None:
    x = torch.randn(3, 4)
    assert measured("sqnr_db", (x, x)) == pytest.approx(138.47, abs=0.01)
    assert measured("relative_error", (x, x)) == 0.0
    zeros = torch.zeros(2, 3)
    assert measured("cosine_similarity", (zeros, zeros)) == 1.0
    assert measured("relative_error", (zeros, zeros)) == 0.0
    assert measured("sqnr_db", (zeros + 1, zeros)) == 0.0


def test_several_outputs_count_alike_whatever_their_size() -> None:
    wanted = {"large": torch.full((2, 2), 1000.0), "small": torch.ones(2, 2), "n": None}
    found = {"large": wanted["large"], "small": torch.full((2, 2), 1.1), "n": None}
    assert measured("relative_error", (found, wanted)) == pytest.approx(0.05)
    assert float(output_loss(found, wanted)) == pytest.approx(0.005)
    with pytest.raises(ValueError, match=r"none of the outputs \(3,\) has scores of classes"):
        measured("agreement", (torch.zeros(3), torch.zeros(3)))
    with pytest.raises(ValueError, match=r"outputs are \(3,\), the float model's \(2,\)"):
        measured("sqnr_db", (torch.zeros(3), torch.zeros(2)))


def test_labels_are_left_out_by_the_form_of_the_example() -> None:
    x, y = torch.zeros(4, 3), torch.zeros(4)
    assert inputs_of(x, x[:1]) is x
    assert inputs_of([x, y], x[:1]) is x
    assert inputs_of((x, y), (x[:1], y[:1])) == (x, y)
    assert inputs_of(((x, y), y), (x[:1], y[:1])) == (x, y)
    batch = {"frames": x, "labels": y}
    assert inputs_of(batch, {"frames": x[:1]}) == {"frames": x}
    assert inputs_of((batch, y), {"frames": x[:1]}) == {"frames": x}
    with pytest.raises(ValueError, match=r"lacks 'mask'.*it holds frames, labels"):
        inputs_of(batch, {"frames": x, "mask": x})


def unlabelled(**more: Any) -> Task:
    torch.manual_seed(0)
    build, shape = ZOO["residual"]
    x = torch.randn(48, *shape)
    splits = {"train": x[:24].split(8), "val": x[24:36].split(6), "test": x[36:].split(6)}
    fields = {"metric": "sqnr_db", "name": "unlabelled", **splits, **more}
    return Task(model=randomize(build(), 0), example_input=x[:2], **fields)


def test_a_task_of_inputs_alone_has_all_that_it_needs() -> None:
    task = unlabelled(test=None)
    assert (task.metric_name, task.metric_mode, task.epochs) == ("sqnr_db", "max", 0)
    assert unlabelled(metric="relative_error").metric_mode == "min"
    assert unlabelled(epochs=2).epochs == 2
    # Its test split is what it is scored on.
    assert next(iter(task.test))[0] is next(iter(task.val))[0]
    inputs, targets = next(iter(task.val))
    assert torch.equal(targets, task.model.eval()(inputs))
    with pytest.raises(ValueError, match=r"metric='psnr' is unknown.*sqnr_db, cosine_similarity"):
        unlabelled(metric="psnr")
    with pytest.raises(ValueError, match=r"a split is one tensor \(3, 2\).*split\(64\)"):
        unlabelled(val=torch.zeros(3, 2))
    one = unlabelled(val=iter([torch.zeros(2, 3, 8, 8)]))
    with pytest.raises(ValueError, match=r"'val' split is a list_iterator.*only once"):
        evaluate(one, {}, device="stm32f746")


def test_fewer_bits_are_farther_from_the_float_network() -> None:
    task = unlabelled()
    network = trace(task)
    found = {}
    for bits in (8, 4, 2):
        params = {f"{name}.w_bits": bits for name in network.gene_layers}
        found[bits] = evaluate(task, params, device="stm32f746", network=network).metrics
    assert found[8]["sqnr_db"] > found[4]["sqnr_db"] > found[2]["sqnr_db"]
    assert found[8]["sqnr_db"] > 25
    assert found[8]["baseline_sqnr_db"] == pytest.approx(138.47, abs=0.01)


def test_training_follows_the_float_outputs() -> None:
    task = unlabelled(learning_rate=1e-3, metric="relative_error")
    # As of a trained network: those that a training ends with are of the data.
    reestimate_batch_norm(task.model, task.train)
    params = {f"{name}.w_bits": 2 for name in trace(task).gene_layers}
    errors = [
        evaluate(task, params, device="stm32f746", epochs=epochs).metrics["relative_error"]
        for epochs in (0, 8)
    ]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("metric", sorted(MEASURES))
def test_every_measure_of_a_network_with_two_outputs(metric: str) -> None:
    x = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    batches = [{"image": part, "labels": part[:, 0, 0, 0]} for part in x.split(4)]
    task = Task(
        model=randomize(TwoHeads(), 0), train=batches, val=batches,
        example_input={"image": x[:2]}, metric=metric,
    )  # fmt: skip
    params = {f"{name}.w_bits": 2 for name in trace(task).gene_layers}
    value = evaluate(task, params, device="stm32f746").metrics[metric]
    assert math.isfinite(value)
    assert value != task.baseline_metric


def test_batches_padded_to_other_lengths_need_no_more(tmp_path: Path) -> None:
    labelled = tagger_task()
    batches = [inputs for inputs, _ in labelled.train]
    task = Task(
        model=randomize(Tagger(), 0), train=batches, val=batches,
        example_input=labelled.example_input, metric="sqnr_db", name="padded",
    )  # fmt: skip
    metrics = export_candidate(
        task, {"up.prune": 0.25}, device="stm32f746", out_dir=tmp_path / "out"
    )
    assert metrics["onnx_mismatches"] == 0
    assert metrics["test"]["onnx_sqnr_db"] == pytest.approx(metrics["test"]["sqnr_db"], abs=0.1)


def test_a_search_by_calibration_alone(tmp_path: Path) -> None:
    task = unlabelled()
    found = search(
        task, "stm32f746", trials=6, population_size=4, folder=tmp_path / "run", progress=False
    )
    front = found.front
    assert front
    assert all("sqnr_db" in trial.metrics for trial in front)
    network = json.loads((tmp_path / "run" / "network.json").read_text())
    assert network["metadata"]["metric_name"] == "sqnr_db"
    params = {k: v for k, v in front[-1].params.items() if k != "uid"}
    metrics = export_candidate(
        task, params, device="stm32f746", network=found.network, out_dir=tmp_path / "out"
    )
    assert metrics["onnx_mismatches"] == 0
    assert metrics["epochs"] == 0
    assert metrics["test"]["float_sqnr_db"] == pytest.approx(138.47, abs=0.01)
    assert {"model.onnx", "model.pt2", "weights.bin"} <= set(metrics["files"])


def test_a_labelled_task_without_a_loss_only_calibrates() -> None:
    build, shape = ZOO["residual"]
    x, y = torch.randn(16, *shape), torch.randint(0, 5, (16,))
    batches = ArrayBatches(x, y, batch_size=8)
    task = Task(
        model=build(), train=batches, val=batches, test=batches, example_input=x[:2],
        metric=lambda o, t: float((o.argmax(1) == t).float().mean()), epochs=0,
    )  # fmt: skip
    assert math.isfinite(evaluate(task, {}, device="stm32f746").metrics["accuracy"])
    with pytest.raises(ValueError, match=r"no loss, and fine-tuning for 2 epochs needs one"):
        evaluate(task, {}, device="stm32f746", epochs=2)
    group = next(g.name for g in trace(task).groups if g.prunable)
    with pytest.raises(ValueError, match=r"no loss, and the pruner 'taylor' needs one"):
        evaluate(task, {f"{group}.prune": 0.5, "pruner": "taylor"}, device="stm32f746")
    with pytest.raises(ValueError, match=r"Task\(\) needs test="):
        Task(
            model=build(), train=batches, val=batches, example_input=x[:2], metric=lambda o, t: 0.0
        )


def test_the_float_outputs_leave_the_model_as_it_is() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    batches = FloatOutputs(model, [torch.randn(6, 4)], torch.zeros(1, 4))
    (first,), (second,) = list(batches), list(batches)
    assert torch.equal(first[1], second[1])
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert len(batches) == 1
    fit(model, batches, output_loss, epochs=1, learning_rate=1e-2)


def test_the_template_without_labels_builds() -> None:
    task = load_task("nni_plugin.setup.template_unlabelled_task:build")
    assert evaluate(task, {}, device="stm32f746").metrics["sqnr_db"] > 25
