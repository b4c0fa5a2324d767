"""How near the expected final accuracy comes to the truth, from a few networks trained to the end.

    python -m benchmarks.supernet.expected benchmarks/supernet/results/digits.csv

It needs the rows of `benchmarks.supernet.truth`, and trains nothing. Each network is forecast once
from every draw of some *other* networks. These have one training to the end (the first seed of the
truth), as in a search; the truth that is compared with is the mean over all its seeds.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.supernet.truth import FLOAT, Row, Way, read_rows
from ga.forecast.choose import to_learn_from
from ga.forecast.link import Link, Score, Trained
from ga.history.pareto import nondominated

LEAST_TWICE = 6
"""Networks with two trainings that a front is drawn from: two thirds of them at a time."""


@dataclass
class Network:
    """What the file says of one chromosome.

    Attributes:
        size_kb: of its weights.
        scores: by way, of the first seed.
        finals: of the truth, by seed.
    """

    size_kb: float = 0.0
    scores: dict[Way, float] = field(default_factory=dict)
    finals: dict[int, float] = field(default_factory=dict)

    @property
    def truth(self) -> float:
        """The mean over seeds."""
        return statistics.mean(self.finals.values())

    def score(self, ways: Sequence[Way]) -> Score:
        """What a search would know of it."""
        return Score(tuple(self.scores[way] for way in ways), self.size_kb)

    def trained(self, ways: Sequence[Way], seed: int = 0) -> Trained:
        """It with one training."""
        return Trained(self.score(ways), (self.finals[seed],))


@dataclass
class Tally:
    """Sums over forecasts."""

    raw: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)
    inside: list[bool] = field(default_factory=list)
    width: list[float] = field(default_factory=list)

    def line(self) -> str:
        """For the table."""
        return (
            f"score {statistics.mean(self.raw):.4f}, expected {statistics.mean(self.told):.4f}, "
            f"interval holds {statistics.mean(self.inside):.0%} of single trainings, "
            f"median width {statistics.median(self.width):.3f}, {len(self.told)} forecasts"
        )


def main() -> None:
    """Prints the tables."""
    args = _arguments()
    rows = [
        row
        for row in read_rows(args.rows)
        if not args.start or row["start"] in (FLOAT, *args.start)
    ]
    networks = networks_of(rows, args.split)
    print(f"{args.split}, {len(networks)} networks, reference {args.reference}")
    for name, ways in _ways(networks).items():
        for count in args.networks:
            for how in ("spread", "random"):
                tally = Tally()
                for one, others in _draws(networks, ways, count, how, args.draws):
                    if one.truth > args.above:
                        _note(tally, one, others, ways, args.reference)
                print(f"{name}, {count} networks, {how}: {tally.line()}")
    networks = [n for n in networks if n.truth > args.above]
    if sum(len(n.finals) > 1 for n in networks) < LEAST_TWICE:
        print("too few networks have two trainings: nothing is said of luck")
        return
    for name, ways in _ways(networks).items():
        print(f"{name}: {optimism(networks, ways, args.reference, args.draws)}")


def networks_of(rows: Sequence[Row], split: str) -> list[Network]:
    """The networks of a file; the most epochs from float are the truth."""
    longest = max(int(row["epochs"]) for row in rows if row["start"] == FLOAT)
    found: dict[int, Network] = defaultdict(Network)
    for row in rows:
        network = found[int(row["chromosome"])]
        network.size_kb = float(row["size_kb"])
        way, seed = Way(row["start"], int(row["epochs"])), int(row["seed"])
        if way == Way(FLOAT, longest):
            network.finals[seed] = float(row[split])
        elif seed == 0:
            network.scores[way] = float(row[split])
    return [found[number] for number in sorted(found)]


def _ways(networks: Sequence[Network]) -> dict[str, list[Way]]:
    """Cheap scores by name; a trial from a supernet has the inherited score, too."""
    every = sorted({w for n in networks for w in n.scores}, key=lambda w: (w.start, w.epochs))
    found = {}
    for way in every:
        inherited = Way(way.start, 0)
        both = way.start != FLOAT and way.epochs and inherited in every
        found[way.label()] = [way, inherited] if both else [way]
    return found


def _draws(
    networks: Sequence[Network], ways: Sequence[Way], count: int, how: str, draws: int
) -> Iterator[tuple[Network, list[Network]]]:
    """Each network with some others: as a search chooses them from a random half, or at random."""
    rng = random.Random(f"{count} {how}")
    for one in networks:
        rest = [n for n in networks if n is not one]
        for _ in range(draws):
            if how == "random":
                yield one, rng.sample(rest, count)
            else:
                yield one, spread(rng.sample(rest, max(count, len(rest) // 2)), ways, count)


def spread(pool: Sequence[Network], ways: Sequence[Way], count: int) -> list[Network]:
    """Networks as the tuner chooses them before it knows a link."""
    losses = [(-n.scores[ways[0]], n.size_kb) for n in pool]
    chosen: list[int] = []
    while len(chosen) < count:
        left = [i for i in range(len(pool)) if i not in chosen]
        kept = nondominated([losses[i] for i in left])
        front = [i for i, keep in zip(left, kept, strict=True) if keep]
        known = [losses[i] for i in chosen]
        chosen.append(front[to_learn_from([losses[i] for i in front], [1.0] * len(front), known)])
    return [pool[i] for i in chosen]


def _note(
    tally: Tally, one: Network, others: Sequence[Network], ways: Sequence[Way], reference: float
) -> None:
    link = Link([n.trained(ways) for n in others], reference=reference)
    (found,) = link.expect([one.score(ways)])
    tally.raw.append(abs(one.scores[ways[0]] - one.truth))
    tally.told.append(abs(found.value - one.truth))
    tally.inside.append(found.low <= one.finals[0] <= found.high)
    tally.width.append(found.high - found.low)


def optimism(networks: Sequence[Network], ways: Sequence[Way], reference: float, draws: int) -> str:
    """How much too good a front is that was chosen by one training: measured by another one.

    Before: what that training said. After: the posterior, from it and the link of the others.
    """
    twice = [n for n in networks if len(n.finals) > 1]
    rng = random.Random("optimism")
    said: list[float] = []
    told: list[float] = []
    for _ in range(draws):
        some = rng.sample(twice, 2 * len(twice) // 3)
        chosen, other = rng.sample(sorted(some[0].finals)[:2], 2)
        link = Link([n.trained(ways, chosen) for n in some], reference=reference)
        posterior = [link.of_trained(i).value for i in range(len(some))]
        for values, gains in (
            ([n.finals[chosen] for n in some], said),
            (posterior, told),
        ):
            front = nondominated([(-v, n.size_kb) for v, n in zip(values, some, strict=True)])
            gains.append(
                statistics.mean(
                    v - n.finals[other]
                    for v, n, keep in zip(values, some, front, strict=True)
                    if keep
                )
            )
    return (
        f"a front of single trainings is {statistics.mean(said):+.4f} too good, of posterior "
        f"means {statistics.mean(told):+.4f} (standard deviations over draws "
        f"{np.std(said):.4f} and {np.std(told):.4f}), {len(twice)} networks"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    add = parser.add_argument
    add("rows", type=Path, help="of benchmarks.supernet.truth")
    add("--reference", type=float, default=0.994444, help="the float model's score on the split")
    add("--split", choices=("val", "test"), default="val")
    add("--networks", type=int, nargs="+", default=[4, 6, 8], help="that are trained to the end")
    add("--draws", type=int, default=40, help="for each network that is forecast")
    add("--start", nargs="*", help="of these starts only, such as float or a supernet's name")
    add("--above", type=float, default=-1.0, help="of networks whose truth is above it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
