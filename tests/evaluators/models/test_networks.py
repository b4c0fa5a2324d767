"""The networks: reference weights, sizes, and that removing channels is exact on each of them."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import fx, nn

from evaluators import Task, trace
from evaluators.compression.decisions import read_candidate
from evaluators.compression.pruning import prune
from evaluators.models.autoencoder import Autoencoder
from evaluators.models.mobilenet import MobileNetV1, MobileNetV2, MobileNetV3Small
from evaluators.models.reference import load_reference
from evaluators.models.resnet import resnet8, resnet20
from hardware import estimate, load_device

NETWORKS = {
    "resnet8": (resnet8, (3, 32, 32)),
    "resnet8-grey": (lambda: resnet8(inputs=1), (1, 28, 28)),
    "resnet20": (resnet20, (3, 32, 32)),
    "mobilenetv1": (MobileNetV1, (3, 96, 96)),
    "mobilenetv2": (MobileNetV2, (3, 32, 32)),
    "mobilenetv3": (MobileNetV3Small, (3, 32, 32)),
    "autoencoder": (lambda: Autoencoder(128), (128,)),
}


def task_of(name: str, model: nn.Module) -> Task:
    x = torch.randn(2, *NETWORKS[name][1])
    batches = [(x, torch.zeros(2, dtype=torch.long))]
    return Task(
        model=model, train=batches, val=batches, test=batches, example_input=x,
        loss=nn.functional.cross_entropy, metric=lambda outputs, targets: 0.0, name=name,
    )  # fmt: skip


def randomize(model: nn.Module, seed: int) -> nn.Module:
    """Random batch norms: with the initial ones, a shift that got lost would go unnoticed."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.5)
    return model.eval()


def zeroed(model: nn.Module, pruned: nn.Module) -> nn.Module:
    """The whole network, with zero out of every channel that ``pruned`` lacks.

    Which these are is read off the random values that each channel carries: its bias, or the mean
    of the batch norm behind it. Activations and gates here keep a zero zero.
    """
    model = copy.deepcopy(model)
    for node in fx.symbolic_trace(model).graph.nodes:
        if node.op != "call_module":
            continue
        module = model.get_submodule(node.target)
        if not isinstance(module, (nn.Conv2d, nn.Linear)):
            continue
        norms = [str(n.target) for n in node.users if str(n.target).split(".")[-1].find("bn") >= 0]
        place = f"{norms[0]}.running_mean" if norms else f"{node.target}.bias"
        dead = ~torch.isin(model.state_dict()[place], pruned.state_dict()[place])
        with torch.no_grad():
            module.weight[dead] = 0.0
            parts = [module] + [model.get_submodule(name) for name in norms]
            for part in parts:
                if part.bias is not None:
                    part.bias[dead] = 0.0
            for norm in parts[1:]:
                norm.weight[dead] = 0.0
    return model


@pytest.mark.parametrize(("seed", "name"), list(enumerate(NETWORKS)), ids=[*NETWORKS])
def test_pruned_equals_masked(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    model = randomize(NETWORKS[name][0](), seed)
    task = task_of(name, model)
    network = trace(task)
    rng = random.Random(seed)
    ratios = {f"{g.name}.prune": rng.choice([0.0, 0.25, 0.5, 0.75]) for g in network.groups}
    params = {k: v for k, v in ratios.items() if network.group(k[: -len(".prune")]).prunable}
    candidate = read_candidate(network, params)
    assert candidate.kept
    pruned = prune(model, task.inputs, network, candidate.kept, candidate.layers)
    x = torch.randn(4, *NETWORKS[name][1])
    with torch.no_grad():
        want = zeroed(model, pruned)(x)
        got = pruned(x)
    assert (want - got).abs().max() <= 1e-5 * max(1.0, float(want.abs().max()))


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("resnet8", 78186, 12_501_632),
        ("resnet20", 273066, 40_813_184),
        ("mobilenetv1", 216322, 7_489_664),
        ("mobilenetv2", 281962, 4_278_976),
        ("mobilenetv3", 259186, 1_605_120),
        ("autoencoder", 136344, 133_120),
    ],
)
def test_sizes(name: str, parameters: int, macs: int) -> None:
    model = NETWORKS[name][0]()
    assert sum(p.numel() for p in model.parameters()) == parameters
    costs = estimate(trace(task_of(name, model)).layers, load_device("stm32l4r5"))
    assert costs.macs == macs


def test_groups_are_named_after_their_first_layer() -> None:
    groups = {g.name: g.layers for g in trace(task_of("resnet8", resnet8())).groups}
    assert groups["stem"] == ("stem", "block1.conv2")
    assert set(groups["block2.conv2"]) == {"block2.conv2", "block2.shortcut"} or set(
        groups["block2.shortcut"]
    ) == {"block2.conv2", "block2.shortcut"}


@pytest.mark.parametrize(
    ("build", "file"),
    [(resnet8, "resnet8_ic.pt"), (MobileNetV1, "mobilenetv1_vww.pt"), (Autoencoder, "fcae_ad.pt")],
)
def test_reference_weights_fill_every_tensor(build, file: str, data: Path) -> None:
    model = build()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    load_reference(model, data / "mlperf_ref" / file)
    assert not model.training
    for key, value in model.state_dict().items():
        if value.dim() > 1:
            assert not torch.equal(value, before[key]), key


def test_autoencoder_gives_the_reference_anomaly_score(data: Path) -> None:
    model = Autoencoder()
    load_reference(model, data / "mlperf_ref" / "fcae_ad.pt")
    with np.load(data / "mlperf_ref" / "ad01_one_sample.npz") as sample:
        clip, expected = sample["x"], float(sample["expected_score"])
    # MLPerf Tiny: windows of 5 frames over the middle part of the clip, mean error of all.
    windows = np.stack([clip[i : i + 5].reshape(-1) for i in range(len(clip) - 4)])
    x = torch.from_numpy(windows)
    with torch.no_grad():
        score = (model(x) - x).square().mean()
    assert float(score) == pytest.approx(expected, rel=1e-3)


def test_reference_weights_bad_files(tmp_path: Path, data: Path) -> None:
    with pytest.raises(FileNotFoundError, match="do not exist"):
        load_reference(resnet8(), tmp_path / "missing.pt")
    whole = (data / "mlperf_ref" / "resnet8_ic.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="can't be read"):
        load_reference(resnet8(), tmp_path / "cut.pt")
    with pytest.raises(ValueError, match="another network"):
        load_reference(resnet8(), data / "mlperf_ref" / "mobilenetv1_vww.pt")
    with pytest.raises(ValueError, match="another network"):
        load_reference(MobileNetV1(), data / "mlperf_ref" / "fcae_ad.pt")
    with pytest.raises(ValueError, match="another network"):
        load_reference(resnet20(), data / "mlperf_ref" / "resnet8_ic.pt")
    with pytest.raises(TypeError, match="MobileNetV2"):
        load_reference(MobileNetV2(), data / "mlperf_ref" / "resnet8_ic.pt")
