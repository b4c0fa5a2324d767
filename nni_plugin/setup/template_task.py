"""A task to start from: replace model and data by your own (written by `joint-ga init`)."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from evaluators import Task
from evaluators.baseline import trained
from evaluators.batches import ArrayBatches
from evaluators.training import accuracy, fit


def build() -> Task:
    """Scikit-learn's digits with a small network."""
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    y = torch.tensor(labels)
    train = ArrayBatches(x[:1100], y[:1100], batch_size=64, shuffle=True)
    val = ArrayBatches(x[1100:1450], y[1100:1450], batch_size=350)
    test = ArrayBatches(x[1450:], y[1450:], batch_size=350)
    loss = nn.functional.cross_entropy
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip
    # Trained once and kept in ~/.cache/joint-ga; load your own checkpoint here instead.
    trained(model, "my_task", lambda m: fit(m, train, loss, epochs=15, learning_rate=3e-3))
    return Task(
        model=model,
        train=train,
        val=val,
        test=test,
        example_input=x[:1],
        loss=loss,
        metric=accuracy,
    )
