"""Whether network and device can take every allele of a search space."""

from __future__ import annotations

from collections.abc import Sequence

import ga
from nni_plugin.study.tuner_args import CostModel

_SHORT = 64


def try_all_alleles(space: ga.SearchSpace, costs: CostModel | None) -> None:
    """Prices a few chromosomes in which every allele of a choice and both ends of a range occur.

    Raises:
        ValueError: a gene that the network doesn't have, or bits that the device can't run, or a
            value that the network's file rules out.
    """
    from hardware import CostFunction
    from hardware.ir.restrictions import check_allowed

    if costs is None:
        return
    offered = {gene.name: _some_values(gene) for gene in space.genes}
    for index in range(max(map(len, offered.values()))):
        chosen = {name: values[index % len(values)] for name, values in offered.items()}
        costs(chosen)
        if isinstance(costs, CostFunction):
            check_allowed(costs.network, chosen)


def _some_values(gene: ga.Gene) -> Sequence[object]:
    """All values of a choice or a short range of whole numbers; else the first and the last."""
    if isinstance(gene, (ga.Ordered, ga.Categorical)):
        return gene.values
    if isinstance(gene, ga.Integer) and gene.size <= _SHORT:
        return range(gene.low, gene.high + 1)
    return [gene.decode(gene.from_unit(unit)) for unit in (0.0, 1.0)]
