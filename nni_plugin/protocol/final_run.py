"""How the settings of a training to the end travel to a trial: in its parameters, like the uid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nni_plugin.protocol.json_types import Params

EPOCHS = "final_epochs"
SEED = "final_seed"
TEST = "final_test"
NAMES = (EPOCHS, SEED, TEST)
ON_TEST = "test_"
"""How the metrics of the test split begin, which a finalist's trial reports."""


@dataclass(frozen=True)
class FinalRun:
    """What a trial does that trains its chromosome to the end.

    Attributes:
        epochs: of fine-tuning.
        seed: of fine-tuning.
        test: whether it reads the test split, once, after the training.
    """

    epochs: int
    seed: int
    test: bool = False

    def as_params(self) -> Params:
        """The keys that a trial finds beside its genes."""
        return {EPOCHS: self.epochs, SEED: self.seed, TEST: int(self.test)}


def split(params: Mapping[str, object]) -> tuple[Params, FinalRun | None]:
    """A trial's genes, and what its training to the end is to be, if it is one.

    Raises:
        ValueError: a setting of such a training is no whole number from 0 on.
    """
    genes = {name: value for name, value in params.items() if name not in NAMES}
    if EPOCHS not in params:
        return genes, None
    numbers = []
    for name in NAMES:
        value = params.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"{name}={value!r} should be a whole number from 0 on")
        numbers.append(value)
    return genes, FinalRun(numbers[0], numbers[1], bool(numbers[2]))
