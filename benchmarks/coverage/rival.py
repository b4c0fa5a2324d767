"""What Torch-Pruning removes from a network: half of each layer, smallest L1 norm first."""

from __future__ import annotations

import copy
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.coverage.masked import flat

LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


def removed(model: nn.Module, inputs: Tensor, ratio: float) -> float:
    """Fraction of the parameters that goes with a fraction of each layer's channels.

    Its defaults, and the layers that the outputs come from left whole, as its examples do.

    Raises:
        Exception: whatever it raises; the network that it leaves must run.
    """
    pruning: Any = import_module("torch_pruning")
    model = copy.deepcopy(model).eval()
    before = sum(p.numel() for p in model.parameters())
    pruner = pruning.pruner.MetaPruner(
        model,
        inputs,
        importance=pruning.importance.MagnitudeImportance(p=1),
        pruning_ratio=ratio,
        ignored_layers=last_layers(model, inputs),
    )
    pruner.step()
    with torch.no_grad():
        model.eval()(inputs)
    return 1.0 - sum(p.numel() for p in model.parameters()) / before


def last_layers(model: nn.Module, inputs: Tensor) -> list[nn.Module]:
    """Layers with weights from which an output is reached without another one in between."""
    owners = {
        id(p): m for m in model.modules() if isinstance(m, LAYERS) for p in m.parameters(False)
    }
    found: dict[int, nn.Module] = {}
    with torch.enable_grad():
        nodes: list[Any] = [flat(model(inputs)).grad_fn]
    seen = set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        parents = [parent for parent, _ in node.next_functions]
        # A weight may come transposed.
        leaves = [_leaf(parent) for parent in parents]
        layer = next((owners[id(x)] for x in leaves if id(x) in owners), None)
        if layer is None:
            nodes += parents
        else:
            found[id(layer)] = layer
    return list(found.values())


def _leaf(node: Any) -> object:
    while node is not None:
        if hasattr(node, "variable"):
            return node.variable
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if len(parents) != 1 or type(node).__name__ not in ("TBackward0", "TransposeBackward0"):
            return None
        node = parents[0]
    return None
