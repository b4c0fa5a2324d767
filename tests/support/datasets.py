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
