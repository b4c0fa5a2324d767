"""Channels that say nothing: found by their weights, and taken out before the search.

A channel is dead if the weights of all layers that make it are zero. Its value is then the same
for every input: what bias and batch norm make of nothing. Where it goes next, that constant is
added to the biases, so the outputs stay as they are but for rounding. MLPerf Tiny's trained
wake-word network loses half of its MACs by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from evaluators.compression.pruning import plan_of
from evaluators.process_state import eval_mode
from evaluators.pytree import call, tensors
from evaluators.slicing.plain_modules import make_plain
from evaluators.slicing.remove_units import remove_units
from evaluators.slicing.weight_norms import copied
from evaluators.task import Task
from evaluators.tracing.trace import trace
from hardware import ChannelGroup, Network
from hardware.ir.gene_kinds import PRUNE

_PLAIN = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Layers whose rows of weights are their channels."""

ZERO = 1e-6
"""Weights up to this share of the layer's largest are zero, as they are in 8 and in 16 bits."""
_MIXING = frozenset(("concat", "layernorm", "softmax"))
"""Operators that put channels elsewhere, or whose outputs hang on how many there are."""
CHANGE = 1e-3
"""Outputs may change by this share of the largest one: float32 rounding, through many layers."""


@dataclass(frozen=True)
class DeadChannels:
    """Dead channels of a network.

    Attributes:
        channels: indices by channel group, groups without any left out.
        macs: Multiply-accumulates of one inference now.
        macs_left: the same without the dead channels.
    """

    channels: Mapping[str, tuple[int, ...]]
    macs: int
    macs_left: int

    @property
    def count(self) -> int:
        """How many there are in all."""
        return sum(map(len, self.channels.values()))

    @property
    def summary(self) -> str:
        """What there is to gain, in a line."""
        return (
            f"{self.count} channels have all-zero weights, without them {self.macs_left:,} of "
            f"{self.macs:,} MACs are left"
        )


def find(task: Task, network: Network | None = None) -> DeadChannels:
    """Names the channels of a task's model whose weights are zero, and that can be taken out.

    Left alone are groups that cannot be pruned, whose channels come in blocks or reach a
    concatenation, and channels that are not 0 where a padded convolution reads them: what they
    add is another constant at the borders. One channel stays where all of a group's are dead.

    Args:
        task: its model isn't changed.
        network: the model's network; traced if not given.
    """
    network = network or trace(task)
    model = make_plain(copied(task.model))
    heard = _heard(task, model, network)
    found = {}
    for group in network.groups:
        dead = _zero_channels(model, network, group)
        if dead and _constants(model, network, group, dead, heard) is not None:
            found[group.name] = tuple(dead[: group.channels - 1])
    ratios = {PRUNE.key(g): len(c) / network.group(g).channels for g, c in found.items()}
    left = network.apply(ratios)
    return DeadChannels(found, sum(x.macs for x in network.layers), sum(x.macs for x in left))


def without_dead_channels(task: Task) -> Task:
    """Returns the task with a model that lost its dead channels; the same task if there are none.

    Raises:
        ValueError: the thinner model answers differently; the message says by how much.
    """
    network = trace(task)
    dead = find(task, network).channels
    if not dead:
        return task
    thin = make_plain(copied(task.model))
    heard = _heard(task, thin, network)
    for name, channels in dead.items():
        group = network.group(name)
        constants = _constants(thin, network, group, list(channels), heard) or {}
        for layer, constant in constants.items():
            _add_to_bias(thin.get_submodule(layer), constant)
    plan = plan_of(task.model, task.inputs, network)
    remove_units(thin, plan.groups, dead, plan.attributes)
    change = _change(task, thin)
    if not change <= CHANGE:
        raise ValueError(
            f"removing {sum(map(len, dead.values()))} dead channels changes the outputs by "
            f"{100 * change:.2g} % of the largest: they are not as dead as their weights say; "
            "leave remove_dead out"
        )
    return replace(task, model=thin)


def _change(task: Task, other: nn.Module) -> float:
    """Largest difference of another model's outputs, as a share of the largest output."""
    with eval_mode(task.model), eval_mode(other), torch.no_grad():
        pairs = zip(
            tensors(call(task.model, task.example_input)),
            tensors(call(other, task.example_input)),
            strict=True,
        )
        return max(
            float((two - one).abs().max() / one.abs().max().clamp(min=1e-12))
            for one, two in pairs
            if one.is_floating_point()
        )


def _zero_channels(model: nn.Module, network: Network, group: ChannelGroup) -> list[int]:
    """Channels for which every layer that makes them (not: passes them on) has zero weights."""
    if not group.prunable or group.step > 1:
        return []
    makers = [name for name in group.layers if network.layer(name).op != "depthwise"]
    alive = torch.zeros(group.channels, dtype=torch.bool)
    for name in makers:
        module = model.get_submodule(name)
        if not isinstance(module, _PLAIN) or len(module.weight) != group.channels:
            return []
        weight = module.weight.detach().abs().flatten(1).cpu()
        alive |= weight.amax(1) > ZERO * float(weight.max())
    return [] if not makers else torch.nonzero(~alive).flatten().tolist()


def _heard(task: Task, model: nn.Module, network: Network) -> dict[str, Tensor]:
    """What every weighted layer gets as input on the task's example."""
    heard: dict[str, Tensor] = {}
    handles = []
    for name in network.gene_layers:

        def listen(_: nn.Module, arguments: tuple[Tensor, ...], name: str = name) -> None:
            if arguments:
                heard[name] = arguments[0].detach()

        handles.append(model.get_submodule(name).register_forward_pre_hook(listen))
    with eval_mode(model), torch.no_grad():
        call(model, task.example_input)
    for handle in handles:
        handle.remove()
    return heard


def _constants(
    model: nn.Module,
    network: Network,
    group: ChannelGroup,
    dead: list[int],
    heard: Mapping[str, Tensor],
) -> dict[str, Tensor] | None:
    """What dead channels add to the sums of each layer behind them; None if that is no constant."""
    found = {}
    for name in _reached(network, group):
        calls = sum(layer.module == name for layer in network.layers)
        module = model.get_submodule(name) if name in heard else None
        if not isinstance(module, _PLAIN) or calls > 1:
            return None
        x = heard[name]
        weight = module.get_parameter("weight").detach()
        # A flattened tensor has several features of each channel, side by side.
        x = x.flatten(0, -2) if isinstance(module, nn.Linear) else x.flatten(2)
        if x.shape[1] % group.channels:
            return None
        values = x.reshape(len(x), group.channels, -1)[:, dead]
        value = values.mean((0, 2), keepdim=True)
        if float((values - value).abs().max()) > ZERO * float(x.abs().max()):
            return None
        padded = any(network.layer(name).padding)
        if padded and float(value.abs().max()) > ZERO * float(x.abs().max()):
            return None
        rows = weight.reshape(len(weight), group.channels, -1)[:, dead].sum(2)
        found[name] = rows @ value.flatten()
    return found


def _reached(network: Network, group: ChannelGroup) -> list[str]:
    """Weighted layers behind a group's channels; an empty name stands for what mixes them."""
    fed = dict.fromkeys(network.input_shapes, False)
    reached = []
    for layer in network.layers:
        hears = any(fed[source] for source in layer.inputs)
        if layer.is_weighted:
            fed[layer.name] = layer.name in group.layers
            if hears and not fed[layer.name]:
                reached.append(layer.module or layer.name)
        else:
            fed[layer.name] = hears
            if hears and layer.op in _MIXING:
                reached.append("")
    return reached


def _add_to_bias(module: nn.Module, constant: Tensor) -> None:
    if not bool(constant.any()):
        return
    bias = module.bias
    added = constant + bias.detach() if isinstance(bias, Tensor) else constant
    module.bias = nn.Parameter(added, requires_grad=module.get_parameter("weight").requires_grad)
