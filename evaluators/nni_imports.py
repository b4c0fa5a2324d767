"""NNI's compression modules, imported without what a trial has no use for, and kept quiet.

``import nni`` loads ``scipy.stats`` (for random search spaces, 1.1 s of CPU) and ``pandas`` (for
its JSON reader, 0.4 s). A trial draws no random spaces and reads no data frames, so both are
kept out while NNI is imported; whatever asks for them later gets the real ones.
"""

from __future__ import annotations

import importlib
import platform
import sys
import warnings
from collections.abc import Iterable
from types import ModuleType
from typing import Any


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


def nni_advice() -> str:
    """How to come by NNI on this machine."""
    machine = platform.machine()
    if machine.lower() in ("x86_64", "amd64"):
        return "pip install nni==3.0"
    return (
        f"it has no package for {machine}. What compresses models is plain Python, which "
        "'joint-ga nni-files' unpacks. NNI's server can't run here: search without it, by "
        "nni_plugin.search(...)"
    )


def missing_nni() -> str:
    """The error where there is no NNI, with what to do."""
    return f"nni is not installed: {nni_advice()}"


def import_nni() -> ModuleType:
    """Imports ``nni``, without scipy.stats and pandas if they aren't loaded yet.

    Raises:
        ModuleNotFoundError: it is not installed; the message says what to do.
    """
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
    except ModuleNotFoundError as error:
        if error.name != "nni":
            raise
        raise ModuleNotFoundError(missing_nni(), name="nni") from error
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


def register_weights(module_class: str, names: Iterable[str]) -> None:
    """Tells NNI's quantizers which weights a class has; they know plain layers of torch alone.

    Args:
        module_class: name of the class, by which NNI knows it.
        names: of its parameters.
    """
    setting = _load("base.setting").QuantizationSetting
    known = setting.registry.get(module_class, setting.default_setting)
    weight = setting.default_setting["weight"]
    setting.register(module_class, {**dict.fromkeys(names, weight), **known})


def nni_utils() -> ModuleType:
    """The module ``nni.compression.utils``."""
    return _load("utils")
