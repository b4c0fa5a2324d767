"""CIFAR-10 with ResNet-8 (MLPerf Tiny), ResNet-20, MobileNetV2 and MobileNetV3-small.

Splits, fixed and disjoint (``shuffled`` with seed 10 on the order of the source):

* A baseline trained here: 45,000 of the official training images to train, the other 5,000 to
  score the search, the 10,000 official test images to read once.
* ResNet-8 with MLPerf Tiny's reference weights, which have seen all 50,000 training images: these
  to fine-tune, one half of the official test images (5,000) to score the search, the other half to
  read once.
"""

from __future__ import annotations

from torch import nn

from evaluators.datasets.cifar10 import find_cifar10, load_cifar10
from evaluators.datasets.images import OfficialSplits, shuffled
from evaluators.models.mobilenet import MobileNetV2, MobileNetV3Small
from evaluators.models.reference import check_choice, load_reference, uses_reference
from evaluators.models.resnet import resnet8, resnet20
from evaluators.recipe import Recipe
from evaluators.task import Task
from evaluators.tasks.image_task import BaselineTraining, Split, Splits, hold_out, image_task

VALIDATION = 5000
SPLIT_SEED = 10
REFERENCE = "resnet8_ic.pt"


def build(
    data: str | None = None, *, train_samples: int | None = None, weights: str = "auto"
) -> Task:
    """ResNet-8, 12.5 M MACs, on images in 0..255.

    Args:
        data: see :func:`evaluators.datasets.cifar10.load_cifar10`.
        train_samples: trials fine-tune on so many training images (None: all).
        weights: ``reference`` (MLPerf Tiny's, ``resnet8_ic.pt`` beside the data or in its
            ``mlperf_ref/``), ``train`` (trained here), or ``auto``: the reference if it is there.

    Raises:
        DataError: the data is missing, damaged or of another format.
        FileNotFoundError: ``weights="reference"``, and the file isn't there.
        ValueError: another value of ``weights``, or ``train_samples`` out of range.
    """
    check_choice(weights)
    source = find_cifar10(data)
    reference = source.parent / "mlperf_ref" / REFERENCE
    if not reference.is_file():
        reference = source.parent / REFERENCE
    arrays = load_cifar10(source)
    if not uses_reference(weights, reference):
        return image_task(
            "cifar10-resnet8",
            resnet8,
            hold_out(arrays, VALIDATION, SPLIT_SEED),
            baseline=BaselineTraining(epochs=6),
            scale=1.0,
            train_samples=train_samples,
        )

    def with_reference_weights() -> nn.Module:
        model = resnet8()
        load_reference(model, reference)
        return model

    return image_task(
        "cifar10-resnet8-reference",
        with_reference_weights,
        reference_splits(arrays),
        baseline=None,
        scale=1.0,
        # As MLPerf Tiny trained it: black borders would shift the batch norms' statistics.
        repeat_edges=True,
        train_samples=train_samples,
        recipe=Recipe(learning_rate=5e-4, pruned_learning_rate=3e-3, distillation=0.9),
    )


def build_resnet20(data: str | None = None, *, train_samples: int | None = None) -> Task:
    """ResNet-20, 40.8 M MACs. Arguments and errors as :func:`build`."""
    return image_task(
        "cifar10-resnet20",
        resnet20,
        hold_out(load_cifar10(data), VALIDATION, SPLIT_SEED),
        baseline=BaselineTraining(epochs=3),
        train_samples=train_samples,
    )


def build_mobilenetv2(data: str | None = None, *, train_samples: int | None = None) -> Task:
    """MobileNetV2 of width 0.35, 4.3 M MACs. Arguments and errors as :func:`build`."""
    return image_task(
        "cifar10-mobilenetv2",
        MobileNetV2,
        hold_out(load_cifar10(data), VALIDATION, SPLIT_SEED),
        baseline=BaselineTraining(epochs=5),
        train_samples=train_samples,
    )


def build_mobilenetv3(data: str | None = None, *, train_samples: int | None = None) -> Task:
    """MobileNetV3-small of width 0.5, 1.6 M MACs. Arguments and errors as :func:`build`."""
    return image_task(
        "cifar10-mobilenetv3",
        MobileNetV3Small,
        hold_out(load_cifar10(data), VALIDATION, SPLIT_SEED),
        baseline=BaselineTraining(epochs=5),
        train_samples=train_samples,
    )


def build_mobilenetv3_trained(data: str | None = None, *, train_samples: int | None = None) -> Task:
    """The network of :func:`build_mobilenetv3`, trained for 20 epochs instead of 5.

    That takes a quarter of an hour on one core. A trial follows the float network's outputs and
    chooses channels by their effect on the loss, as suits a network that is nearly done. Arguments
    and errors as :func:`build`.
    """
    return image_task(
        "cifar10-mobilenetv3-20-epochs",
        MobileNetV3Small,
        hold_out(load_cifar10(data), VALIDATION, SPLIT_SEED),
        baseline=BaselineTraining(epochs=20),
        train_samples=train_samples,
        recipe=Recipe(
            learning_rate=5e-4, pruned_learning_rate=3e-3, distillation=0.9, pruner="taylor"
        ),
    )


def reference_splits(arrays: OfficialSplits) -> Splits:
    """Validation images are one half of the official test images."""
    train = shuffled(len(arrays.train_labels), SPLIT_SEED)
    order = shuffled(len(arrays.test_labels), SPLIT_SEED)
    val, test = order[: len(order) // 2], order[len(order) // 2 :]
    return Splits(
        Split(arrays.train_images[train], arrays.train_labels[train]),
        Split(arrays.test_images[val], arrays.test_labels[val]),
        Split(arrays.test_images[test], arrays.test_labels[test]),
    )
