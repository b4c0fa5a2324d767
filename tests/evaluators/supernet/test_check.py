"""What is said of a supernet before any trial starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from evaluators import Task, trace
from evaluators.supernet.check import check_supernet
from evaluators.supernet.file import cached_file, load_or_train
from evaluators.supernet.request import SupernetRequest
from evaluators.supernet.training import Settings
from hardware import Network
from support.nets import ZOO, randomize
from support.tasks import build_task

Case = tuple[Task, Network, dict[str, list[Any]]]


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """A task, its network and a space; the cache is the test's own."""
    monkeypatch.setenv("JOINT_GA_CACHE", str(tmp_path / "cache"))
    task = task_of()
    network = trace(task)
    return task, network, {f"{name}.w_bits": [2, 4, 8] for name in network.gene_layers}


def task_of(**more: Any) -> Task:
    build, shape = ZOO["residual"]
    torch.manual_seed(0)
    return build_task(randomize(build()), shape, **more)


def said(case: Case, file: Path | None, space: Any, genes: Any, task: Task | None = None) -> str:
    request = SupernetRequest(None if file is None else str(file), space, 1, genes)
    found = check_supernet(task or case[0], case[1], request)
    assert len(found.problems + found.notes) <= 1
    assert all(x.startswith("--supernet: ") for x in found.problems + found.notes)
    return "".join(["PROBLEM " + x for x in found.problems] + found.notes)


def test_a_file_that_is_whole_and_the_right_one(case: Case, tmp_path: Path) -> None:
    task, network, space = case
    path = tmp_path / "one.pt"
    load_or_train(path, task, network, space, Settings(epochs=1))
    assert said(case, path, None, space) == ""
    gene = next(iter(space))
    assert f"{gene}=3 was not trained" in said(case, path, None, {**space, gene: [3, 8]})
    shifted = task_of()
    with torch.no_grad():
        next(shifted.model.parameters()).add_(1.0)
    for other, word in (
        (shifted, "another float model"),
        (task_of(metric_name="share"), "another metric"),
    ):
        assert word in said(case, path, None, space, other)
        assert said(case, path, None, space, other).startswith("PROBLEM")


def test_a_file_that_is_cut_off_or_missing(case: Case, tmp_path: Path) -> None:
    task, network, space = case
    path = tmp_path / "one.pt"
    assert "there is no such file; train it" in said(case, path, None, space)
    assert "a supernet is trained first, for 1 epochs; it is" in said(case, path, space, space)
    load_or_train(path, task, network, space, Settings(epochs=1))
    path.write_bytes(path.read_bytes()[:-100])
    assert said(case, path, None, space).startswith("PROBLEM")
    request = SupernetRequest(str(path), space, 1, space)
    found = check_supernet(task, network, request)
    assert (found.problems, found.is_missing) == ([], True)
    assert "cut off" in found.notes[0]
    assert "it is trained anew" in found.notes[0]


def test_in_the_cache_each_has_its_own(case: Case) -> None:
    task, network, space = case
    path = cached_file(task, space, Settings(epochs=1))
    assert str(path) in said(case, None, space, space)
    load_or_train(path, task, network, space, Settings(epochs=1))
    assert said(case, None, space, space) == ""
    others = [cached_file(task, space), cached_file(task_of(metric_name="share"), space)]
    others.append(cached_file(task, {k: v[1:] for k, v in space.items()}, Settings(epochs=1)))
    assert len({path, *others}) == 4
    assert not any(other.exists() for other in others)


def test_what_can_not_be_trained_is_a_problem(case: Case) -> None:
    _, _, space = case
    pruner = {**space, "pruner": ["l1", "l2"]}
    assert said(case, None, pruner, pruner).startswith("PROBLEM --supernet: the search space has")
    gene = next(iter(space))
    fewer = {**space, gene: [4, 8]}
    assert f"{gene}=2 was not trained" in said(case, None, fewer, space)
