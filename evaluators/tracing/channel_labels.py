"""Follows every channel through a program, by labels on the entries of its tensors.

Each output channel of a weighted operation gets a label. A tensor's labels are carried through the
program by the very operations that move its entries (view, permute, cat, chunk, roll, ...), so any
way of moving them is followed. Where two labels meet in one entry, they are tied: channels of one
class go together. What no rule covers pins the labels that it reads.

Labels of a value are an int64 tensor with as many dimensions as the value; a dimension in which
they don't vary has size 1. 0 is an entry that always stays; None, all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from evaluators.tracing.program import Operation, Program, Value

Labels = torch.Tensor | None
Numbers = npt.NDArray[np.int64]
Rule = Callable[["LabelFlow", Operation], None]

_MEETS_FIXED = "it is combined with the network's input or a constant"
_ROUNDS = 20


@dataclass(frozen=True)
class Record:
    """Labels along one axis of one parameter.

    Attributes:
        value: the parameter or buffer.
        axis: of it.
        labels: one for each entry of the axis.
        produces: whether a label's entries make it, rather than read it.
        operation: that uses the parameter.
    """

    value: Value
    axis: int
    labels: Numbers
    produces: bool
    operation: Operation


def reduced(labels: torch.Tensor) -> Labels:
    """Labels with size 1 in each dimension in which they don't vary; None if all are 0."""
    for dim in range(labels.dim()):
        if labels.shape[dim] > 1:
            first = labels.narrow(dim, 0, 1)
            if labels.stride(dim) == 0 or bool((labels == first).all()):
                labels = first
    return None if labels.numel() == 1 and int(labels.reshape(())) == 0 else labels


def varying(labels: torch.Tensor) -> tuple[int, ...]:
    """The dimensions in which reduced labels vary."""
    return tuple(i for i, n in enumerate(labels.shape) if n > 1)


class LabelFlow:
    """The labels of a program's values, with what ties and pins them.

    Attributes:
        program: whose values they are.
        labels: of each value; a value without an entry has none.
        records: where labels lie in parameters.
        derived: values that depend on no input: constants and what is computed from them.
        learned: those of them that depend on a parameter.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.labels: dict[Value, torch.Tensor] = {}
        self.records: list[Record] = []
        self.count = 0
        self._of_constants: list[tuple[int, int]] = []
        self._edges: list[Numbers] = []
        self._pins: list[tuple[Numbers, str]] = []
        self._checks: list[tuple[torch.Tensor, frozenset[int], str]] = []
        self.derived: set[Value] = set(program.constants)
        learned = {name for name, _ in program.model.named_parameters(remove_duplicate=False)}
        self.learned = {v for v, name in program.constants.items() if name in learned}
        for operation in program.operations:
            if all(value in self.derived for value in operation.inputs):
                self.derived.update(operation.outputs)
                if not self.learned.isdisjoint(operation.inputs):
                    self.learned.update(operation.outputs)

    # -- labels ---------------------------------------------------------------------------------

    def fresh(self, size: int) -> torch.Tensor:
        """New labels, one for each of `size` channels; a single one always stays."""
        if size == 1:
            return torch.zeros(1, dtype=torch.int64)
        start = self.count + 1
        self.count += size
        return torch.arange(start, start + size)

    def of(self, value: Value) -> Labels:
        """A value's labels. Each number of a parameter that is used as a tensor has its own."""
        found = self.labels.get(value)
        if found is None and self.is_own(value) and value.dtype.is_floating_point:
            numel = int(np.prod(value.shape))
            if value.shape and numel > 1:
                found = self.labels[value] = self.fresh(numel).reshape(value.shape)
                self._of_constants.append((self.count - numel + 1, self.count + 1))
        return found

    @cached_property
    def _own_names(self) -> frozenset[str]:
        model = self.program.model
        named = [n for n, _ in model.named_parameters(remove_duplicate=False)]
        return frozenset(named + [n for n, _ in model.named_buffers(remove_duplicate=False)])

    def is_own(self, value: Value | None) -> bool:
        """Whether a value is a parameter or buffer of the model, and so can be cut."""
        return value is not None and self.program.constants.get(value) in self._own_names

    def constant(self, value: Value) -> torch.Tensor | None:
        """What a value is that depends on no input; None of others."""
        known = self.program.tensors.get(value)
        producer = self.program.producer(value)
        if known is not None or producer is None or value not in self.derived:
            return known
        arguments = {name: self._filled(a) for name, a in producer.arguments.items()}
        try:
            result = producer.target(**arguments)
        except (RuntimeError, TypeError, ValueError):
            return None
        results = result if isinstance(result, (tuple, list)) else [result]
        self.program.tensors.update(zip(producer.outputs, results, strict=False))
        return self.program.tensors.get(value)

    def _filled(self, argument: object) -> object:
        if isinstance(argument, Value):
            return self.constant(argument)
        return [self._filled(a) for a in argument] if isinstance(argument, list) else argument

    def put(self, value: Value, labels: Labels) -> None:
        """Notes the labels of a value, given in full or reduced."""
        labels = None if labels is None else reduced(labels)
        if labels is not None:
            self.labels[value] = labels

    def full(self, value: Value) -> torch.Tensor:
        """A value's labels in its own shape, without copies."""
        labels = self.of(value)
        if labels is None:
            return torch.zeros((), dtype=torch.int64).expand(value.shape)
        return labels.expand(value.shape)

    # -- ties and pins --------------------------------------------------------------------------

    def tie(self, a: torch.Tensor, b: torch.Tensor, reason: str = _MEETS_FIXED) -> None:
        """Ties labels pairwise; what meets an entry that always stays is pinned."""
        shape = torch.broadcast_shapes(a.shape, b.shape)  # type: ignore[no-untyped-call]  # torch has no types here
        first, second = a.expand(shape).reshape(-1).numpy(), b.expand(shape).reshape(-1).numpy()
        both = (first > 0) & (second > 0) & (first != second)
        if both.any():
            self._edges.append(np.stack([first[both], second[both]]))
        for one, other in ((first, second), (second, first)):
            alone = (one > 0) & (other == 0)
            if alone.any():
                self._pins.append((np.unique(one[alone]), reason))

    def along(self, labels: torch.Tensor, keep: Iterable[int]) -> torch.Tensor:
        """Ties labels over every dimension but some; the result has size 1 in the others."""
        kept = {k % labels.dim() for k in keep}
        for dim in range(labels.dim()):
            if dim not in kept and labels.shape[dim] > 1:
                first = labels.narrow(dim, 0, 1)
                self.tie(first, labels)
                labels = first
        return labels

    def pin(self, labels: Labels, reason: str) -> None:
        """Says that channels must stay."""
        if labels is not None:
            found = np.unique(labels.reshape(-1).numpy())
            found = found[found > 0]
            if found.size:
                self._pins.append((found, reason))

    def keep_whole(self, labels: torch.Tensor, axes: Iterable[int], reason: str) -> None:
        """Says that channels must stay if they turn out to lie along one of some axes.

        Labels that vary there may yet be tied: the channels of one attention head.
        """
        found = frozenset(a % labels.dim() for a in axes) & set(varying(labels))
        if found:
            self._checks.append((labels, found, reason))

    def pin_inputs(self, operation: Operation, reason: str) -> None:
        """Pins all that an operation reads."""
        for value in operation.inputs:
            self.pin(self.labels.get(value), reason)

    def record(
        self,
        operation: Operation,
        value: Value | None,
        axis: int,
        labels: torch.Tensor,
        *,
        produces: bool,
    ) -> None:
        """Notes that labels lie along an axis of a parameter.

        A weight that is computed can't be cut: its labels are pinned.
        """
        if value is None:
            return
        flat = labels.reshape(-1).expand(value.shape[axis])
        if self.is_own(value):
            self.records.append(Record(value, axis, flat.numpy().copy(), produces, operation))
        else:
            self.pin(flat, f"the weight of '{operation.name}' is computed, it is no parameter")

    # -- the result -----------------------------------------------------------------------------

    def classes(self) -> Numbers:
        """For each label its class, as the smallest label in it; [0] is 0."""
        n = self.count + 1
        if not self._edges:
            return np.arange(n)
        pairs = np.concatenate(self._edges, axis=1)
        return _smallest_of_component(pairs, n)

    def settle(self) -> Numbers:
        """Ties labels until each value loses whole slices of one axis; returns the classes.

        Where labels vary in several dimensions (heads and their channels, conv groups and
        theirs), they stay apart in the one that leaves most units.
        """
        real = torch.ones(self.count + 1, dtype=torch.bool)
        for start, end in self._of_constants:
            real[start:end] = False
        crossed = [v for v, labels in self.labels.items() if len(varying(labels)) > 1]
        self._tie_uses()
        classes = self.classes()
        for _ in range(_ROUNDS):
            look_up, edges = torch.from_numpy(classes), len(self._edges)
            for value in crossed:
                labels = reduced(look_up[self.labels[value]])
                if labels is not None and len(varying(labels)) > 1:
                    best = _best_axis(labels, look_up[real])
                    if best is not None:
                        self.along(labels, [best])
            if len(self._edges) == edges:
                break
            classes = self.classes()
        look_up = torch.from_numpy(classes)
        for labels, axes, reason in self._checks:
            left = reduced(look_up[labels])
            if left is not None and axes & set(varying(left)):
                self.pin(labels, reason)
        for value, labels in self.labels.items():
            if self.is_own(value):
                self._record_constant(value, reduced(look_up[labels]))
        return classes

    def _tie_uses(self) -> None:
        """Ties the labels of all uses of one parameter."""
        first: dict[tuple[int, int], Record] = {}
        for record in self.records:
            tensor = self.program.tensors.get(record.value)
            key = id(record.value) if tensor is None else tensor.data_ptr()
            other = first.setdefault((key, record.axis), record)
            if other is not record and len(other.labels) == len(record.labels):
                reason = f"'{record.operation.name}' reads the same weights in another way"
                self.tie(torch.from_numpy(other.labels), torch.from_numpy(record.labels), reason)
        for record in self.records:
            if record.value in self.labels:
                reason = f"the weight of '{record.operation.name}' is used as a tensor, too"
                self.pin(torch.from_numpy(record.labels), reason)

    def _record_constant(self, value: Value, labels: Labels) -> None:
        """A parameter that is used as a tensor loses the slices that its entries' classes say."""
        axes = () if labels is None else varying(labels)
        users = self.program.users(value)
        if labels is not None and len(axes) == 1 and users:
            flat = labels.reshape(-1).numpy().copy()
            self.records.append(Record(value, axes[0], flat, True, users[0]))

    def pinned(self, classes: Numbers) -> dict[int, str]:
        """Why classes must stay, by class."""
        reasons: dict[int, str] = {}
        for labels, reason in self._pins:
            for label in np.unique(classes[labels]):
                reasons.setdefault(int(label), reason)
        return reasons


def _smallest_of_component(pairs: Numbers, n: int) -> Numbers:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(pairs.shape[1], dtype=np.int8)
    graph = coo_matrix((ones, (pairs[0], pairs[1])), (n, n))
    count, component = connected_components(graph, directed=False)
    smallest = np.full(count, n, dtype=np.int64)
    np.minimum.at(smallest, component, np.arange(n))
    found: Numbers = smallest[component]
    return found


def _best_axis(labels: torch.Tensor, real: torch.Tensor) -> int | None:
    """The dimension along which most units are left when all others are tied.

    Args:
        labels: classes.
        real: the classes of channels; others are numbers of a constant that meet no channel.

    Returns:
        None if no entry is a channel's.
    """
    present, dense = torch.unique(labels, return_inverse=True)
    counts = torch.isin(present, real) & (present > 0)
    units: dict[int, int] = {}
    for axis in varying(labels):
        rows = dense.movedim(axis, 0).reshape(labels.shape[axis], -1)
        n = len(rows)
        index = torch.arange(n).reshape(-1, 1).expand_as(rows)
        chosen = counts[rows]
        pairs = torch.stack([index[chosen], rows[chosen] + n]).numpy()
        if pairs.shape[1]:
            component = _smallest_of_component(pairs, n + len(present))
            units[axis] = len(np.unique(component[pairs[0]]))
    return max(units, key=lambda axis: (units[axis], axis)) if units else None


def follow(program: Program, rule: Callable[[Operation], Rule]) -> LabelFlow:
    """Carries labels through a program.

    Args:
        program: the model's operations.
        rule: gives the rule for an operation.
    """
    flow = LabelFlow(program)
    for operation in program.live():
        rule(operation)(flow, operation)
    for value in program.outputs:
        flow.pin(flow.labels.get(value), "its channels are the network's output")
    return flow
