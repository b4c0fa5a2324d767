"""Ray Tune's search spaces as `ga` genes, and parameters as Tune's configs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ray.tune.search import sample
from ray.tune.search.variant_generator import parse_spec_vars

import ga
from ga.problem.finite import shortened
from ga.problem.search_space import Params
from nni_plugin.adapters.grid import Grid
from nni_plugin.search_space import choice_gene, gene_traits, parse

__all__ = ["TuneSpace"]

_ADVICE = "the search knows choice, the uniform ones, randint, randn and their log and q forms"
_Path = tuple[str, ...]


@dataclass(frozen=True)
class TuneSpace:
    """One search space, as Tune and as the optimizer see it.

    Attributes:
        genes: the optimizer's; a parameter in a nested dict is named `outer/inner`.
        constants: what every config holds beside them, by the way to it.
        paths: of each gene in a config. Empty for a space of ours: its parameters are a config.
    """

    genes: ga.SearchSpace
    constants: dict[_Path, object] = field(default_factory=dict)
    paths: dict[str, _Path] = field(default_factory=dict)

    @classmethod
    def of(cls, given: ga.SearchSpace | Mapping[str, object]) -> TuneSpace:
        """From a `ga.SearchSpace`, NNI's search space, or a config of Tune's.

        Raises:
            ValueError: nothing to search, or a domain that no gene can hold: `grid_search`,
                `sample_from`.
        """
        if isinstance(given, ga.SearchSpace):
            return cls(given)
        if not isinstance(given, Mapping) or not given:
            raise ValueError(
                f"space={shortened(given)} should be a ga.SearchSpace, NNI's search space or a "
                "config of Tune's: {'rate': tune.loguniform(1e-4, 1e-1), ...}"
            )
        if all(isinstance(x, Mapping) and "_type" in x for x in given.values()):
            return cls(parse(given))
        resolved, domains, grids = parse_spec_vars(dict(given))
        if grids:
            raise ValueError(
                f"parameter {'/'.join(map(str, grids[0][0]))!r} is a grid_search, which tries all "
                "values: make it tune.choice"
            )
        if not domains:
            raise ValueError("the config has no domain to search, such as tune.uniform(0, 1)")
        paths = {"/".join(map(str, path)): tuple(path) for path, _ in domains}
        genes = [_gene(name, domain) for name, (_, domain) in zip(paths, domains, strict=True)]
        constants = {tuple(path): value for path, value in resolved}
        return cls(ga.SearchSpace(genes, gene_traits()), constants, paths)

    def config(self, params: Params) -> dict[str, object]:
        """What a trial gets."""
        if not self.paths:
            return dict(params)
        found: dict[str, object] = {}
        for path, value in self.constants.items():
            _place(found, path, value)
        for name, path in self.paths.items():
            _place(found, path, params[name])
        return found

    def params(self, config: Mapping[str, object]) -> Params:
        """The other way round.

        Raises:
            ValueError: a parameter is missing.
        """
        if not self.paths:
            return dict(config)
        return {name: _find(config, path) for name, path in self.paths.items()}


def _place(config: dict[str, object], path: _Path, value: object) -> None:
    inner = config
    for key in path[:-1]:
        deeper = inner.setdefault(key, {})
        assert isinstance(deeper, dict)
        inner = deeper
    inner[path[-1]] = value


def _find(config: Mapping[str, object], path: _Path) -> object:
    found: object = config
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            raise ValueError(f"parameter {'/'.join(path)!r} is missing from {shortened(config)}")
        found = found[key]
    return found


def _gene(name: str, domain: sample.Domain) -> ga.Gene:
    if isinstance(domain, sample.Categorical):
        return choice_gene(name, list(domain.categories))
    sampler, step = domain.get_sampler(), None
    if isinstance(sampler, sample.Quantized):
        sampler, step = sampler.get_sampler(), sampler.q
    log = isinstance(sampler, sample.LogUniform)
    if isinstance(domain, sample.Float) and isinstance(sampler, sample.Normal):
        return ga.Normal(name, sampler.mean, sampler.sd, step=step)
    if not isinstance(sampler, (sample.Uniform, sample.LogUniform)):
        raise ValueError(f"parameter {name!r} is {domain!r}: {_ADVICE}")
    if isinstance(domain, sample.Integer):
        # Tune leaves the upper bound out, but not that of a quantized domain.
        last = domain.upper if step not in (None, 1) else domain.upper - 1
        if log or step not in (None, 1):
            return _grid(name, int, domain.lower, last, step or 1, log)
        return ga.Integer(name, domain.lower, last)
    if isinstance(domain, sample.Float):
        if step is not None:
            return _grid(name, float, domain.lower, domain.upper, step, log)
        return ga.Real(name, domain.lower, domain.upper, log=log)
    raise ValueError(f"parameter {name!r} is {domain!r}: {_ADVICE}")


def _grid(
    name: str, kind: Callable[[float], float], lower: float, upper: float, step: float, log: bool
) -> ga.Gene:
    """The multiples of a step between two bounds: what Tune rounds to."""
    first = -(-round(lower / step, 9) // 1) * step
    last = round(upper / step, 9) // 1 * step
    return Grid.between(name, kind(first), kind(last), kind(step), log=log)
