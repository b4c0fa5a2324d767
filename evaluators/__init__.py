"""Turns a chromosome into metrics: prune, quantize, fine-tune and measure a PyTorch model.

Names are loaded on first use, so that ``import evaluators`` costs nothing: a trial imports torch
and ``nni.compression`` only when it needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from evaluators.moved import install

if TYPE_CHECKING:
    from evaluators.pipeline import Result, evaluate
    from evaluators.recipe import Recipe
    from evaluators.sensitivity_analysis import ladder, sensitivity
    from evaluators.task import Task
    from evaluators.task_loading import load_task
    from evaluators.tracing.trace import trace

_HOMES = {
    "Recipe": "recipe",
    "Task": "task",
    "load_task": "task_loading",
    "trace": "tracing.trace",
    "evaluate": "pipeline",
    "Result": "pipeline",
    "sensitivity": "sensitivity_analysis",
    "ladder": "sensitivity_analysis",
}

__all__ = [
    "Recipe",
    "Result",
    "Task",
    "evaluate",
    "ladder",
    "load_task",
    "sensitivity",
    "trace",
]

install()


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"evaluators.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'evaluators' has no attribute {name!r}")
