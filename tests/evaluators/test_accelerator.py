"""The one choice of what the numbers are computed on."""

from __future__ import annotations

from collections import namedtuple

import pytest
import torch

from evaluators.accelerator import accelerator_here, chosen, device_of, moved, task_on
from evaluators.training import length
from support.nets import ZOO, randomize
from support.tasks import build_task

Pair = namedtuple("Pair", "image label")


def test_what_is_here_is_taken() -> None:
    assert chosen("auto") == accelerator_here()
    assert chosen("cpu") == "cpu"
    missing = next(x for x in ("cuda", "mps") if x != accelerator_here())
    with pytest.raises(ValueError, match=f"--accelerator {missing}: PyTorch finds none here"):
        chosen(missing)
    with pytest.raises(ValueError, match="'tpu': write one of auto, cpu, cuda, mps"):
        chosen("tpu")


def test_nested_batches_keep_their_form() -> None:
    x = torch.ones(2)
    batch = {"pair": Pair(x, 3), "list": [x, "text", (x, None)]}
    there = moved(batch, torch.device("meta"))
    assert isinstance(there, dict)
    assert isinstance(there["pair"], Pair)
    assert there["pair"].image.device.type == there["list"][2][0].device.type == "meta"
    assert (there["pair"].label, there["list"][1]) == (3, "text")
    assert moved(x, torch.device("cpu")) is x


def test_a_task_elsewhere_has_its_data_there() -> None:
    build, shape = ZOO["residual"]
    task = build_task(randomize(build()), shape)
    assert task_on(task, torch.device("cpu")) is task
    there = task_on(task, torch.device("meta"))
    for inputs, targets in there.val:
        assert inputs.device.type == targets.device.type == "meta"
    assert there.example_input.device.type == "meta"
    assert length(there.train) == length(task.train)
    assert task.example_input.device.type == device_of(task.model).type == "cpu"
