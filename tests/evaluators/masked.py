"""An independent reference for pruning: the whole network with the removed channels zeroed."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def zeroed(model: nn.Module, removed: dict[str, Tensor]) -> nn.Module:
    """A copy whose removed channels are exactly zero after their layer and its batch norm.

    What follows in the networks here maps 0 to 0 or multiplies it with a gate, so a removed
    channel adds nothing anywhere.

    Args:
        model: In eval mode.
        removed: Per layer, a bool tensor (channels,).
    """
    model = copy.deepcopy(model)
    for node in fx.symbolic_trace(model).graph.nodes:
        if node.op != "call_module":
            continue
        module = model.get_submodule(node.target)
        if node.target in removed:
            dead = removed[node.target]
            axis = 1 if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d)) else 0
            with torch.no_grad():
                module.weight.transpose(0, axis)[dead] = 0.0
                if module.bias is not None:
                    module.bias[dead] = 0.0
        source = node.all_input_nodes[0] if node.all_input_nodes else None
        if isinstance(module, NORMS) and source is not None and source.target in removed:
            dead = removed[source.target]
            with torch.no_grad():
                module.weight[dead] = 0.0
                module.bias[dead] = 0.0
    return model
