"""The one-batch check takes nested tasks, padded batches and tasks without labels as they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evaluators import Task
from evaluators.one_batch import check_one_batch
from support.nested import NESTED_TASKS, Tagger, tagger_task, two_heads_task
from support.nets import randomize


@pytest.mark.parametrize("name", sorted(NESTED_TASKS))
def test_nested_tasks_have_no_fault(name: str) -> None:
    found = check_one_batch(NESTED_TASKS[name](), read_s=1.0)
    assert found.problems == []


def test_padded_batches_without_labels_have_none_either() -> None:
    labelled = tagger_task()
    batches = [inputs for inputs, _ in reversed(labelled.train)]
    task = Task(
        model=randomize(Tagger(), 0), train=batches, val=batches,
        example_input=labelled.example_input, metric="sqnr_db",
    )  # fmt: skip
    found = check_one_batch(task, read_s=1.0)
    assert found.problems == []


def test_a_fault_in_a_dict_is_named() -> None:
    bad: Any = [({"image": torch.zeros(8, 3, 8, 8).half()}, torch.zeros(8).long())]
    (problem,) = check_one_batch(two_heads_task(val=bad)).problems
    assert "half precision" in problem
