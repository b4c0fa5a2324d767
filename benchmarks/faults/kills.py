"""Every kind of kill and stop, each three times, in short searches of the real NNI.

    python -m benchmarks.faults.kills [--times 3] [--kind "kill -9 manager"] [--output kills.json]

A search runs under ``joint-ga run`` and is struck in the middle of it. It has survived if
``joint-ga resume`` alone, right after that, brings it to its last trial, if the books are in order
(see ``long_run``) and if no process is left in the end. The exit status is 1 if one has not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.faults.books import audit
from benchmarks.faults.driver import (
    FRONTEND,
    MANAGER,
    TRIAL,
    TUNER,
    Experiment,
    NotStartedError,
    load,
)
from benchmarks.faults.table_task import Table, write_experiment

TRIALS = 8
_STRUCK_AFTER = 2
_TRIAL_S = 0.7
_NOTICE_S = 180.0
_END_S = 240.0
_PAUSE_S = 20.0
_SAID = re.compile(r"Ending what is left|ended as|Stopping the experiment")
"""How ``joint-ga run`` says that something happened."""
Strike = Callable[[Experiment], None]


def _kill(*whom: str) -> Strike:
    def strike(experiment: Experiment) -> None:
        assert experiment.kill(*whom), f"nothing there of {whom}"

    return strike


def _send(number: signal.Signals, whom: str) -> Strike:
    def strike(experiment: Experiment) -> None:
        assert experiment.send(number, whom), f"no {whom} there"

    return strike


def _stop(experiment: Experiment) -> None:
    experiment.nnictl("stop", experiment.id)


def _kill_tuner_and_stop(experiment: Experiment) -> None:
    _kill(TUNER)(experiment)
    _stop(experiment)


def _hang_and_kill(experiment: Experiment) -> None:
    _send(signal.SIGSTOP, MANAGER)(experiment)
    _kill(FRONTEND)(experiment)


def _pause(experiment: Experiment) -> None:
    """As on a machine so busy that the manager gets no CPU for a while: no reason to give it up."""
    _send(signal.SIGSTOP, MANAGER)(experiment)
    time.sleep(_PAUSE_S)
    _send(signal.SIGCONT, MANAGER)(experiment)


def _no_room(experiment: Experiment) -> None:
    """No file of the tuner can grow any more, as with a quota or a full disk."""
    for process in experiment.processes(TUNER):
        process.rlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))


@dataclass(frozen=True)
class Kind:
    """One kind of kill or stop.

    Attributes:
        strike: does it.
        goes_on: the search itself is not hit, so that nothing has to be resumed.
        fails_a_trial: a trial was killed, which counts as failed.
    """

    strike: Strike
    goes_on: bool = False
    fails_a_trial: bool = False


KINDS: dict[str, Kind] = {
    "kill -9 manager": Kind(_kill(MANAGER)),
    "kill -9 manager and trials": Kind(_kill(MANAGER, TRIAL)),
    "kill -9 manager and joint-ga": Kind(_kill(FRONTEND, MANAGER)),
    "kill -9 tuner": Kind(_kill(TUNER)),
    "kill -9 tuner, nnictl stop": Kind(_kill_tuner_and_stop),
    "kill -9 manager and tuner": Kind(_kill(MANAGER, TUNER)),
    "kill -9 everything": Kind(_kill()),
    "kill -9 joint-ga": Kind(_kill(FRONTEND), goes_on=True),
    "kill -9 a trial": Kind(_kill(TRIAL), goes_on=True, fails_a_trial=True),
    "nnictl stop": Kind(_stop),
    "Ctrl-C": Kind(_send(signal.SIGINT, FRONTEND)),
    "SIGTERM": Kind(_send(signal.SIGTERM, FRONTEND)),
    "closed terminal": Kind(_send(signal.SIGHUP, FRONTEND)),
    "manager hangs": Kind(_send(signal.SIGSTOP, MANAGER)),
    "manager hangs, kill -9 joint-ga": Kind(_hang_and_kill),
    f"manager stands still for {_PAUSE_S:.0f} s": Kind(_pause, goes_on=True),
    "tuner hangs": Kind(_send(signal.SIGSTOP, TUNER)),
    "journal can't grow": Kind(_no_room),
}


@dataclass
class Outcome:
    """What came of one strike.

    Attributes:
        kind: of ``KINDS``.
        survived: whether all that the module's docstring asks for holds.
        noticed_s: seconds until ``joint-ga run`` said so; None if it was killed or not concerned.
        ended_s: seconds until it had ended by itself.
        resumed_s: seconds from ``joint-ga resume`` to the running experiment.
        what: what went wrong, empty if nothing did.
    """

    kind: str
    survived: bool = False
    noticed_s: float | None = None
    ended_s: float | None = None
    resumed_s: float | None = None
    what: str = ""


def strike(kind: str, folder: Path, seed: int = 0) -> Outcome:
    """One search, struck once.

    Args:
        kind: of ``KINDS``.
        folder: for everything it writes; must not be there.
        seed: of the search.
    """
    table, outcome = Table.load(seed, 0.0), Outcome(kind)
    write_experiment(folder, table, TRIALS, seed=seed, wait_s=_TRIAL_S)
    experiment = Experiment(folder)
    try:
        experiment.run()
        experiment.wait(_NOTICE_S, lambda: _is_in_the_middle(experiment))
        assert _is_in_the_middle(experiment), f"no results {_NOTICE_S:.0f} s after the start"
        outcome.what = _survive(experiment, KINDS[kind], outcome)
        left = [process.cmdline()[:3] for process in experiment.processes()]
        outcome.what = outcome.what or (f"left running: {left}" if left else "")
    except (NotStartedError, AssertionError) as error:
        outcome.what = f"{type(error).__name__}: {error}"
    except Exception:  # whatever the kill broke is the finding; the other kinds run all the same
        outcome.what = traceback.format_exc()
    finally:
        experiment.end()
    if not outcome.what:
        wrong = audit(table, experiment.journal, folder / "ledger").wrong()
        if KINDS[kind].fails_a_trial:
            wrong.pop("failed_wrongly", None)
        outcome.what = f"books: {wrong}" if wrong else ""
    outcome.survived = not outcome.what
    outcome.what = outcome.what.replace(str(folder), "FOLDER")
    return outcome


def _is_in_the_middle(experiment: Experiment) -> bool:
    return experiment.results() >= _STRUCK_AFTER and bool(experiment.processes(TRIAL))


def _survive(experiment: Experiment, kind: Kind, outcome: Outcome) -> str:
    """Strike, resume, and see it to its end; returns what went wrong."""
    is_watched = True
    start = time.monotonic()
    kind.strike(experiment)
    if kind.goes_on:
        time.sleep(1)
        is_watched = experiment.tool.process.poll() is None
        if not is_watched:
            experiment.wait_for_results(TRIALS, _END_S)
    else:
        code = experiment.wait(_NOTICE_S, lambda: bool(_SAID.search(experiment.tool.text)))
        noticed = time.monotonic() - start
        code = experiment.wait(_NOTICE_S)
        if code is None:
            return f"joint-ga run has not ended {time.monotonic() - start:.0f} s later"
        if code >= 0:
            outcome.noticed_s, outcome.ended_s = noticed, time.monotonic() - start
    if not kind.goes_on or not is_watched:
        experiment.resume()
        outcome.resumed_s = experiment.starts_s[-1]
    code = experiment.wait(_END_S)
    if code != 0:
        return f"ended with {code}: {experiment.tool.text[-600:]}"
    return ""


def show(outcomes: list[Outcome]) -> str:
    """The table of the docs."""
    lines = [
        "| Kill or stop | Survived | told after, s | all ended after, s | resumed in, s |",
        "|---|---|---|---|---|",
    ]
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.kind == kind]
        lines.append(
            f"| {kind} | {sum(o.survived for o in own)} of {len(own)} | "
            f"{_span([o.noticed_s for o in own])} | {_span([o.ended_s for o in own])} | "
            f"{_span([o.resumed_s for o in own])} |"
        )
    return "\n".join(lines)


def _span(seconds: list[float | None]) -> str:
    known = [second for second in seconds if second is not None]
    return f"{min(known):.0f} to {max(known):.0f}" if known else "-"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--kind", action="append", choices=sorted(KINDS), help="this one alone")
    parser.add_argument("--output", type=Path, help="write the outcomes there, as JSON")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    outcomes = []
    with tempfile.TemporaryDirectory() as name:
        for number, kind in itertools.product(range(args.times), args.kind or KINDS):
            outcome = strike(kind, Path(name) / f"{len(outcomes)}", seed=number)
            outcomes.append(outcome)
            said = "survived" if outcome.survived else outcome.what
            print(f"{time.strftime('%H:%M:%S')} {kind}, {number + 1}: {said}", flush=True)
            if args.output:
                whole = {"outcomes": [asdict(one) for one in outcomes], "machine": load()}
                args.output.write_text(json.dumps(whole, indent=1) + "\n")
    print(show(outcomes))
    return 0 if all(outcome.survived for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
