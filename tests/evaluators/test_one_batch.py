"""One batch of a task: every fault is named, and what is right passes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from evaluators import trace
from evaluators.one_batch import check_one_batch
from evaluators.task_loading import load_task
from support import faulty_tasks


@pytest.mark.parametrize("fault", faulty_tasks.TOLD)
def test_a_fault_is_named(fault: str) -> None:
    found = check_one_batch(getattr(faulty_tasks, fault)())
    assert found.problems
    for words in faulty_tasks.TOLD[fault]:
        assert words in found.problems[0]
    assert not any("\n" in problem for problem in found.problems)


@pytest.mark.parametrize("right", ["right", "shuffled_loader", "restarting", "metric_of_many"])
def test_nothing_is_said_of_what_is_right(right: str) -> None:
    task = getattr(faulty_tasks, right)()
    before = copy.deepcopy(task.model.state_dict())
    state = torch.get_rng_state()
    found = check_one_batch(task, {"n.json": trace(task)}, read_s=5.0)
    assert (found.problems, found.notes) == ([], [])
    assert all(torch.equal(x, before[name]) for name, x in task.model.state_dict().items())
    assert all(p.grad is None for p in task.model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_other_sizes_in_training_are_a_note() -> None:
    found = check_one_batch(faulty_tasks.crops())
    assert found.problems == []
    (note,) = found.notes
    assert "a batch of 'train' has inputs float32 4x1x5x5, example_input is float32 2x1x6x6" in note


class Tokens:
    """New iterators over one stream: only a second pass shows that nothing is left."""

    def __init__(self) -> None:
        self.stream = iter([(faulty_tasks.X, faulty_tasks.Y)] * 2)

    def __iter__(self) -> Any:
        return (batch for batch in self.stream)


def test_a_stream_behind_new_iterators_is_found_by_reading_on() -> None:
    task = faulty_tasks.parts(train=Tokens())
    (problem,) = check_one_batch(task, read_s=5.0).problems
    assert "'train' split is empty when it is read again" in problem


def test_all_that_can_be_seen_is_told_at_once() -> None:
    task = faulty_tasks.parts(train=iter([]), test=[], val=[(faulty_tasks.X.half(), 0)])
    assert len(check_one_batch(task).problems) == 3


def convolutions(second: nn.Module, *more: nn.Module, width: int = 32) -> nn.Module:
    first = (nn.Conv2d(1, 8, 3), nn.ReLU(), second, nn.ReLU(), *more, nn.Flatten())
    return nn.Sequential(*first, nn.Linear(width, 3))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (convolutions(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1)), "not know the layer '4', '6'"),
        (convolutions(nn.Identity(), width=128), "no layer '2' any more"),
        (convolutions(nn.Conv2d(8, 8, 3, groups=2)), "layer '2' has groups 2, in the file 1"),
        (
            convolutions(nn.Conv2d(8, 8, 1), width=128),
            "layer '2' has out_shape 8x4x4, in the file 8x2x2, kernel 1x1, in the file 3x3",
        ),
    ],
)
def test_a_model_that_changed_since_its_file(model: nn.Module, words: str) -> None:
    described = trace(faulty_tasks.right())
    task = faulty_tasks.parts(model=model)
    (problem,) = check_one_batch(task, {"space.network.json": described}).problems
    assert "changed since space.network.json was written" in problem
    assert words in problem
    assert "joint-ga space" in problem


def test_a_metric_of_another_name_than_in_the_file() -> None:
    task = faulty_tasks.right()
    described = trace(task)
    task.metric_name = "f1"
    (problem,) = check_one_batch(task, {"n.json": described}).problems
    assert "the task's metric is 'f1', in the file it is 'accuracy'" in problem


def test_a_task_of_options_is_checked_like_any() -> None:
    assert check_one_batch(load_task("support.faulty_tasks:right")).problems == []
