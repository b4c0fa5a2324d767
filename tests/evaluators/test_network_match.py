"""A network file against the model that it was written of."""

from __future__ import annotations

import subprocess
import sys

import pytest
from torch import nn

from evaluators import trace
from evaluators.network_match import differences, looks_alike
from support.nets import ZOO
from support.paths import REPOSITORY
from support.tasks import build_task


@pytest.mark.parametrize("name", ZOO)
def test_a_model_looks_like_its_file_without_being_traced(name: str) -> None:
    make, shape = ZOO[name]
    task = build_task(make(), shape)
    described = trace(task)
    assert looks_alike(task, described)
    assert differences(task, trace(task), described) == []
    assert not any(m._forward_hooks for m in task.model.modules())
    weighted = next(m for m in task.model.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))
    weighted.weight = nn.Parameter(weighted.weight.repeat(2, *[1] * (weighted.weight.dim() - 1)))
    weighted.bias = None
    try:
        assert not looks_alike(task, described)
    except RuntimeError:  # what comes behind it may not take so many channels
        return


def test_the_usual_case_imports_no_nni() -> None:
    """It would take half of the time that a run is held up."""
    code = """
import sys
from evaluators.one_batch import check_one_batch
from evaluators.task_loading import load_task
from hardware import Network
network = Network.load("experiment_configs/digits.space.network.json")
found = check_one_batch(load_task("evaluators.tasks.digits:build"), {"file": network})
assert found.problems == [], found
assert "nni" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
