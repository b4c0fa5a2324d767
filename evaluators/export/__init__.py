"""Deployable files of a chosen candidate: ONNX, packed weights, C, a PyTorch checkpoint, a card."""

from __future__ import annotations

from evaluators.export.checkpoint import load
from evaluators.export.folder import EPOCHS_FACTOR, export_candidate
from evaluators.export.folding import fold
from evaluators.export.integer import lower
from evaluators.export.missing import missing_files
from evaluators.export.network_files import export_model
from evaluators.export.qdq import write_onnx

__all__ = [
    "EPOCHS_FACTOR",
    "export_candidate",
    "export_model",
    "fold",
    "load",
    "lower",
    "missing_files",
    "write_onnx",
]
