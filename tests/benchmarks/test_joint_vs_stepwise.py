"""Joint against stepwise search: what is trained, what is kept, who wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from benchmarks import joint_vs_stepwise
from benchmarks.compression.way_rows import FINAL, FLOAT, TRIAL, Book, Row, compressing, read, table
from benchmarks.joint_vs_stepwise import INT8, WAYS, Search, Setting, compare, gene_losses
from evaluators import Task, trace
from evaluators.training import accuracy
from hardware import Network, load_device

DEVICE = load_device("stm32f746")


@pytest.fixture(scope="module")
def task() -> Task:
    """Two classes that the mean of an image tells."""
    torch.manual_seed(0)
    y = torch.arange(32) % 2
    x = torch.rand(32, 1, 8, 8) + y[:, None, None, None]
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 2)).eval()
    return Task(
        model=model, train=[(x, y)], val=[(x, y)], test=[(x, y)], example_input=x[:2],
        loss=functional.cross_entropy, metric=accuracy, name="means",
    )  # fmt: skip


@pytest.fixture(scope="module")
def network(task: Task) -> Network:
    return trace(task)


def setting(
    task: Task,
    network: Network,
    path: Path | None,
    *,
    final_epochs: int = 2,
    tolerance: float = 0.2,
) -> Setting:
    losses = gene_losses(task, network, DEVICE, 1)
    return Setting(
        name="means", task=task, final_name="means", final=task, final_epochs=final_epochs,
        network=network, device=DEVICE, costs=("size_kb", "latency_ms"), epochs=1, trials=6,
        tolerance=tolerance, depth=tolerance * 5, sensitivities=losses, book=Book(path),
    )  # fmt: skip


def test_sensitivities_are_of_the_genes_that_are_searched(task: Task, network: Network) -> None:
    losses = gene_losses(task, network, DEVICE, 1)
    assert set(losses["0.w_bits"]) == {"2", "4", "8"}
    assert set(losses["0.a_bits"]) == {"8"}


def test_what_a_file_holds_is_not_trained_again(
    task: Task, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.csv"
    compare(setting(task, network, path), list(WAYS), 1, 2)
    text, rows = path.read_text(encoding="utf-8"), read(path)
    assert {row.way for row in rows if row.kind == FINAL} == {INT8, *WAYS}
    assert all((row.test is None) == (row.kind == TRIAL) for row in rows)
    finals = [row for row in rows if (row.kind, row.way) == (FINAL, "joint")]
    assert [row.training_seed for row in finals] == [0, 1]
    assert all(sum((r.kind, r.way) == (TRIAL, way) for r in rows) <= 6 for way in WAYS)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(joint_vs_stepwise, "evaluate", refuse)
    compare(setting(task, network, path), list(WAYS), 1, 2)
    assert path.read_text(encoding="utf-8") == text
    with pytest.raises(AssertionError, match="trained again"):
        compare(setting(task, network, path, final_epochs=3), list(WAYS), 1, 1)


def test_a_network_of_two_ways_is_trained_once() -> None:
    book, trained = Book(None), []

    def wanted(way: str) -> Row:
        return Row("t", TRIAL, way, 0, 0, 1, 0.0, None, 0.0, compressing({"a.w_bits": 4}))

    def measure() -> tuple[float, None]:
        trained.append(1)
        return 0.5, None

    first, again, other = (book.get(wanted(way), measure) for way in ("one", "one", "other"))
    assert first is again
    assert (other.way, other.val, other.cpu_s) == ("other", 0.5, 0.0)
    assert (len(trained), len(book.rows)) == (1, 2)


def test_genes_that_change_nothing_are_left_out() -> None:
    params = {"b.prune": 0.0, "b.w_bits": 8, "a.w_bits": 4, "a.prune": 0.5}
    assert list(compressing(params).items()) == [("a.prune", 0.5), ("a.w_bits", 4)]


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="another comparison"):
        Book(path)


def test_the_winner_is_the_cheapest_that_is_accurate_enough(task: Task, network: Network) -> None:
    search = Search(setting(task, network, None, tolerance=0.02), "joint", 0)
    search.baseline = 0.9

    def trial(value: float, size: float, latency: float) -> dict[str, Any]:
        shares = {"size_kb": size, "latency_ms": latency}
        metrics = {name: share * search.full[name] for name, share in shares.items()}
        return {"params": {}, "metrics": {"accuracy": value, **metrics}}

    search.trials = [trial(0.95, 1.0, 1.0), trial(0.885, 0.4, 0.9), trial(0.89, 0.5, 0.5)]
    search.trials.append(trial(0.5, 0.1, 0.1))
    assert search.winner() is search.trials[2]
    assert search.front_size() == 4
    both = 0.85 * 0.6 * 0.1 + 0.9 * 0.5 * 0.5 - 0.85 * 0.5 * 0.1
    assert search.hypervolume() == pytest.approx(both / 2)
    search.trials = search.trials[-1:]
    assert search.winner() is search.trials[0]


def test_the_table_has_means_and_costs_on_each_device(network: Network) -> None:
    def row(kind: str, way: str, training_seed: int, test: float) -> Row:
        return Row("t", kind, way, 0, training_seed, 0, 0.75, test, 1.0, {})

    rows = [row(FLOAT, FLOAT, 0, 0.875), row(FINAL, INT8, 0, 0.5), row(FINAL, INT8, 1, 0.75)]
    lines = table(rows, network, ["stm32l4r5", "stm32f746"], 12.0).splitlines()
    assert [line.count("|") for line in lines] == [12] * 4
    assert lines[2].startswith("| float | 0.7500 | 0.8750 | 12.0 |")
    assert lines[3].startswith("| int8, seed 0 | 0.7500 | 0.6250 (0.5000, 0.7500) |")
