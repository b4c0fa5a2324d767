"""One module of a model in the place of another."""

from __future__ import annotations

from torch import nn


def replace_submodule(model: nn.Module, name: str, new: nn.Module) -> None:
    """Puts a module where the named one is, in place."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, new)
