"""Progressive compression, learning-rate schedules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from evaluators import evaluate, load_task, trace, training
from evaluators.compression.decisions import read_candidate
from evaluators.compression.pruning_schedule import Epochs, coarse_step, cut
from evaluators.training import annealing
from support.nets import ZOO
from support.tasks import build_task


def test_a_long_training_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    task = build_task(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), (3, 2, 2))
    steps = 2 * len(list(task.train))
    for every_s, lines in ((1e9, 0), (0.0, steps)):
        monkeypatch.setattr(training, "LINE_S", every_s)
        training.fit(task.model, task.train, task.loss, epochs=2, learning_rate=1e-3)
        assert len(caplog.messages) == lines
    assert caplog.messages[-1].startswith(f"training the float model: step {steps} of {steps}, ")


def test_epochs_are_shared_out() -> None:
    network = trace(load_task("evaluators.tasks.digits:build"))
    pruned = read_candidate(network, {"stem.0.prune": 0.5})
    whole = read_candidate(network, {"stem.0.w_bits": 4})
    assert Epochs.plan("direct", 6, pruned) == Epochs(0, 0, 6)
    assert Epochs.plan("progressive", 6, whole) == Epochs(0, 0, 6)
    assert [Epochs.plan("progressive", n, pruned) for n in (0, 1, 2, 4, 7)] == [
        Epochs(0, 0, 0),
        Epochs(0, 0, 1),
        Epochs(0, 1, 1),
        Epochs(1, 1, 2),
        Epochs(1, 2, 4),
    ]
    half = coarse_step(network, {"stem.0.prune": 0.5, "stem.0.w_bits": 4, "pruner": "l2"})
    group = network.group("stem.0")
    assert half.kept == {"stem.0": round(0.75 * group.channels)}
    assert half.bits["stem.0"].weights == 8


@pytest.mark.parametrize("name", ["residual", "grouped", "dense", "unet", "shared", "conv1d"])
def test_pruning_in_two_steps_gives_the_same_shapes(name: str) -> None:
    build, shape = ZOO[name]
    task = build_task(build(), shape)
    network = trace(task)
    params: dict[str, Any] = {f"{g.name}.prune": 0.5 for g in network.groups if g.prunable}
    reports: list[dict[str, float]] = []
    shapes = []
    for schedule in ("direct", "progressive"):
        task.schedule = schedule
        result = evaluate(
            task, params, device="stm32f746", network=network, epochs=4, report=reports.append
        )
        shapes.append([(k, v.shape) for k, v in result.model.state_dict().items()])
    assert shapes[0] == shapes[1]
    # Pruned, calibrated, four epochs, either way; of the coarse step's epoch too.
    assert len(reports) == 2 * 6


def test_a_task_that_asks_for_an_early_end_is_told_that_there_is_none() -> None:
    build, shape = ZOO["residual"]
    with pytest.warns(UserWarning, match=r"early_end=0\.3 is ignored.*ParetoAssessor") as warned:
        task = build_task(build(), shape, early_end=0.3)
    assert len(warned) == 1
    params = {"pruner": "l1"}
    reports: list[dict[str, float]] = []
    evaluate(task, params, device="stm32f746", epochs=3, report=reports.append)
    # After pruning and calibration, after two epochs, and the final metrics.
    assert len(reports) == 5


@pytest.mark.parametrize(
    ("kind", "factors"),
    [("cosine", [1.0, 0.505, 0.01]), ("linear", [1.0, 0.505, 0.01]), ("constant", [1.0] * 3)],
)
def test_learning_rates(kind: str, factors: list[float]) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    step = annealing(kind, optimizer, 2)
    rates = []
    for _ in range(3):
        rates.append(optimizer.param_groups[0]["lr"] / 2.0)
        step()
    assert rates == pytest.approx(factors)
    with pytest.raises(ValueError, match=r"rate_schedule='step' is unknown \(use cosine, linear"):
        annealing("step", optimizer, 2)
    with pytest.raises(ValueError, match="steps=0"):
        annealing("cosine", optimizer, 0)


@pytest.mark.parametrize(("prune", "rate"), [(0.0, 0.4), (0.25, 0.2), (0.5, 0.0), (0.75, 0.0)])
def test_dropout_falls_with_the_channels(prune: float, rate: float) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Dropout(0.4), nn.Flatten(), nn.Linear(576, 5)
    )
    task = build_task(model, (3, 8, 8))
    network = trace(task)
    candidate = read_candidate(network, {"0.prune": prune})
    small = cut(task, network, candidate, task.model)
    assert small.get_submodule("2").p == pytest.approx(rate)
    # A second step starts from the task's rate again.
    assert cut(task, network, candidate, small).get_submodule("2").p == pytest.approx(rate)
    assert task.model.get_submodule("2").p == 0.4
