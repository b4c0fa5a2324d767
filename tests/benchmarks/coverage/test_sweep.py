"""The sweep on networks of its own: outcomes, limits, kept results, tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.coverage import small_networks, stages, sweep, tables, zoo
from benchmarks.coverage.counts import counted_macs
from benchmarks.coverage.edges import differing
from evaluators import evaluate
from evaluators.compression.quantization import QuantizedInput
from evaluators.export.folding import fold
from evaluators.export.qdq import write_onnx
from hardware import Network

NETWORK = "small/Residual"


def args(out: Path, *more: str) -> list[str]:
    return ["--short", "--only", NETWORK, "--out", str(out), *more]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coverage")
    sweep.main(args(folder, "--stage", "trace", "price", "prune", "trial", "onnx"))
    return folder


def records(out: Path) -> dict[str, dict[str, object]]:
    return json.loads((out / "small+Residual.json").read_text())


def test_network_goes_through_all_stages(out: Path) -> None:
    found = records(out)
    assert {s: r["outcome"] for s, r in found.items()} == dict.fromkeys(
        ("build", "trace", "price", "prune", "trial", "onnx"), "right"
    )
    assert found["price"]["macs"] == found["price"]["counted"]
    assert 0.4 < found["prune"]["removed"] < 0.8
    assert found["trace"]["peak_mb"] > 100


def test_what_is_known_is_not_run_again(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = records(out)
    assert sweep.main(args(out, "--stage", "trace", "price")) == 0
    assert "trace right" not in capsys.readouterr().err
    assert records(out) == before
    sweep.main(args(out, "--stage", "trace", "--again"))
    assert "trace right" in capsys.readouterr().err


def test_limit_on_memory_ends_a_network(tmp_path: Path) -> None:
    assert sweep.main(args(tmp_path, "--stage", "trace", "--memory", "1")) == 1
    assert records(tmp_path)["trace"]["outcome"] == "memory"


def test_wrong_figures_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, _ = small_networks.build(small_networks.entries()[0])
    stages.traced(subject)
    good = subject.traced
    smaller = [replace(x, bias=False) if x.name == "head" else x for x in good.layers]
    subject.network = Network(smaller, good.groups)
    record = stages.timed(stages.priced, subject)
    assert record["outcome"] == "wrong"
    assert "10 of" in str(record["message"])
    assert "not in the flash" in str(record["message"])
    assert record["needed"] == record["numbers"] + 10


class Unread(nn.Module):
    """Part of it runs, but no output reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        self.b(y)
        return self.c(y.mean((2, 3)))


def test_what_no_output_reads_is_not_counted() -> None:
    assert counted_macs(Unread(), torch.randn(1, 3, 8, 8)) == 36 * 27 * 4 + 40


def test_a_file_is_compared_value_by_value_on_rounding_edges(tmp_path: Path) -> None:
    subject, _ = small_networks.build(small_networks.entries()[0])
    stages.traced(subject)
    params = subject.mixed()
    result = evaluate(subject.task, params, device=stages.DEVICE, network=subject.traced, epochs=0)
    folded = fold(result.model, result.calibration, subject.inputs)
    network, path = folded.simulated().eval(), tmp_path / "model.onnx"
    write_onnx(folded, subject.inputs, path)
    assert differing(network, path, [subject.inputs], classes=False) == (0, 0)
    layer = next(m for m in network.modules() if isinstance(m, QuantizedInput))
    # A fault that isn't on an edge: everything below three steps is cut off.
    layer.zero_point -= 3
    wrong, _ = differing(network, path, [subject.inputs], classes=False)
    assert wrong > 0


def test_refusals_and_crashes_are_told_apart() -> None:
    class Blunt(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2

    entry = small_networks.entries()[0]
    refused = stages.timed(stages.traced, stages.Subject(entry, Blunt(), torch.randn(4, 3, 16, 16)))
    assert refused["outcome"] == "refused"
    crashed = stages.timed(lambda subject: {"x": [][1]}, None)  # type: ignore[arg-type]  # a stage that crashes needs no subject
    assert crashed["outcome"] == "crash"
    assert str(crashed["message"]).startswith("IndexError")


def test_tables_name_each_failure_and_count_what_was_reached() -> None:
    a, b = (zoo.Entry("p", n, n, 1, (3, 8, 8)) for n in "ab")
    good = {"outcome": "right", "removed": 0.7}
    found = {
        a: {"trace": good, "prune": good, "rival": {"outcome": "right", "removed": 0.6}},
        b: {
            "trace": {"outcome": "crash", "message": "KeyError: 'x.1'", "place": "f.py:1"},
            "prune": {"outcome": "skipped"},
            "rival": {"outcome": "crash"},
        },
    }
    text = tables.markdown(found)
    assert "| p | 2 | 1 of 2 | 0 of 0 | 1 of 1 | 0 of 0 | 0 of 0 |" in text
    assert "| p/b | trace | crash | KeyError: 'x.1' |" in text
    assert "| this project removes as much or more | 1 of 1 |" in text
    assert "1x crash: KeyError: '..' [f.py:1]" in tables.causes(found, "sweep")


def test_chosen_networks_are_enough_and_named_once() -> None:
    entries = zoo.entries()
    assert len(entries) >= 120
    assert len({e.name for e in entries}) == len(entries)
    assert {e.package for e in entries} == set(zoo.BUILDERS)


@pytest.mark.slow
def test_small_networks_of_all_classes_are_traced_priced_pruned_and_tried(tmp_path: Path) -> None:
    arguments = ["--short", "--out", str(tmp_path), "--stage", "trace", "price", "prune", "trial"]
    assert sweep.main(arguments) == 0
    for path in tmp_path.glob("*.json"):
        found = json.loads(path.read_text())
        assert found["prune"]["effect"] > 0.01, path.name
        assert found["prune"]["removed"] > 0.1, path.name
