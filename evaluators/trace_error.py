"""Why a model can't be read: which module, which line, what to change."""

from __future__ import annotations

import linecache
import os
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import torch
from torch import nn
from torch.utils import _pytree as pytree

_TORCH = f"{Path(torch.__file__).parent}{os.sep}"
_DATA_DEPENDENT = (
    "data-dependent", "DataDependent", "unbacked", "GuardOnDataDependent", "_local_scalar_dense",
)  # fmt: skip


class TraceError(ValueError):
    """A model that can't be followed; the message says where and what to do."""


def refusal(
    model: nn.Module, inputs: tuple[object, ...], error: Exception, *, runs: bool
) -> TraceError:
    """The error to raise for a model that doesn't run, or that ``torch.export`` can't follow.

    Args:
        model: the model.
        inputs: its example inputs.
        error: what came.
        runs: whether the model ran by itself, outside of the tracer.
    """
    module, place = _position(model, error)
    hidden = _hidden_tensor(model, error)
    if hidden is not None and not module:
        module, place = hidden
    where = f" in module '{module}'" if module else " in the model's forward()"
    line = f" ({place})" if place else ""
    cause = _first_line(error)
    kind = type(model).__name__
    if not runs:
        tensors = [t for t in pytree.tree_leaves(inputs) if isinstance(t, torch.Tensor)]
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
        return TraceError(
            f"{kind} does not run on the task's example_input (shapes {shapes}): {cause}, "
            f"{where.strip()}{line}"
        )
    if any(word in f"{type(error).__name__} {error}" for word in _DATA_DEPENDENT):
        return TraceError(
            f"{kind} can't be traced: values of tensors steer its Python code{where}{line}: "
            f"{cause}. Such code (if, for, len, int, item, nonzero on a tensor) can't be followed: "
            "move it out of the model, as post-processing, or compute it with torch.where"
        )
    if hidden is not None:
        return TraceError(
            f"{kind} can't be traced by torch.export{where}{line}: its code makes or overwrites a "
            "tensor out of torch.export's sight, as a torch.autograd.Function, `.data` or `set_` "
            "do. Write that part as plain torch operations whose results are new tensors"
        )
    return TraceError(
        f"{kind} can't be traced by torch.export{where}{line}: {type(error).__name__}: {cause}. "
        "Change that line so that it only uses torch operations, or move it out of the model"
    )


def _hidden_tensor(model: nn.Module, error: Exception) -> tuple[str, str] | None:
    """Module and line of a tensor that torch.export found but didn't see made; None of others."""
    found = re.search(r"fake tensor.*model attribute: ([\w.]+)", str(error), re.DOTALL)
    if found is None:
        return None
    modules = dict(model.named_modules())
    name = found[1]
    while name not in modules:
        name = name.rpartition(".")[0]
    code = type(modules[name]).forward.__code__
    source = linecache.getline(code.co_filename, code.co_firstlineno).strip()
    return name, f"{code.co_filename}:{code.co_firstlineno}: {source}"


def failure_place(model: nn.Module, error: BaseException) -> tuple[str, str]:
    """Where a model's code failed.

    Returns:
        The innermost module that was running, "" for the model itself, and the line of the user's
        or a package's code as ``file:line: source``, "" if none is known.
    """
    return _position(model, error)


def _position(model: nn.Module, error: BaseException) -> tuple[str, str]:
    """The innermost module of the model that was running, and the line of user code."""
    names = {id(m): name for name, m in model.named_modules()}
    module, place, steps = "", "", 0
    for frame in _frames(error.__traceback__):
        owner = frame.tb_frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and id(owner) in names:
            module, steps = names[id(owner)], steps + 1
        path = frame.tb_frame.f_code.co_filename
        if steps and not path.startswith(_TORCH) and not path.startswith("<"):
            source = linecache.getline(path, frame.tb_lineno).strip()
            place = f"{path}:{frame.tb_lineno}: {source}"
    return module, place


def _frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].strip() if text else traceback.format_exception_only(error)[0]
