"""What a pruned network learns from the float one, against closed forms and by its effect."""

from __future__ import annotations

import pytest
import torch

from evaluators import evaluate, load_task, trace
from evaluators.compression.decisions import read_candidate
from evaluators.compression.pruning_schedule import cut
from evaluators.fine_tuning.distillation import (
    Teacher,
    attention_layers,
    attention_loss,
    distance_loss,
    embedding_layer,
    similarity_loss,
)
from support.nets import TWO_INPUTS, ZOO
from support.tasks import build_task


def test_attention_is_blind_to_channels_and_scale() -> None:
    x = torch.randn(4, 6, 5, 5)
    assert float(attention_loss(x, 3.0 * torch.cat([x, -x], dim=1))) == pytest.approx(0.0, abs=1e-6)
    # Two maps that never overlap are orthogonal unit vectors, sqrt(2) apart.
    one, other = torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 4)
    one[:, :, 0], other[:, :, 1] = 1.0, 1.0
    assert float(attention_loss(one, other)) == pytest.approx(2.0)


def test_distances_in_units_of_their_mean() -> None:
    square = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    turned = 5.0 * square @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    assert float(distance_loss(square, turned)) == pytest.approx(0.0, abs=1e-6)
    # Three points on a line are (3/4, 3/4, 3/2) apart, those of an even triangle (1, 1, 1).
    line = torch.tensor([[0.0], [1.0], [2.0]])
    triangle = torch.eye(3)
    expected = 0.5 * (1 / 16 + 1 / 16 + 1 / 4) / 3
    assert float(distance_loss(line, triangle)) == pytest.approx(expected)
    assert float(distance_loss(line[:1], triangle[:1])) == 0.0


def test_similarities_of_rows() -> None:
    x = torch.randn(6, 3)
    wide = torch.cat([x, x, x], dim=1)
    assert float(similarity_loss(x, wide)) == pytest.approx(0.0, abs=1e-6)
    # Orthogonal samples against equal ones: each normalized row (1, 0) meets (1, 1) / sqrt(2).
    gap = float(similarity_loss(torch.eye(2), torch.ones(2, 2)))
    assert gap == pytest.approx(2.0 - 2.0**0.5, rel=1e-5)


@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_structure_can_be_taught(name: str) -> None:
    build, shape = ZOO[name]
    model = build()
    task = build_task(model, shape, attention=1.0, relations=1.0)
    network = trace(task)
    params = {f"{g.name}.prune": 0.5 for g in network.groups if g.prunable}
    student = cut(task, network, read_candidate(network, params), task.model)
    (inputs, target), *_ = list(task.train)
    student.train()
    with Teacher(task, student, network.layers) as teacher:
        outputs = student(*inputs) if isinstance(model, TWO_INPUTS) else student(inputs)
        own = task.loss(outputs, target)
        total = teacher.loss(own, inputs, outputs)
    torch.autograd.backward(total)
    assert float(total.detach()) > float(own.detach())
    assert all(p.grad is None for p in task.model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in student.modules())


def test_where_the_digits_network_is_listened_to() -> None:
    network = trace(load_task("evaluators.tasks.digits:build"))
    assert embedding_layer(network.layers) == "fc"
    sizes = [network.layer(name).out_shape[1:] for name in attention_layers(network.layers)]
    assert len(sizes) == len(set(sizes)) >= 2


@pytest.mark.parametrize(
    "options",
    [{"attention": 100.0}, {"relations": 10.0}, {"relations": 10.0, "relation": "similarity"}],
)
def test_following_brings_the_features_nearer(options: dict[str, object]) -> None:
    task = load_task("evaluators.tasks.digits:build")
    network = trace(task)
    params = {f"{g.name}.prune": 0.5 for g in network.groups if g.prunable}

    def gap(**chosen: object) -> float:
        for name, value in {"attention": 0.0, "relations": 0.0, **chosen}.items():
            setattr(task, name, value)
        model = evaluate(task, params, device="stm32f746", network=network, epochs=2).model
        for name, value in options.items():
            setattr(task, name, value)
        inputs, _ = next(iter(task.val))
        with torch.no_grad(), Teacher(task, model, network.layers) as teacher:
            return float(teacher.loss(torch.tensor(0.0), inputs, model(inputs)))

    assert gap(**options) < 0.9 * gap()


def test_bad_weights_and_names_are_refused() -> None:
    build, shape = ZOO["residual"]
    for wrong, words in (
        ({"attention": -1.0}, "attention=-1.0 must be 0 or more"),
        ({"relations": float("nan")}, "relations=nan"),
        ({"relation": "angle"}, r"relation='angle' is unknown \(use distance, similarity\)"),
        ({"rate_schedule": "step"}, "rate_schedule='step'"),
        ({"schedule": "slow"}, r"schedule='slow' is unknown \(use direct, progressive\)"),
    ):
        with pytest.raises(ValueError, match=words):
            build_task(build(), shape, **wrong)
