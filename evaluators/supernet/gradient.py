"""Starting points for a search by gradients: widths and bits that a supernet itself prefers.

Each gene has a distribution over its values. A step draws a network (Gumbel-softmax with hard
draws, Jang et al., arXiv:1611.01144), and gradients say which values lose less. They are weighed
against the costs by a price. What the costs change with one gene is exact: the cost function is
asked for each of its values, beside the values that the others have in the step's draw. In the mean
over draws that is the very gradient of the expected cost, whatever the cost is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from evaluators.process_state import process_as_found
from evaluators.pytree import call
from evaluators.scoring import DataError
from evaluators.slicing.weight_norms import copied
from evaluators.supernet.relaxed_network import RelaxedNetwork
from evaluators.supernet.targets import supernet_loss
from evaluators.supernet.weights import Supernet
from evaluators.task import Task
from evaluators.task_checks import check_data, first_batch
from hardware import CostFunction
from hardware.ir.gene_kinds import kind_of

Params = dict[str, object]

# Prices in units of what the smallest network loses for what it saves: so the points lie between
# the two ends whatever the loss and the costs are. Choices, made on digits.
_PRICES = 0.03, 20.0
# How much the mildest values are preferred at the start.
_MILD = 2.0
_NONE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How starting points are looked for.

    Attributes:
        points: how many prices are tried, from low to high; equal networks are given once.
        epochs: passes over the training data for each.
        seed: of all that is random.
        costs: metrics to be saved; each counts by its share of the largest network's.
        learning_rate: of the distributions' logits.
        temperature: of the draws.
    """

    points: int = 10
    epochs: int = 2
    seed: int = 0
    costs: tuple[str, ...] = ("size_kb", "latency_ms")
    learning_rate: float = 0.1
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for name in ("points", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("learning_rate", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be above 0")
        if not self.costs:
            raise ValueError("no cost to be saved: name one, such as size_kb")


@dataclass(frozen=True)
class Progress:
    """After a price: how many of how many, the mean loss, and the likeliest network's cost."""

    point: int
    points: int
    loss: float
    share: float


@process_as_found(threads=1)
def starting_points(
    supernet: Supernet,
    task: Task,
    costs: CostFunction,
    settings: Settings | None = None,
    *,
    report: Callable[[Progress], None] | None = None,
) -> list[Params]:
    """Chromosomes from mild to strong, one for each price at which another one is likeliest.

    Args:
        supernet: trained for the task.
        task: with training data.
        costs: of the network on a device; its network is the whole model's.
        settings: how; all defaults if None.
        report: called after each price.

    Raises:
        ValueError: the supernet is of another task, or a cost is not one of the device's.
        DataError: the data or the loss can't be used.
    """
    settings = settings or Settings()
    supernet.check_task(task)
    check_data(task)
    search = _Search(supernet, task, costs, settings)
    found: dict[tuple[object, ...], Params] = {}
    for number, price in enumerate(search.prices(), start=1):
        loss = search.train(price, number)
        params = search.likeliest()
        found.setdefault(tuple(params.values()), params)
        if report is not None:
            (share,) = search.shares([params])
            report(Progress(number, settings.points, loss, share))
    return list(found.values())


class _Search:
    """Distributions over the values of all genes, trained price after price."""

    def __init__(
        self, supernet: Supernet, task: Task, costs: CostFunction, settings: Settings
    ) -> None:
        self.task, self.costs, self.settings = task, costs, settings
        self.relaxed = RelaxedNetwork(supernet, task, costs.network)
        self.values = self.relaxed.values
        self.rest = {gene: _neutral(gene, supernet.space[gene]) for gene in supernet.choices.others}
        self.order = list(supernet.space)
        largest = {**supernet.choices.largest(), **self.rest}
        whole = costs(largest)
        unknown = [name for name in settings.costs if name not in whole]
        if unknown:
            raise ValueError(
                f"cost {unknown[0]!r} is none of {costs.device.id}'s: {', '.join(sorted(whole))}"
            )
        self.whole = [whole[name] or 1.0 for name in settings.costs]
        self.ends = largest, {**supernet.choices.smallest(), **self.rest}
        self.logits = {gene: torch.zeros(len(values)) for gene, values in self.values.items()}
        for logits in self.logits.values():
            logits[0] = _MILD
            logits.requires_grad_()
        self.optimizer = torch.optim.Adam(self.logits.values(), lr=settings.learning_rate)
        self.teacher = copied(task.model).eval()
        inputs, targets = first_batch(task.train, "train")
        with torch.no_grad():
            self.loss = supernet_loss(task, call(self.teacher, inputs), targets)

    def prices(self) -> list[float]:
        """From one at which little is saved to one at which nearly all is."""
        batch = first_batch(self.task.train, "train")
        with torch.no_grad():
            large, small = (
                float(self._lost(self.relaxed.one_hot(params), batch)) for params in self.ends
            )
        spans = self.shares(self.ends)
        unit = max(small - large, _NONE) / max(spans[0] - spans[1], _NONE)
        if not math.isfinite(unit):
            raise DataError(f"the loss of the supernet's smallest network is {small}")
        found: list[float] = (unit * np.geomspace(*_PRICES, self.settings.points)).tolist()
        return found

    def train(self, price: float, number: int) -> float:
        """Goes on with the distributions at a price; returns the mean loss of what was drawn."""
        torch.manual_seed(self.settings.seed * 1_000_003 + number)
        total, steps = 0.0, 0
        for _ in range(self.settings.epochs):
            for batch in self.task.train:
                drawn = {
                    gene: functional.gumbel_softmax(
                        logits, tau=self.settings.temperature, hard=True
                    )
                    for gene, logits in self.logits.items()
                }
                loss = self._lost(drawn, batch)
                self.optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(loss + price * self._expected_cost(drawn))
                self.optimizer.step()
                total, steps = total + float(loss.detach()), steps + 1
        if not steps:
            raise DataError("the task's 'train' split yields no batch: check its loader")
        return total / steps

    def _lost(self, choice: Mapping[str, Tensor], batch: tuple[object, object]) -> Tensor:
        inputs, targets = batch
        with torch.no_grad():
            soft = call(self.teacher, inputs)
        return self.loss(self.relaxed.run(choice, inputs), targets, soft)

    def _expected_cost(self, drawn: Mapping[str, Tensor]) -> Tensor:
        """A scalar whose gradient is, in the mean over draws, that of the expected cost."""
        base = self._params({gene: int(one.argmax()) for gene, one in drawn.items()})
        places = [(gene, value) for gene, values in self.values.items() for value in values]
        found = iter(self.shares([{**base, gene: value} for gene, value in places]))
        total = torch.zeros(())
        for gene, logits in self.logits.items():
            table = torch.tensor([next(found) for _ in self.values[gene]])
            total = total + logits.softmax(0) @ table
        return total

    def shares(self, many: Sequence[Mapping[str, object]]) -> list[float]:
        """Mean share of the largest network's costs, of each chromosome."""
        names = self.settings.costs
        return [
            sum(row[name] / whole for name, whole in zip(names, self.whole, strict=True))
            / len(names)
            for row in self.costs.batch(many)
        ]

    def likeliest(self) -> Params:
        """The most likely value of each gene, in the order of the space."""
        return self._params({gene: int(x.detach().argmax()) for gene, x in self.logits.items()})

    def _params(self, alleles: Mapping[str, int]) -> Params:
        chosen = {gene: self.values[gene][allele] for gene, allele in alleles.items()}
        return {gene: chosen.get(gene, self.rest.get(gene)) for gene in self.order}


def _neutral(gene: str, values: Sequence[object]) -> object:
    """The value that compresses nothing, of a gene that the supernet was not trained for."""
    kind = kind_of(gene)
    neutral = None if kind is None else kind.neutral
    return neutral if neutral in values else values[0]
