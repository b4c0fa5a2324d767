"""The tuner's own time per trial: ask and tell through NNI's callbacks, journal included.

    python -m benchmarks.tuner_overhead [--genes 200] [--results 2000] [--surrogate none]

Prints the median and the worst of the three callbacks of a trial together (asked for, result, end),
over all trials and over the last hundred, and the tuner's start-up with the journal that is left.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import statistics
import tempfile
import time
from typing import Any

from nni_plugin import JointGATuner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genes", type=int, default=200)
    parser.add_argument("--results", type=int, default=2000)
    parser.add_argument("--surrogate", default="none", help="none, auto, trees or gp")
    args = parser.parse_args()
    space = {
        f"layer{i}.w_bits": {"_type": "choice", "_value": [2, 4, 8]} for i in range(args.genes)
    }
    class_args = {
        "objectives": {"accuracy": "maximize", "size_kb": "minimize"},
        "surrogate": args.surrogate,
    }
    logging.getLogger("nni.joint_ga").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"NNI_CHECKPOINT_DIRECTORY": folder, "NNI_LOG_DIRECTORY": folder}
        seconds = run(space, class_args, args.results)
        start = time.perf_counter()
        resumed = JointGATuner(**class_args)
        resumed.update_search_space(space)
        resume = time.perf_counter() - start
        resumed._on_exit()
    print(f"{args.genes} genes, {args.results} results, surrogate {args.surrogate}: ask + tell")
    for name, part in (("all", seconds), ("last 100", seconds[-100:])):
        print(
            f"  {name:9} median {1000 * statistics.median(part):6.2f} ms   "
            f"worst {1000 * max(part):6.1f} ms"
        )
    print(f"  resumed from the journal in {resume:.2f} s")


def run(space: dict[str, Any], class_args: dict[str, Any], results: int) -> list[float]:
    """Seconds of the tuner for each trial."""
    tuner = JointGATuner(**class_args)
    tuner.update_search_space(space)
    rng = random.Random(0)
    seconds = []
    for number in range(results):
        start = time.perf_counter()
        (params,) = tuner.generate_multiple_parameters([number])
        spent = time.perf_counter() - start
        bits = [value for name, value in params.items() if name != "uid"]
        size = sum(bits) / 8
        accuracy = 0.9 - 0.3 * sum(b == 2 for b in bits) / len(bits) + rng.gauss(0, 0.005)
        value = {"accuracy": accuracy, "size_kb": size, "uid": params["uid"]}
        start = time.perf_counter()
        tuner.receive_trial_result(number, "", value, trial_job_id=f"t{number}")
        tuner.trial_end(number, True)
        seconds.append(spent + time.perf_counter() - start)
    tuner._on_exit()
    return seconds


if __name__ == "__main__":
    main()
