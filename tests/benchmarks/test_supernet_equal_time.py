"""Two searches at equal CPU time: who is trained to the end, and what is said of them."""

from __future__ import annotations

import pytest

from benchmarks.supernet.equal_time import COLUMNS, finalists, report, report_finalists
from ga.evaluation import COMPLETE
from nni_plugin.study.trial_log import Trial

REFERENCE = (-0.8, 10.0, 2.0)


def trial(uid: int, accuracy: float, size_kb: float) -> Trial:
    metrics = {"accuracy": accuracy, "size_kb": size_kb, "latency_ms": 1.0}
    return Trial(uid=uid, params={}, metrics=metrics, status=COMPLETE)


def test_finalists_add_most_to_those_before() -> None:
    trials = [
        trial(0, 0.95, 8.0), trial(1, 0.96, 5.0), trial(2, 0.9, 1.0), trial(3, 0.7, 0.5),
        trial(4, 0.99, 9.0),
    ]  # fmt: skip
    assert [t.uid for t in finalists(trials, REFERENCE, 3)] == [2, 1, 4]
    assert len(finalists(trials, REFERENCE, 9)) == 5


def test_the_table_is_of_arms_that_came_to_their_end(capsys: pytest.CaptureFixture[str]) -> None:
    def row(*values: str) -> dict[str, str]:
        return dict(zip(COLUMNS, values, strict=True))

    rows = [
        row("0", "supernet", "supernet", "", "40.0", "", "", "", ""),
        row("0", "supernet", "trial", "1", "41.0", "0.9", "", "4.0", "1.0"),
        row("0", "supernet", "finalist", "1", "47.0", "0.98", "0.97", "4.0", "1.0"),
        row("0", "supernet", "end", "", "47.0", "", "", "", ""),
        row("0", "float", "trial", "1", "1.0", "0.9", "", "4.0", "1.0"),
    ]
    report(rows, REFERENCE, 0.975)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "seed 0, supernet: 1 trials in 41 s of CPU, 1 finalists, hypervolume on test 1.020, "
        "smallest within a point of float on test 4.00 KB",
        "supernet: hypervolume 1.020, mean of 1 seeds",
    ]
    report(rows, REFERENCE, 0.99)
    assert "float on test none" in capsys.readouterr().out
    report_finalists(rows, 0.99)
    assert capsys.readouterr().out.splitlines() == [
        "seed 0, supernet: smallest within two points of float on test 4.00 KB",
        "supernet: trial's score from the finished network 0.0800",
    ]
