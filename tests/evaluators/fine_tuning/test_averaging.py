"""The average that a training ends with."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from evaluators import evaluate
from evaluators.fine_tuning import averaging
from evaluators.fine_tuning.averaging import WeightAverage
from evaluators.fine_tuning.loop import Course
from support.tasks import build_task


def test_weights_that_flip_end_between_their_two_values() -> None:
    weight = nn.Parameter(torch.zeros(3))
    average = WeightAverage(torch.optim.SGD([weight], lr=1.0), 400)
    for step in range(400):
        weight.data.fill_(float(step % 2))
        average()
    assert float(weight.detach().min()) == 1.0
    average.apply()
    assert weight.detach().numpy() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("steps", [1, 5, 13])
def test_a_training_of_few_steps_keeps_its_last_weights(steps: int) -> None:
    weight = nn.Parameter(torch.zeros(1))
    average = WeightAverage(torch.optim.SGD([weight], lr=1.0), steps)
    for step in range(steps):
        weight.data.fill_(float(step))
        average()
    average.apply()
    assert float(weight.detach()) == steps - 1


def test_batch_norms_end_with_the_statistics_of_the_final_weights() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(216, 5))
    task = build_task(model, (3, 8, 8))
    torch.manual_seed(0)
    Course(task, (), 0, None).train_float(model, 3, 0.0)
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        features = torch.cat([model[0](x) for x, _ in task.train])
    assert torch.allclose(norm.running_mean, features.mean(dim=(0, 2, 3)), atol=1e-5)
    assert norm.momentum == 0.1


def test_averages_help_few_bits_to_the_same_result_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(216, 5))
    task = build_task(model, (3, 8, 8))
    params = {"0.w_bits": 2, "3.w_bits": 2}

    def weights() -> torch.Tensor:
        result = evaluate(task, params, device="stm32f746", epochs=30)
        return result.model.get_parameter("0.module.weight")

    first = weights()
    assert torch.equal(first, weights())
    monkeypatch.setattr(averaging, "HORIZON", 1e-9)
    assert not torch.equal(first, weights())
