"""A trial that looks its metrics up in a table, and fails if the table says so.

    python faulty_trial.py TABLE LEDGER [SECONDS]

It writes what it does into a file of its own in the folder LEDGER, a line at a time, before it does
it: its start, the parameters that it got, what it reports and that it has reported it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Metrics = dict[str, float]
Report = Callable[[object], None]


def chromosome_key(params: Mapping[str, object]) -> str:
    """A chromosome as a key of the table: its genes in the order of their names."""
    genes = sorted(name for name in params if name != "uid")
    return ",".join(f"{float(str(params[name])):g}" for name in genes)


def second_value(metrics: Metrics) -> Metrics:
    """What a trial reports that reports twice, the second time: it must not count."""
    return {**metrics, "accuracy": metrics["accuracy"] / 2}


def _exit_status(metrics: Metrics, report: Report) -> None:
    sys.exit(1)


def _exception(metrics: Metrics, report: Report) -> None:
    raise RuntimeError("a fault of the benchmark")


def _sigkill(metrics: Metrics, report: Report) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _no_result(metrics: Metrics, report: Report) -> None:
    sys.exit(0)


def _nan(metrics: Metrics, report: Report) -> None:
    report({**metrics, "accuracy": float("nan")})


def _infinity(metrics: Metrics, report: Report) -> None:
    report({**metrics, "size_kb": float("-inf")})


def _huge(metrics: Metrics, report: Report) -> None:
    report({**metrics, "accuracy": 10**400})


def _text(metrics: Metrics, report: Report) -> None:
    report("accuracy: 0.93")


def _nested(metrics: Metrics, report: Report) -> None:
    report({"val": metrics, "test": {"per class": metrics}})


def _missing(metrics: Metrics, report: Report) -> None:
    report({"default": metrics["accuracy"], "uid": metrics["uid"]})


def _two_results(metrics: Metrics, report: Report) -> None:
    report(metrics)
    report(second_value(metrics))


FAULTS: dict[str, Callable[[Metrics, Report], None]] = {
    "exit_status": _exit_status,
    "exception": _exception,
    "sigkill": _sigkill,
    "no_result": _no_result,
    "nan": _nan,
    "infinity": _infinity,
    "huge": _huge,
    "text": _text,
    "nested": _nested,
    "missing": _missing,
    "two_results": _two_results,
}
"""What a trial may do instead of reporting its metrics once."""


class Ledger:
    """An append-only file; each line is with the kernel before the next step, whoever dies."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, event: str, **fields: object) -> None:
        """Write one line."""
        line = {"event": event, "pid": os.getpid(), "time": time.time(), **fields}
        os.write(self._file, json.dumps(line).encode() + b"\n")


def main() -> None:
    table, folder = Path(sys.argv[1]), Path(sys.argv[2])
    wait_s = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    ledger = Ledger(folder / f"{os.environ['NNI_TRIAL_JOB_ID']}.jsonl")
    ledger.note("start")
    from evaluators.nni_imports import import_nni
    from nni_plugin.protocol.trial_parameters import trial_parameters

    nni = import_nni()
    params = trial_parameters()
    ledger.note("parameters", params=params)
    row = json.loads(table.read_text())[chromosome_key(params)]
    metrics = {**row["metrics"], "default": row["metrics"]["accuracy"], "uid": params["uid"]}
    nni.report_intermediate_result(metrics)
    time.sleep(wait_s)

    def report(value: object) -> None:
        ledger.note("report", value=value)
        nni.report_final_result(value)
        ledger.note("reported")

    if row["fault"] is None:
        report(metrics)
    else:
        FAULTS[row["fault"]](metrics, report)


if __name__ == "__main__":
    main()
