"""Small files in the formats of the data sets."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from PIL import Image

from evaluators.datasets.skab import FOLDERS, SENSORS


def idx(values: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, values.ndim)) + np.array(values.shape, ">u4").tobytes()
    return header + values.tobytes()


def write_fashion(folder: Path, train: int = 40, test: int = 20) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    arrays = {}
    for prefix, count in (("train", train), ("t10k", test)):
        labels = rng.integers(0, 10, count, np.uint8)
        images = rng.integers(0, 60, (count, 28, 28), np.uint8)
        # A bright bar whose place tells the class, so that a network can learn it.
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 4 : 2 * label + 6] += 150
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            arrays[f"{prefix}-{kind}"] = values
            (folder / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(values), 1))
    return arrays


def write_vww(folder: Path, count: int = 60, side: int = 96) -> None:
    rng = np.random.default_rng(0)
    for label, name in enumerate(("non_person", "person")):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"img_{label}{i:04}.jpg", quality=60)


def write_skab(folder: Path, rows: int = 600, files: int = 2) -> None:
    rng = np.random.default_rng(0)
    for part in FOLDERS:
        (folder / part).mkdir(parents=True)
        for number in range(files):
            values = rng.normal(size=(rows, 8)).cumsum(0) * 0.01 + rng.normal(size=(rows, 8))
            anomaly = (np.arange(rows) > rows - 80).astype(int)
            values[anomaly == 1] += 3
            lines = ["datetime;" + ";".join(SENSORS) + ";anomaly;changepoint"]
            for i in range(rows):
                cells = ";".join(f"{v:.6f}" for v in values[i])
                lines.append(f"2020-03-09 10:14:{i};{cells};{anomaly[i]};0")
            (folder / part / f"{number}.csv").write_text("\n".join(lines) + "\n")


def write_kws(path: Path, count: int = 20, frames: int = 49) -> None:
    """Features of twelve classes, ``count`` of each split and class: each a place of its own."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(12), 3 * count)
    x = rng.normal(size=(len(labels), frames, 10))
    for features, label in zip(x, labels, strict=True):
        features[4 * (label // 3) : 4 * (label // 3) + 12, label % 3 : label % 3 + 2] += 3.0
    split = np.repeat([0, 1, 2], 12 * count)
    np.savez(path, x=x.astype(np.float16), y12=labels.astype(np.int8), split=split)


def write_cwru(path: Path, seconds: float = 0.5) -> None:
    """The pack's 37 recordings, each fault a tone of its own."""
    rng = np.random.default_rng(0)
    labels = np.array([0] + [label for label in range(1, 10) for _ in range(4)])
    loads = np.array([0] + [0, 1, 2, 3] * 9)
    time = np.arange(int(12_000 * seconds))
    signals = [
        np.sin(time * (0.1 + 0.25 * label)) + 0.3 * rng.normal(size=len(time)) for label in labels
    ]
    # The healthy bearing's recording is cut in three, so that it is longer.
    signals[0] = np.tile(signals[0], 3)
    offsets = np.cumsum([0, *map(len, signals)])
    x = np.concatenate(signals)
    np.savez(
        path, x=(x * 1000).astype(np.int16), off=offsets, label=labels.astype(np.uint8),
        scale=np.full(len(labels), 1e-3, np.float32), load_hp=loads.astype(np.uint8),
    )  # fmt: skip
