"""Smaller networks of a supernet: which of its weights each of their weights is.

The removal of units is done once on a copy whose tensors hold the numbers of their own entries.
What is left there says, for every tensor of the smaller network, where its entries lie in the
whole one. So a network's weights are gathered from the supernet's, gradients find their way back,
and what can be removed from a model can be trained in its supernet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from evaluators.compression.decisions import Bits
from evaluators.compression.fake_quantize import (
    FLOAT_BITS,
    LEARNED_BITS,
    StraightThrough,
    affine_grid,
    channel_axis,
    weight_scale,
)
from evaluators.compression.rounded_weight import quantized_weights
from evaluators.slicing.module_sizes import refresh_flat_weights
from evaluators.slicing.plan import UnitPlan
from evaluators.slicing.remove_units import last_units, remove_units
from evaluators.slicing.weight_norms import copied

Hook = Callable[[nn.Module, tuple[object, ...]], tuple[object, ...] | None]

LEAST_LEVEL = 1e-6
"""Learned levels stay above it: a scale of zero has no integers."""


def level_key(parameter: str, bits: int) -> str:
    """The name of a weight's learned levels of one bit-width."""
    return f"{parameter}@{bits}"


@dataclass(frozen=True)
class Weight:
    """A weight that is rounded.

    Attributes:
        name: of the parameter, as ``named_parameters`` has it.
        attribute: of the module.
        axis: of its output channels.
    """

    name: str
    attribute: str
    axis: int


def rounded_parameters(model: nn.Module, modules: Sequence[str]) -> dict[str, tuple[Weight, ...]]:
    """The weights of each module that its bits are of."""
    names = {id(p): name for name, p in model.named_parameters()}
    found = {}
    for name in modules:
        module = model.get_submodule(name)
        axis = channel_axis(module)
        found[name] = tuple(
            Weight(names[id(module.get_parameter(part))], part, axis)
            for part in quantized_weights(module)
        )
    return found


class Slice:
    """A smaller network without weights of its own.

    Args:
        model: the whole one, in the supernet's order; left as it is.
        plan: of its units.
        removed: units that go, by group.
        weights: of :func:`rounded_parameters`.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: UnitPlan,
        removed: Mapping[str, int],
        weights: Mapping[str, tuple[Weight, ...]],
    ) -> None:
        self.weights = weights
        self._sizes = {name: tuple(p.shape) for name, p in model.named_parameters()}
        self.bits: Mapping[str, Bits] = {}
        device = next(iter(model.parameters())).device
        # Float64 holds every entry's number, and not every accelerator has it.
        shell = copied(model).cpu()
        lost = {g.name: last_units(g, removed[g.name]) for g in plan.groups if removed.get(g.name)}
        buffers = dict(model.named_buffers())
        for tensor in (*shell.parameters(), *shell.buffers()):
            numbers = torch.arange(tensor.numel(), dtype=torch.float64)
            tensor.data = numbers.reshape(tensor.shape)
        remove_units(shell, plan.groups, lost, plan.attributes)
        self.indices = {
            name: numbers.detach().long().contiguous().to(device)
            for name, numbers in shell.named_parameters()
        }
        for name, numbers in shell.named_buffers():
            whole = buffers[name].detach().cpu().reshape(-1)
            numbers.data = whole[numbers.long().reshape(-1)].reshape(numbers.shape)
        for parameter in shell.parameters():
            # One number stands for all: the weights come with each call.
            parameter.data = torch.zeros(()).expand(parameter.shape)
        for name in weights:
            shell.get_submodule(name).register_forward_pre_hook(self._rounds_input(name))
        self.shell = shell.to(device)

    def channels(self, weight: Weight) -> Tensor:
        """(C,): which output channels of the whole weight are left."""
        index, size = self.indices[weight.name], self._sizes[weight.name]
        first = index.movedim(weight.axis, 0).flatten(1)[:, 0]
        behind = 1
        for length in size[weight.axis + 1 :]:
            behind *= length
        return first // behind % size[weight.axis]

    @property
    def bytes(self) -> int:
        """What its indices take."""
        return sum(8 * index.numel() for index in self.indices.values())

    def gathered(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's weights, part of the whole ones' graph."""
        return {
            name: state[name].reshape(-1).index_select(0, index.reshape(-1)).reshape(index.shape)
            for name, index in self.indices.items()
        }

    def run(
        self,
        state: Mapping[str, Tensor],
        levels: Mapping[str, Tensor],
        bits: Mapping[str, Bits],
        inputs: object,
        channels_last: bool = False,
    ) -> object:
        """What the network answers with rounded weights and inputs of layers.

        Args:
            state: the whole parameters by name.
            levels: the whole weights' learned levels by :func:`level_key`.
            bits: by module.
            inputs: a batch.
            channels_last: how 4-D weights are laid out.
        """
        self.bits = bits
        found = self.gathered(state)
        for name, weights in self.weights.items():
            width = bits[name].weights if name in bits else FLOAT_BITS
            if width < FLOAT_BITS:
                for weight in weights:
                    level = levels.get(level_key(weight.name, width))
                    if level is not None:
                        level = level.index_select(0, self.channels(weight))
                    found[weight.name] = rounded(found[weight.name], width, weight.axis, level)
        if channels_last:
            layout = torch.channels_last
            found = {
                n: x.contiguous(memory_format=layout) if x.dim() == 4 else x
                for n, x in found.items()
            }
        return call_with(self.shell, found, inputs)

    def _rounds_input(self, name: str) -> Hook:
        def round_input(_: nn.Module, inputs: tuple[object, ...]) -> tuple[object, ...] | None:
            width = self.bits[name].inputs if name in self.bits else FLOAT_BITS
            x = inputs[0] if inputs else None
            if width >= FLOAT_BITS or not isinstance(x, Tensor) or not x.is_floating_point():
                return None
            return (rounded_inputs(x, (width,))[0], *inputs[1:])

        return round_input


def rounded_inputs(x: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """A layer's inputs on the grid of each bit-width, over the range of this very batch."""
    seen = x.detach()
    if seen.dim() == 4 and seen.is_contiguous(memory_format=torch.channels_last):
        # As in training: aminmax copies a tensor whose strides aren't in order.
        seen = seen.permute(0, 2, 3, 1)
    low, high = (float(v) for v in seen.aminmax())
    grids = [(*affine_grid(low, high, width), 2**width - 1) for width in widths]
    return [StraightThrough.apply(x, *grid) for grid in grids]  # type: ignore[no-untyped-call]  # torch doesn't type apply


def call_with(model: nn.Module, parameters: Mapping[str, Tensor], inputs: object) -> object:
    """What a model answers with other parameters than its own, which it keeps.

    Args:
        model: the module.
        parameters: by name; buffers and those that are not named are the model's own.
        inputs: a batch: one input, several in a sequence, or a mapping of keywords.
    """
    args = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    named: dict[str, object] = {}
    if isinstance(inputs, Mapping):
        args, named = (), dict(inputs)
    try:
        return functional_call(model, dict(parameters), tuple(args), named, tie_weights=True)
    finally:
        for module in model.modules():
            if isinstance(module, nn.RNNBase):
                refresh_flat_weights(module)


def rounded(weight: Tensor, bits: int, axis: int, level: Tensor | None) -> Tensor:
    """A weight on its grid, as NNI's quantizers in a trial round it.

    Args:
        weight: of a smaller network.
        bits: of the integers.
        axis: of its output channels.
        level: (C,), the largest levels, where they are learned (Esser et al., arXiv:1902.08153);
            None: by the largest magnitude.
    """
    limit = 2 ** (bits - 1) - 1
    if weight.device.type == "mps":
        return rounded_by_parts(weight, bits, axis, level)
    if level is None:
        zeros = torch.zeros(weight.shape[axis], dtype=torch.int32, device=weight.device)
        scale = weight_scale(weight, bits, axis)
        return torch.fake_quantize_per_channel_affine(weight, scale, zeros, axis, -limit, limit)
    scale = level.clamp(min=LEAST_LEVEL) / limit
    none = torch.zeros_like(scale)
    factor = (weight.numel() / len(scale) * limit) ** -0.5
    return torch._fake_quantize_learnable_per_channel_affine(
        weight, scale, none, axis, -limit, limit, factor
    )


def rounded_by_parts(weight: Tensor, bits: int, axis: int, level: Tensor | None) -> Tensor:
    """What :func:`rounded` gives, by operations that every accelerator has."""
    limit = 2 ** (bits - 1) - 1
    if level is None:
        scale = weight_scale(weight, bits, axis)
    else:
        scale = level.clamp(min=LEAST_LEVEL) / limit
        factor = (weight.numel() / len(scale) * limit) ** -0.5
        # The value of the scale, with a part of its gradient.
        scale = scale * factor + (scale * (1.0 - factor)).detach()
    scale = scale.reshape([-1 if d == axis else 1 for d in range(weight.dim())])
    steps = weight / scale
    inside = steps.detach().round().abs() <= limit
    steps = torch.where(inside, steps, steps.detach().clamp(-limit, limit))
    return (steps + (steps.round() - steps).detach()) * scale


def first_levels(weight: Tensor, axis: int, widths: Sequence[int]) -> dict[int, Tensor]:
    """The levels that training starts from, of the bit-widths that have learned ones."""
    return {
        bits: weight_scale(weight, bits, axis) * (2 ** (bits - 1) - 1)
        for bits in sorted(set(widths))
        if bits <= LEARNED_BITS
    }


class SlicePool:
    """Slices by what they remove; the one used longest ago goes when they take too much memory.

    Args:
        model: the whole one, in order.
        plan: of its units.
        weights: of :func:`rounded_parameters`.
        limit_bytes: of all indices together.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: UnitPlan,
        weights: Mapping[str, tuple[Weight, ...]],
        limit_bytes: int,
    ) -> None:
        self.model, self.plan, self.weights = model, plan, weights
        self.limit_bytes = limit_bytes
        self._slices: OrderedDict[tuple[tuple[str, int], ...], Slice] = OrderedDict()

    def get(self, removed: Mapping[str, int]) -> Slice:
        """The slice without so many units of each group."""
        key = tuple(sorted((name, count) for name, count in removed.items() if count))
        found = self._slices.pop(key, None) or Slice(self.model, self.plan, removed, self.weights)
        self._slices[key] = found
        total = sum(one.bytes for one in self._slices.values())
        while total > self.limit_bytes and len(self._slices) > 1:
            _, oldest = self._slices.popitem(last=False)
            total -= oldest.bytes
        return found
