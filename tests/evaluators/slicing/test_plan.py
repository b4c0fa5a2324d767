"""A plan survives its file, stays small there, and is compared with the model it meets."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from evaluators import trace
from evaluators.compression.pruning import check_model, plan_of, prune
from evaluators.slicing.attribute_repair import SizeAttribute
from evaluators.slicing.channel_units import Cut, UnitGroup
from evaluators.slicing.plan import KEY, UnitPlan, stored_plan
from hardware import Network
from support.hand_units import group, layer, reads, rows
from support.nets import ZOO, randomize
from support.sized_nets import SIZED
from support.tasks import build_task


@pytest.mark.parametrize("name", sorted(SIZED))
def test_there_and_back(name: str) -> None:
    _, _, groups = SIZED[name]()
    attributes = (SizeAttribute("a.b", ("sizes", 0, "width"), groups[0].name, 3),)
    plan = UnitPlan(tuple(groups), attributes)
    assert UnitPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_indices_of_any_order() -> None:
    indices = ((0, 7, 3), (1, 5, 4), (9, 2, 6))
    plan = UnitPlan((UnitGroup("a", ("a",), 3, (Cut("a.weight", 0, indices, True),)),))
    assert UnitPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_wide_group_is_short() -> None:
    # 4096 heads' rows of q, k and v: one run.
    cuts = layer("qkv", rows(64, 64, parts=3, apart=4096))
    assert len(json.dumps(UnitPlan((group("qkv", cuts),)).to_json())) < 300


def test_a_network_with_a_plan_is_pruned_by_it() -> None:
    build, shape = ZOO["residual"]
    model = randomize(build())
    task = build_task(model, shape)
    network = trace(task)
    network.metadata[KEY] = plan_of(model, task.inputs, network).to_json()
    loaded = Network.from_json(network.to_json())
    params = {"stem.0.prune": 0.5, "a.0.prune": 0.25, "down.prune": 0.75}
    kept = {n: c for n, c in network.kept(params).items() if f"{n}.prune" in params}
    # Without inputs nothing can be traced anew.
    by_plan = prune(model, (), loaded, kept, loaded.apply(params))
    del network.metadata[KEY]
    anew = prune(model, task.inputs, network, kept, network.apply(params))
    with torch.no_grad():
        assert torch.equal(by_plan(*task.inputs), anew(*task.inputs))
    check_model(model, loaded)


def test_a_plan_of_another_model() -> None:
    plan = UnitPlan((group("0", [*layer("0", rows(8)), *reads(rows(8), "1.weight")]),))
    plan.check(nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 2)))
    with pytest.raises(ValueError, match=r"'1.weight' has the shape \(2, 6\).*joint-ga space"):
        plan.check(nn.Sequential(nn.Linear(3, 8), nn.Linear(6, 2)))
    with pytest.raises(ValueError, match=r"no parameter or buffer '1.weight'"):
        plan.check(nn.Sequential(nn.Linear(3, 8)))


@pytest.mark.parametrize("data", [[], {}, {"groups": [{}], "attributes": []}, {"groups": 3}])
def test_a_damaged_plan(data: object) -> None:
    with pytest.raises(ValueError, match=r"'units' can't be read.*joint-ga space"):
        stored_plan({KEY: data})


def test_no_plan() -> None:
    assert stored_plan({}) is None
