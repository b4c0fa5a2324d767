"""What ``joint-ga init`` asks on a terminal, each answer checked before the next question."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from evaluators.supernet.forecast import Forecast

__all__ = [
    "ask_device",
    "ask_limits",
    "ask_supernet",
    "ask_task",
    "ask_to_replace",
    "ask_trials",
    "can_ask",
]

DEFAULT_TRIALS = 48
_DEFAULT_DEVICE = "stm32f746"
_Answer = TypeVar("_Answer")


def can_ask() -> bool:
    """Whether somebody sits at a terminal."""
    return sys.stdin.isatty()


def ask_task() -> str | None:
    """``module:function``, or None for the template."""

    def read(text: str) -> str | None:
        if not text.strip():
            return None
        module, _, function = text.strip().partition("?")[0].partition(":")
        if not (all(map(str.isidentifier, module.split("."))) and function.isidentifier()):
            raise ValueError(f"{text!r} is no MODULE:FUNCTION, such as my_model:build")
        return text.strip()

    return _ask("Task, MODULE:FUNCTION of your model (empty: write my_task.py to start from)", read)


def ask_device() -> str:
    """A shipped device's id or the path of a profile; the default where nobody can be asked."""
    import hardware

    shipped = hardware.list_devices()
    default = _DEFAULT_DEVICE if _DEFAULT_DEVICE in shipped else shipped[0]
    if not can_ask():
        return default

    def read(text: str) -> str:
        hardware.load_device(text.strip())
        return text.strip()

    return _ask(f"Device ({', '.join(shipped)}, or a YAML file)", read, default)


def ask_limits() -> tuple[str, ...]:
    """Constraints such as ``ram_kb <= 64``."""
    from ga.problem.objectives import Constraint

    def read(text: str) -> tuple[str, ...]:
        limits = tuple(part.strip() for part in text.split(",") if part.strip())
        for limit in limits:
            metric, _, bound = limit.partition(" ")
            Constraint.parse(metric, bound)
        return limits

    return _ask("Limits, e.g. ram_kb <= 64, accuracy >= 0.95 (empty: none)", read)


def ask_trials() -> int:
    """The budget."""

    def read(text: str) -> int:
        if not text.strip().isdigit() or int(text) < 1:
            raise ValueError(f"{text!r} is no number of trials: give 1 or more")
        return int(text)

    return _ask("Budget, in trials", read, str(DEFAULT_TRIALS))


def ask_supernet(costs: Forecast) -> bool:
    """Whether trials are to start from a supernet that costs so much."""
    text = "Supernet, so that scores are near those of finished networks"
    return typer.confirm(f"{text} ({costs})", default=True)


def ask_to_replace(files: Sequence[Path]) -> bool:
    """Whether files that are there may be written anew; ``my_task.py`` is kept anyhow."""
    named = ", ".join(map(str, files))
    return typer.confirm(f"There already: {named}. Write anew (my_task.py is kept)?", default=False)


def _ask(question: str, read: Callable[[str], _Answer], default: str = "") -> _Answer:
    """Asks until ``read`` accepts the answer."""
    while True:
        text = typer.prompt(question, default=default, show_default=bool(default))
        try:
            return read(text)
        except (ValueError, OSError) as error:
            typer.echo(f"  {error}")
