"""The interface between a search and whatever runs its trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nni_plugin.protocol.json_types import Params
from nni_plugin.protocol.limits import Limits

__all__ = ["Ended", "Engine", "EngineError", "Event", "Final", "Job", "Note", "Reported"]


class EngineError(RuntimeError):
    """An engine that isn't there or is gone; the message says what to do."""


@dataclass(frozen=True)
class Job:
    """One trial of a chromosome; a chromosome that is asked for again gets another job.

    Attributes:
        id: unique within the experiment.
        sequence: number of the job in the experiment, from 0.
        params: the chromosome, with its ``uid``.
    """

    id: str
    sequence: int
    params: Params


@dataclass(frozen=True)
class Reported:
    """An intermediate result."""

    job: str
    value: object


@dataclass(frozen=True)
class Final:
    """A final result; the trial may take a moment to end."""

    job: str
    value: object


@dataclass(frozen=True)
class Ended:
    """A trial's end.

    Attributes:
        job: its id.
        reason: why it failed, in one line; None if it ended in order.
        is_lost: whether its machine, its engine or a kill took it away, and not what it ran.
        node: where it ran, if not on this machine.
    """

    job: str
    reason: str | None = None
    is_lost: bool = False
    node: str = ""


@dataclass(frozen=True)
class Note:
    """Something that a user should know of, such as a node that is gone."""

    text: str


Event = Reported | Final | Ended | Note


class Engine(Protocol):
    """Runs trials; knows nothing of chromosomes, budgets and journals.

    Every job that was started gives one ``Ended``, whatever becomes of it.
    """

    name: str

    def start(self, job: Job) -> None:
        """Starts a trial, or puts it into the engine's own queue.

        Raises:
            EngineError: the engine is gone.
        """

    def limit(self, limits: Limits) -> None:
        """Holds trials to these limits from now on, those that run included."""

    def events(self, seconds: float) -> Sequence[Event]:
        """What has happened since the last call; waits so long if nothing has.

        Raises:
            EngineError: the engine is gone.
        """

    def stop(self, job: str) -> None:
        """Has a trial end before its time; its ``Ended`` follows."""

    def final_result(self, uid: int) -> tuple[str, object] | None:
        """The job and the final result of a chromosome whose driver was killed before it knew."""

    def close(self) -> None:
        """Ends all trials and the engine; nothing of it is left running."""


def jobs_of(folder: Path, uid: int) -> list[Path]:
    """The folders of a chromosome's jobs, the latest last.

    Args:
        folder: of all trials, see ``trials_folder``.
        uid: the chromosome's number.
    """
    first = folder / job_name(uid, 0)
    if not first.is_dir():
        return []  # without a look at the folders of all the others
    found = [first, *folder.glob(f"{first.name}.*")]
    numbered = [(int(path.suffix[1:] or 0), path) for path in found if path.is_dir()]
    return [path for _, path in sorted(numbered)]


def job_name(uid: int, again: int) -> str:
    """``t7``, and ``t7.1`` for the second trial of the same chromosome."""
    return f"t{uid}.{again}" if again else f"t{uid}"


def trials_folder(experiment: Path) -> Path:
    """Where trials have their folders, as NNI lays them out."""
    return experiment / "environments" / "local-env" / "trials"
