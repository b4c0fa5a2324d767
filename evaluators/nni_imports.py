"""NNI's compression modules, imported without what a trial has no use for, and kept quiet.

``import nni`` loads ``scipy.stats`` (for random search spaces, 1.1 s of CPU) and ``pandas`` (for
its JSON reader, 0.4 s). A trial draws no random spaces and reads no data frames, so both are
kept out while NNI is imported; whatever asks for them later gets the real ones.
"""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from types import ModuleType
from typing import Any

QUIET = logging.getLogger("evaluators.nni")
"""Logger handed to ModelSpeedup, which sets its own to INFO and writes 160 lines."""


class _LateDistribution:
    """Stands for one scipy distribution until it is called."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _real(self) -> Any:
        return getattr(importlib.import_module("scipy.stats"), self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._real()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._real(), name)


def import_nni() -> ModuleType:
    """Imports ``nni``, without scipy.stats and pandas if they aren't loaded yet."""
    if "nni" in sys.modules:
        return sys.modules["nni"]
    late = "scipy.stats" not in sys.modules
    no_pandas = "pandas" not in sys.modules
    if late:
        stub = ModuleType("scipy.stats")
        for name in ("norm", "lognorm", "uniform", "loguniform"):
            setattr(stub, name, _LateDistribution(name))
        sys.modules["scipy.stats"] = stub
    if no_pandas:
        # json_tricks reads this as 'pandas is not installed' and leaves its encoder out;
        # importlib documents None as 'not importable', which its types do not allow.
        sys.modules["pandas"] = None  # type: ignore[assignment]  # None there makes an import fail
    try:
        return importlib.import_module("nni")
    finally:
        if late:
            del sys.modules["scipy.stats"]
        if no_pandas:
            del sys.modules["pandas"]


def _load(name: str) -> ModuleType:
    import_nni()
    with warnings.catch_warnings():
        # NNI registers fx containers as pytrees, in a way that torch 2.13 deprecates.
        warnings.simplefilter("ignore")
        return importlib.import_module(f"nni.compression.{name}")


def nni_pruning() -> ModuleType:
    """The module ``nni.compression.pruning``."""
    return _load("pruning")


def nni_quantization() -> ModuleType:
    """The module ``nni.compression.quantization``."""
    return _load("quantization")


def nni_utils() -> ModuleType:
    """The module ``nni.compression.utils``."""
    return _load("utils")


def nni_dependency() -> ModuleType:
    """The module ``nni.compression.speedup.dependency``."""
    _silence()
    return _load("speedup.dependency")


def nni_speedup() -> Any:
    """The class ``nni.compression.speedup.ModelSpeedup``, silenced."""
    _silence()
    return _load("speedup").ModelSpeedup


def _silence() -> None:
    conflict, replacement = _load("speedup.mask_conflict"), _load("speedup.replacement")
    # Two bare print() calls per pruned layer ("0 Filter").
    vars(conflict)["print"] = lambda *args, **kwargs: None
    QUIET.setLevel(logging.CRITICAL)
    for name in ("replacement", "replacer", "mask_conflict", "model_speedup", "mask_updater"):
        logging.getLogger(f"nni.compression.speedup.{name}").setLevel(logging.CRITICAL)
    logging.getLogger("Shape Dependency").setLevel(logging.ERROR)
    # Modules that need no replacement, but that NNI logs an error about.
    for kind in (
        "Identity", "MaxPool1d", "AvgPool1d", "AdaptiveAvgPool1d", "AdaptiveMaxPool1d",
        "ZeroPad1d", "ZeroPad2d", "ConstantPad1d", "ConstantPad2d", "Dropout1d", "GELU", "SiLU",
        "Hardswish", "Hardsigmoid", "Flatten", "Softmax",
    ):  # fmt: skip
        replacement.replace_module.setdefault(kind, lambda module, _: module)
