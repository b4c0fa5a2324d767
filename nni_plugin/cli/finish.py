"""``joint-ga finish``: trains the finalists of an experiment that has ended."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nni_plugin.finishing import TrialProcess
    from nni_plugin.results.experiment import Experiment
    from nni_plugin.study.final_args import FinalArgs

__all__ = ["add_commands"]


def finish(
    experiment: Annotated[
        str, typer.Argument(help="Experiment id, or its folder.", metavar="EXPERIMENT")
    ],
    count: Annotated[
        int | None, typer.Option(help="Finalists; default: the config's, or 3.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Trainings of each; default: the config's, or 3.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Of each; default: the config's, or 3x the task's.")
    ] = None,
    trial: Annotated[
        str | None,
        typer.Option(
            "--trial-arguments",
            help="Of nni_plugin.trial, e.g. '--task M:F --device ID'; default: the experiment's.",
        ),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="The experimentWorkingDirectory, if not ~/nni-experiments."),
    ] = None,
) -> None:
    """Train the best few of an ended experiment to the end, with several seeds each.

    Two at once, in processes of this machine, without NNI. The results go into the experiment's
    journal. After Ctrl-C the same command goes on with what is missing. The test split is read
    here, for the finalists only.
    """
    from nni_plugin.cli.tables import finalists_table, make_console
    from nni_plugin.finishing import finish as train
    from nni_plugin.results.experiment import Experiment
    from nni_plugin.results.finalists import finalists

    opened = Experiment.open(experiment, directory)
    process = _process(opened, trial)
    args = _settings(opened, process, {"count": count, "seeds": seeds, "epochs": epochs})

    def say(text: str) -> None:
        print(text, flush=True)

    log = train(opened.journal, args, process, say)
    make_console().print(finalists_table(log, finalists(log)))


def _process(experiment: Experiment, given: str | None) -> TrialProcess:
    from nni_plugin.finishing import TrialProcess
    from nni_plugin.results.trial_command import trial_command

    if given is not None:
        return TrialProcess(tuple(shlex.split(given)), Path.cwd())
    command = trial_command(experiment)
    return TrialProcess(command.words, command.folder)


def _settings(
    experiment: Experiment, process: TrialProcess, given: dict[str, int | None]
) -> FinalArgs:
    """The config's ``final`` with the options in place of what it says."""
    from nni_plugin.study.final_args import NAME, FinalArgs

    log = experiment.log
    own = log.class_args.get(NAME)
    options = {name: value for name, value in given.items() if value is not None}
    settings = {**(own if isinstance(own, dict) else {}), **options}
    if "epochs" not in settings:
        trained = [run.run.epochs for run in log.finals.values()]
        settings["epochs"] = trained[-1] if trained else _epochs_of_export(process)
    parsed = FinalArgs.parse(settings, [*log.objectives, *log.constraints])
    assert parsed is not None
    if not parsed.count:
        raise ValueError("there is nothing to do for no finalists: give --count")
    return replace(parsed, trials=0)


def _epochs_of_export(process: TrialProcess) -> int:
    from evaluators import load_task
    from evaluators.export import EPOCHS_FACTOR
    from nni_plugin.study.user_functions import import_path
    from nni_plugin.trial import arguments

    args = arguments(process.words)
    data = args.data
    if data and (process.folder / data).exists():
        data = str(process.folder / data)
    with import_path(process.folder, first=True):
        return max(1, EPOCHS_FACTOR * load_task(args.task, data).recipe.epochs)


def add_commands(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command(epilog="Example:  joint-ga finish hn4ce1zx --count 3 --seeds 3 --epochs 40")(finish)
