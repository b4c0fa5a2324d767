"""Fashion-MNIST with ResNet-8 for one channel.

Splits, fixed and disjoint: 55,000 of the official training images to train, the other 5,000
(``shuffled`` with seed 28) to score the search, the 10,000 official test images to read once.
"""

from __future__ import annotations

from evaluators.datasets.fashion_mnist import load_fashion_mnist
from evaluators.models.resnet import resnet8
from evaluators.task import Task
from evaluators.tasks.image_task import BaselineTraining, hold_out, image_task

VALIDATION = 5000
SPLIT_SEED = 28


def build(data: str | None = None, *, train_samples: int | None = None) -> Task:
    """ResNet-8 on 28x28 grey images.

    Args:
        data: see :func:`evaluators.datasets.fashion_mnist.load_fashion_mnist`.
        train_samples: trials fine-tune on so many training images (None: all).

    Raises:
        DataError: the data is missing, damaged or of another format.
        ValueError: ``train_samples`` is out of range.
    """
    return image_task(
        "fashion-mnist-resnet8",
        lambda: resnet8(inputs=1),
        hold_out(load_fashion_mnist(data), VALIDATION, SPLIT_SEED),
        baseline=BaselineTraining(epochs=3),
        crop=2,
        train_samples=train_samples,
    )
