"""Where things went in version 0.2: importing one by its old path raises an error that says so.

Each package has a table of its own, so that each works without the others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

MOVED = {
    "evaluators.candidate": "evaluators.compression.decisions",
    "evaluators.channels": "evaluators.tracing.channel_labels",
    "evaluators.checks": "evaluators.task_checks",
    "evaluators.cutting": "evaluators.compression.pruning_schedule",
    "evaluators.dead_channels": "evaluators.compression.dead_channels",
    "evaluators.distillation": "evaluators.fine_tuning.distillation",
    "evaluators.early_end": "gone (every fine-tuning runs all of its epochs)",
    "evaluators.finetuning": "evaluators.fine_tuning.loop",
    "evaluators.graphs": "evaluators.tracing.program",
    "evaluators.inheritance": "gone (trials start from a supernet)",
    "evaluators.layers": "evaluators.tracing.layers_of_program",
    "evaluators.layerwise": "evaluators.sensitivity_analysis",
    "evaluators.lean": "evaluators.nni_imports",
    "evaluators.power_of_two": "evaluators.compression.power_of_two",
    "evaluators.prune": "evaluators.compression.pruning",
    "evaluators.rounding": "evaluators.compression.fake_quantize",
    "evaluators.thinning": "evaluators.compression.low_rank_sparsity",
    "evaluators.ties": "evaluators.tracing.unit_groups",
}


class _Moved:
    """Python's last finder: asked only for what isn't there, names of a folder included."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        if name in MOVED:
            # Without its argument `name`, or `from package import module` would hide the message.
            raise ModuleNotFoundError(f"{name} is {MOVED[name]} since version 0.2")


def install() -> None:
    """Lets Python ask the table."""
    sys.meta_path.append(_Moved())
