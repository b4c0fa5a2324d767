"""Imports the packages of the sweep on a machine without their compiled or online parts."""

from __future__ import annotations

import os
import warnings
from importlib import import_module

import torch
from torch.library import Library

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""What torchvision wants to be there when it is imported; no network of the sweep calls them."""

_kept: list[Library] = []


def prepare() -> None:
    """Sets the process up: nothing is downloaded, and torchvision imports without its library.

    torchvision's wheel is compiled for another build of torch than the one without CUDA.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    warnings.filterwarnings("ignore")
    if _kept or hasattr(torch.ops.torchvision, "nms"):
        return
    library = Library("torchvision", "FRAGMENT")
    for schema in _OPERATORS:
        library.define(schema)
    _kept.append(library)


def preload(names: set[str]) -> dict[str, str]:
    """Imports packages by name; returns why, for those that cannot be imported."""
    prepare()
    failed = {}
    for name in sorted(names):
        try:
            import_module(name)
        except Exception as error:  # a foreign package may raise anything
            failed[name] = f"{type(error).__name__}: {error}"
    return failed
