"""What an experiment's trials were: task, device, data and network, read from its NNI profile."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from nni_plugin.protocol.json_types import Settings
from nni_plugin.results.engine_record import EngineRecord
from nni_plugin.results.experiment import Experiment, ExperimentError
from nni_plugin.results.nni_database import select
from nni_plugin.trial import arguments
from nni_plugin.trial_supernet import SupernetChoice

__all__ = ["TrialCommand", "planned_trials", "trial_command"]


@dataclass(frozen=True)
class TrialCommand:
    """The arguments that matter of ``python -m nni_plugin.trial``; paths are absolute.

    ``words`` are all of them as they stand; relative paths in these start in ``folder``.
    """

    task: str
    device: str
    data: str | None
    network: Path | None
    folder: Path
    schedule: str | None = None
    stack: str | None = None
    supernet: SupernetChoice | None = None
    words: tuple[str, ...] = ()


def profile(experiment: Experiment) -> Settings:
    """The experiment's settings as its engine stored them.

    Raises:
        ExperimentError: there is no database, or no profile in it.
    """
    record = EngineRecord.read(experiment.folder)
    if record is not None:
        return record.config
    database = experiment.folder / "db" / "nni.sqlite"
    if not database.is_file():
        raise ExperimentError(f"{database} is missing: give --task and --device")
    rows = select(database, "SELECT params FROM ExperimentProfile ORDER BY revision DESC LIMIT 1")
    if not rows:
        raise ExperimentError(f"{database} holds no experiment profile: give --task and --device")
    settings: Settings = json.loads(rows[0][0])
    return settings


def planned_trials(experiment: Experiment) -> int | None:
    """After how many trials the experiment is done; None if NNI notes no such number of it."""
    try:
        planned = profile(experiment).get("maxTrialNumber")
    except (ExperimentError, sqlite3.DatabaseError):
        return None
    return planned if isinstance(planned, int) else None


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
    words = words[words.index("nni_plugin.trial") + 1 :]
    args = arguments(words)
    folder = Path(settings.get("trialCodeDirectory") or ".")
    network = folder / args.network if args.network else None
    if args.data and (folder / args.data).exists():
        args.data = str(folder / args.data)
    supernet = SupernetChoice.of(args, folder)
    return TrialCommand(
        args.task,
        args.device,
        args.data,
        network,
        folder,
        args.schedule,
        args.stack,
        supernet,
        tuple(words),
    )
