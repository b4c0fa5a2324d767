"""Accuracy of the MLPerf Tiny reference weights in this package's networks, on MLPerf's test sets.

    python -m benchmarks.compression.reference_accuracy ../shared/data

Expected: CIFAR-10 ResNet-8 87.19 % (10,000 test images), keyword spotting DS-CNN 91.5 %
(kws01_eval), visual wake words MobileNetV1-0.25 85.2 % (vww01_eval), anomaly score of the ToyCar
sample 9.491. About half a minute on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from evaluators.batches import ArrayBatches
from evaluators.datasets.cifar10 import load_cifar10
from evaluators.datasets.images import FloatImages
from evaluators.datasets.vww import load_vww_pack
from evaluators.models.autoencoder import Autoencoder
from evaluators.models.ds_cnn import DSCNN
from evaluators.models.mobilenet import MobileNetV1
from evaluators.models.reference import load_reference
from evaluators.models.resnet import resnet8
from evaluators.training import accuracy, predict


def measure(model: nn.Module, weights: Path, batches: ArrayBatches) -> float:
    """Accuracy in percent of a network with reference weights."""
    load_reference(model, weights)
    return 100.0 * accuracy(*predict(model, batches))


def images(arrays: np.ndarray, labels: np.ndarray, scale: float) -> ArrayBatches:
    return ArrayBatches(
        torch.from_numpy(arrays),
        torch.from_numpy(labels),
        batch_size=250,
        augment=FloatImages(scale),
    )


def anomaly_score(weights: Path, sample: Path) -> tuple[float, float]:
    """Mean reconstruction error of one clip's windows of five frames, and the reference's."""
    model = Autoencoder()
    load_reference(model, weights)
    with np.load(sample) as arrays:
        clip, expected = arrays["x"], float(arrays["expected_score"])
    windows: Tensor = torch.from_numpy(np.stack([clip[i : i + 5].ravel() for i in range(196)]))
    with torch.no_grad():
        return float((model(windows) - windows).square().mean()), expected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with cifar10_webp.npz and mlperf_ref/")
    folder: Path = parser.parse_args().data
    reference = folder / "mlperf_ref"
    torch.set_num_threads(1)

    cifar = load_cifar10(folder)
    batches = images(cifar.test_images, cifar.test_labels, 1.0)
    value = measure(resnet8(), reference / "resnet8_ic.pt", batches)
    print(f"CIFAR-10   ResNet-8          {value:6.2f} %  of {len(cifar.test_labels)} test images")

    with np.load(reference / "kws01_eval.npz") as pack:
        x = torch.from_numpy(pack["x"].astype(np.float32)[:, None] * float(pack["scale"]))
        y = torch.from_numpy(pack["y"].astype(np.int64))
    value = measure(DSCNN(), reference / "dscnn_kws.pt", ArrayBatches(x, y, batch_size=250))
    print(f"KWS        DS-CNN            {value:6.2f} %  of {len(y)} clips (kws01_eval)")

    pictures, labels = load_vww_pack(reference / "vww01_eval.npz")
    batches = images(pictures, labels, 1 / 255)
    value = measure(MobileNetV1(), reference / "mobilenetv1_vww.pt", batches)
    print(f"VWW        MobileNetV1-0.25  {value:6.2f} %  of {len(labels)} images (vww01_eval)")

    found, expected = anomaly_score(reference / "fcae_ad.pt", reference / "ad01_one_sample.npz")
    print(f"AD         autoencoder       score {found:.4f} of the sample clip, expected {expected}")


if __name__ == "__main__":
    main()
