"""``joint-ga init``, ``register``, ``unregister``, ``nni-files`` and ``doctor``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluators.one_batch_process import Request
from nni_plugin.cli.layer_options import Bits, Keep, Ratios, restrictions
from nni_plugin.cli.options import TimeLimit
from nni_plugin.cli.prompts import (
    DEFAULT_TRIALS,
    ask_device,
    ask_limits,
    ask_supernet,
    ask_task,
    ask_to_replace,
    ask_trials,
    can_ask,
)
from nni_plugin.cli.steps import said_at_interrupt
from nni_plugin.user_paths import check_writable

if TYPE_CHECKING:
    from evaluators.supernet.forecast import Forecast

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


def nni_files(
    wheel: Annotated[
        Path | None, typer.Option(help="NNI's wheel of any machine; without it pip fetches one.")
    ] = None,
    target: Annotated[
        Path | None, typer.Option(help="A folder on Python's path; by default its packages'.")
    ] = None,
) -> None:
    """Unpack the Python files of NNI where it has no package, as on Arm: trials compress with them.

    NNI's server is not among them. What the files need beside them is printed.
    """
    from tempfile import TemporaryDirectory

    from nni_plugin.setup.nni_files import (
        missing_requirements,
        site_packages,
        unpack,
        wheel_of_nni,
    )

    where = target or site_packages()
    check_writable(where, "--target")
    with TemporaryDirectory() as folder:
        count = unpack(wheel or wheel_of_nni(Path(folder)), where)
    print(f"{count} files of nni are in {where}")
    if missing := missing_requirements(where):
        print(f"they need: pip install {' '.join(map(shlex.quote, missing))}")


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


# Long: an option each, with its help.
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
    keep: Keep = None,
    bits: Bits = None,
    ratios: Ratios = None,
    data: Annotated[str | None, typer.Option(help="Handed to the task's function.")] = None,
    labels: Annotated[
        bool,
        typer.Option(
            "--labels/--no-labels", help="Without: a template scored by its float outputs."
        ),
    ] = True,
    supernet: Annotated[
        bool | None,
        typer.Option(
            "--supernet/--no-supernet",
            help="Trials start from one set of weights, which the first one trains; asked for on "
            "a terminal, with what it costs.",
        ),
    ] = None,
    final_epochs: Annotated[
        int | None,
        typer.Option(
            help="What the export will train for: the search trains a few networks so long, to "
            "know what its short trials stand for, and its finalists.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Try a batch of the task first.")
    ] = True,
    time_limit: TimeLimit = 60.0,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace files that are there, but for my_task.py."),
    ] = False,
) -> None:
    """Write the config, the search space and, if you have none yet, a task to start from.

    One batch of your task is tried first, in a process of its own, as 'joint-ga check' does.

    Without a task, my_task.py is written: one to put your own model into. On a terminal, task,
    device, limits and budget are asked for if no option gives any of them; with some given, the
    rest takes its defaults, but for the device.
    """
    import hardware
    from nni_plugin.setup.scaffold import Plan, write_plan
    from nni_plugin.setup.space_files import missing_lines, network_file

    force = force or _may_replace(folder, task)
    asks = can_ask() and not (task or device or limit or trials)
    if asks and labels:
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
        labels=labels,
        decided=restrictions(keep, bits, ratios),
        supernet=supernet,
        final_epochs=final_epochs,
    )

    def try_task(name: str, code: Path) -> None:
        _try_task(Request(name, data), code, time_limit)

    tried = {"try_task": try_task} if check else {}
    offer = ask_supernet if asks else _tell_supernet
    with said_at_interrupt("init", f"nothing is changed in {folder}"):
        written = write_plan(plan, **tried, say=print, offer=offer, overwrite=force)
    for path in written:
        print(f"written: {path}")
    described = hardware.Network.load(network_file(folder / "space.json"))
    for line in missing_lines(described.metadata):
        print(f"note: {line}")
    print(f"Start it with: joint-ga run {folder / 'ga_joint.yml'}")


def _may_replace(folder: Path, task: str | None) -> bool:
    """Whether whoever sits at a terminal lets files in the way be replaced; asked before the rest.

    Raises:
        FileExistsError: they don't; without a terminal nobody is asked.
    """
    from nni_plugin.setup.scaffold import already_there, files_in_the_way

    there = files_in_the_way(folder, template=task is None)
    if not there:
        return False
    if not can_ask() or not ask_to_replace(there):
        raise FileExistsError(already_there(there))
    return True


def _tell_supernet(costs: Forecast) -> bool:
    """Where nobody can be asked, it is not taken: its training may be long."""
    print(f"trials could start from a supernet ({costs}): give --supernet for it")
    return False


def _try_task(request: Request, folder: Path, limit_s: float) -> None:
    """Raises a ``ValueError`` with all problems of the task, a line each; prints the notes."""
    from nni_plugin.setup.task_check import TaskCheck

    def say(text: str) -> None:
        print(f"joint-ga: {text}", file=sys.stderr)

    found = TaskCheck(request, folder, limit_s=limit_s).finish(say)
    if found.problems:
        raise ValueError("\n".join(f"--task: {problem}" for problem in found.problems))
    for note in found.notes:
        say(f"note: --task: {note}")


def add_commands(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command(epilog="Example:  joint-ga init --task my_task:build --device stm32f746")(init)
    app.command(epilog="Example:  joint-ga register")(register)
    app.command(epilog="Example:  joint-ga unregister")(unregister)
    app.command(epilog="Example:  joint-ga nni-files")(nni_files)
    app.command(epilog="Example:  joint-ga doctor")(doctor)
