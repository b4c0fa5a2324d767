"""Networks after reports of other projects' users: dead channels go without a trace, trials run."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from evaluators import evaluate, trace
from evaluators.compression.decisions import read_candidate
from evaluators.compression.pruning import prune
from evaluators.slicing.plan import UnitPlan, stored_plan
from evaluators.slicing.remove_units import Places
from evaluators.slicing.weight_norms import copied, fuse_weight_norms
from hardware import Network
from support.nets import randomize
from support.public_cases import CASES
from support.tasks import build_task

GROUPS = {
    "scaled_map": {"a.0", "b.0"},
    "tokens": {"a", "b"},
    "cat_by_axis": {"a.0", "b.0", "c.0"},
    "pool_indices": {"a.0", "b.0"},
    "weight_normed": {"a", "b"},
    "output_size": {"a.0", "b.0", "up", "mix.0"},
    "partial_convolution": {"b.0", "c.0"},
    "slopes": {"a", "b"},
    "instance_normed": {"a", "b"},
    "one_out": {"0.0", "1.0"},
    "gated_residual": {"a.0", "r"},
    "shared_head": {"a.0", "h"},
    "mini_yolo": {
        "stem.0", "c1.a.0", "c1.m1.0", "c1.b.0", "down.0", "c2.a.0", "c2.m1.0", "c2.b.0",
        "p.0", "q.0", "c3.a.0", "c3.m1.0", "c3.b.0",
    },
    "last_step": {"a", "b", "c"},
    "lstm": {"a", "lstm"},
}  # fmt: skip
"""What can be pruned at least."""


def half(network: Network) -> dict[str, object]:
    params: dict[str, object] = {f"{g.name}.prune": 0.5 for g in network.groups if g.prunable}
    for name in network.gene_layers:
        params[f"{name}.w_bits"] = params[f"{name}.a_bits"] = 8
    return params


def silence(model: nn.Module, plan: UnitPlan) -> None:
    """Every second unit of each group says 0: its weights, biases and norms are 0."""
    places = Places(model)
    with torch.no_grad():
        for group in plan.groups:
            for cut in group.cuts:
                place = places.find(cut.parameter)
                variance = cut.parameter.endswith("running_var")
                if place is None or not cut.produces or group.reason or variance:
                    continue
                gone = [i for unit in range(0, group.units, 2) for i in cut.indices[unit]]
                place.tensor.index_fill_(cut.axis, torch.tensor(gone), 0.0)


@pytest.mark.parametrize("name", sorted(CASES))
def test_dead_channels_are_taken_out_exactly(name: str) -> None:
    build, shape = CASES[name]
    model = copied(randomize(build()))
    fuse_weight_norms(model)
    task = build_task(model, shape)
    network = trace(task)
    assert {g.name for g in network.groups if g.prunable} >= GROUPS[name]
    plan = stored_plan(network.metadata)
    assert plan is not None
    silence(model, plan)
    candidate = read_candidate(network, half(network))
    small = prune(model, (), network, candidate.kept, candidate.layers)
    for group in network.groups:
        if group.prunable:
            assert candidate.kept[group.name] == group.channels // 2
    x = torch.randn(3, *shape)
    with torch.no_grad():
        want, got = model(x), small(x)
    assert (want - got).abs().max() < 1e-4 * want.abs().max()
    parameters = [sum(p.numel() for p in m.parameters()) for m in (model, small)]
    assert parameters[1] < 0.75 * parameters[0]


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_whole_trial(name: str) -> None:
    build, shape = CASES[name]
    task = build_task(randomize(build()), shape)
    network = trace(task)
    result = evaluate(task, half(network), device="stm32f746", network=network, epochs=1)
    assert math.isfinite(result.metrics["default"])
