"""Reads a running or a stopped experiment: the tuner's journal, joined with NNI's own records.

What was asked and answered comes from the journal, which pairs chromosomes and results rightly.
NNI's sqlite adds what only NNI knows: trial ids, how a trial ended for NNI, and when it ran.
"""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ga.evaluation import CENSORED, COMPLETE, FAILED, RUNNING
from ga.history.unmet_limits import unmet_limits
from ga.problem.objectives import parse_constraints
from nni_plugin.protocol.manager import TRIAL_ENDED
from nni_plugin.protocol.suggestions import did_you_mean
from nni_plugin.results.engine_record import JobRecords
from nni_plugin.results.nni_database import select
from nni_plugin.study.trial_log import Trial, TrialLog

if TYPE_CHECKING:
    import pandas as pd

    from nni_plugin.results.pareto_front import FrontHistory

__all__ = ["Experiment", "ExperimentError", "NoFrontError", "experiments_folder", "known_folders"]

_JOURNALS = ("checkpoint/journal.jsonl", "journal.jsonl")


class ExperimentError(ValueError):
    """An experiment that isn't there or can't be read; the message says what to do."""


class NoFrontError(ExperimentError):
    """An experiment in which no trial can be on a front, and why."""


def experiments_folder() -> Path:
    """NNI's default working directory."""
    return Path.home() / "nni-experiments"


def _registered_folder(experiment_id: str) -> Path | None:
    """Working directory that NNI's list of experiments notes for an id."""
    try:
        known = json.loads((experiments_folder() / ".experiment").read_text(encoding="utf-8"))
        return Path(known[experiment_id]["logDir"]) / experiment_id
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _experiments_in(folder: Path) -> list[str]:
    """Names of the folders in it that hold an experiment."""
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return []
    return [p.name for p in inside if p.name != "_latest" and _is_experiment(p)]


def known_folders(directory: str | Path | None = None) -> list[Path]:
    """Folders of the experiments in a working directory, or in NNI's own and where it notes some.

    Raises:
        ExperimentError: there is no such folder.
    """
    if directory is not None:
        if not Path(directory).is_dir():
            raise ExperimentError(
                f"--dir {directory}: no such folder{near_experiments(Path(directory))}"
            )
        return [Path(directory) / name for name in _experiments_in(Path(directory))]
    own = experiments_folder()
    try:
        noted = json.loads((own / ".experiment").read_text(encoding="utf-8"))
        elsewhere = [_registered_folder(name) for name in noted]
    except (OSError, ValueError, TypeError):
        elsewhere = []
    found = [own / name for name in _experiments_in(own)]
    found += [folder for folder in elsewhere if folder and _is_experiment(folder)]
    return list(dict.fromkeys(folder.resolve() for folder in found))


def _is_experiment(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _JOURNALS)


def near_experiments(path: Path) -> str:
    """What someone may have meant by a path without an experiment; empty if nothing is near.

    Args:
        path: whatever was given.
    """
    for above in path.absolute().parents:
        if _is_experiment(above):
            return f" (did you mean {str(above)!r}, the experiment around it?)"
    for place in (path, path.parent):
        if there := _experiments_in(place):
            meant = did_you_mean(path.name, there) if place != path else ""
            return meant or f" (in {place} there are: {', '.join(there[-8:])})"
    return ""


@dataclass
class NniTrial:
    """What NNI's database says about one trial job; times are seconds since the epoch."""

    status: str = ""
    started: float | None = None
    ended: float | None = None


class Experiment:
    """One experiment on disk.

    Args:
        folder: the experiment's own folder, which holds ``checkpoint/``, ``db/`` and ``log/``; or
            any folder with a ``journal.jsonl``.

    Raises:
        ExperimentError: no journal there, or an empty one.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).resolve()
        self.journal = self._find_journal()
        self.log = TrialLog(self.journal)
        self.log.refresh()
        if self.log.started is None:
            raise ExperimentError(
                f"experiment {self.id} is empty: {self.journal} holds no start event; its tuner "
                f"did not come up (see {self.folder / 'log' / 'dispatcher.log'})"
            )

    @classmethod
    def open(cls, experiment: str, directory: str | Path | None = None) -> Experiment:
        """Finds an experiment by its id or its path.

        Args:
            experiment: NNI's id (``hn4ce1zx``) or a folder.
            directory: the ``experimentWorkingDirectory``, if it is not NNI's default one.

        Raises:
            ExperimentError: there is none; the message lists the ones that are there.
        """
        places = [Path(directory) / experiment] if directory else []
        if not directory:
            noted = _registered_folder(experiment)
            places += [noted] if noted else []
            places += [experiments_folder() / experiment, Path(experiment)]
        for place in places:
            if place.is_dir():
                return cls(place)
        parent = Path(directory) if directory else experiments_folder()
        if directory and not parent.is_dir():
            raise ExperimentError(f"--dir {parent}: no such folder{near_experiments(parent)}")
        if (given := places[-1]).exists():
            raise ExperimentError(
                f"{given} is a file, not an experiment's folder{near_experiments(given)}"
            )
        # A path has more to go by than a name in the list of all.
        if not directory and os.sep in experiment:
            raise ExperimentError(f"there is no folder {experiment}{near_experiments(given)}")
        there = _experiments_in(parent)
        listing = (
            f"it holds: {', '.join(there[-8:])}" if there else "no JointGA experiment is there"
        )
        raise ExperimentError(
            f"there is no experiment {experiment!r} in {parent}{did_you_mean(experiment, there)} "
            f"({listing}); give an id, a path, or --dir with the experimentWorkingDirectory"
        )

    @property
    def id(self) -> str:
        """NNI's experiment id: the folder's name."""
        return self.folder.name

    def _find_journal(self) -> Path:
        for place in (self.folder / name for name in _JOURNALS):
            if place.is_file():
                return place
        raise ExperimentError(
            f"{self.folder} holds no experiment (no journal.jsonl)"
            f"{near_experiments(self.folder)}; where it is NNI's, its tuner is not JointGA, or it "
            "never started"
        )

    def history(self) -> FrontHistory:
        """The front and its hypervolume after every complete trial.

        Raises:
            NoFrontError: no trial has completed, none reports every objective, or none satisfies
                the constraints.
        """
        from nni_plugin.results.pareto_front import FrontHistory

        history = FrontHistory(self.log.objectives, self.log.constraints)
        complete = self.log.finished(COMPLETE)
        history.extend(complete)
        if not history.front:
            raise NoFrontError(self._why_no_front(complete, history.without_objectives))
        return history

    def _why_no_front(self, complete: list[Trial], without_objectives: int) -> str:
        counts = self.log.counts()
        # The tuner waits a while for a late result before it writes a failure down; NNI knows.
        failed = max(counts[FAILED], sum(t.status == "FAILED" for t in self.nni_trials().values()))
        if not complete and failed:
            noted = self.log.finished(FAILED)
            return (
                f"experiment {self.id} has only failed trials ({failed}); the last reason: "
                f"{noted[-1].reason if noted else 'see its stderr'}; the trials' output is in "
                f"{self.folder / 'environments'}"
            )
        if not complete:
            return (
                f"experiment {self.id} has no finished trial yet ({counts[RUNNING]} running, "
                f"{counts[CENSORED]} stopped early): try again later"
            )
        if without_objectives == len(complete):
            missing = {
                name
                for name in self.log.objectives
                if not any(name in trial.metrics for trial in complete)
            }
            return (
                f"no trial of experiment {self.id} reports {', '.join(sorted(missing)) or 'all'} "
                f"of the objectives; reported are: {', '.join(self.log.metric_names())}"
            )
        limits = ", ".join(f"{m} {c}" for m, c in self.log.constraints.items())
        unmet = unmet_limits(
            parse_constraints(self.log.constraints), {t.uid: t.metrics for t in complete}
        )
        return (
            f"none of the {len(complete)} finished trials of experiment {self.id} satisfies the "
            f"constraints ({limits}): loosen them or search longer{f' ({unmet})' if unmet else ''}"
        )

    def front(self) -> list[Trial]:
        """Feasible, non-dominated trials, by the first objective.

        Raises:
            NoFrontError: see :meth:`history`.
        """
        trials = [self.log.trials[uid] for uid in self.history().front]
        first = next(iter(self.log.objectives))
        return sorted(trials, key=lambda t: t.ranked[first])

    def trial(self, name: str) -> Trial:
        """A trial by NNI's trial id, or by its chromosome's uid.

        Raises:
            ExperimentError: there is none, or nobody knows its parameters.
        """
        for trial in self.log.trials.values():
            if name in (trial.job_id, str(trial.uid)):
                if trial.lost:
                    raise ExperimentError(
                        f"trial {name} of experiment {self.id} can't be used: {trial.reason}"
                    )
                return trial
        raise ExperimentError(
            f"experiment {self.id} has no trial {name!r}: give NNI's trial id or a uid up to "
            f"{max(self.log.trials, default=0)}"
        )

    def nni_trials(self) -> dict[str, NniTrial]:
        """The engine's own records by trial id; empty where it left none."""
        database = self.folder / "db" / "nni.sqlite"
        if not database.is_file():
            jobs = JobRecords.read(self.folder)
            return {j.job: NniTrial(j.status, j.started, j.ended) for j in jobs}
        try:
            rows = select(
                database,
                # As they were written: the clock may have been set back in between.
                "SELECT timestamp, trialJobId, event FROM TrialJobEvent ORDER BY rowid",
            )
        except sqlite3.DatabaseError as error:
            raise ExperimentError(f"{database} can't be read: {error}") from error
        trials: dict[str, NniTrial] = {}
        for timestamp, trial_id, event in rows:
            trial = trials.setdefault(trial_id, NniTrial())
            if event == "RUNNING":
                trial.started = timestamp / 1000
            if event in TRIAL_ENDED:
                trial.ended = timestamp / 1000
            if event != "ADD_CUSTOMIZED":
                trial.status = event
        return trials

    def frame(self) -> pd.DataFrame:
        """One row per chromosome, in the order they were asked.

        Columns: uid, trial, status, nni_status, origin, feasible, front, asked, duration_s, reason,
        measurements, then the metrics, then what is believed of trials on the front, then the genes
        (nested choices flat, ``outer/inner``). A gene named like another column gets the prefix
        ``param.``. A metric that a trial didn't report is NaN, and so is a duration in which NNI's
        clock was set back.

        Once networks were trained to the end, there are ``expected_<metric>`` and its interval
        (``_low``, ``_high``), and of those networks ``final_<metric>`` (the mean of ``final_runs``)
        and ``test_<metric>``.

        Of a metric that scatters from trial to trial, ``METRIC.mean`` is what it probably is with
        luck taken off, and nine of ten networks lie between ``METRIC.low`` and ``METRIC.high``
        (see :mod:`ga.beliefs`). Fewer than ten results say nothing of luck.
        """
        import pandas as pd

        from nni_plugin.results.live_page import flatten
        from nni_plugin.results.luck import believed

        front, feasible = self._marks()
        nni = self.nni_trials()
        metrics = self.log.metric_names()
        beliefs = {uid: b for uid, b in believed(self.log, front).items() if b.mean}
        scattering = [n for n in metrics if any(n in b.mean for b in beliefs.values())]
        rows = []
        for trial in self.log.trials.values():
            job = nni.get(trial.job_id or "", NniTrial())
            ran = job.ended - job.started if job.ended and job.started else None
            row: dict[str, object] = {
                "uid": trial.uid,
                "trial": trial.job_id,
                "status": trial.status,
                "nni_status": job.status or None,
                "origin": trial.origin,
                "feasible": trial.uid in feasible,
                "front": trial.uid in front,
                "asked": pd.Timestamp(trial.asked, unit="s") if trial.asked else None,
                "duration_s": round(ran, 2) if ran is not None and ran >= 0 else None,
                "reason": trial.reason,
                "measurements": (len(trial.readings) or 1) if trial.status == COMPLETE else 0,
            }
            row.update({name: trial.shown.get(name) for name in metrics})
            belief = beliefs.get(trial.uid)
            for name in scattering:
                for part in ("mean", "low", "high"):
                    row[f"{name}.{part}"] = getattr(belief, part)[name] if belief else None
            for gene, value in flatten(trial.params).items():
                row[f"param.{gene}" if gene in row else gene] = value
            rows.append(row)
        return pd.DataFrame(rows)

    def _marks(self) -> tuple[set[int], set[int]]:
        from nni_plugin.results.pareto_front import FrontHistory

        history = FrontHistory(self.log.objectives, self.log.constraints)
        complete = self.log.finished(COMPLETE)
        history.extend(complete)
        return set(history.front), {t.uid for t in complete if history.feasible(t)}
