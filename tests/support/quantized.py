"""Small quantized networks, made without training, in the form `evaluate` returns."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from evaluators.compression.quantization import (
    InputQuantization,
    LayerQuantization,
    WeightQuantization,
    quantize_input,
)


def cbr(i: int, o: int, k: int = 3, s: int = 1, g: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o), nn.ReLU()
    )


class Residual(nn.Module):
    """Sum of a branch and of what it branched from; global average pool."""

    shape = (3, 9, 7)

    def __init__(self) -> None:
        super().__init__()
        self.stem = cbr(3, 8)
        self.conv1, self.norm1 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(8)
        self.down = nn.Conv2d(8, 12, 1, 2, bias=False)
        self.fc = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = functional.relu(self.norm1(self.conv1(x)))
        x = functional.relu(x + self.norm2(self.conv2(y)))
        return self.fc(self.down(x).mean((2, 3)))


class Depthwise(nn.Module):
    """Asymmetric padding, depthwise and pointwise layers, ReLU6, average pool."""

    shape = (1, 11, 6)

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((0, 1, 1, 2))
        self.stem = nn.Conv2d(1, 6, (5, 3), (2, 1), bias=True)
        self.dw = nn.Sequential(
            nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), nn.BatchNorm2d(6), nn.ReLU6()
        )
        self.pw = cbr(6, 10, 1)
        self.pool = nn.AvgPool2d((5, 2))
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(20, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pw(self.dw(torch.relu(self.stem(self.pad(x)))))
        return self.fc(torch.flatten(self.drop(self.pool(x)), 1))


class Branches(nn.Module):
    """Concatenation, max pool, grouped and dilated convolutions, a flattened image."""

    shape = (4, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.a = cbr(4, 6)
        self.b = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.mix = cbr(10, 8, 3, g=2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.last = nn.Linear(8 * 4 * 4, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.cat([self.a(x), functional.hardtanh(self.b(x))], 1)
        return functional.log_softmax(self.last(self.pool(self.mix(y)).view(x.size(0), -1)), dim=1)


class Sequence(nn.Module):
    """One spatial dimension."""

    shape = (3, 20)

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.n1 = nn.Conv1d(3, 8, 5, 2, 2, bias=False), nn.BatchNorm1d(8)
        self.c2 = nn.Conv1d(8, 8, 3, padding="same", groups=8)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool1d(torch.relu(self.n1(self.c1(x))), 2)
        return self.fc(functional.adaptive_avg_pool1d(self.c2(x), 1).squeeze(2))


class Dense(nn.Module):
    """Autoencoder: no classes, many outputs."""

    shape = (16,)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.n, self.b = nn.Linear(16, 8, bias=False), nn.BatchNorm1d(8), nn.Linear(8, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(functional.relu(self.n(self.a(x))))


NETWORKS = {k.__name__: k for k in (Residual, Depthwise, Branches, Sequence, Dense)}
WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.ConvTranspose2d, nn.RNNBase)


@dataclass
class Quantized:
    float_model: nn.Module
    model: nn.Module
    calibration: dict[str, LayerQuantization]
    x: torch.Tensor


def round_all(
    model: nn.Module, x: torch.Tensor, bits: Callable[[int], tuple[int, int]]
) -> Quantized:
    """Weights on their grid, inputs behind `QuantizedInput`; `bits(i)`: (weight, input) widths."""
    model.eval()
    names = [n for n, m in model.named_modules() if isinstance(m, WEIGHTED)]
    ranges: dict[str, tuple[float, float]] = {}
    hooks = [
        model.get_submodule(n).register_forward_pre_hook(
            lambda _, args, n=n: ranges.__setitem__(
                n, (min(float(args[0].min()), 0.0), float(args[0].max()))
            )
        )
        for n in names
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    original, calibration = copy.deepcopy(model), {}
    for i, name in enumerate(names):
        w_bits, a_bits = bits(i)
        module = model.get_submodule(name)
        dim = 1 if isinstance(module, nn.ConvTranspose2d) else 0
        parts = [n for n, _ in module.named_parameters() if n.startswith("weight")]
        grids = tuple((n, _round_rows(module.get_parameter(n), w_bits, dim)) for n in parts)
        low, high = ranges[name]
        step = (high - low) / (2**a_bits - 1)
        zero = round(-low / step)
        given = InputQuantization(step, zero, a_bits)
        calibration[name] = (
            LayerQuantization(None, given, grids)
            if isinstance(module, nn.RNNBase)
            else LayerQuantization(grids[0][1], given)
        )
        quantize_input(model, name, given)
    return Quantized(original, model.eval(), calibration, x)


def _round_rows(parameter: nn.Parameter, bits: int, dim: int) -> WeightQuantization:
    others = [d for d in range(parameter.dim()) if d != dim]
    scale = parameter.detach().abs().amax(others) / (2 ** (bits - 1) - 1)
    shape = [-1 if d == dim else 1 for d in range(parameter.dim())]
    parameter.data = (parameter / scale.reshape(shape)).round() * scale.reshape(shape)
    return WeightQuantization(scale.detach(), bits)


def make(kind: str, bits: Callable[[int], tuple[int, int]] = lambda i: (8, 8)) -> Quantized:
    torch.manual_seed(7)
    model = NETWORKS[kind]()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            # Some gains negative, one zero.
            nn.init.uniform_(module.weight, -1.0, 2.0)
            module.weight.data[0] = 0.0
            nn.init.normal_(module.bias, 0.3, 0.3)
            nn.init.normal_(module.running_mean, 0.0, 0.3)
            nn.init.uniform_(module.running_var, 0.3, 2.0)
    return round_all(model, torch.randn(64, *model.shape), bits)


def layers_of(
    model: nn.Module, x: torch.Tensor, calibration: dict[str, LayerQuantization]
) -> tuple[Any, ...]:
    """`hardware` layers of a float model, bits set as its calibration says."""
    from evaluators.tracing.layers_of_program import traced_layers
    from evaluators.tracing.program import read_program
    from hardware import Network

    # Not `trace`: it refuses networks in which nothing can be pruned.
    network = Network(
        tuple(t.layer for t in traced_layers(read_program(model, (x[:2],)), model)), ()
    )
    params: dict[str, int] = {}
    for name, entry in calibration.items():
        held = entry.weight or entry.matrices[0][1]
        params[f"{name}.w_bits"] = held.bits
        params[f"{name}.a_bits"] = entry.input.bits
    return network.apply(params)


HOST_MAIN = """
#include <stdio.h>
#include "model.h"
int main(void) {
  static model_input_t x[MODEL_INPUT_SIZE];
  static model_output_t y[MODEL_OUTPUT_SIZE];
  while (fread(x, sizeof x, 1, stdin) == 1) {
    infer(x, y);
    fwrite(y, sizeof y, 1, stdout);
  }
  return 0;
}
"""


def compress(kind: str, seed: int = 0) -> tuple[Any, ...]:
    """A trial of an untrained network with every scheme, sparsity and width in turn, and factors.

    Returns:
        Task, result, folded and integer network, packed modules.
    """
    from evaluators import Task, evaluate
    from evaluators.batches import ArrayBatches
    from evaluators.export import fold, lower
    from evaluators.export.packed import pack
    from evaluators.tracing.layers_of_program import traced_layers
    from evaluators.tracing.program import read_program
    from evaluators.training import accuracy
    from hardware import Network

    torch.manual_seed(seed)
    model = NETWORKS[kind]()
    x = torch.randn(64, *model.shape)
    target = torch.randint(0, 3, (64,))
    batches = ArrayBatches(x, target, batch_size=32)
    task = Task(
        model=model.eval(), train=batches, val=batches, test=batches, example_input=x[:2],
        loss=nn.functional.cross_entropy, metric=accuracy, name=kind,
    )  # fmt: skip
    # Not `trace`: it refuses networks in which nothing can be pruned.
    network = Network(tuple(t.layer for t in traced_layers(read_program(model, (x[:2],)), model)))
    params: dict[str, object] = {f"{n}.rank": 0.6 for n in network.rank_layers[1:]}
    for i, name in enumerate(network.gene_layers):
        params[f"{name}.w_scheme"] = ("power_of_two", "uniform")[i % 2]
        params[f"{name}.sparsity"] = (0.85, 0.6, 0.0)[i % 3]
        params[f"{name}.w_bits"] = (4, 8, 8, 4, 2)[(i + seed) % 5]
    result = evaluate(task, params, device="stm32f746", network=network, epochs=1)
    folded = fold(result.model, result.calibration, x[:2])
    integer = lower(folded, x[:2], [x])
    return task, result, folded, integer, pack(folded, result.layers, integer)
