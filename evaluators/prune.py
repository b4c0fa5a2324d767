"""Removes channels: NNI's pruner chooses them, NNI's ModelSpeedup takes them out."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from evaluators import lean
from evaluators.channels import TRANSPOSED
from hardware import Layer, Network

PRUNERS = ("l1", "l2", "fpgm")
"""Criteria that need no data."""


class PruneError(RuntimeError):
    """The pruned model isn't what was asked for."""


def prune(
    model: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    network: Network,
    kept: Mapping[str, int],
    layers: tuple[Layer, ...],
    *,
    criterion: str = "l1",
) -> nn.Module:
    """Returns a copy of ``model`` without the channels that aren't kept.

    Args:
        model: Left as it is.
        inputs: Example inputs, for NNI's shape inference.
        network: The model's network.
        kept: Channels to keep, for each group that loses some.
        layers: ``network.apply(params)``: the shapes to arrive at, which are checked.
        criterion: ``l1``, ``l2`` (smallest norm goes) or ``fpgm`` (closest to the median goes).

    Raises:
        PruneError: A layer's shape isn't the one asked for.
        ValueError: Unknown criterion.
    """
    model = copy.deepcopy(model)
    if kept:
        model = _speed_up(model, inputs, _masks(model, network, kept, criterion))
    check_shapes(model, layers)
    return model


def _masks(
    model: nn.Module, network: Network, kept: Mapping[str, int], criterion: str
) -> dict[str, dict[str, torch.Tensor]]:
    pruning = lean.nni_pruning()
    classes = {
        "l1": pruning.L1NormPruner,
        "l2": pruning.L2NormPruner,
        "fpgm": pruning.FPGMPruner,
    }
    if criterion not in classes:
        raise ValueError(f"criterion={criterion!r} is unknown (use one of {', '.join(classes)})")
    config = pruning_config(model, network, kept)
    pruner = classes[criterion](model, config)
    try:
        _, masks = pruner.compress()
    finally:
        pruner.unwrap_model()
    return {
        layer: {target: mask for target, mask in targets.items() if mask is not None}
        for layer, targets in masks.items()
    }


def pruning_config(
    model: nn.Module, network: Network, kept: Mapping[str, int]
) -> list[dict[str, Any]]:
    """NNI's config list that leaves exactly ``kept`` channels in each group."""
    config: list[dict[str, Any]] = []
    for name, count in kept.items():
        group = network.group(name)
        lead = model.get_submodule(name)
        for layer in group.layers:
            module = model.get_submodule(layer)
            if type(module) is not type(lead):
                # Scores of a convolution and a linear layer can't be added up by NNI, so the
                # second kind follows the mask of the first.
                target = {"module_name": name, "target_name": "weight", "dims": [0]}
                align = {"granularity": "out_channel", "align": target}
                settings = {"weight": align, "bias": {"align": target}}
                config.append({"op_names": [layer], "target_settings": settings})
                continue
            entry: dict[str, Any] = {
                "op_names": [layer],
                # NNI removes int(C * ratio) channels; the offset keeps that above the float error.
                "sparse_ratio": (group.channels - count + 1e-3) / group.channels,
                "dependency_group_id": name,
                "internal_metric_block": group.step,
            }
            if isinstance(module, TRANSPOSED):
                # Output channels are the second dimension of a transposed convolution's weight.
                entry["granularity"] = "in_channel"
                own = {"module_name": None, "target_name": "weight", "dims": [1]}
                entry["target_settings"] = {"bias": {"align": own}}
            config.append(entry)
    return config


def _speed_up(
    model: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    masks: dict[str, dict[str, torch.Tensor]],
) -> nn.Module:
    training = model.training
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    speedup = lean.nni_speedup()
    with torch.random.fork_rng(devices=[]):
        small: nn.Module = speedup(
            model,
            inputs if len(inputs) > 1 else inputs[0],
            masks,
            graph_module=fx.symbolic_trace(model),
            logger=lean.QUIET,
        ).speedup_model()
    # NNI leaves the modules that it replaced in train mode, and every parameter trainable.
    small.train(training)
    parameters = dict(small.named_parameters())
    for name in frozen:
        parameters[name].requires_grad_(False)
    return small


def check_shapes(model: nn.Module, layers: tuple[Layer, ...]) -> None:
    """Compares every weight's shape with what ``Network.apply`` predicts.

    Raises:
        PruneError: One differs; the message names the layer and both shapes.
    """
    for layer in layers:
        if not layer.is_weighted:
            continue
        module: Any = model.get_submodule(layer.module)
        if isinstance(module, nn.Linear):
            got = (module.in_features, module.out_features, 1)
        else:
            got = (module.in_channels, module.out_channels, module.groups)
        asked = (layer.in_channels, layer.out_channels, layer.groups)
        if got != asked:
            raise PruneError(
                f"layer '{layer.name}': asked for (in, out, groups) = {asked}, got {got}; this is "
                "a fault of the channel analysis, please report the model"
            )
