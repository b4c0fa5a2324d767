"""How the fine-tuning of a trial that inherits differs from that of others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from evaluators.supernet.start import LONG_EPOCHS, following
from support.tasks import build_task


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5))


@pytest.mark.parametrize(("epochs", "rate"), [(0, 1e-3), (3, 1e-3), (LONG_EPOCHS, 5e-3)])
def test_a_long_training_has_the_rate_of_pruned_networks(epochs: int, rate: float) -> None:
    task = build_task(linear(), (3, 2, 2), learning_rate=1e-3, pruned_learning_rate=5e-3)
    found = following(task, epochs)
    # Whatever the pruning: the weights were trained for all of them.
    assert found.recipe.rate_after(0.0) == pytest.approx(rate)
    assert found.recipe.rate_after(1.0) == pytest.approx(5e-3)
    assert task.recipe.learning_rate == 1e-3


def test_a_recipe_of_one_rate_keeps_it() -> None:
    task = build_task(linear(), (3, 2, 2), learning_rate=2e-3)
    assert following(task, 40).recipe.rate_after(0.0) == 2e-3


@pytest.mark.parametrize("epochs", [1, 40])
def test_classifiers_follow_the_float_model(epochs: int) -> None:
    task = build_task(linear(), (3, 2, 2))
    assert following(task, epochs).recipe.distillation == 0.7
    task.distillation = 0.3
    assert following(task, epochs).recipe.distillation == 0.3
    assert task.recipe.distillation == 0.3
