"""``joint-ga run`` and ``joint-ga check``."""

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

Config = Annotated[Path, typer.Argument(help="NNI experiment config (YAML).", metavar="CONFIG.yml")]


def run(
    config: Config = Path("experiment_configs/ga_joint.yml"),
    host: Annotated[
        str, typer.Option(help="Address the manager listens on; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Port of the web UI (default: the first free from 8080).")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the report (default: runs/EXPERIMENT)."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave NNI's web UI up when the search is done.")
    ] = False,
) -> None:
    """Run an experiment: start NNI, follow the search, print the Pareto front.

    Like 'nnictl create', but: the tuner is registered, the config is checked first, trials find
    this Python, and NNI's manager, which has no login, listens on 127.0.0.1 only. Ctrl-C stops
    the experiment in order; the front so far is still printed and reported.
    """
    from nni_plugin.cli.progress import Outcome, follow
    from nni_plugin.cli.tables import make_console
    from nni_plugin.registration import register
    from nni_plugin.setup.launcher import Session

    console = make_console()
    register()
    _check_or_exit(config)
    if host not in ("127.0.0.1", "localhost"):
        console.print(
            f"[bold yellow]Warning:[/] NNI's manager will listen on {host}. It has no login and "
            "runs what it is sent: anybody who reaches that port can run commands as you. Use it "
            "in a trusted network only, or leave --host out and tunnel: ssh -L PORT:127.0.0.1:PORT"
        )
    session = Session.start(config, host, port)
    _announce(console, session)
    try:
        outcome = follow(session, console)
    except KeyboardInterrupt:
        console.print("Stopping the experiment ...")
        outcome = Outcome("INTERRUPTED")
    # A second Ctrl-C from here on still leaves through `finally`.
    try:
        _conclude(console, session, output or Path("runs") / session.id)
    finally:
        if outcome.status != "LOST" and not (keep and outcome.status == "DONE"):
            session.stop()
    if keep and outcome.status == "DONE":
        console.print(f"NNI's web UI stays at {session.url}; end it with: nnictl stop {session.id}")
    if outcome.status == "INTERRUPTED":
        console.print(f"Stopped. Continue it with: nnictl resume {session.id}")
        raise typer.Exit(130)
    if outcome.status != "DONE":
        reason = session.logged_error() or "; ".join(outcome.errors) or "no reason given"
        print(
            f"joint-ga: error: the experiment ended as {outcome.status}: {reason} (logs: "
            f"{session.folder / 'log'})",
            file=sys.stderr,
        )
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


def _conclude(console: Console, session: Session, folder: Path) -> None:
    """Prints the front and writes the report, as far as there is something to show."""
    from nni_plugin.cli.tables import front_table
    from nni_plugin.results.experiment import Experiment, ExperimentError, NoFrontError
    from nni_plugin.results.report import write_report

    try:
        experiment = Experiment(session.folder)
    except ExperimentError as error:
        console.print(f"No report: {error}")
        return
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
    app.command(epilog="Example:  joint-ga check experiment_configs/ga_joint.yml")(check)
