"""Compare samplers on a problem: `python benchmarks/search/compare.py nasbench201-cifar10`.

Appends one line per run to `results/<problem>.csv` (sampler, seed, seconds, share of the best
hypervolume after 25, 50, ... trials), skipping runs that are there, so that it can be stopped and
started again. Seeds are the outer loop: what is there at any time is balanced.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

from mixed_problems import MIXED
from problems import Problem, nasbench201
from rivals import FIXED, RIVALS
from samplers import ABLATION, SAMPLERS
from tables import problem as table_problem

RESULTS = Path(__file__).parent / "results"
RIVALS_FILE = "-rivals"
MARKS = (10, 25, 50, 75, 100, 150, 200)


def load(name: str) -> Problem:
    """A problem by name."""
    if name.startswith("nasbench201-"):
        return nasbench201(name.removeprefix("nasbench201-"))
    if name.startswith("table-"):
        return table_problem(name.removeprefix("table-"))
    return MIXED[name]()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problem")
    parser.add_argument("--samplers", nargs="*", help="names; default: all but Optuna's GP")
    parser.add_argument("--ablation", action="store_true", help="variants of ours instead")
    parser.add_argument("--rivals", action="store_true", help="those of rivals.py instead")
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--trials", type=int, default=200)
    args = parser.parse_args()
    offered, kind = SAMPLERS, ""
    if args.ablation:
        offered, kind = ABLATION, "-ablation"
    if args.rivals:
        offered, kind = RIVALS, RIVALS_FILE
    problem = load(args.problem)
    left_out = ["optuna gp"] if problem.sensitivities else ["optuna gp", "ours, told costs only"]
    names = args.samplers or [name for name in offered if name not in left_out]
    path = RESULTS / f"{args.problem}{kind}.csv"
    path.parent.mkdir(exist_ok=True)
    marks = [mark for mark in MARKS if mark <= args.trials]
    header = ["sampler", "seed", "seconds", *(f"at{mark}" for mark in MARKS)]
    if not path.exists():
        path.write_text(",".join(header) + "\n")
    with path.open() as file:
        done = {(row["sampler"], int(row["seed"])) for row in csv.DictReader(file)}
    for seed in range(args.seeds):
        for name in names:
            if (name, seed) in done or (seed and name in FIXED):
                continue
            begin = time.process_time()
            quality = problem.quality(offered[name](problem, seed, args.trials))
            seconds = time.process_time() - begin
            shares = [f"{quality[min(mark, len(quality)) - 1]:.5f}" for mark in marks]
            shares += [""] * (len(MARKS) - len(marks))
            with path.open("a") as file:
                csv.writer(file, lineterminator="\n").writerow(
                    [name, seed, f"{seconds:.1f}", *shares]
                )
            print(f"{args.problem} seed {seed} {name}: {dict(zip(marks, shares, strict=False))}")


if __name__ == "__main__":
    main()
