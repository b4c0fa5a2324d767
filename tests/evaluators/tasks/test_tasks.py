"""The tasks: splits, what they load, what a trial makes of them, and what they refuse."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators import evaluate, load_task, trace
from evaluators.compression.decisions import read_candidate
from evaluators.compression.pruning import prune
from evaluators.datasets.images import OfficialSplits
from evaluators.tasks import cifar10, fashion_mnist, skab, vww
from evaluators.tasks.image_task import Split, hold_out
from evaluators.training import DataError, predict, score
from support.datasets import write_fashion, write_skab, write_vww


def numbered(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images whose first pixels hold their own number."""
    images = np.zeros((count, 32, 32, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(count) % 256, np.arange(count) // 256
    return images, np.arange(count, dtype=np.int64) % 10


def numbers(images: np.ndarray) -> list[int]:
    return (images[:, 0, 0, 0].astype(int) + 256 * images[:, 0, 0, 1].astype(int)).tolist()


def test_cifar10_splits_are_disjoint_and_fixed() -> None:
    arrays = OfficialSplits(*numbered(50000), *numbered(10000))
    own = hold_out(arrays, cifar10.VALIDATION, cifar10.SPLIT_SEED)
    train, val, test = (numbers(split.images) for split in own)
    assert (len(train), len(val), len(test)) == (45000, 5000, 10000)
    assert sorted(train + val) == list(range(50000))
    assert [n % 10 for n in val[:50]] == own.val.labels[:50].tolist()

    reference = cifar10.reference_splits(arrays)
    train, val, test = (numbers(split.images) for split in reference)
    assert (len(train), len(val), len(test)) == (50000, 5000, 5000)
    assert sorted(val + test) == list(range(10000))
    assert val[:5] == numbers(cifar10.reference_splits(arrays).val.images)[:5]
    counts = np.bincount(reference.val.labels)
    assert counts.min() > 440  # shuffled, not ordered by class


def test_a_baseline_belongs_to_its_training_samples() -> None:
    images, labels = numbered(1000)
    order = np.random.RandomState(0).permutation(1000)
    assert Split(images, labels).key() == Split(images.copy(), labels.copy()).key()
    assert Split(images, labels).key() != Split(images[order], labels[order]).key()
    assert Split(images, labels).key() != Split(images, labels[order]).key()


def test_vww_splits_are_disjoint() -> None:
    images, labels = numbered(1000)
    parts = [numbers(split.images) for split in vww.pack_splits(images, labels)]
    assert [len(part) for part in parts] == [250, 250, 500]
    assert sorted(chain(*parts)) == list(range(1000))

    names = [f"{n}.jpg" for n in range(1000)]
    parts = [numbers(split.images) for split in vww.folder_splits(images, labels, names)]
    assert sorted(chain(*parts)) == list(range(1000))
    assert 700 < len(parts[0]) < 900
    # A file stays in its split when others come or go.
    fewer = vww.folder_splits(images[:500], labels[:500], names[:500])
    assert set(numbers(fewer.test.images)) <= set(parts[2])
    with pytest.raises(DataError, match="splits empty"):
        vww.folder_splits(images[:3], labels[:3], names[:3])


@pytest.mark.slow
def test_resnet8_has_the_published_accuracy(data: Path) -> None:
    task = load_task("evaluators.tasks.cifar10:build", data=str(data))
    halves = [score(task, task.model, split) for split in (task.val, task.test)]
    assert np.mean(halves) == pytest.approx(0.8719, abs=1e-4)
    assert task.training_seconds == 0.0
    inputs, targets = next(iter(task.train))
    assert inputs.shape == (128, 3, 32, 32)
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert targets.dtype == torch.int64


@pytest.mark.slow
def test_vww_reference_and_a_quantized_trial(data: Path) -> None:
    task = load_task("evaluators.tasks.vww:build", data=str(data))
    assert score(task, task.model, task.val) > 0.8
    assert score(task, task.model, task.test) > 0.8
    assert len(task.train) == 20 * 5
    metrics = evaluate(task, {}, device="stm32l4r5", epochs=0).metrics
    assert metrics["accuracy"] > metrics["baseline_accuracy"] - 0.03
    assert metrics["macs"] == 7_489_664

    # Most channels of the late layers have weights of 1e-30: an L1 criterion must find them, and
    # removing them must not change one prediction.
    network = trace(task)
    dead = {"block9.pw.prune": 0.75, "block12.pw.prune": 0.875, "block13.pw.prune": 0.875}
    candidate = read_candidate(network, dead)
    pruned = prune(task.model, task.inputs, network, candidate.kept, candidate.layers)
    before, _ = predict(task.model, task.val)
    after, _ = predict(pruned, task.val)
    assert (before - after).abs().max() < 1e-2
    assert torch.equal(before.argmax(1), after.argmax(1))


@pytest.mark.parametrize("build", [cifar10.build, vww.build])
def test_reference_weights_are_asked_for(build, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="weights='bset' must be"):
        build(str(data), weights="bset")
    with pytest.raises(DataError, match="does not exist"):
        build(str(tmp_path / "nowhere"))


def test_vww_without_weights_needs_the_training_folder(data: Path, tmp_path: Path) -> None:
    pack = tmp_path / "vww01_eval.npz"
    pack.symlink_to(data / "mlperf_ref" / "vww01_eval.npz")
    with pytest.raises(DataError, match=r"too small to train on.*mobilenetv1_vww.pt"):
        vww.build(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"mobilenetv1_vww.pt"):
        vww.build(str(tmp_path), weights="reference")


def test_vww_folder_with_reference_weights(data: Path, tmp_path: Path) -> None:
    write_vww(tmp_path / "vw_coco2014_96", 30)
    (tmp_path / "mobilenetv1_vww.pt").symlink_to(data / "mlperf_ref" / "mobilenetv1_vww.pt")
    task = vww.build(str(tmp_path), train_samples=8)
    assert task.name == "vww-mobilenetv1-reference"
    assert sum(len(targets) for _, targets in task.train) == 8


def test_fashion_mnist_trains_once_and_compresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "VALIDATION", 100)
    monkeypatch.setenv("JOINT_GA_CACHE", str(tmp_path / "cache"))
    write_fashion(tmp_path / "data", train=500, test=100)
    task = load_task("evaluators.tasks.fashion_mnist:build", data=str(tmp_path / "data"))
    assert task.training_seconds > 0
    again = fashion_mnist.build(str(tmp_path / "data"), train_samples=256)
    assert again.training_seconds == 0.0
    assert len(again.train) == 2
    for a, b in zip(task.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)
    result = evaluate(again, {"block1.conv1.prune": 0.5}, device="stm32l4r5", epochs=1)
    assert result.model.get_submodule("block2.shortcut") is not None
    assert result.metrics["size_kb"] < 90
    for count in (0, -3, 10**6):
        with pytest.raises(ValueError, match=f"train_samples={count}"):
            fashion_mnist.build(str(tmp_path / "data"), train_samples=count)


@pytest.mark.slow
def test_skab_finds_anomalies_before_and_after_quantization(data: Path) -> None:
    task = load_task("evaluators.tasks.skab:build", data=str(data))
    assert score(task, task.model, task.val) > 0.8
    assert task.metric_name == "auc"
    metrics = evaluate(task, {}, device="stm32l4r5", epochs=0).metrics
    assert metrics["auc"] == pytest.approx(metrics["baseline_auc"], abs=0.01)
    inputs, targets = next(iter(task.val))
    assert torch.equal(inputs, targets[:, :-1])


def test_skab_trains_on_normal_rows_only(tmp_path: Path) -> None:
    write_skab(tmp_path / "data", rows=500)
    recordings = skab.load_skab(tmp_path)
    recordings[0].anomaly[100] = 1  # must take its sixteen windows out of the training data
    clean, _ = skab._windows(recordings[1])
    dirty, tail = skab._windows(recordings[0])
    assert len(clean) == 400 - 15
    assert len(dirty) == 400 - 15 - 16
    assert tail.shape == (100 - 15, 129)
    assert tail[:, -1].sum() == 79
    task = skab.build(str(tmp_path), train_samples=256)
    assert len(task.train) == 2
    with pytest.raises(ValueError, match="train_samples=100000"):
        skab.build(str(tmp_path), train_samples=100000)
    write_skab(tmp_path / "short" / "data", rows=300)
    with pytest.raises(DataError, match="300 rows"):
        skab.build(str(tmp_path / "short"))


def test_auc_against_scikit_learn_and_closed_forms() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    for ties in (3, 1000):
        scores = rng.integers(0, ties, 500).astype(float)
        positive = rng.random(500) < 0.3
        assert skab.roc_auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    order = np.arange(10.0)
    assert skab.roc_auc(order, order > 5) == 1.0
    assert skab.roc_auc(-order, order > 5) == 0.0
    assert skab.roc_auc(np.zeros(10), order > 5) == 0.5
    assert np.isnan(skab.roc_auc(order, order > 50))
