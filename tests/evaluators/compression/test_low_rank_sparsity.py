"""Factors and zeros: what they compute, how many there are, and that training keeps them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from evaluators import evaluate, trace
from evaluators.compression.decisions import read_candidate
from evaluators.compression.low_rank_sparsity import factorize, level_masks, sparsify, thin
from evaluators.compression.pruning import prune
from evaluators.compression.quantization import strip
from support.nets import ZOO, randomize
from support.tasks import build_task

DEVICE = "stm32f746"


@pytest.mark.parametrize(
    ("module", "x"),
    [
        (nn.Linear(9, 6), torch.randn(4, 9)),
        (nn.Linear(9, 6, bias=False), torch.randn(4, 3, 9)),
        (nn.Conv2d(5, 8, 1, stride=2), torch.randn(2, 5, 7, 7)),
        (nn.Conv2d(5, 8, 1, padding=1), torch.randn(2, 5, 4, 4)),
        (nn.Conv1d(6, 4, 1), torch.randn(2, 6, 9)),
    ],
)
def test_factors_of_full_rank_compute_the_same(module: nn.Module, x: torch.Tensor) -> None:
    model = nn.Sequential(module)
    with torch.no_grad():
        want = model(x)
        factorize(model, {"0": min(module.weight.shape[:2])})
        assert isinstance(model[0], nn.Sequential)
        assert model[0][0].bias is None
        assert torch.allclose(model(x), want, atol=1e-5)


def test_a_factorization_is_the_best_of_its_rank() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 12))
    weight = model[0].weight.detach().clone()
    factorize(model, {"0": 5})
    product = (model[0][1].weight @ model[0][0].weight).detach()
    s = torch.linalg.svdvals(weight)
    assert float((product - weight).square().sum()) == pytest.approx(float(s[5:].square().sum()))
    sizes = [f.weight.detach().square().mean().sqrt() for f in model[0]]
    assert 0.3 < float(sizes[0] / sizes[1]) < 3.0


def test_a_layer_of_a_class_of_its_own_is_refused() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    with pytest.raises(ValueError, match=r"'0' is a Doubled.*leave '0.rank' out"):
        factorize(nn.Sequential(Doubled(8, 8)), {"0": 3})


def test_zeros_are_counted_and_the_smallest() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6))
    before = model[0].weight.detach().abs().flatten().sort().values
    sparsify(model, {"0": 100, "2": 0})
    left = model[0].weight.detach()
    assert int((left == 0).sum()) == 100
    assert float(left[left != 0].abs().min()) >= float(before[99])
    assert int((model[2].weight == 0).sum()) == 0
    # Once more gives the same masks, whatever the weights that are left do.
    model[0].weight.data.mul_(3.0)
    assert torch.equal(level_masks(model, {"0": 100})["0"], (left != 0).float())


def test_frozen_weights_and_train_mode_stay() -> None:
    model = nn.Sequential(nn.Linear(8, 8)).eval()
    model[0].weight.requires_grad_(False)
    factorize(model, {"0": 3})
    assert not model[0].training
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", ["depthwise", "squeeze_linear", "transformer", "conv1d", "unet"])
def test_a_trial_keeps_zeros_factors_and_powers(name: str) -> None:
    build, shape = ZOO[name]
    task = build_task(randomize(build()), shape, epochs=2, learning_rate=0.01)
    network = trace(task)
    params: dict[str, object] = {f"{g.name}.prune": 0.25 for g in network.groups if g.prunable}
    params |= {f"{n}.rank": 0.5 for n in network.rank_layers}
    params |= {f"{n}.sparsity": 0.6 for n in network.gene_layers}
    narrow = name in ("depthwise", "squeeze_linear")
    for i, layer in enumerate(network.gene_layers):
        params[f"{layer}.w_scheme"] = ("uniform", "power_of_two")[i % 2]
        params[f"{layer}.w_bits"] = (8, 4, 2)[i % 3] if narrow else (8, 4)[i % 2]
    result = evaluate(task, params, device=DEVICE, network=network)
    plain = strip(result.model)
    for layer in result.layers:
        if not layer.is_weighted:
            continue
        weight = plain.get_submodule(layer.module).weight
        assert int((weight == 0).sum()) >= layer.zeros > 0 or layer.weights == 1, layer.name
        entry = result.calibration[layer.module].weight
        axis = 1 if isinstance(plain.get_submodule(layer.module), nn.ConvTranspose2d) else 0
        scale = entry.scale.reshape([-1 if d == axis else 1 for d in range(weight.dim())])
        steps = (weight / scale).abs().round()
        assert entry.scheme == layer.w_scheme
        if layer.w_scheme == "power_of_two":
            assert set(steps.flatten().int().tolist()) <= {0, 1, 2, 4, 8, 16, 32, 64}
            assert steps.max() <= 2 ** (min(7, 2 ** (layer.w_bits - 1) - 1) - 1)


def test_more_than_the_zeros_are_trained() -> None:
    build, shape = ZOO["depthwise"]
    task = build_task(randomize(build()), shape, epochs=1, learning_rate=0.01)
    network = trace(task)
    params = {f"{n}.sparsity": 0.5 for n in network.gene_layers}
    candidate = read_candidate(network, params)
    start = prune(task.model, task.inputs, network, {}, candidate.pruned)
    thin(start, candidate)
    result = evaluate(task, params, device=DEVICE, network=network)
    end = strip(result.model)
    for name in network.gene_layers:
        before = start.get_submodule(name).weight.detach()
        after = end.get_submodule(name).weight.detach()
        # The places stay, and the rest moves by more than rounding to 8 bits.
        assert (after[before == 0] == 0).all()
        step = result.calibration[name].weight.scale.max()
        assert float((after - before).abs().max()) > float(step)


def test_the_pruner_is_a_gene() -> None:
    build, shape = ZOO["residual"]
    task = build_task(randomize(build()), shape)
    network = trace(task)
    params = {f"{g.name}.prune": 0.5 for g in network.groups if g.prunable}

    def pruned(**more: str) -> list[torch.Tensor]:
        candidate = read_candidate(network, params | more)
        model = prune(
            task.model, task.inputs, network, candidate.kept, candidate.pruned, task=task,
            pruner=candidate.pruner,
        )  # fmt: skip
        return [p.detach() for p in model.parameters()]

    def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
        return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))

    assert same(pruned(), pruned(pruner="l1"))
    assert not same(pruned(pruner="l1"), pruned(pruner="fpgm"))
    assert not same(pruned(pruner="l1"), pruned(pruner="taylor"))


def test_what_is_thinned_is_trained_faster() -> None:
    build, shape = ZOO["residual"]
    network = trace(build_task(build(), shape))
    assert read_candidate(network, {}).removed == 0.0
    sparse = {f"{n}.sparsity": 0.5 for n in network.gene_layers}
    assert read_candidate(network, sparse).removed == pytest.approx(0.5, abs=0.01)
