"""The genetic algorithm as an NNI tuner, with its assessor, trial, command line and reports."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from evaluators.nni_imports import missing_nni
from nni_plugin.moved import install

if TYPE_CHECKING:
    from nni_plugin.assessor import ParetoAssessor
    from nni_plugin.local_run import search
    from nni_plugin.protocol.trial_parameters import trial_parameters
    from nni_plugin.tuner import JointGATuner

__all__ = ["JointGATuner", "ParetoAssessor", "search", "trial_parameters"]

# Imported when asked for: a trial needs no tuner, a tuner no command line, and neither has time.
_HOME = {
    "JointGATuner": "nni_plugin.tuner",
    "ParetoAssessor": "nni_plugin.assessor",
    "search": "nni_plugin.local_run",
    "trial_parameters": "nni_plugin.protocol.trial_parameters",
}

install()


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'nni_plugin' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "nni":
            raise
        raise ModuleNotFoundError(missing_nni(), name="nni") from error
