"""A relaxed network at its corners is the network of the search space, for any traced model."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from evaluators import Task, trace
from evaluators.compression.decisions import read_candidate
from evaluators.compression.fake_quantize import FLOAT_BITS
from evaluators.compression.pruning import plan_of
from evaluators.compression.submodules import BATCH_NORMS
from evaluators.pytree import tensors
from evaluators.supernet.choices import Choices
from evaluators.supernet.relaxed_network import RelaxedNetwork
from evaluators.supernet.slices import Slice, rounded_parameters
from evaluators.supernet.training import Settings, train_supernet
from evaluators.supernet.weights import Supernet, module_names, removed_units
from hardware import Network
from support.tasks import small_space, zoo_task

# One for each way in which units go: skips, grouped weights, concatenations, gates, several inputs.
NETWORKS = ("residual", "depthwise", "grouped", "concat", "squeeze_linear", "two_inputs", "shared")


def space_of(network: Network) -> dict[str, list[Any]]:
    return small_space(network, (2, 4), (FLOAT_BITS,))


def sliced(supernet: Supernet, task: Task, network: Network, params: Any) -> list[torch.Tensor]:
    """What the part of the supernet answers that a trial would take."""
    plan = plan_of(task.model, task.inputs, network, task)
    model = supernet.model(task)
    weights = rounded_parameters(model, module_names(network))
    candidate = read_candidate(network, params)
    part = Slice(model, plan, removed_units(network, plan, candidate.kept), weights)
    part.shell.eval()
    for module in part.shell.modules():
        if isinstance(module, BATCH_NORMS):
            module.train()
    state = dict(model.named_parameters())
    with torch.no_grad():
        return tensors(part.run(state, supernet.levels, candidate.bits, task.example_input))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_corner_is_the_network_that_a_trial_cuts_out(name: str) -> None:
    task = zoo_task(name)
    network = trace(task)
    supernet = train_supernet(task, network, space_of(network), Settings(epochs=1))
    relaxed = RelaxedNetwork(supernet, task, network)
    rng = random.Random(1)
    choices = Choices.of(supernet.space)
    mixed = {**choices.widths(rng), **choices.bits(rng)}
    for params in (choices.largest(), choices.smallest(), mixed):
        with torch.no_grad():
            found = tensors(relaxed.run(relaxed.one_hot(params), task.example_input))
        for one, other in zip(found, sliced(supernet, task, network, params), strict=True):
            scale = float(other.abs().max()) + 1e-6
            assert float((one - other).abs().max()) < 1e-4 * scale


def test_gradients_reach_every_choice() -> None:
    """Also of values that were not drawn: each may turn out better."""
    task = zoo_task("residual")
    network = trace(task)
    space = space_of(network)
    for name in network.gene_layers:
        space[f"{name}.a_bits"] = [4, 8]
    supernet = train_supernet(task, network, space, Settings(epochs=1))
    relaxed = RelaxedNetwork(supernet, task, network)
    choice = {
        gene: one.requires_grad_()
        for gene, one in relaxed.one_hot(supernet.choices.smallest()).items()
    }
    (out,) = tensors(relaxed.run(choice, task.example_input))
    torch.autograd.backward(out.square().sum())
    for gene, one in choice.items():
        assert one.grad is not None, gene
        assert (one.grad != one.grad[0]).any(), gene
    assert not any(p.requires_grad for p in relaxed.model.parameters())
