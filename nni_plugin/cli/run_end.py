"""The end of ``joint-ga run`` on any engine: the front, the report, and what trials died of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from nni_plugin.results.experiment import Experiment

__all__ = ["conclude", "leave", "name_of"]

_SHOWN_WORDS = 3


def name_of(folder: Path) -> str:
    """How a command names the experiment: its id where that is enough, else its folder."""
    from nni_plugin.results.experiment import Experiment, ExperimentError

    try:
        found = Experiment.open(folder.name).folder
    except ExperimentError:
        return str(folder)
    return folder.name if found == folder.resolve() else str(folder)


def conclude(
    console: Console, source: Path, folder: Path, counts: Callable[[], Mapping[str, int]] = dict
) -> int:
    """Prints the front and writes the report, as far as there is something to show.

    Args:
        console: where to.
        source: the experiment's folder.
        folder: of the report.
        counts: trials by NNI's status, for an experiment without a journal.

    Returns:
        Number of trials that gave a result; of another tuner's experiment, those of NNI.
    """
    from ga.evaluation import COMPLETE
    from nni_plugin.cli.tables import found_tables
    from nni_plugin.results.experiment import Experiment, ExperimentError, NoFrontError
    from nni_plugin.results.report import write_report

    try:
        experiment = Experiment(source)
    except ExperimentError as error:
        console.print(f"No report: {error}")
        return counts().get("SUCCEEDED", 0)
    try:
        console.print(found_tables(experiment.log, experiment.history()))
    except NoFrontError as error:
        console.print(f"[yellow]No front:[/] {error}")
    try:
        paths = write_report(experiment, folder)
    except ExperimentError as error:
        console.print(f"No report: {error}")
        paths = {}
    for name, path in paths.items():
        console.print(f"  {name:7} {path}", highlight=False, soft_wrap=True)
    if "front" in paths and _is_exportable(experiment):
        console.print(
            f"Export a point with: joint-ga export {name_of(source)} --knee -o exported",
            highlight=False,
        )
    return experiment.log.counts()[COMPLETE]


def leave(
    console: Console, status: str, name: str, folder: Path, reason: str, results: int
) -> None:
    """Says how to go on after a run that was stopped or failed; returns after one that did not.

    Args:
        console: where a stop is told.
        status: ``DONE``, ``INTERRUPTED``, or how else it ended.
        name: of the experiment, for a command.
        folder: of the experiment.
        reason: of a failure.
        results: number of trials that gave one.

    Raises:
        typer.Exit: 130 after a stop, 3 after a failure or without any result.
    """
    if status == "INTERRUPTED":
        console.print(f"Stopped. Continue it with: joint-ga resume {name}", soft_wrap=True)
        raise typer.Exit(130)
    if status != "DONE":
        print(
            f"joint-ga: error: the experiment ended as {status}: {reason or 'no reason given'} "
            f"(logs: {folder / 'log'}; to go on: joint-ga resume {name})",
            file=sys.stderr,
        )
        raise typer.Exit(3)
    if not results:
        _print_last_words(folder)
        raise typer.Exit(3)


def _print_last_words(folder: Path) -> None:
    """Says that no trial gave a result, and what trials ended with."""
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
