"""An independent reference for pruning: the whole network with the removed channels zeroed."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from evaluators.compression.pruning import _masks

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class Masked(fx.Interpreter):
    """Runs the whole network and zeroes removed channels after each layer and batch norm.

    What lies between maps 0 to 0 or multiplies it with a gate in the networks here, so a
    removed channel adds nothing anywhere.

    Args:
        model: In eval mode.
        removed: Per layer, a bool tensor (channels,).
    """

    def __init__(self, model: nn.Module, removed: dict[str, Tensor]) -> None:
        super().__init__(fx.symbolic_trace(model))
        self.removed = removed
        self.dead: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        module = self.submodules.get(str(n.target)) if n.op == "call_module" else None
        sources = n.all_input_nodes
        if isinstance(module, WEIGHTED):
            dead = self.removed.get(str(n.target))
        elif n.target is torch.cat:
            parts = [
                self.dead.get(p, torch.zeros(self.env[p].shape[1], dtype=torch.bool))
                for p in n.args[0]
            ]
            dead = torch.cat(parts)
        else:
            dead = next((self.dead[p] for p in sources if p in self.dead), None)
        if dead is None or not isinstance(value, Tensor):
            return value
        self.dead[n] = dead
        if isinstance(module, nn.Linear):
            return value.masked_fill(dead, 0.0)
        if isinstance(module, (*WEIGHTED, *NORMS)):
            return value.masked_fill(dead.reshape(1, -1, *[1] * (value.dim() - 2)), 0.0)
        return value


def removed_channels(model: nn.Module, network, kept) -> dict[str, torch.Tensor]:
    """Which output channels of each module the masks set to zero."""
    masks = _masks(copy.deepcopy(model), network, kept) if kept else {}
    out = {}
    for name, targets in masks.items():
        module = model.get_submodule(name)
        axis = 1 if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d)) else 0
        weight = targets["weight"].transpose(0, axis)
        out[name] = weight.reshape(weight.shape[0], -1).sum(1) == 0
    return out
