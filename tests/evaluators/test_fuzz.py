"""Random networks, random chromosomes: pruned equals masked, channels asked equal channels got."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators import evaluate, trace
from evaluators.compression.decisions import read_candidate
from evaluators.compression.low_rank_sparsity import thin
from evaluators.compression.pruning import prune
from evaluators.compression.quantization import strip
from evaluators.tracing.layers_of_program import traced_layers
from evaluators.tracing.program import read_program
from hardware import cost_function, load_device
from support.masked import Masked, removed_channels
from support.nets import conv_bn, randomize
from support.tasks import build_task, random_options, random_params


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.inner(x))


class Branches(nn.Module):
    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class Squeeze(nn.Module):
    def __init__(self, width: int, hidden: int, linear: bool) -> None:
        super().__init__()
        self.linear = linear
        make = nn.Linear if linear else (lambda i, o: nn.Conv2d(i, o, 1))
        self.reduce, self.gate = make(width, hidden), make(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3)) if self.linear else functional.adaptive_avg_pool2d(x, 1)
        gate = torch.sigmoid(self.gate(functional.relu(self.reduce(pooled))))
        return x * (gate[:, :, None, None] if self.linear else gate)


def random_net(rng: random.Random) -> nn.Module:
    """Three to six blocks of random kinds and widths, then a classifier."""
    width = rng.choice((4, 8, 12))
    parts: list[nn.Module] = [conv_bn(3, width)]
    for _ in range(rng.randint(3, 6)):
        kind = rng.choice(
            ("conv", "separable", "residual", "branches", "squeeze", "grouped", "pool")
        )
        new = rng.choice((4, 8, 12, 16))
        if kind == "conv":
            parts.append(conv_bn(width, new, rng.choice((1, 3)), rng.choice((1, 1, 2))))
        elif kind == "separable":
            parts.append(nn.Sequential(conv_bn(width, width, 3, 1, width), conv_bn(width, new, 1)))
        elif kind == "residual":
            inner = [conv_bn(width, new), nn.Conv2d(new, width, 3, 1, 1), nn.BatchNorm2d(width)]
            parts.append(Residual(nn.Sequential(*inner)))
            new = width
        elif kind == "branches":
            other = rng.choice((4, 8))
            parts.append(Branches(conv_bn(width, new, 1), conv_bn(width, other), nn.Identity()))
            new = new + other + width
        elif kind == "squeeze":
            parts.append(Squeeze(width, 4, rng.random() < 0.5))
            new = width
        elif kind == "grouped":
            parts.append(
                conv_bn(width, new, 3, 1, rng.choice([g for g in (2, 4) if width % g == 0]))
            )
        else:
            parts.append(nn.AvgPool2d(3, 1, 1))
            new = width
        width = new
    if rng.random() < 0.5:
        return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5))
    return nn.Sequential(
        *parts, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 12), nn.ReLU(),
        nn.Linear(12, 5),
    )  # fmt: skip


def seeds(count: int) -> list[Any]:
    """Ten for the fast tests, a third for every run, all by night."""
    marks = [
        () if seed < 10 else (pytest.mark.slow,) if seed < count // 3 else (pytest.mark.nightly,)
        for seed in range(count)
    ]
    return [pytest.param(seed, marks=of) for seed, of in enumerate(marks)]


@pytest.mark.parametrize("seed", seeds(60))
def test_random_networks(seed: int) -> None:
    rng = random.Random(seed)
    model = randomize(random_net(rng), seed)
    task = build_task(model, (3, 8, 8))
    network = trace(task, channel_multiple=rng.choice((1, 1, 4)))
    x = torch.randn(3, 3, 8, 8)
    for _ in range(2):
        candidate = read_candidate(network, random_params(network, rng))
        pruned = prune(model, task.inputs, network, candidate.kept, candidate.layers)
        with torch.no_grad():
            want = Masked(model, removed_channels(model, task.inputs, network, candidate.kept)).run(
                x
            )
            got = pruned(x)
        assert (want - got).abs().max() < 1e-5 * max(1.0, float(want.abs().max()))
        for layer in candidate.layers:
            if layer.is_weighted:
                module = pruned.get_submodule(layer.module)
                width = getattr(module, "out_channels", None) or module.out_features
                assert width == layer.out_channels


def thinned_by_hand(model: nn.Module, candidate) -> nn.Module:
    """The pruned model with whole layers of low rank, and with its smallest weights zeroed."""
    model = copy.deepcopy(model)
    for name, rank in candidate.ranks.items():
        weight = model.get_submodule(name).weight.data
        u, s, v = torch.linalg.svd(weight.flatten(1), full_matrices=False)
        weight.copy_(((u[:, :rank] * s[:rank]) @ v[:rank]).reshape(weight.shape))
    for name, bits in candidate.bits.items():
        if bits.zeros:
            flat = model.get_submodule(name).weight.data.reshape(-1)
            flat[flat.abs().argsort()[: bits.zeros]] = 0.0
    return model


@pytest.mark.parametrize("seed", seeds(30))
def test_thinner_networks(seed: int) -> None:
    rng = random.Random(seed)
    model = randomize(random_net(rng), seed)
    task = build_task(model, (3, 8, 8))
    network = trace(task, channel_multiple=rng.choice((1, 1, 4)))
    params = random_params(network, rng) | random_options(network, rng)
    # Zeros in the factors have no single-layer counterpart to compare with.
    for name in network.rank_layers:
        if f"{name}.rank" in params:
            params.pop(f"{name}.sparsity", None)
    candidate = read_candidate(network, params)
    small = prune(
        model, task.inputs, network, candidate.kept, candidate.pruned, task=task,
        pruner=candidate.pruner,
    )  # fmt: skip
    want = thinned_by_hand(small, candidate)
    thin(small, candidate)
    x = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        expected = want(x)
        assert (small(x) - expected).abs().max() < 1e-4 * max(1.0, float(expected.abs().max()))
    # The layers that were priced are those of the model, traced anew.
    found = {t.layer.name: t.layer for t in traced_layers(read_program(small, task.inputs), small)}
    for layer in candidate.layers:
        if layer.is_weighted:
            plain = replace(layer, w_bits=8, a_bits=8, w_scheme="uniform", sparsity=0.0, cuts=())
            assert replace(found[layer.name], inputs=plain.inputs, cuts=()) == plain
            zeros = int((small.get_submodule(layer.module).weight == 0).sum())
            assert zeros == layer.zeros


@pytest.mark.parametrize("seed", range(6))
def test_the_tuners_costs_are_the_trials_for_all_genes(seed: int) -> None:
    rng = random.Random(seed)
    task = build_task(randomize(random_net(rng), seed), (3, 8, 8))
    network, board = trace(task), load_device("stm32f746")
    params = random_params(network, rng) | random_options(network, rng)
    told = json.loads(json.dumps(params))
    result = evaluate(task, told, device=board, network=network, epochs=seed % 2)
    costs = cost_function(network, board)(params)
    assert {name: result.metrics[name] for name in costs} == costs
    plain = strip(result.model)
    for layer in result.layers:
        if layer.is_weighted:
            weight = plain.get_submodule(layer.module).weight
            assert weight.numel() == layer.weights
            assert int((weight == 0).sum()) >= layer.zeros
