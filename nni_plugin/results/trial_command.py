"""What an experiment's trials were: task, device, data and network, read from its NNI profile."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from nni_plugin.protocol.json_types import Settings
from nni_plugin.results.experiment import Experiment, ExperimentError
from nni_plugin.trial import arguments

__all__ = ["TrialCommand", "trial_command"]


@dataclass(frozen=True)
class TrialCommand:
    """The arguments that matter of ``python -m nni_plugin.trial``; paths are absolute."""

    task: str
    device: str
    data: str | None
    network: Path | None
    folder: Path
    schedule: str | None = None


def profile(experiment: Experiment) -> Settings:
    """The experiment's settings as NNI stored them.

    Raises:
        ExperimentError: there is no database, or no profile in it.
    """
    database = experiment.folder / "db" / "nni.sqlite"
    if not database.is_file():
        raise ExperimentError(f"{database} is missing: give --task and --device")
    with sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=10) as connection:
        row = connection.execute(
            "SELECT params FROM ExperimentProfile ORDER BY revision DESC LIMIT 1"
        ).fetchone()
    if row is None:
        raise ExperimentError(f"{database} holds no experiment profile: give --task and --device")
    settings: Settings = json.loads(row[0])
    return settings


def trial_command(experiment: Experiment) -> TrialCommand:
    """How the experiment's trials were called.

    Raises:
        ExperimentError: they were not ``python -m nni_plugin.trial``.
    """
    settings = profile(experiment)
    words = shlex.split(os.path.expandvars(str(settings.get("trialCommand", ""))))
    if "nni_plugin.trial" not in words:
        raise ExperimentError(
            f"the trials of experiment {experiment.id} were not run by nni_plugin.trial "
            f"({shlex.join(words)!r}): give --task, --device and --params"
        )
    args = arguments(words[words.index("nni_plugin.trial") + 1 :])
    folder = Path(settings.get("trialCodeDirectory") or ".")
    network = folder / args.network if args.network else None
    if args.data and (folder / args.data).exists():
        args.data = str(folder / args.data)
    return TrialCommand(args.task, args.device, args.data, network, folder, args.schedule)
