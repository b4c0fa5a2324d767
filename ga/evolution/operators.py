"""Foreign operators in a search: their random numbers, and checks of what they return."""

from __future__ import annotations

import importlib
import inspect
import math
import numbers
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ga.evolution.global_random import drawing_from
from ga.evolution.individual import Individual
from ga.messages import Messages
from ga.problem.finite import shortened
from ga.problem.genes import Allele, Gene, Integer, Normal, Real
from ga.problem.search_space import SearchSpace

#: A function in DEAP's form, which is not typed.
Function = Callable[..., Any]

# What changes individuals, and what chooses among them.
VARIATIONS = ("mate", "mutate")
SELECTIONS = ("select", "select_parents", "select_forecasts")
NAMES = (*VARIATIONS, *SELECTIONS)


@dataclass(frozen=True)
class Replacement:
    """An operator that a user gives for one of the toolbox's.

    Attributes:
        function: in DEAP's form.
        options: further arguments of every call.
        text: as it was given, for messages.
    """

    function: Function
    options: Mapping[str, object] = field(default_factory=dict)
    text: str = ""


def read_replacements(given: Mapping[str, object] | None) -> dict[str, Replacement]:
    """From `{name: operator}`; an operator is a callable, `"module:function"` or a dict.

    A dict has one of both as `function` and further arguments beside it.

    Raises:
        ValueError: no such name, or nothing that can be imported and called.
    """
    if not isinstance(given, Mapping | None):
        raise ValueError(
            f"toolbox={shortened(given)} should be a dict like {{'mate': 'module:function'}}"
        )
    found = {}
    for name, operator in (given or {}).items():
        if name not in NAMES:
            raise ValueError(
                f"toolbox: no operator is named {shortened(name)} (allowed: {', '.join(NAMES)})"
            )
        options: dict[str, object] = {}
        function = operator
        if isinstance(operator, Mapping):
            options = dict(operator)
            function = options.pop("function", None)
        text = f"{name}={_shown(operator)}"
        if isinstance(function, str):
            function = _load(function, text)
        if not callable(function):
            raise ValueError(
                f"toolbox: {text} is not callable; give a function in DEAP's form, its "
                "'module:function', or a dict with that as 'function' and further arguments"
            )
        found[name] = Replacement(function, options, text)
    return found


def _load(path: str, text: str) -> object:
    module, _, name = path.partition(":")
    if not module or not name:
        raise ValueError(
            f"toolbox: {text} should be 'module:function', e.g. 'deap.tools:cxTwoPoint'"
        )
    try:
        found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"toolbox: {text} can't be imported: {error}") from error
    return found


def _shown(operator: object) -> str:
    if callable(operator) and hasattr(operator, "__qualname__"):
        return f"{operator.__module__}:{operator.__qualname__}"
    return repr(operator)


class Operator:
    """A registered function, called as the search calls its own operators.

    A function that takes `rng` gets the request's generator; for any other the global generators
    draw from it (see `ga.evolution.global_random`). `space` and `strength` are handed on too if
    the function has parameters of these names.

    What foreign variations return is checked: an allele outside its gene is replaced by that of
    the parent, and said once; values of a gene with a step are rounded to it.

    Args:
        name: in the toolbox.
        function: in DEAP's form.
        args: its first arguments.
        keywords: its further ones.
        text: what messages call it.
        space: the search space.
        messages: where trouble is said.
    """

    def __init__(
        self,
        name: str,
        function: Function,
        args: tuple[object, ...],
        keywords: Mapping[str, object],
        text: str,
        space: SearchSpace,
        messages: Messages,
    ) -> None:
        self.func, self.args, self.keywords = function, args, keywords
        self.__name__, self.__doc__ = name, getattr(function, "__doc__", None)
        self._text, self._space, self._messages = text, space, messages
        #: Raise where an allele is outside its gene, instead of replacing it.
        self.strict = False
        #: One of the search itself, which needs no checks.
        self.own = (getattr(function, "__module__", "") or "").startswith("ga.evolution.")
        parameters: Mapping[str, inspect.Parameter]
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):  # built in: it has no signature to read
            parameters = {}
        self._takes = {n for n in ("rng", "space", "strength") if n in parameters}
        self._draws = "rng" not in parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            self._takes |= {"rng", "strength"}  # maybe a decorated operator

    def __call__(self, *given: Any, rng: random.Random | None = None, strength: float = 1.0) -> Any:
        """Call the function, as DEAP's `functools.partial` would.

        Args:
            given: individuals, of a selection also how many to choose.
            rng: source of randomness; None for a new one.
            strength: of a mutation.

        Raises:
            ValueError: it returned something else than an operator of its kind does.
            RuntimeError: it raised something.
        """
        rng = random.Random() if rng is None else rng
        offered = {"rng": rng, "space": self._space, "strength": strength}
        handed = {n: offered[n] for n in self._takes if n not in self.keywords}
        if self.own:
            return self.func(*self.args, *given, **self.keywords, **handed)
        before = [list(g) for g in given] if self.__name__ in VARIATIONS else []
        with self._naming(), drawing_from(rng) if self._draws else nullcontext():
            returned = self.func(*self.args, *given, **self.keywords, **handed)
        if self.__name__ in SELECTIONS:
            return self._chosen(returned, given[0])
        return self._children(returned, given, before)

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the user's code: anything may come
            raise RuntimeError(
                f"toolbox: {self._text} raised {type(error).__name__}: {error}"
            ) from error

    def _chosen(self, returned: object, individuals: Sequence[Individual]) -> list[Individual]:
        there = {id(i) for i in individuals}
        if not isinstance(returned, (list, tuple)) or any(id(i) not in there for i in returned):
            raise ValueError(
                f"toolbox: {self._text} returned {_brief(returned)}; it should return a list of "
                "some of the individuals that it was given"
            )
        return list(returned)

    def _children(
        self, returned: object, given: Sequence[Individual], before: Sequence[Sequence[Allele]]
    ) -> tuple[Individual, ...]:
        count, length = len(given), len(self._space)
        if (
            not isinstance(returned, tuple)
            or len(returned) != count
            or not all(isinstance(child, list) and len(child) == length for child in returned)
        ):
            raise ValueError(
                f"toolbox: {self._text} returned {_brief(returned)}; it should return a tuple of "
                f"{count} individual{'s' * (count > 1)}, lists of {length} alleles"
            )
        inside = [
            self._inside(child, former) for child, former in zip(returned, before, strict=True)
        ]
        for individual, alleles in zip(given, inside, strict=True):
            individual[:] = alleles
        return tuple(given)

    def _inside(self, child: Sequence[object], former: Sequence[Allele]) -> list[Allele]:
        alleles: list[Allele] = []
        for locus, raw, instead in zip(self._space.loci, child, former, strict=True):
            allele = _allele(locus.gene, raw)
            if allele is None:
                text = (
                    f"toolbox: {self._text} returned a genome outside the search space: allele "
                    f"{shortened(raw)} of {locus.path!r} (allowed: {_allowed(locus.gene)})"
                )
                if self.strict:
                    raise ValueError(text)
                self._messages.once(
                    f"outside {self._text}", f"{text}; in such genes the parent's allele stays"
                )
                allele = instead
            alleles.append(allele)
        return alleles


def _allele(gene: Gene, raw: object) -> Allele | None:
    """An allele as the gene has it; None if it is outside of the gene."""
    if isinstance(raw, bool) or not isinstance(raw, numbers.Real) or not math.isfinite(raw):
        return None
    value = float(raw)
    if isinstance(gene, Real | Normal):
        try:
            gene.encode(value)
        except ValueError:
            return None
        if isinstance(gene, Normal) and gene.log and value <= 0:
            return None
        return value if gene.step is None else gene.from_unit(gene.to_unit(value))
    size = gene.size
    inside = size is not None and value == int(value) and 0 <= value < size
    return int(value) if inside else None


def _allowed(gene: Gene) -> str:
    if isinstance(gene, Real):
        return f"numbers from {gene.low} to {gene.high}"
    if isinstance(gene, Normal):
        return "numbers above 0" if gene.log else "finite numbers"
    what = "numbers less the lowest one" if isinstance(gene, Integer) else "places of its values"
    return f"{what}, 0 to {(gene.size or 1) - 1}"


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
