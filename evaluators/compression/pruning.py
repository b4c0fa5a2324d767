"""Removes channels: NNI's pruner chooses them, NNI's ModelSpeedup takes them out."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn

from evaluators import nni_imports
from evaluators.task import Task
from evaluators.tracing.channel_dependency import TRANSPOSED
from evaluators.training import call
from hardware import Layer, Network

SCORING_STEPS = 10
"""Training batches that the criteria with data see. The model's weights stand still meanwhile:
``taylor`` sums its scores, ``slim`` and ``movement`` train one score of their own per channel."""

_NORMS = {"l1": "L1NormPruner", "l2": "L2NormPruner", "fpgm": "FPGMPruner"}


class PruneError(RuntimeError):
    """The pruned model isn't what was asked for."""


def prune(
    model: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    network: Network,
    kept: Mapping[str, int],
    layers: tuple[Layer, ...],
    *,
    task: Task | None = None,
    pruner: str | None = None,
) -> nn.Module:
    """Returns a copy of ``model`` without the channels that aren't kept.

    Args:
        model: left as it is.
        inputs: example inputs, for NNI's shape inference.
        network: the model's network.
        kept: channels to keep, for each group that loses some.
        layers: ``network.apply(params)``: the shapes to arrive at, which are checked.
        task: names the criterion, and has the data that some need; ``l1`` without it.
        pruner: the criterion, if it isn't the task's.

    Raises:
        PruneError: a layer's shape isn't the one asked for.
    """
    model = copy.deepcopy(model)
    if kept:
        model = speed_up(model, inputs, _masks(model, network, kept, task, pruner))
    check_shapes(model, layers)
    return model


def _masks(
    model: nn.Module,
    network: Network,
    kept: Mapping[str, int],
    task: Task | None = None,
    criterion: str | None = None,
) -> dict[str, dict[str, torch.Tensor]]:
    pruning = nni_imports.nni_pruning()
    config = pruning_config(model, network, kept)
    criterion = criterion or ("l1" if task is None else task.recipe.pruner)
    steps: tuple[int | None, ...] = ()
    if criterion in _NORMS:
        pruner = getattr(pruning, _NORMS[criterion])(model, config)
    elif task is None:
        raise ValueError(f"pruner={criterion!r} needs a task: it scores channels on its data")
    else:
        evaluator = _frozen_evaluator(model, task)
        if criterion == "taylor":
            pruner = pruning.TaylorPruner(model, config, evaluator, SCORING_STEPS)
        elif criterion == "slim":
            pruner = pruning.SlimPruner(model, config, evaluator, SCORING_STEPS)
        else:
            # From its first step on, its masks reach the ratio with the last one.
            pruner = pruning.MovementPruner(model, config, evaluator, 0, SCORING_STEPS)
            steps = (SCORING_STEPS, None)
    try:
        _, masks = pruner.compress(*steps)
    finally:
        pruner.unwrap_model()
    return {
        layer: {target: mask for target, mask in targets.items() if mask is not None}
        for layer, targets in masks.items()
    }


def _frozen_evaluator(model: nn.Module, task: Task) -> object:
    """An NNI evaluator that makes gradients but moves no weight: NNI's pruner takes real steps."""

    def train(
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        training_step: Callable[[object, nn.Module], torch.Tensor],
        lr_schedulers: object = None,
        max_steps: int | None = None,
        max_epochs: int | None = None,
    ) -> None:
        # Eval mode, so that no batch norm moves either.
        model.eval()
        for batch in itertools.islice(itertools.cycle(task.train), max_steps):
            optimizer.zero_grad()
            torch.autograd.backward(training_step(batch, model))
            optimizer.step()

    still = nni_imports.import_nni().trace(torch.optim.SGD)(model.parameters(), lr=0.0)
    return nni_imports.nni_utils().TorchEvaluator(
        train, still, lambda batch, model: task.loss(call(model, batch[0]), batch[1])
    )


def pruning_config(
    model: nn.Module, network: Network, kept: Mapping[str, int]
) -> list[dict[str, object]]:
    """NNI's config list that leaves exactly ``kept`` channels in each group."""
    config: list[dict[str, object]] = []
    for name, count in kept.items():
        group = network.group(name)
        lead = model.get_submodule(name)
        # The model may have lost some of the group's channels in a step before.
        channels = output_channels(lead)
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
            entry: dict[str, object] = {
                "op_names": [layer],
                # NNI removes int(C * ratio) channels; the offset keeps that above the float error.
                "sparse_ratio": (channels - count + 1e-3) / channels,
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


def speed_up(
    model: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    masks: dict[str, dict[str, torch.Tensor]],
) -> nn.Module:
    """Returns the model without the channels that NNI's masks mark with zeros; it is changed."""
    training = model.training
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    speedup = nni_imports.nni_speedup()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # NNI takes deviations over a batch of one.
        warnings.filterwarnings("ignore", message="std\\(\\): degrees of freedom")
        small: nn.Module = speedup(
            model,
            inputs if len(inputs) > 1 else inputs[0],
            masks,
            graph_module=fx.symbolic_trace(model),
            logger=nni_imports.QUIET,
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
        PruneError: one differs; the message names the layer and both shapes.
    """
    for layer in layers:
        if not layer.is_weighted:
            continue
        got = _dimensions(model.get_submodule(layer.module))
        asked = (layer.in_channels, layer.out_channels, layer.groups)
        if got != asked:
            raise PruneError(
                f"layer '{layer.name}': asked for (in, out, groups) = {asked}, got {got}; this is "
                "a fault of the channel analysis, please report the model"
            )


def check_model(model: nn.Module, network: Network) -> None:
    """Compares a model with a network that was read from a file.

    Raises:
        ValueError: the file describes another model; the message names the first layer that
            differs.
    """
    modules = dict(model.named_modules())
    for layer in network.layers:
        if not layer.is_weighted:
            continue
        module = modules.get(layer.module)
        found = None if module is None else _dimensions(module)
        described = (layer.in_channels, layer.out_channels, layer.groups)
        if found != described:
            raise ValueError(
                f"the network {network.name!r} describes another model: layer '{layer.name}' has "
                f"(in, out, groups) = {described} there, "
                f"{'and does not exist' if found is None else found} in {type(model).__name__}; "
                "write the network's file again with `joint-ga space`"
            )


def output_channels(module: Any) -> int:
    """Channels that a module with weights puts out now."""
    return int(module.out_features if isinstance(module, nn.Linear) else module.out_channels)


def _dimensions(module: Any) -> tuple[int, int, int] | None:
    """Input channels, output channels and groups; None of what has no weights."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features, 1
    if not hasattr(module, "out_channels"):
        return None
    return module.in_channels, module.out_channels, module.groups
