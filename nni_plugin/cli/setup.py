"""``joint-ga init``, ``register``, ``unregister`` and ``doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nni_plugin.cli.prompts import (
    DEFAULT_TRIALS,
    ask_device,
    ask_limits,
    ask_task,
    ask_trials,
    can_ask,
)

__all__ = ["add_commands"]


def register() -> None:
    """Make 'tuner: {name: JointGA}' known to NNI in this Python environment."""
    from nni_plugin.registration import register as make_known

    print(f"registered: {', '.join(make_known())}")


def unregister() -> None:
    """Take the names out of NNI's list of algorithms again."""
    from nni_plugin.registration import unregister as forget

    gone = forget()
    print(f"unregistered: {', '.join(gone)}" if gone else "nothing was registered")


def doctor(
    port: Annotated[int, typer.Option(help="Port that the web UI is to have.")] = 8080,
) -> None:
    """Check Python, NNI, PyTorch, PATH, ports and optional tools, and say what to do."""
    from nni_plugin.cli.tables import make_console
    from nni_plugin.setup.doctor import examine

    console = make_console()
    marks = {"ok": "[green]ok  [/]", "note": "[yellow]note[/]", "bad": "[red]BAD [/]"}
    findings = examine(port)
    for finding in findings:
        console.print(f"{marks[finding.level]} {finding.what}", highlight=False, soft_wrap=True)
        if finding.advice:
            console.print(f"       {finding.advice}", highlight=False, soft_wrap=True)
    if any(finding.level == "bad" for finding in findings):
        raise typer.Exit(4)


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path(),
    task: Annotated[
        str | None,
        typer.Option(
            help="MODULE:FUNCTION of your task, '?remove_dead=1' behind it takes dead channels "
            "out; without it a template."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="A shipped device or a YAML file.")] = None,
    trials: Annotated[
        int | None, typer.Option(help="Budget.", show_default=str(DEFAULT_TRIALS))
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Trials side by side.")] = 2,
    limit: Annotated[
        list[str] | None, typer.Option(help="Constraint, e.g. 'ram_kb <= 64'; repeatable.")
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(help="Cost to minimize beside the task's metric; repeatable."),
    ] = None,
    data: Annotated[str | None, typer.Option(help="Handed to the task's function.")] = None,
) -> None:
    """Write the config, the search space and, if you have none yet, a task to start from.

    Without a task, my_task.py is written: one to put your own model into. On a terminal, task,
    device, limits and budget are asked for if no option gives any of them; with some given, the
    rest takes its defaults, but for the device.
    """
    from nni_plugin.setup.scaffold import Plan, write_plan

    asks = can_ask() and not (task or device or limit or trials)
    if asks:
        task = ask_task()
    device = device or ask_device()
    limits = ask_limits() if asks else tuple(limit or ())
    plan = Plan.make(
        folder=folder,
        task=task,
        device=device,
        trials=ask_trials() if asks else (DEFAULT_TRIALS if trials is None else trials),
        concurrency=concurrency,
        limits=limits,
        costs=tuple(objective or ("size_kb", "latency_ms")),
        data=data,
    )
    for path in write_plan(plan):
        print(f"written: {path}")
    print(f"Start it with: joint-ga run {folder / 'ga_joint.yml'}")


def add_commands(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command(epilog="Example:  joint-ga init --task my_task:build --device stm32f746")(init)
    app.command(epilog="Example:  joint-ga register")(register)
    app.command(epilog="Example:  joint-ga unregister")(unregister)
    app.command(epilog="Example:  joint-ga doctor")(doctor)
