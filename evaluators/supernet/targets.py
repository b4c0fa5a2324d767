"""What the networks of a supernet learn: the labels, and to answer as the float model does."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from evaluators.fidelity import FloatOutputs, output_loss
from evaluators.fine_tuning.distillation import default_distillation_loss
from evaluators.pytree import describe, tensors
from evaluators.recipe import Loss
from evaluators.scoring import DataError
from evaluators.task import Task, no_loss

SHARE = 0.7
"""Weight of the float model's answers, where the recipe has none."""


FollowingLoss = Callable[[object, object, object], Tensor]
"""``loss(outputs, targets, float model's outputs)``, a scalar."""


def supernet_loss(task: Task, outputs: object, targets: object) -> FollowingLoss:
    """The loss of each network of a supernet.

    Class scores with labels follow the float model's soft labels. All other outputs are compared
    by their distance, each relative to its size: of regressions, several outputs, and tasks
    without labels. The recipe's own ``distillation_loss`` goes before both.

    Args:
        task: its loss and recipe.
        outputs: of the float model for one batch, for their form.
        targets: of that batch.

    Raises:
        DataError: no output is a tensor of floats, and the task has no loss.
    """
    if isinstance(task.train, FloatOutputs):
        # The labels are what the float model says.
        return lambda found, wanted, _: task.loss(found, wanted)
    follow: Loss | None = task.recipe.distillation_loss
    if follow is None and is_classification(outputs, targets):
        follow = default_distillation_loss(outputs)
    if follow is None and any(x.is_floating_point() for x in tensors(outputs)):
        follow = output_loss
    if follow is None:
        raise DataError(
            "the model's outputs hold no tensor of floats, so that a supernet has nothing to "
            "follow: give the task distillation_loss=loss(outputs, float model's outputs)"
        )
    share, chosen = (task.recipe.distillation or SHARE), follow
    if task.loss is no_loss:
        return lambda found, _, soft: chosen(found, soft)
    return lambda found, wanted, soft: (
        (1.0 - share) * task.loss(found, wanted) + share * chosen(found, soft)
    )


def check_loss(loss: FollowingLoss, outputs: object, targets: object) -> None:
    """Tries a loss on the float model's own outputs.

    Raises:
        DataError: it fails, or is no finite scalar.
    """
    try:
        value = loss(outputs, targets, outputs)
    except DataError:
        raise
    # The task's own code may raise anything.
    except Exception as error:
        raise DataError(
            "what the networks of a supernet learn fails on the first training batch with "
            f"{type(error).__name__}: {error} (outputs {describe(outputs)}, targets "
            f"{describe(targets)}): give the task a loss and, where the outputs are no class "
            "scores, distillation_loss=loss(outputs, float model's outputs)"
        ) from error
    if not isinstance(value, Tensor) or value.numel() != 1 or not bool(torch.isfinite(value)):
        raise DataError(
            f"what the networks of a supernet learn is {describe(value)} on the first training "
            "batch: the task's loss must be a finite scalar tensor"
        )


def is_classification(outputs: object, targets: object) -> bool:
    """Whether whole numbers name one of the classes that the one output has scores of."""
    scores, labels = tensors(outputs), tensors(targets)
    if len(scores) != 1 or len(labels) != 1:
        return False
    one, label = torch.as_tensor(scores[0]), torch.as_tensor(labels[0])
    if label.is_floating_point() or one.dim() < 2 or one.shape[1] < 2:
        return False
    return label.shape == one.shape[:1] + one.shape[2:]
