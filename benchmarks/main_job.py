"""Whether a run of the main job reached its figures: `python -m benchmarks.main_job EXPERIMENT`.

Prints the trials, the time from the first request to the last result, and the smallest network
expected within two points of the float baseline, against a quarter of the uniform int8 network's
bytes. Then a line for each finalist, with the means of its trainings. EXPERIMENT is the id that
`make run` printed, or its folder.
"""

from __future__ import annotations

import argparse

from nni_plugin.results.experiment import Experiment
from nni_plugin.results.finalists import finalists

POINTS = 0.02
SHARE = 0.25
TRIALS = 40
MINUTES = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment")
    parser.add_argument("--metric", default="accuracy")
    args = parser.parse_args()

    experiment = Experiment.open(args.experiment)
    log = experiment.log
    front = experiment.front()
    complete = log.finished("complete")
    complete += [run for run in log.finals.values() if run.status == "complete"]
    minutes = (max(t.finished or 0 for t in complete) - min(t.asked or 0 for t in complete)) / 60
    verdict(len(complete) >= TRIALS, f"{len(complete)} complete trials (at least {TRIALS})")
    verdict(minutes < MINUTES, f"{minutes:.1f} minutes (under {MINUTES})")

    int8 = log.uniform_int8()
    baseline = log.baseline().get(args.metric)
    if int8 is None or baseline is None:
        raise SystemExit("the log holds no uniform int8 trial, or no baseline")
    near = [trial for trial in front if trial.ranked[args.metric] >= baseline - POINTS]
    if not near:
        raise SystemExit(f"no point of the front is within {POINTS} of the baseline, {baseline}")
    best = min(near, key=lambda trial: trial.metrics["size_kb"])
    share = best.metrics["size_kb"] / int8.metrics["size_kb"]
    verdict(
        share <= SHARE,
        f"uid {best.uid}: {best.metrics['size_kb']:.3f} KB at {args.metric} "
        f"{best.ranked[args.metric]:.4f} (baseline {baseline:.4f}): {share:.0%} of the "
        f"{int8.metrics['size_kb']:.3f} KB of uniform int8 (at most {SHARE:.0%})",
    )
    for one in sorted(finalists(log), key=lambda f: f.trial.metrics["size_kb"]):
        row, costs = one.row(), one.trial.metrics
        print(
            f"finalist {row['uid']}: {costs['size_kb']:.2f} KB, {costs['latency_ms']:.2f} ms, "
            f"{row['trainings']} trainings, val {row['mean']}, test {row['test']}"
        )


def verdict(reached: bool, text: str) -> None:
    """One figure as a line."""
    print(f"{'reached' if reached else 'MISSED '}  {text}")


if __name__ == "__main__":
    main()
