"""Units that were seen to go: the thinner model answers as the whole one without those units.

A trial has no second way, so what is offered as a gene is tried before, on the model's own code:
units of all groups are removed at once, three times, and the outputs compared with
:mod:`evaluators.slicing.masked_model`. Where they differ, groups at fault are found by
halving. For such a group numbers in modules are tried (`attribute_repair`); what still fails
stays whole, with the reason.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from evaluators.process_state import process_as_found
from evaluators.slicing.attribute_repair import SizeAttribute, candidates
from evaluators.slicing.channel_units import UnitGroup
from evaluators.slicing.masked_model import masked_outputs
from evaluators.slicing.plan import UnitPlan
from evaluators.slicing.remove_units import PruneError, last_units, remove_units
from evaluators.slicing.repair_search import attempts, like
from evaluators.slicing.weight_norms import copied, fuse_weight_norms
from evaluators.trace_error import failure_place

TOLERANCE = 1e-4
"""Outputs may differ by this share of their range: float32 rounding, through many layers."""
_TRIES_IN_VAIN = 2
"""A number that didn't help in so many modules of a class isn't tried in the next."""
ATTEMPTS = 16
"""Sets of attributes that are tried for a group; each costs two runs of the model."""


def verify(
    model: nn.Module,
    inputs: tuple[object, ...],
    groups: Sequence[UnitGroup],
    keywords: Mapping[str, object] | None = None,
) -> dict[str, str]:
    """Groups that can't be removed as they are described, with the reason.

    See `verified_plan`.
    """
    plan = verified_plan(model, inputs, groups, keywords)
    before = {g.name: g.reason for g in groups}
    return {g.name: g.reason for g in plan.groups if g.reason and not before[g.name]}


@process_as_found()
def verified_plan(
    model: nn.Module,
    inputs: tuple[object, ...],
    groups: Sequence[UnitGroup],
    keywords: Mapping[str, object] | None = None,
) -> UnitPlan:
    """Tries the groups on the model; what fails stays whole.

    Args:
        model: left as it is.
        inputs: example inputs by position.
        groups: those with a reason already aren't tried.
        keywords: example inputs by name.

    Returns:
        All groups, with the numbers in modules that must follow their units.
    """
    free = [g for g in groups if not g.reason and g.units > g.step and g.cuts]
    trial = _Trial(_stirred(model), _varied(inputs), dict(keywords or {}), free)
    good = {g.name for g in trial.accept([], free)}
    found = []
    for group in groups:
        reason = group.reason
        if not reason and group.name not in good:
            reason = trial.reasons.get(group.name, "it has one unit or block only")
        found.append(replace(group, reason=reason))
    return UnitPlan(tuple(found), tuple(a for a in trial.attributes if a.group in good))


@dataclass
class _Trial:
    """Removes units from copies of a model and compares.

    Attributes:
        model: the whole one.
        inputs: by position.
        keywords: by name.
        groups: all that are tried.
        attributes: numbers that were found to follow units.
        reasons: why groups failed.
    """

    model: nn.Module
    inputs: tuple[object, ...]
    keywords: dict[str, object]
    groups: list[UnitGroup]
    attributes: list[SizeAttribute] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    failed_in: str = ""
    _answers: dict[object, object] = field(default_factory=dict)
    _vain: dict[object, int] = field(default_factory=dict)

    def accept(self, base: list[UnitGroup], new: list[UnitGroup]) -> list[UnitGroup]:
        """Those of the new groups that can be removed, together with the base."""
        if not new:
            return []
        fault = self.fault([*base, *new])
        if not fault:
            return new
        if len(new) == 1:
            if self.repair(base, new[0]):
                return new
            self.reasons[new[0].name] = fault
            return []
        half = len(new) // 2
        left = self.accept(base, new[:half])
        return left + self.accept([*base, *left], new[half:])

    def repair(self, base: list[UnitGroup], group: UnitGroup) -> bool:
        """Looks for numbers that have to follow the group's units; keeps them."""
        failed_in = [self.failed_in] if self.failed_in else []
        guessed = len(self.attributes)
        self.attributes = [a for a in self.attributes if a.group != group.name]
        if len(self.attributes) < guessed and not self.fault([*base, group]):
            # Only what was guessed from other groups was wrong.
            return True
        known = candidates(self.model, group, failed_in)
        for tried in attempts(self.model, group, known, self.attributes, ATTEMPTS):
            alike = frozenset(
                (type(self.model.get_submodule(a.module)), a.path, a.per_unit) for a in tried
            )
            if self._vain.get(alike, 0) >= _TRIES_IN_VAIN:
                continue
            if self.fault([group], tried):
                self._vain[alike] = self._vain.get(alike, 0) + 1
            else:
                tried = self._fewest(group, tried)
                if not self.fault([*base, group], tried):
                    self.attributes += tried
                    self._follow(tried)
                    return True
        return False

    def _follow(self, found: Sequence[SizeAttribute]) -> None:
        """Takes the same numbers of the same classes for groups alike, until one fails."""
        known = {a.group for a in self.attributes} | set(self.reasons)
        for group in self.groups:
            if group.name not in known:
                more = candidates(self.model, group)
                self.attributes += [
                    a
                    for a in more
                    if any(like(self.model, a, b) and _role(a) == _role(b) for b in found)
                ]

    def _fewest(self, group: UnitGroup, found: list[SizeAttribute]) -> list[SizeAttribute]:
        """Without the numbers that make no difference: others may need them as they are."""
        if len(found) > ATTEMPTS:
            return found
        for attribute in list(found):
            fewer = [a for a in found if a is not attribute]
            if not self.fault([group], fewer):
                found = fewer
        return found

    def fault(self, groups: list[UnitGroup], more: Sequence[SizeAttribute] = ()) -> str:
        """What goes wrong without some units of these groups; "" if nothing does."""
        self.failed_in = ""
        for removed in _choices(groups):
            found = self._difference(groups, removed, [*self.attributes, *more])
            if found:
                return found
        return ""

    def _difference(
        self,
        groups: list[UnitGroup],
        removed: Mapping[str, list[int]],
        attributes: Sequence[SizeAttribute],
    ) -> str:
        small = copied(self.model, shared=True)
        try:
            remove_units(small, groups, removed, attributes)
        except (PruneError, IndexError) as error:
            return f"its channels can't be cut out: {error}"
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = self._wanted(groups, removed)
            try:
                got = small(*self.inputs, **self.keywords)
            except Exception as error:  # the user's own code, without some of its channels
                self.failed_in, place = failure_place(small, error)
                cause = str(error).strip().splitlines()
                return (
                    "its forward() has a size written as a number: without some channels it fails "
                    f"at {place or type(small).__name__} ({cause[0] if cause else error!r})"
                )
        return _compared(want, got)

    def _wanted(self, groups: list[UnitGroup], removed: Mapping[str, list[int]]) -> object:
        key = tuple((name, tuple(units)) for name, units in removed.items())
        if key not in self._answers:
            # Attributes are tried on few choices of units: the last ones are asked for again.
            self._answers = dict(list(self._answers.items())[-3:])
            self._answers[key] = masked_outputs(
                self.model, self.inputs, self.keywords, groups, removed
            )
        return self._answers[key]


def _role(attribute: SizeAttribute) -> str:
    """The group's layer as seen from the module of a number: the same one in blocks alike."""
    inside = f"{attribute.module}."
    return attribute.group.removeprefix(inside) if attribute.group.startswith(inside) else ""


def _compared(want: object, got: object) -> str:
    ones, others = _tensors(want), _tensors(got)
    if [t.shape for t in ones] != [t.shape for t in others]:
        return "without some of its channels the outputs have another shape"
    for one, other in zip(ones, others, strict=True):
        if not one.is_floating_point():
            continue
        if not bool(torch.isfinite(other).all()) and bool(torch.isfinite(one).all()):
            return "without some of its channels the outputs are no numbers"
        # A shift that all outputs share is no range.
        scale = float((one.max() - one.min()).clamp(min=float(one.abs().max()) * 1e-3))
        gap = float((one - other).abs().max()) / (scale or 1.0)
        if not gap <= TOLERANCE:
            return (
                "its channels are mixed in a way that weights don't say: without some of them "
                f"the outputs differ by {100 * gap:.2g} % of their range from what the others make"
            )
    return ""


def _tensors(outputs: object) -> list[Tensor]:
    found = [t for t in pytree.tree_leaves(_opened(outputs)) if isinstance(t, Tensor)]
    return [t for t in found if t.numel()]


def _opened(outputs: object) -> object:
    """Dataclass-like outputs, as packages have them, as dicts."""
    if isinstance(outputs, (Tensor, tuple, list, Mapping)):
        return dict(outputs) if isinstance(outputs, Mapping) else outputs
    return dict(vars(outputs)) if hasattr(outputs, "__dict__") else outputs


def _choices(groups: Sequence[UnitGroup]) -> list[dict[str, list[int]]]:
    """Ways to remove units: another share of each group at random, twice; all but one block."""
    rng = random.Random(0)
    found: list[dict[str, list[int]]] = [{}, {}, {}]
    for group in groups:
        size = group.units // group.step
        for removed in found[:2]:
            count = rng.randint(1, size - 1)
            removed[group.name] = [
                block * size + i
                for block in range(group.step)
                for i in sorted(rng.sample(range(size), count))
            ]
        found[2][group.name] = last_units(group, (size - 1) * group.step)
    return found


def _stirred(model: nn.Module) -> nn.Module:
    """A copy whose fresh norms, biases and gates aren't all 0 or 1: those hide what is dropped."""
    found = copied(model).eval()
    fuse_weight_norms(found)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in (*found.named_parameters(), *found.named_buffers()):
            if not tensor.is_floating_point() or tensor.numel() < 2:
                continue
            if name.endswith("running_var"):
                noise = torch.rand(tensor.shape, generator=generator) + 0.5
                tensor.mul_(noise.to(tensor))
            elif isinstance(tensor, nn.Parameter) or name.endswith("running_mean"):
                if tensor.dim() > 1 and float(tensor.min()) < float(tensor.max()):
                    continue
                spread = float(tensor.std())
                noise = torch.rand(tensor.shape, generator=generator) - 0.5
                size = 0.5 if spread == 0 else 0.2 * spread
                tensor.add_((noise * size).to(tensor))
    return found


def _varied(inputs: tuple[object, ...]) -> tuple[object, ...]:
    """Inputs that aren't all one number: those hide what is dropped."""
    generator = torch.Generator().manual_seed(0)

    def vary(value: object) -> object:
        plain = isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 1
        if isinstance(value, Tensor) and plain and float(value.std()) == 0:
            return torch.randn(value.shape, generator=generator).to(value)
        return value

    varied: tuple[object, ...] = pytree.tree_map(vary, inputs)
    return varied
