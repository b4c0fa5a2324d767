"""``joint-ga run``, ``joint-ga resume`` and ``joint-ga check``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nni_plugin.cli.options import TimeLimit
from nni_plugin.cli.run_end import conclude, leave
from nni_plugin.cli.steps import said_at_interrupt

if TYPE_CHECKING:
    from rich.console import Console

    from nni_plugin.setup.launcher import Session
    from nni_plugin.setup.task_check import TaskFindings, TaskOptions

__all__ = ["add_commands"]

_READ_S = 3.0
"""Seconds that `check` spends on reading the training data to its end and once more: a choice."""

Host = Annotated[
    str,
    typer.Option(help="Address the manager listens on; 0.0.0.0 for all. Elsewhere wants a token."),
]
Port = Annotated[
    int | None, typer.Option(help="Port of the web UI (default: the first free from 8080).")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder of the report (default: runs/EXPERIMENT)."),
]
Keep = Annotated[bool, typer.Option("--keep", help="Leave NNI's web UI up when it is done.")]
Trials = Annotated[int | None, typer.Option(min=1, help="In place of the config's maxTrialNumber.")]
Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", "-j", min=1, help="In place of the config's trialConcurrency."),
]
Warm = Annotated[
    bool | None,
    typer.Option(
        "--warm/--no-warm",
        help="local, ray: fork trials from a process with their imports (default: if they are "
        "nni_plugin.trial).",
        show_default=False,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(help="ray: the cluster's address (default: RAY_ADDRESS or a new one)."),
]
Config = Annotated[Path, typer.Argument(help="NNI experiment config (YAML).", metavar="CONFIG.yml")]


def run(
    config: Config = Path("experiment_configs/ga_joint.yml"),
    host: Host = "127.0.0.1",
    port: Port = None,
    output: Output = None,
    keep: Keep = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Look at config and task first.")
    ] = True,
    trials: Trials = None,
    concurrency: Concurrency = None,
    engine: Annotated[
        str, typer.Option(help="What runs the trials: nni, local (no server), or ray (a cluster).")
    ] = "nni",
    warm: Warm = None,
    address: Address = None,
) -> None:
    """Run an experiment: start its engine, follow the search, print the Pareto front.

    With NNI, like 'nnictl create', but: the tuner is registered, the config and one batch of the
    task are checked first, trials find this Python, and NNI's manager, which has no login, listens
    on 127.0.0.1 only. Ctrl-C stops the experiment in order; the front so far is still printed and
    reported. The same config runs without NNI's server with --engine local.
    """
    from nni_plugin.cli.config_copy import config_with
    from nni_plugin.cli.tables import make_console
    from nni_plugin.setup.launcher import Session
    from nni_plugin.setup.task_check import TaskOptions
    from nni_plugin.user_paths import check_writable, existing_file

    console = make_console()
    check_writable(output or "runs", "--output")
    on_nni = _is_nni(engine, host=host, keep=keep, warm=warm, address=address)
    if check:
        task = TaskOptions(say=_say, anywhere=False, wait=False)
        found = _check_or_exit(config, task, _known_to_nni, on_nni=on_nni)
        if found.training is not None and address is None:
            with said_at_interrupt("training the supernet", "the same command goes on from there"):
                found.training.run()
    else:
        existing_file(config, suffixes=(".yml", ".yaml"))
        if on_nni:
            _known_to_nni()
    if not on_nni:
        from nni_plugin.cli.engine_run import EngineOptions, run_on_engine

        options = EngineOptions(trials, concurrency, warm, address, port, output)
        run_on_engine(console, engine, config, options)
        return
    _warn_if_open(console, host)
    with config_with(config, trials, concurrency) as used:
        session = Session.start(used, host, port)
    _follow_to_the_end(console, session, output, keep)


def _known_to_nni() -> None:
    """Registers the tuner; if NNI is missing, what needs it says so."""
    from nni_plugin.registration import register

    with contextlib.suppress(ImportError):
        register()


def _is_nni(engine: str, host: str, keep: bool, warm: bool | None, address: str | None) -> bool:
    """Whether NNI runs it; refuses options that the engine does not have."""
    from nni_plugin.engines.run import check_engine

    is_nni = engine == "nni"
    if not is_nni:
        check_engine(engine)
    wrong = {
        "--host": not is_nni and host != "127.0.0.1",
        "--keep": not is_nni and keep,
        "--warm": is_nni and warm is not None,
        "--address": engine != "ray" and address is not None,
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise typer.BadParameter(f"{name} is no option of the engine {engine!r}: leave it out")
    return is_nni


def resume(
    experiment: Annotated[str, typer.Argument(help="Its id, or its folder.")],
    directory: Annotated[
        Path | None, typer.Option("--dir", help="The experimentWorkingDirectory, if not NNI's own.")
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = None,
    output: Output = None,
    keep: Keep = False,
    trials: Trials = None,
    concurrency: Concurrency = None,
    warm: Warm = None,
    address: Address = None,
) -> None:
    """Go on with an experiment that was stopped, killed, or ended in an error.

    Like 'nnictl resume', but: it says what it found, waits until the old tuner is gone, and starts
    NNI as 'joint-ga run' does, so that trials find this Python and the manager listens on 127.0.0.1
    only. Nothing that has a result is asked again. It goes on with the engine that it began with;
    --trials and --concurrency change those of an experiment without NNI's manager.
    """
    from ga.evaluation import COMPLETE, FAILED, RUNNING
    from nni_plugin.cli.tables import make_console
    from nni_plugin.registration import register
    from nni_plugin.results.engine_record import EngineRecord
    from nni_plugin.results.experiment import Experiment
    from nni_plugin.setup import left_over
    from nni_plugin.setup.launcher import Session
    from nni_plugin.user_paths import check_writable

    console = make_console()
    found = Experiment.open(experiment, directory)
    check_writable(output or "runs", "--output")
    check_writable(found.folder)
    counts = found.log.counts()
    console.print(
        f"Experiment {found.id} in {found.folder}: {counts[COMPLETE]} complete, "
        f"{counts[FAILED]} failed, {counts[RUNNING]} without a result.",
        highlight=False,
        soft_wrap=True,
    )
    record = EngineRecord.read(found.folder)
    _is_nni(record.engine if record else "nni", host, keep, warm, address)
    if record is not None:
        from nni_plugin.cli.engine_run import EngineOptions, resume_on_engine

        options = EngineOptions(trials, concurrency, warm, address, port, output)
        resume_on_engine(console, found.folder, record, options, counts[FAILED])
        return
    if trials or concurrency:
        raise typer.BadParameter(
            "NNI keeps both with the experiment: change them in its web UI or with nnictl update"
        )
    register()
    left_over.clear(found.id, found.folder, lambda text: console.print(text, highlight=False))
    _warn_if_open(console, host)
    session = Session.resume(found.id, found.folder.parent, host, port)
    _follow_to_the_end(console, session, output, keep, counts[FAILED])


def _warn_if_open(console: Console, host: str) -> None:
    from nni_plugin.setup.manager_access import is_open

    if is_open(host):
        console.print(
            f"[bold yellow]Warning:[/] NNI's manager will listen on {host}. From other machines it "
            "wants the token in the address below: whoever has that can run commands as you, and "
            "it travels unencrypted. Use it in a trusted network only, or leave --host out and "
            "tunnel: ssh -L PORT:127.0.0.1:PORT"
        )


def _follow_to_the_end(
    console: Console,
    session: Session,
    output: Path | None,
    keep: bool,
    known_failures: int = 0,
) -> None:
    """Shows progress, then the front; stops the experiment and exits non-zero if it failed."""
    from nni_plugin.cli.progress import Outcome, follow

    outcome = Outcome("INTERRUPTED")
    results = 0
    # A second Ctrl-C, or a terminal that is gone, still leaves through `finally`.
    try:
        try:
            _announce(console, session)
            outcome = follow(session, console, known_failures)
            if outcome.status != "DONE":  # what comes now may take half a minute
                said = "; ".join(outcome.errors) or f"the experiment is {outcome.status}"
                console.print(f"Ending what is left: {said}", highlight=False, soft_wrap=True)
        except KeyboardInterrupt:
            console.print("Stopping the experiment ...")
        folder = output or Path("runs") / session.id
        results = conclude(console, session.folder, folder, session.trial_counts)
    finally:
        if outcome.status == "LOST":
            session.end()
        elif not (keep and outcome.status == "DONE"):
            session.stop()
    if keep and outcome.status == "DONE":
        console.print(
            f"NNI's web UI stays at {session.link()}; end it with: nnictl stop {session.id}"
        )
    reason = "; ".join(outcome.errors)
    # Without its manager the tuner logs no more than that it misses it.
    if outcome.status not in ("DONE", "INTERRUPTED", "LOST", "STUCK"):
        reason = session.logged_error() or reason
    leave(console, outcome.status, session.id, session.folder, reason, results)


def check(
    config: Config,
    task: Annotated[
        bool | None,
        typer.Option(
            "--task/--no-task",
            help="Try a batch of the trial's task, or not (default: if trials run here).",
            show_default=False,
        ),
    ] = None,
    time_limit: TimeLimit = 60.0,
) -> None:
    """Check a config before anything starts: settings, search space, names, and the task itself.

    The task is built in a process of its own, and one batch goes through the model, the loss, its
    gradients and the metric. Nothing is trained, but for a float model that the task itself trains.
    """
    from nni_plugin.setup.task_check import TaskOptions

    options = TaskOptions(time_limit, _READ_S, _say, anywhere=task is True)
    with said_at_interrupt("check", "nothing is changed; a float model in training begins anew"):
        _check_or_exit(config, options if task is not False else None)
    print(f"{config}: no problem found")


def _say(text: str) -> None:
    print(f"joint-ga: {text}", file=sys.stderr)


def _check_or_exit(
    config: Path,
    options: TaskOptions | None,
    meanwhile: Callable[[], object] = lambda: None,
    *,
    on_nni: bool = True,
) -> TaskFindings:
    from nni_plugin.setup.config_check import examine_config
    from nni_plugin.setup.outdated_settings import outdated_settings

    found = examine_config(config, options, meanwhile, on_nni=on_nni)
    for problem in found.problems:
        print(f"joint-ga: {problem}", file=sys.stderr)
    if found.problems:
        raise typer.Exit(4)
    for note in (*found.notes, *outdated_settings(config)):
        print(f"joint-ga: note: {note}", file=sys.stderr)
    return found


def _announce(console: Console, session: Session) -> None:
    from nni_plugin.results.live_page import LivePage

    console.print(f"Experiment {session.id} is running.", highlight=False)
    page = session.link(LivePage.URL_PATH)
    console.print(f"  NNI's web UI      {session.link()}", highlight=False, soft_wrap=True)
    console.print(f"  Live Pareto page  {page}", highlight=False, soft_wrap=True)
    console.print(f"  Logs              {session.folder / 'log'}", highlight=False, soft_wrap=True)
    console.print("Ctrl-C stops it.", highlight=False)


def add_commands(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command(epilog="Example:  joint-ga run experiment_configs/ga_joint.yml --port 8088")(run)
    app.command(epilog="Example:  joint-ga resume hn4ce1zx")(resume)
    app.command(epilog="Example:  joint-ga check experiment_configs/ga_joint.yml")(check)
