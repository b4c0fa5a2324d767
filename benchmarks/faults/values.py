"""Values as JSON, YAML or a person may write them, and mutations of valid input."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

NASTY: tuple[object, ...] = (
    None, True, False, 0, 1, -1, 2, 8, 0.0, -0.0, 0.5, 1.0, 1e-320, 1e-12, 1e308, -1e308, math.inf,
    -math.inf, math.nan, 2**31, 2**53 + 1, 2**63, 10**400, -(10**400), "", " ", "x", "0",
    "1e400", "nan", "input", "conv", "accuracy", "maximize", "<= 64", ">= nan", "< 1e999", "\0",
    "\ud800", "a/b", "../..", "_name", "uid", "choice", "uniform", "8", "a8w8", "é" * 300,
)  # fmt: skip
"""What has broken parsers: ends of ranges, wrong types, names that mean something elsewhere."""

DEEP = 3000


def value(rng: random.Random, depth: int = 3) -> Any:
    """A random value: mostly a nasty scalar, else a list or a dict of such values."""
    draw = rng.random()
    if draw < 0.004:
        return deep(rng)
    if depth == 0 or draw < 0.7:
        return rng.choice(NASTY)
    if draw < 0.85:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {key(rng): value(rng, depth - 1) for _ in range(rng.randrange(4))}


def deep(rng: random.Random) -> Any:
    """A list or a dict nested deeper than Python's stack."""
    inner: Any = 0
    for _ in range(DEEP):
        inner = [inner] if rng.random() < 0.5 else {"a": inner}
    return inner


def key(rng: random.Random) -> Any:
    """A dict's key: mostly a text; YAML also has numbers, none and booleans."""
    if rng.random() < 0.9:
        return rng.choice([v for v in NASTY if isinstance(v, str)])
    return rng.choice([None, True, 1, -1, 0.5, math.nan, 10**400])


def mutated(valid: Any, rng: random.Random) -> Any:
    """A copy of a valid input with one to three places changed, removed, added or exchanged."""
    whole = [copy.deepcopy(valid)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        _mutate(whole, rng)
    return whole[0]


def _mutate(whole: list[Any], rng: random.Random) -> None:
    places = list(_places(whole))
    home, at = rng.choice(places)
    draw = rng.random()
    if draw < 0.3 and type(home[at]) in (int, float):
        home[at] = _another_number(home[at], rng)
    elif draw < 0.6:
        home[at] = value(rng)
    elif draw < 0.7 and home is not whole:
        del home[at]
    elif draw < 0.8 and isinstance(home, dict):
        home[key(rng)] = home.pop(at)
    elif draw < 0.9:
        other, place = rng.choice(places)
        try:
            home[at] = copy.deepcopy(other[place])
        except RecursionError:  # one of those from `deep`
            home[at] = value(rng)
    elif isinstance(home, list) and home is not whole:
        home.insert(rng.randrange(len(home) + 1), value(rng))
    elif isinstance(home, dict):
        home[key(rng)] = value(rng)


def _another_number(number: float, rng: random.Random) -> float:
    """A number of the same kind, some or many times as large, or as small."""
    factor = rng.choice([-1, 0, 2, 3, 1.5, 0.5, 10.0 ** rng.randint(-20, 20), 1e300, 1e-300])
    changed = number * factor if abs(number) < 1e300 else factor
    return int(changed) if isinstance(number, int) and abs(changed) < math.inf else changed


def _places(node: Any, depth: int = 0) -> Any:
    """Every place in a structure, as its home and its key or index there."""
    if depth > 20:
        return
    keys = list(node) if isinstance(node, dict) else range(len(node))
    for at in keys:
        yield node, at
        if isinstance(node[at], (dict, list)):
            yield from _places(node[at], depth + 1)


def text(valid: str, rng: random.Random) -> str:
    """A text with characters removed, doubled, exchanged or put in, or another text entirely."""
    letters = list(valid)
    for _ in range(rng.randint(0, 4)):
        at = rng.randrange(len(letters) + 1)
        draw = rng.random()
        if draw < 0.4:
            letters[at:at] = rng.choice("<>=:,?&.- 019eE+ax\0\n/%ü²" + "\U0001f600")
        elif draw < 0.7:
            del letters[at : at + rng.randint(1, 4)]
        elif draw < 0.9:
            letters[at:at] = letters[: rng.randint(0, 9)]
        else:
            letters[at:at] = "9" * rng.choice([1, 20, 400, 5000])
    return "".join(letters)
