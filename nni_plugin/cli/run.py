"""``joint-ga run``, ``joint-ga resume`` and ``joint-ga check``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from nni_plugin.results.experiment import Experiment
    from nni_plugin.setup.launcher import Session

__all__ = ["add_commands"]

_SHOWN_WORDS = 3

Host = Annotated[str, typer.Option(help="Address the manager listens on; 0.0.0.0 for all.")]
Port = Annotated[
    int | None, typer.Option(help="Port of the web UI (default: the first free from 8080).")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder of the report (default: runs/EXPERIMENT)."),
]
Keep = Annotated[bool, typer.Option("--keep", help="Leave NNI's web UI up when it is done.")]
Config = Annotated[Path, typer.Argument(help="NNI experiment config (YAML).", metavar="CONFIG.yml")]


def run(
    config: Config = Path("experiment_configs/ga_joint.yml"),
    host: Host = "127.0.0.1",
    port: Port = None,
    output: Output = None,
    keep: Keep = False,
) -> None:
    """Run an experiment: start NNI, follow the search, print the Pareto front.

    Like 'nnictl create', but: the tuner is registered, the config is checked first, trials find
    this Python, and NNI's manager, which has no login, listens on 127.0.0.1 only. Ctrl-C stops
    the experiment in order; the front so far is still printed and reported.
    """
    from nni_plugin.cli.tables import make_console
    from nni_plugin.registration import register
    from nni_plugin.setup.launcher import Session

    console = make_console()
    register()
    _check_or_exit(config)
    _warn_if_open(console, host)
    session = Session.start(config, host, port)
    _follow_to_the_end(console, session, output, keep)


def resume(
    experiment: Annotated[str, typer.Argument(help="Its id, or its folder.")],
    directory: Annotated[
        Path | None, typer.Option("--dir", help="The experimentWorkingDirectory, if not NNI's own.")
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = None,
    output: Output = None,
    keep: Keep = False,
) -> None:
    """Go on with an experiment that was stopped, killed, or ended in an error.

    Like 'nnictl resume', but: it says what it found, waits until the old tuner is gone, and starts
    NNI as 'joint-ga run' does, so that trials find this Python and the manager listens on 127.0.0.1
    only. Nothing that has a result is asked again.
    """
    from ga.evaluation import COMPLETE, FAILED, RUNNING
    from nni_plugin.cli.tables import make_console
    from nni_plugin.registration import register
    from nni_plugin.results.experiment import Experiment
    from nni_plugin.setup import left_over
    from nni_plugin.setup.launcher import Session

    console = make_console()
    found = Experiment.open(experiment, directory)
    counts = found.log.counts()
    console.print(
        f"Experiment {found.id} in {found.folder}: {counts[COMPLETE]} complete, "
        f"{counts[FAILED]} failed, {counts[RUNNING]} without a result.",
        highlight=False,
        soft_wrap=True,
    )
    register()
    left_over.clear(found.id, found.folder, lambda text: console.print(text, highlight=False))
    _warn_if_open(console, host)
    session = Session.resume(found.id, found.folder.parent, host, port)
    _follow_to_the_end(console, session, output, keep)


def _warn_if_open(console: Console, host: str) -> None:
    if host not in ("127.0.0.1", "localhost"):
        console.print(
            f"[bold yellow]Warning:[/] NNI's manager will listen on {host}. It has no login and "
            "runs what it is sent: anybody who reaches that port can run commands as you. Use it "
            "in a trusted network only, or leave --host out and tunnel: ssh -L PORT:127.0.0.1:PORT"
        )


def _follow_to_the_end(console: Console, session: Session, output: Path | None, keep: bool) -> None:
    """Shows progress, then the front; stops the experiment and exits non-zero if it failed."""
    from nni_plugin.cli.progress import Outcome, follow

    outcome = Outcome("INTERRUPTED")
    results = 0
    # A second Ctrl-C, or a terminal that is gone, still leaves through `finally`.
    try:
        try:
            _announce(console, session)
            outcome = follow(session, console)
        except KeyboardInterrupt:
            console.print("Stopping the experiment ...")
        results = _conclude(console, session, output or Path("runs") / session.id)
    finally:
        if not (keep and outcome.status == "DONE"):
            session.stop()
    if keep and outcome.status == "DONE":
        console.print(f"NNI's web UI stays at {session.url}; end it with: nnictl stop {session.id}")
    if outcome.status == "INTERRUPTED":
        console.print(f"Stopped. Continue it with: joint-ga resume {session.id}")
        raise typer.Exit(130)
    if outcome.status != "DONE":
        noted = "; ".join(outcome.errors)
        # Without its manager the tuner logs no more than that it misses it.
        reasons = [noted] if outcome.status == "LOST" else [session.logged_error(), noted]
        print(
            f"joint-ga: error: the experiment ended as {outcome.status}: "
            f"{next(filter(None, reasons), 'no reason given')} (logs: {session.folder / 'log'}; "
            f"to go on: joint-ga resume {session.id})",
            file=sys.stderr,
        )
        raise typer.Exit(3)
    if not results:
        _print_last_words(session.folder)
        raise typer.Exit(3)


def check(
    config: Config,
    task: Annotated[
        bool, typer.Option("--task", help="Also build the trial's task (imports torch).")
    ] = False,
) -> None:
    """Check a config before anything starts: settings, search space, task and device names."""
    _check_or_exit(config, task)
    print(f"{config}: no problem found")


def _check_or_exit(config: Path, import_task: bool = False) -> None:
    from nni_plugin.setup.config_check import check_config
    from nni_plugin.setup.outdated_settings import outdated_settings

    problems = check_config(config, import_task=import_task)
    for problem in problems:
        print(f"joint-ga: {problem}", file=sys.stderr)
    if problems:
        raise typer.Exit(4)
    for note in outdated_settings(config):
        print(f"joint-ga: note: {note}", file=sys.stderr)


def _announce(console: Console, session: Session) -> None:
    from nni_plugin.results.live_page import LivePage

    console.print(f"Experiment {session.id} is running.", highlight=False)
    console.print(f"  NNI's web UI      {session.url}", highlight=False)
    console.print(f"  Live Pareto page  {session.url}{LivePage.URL_PATH}", highlight=False)
    console.print(f"  Logs              {session.folder / 'log'}", highlight=False, soft_wrap=True)
    console.print("Ctrl-C stops it.", highlight=False)


def _conclude(console: Console, session: Session, folder: Path) -> int:
    """Prints the front and writes the report, as far as there is something to show.

    Returns:
        Number of trials that gave a result; of another tuner's experiment, those of NNI.
    """
    from ga.evaluation import COMPLETE
    from nni_plugin.cli.tables import front_table
    from nni_plugin.results.experiment import Experiment, ExperimentError, NoFrontError
    from nni_plugin.results.report import write_report

    try:
        experiment = Experiment(session.folder)
    except ExperimentError as error:
        console.print(f"No report: {error}")
        return session.trial_counts().get("SUCCEEDED", 0)
    try:
        console.print(front_table(experiment.log, experiment.history()))
    except NoFrontError as error:
        console.print(f"[yellow]No front:[/] {error}")
    paths = write_report(experiment, folder)
    for name, path in paths.items():
        console.print(f"  {name:7} {path}", highlight=False, soft_wrap=True)
    if "front" in paths and _is_exportable(experiment):
        console.print(
            f"Export a point with: joint-ga export {experiment.id} --knee -o exported",
            highlight=False,
        )
    return experiment.log.counts()[COMPLETE]


def _print_last_words(folder: Path) -> None:
    from nni_plugin.results.trial_output import last_words

    print("joint-ga: error: no trial gave a result", file=sys.stderr)
    words = last_words(folder)
    for line, number, path in words[:_SHOWN_WORDS]:
        print(f"  {number} ended with: {line}\n    (in {path})", file=sys.stderr)
    if not words:
        print(f"  none wrote to stderr (logs: {folder / 'log'})", file=sys.stderr)


def _is_exportable(experiment: Experiment) -> bool:
    from nni_plugin.results.experiment import ExperimentError
    from nni_plugin.results.trial_command import trial_command

    try:
        trial_command(experiment)
    except ExperimentError:
        return False
    return True


def add_commands(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command(epilog="Example:  joint-ga run experiment_configs/ga_joint.yml --port 8088")(run)
    app.command(epilog="Example:  joint-ga resume hn4ce1zx")(resume)
    app.command(epilog="Example:  joint-ga check experiment_configs/ga_joint.yml")(check)
