"""Takes public networks through trace, costs, pruning, a trial and ONNX, and says what fails.

    python -m benchmarks.coverage.sweep                     # all that isn't done yet
    python -m benchmarks.coverage.sweep --only 'timm/*' --stage trace price
    python -m benchmarks.coverage.sweep --failed            # what failed, once more
    python -m benchmarks.coverage.sweep --short             # six small networks, no package needed
    python -m benchmarks.coverage.sweep --table             # what is known, as Markdown

It runs in an environment of its own: `make coverage-env`. Each network has a process of its own,
with a limit on CPU time for each stage and on memory. Results are kept, one JSON file a network.
"""

from __future__ import annotations

import argparse
import fnmatch
import gc
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import torch

from benchmarks.coverage import small_networks, tables, zoo
from benchmarks.coverage.packages import preload
from benchmarks.coverage.stages import NEEDS, STAGES, Subject, build, timed

MODULES = {
    "timm": "timm",
    "torchvision": "torchvision",
    "transformers": "transformers",
    "segmentation-models-pytorch": "segmentation_models_pytorch",
    "pytorchcv": "pytorchcv.model_provider",
    "efficientnet-pytorch": "efficientnet_pytorch",
    "ultralytics": "ultralytics.nn.tasks",
}
"""What each package is imported as."""

STAGE_CPU_S = 90
RIVAL_CPU_S = 30
"""Torch-Pruning takes seconds, or hangs."""
NETWORK_WALL_S = 900
MEMORY_MB = 6_000

Records = dict[str, dict[str, Any]]


class StageTimeout(BaseException):
    """A stage used up its CPU time."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the sweep; 0 if every stage that ran went right."""
    args = arguments(argv)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    chosen = small_networks.entries() if args.short else zoo.entries()
    # In an order that knows nothing of sizes or packages: a run that is cut off is a fair sample.
    chosen = sorted((e for e in chosen if _matches(e.name, args.only)), key=_place)
    if args.smallest:
        chosen.sort(key=lambda e: e.parameters)
    if not args.table:
        if missing := _missing(chosen):
            print("\n".join(missing), file=sys.stderr)
            return 2
        for i, entry in enumerate(chosen):
            stages = _to_do(entry, args, out)
            if stages:
                found = run(entry, stages, args)
                records = _known(out, entry) | found
                _keep(out, entry, records)
                _say(f"{i + 1}/{len(chosen)}", entry, records, stages)
    known = {entry: _known(out, entry) for entry in chosen}
    tables.write_csv(out / "coverage.csv", known)
    command = "python -m benchmarks.coverage.sweep"
    print(tables.causes(known, command) if args.causes else tables.markdown(known), flush=True)
    return 1 if tables.grouped(known) else 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; exits with a usage message if it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coverage.sweep", description=(__doc__ or "").split("\n")[0]
    )
    add = parser.add_argument
    add("--only", nargs="*", metavar="PATTERN", help="networks by name, as package/architecture")
    add("--stage", nargs="*", choices=list(STAGES), default=list(STAGES), help="these stages")
    add("--again", action="store_true", help="run what is known already, too")
    add("--failed", action="store_true", help="run what failed or was skipped, too")
    add("--short", action="store_true", help="small networks that need no package")
    add("--smallest", action="store_true", help="the smallest first, in place of a fair sample")
    add("--table", action="store_true", help="run nothing, print what is known")
    add("--causes", action="store_true", help="list failures by cause in place of the table")
    add("--out", default="runs/coverage", metavar="DIR", help="results (default: runs/coverage)")
    add("--cpu", type=int, default=STAGE_CPU_S, metavar="S", help="CPU seconds a stage may take")
    add("--memory", type=int, default=MEMORY_MB, metavar="MB", help="memory a network may take")
    return parser.parse_args(argv)


def _place(entry: zoo.Entry) -> str:
    return hashlib.sha256(entry.name.encode()).hexdigest()


def _matches(name: str, patterns: Sequence[str] | None) -> bool:
    return not patterns or any(fnmatch.fnmatch(name, p) or p in name for p in patterns)


def _missing(chosen: Iterable[zoo.Entry]) -> list[str]:
    """Imports what the networks need, so that each process starts with it; what is missing."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    names = {MODULES[e.package] for e in chosen if e.package in MODULES}
    failed = preload(names)
    preload({"torch_pruning", "onnxruntime", "evaluators.export", "nni.compression"})
    return [f"{name}: {why} (make coverage-env installs it)" for name, why in failed.items()]


def _to_do(entry: zoo.Entry, args: argparse.Namespace, out: Path) -> list[str]:
    known = {} if args.again else _known(out, entry)
    done = {
        stage
        for stage, record in known.items()
        if not (args.failed and record["outcome"] in ("skipped", *tables.FAULTS))
    }
    return [stage for stage in args.stage if stage not in done]


def run(entry: zoo.Entry, stages: Sequence[str], args: argparse.Namespace) -> Records:
    """The stages of a network in a process of its own, and those that they need."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_in_process, args=(entry, list(stages), args.cpu, there))
    process.start()
    there.close()
    records, ended = _listen(here, process, args.memory)
    commit = _commit()
    for stage in stages:
        if stage not in records:
            records[stage] = {"outcome": ended or "skipped", "message": ended, "place": ""}
            ended = ""
    return {stage: {**records[stage], "commit": commit} for stage in records}


def _listen(
    here: Connection, process: multiprocessing.process.BaseProcess, memory_mb: int
) -> tuple[Records, str]:
    """What the process reports until it ends, and how it was ended, if it was."""
    records: Records = {}
    end, ended = time.monotonic() + NETWORK_WALL_S, ""
    watched = psutil.Process(process.pid)
    while True:
        try:
            if here.poll(0.2):
                stage, record = here.recv()
                records[stage] = record
                continue
        except EOFError:
            break
        try:
            used = watched.memory_info().rss / 2**20
        except psutil.NoSuchProcess:
            continue
        if used > memory_mb:
            ended = "memory"
        elif time.monotonic() > end:
            ended = "timeout"
        if ended:
            process.kill()
    process.join()
    if process.exitcode and not ended:
        ended = "died"
    return records, ended


def _in_process(entry: zoo.Entry, stages: list[str], cpu_s: int, there: Connection) -> None:
    signal.signal(signal.SIGPROF, _time_is_up)
    # What the packages imported is no garbage.
    gc.freeze()
    wanted = [s for s in STAGES if s in stages or any(s in NEEDS.get(x, ()) for x in stages)]
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a path of ours
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    subject: Subject | None = None

    def made(_: object) -> dict[str, object]:
        nonlocal subject
        if isinstance(entry, small_networks.Small):
            subject, figures = small_networks.build(entry)
        else:
            subject, figures = build(entry)
        return figures

    records: Records = {"build": _limited(made, None, cpu_s)}
    there.send(("build", records["build"]))
    for stage in wanted if subject is not None else ():
        needs = NEEDS.get(stage, ())
        # Wrong figures do not keep the later stages from running.
        if any(records[n]["outcome"] not in ("right", "wrong") for n in needs):
            records[stage] = {"outcome": "skipped", "message": "", "place": ""}
        else:
            limit = RIVAL_CPU_S if stage == "rival" else cpu_s
            records[stage] = _limited(STAGES[stage], subject, limit)
        there.send((stage, records[stage]))
    there.close()


def _limited(stage: Any, subject: Any, cpu_s: int) -> dict[str, Any]:
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        return timed(stage, subject)
    except StageTimeout:
        return {"outcome": "timeout", "message": f"more than {cpu_s} s of CPU", "place": ""}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _time_is_up(number: int, frame: FrameType | None) -> None:
    raise StageTimeout


def _file(out: Path, entry: zoo.Entry) -> Path:
    return out / f"{entry.name.replace('/', '+').replace('?', '-').replace(':', '-')}.json"


def _known(out: Path, entry: zoo.Entry) -> Records:
    path = _file(out, entry)
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _keep(out: Path, entry: zoo.Entry, records: Records) -> None:
    path = _file(out, entry)
    path.with_suffix(".part").write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".part").replace(path)


def _say(number: str, entry: zoo.Entry, records: Records, stages: Sequence[str]) -> None:
    words = " ".join(f"{s} {records[s]['outcome']}" for s in stages if s in records)
    seconds = sum(float(r.get("cpu_s", 0.0)) for r in records.values())
    print(f"{number} {entry.name}: {words} ({seconds:.0f} s)", file=sys.stderr, flush=True)


def _commit() -> str:
    """The commit whose networks these are; with a plus where files were changed."""
    import evaluators

    folder = Path(evaluators.__file__).parents[1]
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--exclude=*"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
