"""One set of weights for a search space: its order, its networks, its file, and heirs of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from evaluators import Task, evaluate, load_task, trace
from evaluators.compression.decisions import Bits, read_candidate
from evaluators.compression.pruning import plan_of, prune
from evaluators.compression.unit_scores import SUPERNET_ORDER
from evaluators.pytree import call, tensors
from evaluators.slicing.plain_modules import make_plain
from evaluators.slicing.weight_norms import copied
from evaluators.supernet.choices import Choices
from evaluators.supernet.file import load_or_train, partial_file, progress_lines
from evaluators.supernet.slices import Slice, rounded, rounded_by_parts, rounded_parameters
from evaluators.supernet.training import Progress, Settings, train_supernet
from evaluators.supernet.unit_order import sort_units
from evaluators.supernet.weights import Supernet, module_names, removed_units
from hardware import Network, cost_function, load_device
from support.nets import ZOO, randomize
from support.tasks import build_task, small_space, zoo_task

DEVICE = "stm32f746"


def space_of(network: Network) -> dict[str, list[Any]]:
    return small_space(network, (2, 4, 8), (4, 8))


def outputs(model: nn.Module, inputs: object) -> list[torch.Tensor]:
    with torch.no_grad():
        return tensors(call(model.eval(), inputs))


@pytest.mark.parametrize("name", list(ZOO))
def test_the_first_units_are_the_network(name: str) -> None:
    """For any traced model: sorting keeps its outputs, and a slice is what NNI's pruner leaves."""
    task = zoo_task(name)
    network = trace(task)
    plan = plan_of(task.model, task.inputs, network, task)
    model = make_plain(copied(task.model)).eval()
    kept_order = sort_units(model, plan.groups, task.example_input)
    assert not kept_order
    for one, other in zip(
        outputs(task.model, task.example_input), outputs(model, task.example_input), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    prunable = [g.name for g in network.groups if g.prunable]
    params = {f"{group}.prune": 0.5 for group in prunable}
    candidate = read_candidate(network, params)
    removed = removed_units(network, plan, candidate.kept)
    weights = rounded_parameters(model, module_names(network))
    part = Slice(model, plan, removed, weights)
    part.shell.eval()
    with torch.no_grad():
        found = tensors(part.run(dict(model.named_parameters()), {}, {}, task.example_input))
    small = prune(
        model, task.inputs, network, candidate.kept, candidate.pruned,
        task=task, pruner=SUPERNET_ORDER,
    )  # fmt: skip
    for one, other in zip(found, outputs(small, task.example_input), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_units_lie_by_importance() -> None:
    """A unit that nothing hears goes first, whatever place it had."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    with torch.no_grad():
        model[2].weight[:, 1] = 0.0
        model[2].weight[:, 3] *= 100.0
    task = build_task(model, (6,), classes=3)
    network = trace(task)
    plan = plan_of(model, task.inputs, network, task)
    own = copied(model).eval()
    assert sort_units(own, plan.groups, task.example_input) == ()
    columns = own[2].weight.detach().abs().sum(0)
    assert float(columns[-1]) == 0.0
    assert int(columns.argmax()) == 0


def test_gradients_reach_the_whole_weights() -> None:
    """Those of units that are left, and no others; each bit-width has its own scale."""
    task = zoo_task("residual")
    network = trace(task)
    plan = plan_of(task.model, task.inputs, network, task)
    model = make_plain(copied(task.model)).eval()
    group = next(g for g in network.groups if g.prunable)
    candidate = read_candidate(network, {f"{group.name}.prune": 0.5})
    weights = rounded_parameters(model, module_names(network))
    part = Slice(model, plan, removed_units(network, plan, candidate.kept), weights)
    state = dict(model.named_parameters())
    (weight,) = weights[network.layer(group.name).module]
    channels = state[weight.name].shape[weight.axis]
    levels = {
        f"{weight.name}@{bits}": torch.full((channels,), 1.0, requires_grad=True) for bits in (2, 4)
    }
    bits = {network.layer(group.name).module: Bits(4, 8)}
    found = tensors(part.run(state, levels, bits, task.example_input))
    torch.autograd.backward(sum(x.square().sum() for x in found))
    rows = state[weight.name].grad.movedim(weight.axis, 0).flatten(1).abs().sum(1)
    assert (rows[: channels // 2] > 0).all()
    assert (rows[channels // 2 :] == 0).all()
    assert levels[f"{weight.name}@2"].grad is None
    assert levels[f"{weight.name}@4"].grad.abs().sum() > 0


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("axis", [0, 1])
def test_rounding_by_parts_is_torchs(bits: int, axis: int) -> None:
    """And so are both gradients."""
    torch.manual_seed(0)
    values, upstream = torch.randn(5, 6, 3), torch.randn(5, 6, 3)
    found = []
    for way in (rounded, rounded_by_parts):
        weight = values.clone().requires_grad_()
        level = torch.full((weight.shape[axis],), 0.9, requires_grad=True) if bits < 8 else None
        out = way(weight, bits, axis, level)
        torch.autograd.backward(out, upstream)
        found.append((out, weight.grad, None if level is None else level.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["autoencoder", "two_inputs", "transformer", "unet", "shared"])
def test_any_task_trains_and_hands_over(name: str) -> None:
    """Regressions, several inputs, attention: the trial's costs are the tuner's."""
    task = zoo_task(name)
    network = trace(task)
    space = space_of(network)
    supernet = train_supernet(task, network, space, Settings(epochs=1))
    rng = random.Random(0)
    params = {**supernet.choices.widths(rng), **supernet.choices.bits(rng)}
    told: list[dict[str, float]] = []
    result = evaluate(
        task, params, device=DEVICE, network=network, epochs=1, supernet=supernet,
        report=told.append,
    )  # fmt: skip
    costs = cost_function(network, load_device(DEVICE))(params)
    assert {key: result.metrics[key] for key in costs} == costs
    inherited = f"inherited_{task.metric_name}"
    assert told[0]["default"] == told[0][inherited] == result.metrics[inherited]
    assert [set(one) for one in told] == [set(result.metrics)] * len(told)


def test_a_task_without_labels() -> None:
    build, shape = ZOO["residual"]
    torch.manual_seed(0)
    model = randomize(build())
    batches = list(torch.randn(24, *shape).split(8))
    task = Task(
        model=model, train=batches, val=batches, example_input=batches[0], metric="relative_error",
    )  # fmt: skip
    network = trace(task)
    supernet = train_supernet(task, network, space_of(network), Settings(epochs=30, seed=1))
    params = {f"{n}.w_bits": 8 for n in network.gene_layers}
    result = evaluate(task, params, device=DEVICE, network=network, supernet=supernet)
    assert result.metrics["inherited_relative_error"] == result.metrics["relative_error"] < 0.6


@pytest.fixture(scope="module")
def digits() -> tuple[Task, Network, dict[str, list[Any]]]:
    task = load_task("evaluators.tasks.digits:build")
    network = trace(task)
    return task, network, space_of(network)


def test_digits_whole_at_8_bits_is_near_float_at_once(
    digits: tuple[Task, Network, dict[str, list[Any]]], tmp_path: Path
) -> None:
    task, network, space = digits
    supernet = train_supernet(task, network, space, Settings(epochs=2))
    path = tmp_path / "digits.pt"
    supernet.save(path)
    loaded = Supernet.load(path)
    for start in (supernet, loaded):
        result = evaluate(task, {}, device=DEVICE, network=network, epochs=0, supernet=start)
        assert result.metrics["accuracy"] >= result.metrics["baseline_accuracy"] - 0.02


class StoppedError(Exception):
    """Stands for a kill between two epochs."""


def test_going_on_gives_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the same seed the same bytes; another seed others."""
    monkeypatch.setattr("evaluators.supernet.training._CHECKPOINT_S", 0.0)
    task = zoo_task("residual")
    network = trace(task)
    space = space_of(network)

    def train(path: Path, seed: int = 0, stop: int | None = None) -> bytes:
        def report(now: Progress) -> None:
            if now.epoch == stop:
                raise StoppedError

        load_or_train(path, task, network, space, Settings(epochs=4, seed=seed), report=report)
        assert not partial_file(path).exists()
        return path.read_bytes()

    whole = train(tmp_path / "whole.pt")
    with pytest.raises(StoppedError):
        train(tmp_path / "again.pt", stop=3)
    assert partial_file(tmp_path / "again.pt").exists()
    assert not (tmp_path / "again.pt").exists()
    assert train(tmp_path / "again.pt") == whole
    assert train(tmp_path / "other.pt", seed=1) != whole
    # A checkpoint that was cut off is not used.
    with pytest.raises(StoppedError):
        train(tmp_path / "cut.pt", stop=3)
    partial = partial_file(tmp_path / "cut.pt")
    partial.write_bytes(partial.read_bytes()[:-100])
    assert train(tmp_path / "cut.pt") == whole


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    task = zoo_task("residual")
    network = trace(task)
    space = space_of(network)
    path = tmp_path / "one.pt"
    said: list[str] = []
    supernet = load_or_train(path, task, network, space, Settings(epochs=1), say=said.append)
    load_or_train(path, task, network, space, Settings(epochs=1), say=said.append)
    assert said[-1].endswith("is there already, trained for 1 epochs")
    with pytest.raises(ValueError, match="epochs=1, not 2"):
        load_or_train(path, task, network, space, Settings(epochs=2))
    smaller = {gene: values[:1] for gene, values in space.items()}
    with pytest.raises(ValueError, match="of another search space"):
        load_or_train(path, task, network, smaller, Settings(epochs=1))

    def trial(task: Task, params: dict[str, Any]) -> None:
        evaluate(task, params, device=DEVICE, network=network, epochs=0, supernet=supernet)

    group = next(g.name for g in network.groups if g.prunable)
    with pytest.raises(ValueError, match=r"prune=0\.75 was not trained \(ratios up to 0\.5 was\)"):
        trial(task, {f"{group}.prune": 0.75})
    with pytest.raises(ValueError, match=r"w_bits=3 was not trained \(8, 4, 2 was\)"):
        supernet.check(task, network, {f"{network.gene_layers[0]}.w_bits": 3})
    with pytest.raises(ValueError, match="names a pruner"):
        trial(task, {"pruner": "l1"})
    with pytest.raises(ValueError, match="another metric"):
        trial(zoo_task("residual", metric_name="share"), {})
    other = zoo_task("residual")
    with torch.no_grad():
        next(other.model.parameters()).add_(1.0)
    with pytest.raises(ValueError, match="another float model"):
        trial(other, {})
    fewer = zoo_task("residual")
    fewer.val = fewer.train
    with pytest.raises(ValueError, match="other data"):
        trial(fewer, {})


def test_a_damaged_file_is_refused_or_trained_anew(tmp_path: Path) -> None:
    task = zoo_task("residual")
    network = trace(task)
    space = space_of(network)
    path = tmp_path / "one.pt"
    load_or_train(path, task, network, space, Settings(epochs=1))
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for content in (whole[:-50], whole[:1000], b"", b"something", flipped):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"one\.pt"):
            Supernet.load(path)
        load_or_train(path, task, network, space, Settings(epochs=1))
        assert path.read_bytes() == whole


@contextmanager
def refused(text: str) -> Iterator[None]:
    with pytest.raises(ValueError, match=text):
        yield


def test_what_can_not_be_trained_is_said_first() -> None:
    task = zoo_task("residual")
    network = trace(task)
    space = space_of(network)
    with refused("gene 'pruner'"):
        train_supernet(task, network, {**space, "pruner": ["l1", "l2"]})
    with refused("no gene of widths or bits"):
        train_supernet(task, network, {})
    with refused("give numbers"):
        train_supernet(task, network, {**space, "x.w_bits": ["a"]})
    with refused("above the limit"):
        train_supernet(task, network, space, Settings(file_mb=1e-3))
    with refused("epochs=0"):
        Settings(epochs=0)
    with refused("networks=1"):
        Settings(networks=1)
    with refused("learning_rate=-1"):
        Settings(learning_rate=-1.0)
    said: list[str] = []
    name = network.gene_layers[0]
    train_supernet(
        task, network, {**space, f"{name}.sparsity": [0.0, 0.5]}, Settings(epochs=1),
        say=said.append,
    )  # fmt: skip
    assert said == [f"not trained for, trials apply them to what they inherit: {name}.sparsity"]


def test_random_networks_are_of_the_space() -> None:
    space = {"a.prune": [0.5, 0.0, 0.25], "b.w_bits": [2, 4, 8], "c.a_bits": [8]}
    choices = Choices.of(space)
    assert choices.largest() == {"a.prune": 0.0, "b.w_bits": 8, "c.a_bits": 8}
    assert choices.smallest() == {"a.prune": 0.5, "b.w_bits": 2, "c.a_bits": 8}
    rng = random.Random(0)
    drawn = [{**choices.widths(rng), **choices.bits(rng)} for _ in range(60)]
    for gene, values in space.items():
        assert {one[gene] for one in drawn} == set(values)


def test_progress_is_said_now_and_then() -> None:
    said: list[str] = []
    report = progress_lines(said.append)
    for epoch in range(1, 31):
        report(Progress(epoch, 30, 0.5, 1.0 * epoch))
    assert [line.split(",")[0] for line in said] == [
        f"supernet: epoch {n} of 30" for n in (1, 11, 21, 30)
    ]
