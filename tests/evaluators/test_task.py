"""Bad tasks are refused with a message that says what to do."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from evaluators import Recipe, Task, evaluate, load_task, trace
from evaluators.recipe import RecipeFields
from evaluators.trace_error import TraceError, refusal
from evaluators.training import score
from support.nets import ZOO
from support.tasks import build_task


def write_module(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nonsense", "module:function"),
        (":build", "module:function"),
        ("no_such_module_anywhere:build", "does not import"),
        ("evaluators.tasks.digits:no_such_function", "has no function 'no_such_function'"),
        ("math:floor", "floor"),
    ],
)
def test_paths_that_name_no_task(path: str, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        load_task(path)


def test_module_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_module(tmp_path, "returns_a_list", "def build():\n    return [1]\n")
    with pytest.raises(ValueError, match=r"returned list, not evaluators\.Task"):
        load_task("returns_a_list:build")
    with pytest.raises(ValueError, match=r"takes no data="):
        load_task("returns_a_list:build", data="x.npz")
    with pytest.raises(ValueError, match=r"takes no size= \(given: 3; it takes: nothing\)"):
        load_task("returns_a_list:build?size=3")
    with pytest.raises(ValueError, match=r"option 'size' must be name=value"):
        load_task("returns_a_list:build?size")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("mine_a:biuld", "no function 'biuld' (did you mean 'build'?)"),
        ("mien_a:build", "does not import: there is none of this name (did you mean 'mine_a'?)"),
        ("mine_a:build?widht=3", "takes no widht= (did you mean 'width'?)"),
        ("script_a:build", "fails while it is imported: SystemExit: usage: script_a (FOLDER/"),
        ("lacks_a:build", "is imported: ModuleNotFoundError: No module named 'cv22' (FOLDER/lacks"),
        ("wrong_a:build", "is imported: SyntaxError: '(' was never closed (wrong_a.py, line 1)"),
        (
            "mine_a:leave",
            "leave() fails with SystemExit: choose a model first (FOLDER/mine_a.py:5)",
        ),
        ("mine_a:read", "read() fails with RuntimeError"),
    ],
)
def test_what_was_meant_or_went_wrong_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = """import sys, torch
def build(width=2):
    return width
def leave():
    sys.exit('choose a model first')
def read():
    torch.ones(2) @ torch.ones(3)
"""
    for name in ("mine_a", "script_a", "lacks_a", "wrong_a"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    write_module(tmp_path, "mine_a", mine)
    write_module(tmp_path, "script_a", "import sys\nsys.exit('usage: script_a')\n")
    write_module(tmp_path, "lacks_a", "import cv22\n")
    write_module(tmp_path, "wrong_a", "build = max(1,\n")
    with pytest.raises(ValueError, match=re.escape(words.replace("FOLDER", str(tmp_path)))):
        load_task(path)
    if path == "mine_a:read":
        with pytest.raises(ValueError, match=r"mine_a\.py:7\)$"):
            load_task(path)


def test_module_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_module(tmp_path, "broken_task", "1 / 0\n")
    with pytest.raises(ValueError, match=r"fails while it is imported: ZeroDivisionError"):
        load_task("broken_task:build")


def test_function_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "def build():\n    return {}['x']\n\n\ndef other(data, size):\n    pass\n"
    write_module(tmp_path, "failing_task", text)
    with pytest.raises(ValueError, match=r"build\(\) fails with KeyError: 'x' \(.*task\.py:2"):
        load_task("failing_task:build")
    with pytest.raises(ValueError, match=r"needs its data: give --data PATH"):
        load_task("failing_task:other")
    with pytest.raises(ValueError, match=r"needs size=.*'failing_task:other\?size=\.\.\.'"):
        load_task("failing_task:other", data="x.npz")


class Steered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ok, self.inner = nn.Conv2d(3, 4, 3), Branching()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.ok(x))


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


def test_untraceable_model_names_the_layer() -> None:
    with pytest.raises(TraceError, match=r"in module 'inner'.*torch.where"):
        trace(build_task(Steered(), (3, 8, 8)))


def test_a_tensor_that_torch_cannot_see_names_the_module() -> None:
    """As RevNet's blocks free their tensors."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), Branching())
    error = RuntimeError(
        "We found a fake tensor in the exported program constant's list. For the potential source,"
        " you can refer to following model attribute: 1.lifted_tensor_0. Please file an issue."
    )
    text = str(refusal(model, (torch.zeros(1, 3, 4, 4),), error, runs=True))
    assert "in module '1' (" in text
    assert "test_task.py:" in text
    assert "torch.autograd.Function" in text


def test_example_input_that_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    build, shape = ZOO["residual"]
    task = build_task(build(), shape)
    task.example_input = torch.randn(2, 4, 8, 8)
    words = r"example_input.*to have 3 channels, but got 4.*in module 'stem\.0'"
    with pytest.raises(TraceError, match=words):
        trace(task)
    assert "Traceback" not in capsys.readouterr().err


def test_model_without_a_prunable_layer() -> None:
    network = trace(build_task(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), (3, 2, 2)))
    (group,) = network.groups
    assert (group.prunable, group.reason) == (False, "its channels are the network's output")
    with pytest.raises(TraceError, match="no layer that can be compressed"):
        trace(build_task(nn.Sequential(nn.Flatten(), nn.ReLU()), (5, 1, 1)))


def test_loader_without_batches() -> None:
    build, shape = ZOO["residual"]
    task = build_task(build(), shape)
    task.val = []
    with pytest.raises(ValueError, match=r"'val' split yields no batch"):
        evaluate(task, {}, device="stm32f746", epochs=0)


ONE = (torch.randn(8, 3, 8, 8), torch.zeros(8, dtype=torch.long))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": []}, r"'train' split yields no batch"),
        ({"train": iter([ONE])}, r"'train' split is a list_iterator.*only once"),
        ({"val": [ONE[0]]}, r"'val' split must yield \(inputs, targets\).*is a Tensor"),
        ({"train": [(*ONE, 1)]}, r"its first batch is a tuple of 3"),
        ({"train": [(ONE[0][:, :1], ONE[1])]}, r"model fails.*\(8, 1, 8, 8\).*channels"),
        ({"train": [(ONE[0] * float("nan"), ONE[1])]}, r"loss is nan.*inputs hold NaN"),
        ({"loss": lambda o, t: o}, r"loss must be a scalar tensor, got \(8, 5\)"),
        ({"loss": lambda o, t: 0.5}, r"loss must be a scalar tensor, got float"),
        ({"loss": lambda o, t: 1 / 0}, r"loss fails.*ZeroDivisionError.*outputs have shape \(8, 5"),
    ],
)
@pytest.mark.parametrize("epochs", [0, 1])
def test_data_and_loss_are_looked_at_first(
    changes: dict[str, Any], words: str, epochs: int
) -> None:
    build, shape = ZOO["residual"]
    task = build_task(build(), shape)
    for name, value in changes.items():
        setattr(task, name, value)
    with pytest.raises(ValueError, match=words):
        evaluate(task, {}, device="stm32f746", epochs=epochs)


def test_metric_that_is_nan() -> None:
    build, shape = ZOO["residual"]
    task = build_task(build(), shape, metric=lambda o, t: float("nan"))
    with pytest.raises(ValueError, match=r"metric 'accuracy' is nan on 'val'"):
        evaluate(task, {}, device="stm32f746", epochs=0)


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (lambda o, t: float("inf"), r"'accuracy' is inf on 'val'"),
        (lambda o, t: "0.9", r"'accuracy' is '0\.9' on 'val': let it return a number"),
        (lambda o, t: None, r"'accuracy' is None on 'val'"),
        (lambda o, t: o, r"'accuracy' is no number on 'val' but a Tensor"),
        (lambda o, t: 1 / 0, r"'accuracy' fails on 'val' with ZeroDivisionError.*shape \(24, 5\)"),
    ],
)
def test_metric_that_is_no_finite_number(metric: Any, words: str) -> None:
    build, shape = ZOO["residual"]
    task = build_task(build(), shape, metric=metric)
    with pytest.raises(ValueError, match=words):
        score(task, task.model, task.val)


def test_task_checks_its_fields() -> None:
    build, shape = ZOO["residual"]
    with pytest.raises(ValueError, match=r"metric_mode='best'"):
        build_task(build(), shape, metric_mode="best")
    with pytest.raises(ValueError, match=r"metric_name='a/b'"):
        build_task(build(), shape, metric_name="a/b")


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, evaluators; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_public_name_is_hidden_by_a_module_that_is_called_alike() -> None:
    code = (
        "import inspect, evaluators; from evaluators import *; "
        "hidden = [n for n in evaluators.__all__ if inspect.ismodule(getattr(evaluators, n))]; "
        "assert not hidden, hidden"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_truncated_baseline_is_trained_again(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = load_task("evaluators.tasks.digits:build")
    assert isinstance(task, Task)
    (file,) = cache.glob("digits-*.pt")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING):
        again = load_task("evaluators.tasks.digits:build")
    assert "damaged or outdated" in caplog.text
    assert again.training_seconds > 0
    for a, b in zip(
        task.model.state_dict().values(), again.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)
    assert load_task("evaluators.tasks.digits:build").training_seconds == 0


@pytest.mark.parametrize(("removed", "rate"), [(0.0, 1e-4), (0.25, 1e-3), (0.5, 1e-2), (0.9, 1e-2)])
def test_pruned_networks_learn_faster_up_to_half_the_channels(removed: float, rate: float) -> None:
    recipe = Recipe(learning_rate=1e-4, pruned_learning_rate=1e-2)
    assert recipe.rate_after(removed) == pytest.approx(rate)
    assert replace(recipe, pruned_learning_rate=None).rate_after(removed) == 1e-4


def test_the_recipe_may_be_given_field_by_field() -> None:
    build, shape = ZOO["residual"]
    short = build_task(build(), shape, learning_rate=3e-3, epochs=2)
    assert short.recipe == Recipe(learning_rate=3e-3, epochs=2)
    mixed = build_task(build(), shape, recipe=Recipe(learning_rate=3e-3, pruner="l2"), epochs=2)
    assert mixed.recipe == Recipe(learning_rate=3e-3, pruner="l2", epochs=2)
    assert build_task(build(), shape).recipe == Recipe()
    assert set(RecipeFields.__annotations__) == {field.name for field in fields(Recipe)}
    assert {f for f in dir(short) if hasattr(Recipe(), f) and f[0] != "_"} == {
        field.name for field in fields(Recipe)
    }


def test_fields_of_the_recipe_are_read_and_set_in_the_task() -> None:
    build, shape = ZOO["residual"]
    task = build_task(build(), shape, epochs=2)
    given = task.recipe
    assert (task.epochs, task.distillation_loss, task.pruner) == (2, None, "l1")
    task.epochs, task.schedule = 5, "progressive"
    assert task.recipe == Recipe(epochs=5, schedule="progressive")
    # A recipe may be shared by tasks: none is changed.
    assert given == Recipe(epochs=2)
    changed = replace(task, pruner="l2", name="other")  # type: ignore[call-arg]
    assert (changed.recipe.epochs, changed.pruner, task.pruner) == (5, "l2", "l1")
    with pytest.raises(ValueError, match=r"learning_rate=-1 must be above 0"):
        task.learning_rate = -1
    assert task.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"epochs": -1}, r"epochs=-1 must not be negative"),
        ({"distillation": 2.0}, r"distillation=2\.0 must be in \[0, 1\]"),
        ({"attention": float("inf")}, r"attention=inf must be 0 or more"),
        ({"schedule": "slow"}, r"schedule='slow' is unknown \(use direct, progressive\)"),
        ({"pruned_learning_rate": 0.0}, r"pruned_learning_rate=0\.0 must be above 0, or None"),
    ],
)
def test_recipes_check_their_fields(field: dict[str, Any], words: str) -> None:
    build, shape = ZOO["residual"]
    with pytest.raises(ValueError, match=words):
        Recipe(**field)
    with pytest.raises(ValueError, match=words):
        build_task(build(), shape, **field)
    with pytest.raises(TypeError, match=r"Task\(\) takes no epoch=: its own fields and those of"):
        build_task(build(), shape, epoch=3)
