"""A task without labels to start from: replace model and inputs (`joint-ga init --no-labels`)."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from evaluators import Task
from evaluators.baseline import trained
from evaluators.batches import ArrayBatches
from evaluators.training import fit


def build() -> Task:
    """A small network on scikit-learn's digits, compared with its own float outputs."""
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    return Task(
        model=float_model(x[:1100], torch.tensor(labels[:1100])),
        # Batches of inputs: ranges of activations come from `train`, scores from `val`.
        train=torch.split(x[:512], 64),
        val=torch.split(x[1100:1450], 350),
        test=torch.split(x[1450:], 350),
        example_input=x[:1],
        # Or agreement (of the classes), cosine_similarity, relative_error.
        metric="sqnr_db",
    )


def float_model(x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    """Load your own trained model here instead; only this example has labels to train one."""
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip
    batches = ArrayBatches(x, y, batch_size=64, shuffle=True)
    loss = nn.functional.cross_entropy
    trained(model, "my_task", lambda m: fit(m, batches, loss, epochs=15, learning_rate=3e-3))
    return model
