"""Progressive compression, early ends, learning-rate schedules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from evaluators import evaluate, load_task, trace
from evaluators.compression.decisions import read_candidate
from evaluators.compression.pruning_schedule import Epochs, coarse_step, cut
from evaluators.fine_tuning.early_stopping import OPTIMISM, Judge
from evaluators.training import annealing
from support.nets import ZOO
from support.tasks import build_task


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


def judge(early_end: float | None, baseline: float, epochs: int, mode: str = "max") -> Judge:
    build, shape = ZOO["residual"]
    task = build_task(build(), shape, early_end=early_end, metric_mode=mode)
    return Judge(task, baseline, epochs)


def verdicts(judge: Judge, scores: list[float]) -> list[bool]:
    return [judge.verdict(score) is not None for score in scores]


def test_a_hopeless_network_ends_early() -> None:
    # 0.12 + 0.02 * 6 is below 0.9 - 0.27: it ends after its second epoch, not its first.
    assert verdicts(judge(0.3, 0.9, 8), [0.10, 0.10, 0.12]) == [False, False, True]
    # At a larger pace it may get there.
    gain = (0.63 - 0.2) / (1 + OPTIMISM * 6) + 1e-3
    assert verdicts(judge(0.3, 0.9, 8), [0.1, 0.2, 0.2 + gain]) == [False] * 3
    # One bad epoch is no verdict on what gained 0.2 an epoch before.
    assert verdicts(judge(0.3, 0.9, 4), [0.0, 0.4, 0.39]) == [False] * 3
    # A smaller metric is better: the same, mirrored.
    assert verdicts(judge(0.3, 0.1, 8, "min"), [0.9, 0.9, 0.88]) == [False, False, True]
    assert "can't come within 0.27" in str(judge_after([0.1, 0.1, 0.1]))


def judge_after(scores: list[float]) -> str | None:
    watching = judge(0.3, 0.9, 8)
    return [watching.verdict(score) for score in scores][-1]


def test_what_equals_the_float_model_and_gains_no_more_ends_early() -> None:
    assert verdicts(judge(0.3, 0.9, 8), [0.8, 0.91, 0.92, 0.92]) == [False, False, False, True]
    assert verdicts(judge(0.3, 0.9, 8), [0.8, 0.89, 0.89, 0.89]) == [False] * 4
    assert "no longer gains" in str(judge_after([0.9, 0.9, 0.9]))


def test_no_verdict_without_the_option_or_at_the_end() -> None:
    assert verdicts(judge(None, 0.9, 8), [0.1] * 8) == [False] * 8
    assert not judge(None, 0.9, 8).listens
    assert not judge(0.3, 0.9, 2).listens
    # After the last epoch there is nothing to save.
    assert verdicts(judge(0.3, 0.9, 2), [0.1, 0.1, 0.1]) == [False] * 3


def test_a_trial_that_ends_early_says_so_and_repeats() -> None:
    task = load_task("evaluators.tasks.digits:build")
    network = trace(task)
    task.early_end = 0.01
    task.learning_rate, task.pruned_learning_rate = 1e-9, None
    params = {f"{g.name}.prune": 0.75 for g in network.groups if g.prunable}
    reports: list[dict[str, float]] = []
    result = evaluate(
        task, params, device="stm32f746", network=network, epochs=5, report=reports.append
    )
    assert result.notes[0].startswith("ended after 2 of 5 epochs: at ")
    # After pruning, calibration and two epochs, and the final metrics.
    assert len(reports) == 5
    silent = evaluate(task, params, device="stm32f746", network=network, epochs=5)
    assert (silent.metrics, silent.notes) == (result.metrics, result.notes)


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
