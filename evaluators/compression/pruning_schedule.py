"""From a float model to the thinner one that is quantized, at once or in steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from evaluators.compression.decisions import Candidate, read_candidate
from evaluators.compression.low_rank_sparsity import thin
from evaluators.compression.pruning import plan_of, prune
from evaluators.slicing.remove_units import removed_counts
from evaluators.task import Task
from evaluators.training import channels_last, reestimate_batch_norm
from hardware import Network
from hardware.ir.gene_kinds import PRUNE, PRUNER

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)

COARSE_SHARE = 0.5
"""Share of each prune ratio that the first step of the progressive schedule removes."""


@dataclass(frozen=True)
class Epochs:
    """How a trial's epochs are shared out.

    Attributes:
        coarse: float training after the first part of the pruning.
        fine: float training after the rest of it.
        bits: Quantization-aware training.
    """

    coarse: int
    fine: int
    bits: int

    @classmethod
    def plan(cls, schedule: str, epochs: int, candidate: Candidate) -> Epochs:
        """The shares of a schedule of ``recipe.SCHEDULES``.

        Bits get half of the epochs, rounded up, and the rest is split with the coarse step
        rounded down; one epoch, or a network that isn't cut, is trained directly.
        """
        if schedule == "direct" or epochs < 2 or not candidate.is_cut:
            return cls(0, 0, epochs)
        bits = -(-epochs // 2)
        coarse = (epochs - bits) // 2 if candidate.kept else 0
        return cls(coarse, epochs - bits - coarse, bits)


def coarse_step(network: Network, params: Mapping[str, Any]) -> Candidate:
    """The chromosome with :data:`COARSE_SHARE` of its pruning and nothing else."""
    genes = {
        key: value * COARSE_SHARE if PRUNE.owns(key) else value
        for key, value in params.items()
        if PRUNE.owns(key) or PRUNER.owns(key)
    }
    return read_candidate(network, genes)


def cut(task: Task, network: Network, candidate: Candidate, model: nn.Module) -> nn.Module:
    """A thinner copy of a model, its batch norms re-estimated, laid out for fast training.

    Args:
        task: its data and criterion.
        network: of the task's whole model.
        candidate: what is to be left.
        model: the task's model, or one that lost some of these channels already.

    Raises:
        PruneError: what comes out isn't what was asked for.
    """
    plan = plan_of(model, task.inputs, network, task)
    gone = removed_counts(model, plan.groups)
    units = {group.name: group.units for group in plan.groups}
    wanted = plan.units(network, candidate.kept)
    kept = {
        name: count
        for name, count in candidate.kept.items()
        if wanted[name] < units[name] - gone[name]
    }
    model = prune(
        model,
        task.inputs,
        network,
        kept,
        candidate.pruned,
        task=task,
        pruner=candidate.pruner,
    )
    for kind, name, value in candidate.further:
        assert kind.compress is not None
        kind.compress(model.get_submodule(name), value)
    thin(model, candidate)
    calm_dropout(model, task.model, candidate.removed)
    model = channels_last(model, task.example_input)
    if candidate.is_cut:
        reestimate_batch_norm(model, task.train)
    return model


def calm_dropout(model: nn.Module, whole: nn.Module, removed: float) -> None:
    """Lowers dropout with what was removed, down to none where half is gone, in place.

    A thinner network overfits less (Han et al., arXiv:1506.02626, scale it for the same reason),
    and noise of its own keeps it from following the float model.
    """
    original = dict(whole.named_modules())
    for name, module in model.named_modules():
        if isinstance(module, _DROPOUTS) and name in original:
            rate = getattr(original[name], "p", module.p)
            module.p = rate * max(0.0, 1.0 - 2.0 * removed)
