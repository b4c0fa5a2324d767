"""The modules of a model that are compressed, and one module in the place of another."""

from __future__ import annotations

from torch import nn

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)
WEIGHTED = (nn.Conv1d, nn.Conv2d, *TRANSPOSED, nn.Linear)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def replace_submodule(model: nn.Module, name: str, new: nn.Module) -> None:
    """Puts a module where the named one is, in place."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, new)
