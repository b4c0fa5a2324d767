"""A supernet's whole network with a weight for each choice of width and bits.

A gene's choice is a vector with one entry for each of its values. Where it is one-hot, the network
is that of the search space: units that go are multiplied by 0 where they are read, and weights and
inputs are rounded to the chosen bits. Between, all of it is the weighted sum, so that gradients say
what each value would change. Differentiable searches work like this (Liu et al., arXiv:1806.09055;
for widths and bits at once Risso et al., arXiv:2206.10263).

Two things differ from the network that a trial cuts out: the range of a layer's inputs is that of
all channels, and norms across channels see those that go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evaluators.compression.decisions import read_candidate
from evaluators.compression.fake_quantize import FLOAT_BITS
from evaluators.compression.pruning import plan_of
from evaluators.compression.submodules import BATCH_NORMS
from evaluators.compression.unit_scores import UnitTensor
from evaluators.slicing.channel_units import UnitGroup
from evaluators.slicing.plan import UnitPlan
from evaluators.slicing.remove_units import Places, last_units
from evaluators.supernet.slices import (
    Hook,
    call_with,
    level_key,
    rounded,
    rounded_inputs,
    rounded_parameters,
)
from evaluators.supernet.weights import Supernet, module_names, removed_units
from evaluators.task import Task
from hardware import Network
from hardware.ir.gene_kinds import A_BITS, PRUNE, W_BITS

Choice = Mapping[str, Tensor]
"""By gene, (values,): the weight of each of its values."""


@dataclass(frozen=True)
class _Masked:
    """Where a parameter reads the units of a group.

    Attributes:
        gene: that chooses how many stay.
        parameter: its name.
        tensor: which of its entries are the units'.
    """

    gene: str
    parameter: str
    tensor: UnitTensor

    def masked(self, values: Tensor, units: Tensor) -> Tensor:
        """The parameter with each unit's entries times the unit's weight."""
        ones = torch.ones_like(values)
        rows = self.tensor.entries(ones) * units[:, None]
        return values * self.tensor.put(ones, rows)


class RelaxedNetwork:
    """The network of a choice, with the supernet's weights, which stay as they are.

    Batch norms see their own batch only, as in the supernet's training.

    Args:
        supernet: of the task and the network.
        task: its model is the whole one.
        network: of that model.
    """

    def __init__(self, supernet: Supernet, task: Task, network: Network) -> None:
        self.values = dict(supernet.choices.options)
        self.model = supernet.model(task).requires_grad_(False)
        for norm in self.model.modules():
            if isinstance(norm, BATCH_NORMS):
                norm.train()
        own = {name: p.detach() for name, p in self.model.named_parameters()}
        plan = plan_of(task.model, task.inputs, network, task)
        self._kept = {
            gene: _kept(network, plan, gene, values)
            for gene, values in self.values.items()
            if PRUNE.owns(gene)
        }
        self._masked = self._readers(plan)
        self._weights: dict[str, tuple[str, Tensor]] = {}
        self._inputs: dict[str, str] = {}
        self._fixed = own
        owners = {network.layer(name).module: name for name in network.gene_layers}
        usual = read_candidate(network, {}).bits
        self._choice: Choice = {}
        for module, parts in rounded_parameters(self.model, module_names(network)).items():
            gene = W_BITS.key(owners.get(module, module))
            widths = self.values.get(gene, (float(usual[module].weights),))
            for part in parts:
                table = torch.stack(
                    [
                        _rounded(own[part.name], int(w), part.axis, supernet.levels, part.name)
                        for w in widths
                    ]
                )
                if gene in self.values:
                    self._weights[part.name] = gene, table
                else:
                    self._fixed[part.name] = table[0]
            gene = A_BITS.key(owners.get(module, module))
            widths = self.values.get(gene, (float(usual[module].inputs),))
            hook = self._rounds_input(gene, list(map(int, widths)))
            self.model.get_submodule(module).register_forward_pre_hook(hook)

    def run(self, choice: Choice, inputs: object) -> object:
        """What the network of a choice answers.

        Args:
            choice: of every gene.
            inputs: a batch.
        """
        found = dict(self._fixed)
        for name, (gene, table) in self._weights.items():
            found[name] = torch.tensordot(choice[gene], table, dims=1)
        for one in self._masked:
            units = choice[one.gene] @ self._kept[one.gene]
            found[one.parameter] = one.masked(found[one.parameter], units)
        self._choice = choice
        return call_with(self.model, found, inputs)

    def one_hot(self, params: Mapping[str, object]) -> Choice:
        """The choice of a chromosome."""
        return {
            gene: torch.tensor([float(value == params[gene]) for value in values])
            for gene, values in self.values.items()
        }

    def _readers(self, plan: UnitPlan) -> list[_Masked]:
        """What reads the units of each group; what makes them, where no parameter reads them."""
        places = Places(self.model)
        names = {id(p): name for name, p in self.model.named_parameters()}
        found = []
        for group in plan.groups:
            gene = PRUNE.key(group.name)
            if gene not in self._kept:
                continue
            there: dict[tuple[object, ...], tuple[bool, _Masked]] = {}
            for cut in group.cuts:
                place = places.find(cut.parameter)
                if place is not None and id(place.tensor) in names:
                    masked = _Masked(gene, names[id(place.tensor)], UnitTensor(place, cut))
                    there[place.name, cut.axis, cut.indices] = cut.produces, masked
            reads = [masked for produces, masked in there.values() if not produces]
            found += reads or [masked for _, masked in there.values()]
        return found

    def _rounds_input(self, gene: str, widths: Sequence[int]) -> Hook:
        def round_input(_: nn.Module, inputs: tuple[object, ...]) -> tuple[object, ...] | None:
            x = inputs[0] if inputs else None
            if not isinstance(x, Tensor) or not x.is_floating_point():
                return None
            low = [width for width in widths if width < FLOAT_BITS]
            grid = dict(zip(low, rounded_inputs(x, low), strict=True))
            parts = [grid.get(width, x) for width in widths]
            shares = self._choice.get(gene)
            if shares is None:
                return (parts[0], *inputs[1:])
            mixed = sum((share * part for share, part in zip(shares, parts, strict=True)), 0.0 * x)
            return (mixed, *inputs[1:])

        return round_input


def _kept(network: Network, plan: UnitPlan, gene: str, values: Sequence[float]) -> Tensor:
    """(values, units): 1 where a unit of the gene's group stays."""
    (group,) = [g for g in plan.groups if PRUNE.key(g.name) == gene]
    return torch.stack([_stays(group, network, plan, gene, value) for value in values])


def _stays(group: UnitGroup, network: Network, plan: UnitPlan, gene: str, value: float) -> Tensor:
    kept = read_candidate(network, {gene: value}).kept
    removed = removed_units(network, plan, kept).get(group.name, 0)
    found = torch.ones(group.units)
    found[last_units(group, removed)] = 0.0
    return found


def _rounded(
    weight: Tensor, bits: int, axis: int, levels: Mapping[str, Tensor], name: str
) -> Tensor:
    if bits >= FLOAT_BITS:
        return weight
    return rounded(weight, bits, axis, levels.get(level_key(name, bits))).detach()
