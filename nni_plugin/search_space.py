"""NNI search spaces and `ga` genes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ga import Categorical, Gene, GeneTraits, Integer, Normal, Ordered, Real, SearchSpace
from ga.problem.finite import as_finite, shortened
from ga.problem.gene_traits import BUILT_IN
from ga.problem.genes import same_value
from hardware.ir.gene_kinds import gene_kinds, kind_of
from nni_plugin.network_space import for_network
from nni_plugin.protocol.json_types import NniSpace
from nni_plugin.protocol.metrics import is_number

__all__ = ["NniSpace", "choice_gene", "for_network", "gene_traits", "parse"]


def parse(nni_space: Mapping[str, object]) -> SearchSpace:
    """The genes of an NNI search space, of any type that NNI documents, nested choices too.

    A `choice` of numbers only, listed upwards or downwards, becomes an ordered gene; so do all
    numeric choices of a kind of gene that has an order (`.prune`, `.w_bits`, ...), in whatever
    order they are listed. Every other choice is categorical. `randint` keeps NNI's meaning: the
    upper bound is not included.

    Raises:
        ValueError: not a dict, an unknown `_type`, an empty or malformed `_value`, or no gene that
            has more than one value.
    """
    try:
        space = SearchSpace(_genes(nni_space, "the search space"), gene_traits())
    except RecursionError:
        raise ValueError(
            "the search space is nested too deep: put nested choices beside each other"
        ) from None
    if space.cardinality == 1:
        raise ValueError(
            "the search space has no usable gene: none of its entries has more than one value"
        )
    return space


def gene_traits() -> dict[str, GeneTraits]:
    """What the search takes for granted of kinds that `ga` doesn't know by itself."""
    return {
        kind.name: GeneTraits(
            neutral=("low" if kind.grows else "high") if kind.is_ordered else "first",
            corners=kind.corners,
            milder=("low" if kind.grows else "high") if kind.is_ordered else None,
            hardship=kind.hardship,
        )
        for kind in gene_kinds()
        if kind.name not in BUILT_IN
    }


def _genes(nni_space: object, where: str) -> list[Gene]:
    if not isinstance(nni_space, Mapping):
        raise ValueError(f"{where} is {shortened(nni_space)}, expected a dict of parameters")
    if not nni_space and where == "the search space":
        raise ValueError("the search space has no usable gene: it is empty")
    for name in nni_space:
        if not isinstance(name, str) or not name:
            raise ValueError(
                f"{where} has an entry named {shortened(name)}, expected a non-empty text: put "
                "the name in quotes"
            )
    return [_gene(name, entry) for name, entry in nni_space.items()]


def _gene(name: str, entry: object) -> Gene:
    if not isinstance(entry, Mapping) or "_type" not in entry or "_value" not in entry:
        raise ValueError(
            f"search space entry {name!r} is {shortened(entry)}, expected "
            "{'_type': ..., '_value': [...]}"
        )
    kind, value = entry["_type"], entry["_value"]
    if not isinstance(kind, str) or kind not in _PARSERS:
        raise ValueError(
            f"search space entry {name!r} has unknown _type {shortened(kind)} "
            f"(allowed: {', '.join(_PARSERS)})"
        )
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ValueError(
            f"search space entry {name!r} ({kind}) has _value {shortened(value)}, expected a "
            "non-empty list"
        )
    return _PARSERS[kind](name, list(value))


def choice_gene(name: str, values: list[object]) -> Gene:
    """The gene of a `choice`: ordered or categorical, see `parse`.

    Raises:
        ValueError: values that are not finite, or nested choices beside others.
    """
    nested = [v for v in values if isinstance(v, Mapping) and "_name" in v]
    if nested:
        others = [v for v in values if not (isinstance(v, Mapping) and "_name" in v)]
        if others:
            raise ValueError(
                f"search space entry {name!r} mixes nested choices (dicts with '_name') with "
                f"other values: {shortened(others[0])}"
            )
        names = [v["_name"] for v in nested]
        children = [
            _genes(
                {key: entry for key, entry in v.items() if key != "_name"},
                f"option {shortened(v['_name'])} of {name!r}",
            )
            for v in nested
        ]
        return Categorical(name, tuple(names), tuple(tuple(genes) for genes in children))
    # NNI takes a value that is listed twice; here it would be two candidates for one network.
    unique: list[object] = []
    for v in values:
        if not any(same_value(v, other) for other in unique):
            unique.append(v)
    numbers = [v for v in unique if is_number(v)]
    if len(numbers) == len(unique):
        if bad := [v for v in numbers if as_finite(v) is None]:
            raise ValueError(
                f"search space entry {name!r} has a value that is not finite, or too large for a "
                f"float: {shortened(bad[0])}"
            )
        kind = kind_of(name)
        if kind is not None and kind.is_ordered:
            return Ordered(name, tuple(sorted(numbers)))
        if numbers in (sorted(numbers), sorted(numbers, reverse=True)):
            return Ordered(name, tuple(numbers))
    return Categorical(name, tuple(unique))


def _numbers(name: str, kind: str, values: list[object], names: tuple[str, ...]) -> list[float]:
    numbers = [v for v in values if is_number(v) and as_finite(v) is not None]
    if not len(numbers) == len(values) == len(names):
        raise ValueError(
            f"search space entry {name!r} ({kind}) has _value {shortened(values)}, "
            f"expected [{', '.join(names)}] as numbers"
        )
    return numbers


def _randint(name: str, values: list[object]) -> Gene:
    lower, upper = _numbers(name, "randint", values, ("lower", "upper"))
    if lower != int(lower) or upper != int(upper) or lower >= upper:
        raise ValueError(
            f"search space entry {name!r} (randint) has _value {shortened(values)}, expected "
            "whole numbers with lower < upper (upper is not included)"
        )
    return Integer(name, int(lower), int(upper) - 1)


def _uniform(kind: str) -> Callable[[str, list[object]], Gene]:
    log, quantized = "log" in kind, kind.startswith("q")

    def make(name: str, values: list[object]) -> Gene:
        low, high, *q = _numbers(name, kind, values, ("low", "high") + ("q",) * quantized)
        if low >= high or (log and low <= 0) or (q and q[0] <= 0):
            wanted = "low < high" + ", low > 0" * log + ", q > 0" * quantized
            raise ValueError(
                f"search space entry {name!r} ({kind}) has _value {shortened(values)}, expected "
                f"{wanted}"
            )
        return Real(name, low, high, log=log, step=q[0] if q else None)

    return make


def _normal(kind: str) -> Callable[[str, list[object]], Gene]:
    log, quantized = "log" in kind, kind.startswith("q")

    def make(name: str, values: list[object]) -> Gene:
        mu, sigma, *q = _numbers(name, kind, values, ("mu", "sigma") + ("q",) * quantized)
        if sigma <= 0 or (q and q[0] <= 0):
            wanted = "sigma > 0" + ", q > 0" * quantized
            raise ValueError(
                f"search space entry {name!r} ({kind}) has _value {shortened(values)}, expected "
                f"{wanted}"
            )
        return Normal(name, mu, sigma, log=log, step=q[0] if q else None)

    return make


_PARSERS: dict[str, Callable[[str, list[object]], Gene]] = {
    "choice": choice_gene,
    "randint": _randint,
    **{k: _uniform(k) for k in ("uniform", "quniform", "loguniform", "qloguniform")},
    **{k: _normal(k) for k in ("normal", "qnormal", "lognormal", "qlognormal")},
}
