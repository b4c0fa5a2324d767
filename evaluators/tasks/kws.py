"""Keyword spotting on MFCC features: DS-CNN, a transformer and a GRU on Arabic Speech Commands.

The data is an ``.npz`` with ``x`` (N, 49, 10), ``y12`` (class, -1 for clips outside the 12-class
task) and ``split`` (0 train, 1 val, 2 test; speakers don't cross splits). Its place is the
``data`` argument, or ``$JOINT_GA_DATA`` (the file, or the folder that holds it).
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.baseline import trained
from evaluators.batches import ArrayBatches
from evaluators.models.ds_cnn import DSCNN
from evaluators.models.keyword_gru import KeywordGRU
from evaluators.models.keyword_transformer import KeywordTransformer
from evaluators.recipe import Recipe
from evaluators.task import Task
from evaluators.training import accuracy, fit

FILE = "kws_arabic.npz"
CLASSES = 12
BASELINE_EPOCHS = 80
TRANSFORMER_EPOCHS = 30
GRU_EPOCHS = 30


def build(data: str | None = None) -> Task:
    """The 12-class task with a DS-CNN trained on first use.

    Args:
        data: the ``.npz`` file, or the folder that holds ``kws_arabic.npz``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is truncated or holds something else.
    """
    recipe = Recipe(
        learning_rate=3e-4, pruned_learning_rate=5e-3, pruner="slim", epochs=3, distillation=0.7
    )
    return _task(
        data, "kws", lambda: DSCNN(CLASSES), recipe, epochs=BASELINE_EPOCHS, learning_rate=5e-3
    )


def build_transformer(data: str | None = None) -> Task:
    """The same task with a small keyword transformer, see :func:`build`."""
    recipe = Recipe(
        learning_rate=1e-3, pruned_learning_rate=3e-3, pruner="taylor", epochs=3, distillation=0.7
    )
    return _task(
        data,
        "kws-transformer",
        lambda: KeywordTransformer(CLASSES),
        recipe,
        epochs=TRANSFORMER_EPOCHS,
        learning_rate=3e-3,
    )


def build_gru(data: str | None = None) -> Task:
    """The same task with a small recurrent network, see :func:`build`."""
    recipe = Recipe(learning_rate=1e-3, pruned_learning_rate=3e-3, epochs=3, distillation=0.7)
    return _task(
        data,
        "kws-gru",
        lambda: KeywordGRU(CLASSES),
        recipe,
        epochs=GRU_EPOCHS,
        learning_rate=1e-2,
    )


def _task(
    data: str | None,
    name: str,
    build_model: Callable[[], nn.Module],
    recipe: Recipe,
    *,
    epochs: int,
    learning_rate: float,
) -> Task:
    arrays = _load(_find(data))
    mean, std = _scale(arrays[0][0])
    parts = [((x - mean) / std, y) for x, y in arrays]
    train, val, test = parts
    batches = ArrayBatches(*train, batch_size=100, shuffle=True, augment=_augment)

    def train_baseline(model: nn.Module) -> None:
        fit(
            model,
            batches,
            _smooth,
            epochs=epochs,
            learning_rate=learning_rate,
            weight_decay=2e-2,
        )

    torch.manual_seed(0)
    model = build_model()
    seconds = trained(model, name, train_baseline, version=1)
    return Task(
        name=name,
        model=model,
        train=batches,
        val=ArrayBatches(*val, batch_size=256),
        test=ArrayBatches(*test, batch_size=256),
        example_input=val[0][:2],
        loss=functional.cross_entropy,
        metric=accuracy,
        recipe=recipe,
        training_seconds=seconds,
    )


def _find(data: str | None) -> Path:
    place = data or os.environ.get("JOINT_GA_DATA")
    if not place:
        raise FileNotFoundError(
            f"the kws task needs its features: pass --data PATH/{FILE}, or set JOINT_GA_DATA"
        )
    path = Path(place)
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} (given: {place!r})")
    return path


def _load(path: Path) -> list[tuple[Tensor, Tensor]]:
    """(N, 1, 49, 10) float32 features and labels of the three splits."""
    try:
        with np.load(path) as arrays:
            x, y, split = arrays["x"], arrays["y12"].astype(np.int64), arrays["split"]
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"{path} is truncated or no keyword-spotting pack ({error}); it must hold the arrays "
            "x, y12 and split"
        ) from error
    if x.ndim != 3 or len(x) != len(y) or len(x) != len(split):
        raise ValueError(f"{path}: x has shape {x.shape}, y12 {y.shape}, split {split.shape}")
    parts = []
    for index, name in enumerate(("train", "val", "test")):
        chosen = (split == index) & (y >= 0) & (y < CLASSES)
        if not chosen.any():
            raise ValueError(f"{path} holds no sample of the {name} split")
        features = torch.from_numpy(x[chosen].astype(np.float32)).unsqueeze(1)
        parts.append((features, torch.from_numpy(y[chosen])))
    return parts


def _scale(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation per coefficient, of the training split."""
    return x.mean(dim=(0, 1, 2)), x.std(dim=(0, 1, 2)) + 1e-6


def _smooth(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets, label_smoothing=0.1)


def _augment(x: Tensor) -> Tensor:
    """Shifts by up to 160 ms, two masked stretches of time, noise, gain and a filter.

    Masking is SpecAugment's (Park et al., arXiv:1904.08779); a constant on the coefficients is
    another microphone's filter.
    """
    count, _, frames, coefficients = x.shape
    time = torch.arange(frames)
    shift = torch.randint(-8, 9, (count, 1))
    index = (time - shift).clamp_(0, frames - 1)
    x = x.gather(2, index[:, None, :, None].expand(-1, 1, -1, coefficients))
    for _ in range(2):
        start = torch.randint(0, frames, (count, 1))
        width = torch.randint(0, 11, (count, 1))
        hidden = (time >= start) & (time < start + width)
        x = x.masked_fill(hidden[:, None, :, None], 0.0)
    gain = 1.0 + 0.1 * torch.randn(count, 1, 1, 1)
    tint = 0.15 * torch.randn(count, 1, 1, coefficients)
    return x * gain + tint + 0.1 * torch.randn_like(x)
