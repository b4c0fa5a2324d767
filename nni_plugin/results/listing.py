"""What there is to look at: the experiments of a folder, each in one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ga.evaluation import COMPLETE, FAILED, RUNNING
from nni_plugin.results.experiment import Experiment, ExperimentError, known_folders
from nni_plugin.results.page_data import PageData
from nni_plugin.results.trial_command import planned_trials

__all__ = ["Summary", "list_experiments", "summary"]


@dataclass(frozen=True)
class Summary:
    """An experiment in one line.

    Attributes:
        experiment: its id.
        folder: where it lies.
        ended: why it is over; empty if it runs, or was killed.
        complete: trials with a result.
        failed: trials without one.
        running: trials that have neither.
        planned: after how many it is done; None if that is not known.
        front: trials on the front.
        hypervolume: in boxes of its own first results; None before these are known.
        objectives: ``{metric: "maximize" | "minimize"}``.
        started: of its first start, in seconds since the epoch.
    """

    experiment: str
    folder: Path
    ended: str
    complete: int
    failed: int
    running: int
    planned: int | None
    front: int
    hypervolume: float | None
    objectives: dict[str, str]
    started: float | None


def summary(experiment: Experiment) -> Summary:
    """An opened experiment in one line."""
    planned = planned_trials(experiment)
    data = PageData(experiment.log, experiment.id, planned)
    data.refresh()
    counts, volume = experiment.log.counts(), data.hypervolume
    return Summary(
        experiment=experiment.id,
        folder=experiment.folder,
        ended=data.ended(),
        complete=counts[COMPLETE],
        failed=counts[FAILED],
        running=counts[RUNNING],
        planned=planned,
        front=len(data.front),
        hypervolume=volume,
        objectives=experiment.log.objectives,
        started=experiment.log.started,
    )


def list_experiments(directory: str | Path | None = None) -> Sequence[Summary]:
    """The experiments of a folder, the latest last; those that can't be read are left out.

    Args:
        directory: the ``experimentWorkingDirectory``; NNI's own, and what its list of experiments
            notes elsewhere, without.

    Raises:
        ExperimentError: there is no such folder.
    """
    found = []
    for folder in known_folders(directory):
        try:
            found.append(summary(Experiment(folder)))
        except (ExperimentError, OSError):
            continue
    return sorted(found, key=lambda each: each.started or 0.0)
