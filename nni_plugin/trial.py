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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nni_plugin.protocol.final_run import EPOCHS, ON_TEST, split
from nni_plugin.protocol.json_types import Params
from nni_plugin.protocol.metrics import UID, reported_uid
from nni_plugin.setup.supernet_training import ONLY_SUPERNET
from nni_plugin.study.journal import read_chromosome
from nni_plugin.trial_supernet import SupernetChoice

if TYPE_CHECKING:
    from evaluators import Result, Task
    from hardware import Network


_INHERIT_REMOVED = (
    "is ignored: trials start from a supernet instead, see --supernet and `joint-ga supernet`"
)


@dataclass(frozen=True)
class Prepared:
    """What trials of one command have in common; a process that is forked for each has it once.

    Attributes:
        task: built, with the command's schedule.
        network: of ``--network``; None if each trial traces the model.
        timings: seconds of the imports and of the task.
    """

    task: Task
    network: Network | None
    timings: dict[str, float]


def main(argv: Sequence[str] | None = None, prepared: Prepared | None = None) -> int:
    """Runs the trial; 0 if it reported a final result, 1 after one line that says what failed.

    Args:
        argv: the command line; this process's own if None.
        prepared: of the same command line, see :func:`prepare`; made here if None.
    """
    args = arguments(argv)
    try:
        _run(args, prepared)
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
    add("--stack", metavar="NAME", help="software whose costs are reported (default: the file's)")
    add("--params", metavar="FILE", help="chromosome as JSON; without it NNI is asked")
    add("--epochs", type=int, metavar="N", help="of fine-tuning (default: the task's)")
    add("--seed", type=int, default=0, metavar="N", help="of fine-tuning (default: 0)")
    add("--data", metavar="PATH", help="handed to the task's function")
    add("--network", metavar="FILE", help="network file of 'joint-ga space'; traced without it")
    add("--schedule", metavar="NAME", help="direct or progressive (default: the task's)")
    add("--supernet", metavar="FILE", help="weights of 'joint-ga supernet' to start from")
    add("--train-supernet", metavar="SPACE", help="train it for this space where it is missing")
    add("--supernet-epochs", type=int, metavar="N", help="of that training (default: 60)")
    add("--accelerator", default="auto", metavar="NAME", help="auto, cpu, cuda or mps")
    add(ONLY_SUPERNET, action="store_true", help="end when the supernet is trained")
    add("--early-end", help=argparse.SUPPRESS)  # so that commands of before run on
    add("--inherit", help=argparse.SUPPRESS)
    add("--inherit-mb", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def prepare(args: argparse.Namespace) -> Prepared:
    """Imports what a trial needs and builds its task.

    Args:
        args: of :func:`arguments`.

    Raises:
        ValueError: a task or a network file that can't be used.
        OSError: a file can't be read.
    """
    start = time.perf_counter()
    import hardware
    from evaluators import load_task
    from evaluators.task import EARLY_END_REMOVED

    timings = {"import": time.perf_counter() - start}
    start = time.perf_counter()
    task = load_task(args.task, args.data)
    if args.schedule is not None:
        task.recipe = replace(task.recipe, schedule=args.schedule)
    if args.early_end is not None:
        print(f"warning: --early-end {args.early_end} {EARLY_END_REMOVED}", file=sys.stderr)
    if args.inherit is not None:
        print(f"warning: --inherit {args.inherit} {_INHERIT_REMOVED}", file=sys.stderr)
    network = hardware.Network.load(args.network) if args.network else None
    timings["task"] = time.perf_counter() - start
    return Prepared(task, network, timings)


def _train_supernet(args: argparse.Namespace) -> None:
    """What ``--only-supernet`` asks for; no trial."""
    from evaluators.accelerator import chosen

    choice = SupernetChoice.of(args)
    if choice is None:
        raise ValueError(f"{ONLY_SUPERNET} needs --train-supernet SPACE beside it")
    prepared = prepare(args)
    choice.ready(prepared.task, prepared.network, _print, chosen(args.accelerator))


def _run(args: argparse.Namespace, prepared: Prepared | None) -> None:
    if args.only_supernet:
        _train_supernet(args)
        return
    # `python -m` has imported next to nothing so far: what the process took is Python's own start.
    timings = {"python": _age_s()}
    start = time.perf_counter()
    # Asked for first: an error further on then belongs to this chromosome.
    params = read_chromosome(args.params) if args.params else _ask_nni()
    timings["parameters"] = time.perf_counter() - start
    uid = reported_uid(params)
    genes, final = split({name: allele for name, allele in params.items() if name != UID})
    echo = {} if uid is None else {UID: uid}
    if final is not None:
        args.epochs, args.seed = final.epochs, final.seed
        echo[EPOCHS] = final.epochs
    start_from = SupernetChoice.of(args)

    if prepared is None:
        prepared = prepare(args)
        timings |= prepared.timings
    task, network = prepared.task, prepared.network
    print(f"start-up: {_age_s():.2f} s, {time.process_time():.2f} s of CPU", flush=True)

    def report(metrics: Mapping[str, float]) -> None:
        metrics = {**metrics, **echo}
        print(json.dumps(metrics), flush=True)
        if not args.params:
            import nni

            nni.report_intermediate_result(metrics)

    from evaluators.process_state import process_as_found
    from evaluators.training import score

    # A forked process has none of torch's other threads, and would wait for them for ever.
    with process_as_found(threads=1):
        result = _evaluated(args, genes, task, network, start_from, report)
        if final is not None and final.test:
            on_test = score(task, result.model, task.test, "test")
            result.metrics[f"{ON_TEST}{task.metric_name}"] = round(on_test, 6)
    for note in result.notes:
        print(f"note: {note}")
    _report_final(result, timings, echo, to_nni=not args.params)


def _evaluated(
    args: argparse.Namespace,
    genes: Params,
    task: Task,
    network: Network | None,
    start_from: SupernetChoice | None,
    report: Callable[[Mapping[str, float]], None],
) -> Result:
    """The trial's result; once more on the CPU if the accelerator can't: its memory may be full."""
    import hardware
    from evaluators import evaluate
    from evaluators.accelerator import chosen, for_trials

    supernet = None
    if start_from is not None:
        found = chosen(args.accelerator)
        supernet = start_from.ready(task, network, _print, found)

    def result_on(accelerator: str) -> Result:
        return evaluate(
            task,
            genes,
            device=hardware.load_device(args.device, args.stack),
            network=network,
            epochs=args.epochs,
            seed=args.seed,
            report=report,
            supernet=supernet,
            accelerator=accelerator,
        )

    accelerator = for_trials(args.accelerator)
    try:
        return result_on(accelerator)
    except RuntimeError as error:
        if accelerator == "cpu":
            raise
        line = str(error).partition("\n")[0]
        print(f"note: on {accelerator}: {line}; the trial is run again on the CPU", flush=True)
    return result_on("cpu")


def _print(text: str) -> None:
    print(text, flush=True)


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
    from nni_plugin.protocol import trial_watcher
    from nni_plugin.protocol.trial_parameters import trial_parameters

    if "NNI_TRIAL_JOB_ID" not in os.environ:
        raise ValueError("this is no NNI trial: give the chromosome with --params FILE")
    trial_watcher.start()
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
