"""Deployable files of a chosen candidate: ONNX, packed weights, C, a PyTorch checkpoint, a card."""

from __future__ import annotations

from .checkpoint import load
from .folder import EPOCHS_FACTOR, export_candidate, export_model
from .folding import fold
from .integer import lower
from .qdq import write_onnx

__all__ = [
    "EPOCHS_FACTOR",
    "export_candidate",
    "export_model",
    "fold",
    "load",
    "lower",
    "write_onnx",
]
