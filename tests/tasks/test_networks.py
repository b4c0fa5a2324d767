"""The networks: reference weights, sizes, and that removing channels is exact on each of them."""

from __future__ import annotations

import copy
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluators"))
from masked import zeroed
from nets import randomize

from evaluators import Task, trace
from evaluators.candidate import read_candidate
from evaluators.models.autoencoder import Autoencoder
from evaluators.models.mobilenet import MobileNetV1, MobileNetV2, MobileNetV3Small
from evaluators.models.reference import load_reference
from evaluators.models.resnet import resnet8, resnet20
from evaluators.prune import _masks, prune
from hardware import Network, estimate, load_device

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


def removed(model: nn.Module, network: Network, kept: dict[str, int]) -> dict[str, torch.Tensor]:
    masks = _masks(copy.deepcopy(model), network, kept, "l1") if kept else {}
    return {layer: m["weight"].flatten(1).sum(1) == 0 for layer, m in masks.items()}


@pytest.mark.parametrize(("seed", "name"), enumerate(NETWORKS), ids=[*NETWORKS])
def test_pruned_equals_masked(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    model = randomize(NETWORKS[name][0](), seed).eval()
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
        want = zeroed(model, removed(model, network, candidate.kept))(x)
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
