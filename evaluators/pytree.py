"""Nested inputs, outputs and targets: tensors in tuples, lists, dicts and dataclasses.

A tensor may be numpy's or torch's. Hugging Face's ``ModelOutput`` is both a dict and a dataclass,
and keeps its type.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class UnequalShapesError(ValueError):
    """Batches that can't be joined; the message says what differs."""


def call(model: Callable[..., Any], inputs: object) -> Any:
    """Runs a model on one batch's inputs: a tensor, a tuple of them, or a dict of keywords."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)


def positional(model: nn.Module, inputs: object) -> tuple[Any, ...]:
    """The inputs as positional arguments of the model's ``forward``.

    Args:
        model: says the order of keywords. What stands between them has its default.
        inputs: a tensor, a tuple or list, or a dict of keywords.

    Raises:
        ValueError: ``forward`` can't be called so; the message names the keyword.
    """
    if not isinstance(inputs, Mapping):
        return tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    name = f"{type(model).__name__}.forward()"
    signature = inspect.signature(model.forward)
    try:
        bound = signature.bind(**inputs)
    except TypeError as error:
        raise ValueError(
            f"{name} can't be called with the keywords {', '.join(map(str, inputs))} of the "
            f"task's example_input: {error}"
        ) from error
    bound.apply_defaults()
    found: list[object] = []
    count = 0
    for key, parameter in signature.parameters.items():
        given = key in inputs
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            found.append(bound.arguments[key])
            count = len(found) if given else count
        elif given or (parameter.kind is parameter.VAR_KEYWORD and bound.arguments[key]):
            named = key if given else next(iter(bound.arguments[key]))
            raise ValueError(
                f"{name} takes {named!r} as a keyword only: graphs need it as a parameter of its "
                f"own, as in def forward(self, {named})"
            )
    return tuple(found[:count])


def is_tensor(value: object) -> bool:
    """Whether a value is one array of torch or numpy."""
    return isinstance(value, (Tensor, np.ndarray))


def children(value: object) -> list[tuple[str, object]] | None:
    """The named parts of a nested value; None of what has none."""
    if isinstance(value, Mapping):
        return [(str(key), child) for key, child in value.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    if isinstance(value, (tuple, list)):
        names = getattr(value, "_fields", None) or map(str, range(len(value)))
        return list(zip(names, value, strict=True))
    return None


def rebuilt(value: object, parts: Sequence[object]) -> object:
    """A value of the same kind with other parts, in the order of :func:`children`."""
    if isinstance(value, Mapping):
        entries = dict(zip(value, parts, strict=True))
        if type(value) is dict:
            return entries
        try:
            return type(value)(**entries)
        except TypeError:  # a kind of dict with a constructor of its own
            return entries
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return dataclasses.replace(value, **dict(zip(names, parts, strict=True)))
    if hasattr(value, "_fields"):
        return type(value)(*parts)
    return tuple(parts) if isinstance(value, tuple) else list(parts)


def tensors(value: object) -> list[Any]:
    """The tensors of a nested value, in order."""
    if is_tensor(value):
        return [value]
    return [found for _, child in children(value) or () for found in tensors(child)]


def named_tensors(value: object, root: str) -> dict[str, Any]:
    """The tensors of a nested value by names that an exported file can use.

    One tensor is called after the root, those of a tuple ``root``, ``root_1`` and so on, those of
    a dict by their keys. What lies deeper has its path, as in ``boxes.0``.
    """
    found: dict[str, Any] = {}

    def visit(value: object, name: str) -> None:
        if is_tensor(value):
            found[name] = value
        for key, child in children(value) or ():
            visit(child, f"{name}.{key}")

    if isinstance(value, (tuple, list)):
        held = [child for child in value if tensors(child)]
        for index, child in enumerate(held):
            visit(child, f"{root}_{index}" if index else root)
    elif is_tensor(value):
        found[root] = value
    else:
        for key, child in children(value) or ():
            visit(child, key)
    return found


def with_tensors(value: object, others: Iterator[Any]) -> object:
    """The nested value with its tensors replaced, in order."""
    if is_tensor(value):
        return next(others)
    parts = children(value)
    if parts is None:
        return value
    return rebuilt(value, [with_tensors(child, others) for _, child in parts])


def plain(value: object) -> object:
    """The same in tuples, lists and dicts only, without what holds no tensor."""
    parts = children(value)
    if parts is None:
        return value
    held = [(name, plain(child)) for name, child in parts if tensors(child)]
    if isinstance(value, list):
        return [child for _, child in held]
    is_tuple = isinstance(value, tuple) and not hasattr(value, "_fields")
    return tuple(child for _, child in held) if is_tuple else dict(held)


@contextmanager
def plain_outputs(model: nn.Module) -> Iterator[None]:
    """Lets a model give tuples, lists and dicts only in the block, as ``torch.export`` needs."""
    kind = type(model)
    own = model.__dict__.get("forward")
    forward: Callable[..., object] = kind.forward if own is None else own

    # Not a module around it: free axes go by the names of forward's parameters.
    @functools.wraps(forward)
    def plain_forward(*args: object, **kwargs: object) -> object:
        return plain(forward(*args, **kwargs))

    if own is None:
        # Of the class: where modules are shared, torch.export calls it with a stand-in for the
        # model, by which it knows the modules' names.
        model.__class__ = type(kind.__name__, (kind,), {"forward": plain_forward})
        model.__class__.__module__ = kind.__module__
    else:
        model.forward = plain_forward
    try:
        yield
    finally:
        model.__class__ = kind
        if own is not None:
            model.forward = own


def describe(value: object) -> str:
    """Shapes for a message: ``(8, 5)``, ``dict(cls (8, 5), box (8, 4))`` or ``list of 8 dict``."""
    if is_tensor(value):
        return str(tuple(getattr(value, "shape", ())))
    parts = children(value)
    kind = type(value).__name__
    if parts is None:
        return kind
    if isinstance(value, (tuple, list)) and any(not is_tensor(child) for child in value):
        kinds = {type(child).__name__ for child in value}
        return f"{kind} of {len(value)} {' and '.join(sorted(kinds))}"
    return f"{kind}({', '.join(f'{name} {describe(child)}' for name, child in parts)})"


def batch_size(inputs: object) -> int:
    """Samples of a batch: the first axis of its first tensor."""
    shapes = [tuple(x.shape) for x in tensors(inputs)]
    return int(shapes[0][0]) if shapes and shapes[0] else 1


def joined(batches: Sequence[Any], sizes: Sequence[int]) -> Any:
    """Outputs or targets of a whole split: tensors joined along their first axis.

    A list or tuple with one entry for each sample of its batch becomes a longer list.

    Args:
        batches: one value each, all nested alike.
        sizes: samples of each batch.

    Raises:
        UnequalShapesError: the shapes differ behind the first axis, or what is nested does.
    """
    first = batches[0]
    if isinstance(first, Tensor):
        return _joined_tensors(batches)
    if isinstance(first, (tuple, list)) and _are_samples(batches, sizes):
        return [sample for batch in batches for sample in batch]
    parts = children(first)
    if parts is None:
        return None if first is None else list(batches)
    names = [name for name, _ in parts]
    columns: list[list[object]] = [[] for _ in names]
    for batch in batches:
        entries = children(batch) or []
        if [name for name, _ in entries] != names:
            raise UnequalShapesError(
                f"one batch gives {describe(first)}, another one {describe(batch)}"
            )
        for column, (_, child) in zip(columns, entries, strict=True):
            column.append(child)
    return rebuilt(first, [joined(column, sizes) for column in columns])


def _joined_tensors(batches: Sequence[Tensor]) -> Tensor:
    if batches[0].dim() == 0:
        return torch.stack(list(batches))
    shapes = {tuple(batch.shape[1:]): tuple(batch.shape) for batch in batches}
    if len(shapes) > 1:
        one, other = list(shapes.values())[:2]
        raise UnequalShapesError(f"batches have the shapes {one} and {other}")
    return torch.cat(list(batches))


def _are_samples(batches: Sequence[Any], sizes: Sequence[int]) -> bool:
    """Whether sequences hold an entry for each sample, not one for each output of the network."""
    if any(len(batch) != size for batch, size in zip(batches, sizes, strict=True)):
        return False
    is_batched = all(
        tuple(x.shape)[:1] == (size,)
        for batch, size in zip(batches, sizes, strict=True)
        for x in tensors(list(batch))
    )
    # As many outputs as samples, all of one length: dicts are what detectors give of a sample.
    return not is_batched or not any(is_tensor(entry) for entry in batches[0])
