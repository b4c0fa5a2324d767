"""Would pairs of genes help the search? `PYTHONPATH=. python benchmarks/search/pair_terms.py`.

The search takes effects of genes as adding up on a scale of logarithms. CLADO (arXiv:2307.05657)
adds a term for each pair. The first table says what such terms have to explain, from the measured
pairs of `tables/effects.csv`: u is as in `wide_measured.py`, and a share is one minus the squared
error over the variance of the joint losses, each pair predicted from the others where something
was fitted. The second says what becomes of forecasts. Searches on `wide_measured.py`'s instances
are run, a process learns their first results and forecasts the next 25, whose true accuracy is
known. It learns

- single genes, as the search does;
- pairs too: a weight of its own for each pair of neighbours, or of a layer as well, with the same
  prior as a gene's, on the root of the product of the two measured losses;
- or one more effect that is told: what the measured pairs lose beyond their sum in this network.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import wide
import wide_measured
from measure_effects import PATH

from ga.arrays import Array
from ga.problem.sensitivities import Sensitivities
from ga.surrogate.features import Features
from ga.surrogate.gaussian_process import EFFECT
from ga.surrogate.warped_process import WarpedGaussianProcess

RESULTS = Path(__file__).with_name("results") / "pair-terms.csv"
LEARNED, AHEAD = (25, 50, 75), 25
KINDS = ("genes of one layer", "neighbours of one kind", "others")
Pairs = list[tuple[int, int]]


def kind_of(one: str, other: str, neighbours: set[frozenset[str]]) -> str:
    """Which of `KINDS` two genes are."""
    if one.rpartition(".")[0] == other.rpartition(".")[0]:
        return KINDS[0]
    return KINDS[1] if frozenset((one, other)) in neighbours else KINDS[2]


def joint_losses(instance: wide_measured.Measured) -> pd.DataFrame:
    """Measured pairs: their kind, what each gene loses alone, and both together (u)."""
    space, rows = instance.space, pd.read_csv(PATH)
    rows = rows[rows.network == instance.file]
    near = {
        frozenset(space.loci[i].gene.name for i in pair)
        for pair in neighbours(dict(enumerate(space.loci)))
    }
    whole, guess = float(rows[rows.gene.isna()].right.iloc[0]), instance.chance

    def u(right: Array) -> Array:
        return -np.log(np.maximum((right - guess) / (whole - guess), np.exp(-4.0)))

    single = rows[rows.gene.notna() & rows.other.isna()].set_index(["gene", "value"]).right
    pairs = rows[rows.other.notna()]
    ends = [
        single.reindex(pd.MultiIndex.from_frame(pairs[names])).to_numpy()
        for names in (["gene", "value"], ["other", "other_value"])
    ]
    found = pd.DataFrame({
        "kind": [kind_of(a, b, near) for a, b in zip(pairs.gene, pairs.other, strict=True)],
        "one": u(ends[0]), "other": u(ends[1]), "both": u(pairs.right.to_numpy()),
    })  # fmt: skip
    return found.dropna()


def explained(pairs: pd.DataFrame) -> list[str]:
    """Shares of the variance of joint losses, with what deviation is left beyond the sum."""
    both, total = pairs.both.to_numpy(), (pairs.one + pairs.other).to_numpy()
    root = np.sqrt(np.maximum(pairs.one, 0.0) * np.maximum(pairs.other, 0.0)).to_numpy()

    def share(off: Array) -> str:
        return f"{1 - (off**2).sum() / ((both - both.mean()) ** 2).sum():.2f}"

    def left_out(columns: Array) -> Array:
        hat = columns @ np.linalg.pinv(columns)
        return np.asarray((both - hat @ both) / (1 - np.diag(hat)))

    return [
        f"{both.std():.3f}", f"{(both - total).std():.3f}", share(both - total),
        share(left_out(total[:, None])), share(left_out(np.column_stack([total, root]))),
    ]  # fmt: skip


def neighbours(loci: Mapping[int, Any], *, layers: bool = False) -> Iterator[tuple[int, int]]:
    """Loci that follow each other among those of their kind, and those of one layer."""
    for trait in ("kind", *(["group"] if layers else [])):
        groups: dict[str, list[int]] = {}
        for i, locus in loci.items():
            groups.setdefault(getattr(locus, trait), []).append(i)
        for own in groups.values():
            yield from (
                itertools.pairwise(own) if trait == "kind" else itertools.combinations(own, 2)
            )


class PairedProcess(WarpedGaussianProcess):
    """The search's process with more effects behind those of genes, which alone make the sum.

    Args:
        groups: as for `WarpedGaussianProcess`, further effects last.
        further: how many there are.
    """

    def __init__(self, groups: list[int], further: int) -> None:
        super().__init__(groups, -1.0)
        self._further = further

    def _shares(self, rows: Array, stretched: bool) -> Array:
        own = rows[:, : rows.shape[1] - self._further]
        effects = own[:, self._is_effect[: own.shape[1]]]
        whole = 0.01 + effects.sum(axis=1, keepdims=True) if stretched else self._total
        rows = rows.copy()
        rows[:, self._is_effect] /= whole
        return rows


def excess(instance: wide_measured.Measured, alleles: Array, losses: Array) -> Array:
    """What measured pairs lose beyond their sum, n x 1, scaled as the instance's own."""
    total = np.zeros(len(alleles))
    for a, b, weight in instance._pairs:
        total += 0.5 * weight * np.sqrt(losses[:, a] * losses[:, b])
    return total[:, None]


def forecasts(instance: wide_measured.Measured, seed: int) -> Iterator[list[Any]]:
    """Rows of the results: errors of one search's forecasts, and how unlikely its results are."""
    asked: list[Any] = []
    trial = instance.trial
    instance.trial = lambda params, noise: _kept(asked, params, trial(params, noise))  # type: ignore[method-assign]  # so that what is asked is kept
    rows = wide.ours(instance, seed, max(LEARNED) + AHEAD)
    features = Features(instance.space, Sensitivities.parse(instance.sensitivities))
    genomes = [instance.space.encode(params) for params in asked]
    names = tuple(sorted(wide.COSTS))
    base = features.rows(genomes, [{n: r[n] for n in names} for r in rows], names)
    groups, loci = features.groups(len(names)), dict(enumerate(instance.space.loci))
    losses = base[:, np.array(groups) == EFFECT]

    def roots(pairs: Pairs) -> Array:
        return np.column_stack([np.sqrt(losses[:, a] * losses[:, b]) for a, b in pairs])

    ways = {
        "single genes": np.zeros((len(rows), 0)),
        "neighbours learned": roots(list(neighbours(loci))),
        "neighbours and layers learned": roots(list(neighbours(loci, layers=True))),
        "pairs told as measured": excess(instance, np.array(genomes), losses),
    }
    read, true = (np.array([row[name] for row in rows]) for name in ("accuracy", "true"))
    for way, further in ways.items():
        table = np.hstack([base, further])
        for count in LEARNED:
            process = PairedProcess([*groups, *[EFFECT] * further.shape[1]], further.shape[1])
            process.fit(table[:count], read[:count])
            mean, _ = process.predict(table[count : count + AHEAD])
            error = float(np.sqrt(((mean - true[count : count + AHEAD]) ** 2).mean()))
            assert process.shape is not None
            yield [
                instance.name,
                seed,
                way,
                count,
                f"{error:.5f}",
                f"{process.shape.kernel.loss:.3f}",
            ]


def _kept(asked: list[Any], params: Any, row: dict[str, float]) -> dict[str, float]:
    asked.append(dict(params))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    heads = "pairs | deviation of joint losses | of what the sum leaves | share of the sum"
    print(f"| network | kind | {heads} | of the sum times a factor | with a factor for pairs too |")
    print("|---" * 8 + "|")
    for place in {place[0]: place for place in wide_measured.INSTANCES}.values():
        instance = wide_measured.Measured(*place)
        pairs = joint_losses(instance)
        for kind in (*KINDS, "all"):
            own = pairs if kind == "all" else pairs[pairs.kind == kind]
            if len(own) > 4:
                cells = " | ".join([str(len(own)), *explained(own)])
                print(f"| {instance.file} | {kind} | {cells} |")
    if not RESULTS.exists():
        RESULTS.write_text("instance,seed,learned,results,error,unlikeliness\n", encoding="utf-8")
    done = set(pd.read_csv(RESULTS)[["instance", "seed"]].itertuples(index=False, name=None))
    for place in wide_measured.INSTANCES[:2]:
        for seed in range(args.seeds):
            instance = wide_measured.Measured(*place)
            if (instance.name, seed) not in done:
                for row in forecasts(instance, seed):
                    wide.append(RESULTS, row)
    runs = pd.read_csv(RESULTS)
    heads = " | ".join(f"error after {n} | unlikeliness" for n in LEARNED)
    print(f"\n| learned | searches | {heads} |\n" + "|---" * (2 + 2 * len(LEARNED)) + "|")
    for way, own in runs.groupby("learned", sort=False):
        means = own.groupby("results")[["error", "unlikeliness"]].mean()
        shown = [f"{means.error[n]:.4f} | {means.unlikeliness[n]:.1f}" for n in LEARNED]
        print(f"| {way} | {len(own) // len(LEARNED)} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
