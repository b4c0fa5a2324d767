"""Published tables of really trained chromosomes (pruning x bits), as search problems.

A table holds *every* chromosome of a small space: a few genes, each of which stands for a set of a
network's genes ("tied"). Each was pruned by NNI (channels removed), quantized and fine-tuned by
`make_table.py`, and its metrics at every rung are kept, so a search on it needs no training and the
true front is known.

    from tables import TABLES, load
    rows = load("digits")          # pandas: tied genes, costs, val_0, val_4, ..., test

A row's `val_N` is the accuracy after N steps of quantization-aware training, N = 0 being
post-training quantization. A search sees `val`; `test`, after the last rung, is there to say what a
found front is worth.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from problems import Problem, from_table

import ga

FOLDER = Path(__file__).parent / "tables"
COSTS = ("size_kb", "ram_kb", "latency_ms", "energy_mj", "macs", "bops")
Params = dict[str, Any]

_RATIOS = (0.0, 0.25, 0.5, 0.75)
_FINE = {0.25}  # what the coarse grid leaves out
# Accuracy below that of the unpruned 8-bit network, from which on a network counts where it is
# limited.
_DEPTH = 0.1
_LIMITED = "-limited"
_WEIGHTS = (2, 4, 8)
_INPUTS = (4, 8)


@dataclass(frozen=True)
class TableSpace:
    """An enumerable space of tied genes, and how its chromosomes are trained.

    Attributes:
        name: Of the table.
        task: As `evaluators.load_task` takes it.
        device: Whose costs the table holds.
        values: Tied gene -> its values.
        members: Tied gene -> keys of a trial's parameters that all get its value.
        recovery: Epochs of float training after pruning, once per pruning.
        rungs: Steps of quantization-aware training after which there is a result; 0 comes first.
        learning_rate: Of Adam in the quantization-aware training.
        batch_size: In the quantization-aware training.
    """

    name: str
    task: str
    device: str
    values: Mapping[str, tuple[float, ...]]
    members: Mapping[str, tuple[str, ...]]
    recovery: int
    rungs: tuple[int, ...]
    learning_rate: float
    batch_size: int

    def space(self) -> ga.SearchSpace:
        """The tied genes as a search space."""
        return ga.SearchSpace([ga.Ordered(name, values) for name, values in self.values.items()])

    def chromosomes(self) -> list[tuple[float, ...]]:
        """All of them: first, shuffled, those of the coarse grid, then, shuffled, the others.

        Every beginning is a random sample of a grid, and a stopped run of a whole coarse one is a
        table of its own.
        """
        listed = list(itertools.product(*self.values.values()))
        random.Random(0).shuffle(listed)
        return sorted(listed, key=lambda chromosome: not set(chromosome).isdisjoint(_FINE))

    def trial_params(self, chromosome: tuple[float, ...]) -> Params:
        """Parameters as a trial of the untied network takes them."""
        tied = zip(self.members.values(), chromosome, strict=True)
        return {key: value for members, value in tied for key in members}


def _prune(*groups: str) -> tuple[str, ...]:
    return tuple(f"{group}.prune" for group in groups)


def _weights(*layers: str) -> tuple[str, ...]:
    return tuple(f"{layer}.w_bits" for layer in layers)


def _tied(
    prune: tuple[tuple[str, ...], ...], bits: tuple[tuple[str, ...], ...]
) -> dict[str, tuple[str, ...]]:
    layers = [layer for group in bits for layer in group]
    return {
        "early.prune": _prune(*prune[0]),
        "middle.prune": _prune(*prune[1]),
        "late.prune": _prune(*prune[2]),
        "dense.w_bits": _weights(*bits[0]),
        "depthwise.w_bits": _weights(*bits[1]),
        "pointwise.w_bits": _weights(*bits[2]),
        "all.a_bits": tuple(f"{layer}.a_bits" for layer in layers),
    }


_VALUES: dict[str, tuple[float, ...]] = {
    "early.prune": _RATIOS,
    "middle.prune": _RATIOS,
    "late.prune": _RATIOS,
    "dense.w_bits": _WEIGHTS,
    "depthwise.w_bits": _WEIGHTS,
    "pointwise.w_bits": _WEIGHTS,
    "all.a_bits": _INPUTS,
}

TABLES = {
    "digits": TableSpace(
        "digits",
        "evaluators.tasks.digits:build",
        "stm32f746",
        _VALUES,
        _tied(
            (("stem.0", "conv1"), ("block1.3", "block2.3"), ("block3.3",)),
            (
                ("stem.0", "conv1", "conv2"),
                ("block1.0", "block2.0", "block3.0"),
                ("block1.3", "block2.3", "block3.3", "fc"),
            ),
        ),
        recovery=8,
        rungs=(0, 4, 8, 17),
        learning_rate=2e-3,
        batch_size=64,
    ),
    "kws": TableSpace(
        "kws",
        "evaluators.tasks.kws:build",
        "stm32l4r5",
        _VALUES,
        _tied(
            (("stem", "blocks.0.3"), ("blocks.1.3", "blocks.2.3"), ("blocks.3.3",)),
            (
                ("stem",),
                ("blocks.0.0", "blocks.1.0", "blocks.2.0", "blocks.3.0"),
                ("blocks.0.3", "blocks.1.3", "blocks.2.3", "blocks.3.3", "fc"),
            ),
        ),
        recovery=3,
        rungs=(0, 4, 8),
        learning_rate=1e-3,
        batch_size=50,
    ),
}


def load(name: str) -> pd.DataFrame:
    """A published table, one row per chromosome.

    Raises:
        ValueError: There is none of that name.
    """
    path = FOLDER / f"{name}.csv.xz"
    if name not in TABLES or not path.exists():
        there = sorted(found.name.removesuffix(".csv.xz") for found in FOLDER.glob("*.csv.xz"))
        raise ValueError(f"there is no table {name!r} (published: {', '.join(there) or 'none'})")
    return pd.read_csv(path)


def grid(table: TableSpace, rows: pd.DataFrame, *, coarse: bool) -> dict[str, tuple[float, ...]]:
    """Values of each gene such that the table holds every combination of them.

    Args:
        table: Its space.
        rows: What is there of it.
        coarse: Without the values that the coarse grid leaves out.

    Raises:
        ValueError: A combination is missing.
    """
    values = {
        name: tuple(value for value in values if not (coarse and value in _FINE))
        for name, values in table.values.items()
    }
    missing = set(itertools.product(*values.values()))
    missing -= set(rows[list(table.values)].itertuples(index=False, name=None))
    if missing:
        raise ValueError(
            f"the table {table.name!r} lacks {len(missing)} chromosomes of its "
            f"{'coarse' if coarse else 'whole'} grid: go on with make_table.py"
            f"{'' if coarse else ', or use its coarse grid'}"
        )
    return values


def problem(name: str, *, split: str = "val") -> Problem:
    """A published table as a search problem: accuracy at the last rung, size, latency.

    Size and latency count as known before a trial; sensitivities are those of the table's scores
    after post-training quantization, as `joint-ga sensitivity` measures them.

    Args:
        name: Of the table; with `-coarse` behind it, only its coarse grid; with `-limited`, with a
            limit of accuracy: 10 points below that of the unpruned 8-bit network, whose size and
            latency then are the worst that count.
        split: Whose accuracy: `val`, or `test`, which no search may see.

    Raises:
        ValueError: There is no such table, or it is not whole.
    """
    coarse, table = name.endswith("-coarse"), space_of(name)
    rows = load(table.name)
    values = grid(table, rows, coarse=coarse)
    genes = tuple(ga.Ordered(gene, options) for gene, options in values.items())
    metrics = {
        chromosome: {"accuracy": accuracy, "size_kb": size, "latency_ms": latency}
        for chromosome, accuracy, size, latency in zip(
            rows[list(values)].itertuples(index=False, name=None),
            rows["test" if split == "test" else f"val_{table.rungs[-1]}"],
            rows["size_kb"],
            rows["latency_ms"],
            strict=True,
        )
        if all(value in values[gene] for gene, value in zip(values, chromosome, strict=True))
    }
    goals = {"accuracy": "maximize", "size_kb": "minimize", "latency_ms": "minimize"}
    found = from_table(f"table-{name}", genes, goals, ("size_kb", "latency_ms"), metrics)
    found = replace(found, sensitivities=sensitivities(table, rows))
    return limited(found, list(metrics.values()), table) if name.endswith(_LIMITED) else found


def space_of(name: str) -> TableSpace:
    """The table behind a problem's name.

    Raises:
        ValueError: There is none.
    """
    table = TABLES.get(name.removesuffix("-coarse").removesuffix(_LIMITED))
    if table is None:
        raise ValueError(f"there is no table behind {name!r} (tables: {', '.join(TABLES)})")
    return table


def limited(whole: Problem, rows: list[dict[str, float]], table: TableSpace) -> Problem:
    """The problem that a user has who wants no network much less accurate than the 8-bit one.

    Args:
        whole: Without limits.
        rows: All metrics of its table.
        table: Its space.
    """
    goals = ga.Objectives.parse(whole.objectives)
    top = whole.evaluate(uncompressed(table))
    least = {**top, "accuracy": top["accuracy"] - _DEPTH}
    reference = np.array(goals.losses(least))
    losses = np.array([goals.losses(row) for row in rows])
    inside = losses[(losses < reference).all(axis=1)]
    scaled = (inside - whole.ideal) / (reference - whole.ideal)
    best = ga.hypervolume(scaled[ga.nondominated(scaled)], np.ones(len(reference)))
    constraints = {"accuracy": f">= {least['accuracy']:.5f}"}
    return replace(whole, reference=reference, best=best, constraints=constraints)


def uncompressed(table: TableSpace) -> Params:
    """Nothing pruned at the highest bits."""
    return {
        name: 0.0 if name.endswith(".prune") else max(values)
        for name, values in table.values.items()
    }


PROBLEMS = (*TABLES, *(f"{name}{kind}" for kind in ("-coarse", _LIMITED) for name in TABLES))


def sensitivities(table: TableSpace, rows: pd.DataFrame) -> dict[str, dict[float, float]]:
    """What each value of each gene costs alone, untrained: `{gene: {value: loss}}`."""
    names = list(table.values)
    scores = dict(
        zip(
            rows[names].itertuples(index=False, name=None),
            rows[f"val_{table.rungs[0]}"].tolist(),
            strict=True,
        )
    )
    whole = uncompressed(table)
    best = scores[tuple(whole.values())]
    return {
        name: {
            value: best - scores[tuple({**whole, name: value}.values())]
            for value in values
            if value != whole[name]
        }
        for name, values in table.values.items()
    }
