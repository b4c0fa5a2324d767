"""An independent reference for pruning: the whole network with the removed channels zeroed."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from evaluators.compression.pruning import plan_of
from evaluators.compression.unit_scores import choose_units

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
        if isinstance(module, nn.GroupNorm):
            # Its mean is over the channels that are left.
            x, w, b = self.env[sources[0]][:, ~dead], module.weight[~dead], module.bias[~dead]
            value = torch.zeros_like(value)
            value[:, ~dead] = nn.functional.group_norm(x, module.num_groups, w, b, module.eps)
        if any(p.op == "get_attr" for p in sources):
            # A table of the tokens' places is added to what is left.
            return value.masked_fill(dead, 0.0)
        if isinstance(module, nn.LayerNorm):
            x, w, b = self.env[sources[0]][..., ~dead], module.weight[~dead], module.bias[~dead]
            value = torch.zeros_like(value)
            value[..., ~dead] = nn.functional.layer_norm(x, w.shape, w, b, module.eps)
            return value
        if isinstance(module, nn.Linear):
            return value.masked_fill(dead, 0.0)
        if isinstance(module, (*WEIGHTED, *NORMS)):
            return value.masked_fill(dead.reshape(1, -1, *[1] * (value.dim() - 2)), 0.0)
        return value


def removed_channels(model: nn.Module, inputs, network, kept) -> dict[str, torch.Tensor]:
    """Which output channels of each module are chosen to go."""
    plan = plan_of(model, inputs, network)
    chosen = (
        choose_units(copy.deepcopy(model), plan.groups, plan.units(network, kept)) if kept else {}
    )
    modules = dict(model.named_modules())
    out: dict[str, torch.Tensor] = {}
    for group in plan.groups:
        for cut in group.cuts if group.name in chosen else ():
            name, _, last = cut.parameter.rpartition(".")
            if cut.produces and last == "weight" and isinstance(modules[name], WEIGHTED):
                channels = max(
                    layer.out_channels for layer in network.layers if layer.module == name
                )
                mask = out.setdefault(name, torch.zeros(channels, dtype=torch.bool))
                for unit in chosen[group.name]:
                    mask[list(cut.indices[unit])] = True
    return out
