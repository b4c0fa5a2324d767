"""Shows a running experiment in the terminal until it ends: the loop of ``joint-ga run``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ga.evaluation import CENSORED, COMPLETE, FAILED, IMPORTED, RUNNING
from nni_plugin.cli.stuck_trials import StuckTrials
from nni_plugin.cli.tables import front_table
from nni_plugin.protocol.manager import EXPERIMENT_ENDED
from nni_plugin.results.pareto_front import FrontHistory
from nni_plugin.setup import processes
from nni_plugin.setup.launcher import Session
from nni_plugin.setup.manager_watch import ManagerWatch
from nni_plugin.setup.ports import Say
from nni_plugin.study.trial_log import Trial, TrialLog

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["Outcome", "follow", "follow_run"]

_POLL_S = 1.0
_TUNER_POLL_S = 5.0
_GONE_AFTER = 3
"""So many looks in a row must miss the tuner."""
_TOLD_FAILURES = 10
_LAST_WORDS_S = 5.0
"""The tuner gives a failed trial up after two seconds."""
_AT_WORK = ("RUNNING", "NO_MORE_TRIAL", "TUNER_NO_MORE_TRIAL")


@dataclass(frozen=True)
class Outcome:
    """How an experiment ended: NNI's status, ``LOST`` or ``STUCK``, and its errors."""

    status: str
    errors: list[str] = field(default_factory=list)


Loop = Callable[[Callable[[], None], Say], Outcome]


class _Progress:
    """What is known right now: the journal's trials, or NNI's own counts for another tuner.

    Args:
        folder: the experiment's.
        trials: how many are planned; None for no limit.
        known_failures: number of trials that had failed before this start.
        counts: trials by NNI's status, for an experiment without a journal.
    """

    def __init__(
        self,
        folder: Path,
        trials: int | None,
        known_failures: int,
        counts: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._planned = trials
        self._counts = counts
        self._known_failures = known_failures
        self.log = TrialLog(folder / "checkpoint" / "journal.jsonl")
        self.history: FrontHistory | None = None
        self.started = time.monotonic()
        self._told = 0
        self._noted = 0
        self._goal: object = None
        self._printed: object = None

    def refresh(self, say: Say) -> None:
        """Takes up what has finished; says why trials failed."""
        finished = self.log.refresh()
        self._tell_failures([trial for trial in finished if trial.status == FAILED], say)
        for text in list(self.log.notes)[self._noted :]:
            say(text)
        self._noted = len(self.log.notes)
        # What is expected of all trials changes with each network that is trained to the end.
        log = self.log
        goal = (log.objectives, log.constraints, log.measurements, log.forecasts)
        if self.log.objectives and goal != self._goal:
            self.history = FrontHistory(self.log.objectives, self.log.constraints)
            self._goal = goal
            finished = self.log.finished(COMPLETE)
        if self.history is not None:
            self.history.extend(finished)

    def _tell_failures(self, failed: Sequence[Trial], say: Say) -> None:
        known = min(self._known_failures, len(failed))
        self._known_failures -= known
        failed = failed[known:]
        for trial in failed[: max(0, _TOLD_FAILURES - self._told)]:
            say(f"uid {trial.uid} failed: {trial.reason}")
        before, self._told = self._told, self._told + len(failed)
        if before <= _TOLD_FAILURES < self._told:
            say("Further failures are on the live page and in trials.csv.")

    def _trained_to_end(self, status: str = COMPLETE) -> int:
        return sum(run.status == status for run in self.log.finals.values())

    def line(self) -> str:
        """One line: counts, hypervolume, front, time."""
        total = f"/{self._planned}" if self._planned else ""
        if self.log.started is None:
            counts = self._counts()
            done = counts.get("SUCCEEDED", 0)
            parts = [f"{done}{total} complete", f"{counts.get('RUNNING', 0)} running"]
        else:
            tally = self.log.counts()
            running = tally[RUNNING] + self._trained_to_end(RUNNING)
            parts = [f"{tally[COMPLETE]}{total} complete", f"{running} running"]
            parts += [f"{tally[FAILED]} failed"] if tally[FAILED] else []
            parts += [f"{tally[CENSORED]} stopped early"] if tally[CENSORED] else []
            parts += [f"{n} trained to the end"] if (n := self._trained_to_end()) else []
        if self.history is not None:
            parts += [f"front {len(self.history.front)}"]
            if self.history.is_settled:
                parts += [f"hypervolume {self.history.hypervolume:.4f}"]
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        return f"[{minutes:02d}:{seconds:02d}] " + ", ".join(parts)

    def view(self) -> RenderableType:
        """The line, a bar, and the front so far."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        parts: list[RenderableType] = [Text(self.line())]
        if self._planned:
            done = len(self.log.finished()) + self._trained_to_end()
            parts.append(ProgressBar(total=self._planned, completed=done, width=60))
        if self.history is not None and self.history.front:
            parts.append(front_table(self.log, self.history, most=8, references=False))
        return Group(*parts)

    def print_if_new(self, console: Console) -> None:
        """Prints the line when the number of finished trials has changed."""
        counts = self.log.counts()
        trials = {status: n for status, n in counts.items() if status != RUNNING}
        finished = (trials, self._trained_to_end())
        if finished != self._printed:
            self._printed = finished
            console.print(self.line(), highlight=False)


def follow(session: Session, console: Console, known_failures: int = 0) -> Outcome:
    """Shows progress until the experiment is DONE, in ERROR or gone.

    On a terminal the view is redrawn in place; elsewhere a line is printed when a trial ends.

    Args:
        session: the experiment.
        console: where to.
        known_failures: number of trials that had failed before this start.
    """
    progress = _Progress(session.folder, session.trials, known_failures, session.trial_counts)
    with _shown(progress, console) as (show, say):
        return _loop(session, progress, show, say)


def follow_run(
    folder: Path, trials: int | None, console: Console, known_failures: int, loop: Loop
) -> Outcome:
    """The same for an experiment whose engine is driven by this process.

    Args:
        folder: the experiment's.
        trials: how many are planned; None for no limit.
        console: where to.
        known_failures: number of trials that had failed before this start.
        loop: runs the experiment to its end; is given what to call a few times a second, and what
            to tell of the engine.
    """
    progress = _Progress(folder, trials, known_failures)
    with _shown(progress, console) as (show, say):
        last = 0.0

        def step() -> None:
            nonlocal last
            if time.monotonic() >= last + _POLL_S:
                last = time.monotonic()
                progress.refresh(say)
                show()

        outcome = loop(step, say)
        progress.refresh(say)
        show()
        return outcome


@contextlib.contextmanager
def _shown(progress: _Progress, console: Console) -> Iterator[tuple[Callable[[], None], Say]]:
    """What shows the progress, and what prints a line beside it."""
    from rich.live import Live

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    if not console.is_terminal:
        yield lambda: progress.print_if_new(console), say
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda: live.update(progress.view(), refresh=True), say


class _TunerWatch:
    """Notices a tuner that has ended or was suspended, which NNI may not say."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._missed = 0
        self._next = 0.0

    def is_gone(self, status: str) -> bool:
        if status not in _AT_WORK:
            self._missed = 0
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + _TUNER_POLL_S
            at_work = [pid for pid in self._session.tuners() if not processes.is_suspended(pid)]
            self._missed = 0 if at_work else self._missed + 1
        return self._missed >= _GONE_AFTER


def _loop(session: Session, progress: _Progress, show: Callable[[], None], say: Say) -> Outcome:
    manager = ManagerWatch(session.id)
    watch = _TunerWatch(session)
    stuck = StuckTrials(session, say)
    while True:
        try:
            status, errors = session.status()
            progress.refresh(say)
            show()
            reason = stuck.look(len(progress.log.finished()))
            manager.answered()
        except (OSError, ValueError) as error:
            if manager.is_lost():
                return Outcome("LOST", [f"NNI's manager does not answer any more ({error})"])
        else:
            if status in EXPERIMENT_ENDED:
                if status == "DONE":
                    _await_last_words(session, progress, say)
                return Outcome(status, errors)
            if reason is not None:
                return Outcome("STUCK", [reason])
            if watch.is_gone(status):
                what = "was suspended" if session.tuners() else "has ended"
                return Outcome(
                    "ERROR", [f"the tuner's process {what}, while NNI's status was {status}"]
                )
        time.sleep(_POLL_S)


def _await_last_words(session: Session, progress: _Progress, say: Say) -> None:
    """NNI may be done before the tuner has written down how the last trials ended."""
    deadline = time.monotonic() + _LAST_WORDS_S
    with contextlib.suppress(OSError, ValueError):
        ran = sum(session.trial_counts().values())
        while progress.log.started is not None and time.monotonic() < deadline:
            own = [trial for trial in progress.log.finished() if trial.origin != IMPORTED]
            if len(own) >= ran:
                return
            time.sleep(_POLL_S / 4)
            progress.refresh(say)
