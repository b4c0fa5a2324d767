"""Shows a running experiment in the terminal until it ends: the loop of ``joint-ga run``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ga.evaluation import CENSORED, COMPLETE, FAILED, RUNNING
from nni_plugin.cli.tables import front_table
from nni_plugin.protocol.manager import EXPERIMENT_ENDED
from nni_plugin.results.pareto_front import FrontHistory
from nni_plugin.setup.launcher import Session
from nni_plugin.study.trial_log import TrialLog

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["Outcome", "follow"]

_POLL_S = 1.0
_LOST_AFTER = 8
_TUNER_POLL_S = 5.0
_GONE_AFTER = 3
"""So many looks in a row must miss the tuner."""
_AT_WORK = ("RUNNING", "NO_MORE_TRIAL", "TUNER_NO_MORE_TRIAL")


@dataclass(frozen=True)
class Outcome:
    """How an experiment ended: NNI's status (or ``LOST``) and its errors."""

    status: str
    errors: list[str] = field(default_factory=list)


class _Progress:
    """What is known right now: the journal's trials, or NNI's own counts for another tuner."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.log = TrialLog(session.folder / "checkpoint" / "journal.jsonl")
        self.history: FrontHistory | None = None
        self.started = time.monotonic()
        self._goal: object = None
        self._printed: object = None

    def refresh(self) -> None:
        finished = self.log.refresh()
        goal = (self.log.objectives, self.log.constraints)
        if self.log.objectives and goal != self._goal:
            self.history = FrontHistory(self.log.objectives, self.log.constraints)
            self._goal = goal
            finished = self.log.finished(COMPLETE)
        if self.history is not None:
            self.history.extend(finished)

    def line(self) -> str:
        """One line: counts, hypervolume, front, time."""
        total = f"/{self.session.trials}" if self.session.trials else ""
        if self.log.started is None:
            counts = self.session.trial_counts()
            done = counts.get("SUCCEEDED", 0)
            parts = [f"{done}{total} complete", f"{counts.get('RUNNING', 0)} running"]
        else:
            tally = self.log.counts()
            parts = [f"{tally[COMPLETE]}{total} complete", f"{tally[RUNNING]} running"]
            parts += [f"{tally[FAILED]} failed"] if tally[FAILED] else []
            parts += [f"{tally[CENSORED]} stopped early"] if tally[CENSORED] else []
        if self.history is not None:
            parts += [f"front {len(self.history.front)}"]
            parts += [f"hypervolume {self.history.hypervolume:.4f}"]
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        return f"[{minutes:02d}:{seconds:02d}] " + ", ".join(parts)

    def view(self) -> RenderableType:
        """The line, a bar, and the front so far."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        parts: list[RenderableType] = [Text(self.line())]
        if self.session.trials:
            done = len(self.log.finished())
            parts.append(ProgressBar(total=self.session.trials, completed=done, width=60))
        if self.history is not None and self.history.front:
            parts.append(front_table(self.log, self.history, most=8, references=False))
        return Group(*parts)

    def print_if_new(self, console: Console) -> None:
        """Prints the line when the number of finished trials has changed."""
        counts = self.log.counts()
        finished = {status: n for status, n in counts.items() if status != RUNNING}
        if finished != self._printed:
            self._printed = finished
            console.print(self.line(), highlight=False)


def follow(session: Session, console: Console) -> Outcome:
    """Shows progress until the experiment is DONE, in ERROR or gone.

    On a terminal the view is redrawn in place; elsewhere a line is printed when a trial ends.
    """
    from rich.live import Live

    progress = _Progress(session)
    if not console.is_terminal:
        return _loop(session, progress, lambda: progress.print_if_new(console))
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show() -> None:
            live.update(progress.view(), refresh=True)

        return _loop(session, progress, show)


class _TunerWatch:
    """Notices a tuner that has ended, which NNI may not say."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._missed = 0
        self._next = 0.0

    def is_gone(self, status: str) -> bool:
        if status not in _AT_WORK:
            self._missed = 0
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + _TUNER_POLL_S
            self._missed = 0 if self._session.tuners() else self._missed + 1
        return self._missed >= _GONE_AFTER


def _loop(session: Session, progress: _Progress, show: Callable[[], None]) -> Outcome:
    unanswered = 0
    watch = _TunerWatch(session)
    while True:
        try:
            status, errors = session.status()
            progress.refresh()
            show()
            unanswered = 0
        except (OSError, ValueError) as error:
            unanswered += 1
            if unanswered >= _LOST_AFTER:
                return Outcome("LOST", [f"NNI's manager does not answer any more ({error})"])
        else:
            if status in EXPERIMENT_ENDED:
                return Outcome(status, errors)
            if watch.is_gone(status):
                return Outcome(
                    "ERROR", [f"the tuner's process has ended, while NNI's status was {status}"]
                )
        time.sleep(_POLL_S)
