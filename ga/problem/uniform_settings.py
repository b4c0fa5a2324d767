"""Uniform compressions of a whole network: the corners of a space of a compression's genes."""

from __future__ import annotations

from ga.problem.gene_traits import CORNERS, Place
from ga.problem.genes import Gene
from ga.problem.search_space import Genome, SearchSpace


def corners(space: SearchSpace) -> list[Genome]:
    """Uniform settings of all layers, for spaces whose genes are all of kinds with traits.

    Nothing compressed, the lowest bits everywhere, and what lies between; then half of the
    channels removed. A kind without corners of its own stays where it changes nothing. Other
    spaces have no corners: the ends of, say, a learning rate's range are poor places to start.
    """
    places: list[tuple[Gene, Place, dict[str, Place]]] = []
    for locus in space.loci:
        traits = locus.traits
        if traits is None or (not locus.gene.numeric and traits.neutral != "first"):
            return []
        places.append((locus.gene, traits.neutral, dict(traits.corners)))
    own = dict.fromkeys(name for _, _, of_kind in places for name in of_kind)
    if not own:
        return []
    return list(
        dict.fromkeys(
            tuple(setting_of(gene, of_kind.get(name, neutral)) for gene, neutral, of_kind in places)
            for name in dict.fromkeys((*CORNERS, *own))
        )
    )


def setting_of(gene: Gene, where: Place) -> int | float:
    """The allele at a place of a gene's range."""
    if where == "first":
        return 0
    # An ordered gene may list its values downwards.
    unit = {"low": 0.0, "middle": 0.5, "high": 1.0}[where]
    first, last = gene.decode(gene.from_unit(0.0)), gene.decode(gene.from_unit(1.0))
    if first > last:
        unit = 1.0 - unit
    return gene.from_unit(unit)
