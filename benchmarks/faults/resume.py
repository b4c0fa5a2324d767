"""A resume of thousands of trials: the tuner's CPU time until it is ready, and its memory.

    python -m benchmarks.faults.resume [--results 5000 10000] [--output resume.json]

A journal of so many results is written, and NNI's replay of them. Then a process of its own does
what NNI's dispatcher does at a resume: it builds the tuner, tells it the search space, hands over
the replay and asks for a candidate. The exit status is 1 if a limit is not kept: 10 s of CPU until
it is ready, 5 s more for the first candidate, 300 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

READY_S, CANDIDATE_S, MEMORY_MB = 10.0, 5.0, 300.0
LAYERS = 10
SPACE: dict[str, Any] = {
    f"layer{number}.{gene}": {"_type": "choice", "_value": values}
    for number in range(LAYERS)
    for gene, values in {
        "prune": [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75],
        "w_bits": [2, 4, 8],
        "a_bits": [4, 8],
    }.items()
}
ARGS: dict[str, Any] = {
    "objectives": {"accuracy": "maximize", "size_kb": "minimize", "latency_ms": "minimize"}
}
_FAILED = 0.05
_MOST_CORNERS = 100
"""Settings that a search tries first; they cost no time."""


def write_past(folder: Path, results: int, seed: int = 0) -> None:
    """Write a journal of so many results, and what NNI would replay, into a folder.

    Args:
        folder: gets ``journal.jsonl`` and ``replay.json``.
        results: number of results; one in twenty chromosomes besides has failed.
        seed: of all that is random.
    """
    from nni_plugin.study.journal import FILE_NAME, VERSION, Journal

    rng = random.Random(seed)
    replay = []
    os.fsync = lambda _file: None  # nothing here has to outlive a power cut
    with Journal(folder / FILE_NAME) as journal:
        journal.append(
            "start", version=VERSION, objectives=ARGS["objectives"], constraints={}, seed=0,
            space=SPACE, costs=None, class_args=ARGS,
        )  # fmt: skip
        uid = told = 0
        while told < results:
            uid += 1
            params = {name: rng.choice(gene["_value"]) for name, gene in SPACE.items()}
            journal.append("ask", uid=uid, params=params, costs=None, origin="ga")
            if rng.random() < _FAILED:
                journal.append("fail", uid=uid, reason="it was to fail", trial=f"t{uid}")
                continue
            told += 1
            metrics = _metrics(params, rng)
            journal.append("tell", uid=uid, metrics=metrics, trial=f"t{uid}")
            value = {"default": metrics["accuracy"], **metrics, "uid": uid}
            replay.append(
                {"parameter": {**params, "uid": uid}, "value": value, "trialJobId": f"t{uid}"}
            )
    message = {"type": "FD", "content": json.dumps(replay)}
    (folder / "replay.json").write_text(json.dumps(message))


def _metrics(params: dict[str, Any], rng: random.Random) -> dict[str, float]:
    """Fewer bits and channels: smaller, faster, worse; with the noise of a training."""
    lost = size = cycles = 0.0
    for number in range(LAYERS):
        kept = 1 - params[f"layer{number}.prune"]
        weights, inputs = params[f"layer{number}.w_bits"], params[f"layer{number}.a_bits"]
        lost += 0.02 * (1 - kept) ** 2 + 0.03 * (weights == 2) + 0.005 * (inputs == 4)
        size += kept * weights * (number + 1) / 4
        cycles += kept * (LAYERS - number)
    noise = rng.gauss(0, 0.004)
    return {
        "accuracy": round(0.95 - lost + noise, 5),
        "size_kb": round(size, 3),
        "latency_ms": round(cycles, 3),
    }


def resume_here(folder: Path) -> dict[str, float]:
    """What NNI's dispatcher does at a resume, in this process, which should have done nothing yet.

    Args:
        folder: of ``write_past``.

    Returns:
        Seconds of CPU and of the clock until the tuner is ready (``ready_cpu_s``, ``ready_s``), for
        the first candidate of the surrogate from then on (``candidate_cpu_s``, ``candidate_s``),
        and the largest resident memory, ``peak_mb`` (MiB).
    """
    start = time.monotonic()
    os.environ |= {
        "NNI_CHECKPOINT_DIRECTORY": str(folder),
        "NNI_LOG_DIRECTORY": str(folder),
        "SDK_PROCESS": "dispatcher",
    }
    import nni
    from nni.runtime import msg_dispatcher_base
    from nni.runtime.msg_dispatcher import MsgDispatcher

    from nni_plugin import JointGATuner

    tuner = JointGATuner(**ARGS)
    tuner.load_checkpoint()
    tuner.update_search_space(SPACE)
    message = nni.load((folder / "replay.json").read_text())["content"]
    replay = msg_dispatcher_base.load(message)
    MsgDispatcher.handle_import_data(SimpleNamespace(tuner=tuner), replay)
    del message, replay
    results = len(tuner.study.log.finished("complete"))
    ready_cpu_s, ready = time.process_time(), time.monotonic()
    for number in range(_MOST_CORNERS):
        (params,) = tuner.generate_multiple_parameters([number], st_callback=lambda *_: None)
        if tuner.study.trials[params["uid"]].origin == "surrogate":
            break
    else:
        raise RuntimeError("the surrogate proposed nothing")
    figures = {
        "results": results,
        "ready_cpu_s": ready_cpu_s,
        "ready_s": ready - start,
        "candidate_cpu_s": time.process_time() - ready_cpu_s,
        "candidate_s": time.monotonic() - ready,
    }
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    figures["peak_mb"] = int(peak[1]) / 1024
    tuner._on_exit()
    return {name: round(value, 2) for name, value in figures.items()}


def resume(results: int) -> dict[str, float]:
    """The figures of ``resume_here`` in a new process, after so many results."""
    with tempfile.TemporaryDirectory() as name:
        for words in (("--write", name, "--results", str(results)), ("--tuner", name)):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.faults.resume", *words],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(done.stderr)
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return figures


def show(rows: list[dict[str, float]]) -> str:
    """The table of the docs."""
    lines = [
        "| Results | Ready, s of CPU | first candidate, s of CPU more | peak memory, MiB |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['results']:,.0f} | {row['ready_cpu_s']:.1f} | {row['candidate_cpu_s']:.1f} | "
        f"{row['peak_mb']:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=int, nargs="+", default=[5000, 10000])
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tuner", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help="write the figures there, as JSON")
    args = parser.parse_args()
    if args.write is not None:
        write_past(args.write, args.results[0])
        return 0
    if args.tuner is not None:
        print(json.dumps(resume_here(args.tuner)))
        return 0
    rows = [resume(results) for results in args.results]
    print(show(rows))
    if args.output:
        args.output.write_text(json.dumps(rows, indent=1) + "\n")
    kept = all(
        row["ready_cpu_s"] <= READY_S
        and row["candidate_cpu_s"] <= CANDIDATE_S
        and row["peak_mb"] < MEMORY_MB
        for row in rows
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
