"""The published tables of trained chromosomes, as benchmark problems."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

import ga
from hardware import Network, cost_function, load_device
from support.paths import REPOSITORY
from support.search_scripts import search_script

PUBLISHED = sorted((REPOSITORY / "benchmarks/search/tables").glob("*.csv.xz"))


@pytest.fixture(scope="module")
def tables() -> Any:
    """The module, which lies beside the scripts that use it."""
    return search_script("tables")


@pytest.mark.parametrize("name", ["digits", "kws"])
def test_tied_genes_cover_every_gene_of_the_network_once(tables: Any, name: str) -> None:
    table = tables.TABLES[name]
    network = Network.load(REPOSITORY / f"experiment_configs/{name}.space.network.json")
    tied = list(itertools.chain(*table.members.values()))
    wanted = {f"{g.name}.prune" for g in network.groups if g.prunable}
    wanted |= {f"{n}.{kind}" for n in network.gene_layers for kind in ("w_bits", "a_bits")}
    assert len(tied) == len(set(tied))
    assert set(tied) == wanted
    chromosomes = table.chromosomes()
    assert len(chromosomes) == len(set(chromosomes)) == table.space().cardinality >= 3000


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_a_published_table_is_a_problem_with_a_known_front(tables: Any, path: Path) -> None:
    name = path.name.removesuffix(".csv.xz")
    table, rows = tables.TABLES[name], tables.load(name)
    assert path.stat().st_size < 1_000_000
    assert not rows.isna().any().any()
    assert rows.filter(regex="val_|test").apply(lambda column: column.between(0, 1)).all().all()
    problem = tables.problem(f"{name}-coarse")
    space = problem.space()
    everything = [
        problem.evaluate(space.decode(space.nth(i))) for i in range(space.cardinality or 0)
    ]
    assert problem.quality(everything)[-1] == pytest.approx(1.0)
    # MACs follow from shapes alone, so they show that the rows are this network's.
    network = Network.load(REPOSITORY / f"experiment_configs/{name}.space.network.json")
    costs = cost_function(network, load_device(table.device))
    row = rows.iloc[len(rows) // 2]
    chromosome = tuple(row[gene].item() for gene in table.values)
    assert costs(table.trial_params(chromosome))["macs"] == row["macs"]
    optimizer = ga.Optimizer(space, problem.objectives, costs=problem.costs, surrogate="none")
    assert problem.evaluate(optimizer.ask().params)["accuracy"] > 0


def test_a_limited_table_counts_what_is_accurate_enough(tables: Any) -> None:
    problem, whole = tables.problem("kws-limited"), tables.problem("kws")
    space = problem.space()
    metrics = [problem.evaluate(space.decode(space.nth(i))) for i in range(space.cardinality)]
    full = problem.evaluate(tables.uncompressed(tables.TABLES["kws"]))
    least = full["accuracy"] - 0.1
    assert problem.quality(metrics)[-1] == pytest.approx(1.0)
    poor = [m for m in metrics if m["accuracy"] < least - 1e-9]
    assert problem.quality(poor)[-1] == 0.0
    assert whole.quality(poor)[-1] > 0.5
    assert problem.quality([full])[-1] == 0.0, "the corner that counts least"


def test_a_table_on_test_differs_in_accuracy_alone(tables: Any) -> None:
    seen, unseen = tables.problem("kws"), tables.problem("kws", split="test")
    space = seen.space()
    one, other = (dict(p.evaluate(space.decode(space.nth(7)))) for p in (seen, unseen))
    assert one.pop("accuracy") != other.pop("accuracy")
    assert one == other


def test_an_unknown_table_is_refused_with_those_that_are_there(tables: Any) -> None:
    with pytest.raises(ValueError, match="there is no table 'mnist'"):
        tables.load("mnist")
