"""The comparison of cheap scores with finished networks: what is drawn, and how it is compared."""

from __future__ import annotations

import pytest

from benchmarks.supernet.truth import chromosome, compared, report

SPACE = {"a.prune": [0.0, 0.25, 0.5], "a.w_bits": [2, 4, 8], "b.w_bits": [2, 4, 8]}


def test_a_number_is_a_chromosome_of_the_space() -> None:
    drawn = [chromosome(SPACE, n) for n in range(200)]
    assert drawn == [chromosome(SPACE, n) for n in range(200)]
    for gene, values in SPACE.items():
        assert {one[gene] for one in drawn} == set(values)
    # Genes of every other one lie together: 8 bits here and 2 there are of the others.
    apart = [n for n, one in enumerate(drawn) if abs(one["a.w_bits"] - one["b.w_bits"]) == 6]
    assert sum(n % 2 == 0 for n in apart) > 2 * sum(n % 2 for n in apart)


def test_distance_and_order() -> None:
    truth = {n: 0.1 * n for n in range(10)}
    assert compared({n: x - 0.05 for n, x in truth.items()}, truth).startswith(
        "distance 0.0500 (signed -0.0500), tau 1.00 (90 %: 1.00 to 1.00), 10 networks"
    )
    assert "tau -1.00" in compared({n: 1.0 - x for n, x in truth.items()}, truth)


def test_the_table_leaves_out_what_is_below(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {
            "task": "t", "chromosome": str(n), "start": start, "epochs": epochs, "seed": "0",
            "val": str(0.1 * n - off), "test": "0", "size_kb": "1", "cpu_s": "2",
        }
        for n in range(8)
        for start, epochs, off in (("float", "1", 0.2), ("float", "40", 0.0), ("abc", "0", 0.1))
    ]  # fmt: skip
    report(rows, 40, "val", 0.35)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("  1 epochs from float, seed 0: distance 0.2000 (signed -0.2000)")
    assert lines[2].startswith("  supernet abc, 0 epochs, seed 0: distance 0.1000")
    assert all("4 networks" in line for line in lines[1:])
