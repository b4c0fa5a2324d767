"""Trains the finalists of an experiment that has ended, without NNI's server.

Each training is a process of its own, the same trial that NNI would start, and each step goes into
the experiment's journal: what is done stays done, whatever happens to this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ga.evaluation import COMPLETE
from nni_plugin.protocol.trial_stderr import last_line
from nni_plugin.study.final_args import FinalArgs
from nni_plugin.study.final_runs import FinalRuns
from nni_plugin.study.journal import Journal
from nni_plugin.study.trial import FinalTrial
from nni_plugin.study.trial_log import TrialLog

__all__ = ["AT_ONCE", "TrialProcess", "finish"]

AT_ONCE = 2
"""So many trainings run side by side."""

_PATIENCE_S = 2.0
_LOOK_S = 0.1
_LEAVE_S = 5.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class TrialProcess:
    """How a trial is started.

    Attributes:
        words: the arguments of ``python -m nni_plugin.trial``, without ``--params``.
        folder: where it runs.
    """

    words: tuple[str, ...]
    folder: Path

    def start(self, run: FinalTrial, place: Path) -> subprocess.Popen[bytes]:
        """Starts a training; what it prints goes to files in ``place``."""
        place.mkdir()
        params = place / "params.json"
        params.write_text(json.dumps(run.params), encoding="utf-8")
        package = str(Path(__file__).parents[1])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
        with (place / "stdout").open("wb") as out, (place / "stderr").open("wb") as err:
            return subprocess.Popen(
                [sys.executable, "-m", "nni_plugin.trial", *self.words, "--params", str(params)],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,  # Ctrl-C is for this process, which ends them
            )


def finish(journal: str | Path, args: FinalArgs, trial: TrialProcess, say: Say) -> TrialLog:
    """Trains what is missing of the finalists; those that have a result are not trained again.

    Args:
        journal: the experiment's.
        args: how many finalists, seeds and epochs.
        trial: how a training is started.
        say: told what is done, a line at a time.

    Returns:
        The log with all results.

    Raises:
        JournalInUseError: the experiment still runs.
        ValueError: finalists were trained for another number of epochs, or none can be chosen.
    """
    with Journal(journal, _PATIENCE_S) as file:
        # Read once it is this process's own.
        log = TrialLog.read(journal)

        def write(event: str, **fields: object) -> None:
            log.apply(file.append(event, **fields))

        runs = FinalRuns(args, log, write)
        with tempfile.TemporaryDirectory(prefix="joint-ga-finish-") as folder:
            _Trainings(runs, log, trial, Path(folder), say).run()
    if not log.finalists():
        raise ValueError(
            f"{journal}: no finalist has a result; no trial is feasible, or all trainings failed "
            "(the lines above say why)"
        )
    return log


class _Trainings:
    """At most `AT_ONCE` processes, until no training is missing."""

    def __init__(
        self, runs: FinalRuns, log: TrialLog, trial: TrialProcess, folder: Path, say: Say
    ) -> None:
        self._runs, self._log, self._trial, self._folder, self._say = runs, log, trial, folder, say
        # Asked for by a process that did not see the end of it.
        self._lost = [run for run in runs.running() if run.is_finalist]
        self._busy: dict[int, subprocess.Popen[bytes]] = {}
        self._started = 0

    def run(self) -> None:
        with self._ended_on_the_way_out():
            while self._fill() or self._busy:
                self._collect()
                time.sleep(_LOOK_S)

    def _fill(self) -> bool:
        """Starts what there is room for; whether something was started."""
        started = False
        while len(self._busy) < AT_ONCE:
            run = self._lost.pop(0) if self._lost else self._runs.ask(None, over=True)
            if run is None:
                break
            self._started += 1
            self._busy[run.uid] = self._trial.start(run, self._place(run))
            self._say(f"uid {run.of}, seed {run.run.seed}: trains for {run.run.epochs} epochs")
            started = True
        return started

    def _place(self, run: FinalTrial) -> Path:
        return self._folder / str(-run.uid)

    def _collect(self) -> None:
        for uid, process in list(self._busy.items()):
            code = process.poll()
            if code is None:
                continue
            del self._busy[uid]
            run = self._log.finals[uid]
            place = self._place(run)
            metrics = _last_metrics(place / "stdout") if code == 0 else None
            if metrics is None:
                why = last_line(place / "stderr") or f"exit code {code}"
                self._runs.fail(uid, why.removeprefix("trial failed: "))
            else:
                self._runs.tell(uid, metrics)
            self._say(self._outcome(run))

    def _outcome(self, run: FinalTrial) -> str:
        what = f"uid {run.of}, seed {run.run.seed}"
        if run.status != COMPLETE:
            return f"{what} failed: {run.reason}"
        metric = self._log.forecasts.metric if self._log.forecasts else "default"
        done = sum(r.is_finalist and r.status == COMPLETE for r in self._log.finals.values())
        args = self._runs.args
        of = args.finalist_trials if args is not None else done
        return f"{what}: {metric} {run.metrics[metric]:.4g} ({done} of {of})"

    @contextmanager
    def _ended_on_the_way_out(self) -> Iterator[None]:
        try:
            yield
        finally:
            _end(list(self._busy.values()))


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_metrics(path: Path) -> object:
    """The JSON of a trial's last line; None if it is none."""
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    try:
        found: object = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return found
