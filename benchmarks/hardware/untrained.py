"""Exported C of networks with random weights: its counts and sizes depend on shapes and bits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from evaluators import Task, evaluate, trace
from evaluators.batches import ArrayBatches
from evaluators.export import c_code, packed, storage
from evaluators.export.folding import fold
from evaluators.export.integer import lower
from evaluators.models.autoencoder import Autoencoder
from evaluators.models.digits_net import DigitsNet
from evaluators.models.ds_cnn import DSCNN
from evaluators.models.mobilenet import MobileNetV1
from evaluators.models.resnet import resnet8
from evaluators.training import accuracy
from hardware import Layer, Network

SAMPLES = 24

NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet8": (resnet8, (3, 32, 32)),
    "vww": (MobileNetV1, (3, 96, 96)),
    "kws": (DSCNN, (1, 49, 10)),
    "ad": (Autoencoder, (640,)),
    "digits": (DigitsNet, (1, 8, 8)),
}
"""The MLPerf Tiny four, and the network of the first run: how to make them, and their input."""


@dataclass(frozen=True)
class Made:
    """An exported network.

    Attributes:
        folder: with the C.
        network: as the search sees it.
        params: the chromosome.
        layers: pruned, with their bits.
    """

    folder: Path
    network: Network
    params: dict[str, object]
    layers: tuple[Layer, ...]


def mixed(network: Network) -> dict[str, object]:
    """A quarter of the channels gone, weights of 8, 4 and 2 bits in turn, half the inputs in 4.

    The first and the last layer keep 8 bits, as searches find it.
    """
    names = network.gene_layers
    params: dict[str, object] = {g.name + ".prune": 0.25 for g in network.groups if g.prunable}
    for name, w_bits, a_bits in zip(
        names, itertools.cycle((8, 4, 2)), itertools.cycle((8, 4)), strict=False
    ):
        whole = name in (names[0], names[-1])
        params[f"{name}.w_bits"] = 8 if whole else w_bits
        params[f"{name}.a_bits"] = 8 if whole else a_bits
    return params


def task_of(model: nn.Module, shape: tuple[int, ...]) -> Task:
    """A task of a network with random weights on random numbers."""
    torch.manual_seed(0)
    x = torch.randn(SAMPLES, *shape)
    model = model.eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            # So that no channel of a deep network without training fades out.
            module.train()
    with torch.no_grad():
        for _ in range(20):
            out = model(x)
    model.eval()
    target = torch.zeros(SAMPLES, dtype=torch.long)
    batches = ArrayBatches(x, target, batch_size=SAMPLES)
    return Task(
        model=model, train=batches, val=batches, test=batches, example_input=x[:2],
        loss=lambda outputs, _: outputs.square().mean(),
        metric=accuracy if out.dim() == 2 else (lambda outputs, _: float(outputs.mean())),
        name=type(model).__name__,
    )  # fmt: skip


def export(
    model: nn.Module,
    shape: tuple[int, ...],
    folder: Path,
    genes: Callable[[Network], dict[str, object]] = lambda _: {},
    device: str = "stm32l4r5",
) -> Made:
    """Write the C of a network.

    Args:
        model: with any weights.
        shape: of its input, without batch.
        folder: new or empty.
        genes: chromosome for the network; by default int8, nothing pruned.
        device: says which bits there are.
    """
    torch.manual_seed(0)
    task = task_of(model, shape)
    network = trace(task)
    params = genes(network)
    result = evaluate(task, params, device=device, network=network, epochs=0)
    x = next(iter(task.train))[0]
    folded = storage.as_stored(fold(result.model, result.calibration, x[:2]), x[:2], [x])
    integer = lower(folded, x[:2], [x])
    modules = packed.pack(folded, result.layers, integer)
    c_code.write_c(integer, modules, folder, network.name, example=x[:2].numpy())
    return Made(folder, network, params, result.layers)


def export_named(name: str, folder: Path, kind: str = "int8") -> Made:
    """Write the C of one of `NETWORKS`, `int8` or `mixed`."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    return export(make(), shape, folder, mixed if kind == "mixed" else (lambda _: {}))
