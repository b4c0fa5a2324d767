"""Values that save nothing are not asked for: closed-form costs say which these are."""

from __future__ import annotations

from typing import Any

import pytest

import ga

OBJECTIVES = {"accuracy": "maximize", "size_kb": "minimize", "latency_ms": "minimize"}
LAYERS = ("a", "b", "c")


def space() -> ga.SearchSpace:
    genes: list[ga.Gene] = []
    for layer in LAYERS:
        genes.append(ga.Ordered(f"{layer}.prune", (0.0, 0.25, 0.5, 0.75)))
        genes.append(ga.Ordered(f"{layer}.w_bits", (2, 4, 8)))
        genes.append(ga.Ordered(f"{layer}.a_bits", (4, 8)))
    return ga.SearchSpace(genes)


def costs(params: dict[str, Any]) -> dict[str, float]:
    """Bits of weights pay in flash; 4-bit activations cost time, and pay in RAM in layer c only."""
    kept = {layer: 1 - params[f"{layer}.prune"] for layer in LAYERS}
    return {
        "size_kb": sum(kept[n] * params[f"{n}.w_bits"] for n in LAYERS),
        "latency_ms": sum(kept[n] * (1.2 if params[f"{n}.a_bits"] == 4 else 1.0) for n in LAYERS),
        "ram_kb": 8.0 + kept["c"] * params["c.a_bits"],
    }


def result(params: dict[str, Any]) -> dict[str, float]:
    lost = sum(params[f"{n}.prune"] + 1 / params[f"{n}.w_bits"] for n in LAYERS)
    return {"accuracy": 1 - lost / 10, **costs(params)}


def asked(optimizer: ga.Optimizer, count: int = 40) -> list[dict[str, Any]]:
    found = []
    for _ in range(count):
        candidate = optimizer.ask()
        found.append(candidate.params)
        optimizer.tell(candidate.id, result(candidate.params))
    return found


def test_what_saves_nothing_is_never_asked_for_and_said_once() -> None:
    optimizer = ga.Optimizer(space(), OBJECTIVES, costs=costs, seed=1)
    tried = asked(optimizer)
    assert {params[f"{n}.a_bits"] for params in tried for n in LAYERS} == {8}
    assert {params["a.w_bits"] for params in tried} == {2, 4, 8}
    said = [text for text in optimizer.messages.texts if "costs no more" in text]
    assert len(said) == 1
    assert "a_bits 4 in a, b, c" in said[0]
    assert not optimizer.messages.troubles


def test_a_limit_makes_a_value_worth_asking_for_where_it_helps() -> None:
    optimizer = ga.Optimizer(space(), OBJECTIVES, {"ram_kb": "<= 14"}, costs, seed=1)
    tried = asked(optimizer)
    assert {params["c.a_bits"] for params in tried} == {4, 8}
    assert {params[f"{n}.a_bits"] for params in tried for n in "ab"} == {8}


def test_the_users_own_points_stay_as_they_are() -> None:
    own = {f"{n}.{kind}": v for n in LAYERS for kind, v in (("prune", 0.5), ("w_bits", 4))}
    own |= {f"{n}.a_bits": 4 for n in LAYERS}
    optimizer = ga.Optimizer(space(), OBJECTIVES, costs=costs, seed=1, initial=[own])
    assert asked(optimizer, 1) == [own]
    assert {params["a.a_bits"] for params in asked(optimizer, 20)} == {8}


@pytest.mark.slow
@pytest.mark.parametrize("known", [None, lambda params: {"macs": 1.0}])
def test_nothing_is_useless_without_costs_that_count(known: Any) -> None:
    optimizer = ga.Optimizer(space(), OBJECTIVES, costs=known, seed=1, surrogate="none")
    assert {params["a.a_bits"] for params in asked(optimizer)} == {4, 8}


def test_a_cost_function_that_fails_leaves_every_value() -> None:
    def failing(params: dict[str, Any]) -> dict[str, float]:
        if params["a.a_bits"] == 8:
            raise RuntimeError("no such kernel")
        return costs(params)

    optimizer = ga.Optimizer(space(), OBJECTIVES, costs=failing, seed=1)
    tried = asked(optimizer)
    assert {params["a.a_bits"] for params in tried} == {4, 8}
    assert {params["b.a_bits"] for params in tried} == {4, 8}


def test_other_spaces_than_those_of_a_compression_are_left_alone() -> None:
    genes = [ga.Ordered("lora.rank", (4, 8, 16)), ga.Real("lr", 1e-4, 1e-1, log=True)]
    optimizer = ga.Optimizer(
        ga.SearchSpace(genes),
        {"loss": "minimize", "size_kb": "minimize"},
        costs=lambda params: {"size_kb": 1.0},
        seed=0,
    )
    ranks = set()
    for _ in range(20):
        candidate = optimizer.ask()
        ranks.add(candidate.params["lora.rank"])
        optimizer.tell(candidate.id, {"loss": candidate.params["lr"], "size_kb": 1.0})
    assert ranks == {4, 8, 16}
