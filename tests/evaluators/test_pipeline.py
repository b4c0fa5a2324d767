"""A chromosome in, a network and its metrics out."""

from __future__ import annotations

import copy
import math
import pickle
import random
from typing import Any

import pytest
import torch
from torch import nn

from evaluators import Task, evaluate, load_task, trace
from evaluators.baseline import baseline_metric
from evaluators.compression.quantization import QuantizedInput, strip
from evaluators.training import predict, score
from hardware import cost_function, load_device
from support.nets import ZOO, randomize
from support.tasks import build_task, random_params

COSTS = {"size_kb", "ram_kb", "latency_ms", "energy_mj", "macs", "bops"}


@pytest.fixture
def digits() -> Task:
    return load_task("evaluators.tasks.digits:build")


@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_structure_through_the_whole_pipeline(name: str) -> None:
    build, shape = ZOO[name]
    model = randomize(build(), 1)
    before = copy.deepcopy(model.state_dict())
    task = build_task(model, shape)
    network = trace(task)
    params = random_params(network, random.Random(name))
    device = load_device("stm32f746")
    result = evaluate(task, params, device=device, network=network, epochs=1, seed=3)

    assert set(result.metrics) >= COSTS | {"default", task.metric_name}
    assert all(math.isfinite(v) for v in result.metrics.values())
    expected = cost_function(network, device)(params)
    assert {k: result.metrics[k] for k in expected} == expected
    assert score(task, result.model, task.val) == pytest.approx(result.metrics["default"], abs=1e-6)
    for key, value in task.model.state_dict().items():
        assert torch.equal(value, before[key])

    plain = strip(result.model)
    for layer, entry in result.calibration.items():
        module = plain.get_submodule(layer)
        axis = 1 if isinstance(module, nn.ConvTranspose2d) else 0
        weight = module.weight.detach().transpose(0, axis)
        bits, scale = entry.weight.bits, entry.weight.scale
        assert bits == params[f"{layer}.w_bits"]
        assert entry.input.bits == params[f"{layer}.a_bits"]
        integers = weight / scale.reshape(-1, *[1] * (weight.dim() - 1))
        assert (integers - integers.round()).abs().max() < 1e-3
        assert integers.abs().max() <= 2 ** (bits - 1) - 1 + 1e-3
        for channel in weight:
            assert len(channel.unique()) <= 2**bits


def test_digits_trial(digits: Task) -> None:
    network = trace(digits)
    params = {"stem.0.prune": 0.25, "block1.3.prune": 0.25, "block3.3.w_bits": 4}
    reports: list[dict[str, float]] = []
    result = evaluate(
        digits, params, device="stm32f746", network=network, epochs=2, report=reports.append
    )
    assert result.metrics["baseline_accuracy"] > 0.97
    assert result.metrics["accuracy"] > 0.95
    assert reports[-1] == result.metrics
    # After pruning, after calibration, after each of two epochs.
    assert len(reports) == 4
    assert all(set(r) == set(result.metrics) for r in reports)
    assert set(result.timings) >= {"prune", "quantize", "fine_tune", "evaluate"}

    again = evaluate(digits, params, device="stm32f746", network=network, epochs=2)
    assert again.metrics == result.metrics

    copied = pickle.loads(pickle.dumps(result.model))
    a, b = predict(result.model, digits.val)[0], predict(copied, digits.val)[0]
    assert torch.equal(a, b)
    assert not any("nni" in type(m).__module__ for m in result.model.modules())


def test_costs_equal_the_tuners_on_many_chromosomes(digits: Task) -> None:
    network = trace(digits)
    device = load_device("stm32f746")
    tuner = cost_function(type(network).from_json(network.to_json()), device)
    trial = cost_function(network, device)
    rng = random.Random(0)
    for _ in range(500):
        params = random_params(network, rng)
        assert tuner(params) == trial(params)


def test_signed_inputs_get_a_zero_point() -> None:
    build, shape = ZOO["autoencoder"]
    result = evaluate(build_task(build(), shape), {}, device="stm32f746", epochs=0)
    first = result.calibration["body.0"].input
    assert 64 < first.zero_point < 192
    later = result.calibration["body.3"].input
    assert later.zero_point == 0


def test_no_epochs_is_post_training_quantization(digits: Task) -> None:
    result = evaluate(digits, {}, device="stm32f746", epochs=0)
    assert abs(result.metrics["accuracy"] - result.metrics["baseline_accuracy"]) < 0.01
    assert isinstance(result.model.get_submodule("fc"), QuantizedInput)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"conv9.prune": 0.5}, "another model"),
        ({"stem.0.prune": 1.0}, "stem.0.prune"),
        ({"stem.0.prune": -0.1}, "stem.0.prune"),
        ({"fc.prune": 0.5}, "fc"),
        ({"stem.0.w_bits": 3}, "3"),
        ({"stem.0.w_bits": "eight"}, "eight"),
    ],
)
def test_bad_chromosomes(digits: Task, params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        evaluate(digits, params, device="stm32f746", epochs=0)


def test_a_failing_trial_leaves_the_model_usable(digits: Task) -> None:
    def explode(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        # The first look at the data needs no gradient.
        scale = float("nan") if outputs.requires_grad else 1.0
        return nn.functional.cross_entropy(outputs, targets) * scale

    digits.loss = explode
    with pytest.raises(ValueError, match="training loss became nan"):
        evaluate(digits, {}, device="stm32f746", epochs=1)
    digits.loss = nn.functional.cross_entropy
    assert evaluate(digits, {}, device="stm32f746", epochs=0).metrics["accuracy"] > 0.9


def test_the_cached_baseline_belongs_to_metric_and_data() -> None:
    build, shape = ZOO["residual"]
    model = build().eval()

    def measured(**changes: Any) -> float:
        task = build_task(model, shape, name="judged", metric_name="share")
        for name, value in changes.items():
            setattr(task, name, value)
        return baseline_metric(task)

    assert measured(metric=lambda o, t: 0.25) == 0.25
    assert measured(metric=lambda o, t: float(len(t)) / 96) == 0.25
    batches = build_task(model, shape).val
    assert measured(metric=lambda o, t: float(len(t)) / 96, val=list(batches)[:1]) == 8 / 96
    state = torch.get_rng_state()
    measured(metric=lambda o, t: 0.25)
    assert torch.equal(state, torch.get_rng_state())
