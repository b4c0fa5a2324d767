"""Starting points by gradients: between the space's ends, by what loses least for what it saves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from evaluators import Task, trace
from evaluators.batches import ArrayBatches
from evaluators.supernet.gradient import Progress, Settings, starting_points
from evaluators.supernet.training import Settings as Training
from evaluators.supernet.training import train_supernet
from evaluators.supernet.weights import Supernet
from hardware import CostFunction, cost_function, load_device
from support.nets import ZOO, randomize
from support.tasks import build_task

QUICK = Settings(points=4, epochs=2, learning_rate=0.5)


def supernet_of(task: Task, **more: list[Any]) -> tuple[Supernet, CostFunction]:
    network = trace(task)
    space: dict[str, list[Any]] = {
        f"{g.name}.prune": [0.0, 0.25, 0.5] for g in network.groups if g.prunable
    }
    for name in network.gene_layers:
        space |= {f"{name}.w_bits": [2, 4, 8], f"{name}.a_bits": [4, 8]}
    costs = cost_function(network, load_device("stm32f746"))
    return train_supernet(task, network, {**space, **more}, Training(epochs=1)), costs


def zoo_task(name: str) -> Task:
    build, shape = ZOO[name]
    torch.manual_seed(0)
    return build_task(randomize(build()), shape)


@pytest.mark.parametrize("name", ["residual", "depthwise"])
def test_points_lie_between_the_ends(name: str) -> None:
    task = zoo_task(name)
    supernet, costs = supernet_of(task)
    told: list[Progress] = []
    found = starting_points(supernet, task, costs, QUICK, report=told.append)
    assert [one.point for one in told] == [1, 2, 3, 4]
    assert 1 <= len(found) <= 4
    for params in found:
        assert list(params) == list(supernet.space)
        assert all(value in supernet.space[gene] for gene, value in params.items())
    assert told[-1].share < told[0].share
    again = starting_points(supernet, task, costs, QUICK)
    assert again == found


def test_what_nobody_hears_goes_first() -> None:
    """A price at which the idle layer's channels go, and the ones that decide stay."""
    torch.manual_seed(0)
    x = torch.randn(256, 16)
    y = (x[:, 0] + x[:, 1] > 0).long()

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(16, 16), nn.Linear(16, 16)
            self.out, self.mute = nn.Linear(16, 2), nn.Linear(16, 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            heard = self.out(self.used(inputs).relu())
            return heard + self.mute(self.idle(inputs).relu())

    model = Two()
    optimizer = torch.optim.Adam([*model.used.parameters(), *model.out.parameters()], 1e-2)
    nn.init.zeros_(model.mute.weight)
    for _ in range(100):
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(model(x), y))
        optimizer.step()
    batches = ArrayBatches(x, y, batch_size=64, shuffle=False)
    task = replace(
        zoo_task("residual"), model=model.eval(), train=batches, val=batches, example_input=x[:2]
    )
    supernet, costs = supernet_of(task)
    settings = Settings(points=6, epochs=6, learning_rate=0.2, costs=("size_kb",))
    found = starting_points(supernet, task, costs, settings)
    assert any(p["idle.prune"] == 0.5 and p["used.prune"] == 0.0 for p in found)
    assert not any(p["idle.prune"] == 0.0 and p["used.prune"] == 0.5 for p in found)


def test_other_genes_stay_where_they_change_nothing() -> None:
    task = zoo_task("residual")
    supernet, costs = supernet_of(task, **{"stem.0.sparsity": [0.5, 0.0]})
    for params in starting_points(supernet, task, costs, replace(QUICK, points=1)):
        assert params["stem.0.sparsity"] == 0.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"points": 0}, "points=0 must be at least 1"),
        ({"temperature": 0.0}, "temperature=0.0 must be above 0"),
        ({"costs": ()}, "name one, such as size_kb"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings(**options)


def test_another_task_or_an_unknown_cost_is_refused() -> None:
    task = zoo_task("residual")
    supernet, costs = supernet_of(task)
    with pytest.raises(ValueError, match=r"'watts' is none of stm32f746's: .*size_kb"):
        starting_points(supernet, task, costs, Settings(costs=("watts",)))
    with pytest.raises(ValueError, match="another float model"):
        starting_points(supernet, zoo_task("depthwise"), costs)
