"""A share of the fuzz: wrong input is taken or refused in our words; and the fuzz finds faults."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.faults.fuzz import fuzz
from benchmarks.faults.targets import TARGETS


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_wrong_input_is_refused_in_our_words(target: str) -> None:
    weight, function = TARGETS[target]
    cases = max(20, 2000 * weight // sum(w for w, _ in TARGETS.values()))
    found = fuzz(cases, 15, {target: (1, function)})
    assert not found, "\n".join(map(str, found))


def test_each_kind_of_fault_is_found_and_can_be_repeated() -> None:
    def faulty(rng: random.Random, folder: Path) -> None:
        draw = rng.randrange(6)
        if draw == 0:
            {}["missing"]
        elif draw == 1:
            float("no number")
        elif draw == 2:
            while True:
                pass
        elif draw == 3:
            raise ValueError("a bound is missing: give one")
        elif draw == 4:
            raise FileNotFoundError("net.json was not found")

    found = fuzz(24, 3, {"faulty": (1, faulty)}, cpu_seconds=0.2)
    assert {f.what.partition(":")[0] for f in found} == {"KeyError", "ValueError", "TooSlowError"}
    assert all("missing: give" not in f.what for f in found)
    one = found[0]
    assert fuzz(1, 3, {"faulty": (1, faulty)}, first=one.case, cpu_seconds=0.2) == [one]
    assert f"--seed 3 --first {one.case} --cases 1" in str(one)
