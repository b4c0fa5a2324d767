"""What a network holds and computes, counted without the project's own reading of it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.coverage.masked import READERS, flat, plain_weights
from hardware import Layer
from hardware.costs import unique


def priced_numbers(layers: tuple[Layer, ...], model: nn.Module) -> int:
    """Numbers that the layers hold; those of shared weights once, and no bias of a batch norm's."""
    modules, total = dict(model.named_modules(remove_duplicate=False)), 0
    for layer in unique(layers):
        module = modules.get(layer.module)
        if isinstance(module, READERS) and not any("bias" in n for n, _ in _own(module)):
            layer = replace(layer, bias=False)
        own = layer.out_channels if layer.is_weighted and layer.bias else 0
        # Before layers had `biases` and `params`, nothing else was counted.
        total += layer.weights + getattr(layer, "biases", own) + getattr(layer, "params", 0)
    return total


def _own(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return list(module.named_parameters(recurse=False))


def needed_numbers(model: nn.Module, inputs: Tensor) -> int:
    """Numbers that reach an output, batch norms aside: they are folded where they can be."""
    model = plain_weights(copy.deepcopy(model))
    norms = {
        id(p)
        for m in model.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm)
        for p in m.parameters(False)
    }
    parameters = [p for p in model.parameters() if id(p) not in norms]
    outputs = flat(model(inputs[:1]))
    found = torch.autograd.grad(outputs.sum(), parameters, allow_unused=True)
    return sum(p.numel() for p, g in zip(parameters, found, strict=True) if g is not None)


@contextlib.contextmanager
def _plain_kernels() -> Iterator[None]:
    """Attention and recurrent layers as matrix products, which torch's counter sees."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def counted_macs(model: nn.Module, inputs: Tensor) -> int:
    """Multiply-accumulates of one input by torch's counter; of what reaches an output."""
    # The counter hooks modules' inputs, and fails at a parameter among them that wants gradients.
    unused = _unused(model, inputs)
    model = copy.deepcopy(model).requires_grad_(False)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), _plain_kernels(), counter:
        model(inputs)
    by_module = counter.get_flop_counts()
    root = type(model).__name__
    idle = sum(sum(by_module.get(f"{root}.{name}", {}).values()) for name in unused)
    return (counter.get_total_flops() - idle) // 2


def _unused(model: nn.Module, inputs: Tensor) -> list[str]:
    """Layers that hold weights of which none reaches an output: what they compute is dropped."""
    model = plain_weights(copy.deepcopy(model))
    outputs = flat(model(inputs))
    leaves = [(n, m) for n, m in model.named_modules() if next(m.children(), None) is None]
    owners = [(name, _own(module)) for name, module in leaves if _own(module)]
    parameters = [p for _, own in owners for _, p in own]
    found = torch.autograd.grad(outputs.sum(), parameters, allow_unused=True)
    reached = {id(p) for p, g in zip(parameters, found, strict=True) if g is not None}
    return [name for name, own in owners if not any(id(p) in reached for _, p in own)]
