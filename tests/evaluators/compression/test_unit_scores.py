"""NNI's criteria choose units: those that are planted dead go first."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from evaluators import Task
from evaluators.compression.unit_scores import choose_units
from evaluators.slicing.grouped_weights import by_channel, from_channels
from evaluators.slicing.remove_units import Places, PruneError
from evaluators.slicing.weight_norms import copied, fuse_weight_norms
from hardware.ir.gene_kinds.pruner import PRUNERS
from support.hand_units import group, makes, rows
from support.sized_nets import SIZED, recurrent


def task_of(model: nn.Module, inputs, criterion: str) -> Task:
    with torch.no_grad():
        targets = torch.randn_like(model.eval()(*inputs))
    batches = [(inputs, targets)]
    return Task(
        model=model, train=batches, val=batches, test=batches, example_input=inputs,
        loss=nn.functional.mse_loss, metric=lambda o, t: float(nn.functional.mse_loss(o, t)),
        metric_name="mse", metric_mode="min", pruner=criterion,
    )  # fmt: skip


def halves(groups) -> dict[str, list[int]]:
    """The second half of each block, to be planted."""
    found = {}
    for one in groups:
        size = one.units // one.step
        found[one.name] = [b * size + i for b in range(one.step) for i in range(size // 2, size)]
    return found


@pytest.mark.parametrize("name", sorted(SIZED))
@pytest.mark.parametrize("criterion", ["l1", "l2", "taylor"])
def test_dead_units_go(name: str, criterion: str) -> None:
    torch.manual_seed(0)
    model, inputs, groups = SIZED[name]()
    model = copied(model).eval()
    fuse_weight_norms(model)
    dead, places = halves(groups), Places(model)
    with torch.no_grad():
        for one in groups:
            for cut in one.cuts:
                place = places.find(cut.parameter)
                if place is None or not cut.produces or place.tensor.dim() == 1:
                    continue
                gone = torch.tensor([i for u in dead[one.name] for i in cut.indices[u]])
                if place.is_grouped(cut):
                    spread = by_channel(place.tensor, place.channel_groups)
                    filled = spread.index_fill(0, gone, 0.0)
                    place.tensor.copy_(from_channels(filled, place.channel_groups))
                else:
                    place.tensor.index_fill_(cut.axis, gone, 0.0)
    kept = {g.name: g.units - len(dead[g.name]) for g in groups}
    task = task_of(model, inputs, criterion)
    assert choose_units(model, groups, kept, task) == dead


@pytest.mark.parametrize("criterion", PRUNERS)
def test_every_criterion_leaves_what_was_asked_for(criterion: str) -> None:
    torch.manual_seed(0)
    model, inputs, groups = recurrent()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    kept = {"gru": 5, "lstm": 1, "proj": 4, "rnn": 6}
    chosen = choose_units(model, groups, kept, task_of(model, inputs, criterion))
    assert {g.name: g.units - len(chosen[g.name]) for g in groups} == kept
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(a is b for a, b in zip(model.gru._flat_weights, model.gru.parameters(), strict=True))


def test_gradients_reach_recurrent_layers() -> None:
    """Torch keeps their weights in a list of their own beside the parameters."""
    torch.manual_seed(0)
    model, inputs, groups = recurrent()
    task = task_of(model, inputs, "taylor")
    chosen = choose_units(model, groups[:1], {"gru": 4}, task)["gru"]
    task.loss(model(*inputs), task.train[0][1]).backward()
    scores = torch.zeros(8)
    for name, weight in model.gru.named_parameters():
        if name.startswith("weight"):
            scores += (weight.detach() * weight.grad).square().view(3, 8, -1).sum((0, 2))
    assert chosen == sorted(scores.argsort()[:4].tolist())


def test_a_group_without_weights() -> None:
    model = nn.LayerNorm(4)
    with pytest.raises(PruneError, match="'a' has no weights"):
        choose_units(model, [group("a", makes(rows(4), "weight"))], {"a": 2})
    with pytest.raises(ValueError, match="no units of 'b'"):
        choose_units(model, [], {"b": 2})
