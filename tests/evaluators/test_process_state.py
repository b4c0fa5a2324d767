"""Every public call leaves its caller's process as it was, whatever a user's code does in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from evaluators import Task, evaluate, load_task, sensitivity, trace
from evaluators.baseline import trained
from evaluators.export import export_candidate
from evaluators.training import fit
from support.process import disturb, snapshot
from support.tasks import build_task

DEVICE = "stm32f746"


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    logging.getLogger("a.user").setLevel(logging.DEBUG)
    yield
    torch.set_num_threads(threads)


class Disturbing(nn.Module):
    """A network that sets everything while it runs, and may fail."""

    def __init__(self, fails: bool) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
        self.fails = fails

    def forward(self, x: Tensor) -> Tensor:
        disturb()
        if self.fails:
            raise ArithmeticError("on purpose")
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))


def task_of(fails: bool) -> Task:
    """A task whose metric sets everything, and fails if it is to."""

    def metric(outputs: Tensor, targets: Tensor) -> float:
        disturb()
        if fails:
            raise ArithmeticError("on purpose")
        return float((outputs.argmax(1) == targets).float().mean())

    # What is cached by the metric's code would keep it from being called.
    return build_task(plain(), (3, 8, 8), metric=metric, name=f"disturbing-{fails}")


Act = Callable[[], object]


def tracing(fails: bool, folder: Path) -> Act:
    task = build_task(plain(), (3, 8, 8))
    task.model = Disturbing(fails)
    return lambda: trace(task)


def evaluating(fails: bool, folder: Path) -> Act:
    task = task_of(fails)
    return lambda: evaluate(task, {"0.prune": 0.5}, device=DEVICE, epochs=1)


def measuring(fails: bool, folder: Path) -> Act:
    task = task_of(fails)
    return lambda: sensitivity(task, device=DEVICE, ratios=(0.5,))


def exporting(fails: bool, folder: Path) -> Act:
    task = task_of(fails)
    return lambda: export_candidate(task, {}, device=DEVICE, out_dir=folder / "out", epochs=0)


def loading(fails: bool, folder: Path) -> Act:
    """A task that imports what lies beside it as late as in its function."""
    name = f"task_that_{'fails' if fails else 'builds'}"
    code = f"def build():\n    from beside_{name} import made\n    return made()\n"
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    code = f"""
from support.nets import ZOO
from support.process import disturb
from support.process import disturb, snapshot
from support.tasks import build_task


def made():
    disturb()
    if {fails}:
        raise ArithmeticError("on purpose")
    build, shape = ZOO["residual"]
    return build_task(build(), shape)
"""
    (folder / f"beside_{name}.py").write_text(code, encoding="utf-8")
    return lambda: load_task(f"{name}:build")


def training(fails: bool, folder: Path) -> Act:
    model = plain()

    def train(model: nn.Module) -> None:
        disturb()
        if fails:
            raise ArithmeticError("on purpose")

    return lambda: trained(model, f"disturbing-{fails}", train)


def fitting(fails: bool, folder: Path) -> Act:
    task = task_of(False)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        disturb()
        if fails:
            raise ArithmeticError("on purpose")
        return nn.functional.cross_entropy(outputs, targets)

    return lambda: fit(task.model, task.train, loss, epochs=1, learning_rate=1e-3)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    "prepare", [tracing, evaluating, measuring, exporting, loading, training, fitting]
)
def test_the_process_is_left_as_it_was(
    prepare: Callable[[bool, Path], Act],
    fails: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    act = prepare(fails, tmp_path)
    before = snapshot()
    if fails:
        with pytest.raises((ArithmeticError, ValueError), match="on purpose"):
            act()
    else:
        act()
    after = snapshot()
    for name, value in before.items():
        assert after[name] == value, name
