"""Optuna's distributions and `ga` genes, both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial

import ga
from ga.problem.search_space import Params
from nni_plugin.adapters.grid import Grid
from nni_plugin.search_space import choice_gene, gene_traits

__all__ = ["OptunaSpace", "suggest"]

Distributions = dict[str, BaseDistribution]


@dataclass(frozen=True)
class OptunaSpace:
    """One search space, as Optuna and as the optimizer see it.

    Optuna knows no nesting: there a gene that hangs on a choice is named by the way to it,
    `activation/relu/slope`, and only the trials that took this choice have it.

    Attributes:
        genes: the optimizer's.
        distributions: Optuna's, one for each gene, in the order of the chromosome.
    """

    genes: ga.SearchSpace
    distributions: Distributions

    @classmethod
    def of(cls, given: ga.SearchSpace | Mapping[str, BaseDistribution]) -> OptunaSpace:
        """From either side.

        Numbers that a categorical distribution lists upwards or downwards become an ordered gene:
        neighbours are taken to be alike.

        Raises:
            ValueError: a distribution that no gene can hold, or two genes of one name.
        """
        if isinstance(given, ga.SearchSpace):
            paths = [locus.path for locus in given.loci]
            if twice := {path for path in paths if paths.count(path) > 1}:
                raise ValueError(
                    f"two genes are named {min(twice)!r} in Optuna's notation: rename one"
                )
            return cls(given, {locus.path: _distribution(locus.gene) for locus in given.loci})
        if not isinstance(given, Mapping) or not given:
            raise ValueError(
                f"space={given!r} should be a ga.SearchSpace, or a non-empty dict of Optuna's "
                "distributions: {name: FloatDistribution(0, 1), ...}"
            )
        genes = [_gene(name, distribution) for name, distribution in given.items()]
        return cls(ga.SearchSpace(genes, gene_traits()), dict(given))

    def nested(self, values: Mapping[str, object]) -> Params:
        """Parameters as the optimizer has them; names that are not in play are left out.

        Args:
            values: parameters as Optuna has them.

        Raises:
            KeyError: a parameter that is in play is missing.
            ValueError: a choice that its gene does not list.
        """
        return _nested(self.genes.genes, "", lambda path, gene: values[path])

    def flat(self, params: Mapping[str, object]) -> dict[str, object]:
        """Parameters as Optuna has them, those in play only."""
        return dict(_flat(self.genes.genes, "", params))


def suggest(trial: BaseTrial, space: ga.SearchSpace) -> Params:
    """Parameters for a trial in this project's form, a nested choice as `{"_name": ...}`.

    Args:
        trial: Optuna's.
        space: that of the sampler.

    Returns:
        What `ga.Optimizer` and NNI's trials have.
    """

    def value(path: str, gene: ga.Gene) -> object:
        distribution = _distribution(gene)
        if isinstance(distribution, CategoricalDistribution):
            return trial.suggest_categorical(path, distribution.choices)
        low, high = distribution.low, distribution.high
        if isinstance(distribution, IntDistribution):
            return trial.suggest_int(path, low, high)
        return trial.suggest_float(path, low, high, log=distribution.log)

    return _nested(space.genes, "", value)


def _nested(
    genes: Iterable[ga.Gene], prefix: str, value_of: Callable[[str, ga.Gene], object]
) -> Params:
    params: Params = {}
    for gene in genes:
        path = prefix + gene.name
        value = value_of(path, gene)
        if isinstance(gene, ga.Categorical) and gene.children:
            children = gene.children[int(gene.encode(value))]
            params[gene.name] = {"_name": value, **_nested(children, f"{path}/{value}/", value_of)}
        else:
            params[gene.name] = value
    return params


def _flat(
    genes: Iterable[ga.Gene], prefix: str, params: Mapping[str, object]
) -> Iterator[tuple[str, object]]:
    for gene in genes:
        path, value = prefix + gene.name, params[gene.name]
        if isinstance(gene, ga.Categorical) and gene.children and isinstance(value, Mapping):
            option = value["_name"]
            yield path, option
            children = gene.children[int(gene.encode(option))]
            yield from _flat(children, f"{path}/{option}/", value)
        else:
            yield path, value


def _gene(name: str, distribution: BaseDistribution) -> ga.Gene:
    if isinstance(distribution, CategoricalDistribution):
        return choice_gene(name, list(distribution.choices))
    if isinstance(distribution, IntDistribution):
        low, high, step = distribution.low, distribution.high, distribution.step
        if step == 1 and not distribution.log:
            return ga.Integer(name, low, high)
        return Grid.between(name, low, high, step, log=distribution.log)
    if isinstance(distribution, FloatDistribution):
        bounds = float(distribution.low), float(distribution.high)
        if distribution.step is None:
            return ga.Real(name, *bounds, log=distribution.log)
        return Grid.between(name, *bounds, float(distribution.step))
    raise ValueError(
        f"parameter {name!r} has the distribution {distribution!r}: the search knows float, int "
        "and categorical ones; leave it out of `space`, and it is drawn at random"
    )


def _distribution(gene: ga.Gene) -> BaseDistribution:
    if isinstance(gene, (ga.Ordered, ga.Categorical)):
        return CategoricalDistribution(gene.values)
    if isinstance(gene, Grid):
        return CategoricalDistribution([gene.decode(k) for k in range(gene.size)])
    if isinstance(gene, ga.Integer):
        return IntDistribution(gene.low, gene.high)
    if isinstance(gene, (ga.Real, ga.Normal)):
        low, high = gene.bounds
        # A normal gene's outermost values may be rounded to a step outside.
        rim = (gene.step or 0.0) if isinstance(gene, ga.Normal) else 0.0
        low, high = (low if gene.log else low - rim), high + rim
        return FloatDistribution(low, high, log=gene.log)
    raise ValueError(
        f"gene {gene.name!r} is a {type(gene).__name__}, which Optuna has no distribution for"
    )
