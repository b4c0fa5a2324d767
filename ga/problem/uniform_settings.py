"""Uniform compressions of a whole network: the corners of a space of prune ratios and bits."""

from __future__ import annotations

from ga.problem.genes import Gene
from ga.problem.search_space import Genome, SearchSpace

# Uniform compressions of a network: kind of gene -> what every gene of that kind gets. `low`
# and `high` are the ends of its range, `middle` the step halfway. Nothing pruned at the highest
# bits, the lowest bits everywhere, and what lies between; then half of the channels removed.
_CORNERS: tuple[dict[str, str], ...] = (
    {"prune": "low", "w_bits": "high", "a_bits": "high"},
    {"prune": "low", "w_bits": "low", "a_bits": "low"},
    {"prune": "low", "w_bits": "low", "a_bits": "high"},
    {"prune": "middle", "w_bits": "high", "a_bits": "high"},
    {"prune": "low", "w_bits": "middle", "a_bits": "high"},
    {"prune": "middle", "w_bits": "middle", "a_bits": "high"},
)


# What changes nothing, for genes that a space has beside those: dense, whole, and of choices
# without an order the first one that is listed.
NEUTRAL = {"sparsity": "low", "rank": "high", "w_scheme": "first", "pruner": "first"}


def corners(space: SearchSpace) -> list[Genome]:
    """Uniform settings of all layers, for spaces with genes of the kinds prune, w_bits, a_bits.

    Genes of the kinds sparsity, rank, w_scheme and pruner stay where they change nothing. Other
    spaces have no corners: the ends of, say, a learning rate's range are poor places to start.
    """
    known = {kind for corner in _CORNERS for kind in corner}
    for locus in space.loci:
        first = NEUTRAL.get(locus.kind) == "first"
        if locus.kind not in known and locus.kind not in NEUTRAL:
            return []
        if not locus.gene.numeric and not first:
            return []
    if all(locus.kind in NEUTRAL for locus in space.loci):
        return []
    found: dict[Genome, None] = {}
    for corner in _CORNERS:
        places = corner | NEUTRAL
        found[tuple(setting_of(locus.gene, places[locus.kind]) for locus in space.loci)] = None
    return list(found)


def setting_of(gene: Gene, where: str) -> int | float:
    """The allele at a place of a gene's range: `low`, `middle`, `high` or `first`."""
    if where == "first":
        return 0
    # An ordered gene may list its values downwards.
    unit = {"low": 0.0, "middle": 0.5, "high": 1.0}[where]
    first, last = gene.decode(gene.from_unit(0.0)), gene.decode(gene.from_unit(1.0))
    if first > last:
        unit = 1.0 - unit
    return gene.from_unit(unit)
