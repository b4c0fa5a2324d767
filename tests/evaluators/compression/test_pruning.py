"""Channels are removed exactly: the pruned network computes what the masked one computes."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from evaluators import evaluate, trace
from evaluators.compression.decisions import read_candidate
from evaluators.compression.pruning import PruneError, check_model, check_shapes, prune
from support.masked import Masked, removed_channels
from support.nets import ZOO, randomize
from support.tasks import build_task, random_params


@pytest.mark.parametrize("name", sorted(ZOO))
@pytest.mark.parametrize("seed", range(4))
def test_pruned_equals_masked(name: str, seed: int) -> None:
    build, shape = ZOO[name]
    model = randomize(build(), seed)
    task = build_task(model, shape)
    network = trace(task)
    rng = random.Random(seed)
    candidate = read_candidate(network, random_params(network, rng))
    pruned = prune(model, task.inputs, network, candidate.kept, candidate.layers)
    x = tuple(torch.randn(4, *shape) for _ in task.inputs)
    with torch.no_grad():
        want = Masked(model, removed_channels(model, task.inputs, network, candidate.kept)).run(*x)
        got = pruned(*x)
    assert not pruned.training
    assert (want - got).abs().max() < 1e-5
    for layer in candidate.layers:
        if layer.is_weighted:
            module = pruned.get_submodule(layer.module)
            width = getattr(module, "out_channels", None) or module.out_features
            assert width == layer.out_channels


def test_every_structure_has_something_to_prune() -> None:
    for name, (build, shape) in ZOO.items():
        network = trace(build_task(build(), shape))
        prunable = [g for g in network.groups if g.prunable]
        assert prunable, name
        assert all(g.reason for g in network.groups if not g.prunable), name


def test_groups_of_a_residual_network() -> None:
    build, shape = ZOO["residual"]
    groups = {g.name: g for g in trace(build_task(build(), shape)).groups}
    assert groups["stem.0"].layers == ("stem.0", "b")
    assert groups["down"].layers == ("down", "skip")
    assert not groups["fc"].prunable
    assert "output" in groups["fc"].reason


def test_grouped_convolution_is_cut_in_blocks() -> None:
    build, shape = ZOO["grouped"]
    groups = {g.name: g for g in trace(build_task(build(), shape)).groups}
    assert groups["stem.0"].step == groups["mid.0"].step == 4


def test_a_wrong_shape_is_noticed() -> None:
    build, shape = ZOO["residual"]
    model = build()
    network = trace(build_task(model, shape))
    layers = network.apply({"stem.0.prune": 0.5})
    with pytest.raises(PruneError, match=r"stem.0.*asked"):
        check_shapes(model, layers)


@pytest.mark.parametrize("pruner", ["l2", "fpgm", "taylor", "slim", "movement"])
@pytest.mark.parametrize("name", ["residual", "grouped", "squeeze_linear"])
def test_other_criteria_leave_the_shapes_asked_for(name: str, pruner: str) -> None:
    build, shape = ZOO[name]
    model = randomize(build(), 0)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    task = build_task(model, shape, pruner=pruner)
    network = trace(task)
    candidate = read_candidate(network, random_params(network, random.Random(1)))
    pruned = prune(model, task.inputs, network, candidate.kept, candidate.layers, task=task)
    assert candidate.kept
    with torch.no_grad():
        assert torch.isfinite(pruned(*task.inputs)).all()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("pruner", ["taylor", "slim", "movement"])
def test_criteria_with_data_need_some(pruner: str) -> None:
    build, shape = ZOO["residual"]
    task = build_task(build(), shape)
    network = trace(task)
    candidate = read_candidate(network, {"stem.0.prune": 0.5, "pruner": pruner})
    with pytest.raises(ValueError, match=f"pruner='{pruner}' needs a task"):
        prune(
            task.model, task.inputs, network, candidate.kept, candidate.layers,
            pruner=candidate.pruner,
        )  # fmt: skip


def test_unknown_criterion() -> None:
    build, shape = ZOO["residual"]
    with pytest.raises(ValueError, match=r"pruner='magic' is unknown"):
        build_task(build(), shape, pruner="magic")


def test_network_of_another_model() -> None:
    first, second = (build_task(ZOO[name][0](), ZOO[name][1]) for name in ("residual", "grouped"))
    network = trace(first)
    check_model(first.model, network)
    with pytest.raises(ValueError, match=r"describes another model: layer '.*joint-ga space"):
        evaluate(second, {}, device="stm32f746", network=network, epochs=0)


def test_asking_for_a_size_reads_nothing() -> None:
    class Viewed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3), nn.Linear(8 * 9, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.max_pool2d(self.a(x), 2)
            return self.b(y.view(x.size(0), -1))

    network = trace(build_task(Viewed(), (3, 8, 8)))
    assert [layer.inputs for layer in network.layers if layer.op == "reshape"] == [("max_pool2d",)]
