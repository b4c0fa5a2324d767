"""Anomaly detection on a pump's sensors with MLPerf Tiny's autoencoder, for 16-second windows.

The network learns to clean noisy windows of normal operation; what it can't reproduce is an
anomaly. The metric is the area under the ROC curve of the windows' reconstruction errors.

Splits, fixed and disjoint: from each of the 34 recordings the first 400 rows, but for rows
labelled as anomalous, train (and scale that recording, as a device would calibrate itself after it
was mounted). The rows behind them are scored: those of every second recording by the search,
those of the others once.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluators.baseline import trained
from evaluators.batches import ArrayBatches
from evaluators.datasets.reading import DataError
from evaluators.datasets.skab import SENSORS, Recording, load_skab
from evaluators.models.autoencoder import Autoencoder
from evaluators.recipe import Recipe
from evaluators.task import Task
from evaluators.training import fit

WINDOW = 16
"""Rows (seconds) in a window."""
TRAIN_ROWS = 400
LIMIT = 3.0
"""Values are cut off at so many standard deviations: anomalies then stay inside the range that
calibration on normal rows sees, and 8-bit activations don't saturate."""
NOISE = 2.0
"""Standard deviation of the noise that the network learns to remove (Vincent et al., ICML 2008)."""
BATCH = 128
EVALUATION_BATCH = 1024


def build(data: str | None = None, *, train_samples: int | None = None) -> Task:
    """The 640-128-...-8-...-128-640 autoencoder of MLPerf Tiny, for 16 x 8 = 128 values.

    Targets are the clean window and, as the last column, whether its last row is anomalous: the
    loss reads the former, the metric the latter.

    Args:
        data: see :func:`evaluators.datasets.skab.load_skab`.
        train_samples: trials fine-tune on so many windows (None: all).

    Raises:
        DataError: the data is missing, damaged or of another format.
        ValueError: ``train_samples`` is out of range.
    """
    recordings = load_skab(data)
    heads, tails = zip(*(_windows(recording) for recording in recordings), strict=True)
    train = _joined(heads)
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(train)))
    if train_samples is not None and not 1 <= train_samples <= len(train):
        raise ValueError(f"train_samples={train_samples} must be in 1..{len(train)}")
    tuning = train[order[:train_samples]]
    torch.manual_seed(0)
    model = Autoencoder(WINDOW * len(SENSORS))

    def fit_baseline(network: nn.Module) -> None:
        fit(network, _training(train), reconstruction_loss, epochs=8, learning_rate=1e-3)

    seconds = trained(
        model, f"skab-autoencoder-{zlib.crc32(train.numpy().tobytes()):08x}", fit_baseline
    )
    val, test = _joined(tails[0::2]), _joined(tails[1::2])
    return Task(
        name="skab-autoencoder",
        model=model,
        train=_training(tuning),
        val=ArrayBatches(val[:, :-1], val, batch_size=EVALUATION_BATCH),
        test=ArrayBatches(test[:, :-1], test, batch_size=EVALUATION_BATCH),
        example_input=val[:2, :-1],
        loss=reconstruction_loss,
        metric=anomaly_auc,
        metric_name="auc",
        recipe=Recipe(learning_rate=2e-4),
        training_seconds=seconds,
    )


def reconstruction_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error to the clean window; outputs (N, F), targets (N, F + 1)."""
    return (outputs - targets[:, :-1]).square().mean()


def anomaly_auc(outputs: Tensor, targets: Tensor) -> float:
    """Probability that an anomalous window has a larger error than a normal one (ties: half).

    Returns:
        NaN if there are only normal or only anomalous windows.
    """
    error = (outputs - targets[:, :-1]).square().mean(1).double()
    return roc_auc(error.numpy(), targets[:, -1].numpy() > 0.5)


def roc_auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve by the Mann-Whitney statistic, ties counted half."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank = (last - (counts - 1) / 2.0)[group]
    wins = mean_rank[positive].sum() - positives * (positives + 1) / 2.0
    return float(wins / (positives * negatives))


def _training(windows: Tensor) -> ArrayBatches:
    return ArrayBatches(
        windows[:, :-1], windows, batch_size=BATCH, shuffle=True, augment=_with_noise
    )


def _with_noise(batch: Tensor) -> Tensor:
    return batch + NOISE * torch.randn_like(batch)


def _windows(recording: Recording) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Training and scored windows of a recording, each with its label as the last column."""
    values, anomaly = recording.values, recording.anomaly
    normal = values[:TRAIN_ROWS][anomaly[:TRAIN_ROWS] == 0]
    if len(values) < TRAIN_ROWS + WINDOW or len(normal) < WINDOW:
        raise DataError(
            f"SKAB: {recording.name} has {len(values)} rows, {len(normal)} normal ones in the "
            f"first {TRAIN_ROWS}; {TRAIN_ROWS + WINDOW} and {WINDOW} are needed (a truncated file?)"
        )
    scaled = (values - normal.mean(0)) / (normal.std(0) + 1e-6)
    scaled = np.clip(scaled, -LIMIT, LIMIT)
    head, dirty = _cut(scaled[:TRAIN_ROWS], anomaly[:TRAIN_ROWS])
    tail, _ = _cut(scaled[TRAIN_ROWS:], anomaly[TRAIN_ROWS:])
    return head[~dirty], tail


def _cut(
    values: NDArray[np.float32], anomaly: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """All windows (N, WINDOW * 8 + 1), and whether any row of each is anomalous."""
    view = np.lib.stride_tricks.sliding_window_view
    windows = view(values, WINDOW, axis=0).swapaxes(1, 2)
    labels = view(anomaly, WINDOW)
    flat = windows.reshape(len(windows), -1)
    return np.concatenate([flat, labels[:, -1:]], 1, dtype=np.float32), (labels != 0).any(axis=1)


def _joined(parts: tuple[NDArray[np.float32], ...]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))
