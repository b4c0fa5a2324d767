"""Sensitivities that fit badly: the search says what it met, and goes on."""

from __future__ import annotations

from typing import Any

import pytest

from ga import Optimizer, UnsatisfiableConstraint
from support.spaces import GOALS, bits_space, size_only, truth

MEASURED: dict[str, dict[float, float]] = {
    f"layer{i}.{kind}": values
    for i in range(4)
    for kind, values in (
        ("prune", {0.25: 0.02, 0.5: 0.1 + i / 100, 0.75: 0.4}),
        ("w_bits", {2: 0.3 - i / 50, 4: 0.01}),
        ("a_bits", {4: 0.05}),
    )
}


def each(change: Any) -> dict[str, dict[float, float]]:
    return {g: {v: change(loss) for v, loss in table.items()} for g, table in MEASURED.items()}


@pytest.mark.parametrize(
    ("sensitivities", "said", "is_trouble"),
    [
        ({"x.w_bits": {2: 0.3}}, "are of x.w_bits, and the search space has layer0.a_bits", True),
        ({"x": 0.3}, "are of x, and the search space has layer0, layer1, layer2, layer3", True),
        (each(lambda loss: -loss), "and 8 more are gains: a loss of quality is expected", True),
        (each(lambda loss: 0.0), "are all zero", True),
        (each(lambda loss: 0.1), "are all equal (0.1)", False),
        ({"layer1.w_bits": {2: 0.3, 4: 0.01}}, "no sensitivities of layer0.prune, ", False),
        ({**MEASURED, "x.w_bits": {2: 0.3}}, "of x.w_bits don't count", False),
    ],
    ids=["other genes", "other layers", "gains", "zero", "equal", "lacking", "more"],
)
def test_a_search_says_what_it_met_and_loses_nothing(
    sensitivities: dict[str, Any], said: str, is_trouble: bool
) -> None:
    optimizer = Optimizer(
        bits_space(), GOALS, {"size_kb": "<= 60"}, size_only, sensitivities=sensitivities, seed=1
    )
    for _ in range(14):
        candidate = optimizer.ask()
        optimizer.tell(candidate.id, truth(candidate.params))
    messages = optimizer.messages
    assert any(said in text for text in messages.texts), messages.texts
    assert any(said in text for text in messages.troubles) is is_trouble
    assert len(optimizer.evaluations) == 14
    assert len(optimizer.front()) > 2
    assert all(e.metrics and e.metrics["size_kb"] <= 60 for e in optimizer.evaluations)


def test_what_fits_is_not_spoken_of() -> None:
    optimizer = Optimizer(bits_space(), GOALS, sensitivities=MEASURED)
    assert not any("sensitivities" in text for text in optimizer.messages.texts)
    assert not Optimizer(bits_space(), GOALS).messages.texts


def test_limits_between_all_corners_are_met_with_sensitivities() -> None:
    limits = {"size_kb": [">= 30", "<= 31"]}
    optimizer = Optimizer(bits_space(), GOALS, limits, size_only, sensitivities=MEASURED)
    for _ in range(6):
        candidate = optimizer.ask()
        assert 30 <= truth(candidate.params)["size_kb"] <= 31
        optimizer.tell(candidate.id, truth(candidate.params))
    assert len(optimizer.front()) > 0


def test_known_costs_that_contradict_limits_are_named_together_before_any_trial() -> None:
    def costs(params: dict[str, float]) -> dict[str, float]:
        return {**size_only(params), "left": 100 - size_only(params)["size_kb"]}

    limits = {"size_kb": "<= 30", "left": "<= 50", "accuracy": ">= 0.1"}
    optimizer = Optimizer(bits_space(), GOALS, limits, costs, sensitivities=MEASURED)
    with pytest.raises(
        UnsatisfiableConstraint,
        match=r"'size_kb <= 30' and 'left <= 50' are never kept together \(nearest: "
        r"size_kb=50 with left <= 50; left=70 with size_kb <= 30\)",
    ):
        optimizer.ask()
