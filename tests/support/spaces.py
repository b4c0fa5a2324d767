"""Search spaces that several tests use, and hypothesis strategies for any space."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from ga import Categorical, Gene, Integer, Normal, Ordered, Real, SearchSpace


def mixed_space() -> SearchSpace:
    """One gene of every kind, with a choice nested two deep."""
    return SearchSpace(
        [
            Ordered("conv1.prune", (0.0, 0.25, 0.5)),
            Ordered("conv1.w_bits", (2, 4, 8)),
            Integer("units", 1, 40),
            Real("lr", 1e-4, 1e-1, log=True),
            Real("momentum", 0.0, 1.0, step=0.1),
            Normal("noise", 0.0, 2.0),
            Categorical(
                "optimizer",
                ("sgd", "adam", "none"),
                (
                    (
                        Real("nesterov", 0, 1),
                        Categorical("decay", ("on", "off"), ((Integer("k", 0, 3),), ())),
                    ),
                    (Ordered("beta", (0.9, 0.99)),),
                    (),
                ),
            ),
        ]
    )


def bits_space(layers: int = 4) -> SearchSpace:
    """A compression space: prune, w_bits and a_bits for each layer."""
    genes: list[Gene] = []
    for i in range(layers):
        genes += [
            Ordered(f"layer{i}.prune", (0.0, 0.25, 0.5, 0.75)),
            Ordered(f"layer{i}.w_bits", (2, 4, 8)),
            Ordered(f"layer{i}.a_bits", (4, 8)),
        ]
    return SearchSpace(genes)


def truth(params: dict[str, float]) -> dict[str, float]:
    """A made-up trial on a `bits_space`: accuracy falls unevenly as size does."""
    size = loss = 0.0
    layers = sorted({key.rsplit(".", 1)[0] for key in params})
    for i, layer in enumerate(layers):
        keep, w = 1 - params[f"{layer}.prune"], params[f"{layer}.w_bits"]
        size += (i + 1) * keep * w
        loss += (1.5 - keep) ** 2 / (i + 1) + 0.4 / w + 0.2 / params[f"{layer}.a_bits"]
    return {"accuracy": 1 - loss / (3 * len(layers)), "size_kb": size}


def size_only(params: dict[str, float]) -> dict[str, float]:
    """The part of `truth` that is known before a trial."""
    return {"size_kb": truth(params)["size_kb"]}


GOALS = {"accuracy": "maximize", "size_kb": "minimize"}

_names = st.text("abcdefgh_.", min_size=1, max_size=8)
_numbers = st.floats(-1e6, 1e6)


@st.composite
def genes(draw: st.DrawFn, name: str, depth: int = 0) -> Gene:
    kind = draw(st.sampled_from(["ordered", "integer", "real", "log", "step", "normal", "choice"]))
    if kind == "ordered":
        values = draw(st.lists(_numbers, min_size=1, max_size=6, unique=True))
        return Ordered(name, tuple(sorted(values, reverse=draw(st.booleans()))))
    if kind == "integer":
        low = draw(st.integers(-1000, 1000))
        return Integer(name, low, low + draw(st.integers(0, 500)))
    if kind in ("real", "step"):
        low, high = sorted((draw(_numbers), draw(_numbers)))
        step = draw(st.floats(1e-2, 1e3)) if kind == "step" else None
        return Real(name, low, high, step=step)
    if kind == "log":
        low = draw(st.floats(1e-6, 1e3))
        return Real(name, low, low * draw(st.floats(1, 1e4)), log=True)
    if kind == "normal":
        step = draw(st.none() | st.floats(1e-2, 10))
        log = draw(st.booleans())
        return Normal(name, draw(st.floats(-3, 3)), draw(st.floats(0.1, 2)), log=log, step=step)
    values = tuple(f"v{i}" for i in range(draw(st.integers(1, 4))))
    if depth < 2 and draw(st.booleans()):
        children = tuple(
            tuple(
                draw(genes(n, depth + 1)) for n in draw(st.lists(_names, max_size=2, unique=True))
            )
            for _ in values
        )
        return Categorical(name, values, children)
    return Categorical(name, values)


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    names = draw(st.lists(_names, min_size=1, max_size=5, unique=True))
    return SearchSpace([draw(genes(name)) for name in names])


@st.composite
def rngs(draw: st.DrawFn) -> random.Random:
    return random.Random(draw(st.integers(0, 2**32)))
