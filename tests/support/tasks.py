"""Tasks of random data, and random chromosomes of a network."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from evaluators import Task
from evaluators.batches import ArrayBatches
from evaluators.training import accuracy
from hardware import Network
from hardware.ir.gene_kinds.pruner import PRUNERS
from support.nets import TWO_INPUTS, ZOO, randomize

TINY_TASK = """
import torch
from torch import nn
from evaluators import Task
from evaluators.batches import ArrayBatches

def build():
    torch.manual_seed(0)
    x = torch.randn(96, 6)
    y = (x[:, 0] > 0).long()
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    train, val = (ArrayBatches(x, y, batch_size=32, shuffle=s) for s in (True, False))
    return Task(
        model=model, train=train, val=val, test=val, example_input=x[:2],
        loss=nn.functional.cross_entropy,
        metric=lambda out, target: float((out.argmax(1) == target).float().mean()),
    )
"""
"""The text of a module with a task that trains in no time."""


def build_task(model: nn.Module, shape: tuple[int, ...], *, classes: int = 5, **more: Any) -> Task:
    """A task of random data that a model of any shape can be trained on for a step or two."""
    generator = torch.Generator().manual_seed(0)
    x: Any = torch.randn(24, *shape, generator=generator)
    two = isinstance(model, TWO_INPUTS)
    example: Any = (x[:2], x[2:4]) if two else x[:2]
    with torch.no_grad():
        out = model.eval()(*example) if two else model.eval()(example)
    target = torch.randint(0, classes, (24,), generator=generator)
    regress = out.dim() > 2 or out.shape[1:] == x.shape[1:]
    loss = nn.functional.mse_loss if regress else nn.functional.cross_entropy
    if regress:
        target = torch.randn(24, *out.shape[1:], generator=generator)
    batches: Any = ArrayBatches(x, target, batch_size=8, shuffle=True)
    if two:
        batches = [((a, a.flip(0)), b) for a, b in batches]
    rest = {
        "metric": (lambda o, t: float(loss(o, t))) if regress else accuracy,
        "metric_name": "mse" if regress else "accuracy",
        "metric_mode": "min" if regress else "max",
        "name": type(model).__name__,
        **more,
    }
    return Task(
        model=model, train=batches, val=batches if two else ArrayBatches(x, target, batch_size=8),
        test=batches, example_input=example, loss=loss, **rest,
    )  # fmt: skip


def zoo_task(name: str, **more: Any) -> Task:
    """A task of random data for a network of the zoo, with the same random weights each time."""
    build, shape = ZOO[name]
    torch.manual_seed(0)
    return build_task(randomize(build()), shape, **more)


def small_space(
    network: Network, w_bits: Sequence[int], a_bits: Sequence[int]
) -> dict[str, list[Any]]:
    """The alleles of each gene: three prune ratios, and these bit-widths."""
    space: dict[str, list[Any]] = {
        f"{g.name}.prune": [0.0, 0.25, 0.5] for g in network.groups if g.prunable
    }
    for name in network.gene_layers:
        space |= {f"{name}.w_bits": list(w_bits), f"{name}.a_bits": list(a_bits)}
    return space


def random_params(
    network: Network, rng: random.Random, *, bits: tuple[int, ...] = (2, 4, 8)
) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for group in network.groups:
        if group.prunable:
            params[f"{group.name}.prune"] = rng.choice([0.0, 0.125, 0.25, 0.5, 0.75, 0.9])
    for name in network.gene_layers:
        params[f"{name}.w_bits"] = rng.choice(bits)
        params[f"{name}.a_bits"] = rng.choice((4, 8)) if 4 in bits else 8
    return params


def random_options(network: Network, rng: random.Random) -> dict[str, Any]:
    """Some of the genes that a space may leave out."""
    params: dict[str, Any] = {"pruner": rng.choice(PRUNERS)}
    for name in network.gene_layers:
        options = {
            "w_scheme": ("uniform", "power_of_two"),
            "sparsity": (0.0, 0.3, 0.5, 0.9),
            "rank": (0.1, 0.4, 0.7, 1.0),
        }
        for kind, values in options.items():
            if (kind != "rank" or name in network.rank_layers) and rng.random() < 0.7:
                params[f"{name}.{kind}"] = rng.choice(values)
    return params
