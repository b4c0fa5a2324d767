"""One batch of a task, tried in a process of its own: ``python -m evaluators.one_batch_process``.

A user's model may crash the interpreter and a loader may wait for ever; whoever started this
process outlives both, and knows from the last line what it was about.

Arguments: the number of an open file to answer to, the process that asks, and a :class:`Request` as
JSON. Each line of the answer is a JSON object: ``{"step": "..."}`` before each step, at the end
``{"problems": [...], "notes": [...], "supernet_is_missing": false}``. On SIGUSR1 it prints where it
is.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from evaluators.supernet.request import SupernetRequest

IMPORTING = "importing PyTorch"
"""The first step."""
BUILDING = "building the task"
"""The second step, in which a task may train its float model."""
_PARENT_POLL_S = 2.0


@dataclass(frozen=True)
class Request:
    """What is to be tried.

    Attributes:
        task: ``module:function``, with options behind a question mark.
        data: handed to the task's function.
        networks: paths of network files that the model should still match.
        metrics: names that the trials are expected to report, the costs left out.
        read_s: see ``evaluators.one_batch.check_one_batch``.
        supernet: what trials start from; None: the float model.
    """

    task: str
    data: str | None = None
    networks: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    read_s: float = 0.0
    supernet: SupernetRequest | None = None

    @classmethod
    def read(cls, text: str) -> Request:
        """From JSON of its fields."""
        fields = json.loads(text)
        if fields.get("supernet") is not None:
            fields["supernet"] = SupernetRequest(**fields["supernet"])
        return cls(**fields)


def main() -> None:
    """Answers one request."""
    answer = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    os.set_inheritable(answer.fileno(), False)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    threading.Thread(target=_end_with_parent, args=(int(sys.argv[2]),), daemon=True).start()

    def say(**line: object) -> None:
        answer.write(json.dumps(line) + "\n")
        answer.flush()

    say(step=IMPORTING)
    try:
        answered = _check(Request.read(sys.argv[3]), say)
    # Not a traceback: the line says what the input's fault is, as in a trial.
    except (Exception, SystemExit) as error:
        known = isinstance(error, (ValueError, OSError))
        text = str(error) if known else f"{type(error).__name__}: {error}"
        answered = {"problems": [" ".join(text.split()) or type(error).__name__], "notes": []}
    say(**answered)
    _leave(answer)


def _check(request: Request, say: Callable[..., None]) -> dict[str, object]:
    import torch

    from evaluators.one_batch import check_one_batch
    from evaluators.task_loading import load_task
    from hardware import Network

    torch.set_num_threads(1)
    say(step=BUILDING)
    task = load_task(request.task, request.data)
    networks = {_shown(path): Network.load(path) for path in request.networks}
    found = check_one_batch(task, networks, lambda step: say(step=step), request.read_s)
    reported = ("default", task.metric_name, f"baseline_{task.metric_name}")
    for name in request.metrics:
        if name not in reported:
            found.problems.append(
                f"no trial reports the metric {name!r}: the task's metric is {task.metric_name!r}"
            )
    is_missing = False
    if request.supernet is not None and not found.problems:
        from evaluators.supernet.check import check_supernet
        from evaluators.tracing.trace import trace

        say(step="looking at the supernet")
        network = next(iter(networks.values()), None)
        more = check_supernet(task, network or trace(task), request.supernet)
        found.problems += more.problems
        found.notes += more.notes
        is_missing = more.is_missing
    return {
        "problems": found.problems,
        "notes": found.notes,
        "supernet_is_missing": is_missing,
    }


def _shown(path: str) -> str:
    """As a user writes it: from the working directory on, if it lies there."""
    given, here = Path(path), Path.cwd()
    return str(given.relative_to(here) if given.is_relative_to(here) else given)


def _end_with_parent(parent: int) -> None:
    """A killed parent can't end what hangs in here."""
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_S)
    os._exit(1)


def _leave(answer: IO[str]) -> None:
    """At once: a loader's workers or a user's threads may not end by themselves."""
    answer.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
