"""One training scored at several endings."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.supernet.endings import LAST, NORMS, SHIPPED, endings, report
from evaluators.fine_tuning.loop import Course
from support.tasks import build_task


def test_a_training_is_noted_before_its_end_and_ends_as_it_would_without() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(216, 5))
    task = build_task(model, (3, 8, 8))
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found: dict[str, dict[str, torch.Tensor]] = {}

    def note(ending: str, model: nn.Module) -> None:
        found[ending] = {k: v.clone() for k, v in model.state_dict().items()}

    shipped = Course.end
    with endings(note):
        Course(task, (), 0, None).train_float(model, 30, 0.0)
    assert Course.end is shipped
    assert list(found) == [LAST, NORMS]
    noted = model.state_dict()
    assert torch.equal(found[LAST]["0.weight"], found[NORMS]["0.weight"])
    assert not torch.equal(found[LAST]["1.running_mean"], found[NORMS]["1.running_mean"])
    assert not torch.equal(found[NORMS]["0.weight"], noted["0.weight"])

    model.load_state_dict(start)
    Course(task, (), 0, None).train_float(model, 30, 0.0)
    assert torch.equal(model.state_dict()["0.weight"], noted["0.weight"])


def test_means_are_of_one_kind_of_training(capsys: pytest.CaptureFixture[str]) -> None:
    same = {"task": "digits", "start": "float", "epochs": "40", "a_bits": "8", "set": ""}
    rows = [
        {**same, "seed": "0", "ending": LAST, "val": "0.9", "test": "0.8"},
        {**same, "seed": "1", "ending": LAST, "val": "1.0", "test": "0.9"},
        {**same, "seed": "0", "ending": SHIPPED, "val": "0.95", "test": "0.93"},
    ]
    report(rows)
    assert capsys.readouterr().out.splitlines() == [
        "digits, float, 40, 8, last step: val 0.9500, test 0.8500 (2 runs)",
        "digits, float, 40, 8, as shipped: val 0.9500, test 0.9300 (1 runs)",
    ]
