"""What stopping saves: `PYTHONPATH=. python benchmarks/search/multi_fidelity.py digits-coarse`.

Runs the search on a table whose every rung is known (`tables.py`), on a simulated clock with two
slots, with the assessor's policies and without one. A trial costs the training steps that it ran.
`main-job` is no table: the main job's trials are really trained (`trained.py`), and their first
stages cost what they take, counted in epochs.
The run without stops has 100 trials; the others may start as many as they like for the same steps.
Appends to `results/multi-fidelity-NAME.csv` the share of the best hypervolume at quarters of those
steps, the share of the steps after which the final hypervolume of the whole run was reached, and,
of a table, at each quarter what the front chosen on val is worth on test.

`--policies "mo-asha of syne tune"` is no policy but a rival, which needs `syne-tune`: see
`rival_halving.py`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from problems import Problem
from rival_halving import MoAsha
from tables import PROBLEMS, load, problem, space_of
from trained import Trained

import ga
from ga.early_stopping.decision import StopDecision
from ga.early_stopping.policy import Policy, SearchState
from ga.simulation import SimulatedTrial, Simulation, TrialScript
from nni_plugin.assessor import parse

RESULTS = Path(__file__).parent / "results"
TRIALS = 100
# The steps end such a run, or the space.
_ENDLESS = 10**6
_MAIN_JOB = "main-job"
_RIVAL = "mo-asha of syne tune"
QUARTERS = (0.25, 0.5, 0.75, 1.0)
VARIANTS: dict[str, dict[str, Any] | None] = {
    "no stops": None,
    "reservation value": {"policy": "reservation_value"},
    "successive halving, eta 2": {"policy": "successive_halving", "eta": 2},
}


@dataclass
class Assessor:
    """Asks a policy as `ParetoAssessor` does, without NNI.

    Attributes:
        optimizer: Whose front and results count.
        policy: Decides.
        steps: Trained steps at each rung.
        spared: Share of doomed trials that are let run.
        curves: What each candidate reported.
        let_run: Candidates that were spared, or run again.
        halted: Candidates that were stopped, and not run again.
        decision: The latest one to stop a trial.
    """

    optimizer: ga.Optimizer
    policy: Policy
    steps: Sequence[float]
    spared: float
    curves: dict[int, list[Mapping[str, Any]]] = field(default_factory=dict)
    let_run: set[int] = field(default_factory=set)
    halted: dict[int, None] = field(default_factory=dict)
    decision: StopDecision | None = None

    def __call__(self, candidate: ga.Candidate, step: int, metrics: Mapping[str, Any]) -> bool:
        """Whether to stop the candidate's trial."""
        number = candidate.id
        self.curves.setdefault(number, []).append(metrics)
        if number in self.let_run:
            return False
        self.decision = self.policy.decide(number, self.state())
        if self.decision is None:
            return False
        if int((number + 1) * self.spared) > int(number * self.spared):
            self.let_run.add(number)
            return False
        return True

    def stopped(self, candidate: ga.Candidate, metrics: Mapping[str, Any]) -> None:
        """Tells the optimizer, with what the trial would probably have come to."""
        assert self.decision is not None
        reason, expected = self.decision.reason, self.decision.expected
        self.optimizer.censor(candidate.id, metrics, reason, expected)
        self.halted[candidate.id] = None

    def again(self) -> ga.Candidate | None:
        """A stopped candidate that is worth to be run after all."""
        number = self.policy.reopen(list(self.halted), self.state(), new=True)
        if number is None:
            return None
        del self.halted[number]
        self.let_run.add(number)
        self.curves[number] = []
        return self.optimizer.reopen(number)

    def state(self) -> SearchState:
        """What the policy may look at."""
        optimizer = self.optimizer
        return SearchState(
            optimizer.objectives,
            self.curves,
            {
                e.id: e.metrics
                for e in optimizer.evaluations
                if e.status == "complete" and e.metrics
            },
            [e.metrics for e in optimizer.front() if e.metrics],
            {number: self.steps[: len(curve)] for number, curve in self.curves.items()},
            lambda numbers: optimizer.outlooks(self.curves, numbers),
        )


class TableTrials:
    """The trials of a table on a simulated clock, a training step being one second."""

    def __init__(self, name: str) -> None:
        self.table, self.problem = space_of(name), problem(name)
        self._tested = problem(name, split="test")
        self.steps: Sequence[float] = self.table.rungs
        rows = load(self.table.name)
        self._genes = list(self.table.values)
        columns = [f"val_{rung}" for rung in self.table.rungs]
        self._curves = dict(
            zip(
                rows[self._genes].itertuples(index=False, name=None),
                rows[columns].to_numpy().tolist(),
                strict=True,
            )
        )

    def course(self, params: dict[str, Any]) -> TrialScript:
        """Post-training quantization first, every rung, and the last one again as the result."""
        final = self.problem.evaluate(params)
        accuracies = self._curves[tuple(params[gene] for gene in self._genes)]
        steps = self.steps
        seconds = [float(b - a) for a, b in zip((0, *steps), steps, strict=False)]
        reports = [(s, {**final, "accuracy": a}) for s, a in zip(seconds, accuracies, strict=True)]
        return TrialScript([*reports, (0.0, final)])

    def trained(self, outcome: SimulatedTrial) -> float:
        """Training steps that a trial ran."""
        return self.steps[min(outcome.steps, len(self.steps)) - 1]

    def worth(self, front: Sequence[dict[str, Any]]) -> float:
        """Share of the best hypervolume on test of chromosomes that were chosen on val."""
        return self._tested.quality([self._tested.evaluate(params) for params in front])[-1]


def search(
    trials: TableTrials | Trained, seed: int, variant: dict[str, Any] | None, steps: float | None
) -> Progress:
    """How a search goes on, trial by trial.

    Args:
        trials: Of the table, or really trained.
        seed: Of the search.
        variant: The policy's name and arguments; None stops nothing.
        steps: Ends the search; None ends it after 100 trials.
    """
    goal: Problem = trials.problem
    optimizer = ga.Optimizer(
        goal.space(),
        goal.objectives,
        goal.constraints,
        costs=goal.costs,
        sensitivities=goal.sensitivities,
        seed=seed,
    )
    simulation = Simulation(optimizer, trials.course, slots=2)
    if variant is not None:
        policy, spared = parse(variant)
        assessor = Assessor(optimizer, policy, trials.steps, spared)
        simulation.stop, simulation.stopped = assessor, assessor.stopped
        simulation.again = assessor.again

    return progress(trials, simulation, steps)


def rival(trials: TableTrials, seed: int, steps: float) -> Progress:
    """How MO-ASHA goes on; it begins as many trials as the steps allow."""
    halving = MoAsha(trials.problem, len(trials.steps), seed)
    simulation = Simulation(halving, trials.course, slots=2, stop=halving.stop)
    return progress(trials, simulation, steps)


def progress(
    trials: TableTrials | Trained, simulation: Simulation, steps: float | None
) -> Progress:
    """A simulation until the steps end it, or after 100 trials."""

    def over(finished: Sequence[SimulatedTrial]) -> bool:
        return steps is not None and sum(map(trials.trained, finished)) >= steps

    outcomes, goal = simulation.run(TRIALS if steps is None else _ENDLESS, over), trials.problem
    complete = iter(goal.quality([dict(o.metrics) for o in outcomes if o.status == "complete"]))
    spent, share, found = 0.0, 0.0, []
    for outcome in outcomes:
        spent += trials.trained(outcome)
        share = next(complete) if outcome.status == "complete" else share
        found.append(Point(spent, share, outcome))
    return found


@dataclass(frozen=True)
class Point:
    """A search after one of its trials.

    Attributes:
        spent: Steps trained.
        share: Of the best hypervolume.
        outcome: The trial.
    """

    spent: float
    share: float
    outcome: SimulatedTrial


Progress = list[Point]


def share_at(found: Progress, steps: float) -> float:
    """Share of the best hypervolume once so many steps were trained."""
    return max((point.share for point in found if point.spent <= steps), default=0.0)


def reached(found: Progress, share: float) -> float:
    """Steps after which a share was there; infinite if it never was."""
    return min((point.spent for point in found if point.share >= share), default=float("inf"))


def worth_at(trials: TableTrials, found: Progress, steps: float) -> float:
    """What the front that was there after so many steps is worth on test."""
    there = [point.outcome for point in found if point.spent <= steps]
    complete = [outcome for outcome in there if outcome.status == "complete"]
    if not complete:
        return 0.0
    losses = np.array([trials.problem.losses(dict(outcome.metrics)) for outcome in complete])
    front = np.flatnonzero(ga.nondominated(losses))
    return trials.worth([complete[i].params for i in front])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=[_MAIN_JOB, *PROBLEMS])
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument(
        "--policies", nargs="*", choices=[*VARIANTS, _RIVAL], default=list(VARIANTS)
    )
    parser.add_argument("--folder", type=Path, default=Path("trained"), help="keeps real trials")
    args = parser.parse_args()
    path = RESULTS / f"multi-fidelity-{args.table}.csv"
    header = ["policy", "seed", "trials", *(f"at{q:g}" for q in QUARTERS), "reached"]
    header += [f"test{q:g}" for q in QUARTERS]
    if not path.exists():
        path.write_text(",".join(header) + "\n", encoding="utf-8")
    done = set(pd.read_csv(path)[["policy", "seed"]].itertuples(index=False, name=None))
    trials: TableTrials | Trained
    if args.table == _MAIN_JOB:
        trials = Trained("ga_joint.yml", 5, args.folder)
    else:
        trials = TableTrials(args.table)
    for seed in range(args.seeds):
        missing = [name for name in args.policies if (name, seed) not in done]
        if not missing:
            continue
        whole = search(trials, seed, None, None)
        total, goal = whole[-1].spent, whole[-1].share
        for name in missing:
            if name == _RIVAL:
                assert isinstance(trials, TableTrials)
                found = rival(trials, seed, total)
            else:
                variant = VARIANTS[name]
                found = whole if variant is None else search(trials, seed, variant, total)
            shares = [f"{share_at(found, quarter * total):.5f}" for quarter in QUARTERS]
            row = [name, seed, len(found), *shares, f"{reached(found, goal) / total:.3f}"]
            if isinstance(trials, TableTrials):
                row += [f"{worth_at(trials, found, quarter * total):.5f}" for quarter in QUARTERS]
            else:
                row += [""] * len(QUARTERS)
            with path.open("a", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerow(row)
            print(dict(zip(header, row, strict=True)), flush=True)


if __name__ == "__main__":
    main()
