"""PLiNIO's differentiable search of bits and channels on a task of ours, through its own interface.

Mixed-precision search (MPS; Motetti et al., arXiv:2407.01054, and Jahier Pagliari et al.,
arXiv:2307.09488), as PLiNIO's notes on it say: the task's loss plus a strength times the bits of
the weights. Ranges of activations are calibrated by PLiNIO's function before, bits that a layer has
to share with another only if they prune, softmax annealed by ``exp(-0.045)`` each epoch. Its
examples are of one precision or of pruning, so the rates are those of the pruning example: Adam,
1e-3 for weights with a decay of 1e-4. The choices have 1e-2: with the example's 5e-4 they would
not move far enough in so few steps. The fine-tuning is by Adam too, with a cosine to zero, and the
epoch with the least loss on ``val`` is kept, as in the examples.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.batches import ArrayBatches
from evaluators.process_state import process_as_found
from evaluators.task import Task
from evaluators.training import accuracy, annealing, length, predict, train_epoch

BITS = (2, 4, 8)
COOLING = 0.045


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How PLiNIO is run.

    Attributes:
        epochs: of the search, and of the fine-tuning.
        per_channel: whether each channel has bits of its own, none among them.
        seed: of all that is random.
        rate: Adam's for weights.
        choice_rate: Adam's for the choices of bits.
        decay: of weights.
    """

    epochs: int = 30
    per_channel: bool = False
    seed: int = 0
    rate: float = 1e-3
    choice_rate: float = 1e-2
    decay: float = 1e-4


@dataclass(frozen=True)
class Found:
    """A point: bits of each channel by module, and the network at its best epoch and at the last.

    Attributes:
        bits: 0 for a channel that is gone.
        best: with the least loss on ``val``.
        last: after all epochs.
        val: accuracy of ``best``.
        val_last: accuracy of ``last``.
    """

    bits: dict[str, Sequence[int]]
    best: nn.Module
    last: nn.Module
    val: float
    val_last: float


class Rival:
    """PLiNIO on one task.

    Args:
        task: an image task with its arrays in memory.
        settings: how it is run.
    """

    def __init__(self, task: Task, settings: Settings) -> None:
        self.task, self.settings = task, settings
        self.mps: Any = import_module("plinio.methods.mps")

    @process_as_found(threads=1)
    def point(self, strength: float) -> Found:
        """Searches with one strength of the regularization, and fine-tunes what is found."""
        torch.manual_seed(self.settings.seed)
        net = self._search(strength)
        bits = self._bits(net)
        if self.settings.per_channel:
            # PLiNIO's export fails for these; fixing the choices is its other way.
            net.update_softmax_options(hard=True, disable_sampling=True)
            tuned = net
        else:
            tuned = net.export()
        return self._tune(tuned, bits)

    def _network(self) -> Any:
        """The task's model with all choices, calibrated."""
        graph: Any = import_module("plinio.methods.mps.graph")
        quantizers: Any = import_module("plinio.methods.mps.quant.quantizers")
        cost: Any = import_module("plinio.cost")
        channel = self.settings.per_channel
        info = self.mps.get_default_qinfo(
            w_precision=(0, *BITS) if channel else BITS, a_precision=(8,)
        )
        info["input_default"]["quantizer"] = quantizers.PACTActSigned
        info["input_default"]["kwargs"] = {"init_clip_val_inf": -1, "init_clip_val_sup": 1}
        model, example = copy.deepcopy(self.task.model), self.task.example_input[:1]
        kind = self.mps.MPSType.PER_CHANNEL if channel else self.mps.MPSType.PER_LAYER
        train: Any = self.task.train
        plain = ArrayBatches(train.inputs, train.targets, batch_size=train.batch_size)
        info = graph.set_pact_clip_values(
            model, example, info, plain, w_search_type=kind, disable_shared_quantizers=not channel
        )
        return self.mps.MPS(
            model, cost=cost.params_bit, input_example=example, w_search_type=kind, qinfo=info,
            disable_shared_quantizers=not channel,
        )  # fmt: skip

    def _search(self, strength: float) -> Any:
        chosen, net = self.settings, self._network()
        optimizer = torch.optim.Adam(
            [
                {"params": _weights(net), "lr": chosen.rate, "weight_decay": chosen.decay},
                {"params": _choices(net), "lr": chosen.choice_rate},
            ]
        )

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            whole: Tensor = self.task.loss(outputs, targets) + strength * net.cost
            return whole

        for epoch in range(chosen.epochs):
            net.update_softmax_options(temperature=math.exp(-COOLING * epoch))
            train_epoch(net, self.task.train, loss, optimizer)
        net.eval()
        with torch.no_grad():
            net(self.task.example_input)  # samples the choices as `eval` does: the likeliest
        return net

    def _tune(self, model: Any, bits: dict[str, Sequence[int]]) -> Found:
        chosen, task = self.settings, self.task
        optimizer = torch.optim.Adam(_weights(model), lr=chosen.rate, weight_decay=chosen.decay)
        schedule = annealing("cosine", optimizer, chosen.epochs * length(task.train))
        best, least, val = copy.deepcopy(model.state_dict()), math.inf, 0.0
        value = 0.0
        for _ in range(chosen.epochs):
            train_epoch(model, task.train, task.loss, optimizer, after_step=[schedule])
            outputs, targets = predict(model, task.val)
            loss, value = float(task.loss(outputs, targets)), accuracy(outputs, targets)
            if loss < least:
                best, least, val = copy.deepcopy(model.state_dict()), loss, value
        last = copy.deepcopy(model)
        model.load_state_dict(best)
        return Found(bits, model.eval(), last.eval(), val, value)

    def _bits(self, net: Any) -> dict[str, Sequence[int]]:
        found: dict[str, Sequence[int]] = {}
        for name, layer in net.summary().items():
            bits = layer.get("w_precision")
            if bits is not None:
                count = net.seed.get_submodule(name).weight.shape[0]
                found[name] = bits if isinstance(bits, list) else [bits] * count
        return found


def _weights(net: nn.Module) -> list[nn.Parameter]:
    return [p for name, p in net.named_parameters() if not name.endswith("alpha")]


def _choices(net: nn.Module) -> list[nn.Parameter]:
    return [p for name, p in net.named_parameters() if name.endswith("alpha")]
