"""A model as a list of ATen operations with concrete shapes, read by ``torch.export``.

Operations are those that the model calls, not decomposed: ``conv2d``, ``batch_norm``, ``lstm``,
``scaled_dot_product_attention`` are one operation each. Arguments stand under the names of ATen's
schema, defaults filled in, so that position, keyword and alias are one thing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils import _pytree as pytree

from evaluators.trace_error import TraceError
from evaluators.tracing.exported_graph import export_graph, in_place, kind_of


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor in a program.

    Attributes:
        name: unique in its program.
        shape: batch included.
        dtype: of its elements.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    def __repr__(self) -> str:
        return f"{self.name}{list(self.shape)}"


@dataclass(frozen=True, eq=False)
class Operation:
    """One call of an ATen operator.

    Attributes:
        name: unique in its program.
        kind: ATen's name without overload and without the underscore of the in-place form:
            ``conv2d``, ``add``, ``getitem`` never appears.
        target: what computes it; call it with ``arguments`` as keywords.
        arguments: by the names of ATen's schema, defaults filled in; tensors are `Value`, also
            inside of lists.
        outputs: one value, or several for ``chunk``, ``split``, ``lstm``, ...
        module: qualified name of the innermost module that called it, "" for the model itself. A
            module that has several names goes by the first of them.
        where: file and line of the call in the model's source, "" where torch keeps none.
    """

    name: str
    kind: str
    target: Callable[..., Any]
    arguments: Mapping[str, object]
    outputs: tuple[Value, ...]
    module: str
    where: str

    @property
    def output(self) -> Value:
        """The first output."""
        return self.outputs[0]

    @property
    def inputs(self) -> tuple[Value, ...]:
        """Every tensor among the arguments, in the order of the schema."""
        return tuple(values_in(self.arguments.values()))

    def value(self, name: str) -> Value | None:
        """An argument that is a tensor; None if it is absent or something else."""
        found = self.arguments.get(name)
        return found if isinstance(found, Value) else None

    def __repr__(self) -> str:
        return f"{self.name} = {self.kind}({', '.join(map(str, self.inputs))})"


@dataclass
class Program:
    """A model's operations in order of execution.

    Attributes:
        model: the model that was read, as it was given; in its own mode.
        operations: all of them, those included whose result nobody uses.
        inputs: the tensors among the example inputs, flattened, in order.
        outputs: the tensors among the model's outputs, flattened, in order.
        constants: every parameter and buffer that the operations read, and tensors that the code
            makes anew at each call, by the value that stands for it. Names are those of the first
            owner where modules share a tensor.
        batch: examples in one batch of the inputs.
    """

    model: nn.Module
    operations: list[Operation] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    constants: dict[Value, str] = field(default_factory=dict)
    tensors: dict[Value, torch.Tensor] = field(default_factory=dict)
    batch: int = 1

    def users(self, value: Value) -> list[Operation]:
        """The operations that read a value."""
        return self._users.get(value, [])

    def producer(self, value: Value) -> Operation | None:
        """The operation that makes a value; None of an input or a constant."""
        return self._producers.get(value)

    def live(self) -> list[Operation]:
        """The operations that an output depends on, in order."""
        needed = set(self.outputs)
        found = []
        for operation in reversed(self.operations):
            if not needed.isdisjoint(operation.outputs):
                found.append(operation)
                needed.update(operation.inputs)
        return found[::-1]

    def parameter(self, value: Value | None) -> str | None:
        """Qualified name of the parameter or buffer that a value is; None of others."""
        return None if value is None else self.constants.get(value)

    def index(self) -> None:
        """Notes who makes and who reads each value."""
        self._users: dict[Value, list[Operation]] = {}
        self._producers: dict[Value, Operation] = {}
        for operation in self.operations:
            for value in dict.fromkeys(operation.inputs):
                self._users.setdefault(value, []).append(operation)
            for value in operation.outputs:
                self._producers[value] = operation


def values_in(arguments: object) -> Iterator[Value]:
    """Every `Value` inside of nested sequences."""
    if isinstance(arguments, Value):
        yield arguments
    elif isinstance(arguments, Mapping):
        yield from values_in(list(arguments.values()))
    elif isinstance(arguments, Sequence) and not isinstance(arguments, str):
        for item in arguments:
            yield from values_in(item)
    elif isinstance(arguments, type({}.values())):
        yield from values_in(list(arguments))


def read_program(
    model: nn.Module,
    inputs: tuple[object, ...],
    keywords: Mapping[str, object] | None = None,
) -> Program:
    """Reads a model in eval mode; it is left as it is.

    Args:
        model: any module that ``torch.export`` can follow with these inputs.
        inputs: one batch of example inputs; tensors, or nested tuples, lists and dicts of them.
        keywords: inputs that the model takes by name.

    Raises:
        TraceError: the model doesn't run on the inputs, or its code depends on the values of
            tensors; the message says in which module and line, and what to do.
    """
    exported = export_graph(model, inputs, dict(keywords or {}))
    program = _Reader(model, exported).read()
    sizes = [v.shape[0] for v in program.inputs if v.shape]
    program.batch = sizes[0] if sizes else 1
    return program


class _Reader:
    """Turns the graph of an exported program into operations."""

    def __init__(self, model: nn.Module, exported: ExportedProgram) -> None:
        self.exported = exported
        self.program = Program(model)
        self.known: dict[fx.Node, object] = {}
        self.names: set[str] = set()
        first: dict[nn.Module, str] = {}
        # The name of the way by which a shared module was called is another one at each call.
        self.modules = {
            name: first.setdefault(module, name)
            for name, module in model.named_modules(remove_duplicate=False)
        }

    def read(self) -> Program:
        self._placeholders()
        results = self._graph(self.exported.graph_module)
        kinds = [o.kind for o in self.exported.graph_signature.output_specs]
        self.program.outputs = [
            value
            for result, kind in zip(results, kinds, strict=True)
            if kind is OutputKind.USER_OUTPUT
            for value in values_in(result)
        ]
        self.program.index()
        return self.program

    def _placeholders(self) -> None:
        specs = self.exported.graph_signature.input_specs
        nodes = [n for n in self.exported.graph.nodes if n.op == "placeholder"]
        for node, spec in zip(nodes, specs, strict=True):
            meta = node.meta.get("val")
            if not isinstance(meta, torch.Tensor):
                self.known[node] = meta
                continue
            value = self._value(node.name, meta)
            self.known[node] = value
            if spec.kind is InputKind.USER_INPUT:
                self.program.inputs.append(value)
            else:
                name = str(spec.target)
                self.program.constants[value] = name
                found = self.exported.state_dict.get(name, self.exported.constants.get(name))
                if isinstance(found, torch.Tensor):
                    self.program.tensors[value] = found

    def _graph(self, module: fx.GraphModule) -> list[object]:
        for node in module.graph.nodes:
            if node.op == "get_attr":
                self.known[node] = getattr(module, str(node.target))
                if isinstance(self.known[node], torch.Tensor):
                    self.known[node] = self._constant(str(node.target), self.known[node])
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                result = node.args[0]
                results = result if isinstance(result, (tuple, list)) else (result,)
                return [self._seen(r) for r in results]
        return []

    def _constant(self, name: str, tensor: Any) -> Value:
        value = self._value(name, tensor)
        self.program.constants[value] = name
        self.program.tensors[value] = tensor
        return value

    def _seen(self, argument: object) -> object:
        """An argument with values in the place of nodes."""
        if isinstance(argument, fx.Node):
            return self.known[argument]
        if isinstance(argument, (tuple, list)):
            return [self._seen(a) for a in argument]
        return argument

    def _call(self, node: fx.Node) -> None:
        if node.target is operator.getitem:
            source, index = self._seen(node.args[0]), node.args[1]
            self.known[node] = source[index] if isinstance(source, list) else None  # type: ignore[index]  # an index into a list is an int
            return
        if isinstance(node.target, torch._ops.HigherOrderOperator):
            self._region(node)
            return
        meta = node.meta.get("val")
        tensors = [t for t in pytree.tree_leaves(meta) if isinstance(t, torch.Tensor)]
        if not tensors:
            # Sizes, assertions: numbers are concrete here.
            self.known[node] = meta
            return
        single = isinstance(meta, torch.Tensor)
        names = [node.name] if single else [f"{node.name}.{i}" for i in range(len(tensors))]
        outputs = tuple(self._value(n, t) for n, t in zip(names, tensors, strict=True))
        self.known[node] = outputs[0] if single else list(outputs)
        operation = Operation(
            node.name,
            kind_of(node),
            node.target,  # type: ignore[arg-type]  # of a call_function node it is callable
            self._arguments(node),
            outputs,
            self._module(node),
            _where(node),
        )
        self.program.operations.append(operation)
        if in_place(node):
            self._overwrite(node.args[0], outputs[0])

    def _module(self, node: fx.Node) -> str:
        stack = node.meta.get("nn_module_stack") or {}
        name = str(list(stack.values())[-1][0]) if stack else ""
        return self.modules.get(name, name)

    def _overwrite(self, target: object, value: Value) -> None:
        """What reads a tensor after an in-place operation reads the operation's result."""
        old = self._seen(target)
        for node, known in self.known.items():
            if known is old:
                self.known[node] = value

    def _arguments(self, node: fx.Node) -> dict[str, object]:
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            named: dict[str, object] = {str(i): self._seen(a) for i, a in enumerate(node.args)}
            return {**named, **{k: self._seen(a) for k, a in node.kwargs.items()}}
        found: dict[str, object] = {}
        for i, parameter in enumerate(schema.arguments):
            if i < len(node.args):
                found[parameter.name] = self._seen(node.args[i])
            elif parameter.name in node.kwargs:
                found[parameter.name] = self._seen(node.kwargs[parameter.name])
            else:
                found[parameter.name] = parameter.default_value
        return found

    def _region(self, node: fx.Node) -> None:
        """Code under no_grad or autocast is a graph of its own; it runs in its place."""
        graphs = [(i, self._seen(a)) for i, a in enumerate(node.args) if isinstance(a, fx.Node)]
        place, inner = next(((i, g) for i, g in graphs if isinstance(g, fx.GraphModule)), (0, None))
        if inner is None:
            raise TraceError(
                f"{type(self.program.model).__name__}: {node.target} at {_where(node)} can't be "
                "followed; write that part without control flow on tensors"
            )
        holes = [n for n in inner.graph.nodes if n.op == "placeholder"]
        for hole, argument in zip(holes, node.args[place + 1 :], strict=False):
            self.known[hole] = self._seen(argument)
        results = self._graph(inner)
        self.known[node] = results

    def _value(self, name: str, tensor: torch.Tensor) -> Value:
        unique, count = name, 1
        while unique in self.names:
            unique, count = f"{name}_{count}", count + 1
        self.names.add(unique)
        return Value(unique, tuple(int(n) for n in tensor.shape), tensor.dtype)


def _where(node: fx.Node) -> str:
    """The innermost line outside of torch that led to a node."""
    found = ""
    for line in str(node.meta.get("stack_trace") or "").splitlines():
        text = line.strip()
        if text.startswith('File "') and "/torch/nn/" not in text:
            path, _, rest = text[6:].partition('", line ')
            found = f"{path}:{rest.split(',')[0]}"
    return found
