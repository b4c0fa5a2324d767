"""A model's graph by ``torch.export``, not decomposed, quietly and with clear refusals."""

from __future__ import annotations

import io
import logging
import operator
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import torch
from torch import fx, nn
from torch.export import ExportedProgram

from evaluators.process_state import eval_mode
from evaluators.pytree import plain_outputs
from evaluators.trace_error import refusal

_VIEWS = frozenset({
    "alias", "as_strided", "chunk", "detach", "diagonal", "expand", "expand_as", "flatten",
    "movedim", "narrow", "permute", "ravel", "reshape", "select", "slice", "split",
    "split_with_sizes", "squeeze", "swapaxes", "t", "tensor_split", "transpose", "unbind",
    "unflatten", "unfold", "unsqueeze", "view", "view_as",
})  # fmt: skip
"""Operations whose result may share memory with their input."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch's own logs and prints repeat what a TraceError says in one line."""
    noisy = [logging.getLogger(n) for n in ("torch.export", "torch._export", "torch.fx", "torch")]
    levels = [log.level for log in noisy]
    for log in noisy:
        log.setLevel(logging.CRITICAL)
    try:
        heard = io.StringIO()
        with warnings.catch_warnings(), redirect_stderr(heard), redirect_stdout(heard):
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(noisy, levels, strict=True):
            log.setLevel(level)


def export_graph(
    model: nn.Module, inputs: tuple[object, ...], keywords: dict[str, object]
) -> ExportedProgram:
    """Exports a model in eval mode; it is left as it is.

    Raises:
        TraceError: the model doesn't run on the inputs, or torch.export can't follow it.
    """
    with eval_mode(model), torch.no_grad(), _quiet():
        try:
            state = {name: t.clone() for name, t in model.named_buffers()}
            model(*inputs, **keywords)
            for name, t in model.named_buffers():
                if name in state and state[name].shape == t.shape:
                    t.copy_(state[name])
        except Exception as error:  # the user's own code
            raise refusal(model, inputs, error, runs=False) from error
        try:
            with plain_outputs(model):
                exported = torch.export.export(model, inputs, keywords, strict=False)
            if _mutates_views(exported.graph):
                exported = exported.run_decompositions({})
        except Exception as error:  # torch.export raises many kinds, and what the code raises
            raise refusal(model, inputs, error, runs=True) from error
    return exported


def _mutates_views(graph: fx.Graph) -> bool:
    """Whether an operation writes into a part of another tensor, as ``x[:, 0] = 0`` does."""
    for node in graph.nodes:
        if not in_place(node):
            continue
        target = node.args[0]
        while isinstance(target, fx.Node) and in_place(target):
            target = target.args[0]
        if isinstance(target, fx.Node) and target.op == "call_function":
            if kind_of(target) in _VIEWS or target.target is operator.getitem:
                return True
            if any(kind_of(u) in _VIEWS for u in target.users if u.op == "call_function"):
                return True
    return False


def in_place(node: fx.Node) -> bool:
    """Whether a node writes into one of its inputs."""
    schema = getattr(node.target, "_schema", None)
    return bool(node.op == "call_function" and schema is not None and schema.is_mutable)


def kind_of(node: fx.Node) -> str:
    """ATen's name of a node's operator, without overload and in-place underscore."""
    name = getattr(node.target, "_opname", None)
    if name is None:
        name = getattr(node.target, "__name__", str(node.target))
    name = str(name)
    return name if name.startswith("_") or not name.endswith("_") else name[:-1]
