"""What a search learned about its genes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ga.problem.genes import Categorical
from ga.problem.search_space import Genome, SearchSpace

_FEWEST = 8


def importances(
    space: SearchSpace, genomes: Sequence[Genome], values: Sequence[float], seed: int = 0
) -> dict[str, float]:
    """How much of a metric's variation each gene accounts for, summing to 1.

    Impurity-based importances of extremely randomized trees, with the columns of a categorical
    gene added up. All zero if there are fewer than eight results or the metric is constant.

    Args:
        space: the search space.
        genomes: n evaluated genomes.
        values: their metric.
        seed: of the trees.
    """
    names = [locus.path for locus in space.loci]
    if len(genomes) < _FEWEST or float(np.ptp(np.array(values))) == 0.0:
        return dict.fromkeys(names, 0.0)
    from sklearn.ensemble import ExtraTreesRegressor

    columns: list[NDArray[np.float64]] = []
    owners: list[int] = []
    flags = [space.active(genome) for genome in genomes]
    for i, locus in enumerate(space.loci):
        alleles = [genome[i] for genome in genomes]
        active = np.array([flag[i] for flag in flags])
        if isinstance(locus.gene, Categorical):
            hot = [np.array(alleles) == k for k in range(locus.gene.size)]
            columns += [(column & active).astype(float) for column in hot]
            owners += [i] * len(hot)
        else:
            units = np.array([locus.gene.to_unit(allele) for allele in alleles])
            columns.append(np.where(active, units, -1.0))
            owners.append(i)
    model = ExtraTreesRegressor(100, max_features=0.5, min_samples_leaf=2, random_state=seed)
    model.fit(np.column_stack(columns), np.array(values, dtype=float))
    shares = np.bincount(owners, weights=model.feature_importances_, minlength=len(names))
    return {name: float(share) for name, share in zip(names, shares, strict=True)}
