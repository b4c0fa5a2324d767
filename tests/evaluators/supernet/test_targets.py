"""Tasks of all kinds: a supernet works for them, or says why not before it is trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evaluators import Task, evaluate, trace
from evaluators.scoring import DataError
from evaluators.supernet.training import Progress, Settings, train_supernet
from hardware import Network


class TwoHeads(nn.Module):
    """Class scores and a regression."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 12), nn.ReLU())
        self.classes, self.size = nn.Linear(12, 3), nn.Linear(12, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.body(x)
        return {"classes": self.classes(x), "size": self.size(x)}


def task_of(**changes: Any) -> Task:
    torch.manual_seed(0)
    x = torch.randn(32, 6)
    labels = {"class": (x[:, 0] > 0).long(), "size": x[:, 1:2]}
    batches = [(x, labels)]

    def loss(out: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
        size = nn.functional.mse_loss(out["size"], wanted["size"])
        return nn.functional.cross_entropy(out["classes"], wanted["class"]) + size

    fields: dict[str, Any] = {
        "model": TwoHeads(), "train": batches, "val": batches, "test": batches,
        "example_input": x[:2], "loss": loss, "metric_name": "error", "metric_mode": "min",
        "metric": lambda out, wanted: float(loss(out, wanted)), **changes,
    }  # fmt: skip
    return Task(**fields)


def space_of(network: Network) -> dict[str, list[Any]]:
    return {f"{name}.w_bits": [4, 8] for name in network.gene_layers} | {"body.0.prune": [0.0, 0.5]}


def test_several_outputs_and_a_metric_where_less_is_better() -> None:
    task = task_of()
    network = trace(task)
    supernet = train_supernet(task, network, space_of(network), Settings(epochs=20))
    result = evaluate(task, {}, device="stm32f746", network=network, epochs=0, supernet=supernet)
    # The float model knows nothing, and its answers count for more than the labels.
    assert 0.0 < result.metrics["inherited_error"] < 2 * result.metrics["baseline_error"]


def refused(text: str, **changes: Any) -> None:
    task = task_of(**changes)
    network = trace(task)
    epochs: list[Progress] = []
    with pytest.raises(DataError, match=text):
        train_supernet(task, network, space_of(network), Settings(epochs=1), report=epochs.append)
    assert epochs == []


def test_training_data_without_labels() -> None:
    x = torch.randn(32, 6)
    refused(r"'train' split must yield \(inputs, targets\)", train=[x])
    refused("loss fails on its first training batch with TypeError", train=[(x, None)])


def test_a_loss_of_following_that_fails() -> None:
    refused(
        "what the networks of a supernet learn fails on the first training batch with KeyError",
        distillation_loss=lambda out, soft: out["logits"].sum(),
    )
    refused(
        "what the networks of a supernet learn is",
        distillation_loss=lambda out, soft: out["size"] - soft["size"],
    )


def test_without_labels_but_with_a_metric_of_outputs() -> None:
    """Named measures need no labels: the float model's outputs take their place."""
    x = torch.randn(32, 6)
    task = Task(model=TwoHeads(), train=[x], val=[x], example_input=x[:2], metric="relative_error")
    network = trace(task)
    supernet = train_supernet(task, network, space_of(network), Settings(epochs=20))
    result = evaluate(task, {}, device="stm32f746", network=network, supernet=supernet)
    assert 0.0 < result.metrics["inherited_relative_error"] < 0.5


def test_outputs_that_hold_no_floats() -> None:
    class Chosen(TwoHeads):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"best": super().forward(x)["classes"].argmax(1)}

    refused(
        "hold no tensor of floats",
        model=Chosen(),
        loss=lambda out, wanted: (out["best"] != wanted["class"]).float().mean(),
        metric=lambda out, wanted: 0.0,
    )
