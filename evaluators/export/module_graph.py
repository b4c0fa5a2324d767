"""A network's operations as an fx graph over its own modules, to run, change and write it.

Where an integer network exists, roundings have to be put between its operations. `torch.fx` alone
can't follow an `if` on a shape; the program that `torch.export` reads has these followed already.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.fx.graph import _Namespace
from torch.fx.node import Argument

from evaluators.export.batch_norms import BATCH_NORM_KINDS
from evaluators.export.folding import FoldedModel
from evaluators.pytree import with_tensors
from evaluators.tracing.program import Operation, Program, Value

IDENTITIES = frozenset({
    "dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "clone", "contiguous",
    "detach", "alias", "lift_fresh_copy",
})  # fmt: skip
"""Operations that do nothing outside of training."""

KINDS = frozenset({"gru", "lstm"})
"""Recurrent layers that the integer kernels know."""

_RESHAPES = frozenset({"view", "reshape", "squeeze", "_unsafe_view"})

_WITH_INDICES = (
    torch.ops.aten.adaptive_max_pool1d.default,
    torch.ops.aten.adaptive_max_pool2d.default,
)
"""They give the places of the maxima, too, asked or not."""


def node_names(program: Program, calls: Mapping[Operation, str]) -> dict[Operation, str]:
    """Names of operations: of the module, where that does nothing else, else of the operator."""
    counts: dict[str, int] = {}
    for operation in program.live():
        counts[operation.module] = counts.get(operation.module, 0) + 1
    space = _Namespace()
    for value in program.inputs:
        space.create_name(value.name, None)
    names = {}
    for operation in program.live():
        own = calls.get(operation) or (operation.module if _is_leaf(program, operation) else "")
        alone = counts[operation.module] == 1 or operation in calls
        wanted = own.replace(".", "_") if own and alone else operation.kind
        names[operation] = space.create_name(wanted, None)
    return names


def _is_leaf(program: Program, operation: Operation) -> bool:
    """Whether one of torch's own modules made the call."""
    if not operation.module:
        return False
    module = program.model.get_submodule(operation.module)
    return type(module).__module__.startswith("torch.nn")


def is_nothing(operation: Operation, norms: Collection[str]) -> bool:
    """Whether an operation changes no number: in evaluation, or as a folded batch-norm."""
    return operation.kind in IDENTITIES or (
        operation.kind in BATCH_NORM_KINDS and operation.module in norms
    )


def is_inside_layer(operation: Operation, calls: Mapping[Operation, str]) -> bool:
    """Whether an operation is a part of a layer's module beside its convolution."""
    return operation not in calls and operation.module in set(calls.values())


def as_module(folded: FoldedModel, owner: nn.Module) -> fx.GraphModule:
    """The network as a graph that calls the owner's modules, roundings put in.

    Args:
        folded: one that `graph.build_graph` takes.
        owner: its `plain` network or a `simulated()` one: its layers and roundings are called.

    Returns:
        A graph whose nodes have the names of `graph.build_graph`, for batches of any size.
    """
    program, names = folded.program, node_names(folded.program, folded.calls)
    graph = fx.Graph()
    known: dict[Value, fx.Node] = {}

    def rounded(node: fx.Node) -> fx.Node:
        name = folded.roundings.get(node.name)
        return node if name is None else graph.call_module(name, (node,))

    for value in program.inputs:
        known[value] = rounded(graph.placeholder(value.name))
    for operation in program.live():
        if operation.kind in KINDS:
            _call_recurrent(graph, operation, known, names[operation])
        elif _starts_a_state(program, operation):
            # Its size is that of one batch; the module makes its own.
            continue
        elif is_nothing(operation, folded.norms) or is_inside_layer(operation, folded.calls):
            known[operation.output] = known[operation.inputs[0]]
        elif operation in folded.calls:
            source = known[operation.inputs[0]]
            node = graph.create_node(
                "call_module", folded.calls[operation], (source,), name=names[operation]
            )
            known[operation.output] = rounded(node)
        else:
            target, arguments = _function(operation, known)
            name = names[operation]
            if target in _WITH_INDICES:
                pair = graph.create_node("call_function", target, (), arguments, name=f"{name}_all")
                target, arguments = operator.getitem, {}
                positions: tuple[Argument, ...] = (pair, 0)
            else:
                positions = ()
            node = graph.create_node("call_function", target, positions, arguments, name=name)
            known[operation.output] = rounded(node)
    graph.output(with_tensors(folded.output, (known[value] for value in program.outputs)))  # type: ignore[arg-type]  # nodes, nested in dicts, tuples and lists
    return fx.GraphModule(owner, graph)


def _starts_a_state(program: Program, operation: Operation) -> bool:
    readers = program.users(operation.output)
    return not operation.inputs and bool(readers) and all(r.kind in KINDS for r in readers)


def _call_recurrent(
    graph: fx.Graph, operation: Operation, known: dict[Value, fx.Node], name: str
) -> None:
    """Calls a recurrent layer as a module; its outputs are a sequence and the last states."""
    call = graph.create_node(
        "call_module", operation.module, (known[operation.inputs[0]],), name=f"{name}_all"
    )
    states, last = (graph.call_function(operator.getitem, (call, i)) for i in (0, 1))
    found = [states, last]
    if len(operation.outputs) == len(found) + 1:
        found[1:] = [graph.call_function(operator.getitem, (last, i)) for i in (0, 1)]
    known.update(zip(operation.outputs, found, strict=True))


def _function(
    operation: Operation, known: Mapping[Value, fx.Node]
) -> tuple[Callable[..., object], dict[str, Argument]]:
    """What computes an operation out of place, for batches of any size, and its arguments."""
    shape = operation.output.shape
    if operation.kind in _RESHAPES:
        # Sizes in a program are numbers, that of the batch too.
        source = known[operation.inputs[0]]
        return torch.ops.aten.reshape.default, {"self": source, "shape": [-1, *shape[1:]]}
    arguments = {name: _as_nodes(value, known) for name, value in operation.arguments.items()}
    target: Any = operation.target
    if target._schema.is_mutable or operation.kind.endswith("_with_indices"):
        kind = operation.kind.removesuffix("_with_indices")
        target = getattr(getattr(torch.ops.aten, kind), target._overloadname)
    return target, arguments


def _as_nodes(value: object, known: Mapping[Value, fx.Node]) -> Argument:
    if isinstance(value, Value):
        return known[value]
    return [_as_nodes(v, known) for v in value] if isinstance(value, (list, tuple)) else value  # type: ignore[return-value]  # numbers and names, by ATen's schema
