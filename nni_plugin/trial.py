"""One trial: ``python -m nni_plugin.trial --task MODULE:FUNCTION --device ID``.

In an NNI experiment it takes its own chromosome from NNI and reports after each stage and epoch.
With ``--params FILE`` it needs no NNI and prints the final metrics as one JSON line, last.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nni_plugin.protocol.json_types import Params
from nni_plugin.protocol.metrics import UID, reported_uid
from nni_plugin.study.journal import read_chromosome

if TYPE_CHECKING:
    from evaluators import Result


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the trial; 0 if it reported a final result, 1 after one line that says what failed."""
    args = arguments(argv)
    try:
        _run(args)
    except KeyboardInterrupt:
        print("trial stopped", file=sys.stderr)
        # Ended by the signal itself, so that NNI shows it as cancelled and not as failed.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    except Exception as error:
        if not isinstance(error, (ValueError, OSError)):
            # Not the input's fault, so somebody will have to look for the place.
            traceback.print_exc()
        text = " ".join(str(error).split()) or "no message"
        print(f"trial failed: {type(error).__name__}: {text}", file=sys.stderr)
        return 1
    return 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; exits with a usage message if it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m nni_plugin.trial", description=__doc__)
    add = parser.add_argument
    add("--task", required=True, metavar="M:F", help="function that returns an evaluators.Task")
    add("--device", required=True, metavar="ID", help="a shipped device, or a profile's path")
    add("--params", metavar="FILE", help="chromosome as JSON; without it NNI is asked")
    add("--epochs", type=int, metavar="N", help="of fine-tuning (default: the task's)")
    add("--seed", type=int, default=0, metavar="N", help="of fine-tuning (default: 0)")
    add("--data", metavar="PATH", help="handed to the task's function")
    add("--network", metavar="FILE", help="network file of 'joint-ga space'; traced without it")
    add("--schedule", metavar="NAME", help="direct or progressive (default: the task's)")
    add("--early-end", help=argparse.SUPPRESS)  # so that commands of before run on
    add("--inherit", metavar="DIR", help="checkpoints to start from and to add to (default: none)")
    add(
        "--inherit-mb", type=float, default=256.0, metavar="N", help="that they take (default: 256)"
    )
    return parser.parse_args(argv)


def _run(args: argparse.Namespace) -> None:
    # `python -m` has imported next to nothing so far: what the process took is Python's own start.
    timings = {"python": _age_s()}
    start = time.perf_counter()
    # Asked for first: an error further on then belongs to this chromosome.
    params = read_chromosome(args.params) if args.params else _ask_nni()
    timings["parameters"] = time.perf_counter() - start
    genes = {name: allele for name, allele in params.items() if name != UID}
    uid = reported_uid(params)
    echo = {} if uid is None else {UID: uid}

    start = time.perf_counter()
    import hardware
    from evaluators import Inheritance, evaluate, load_task
    from evaluators.task import EARLY_END_REMOVED

    timings["import"] = time.perf_counter() - start
    start = time.perf_counter()
    inheritance = None
    if args.inherit is not None:
        inheritance = Inheritance(args.inherit, limit_mb=args.inherit_mb, uid=uid)
    task = load_task(args.task, args.data)
    if args.schedule is not None:
        task.recipe = replace(task.recipe, schedule=args.schedule)
    if args.early_end is not None:
        print(f"warning: --early-end {args.early_end} {EARLY_END_REMOVED}", file=sys.stderr)
    network = hardware.Network.load(args.network) if args.network else None
    timings["task"] = time.perf_counter() - start
    print(f"start-up: {_age_s():.2f} s, {time.process_time():.2f} s of CPU", flush=True)

    def report(metrics: Mapping[str, float]) -> None:
        metrics = {**metrics, **echo}
        print(json.dumps(metrics), flush=True)
        if not args.params:
            import nni

            nni.report_intermediate_result(metrics)

    result = evaluate(
        task,
        genes,
        device=hardware.load_device(args.device),
        network=network,
        epochs=args.epochs,
        seed=args.seed,
        report=report,
        inheritance=inheritance,
    )
    for note in result.notes:
        print(f"note: {note}")
    _report_final(result, timings, echo, to_nni=not args.params)


def _report_final(
    result: Result, timings: Mapping[str, float], echo: Mapping[str, int], to_nni: bool
) -> None:
    broken = {n: x for n, x in result.metrics.items() if not math.isfinite(x)}
    if broken:
        raise ValueError(f"the final metrics are not finite: {broken}; nothing is reported")
    metrics = {**result.metrics, **echo}
    seconds = {**timings, **result.timings, "total": _age_s()}
    print("seconds: " + ", ".join(f"{stage} {s:.2f}" for stage, s in seconds.items()))
    if to_nni:
        import nni

        nni.report_final_result(metrics)
    print(json.dumps(metrics), flush=True)


def _ask_nni() -> Params:
    from evaluators.nni_imports import import_nni
    from nni_plugin.protocol.trial_parameters import trial_parameters

    if "NNI_TRIAL_JOB_ID" not in os.environ:
        raise ValueError("this is no NNI trial: give the chromosome with --params FILE")
    # Before anything else imports nni: it comes without scipy.stats and pandas, 1.5 s of CPU.
    import_nni()
    params = trial_parameters()
    print(f"trial {os.environ['NNI_TRIAL_JOB_ID']}: {json.dumps(params)}", flush=True)
    return params


def _age_s() -> float:
    """Seconds since this process was started."""
    import psutil

    return float(time.time() - psutil.Process().create_time())


if __name__ == "__main__":
    sys.exit(main())
