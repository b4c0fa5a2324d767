"""Layers that hold their weights in another way compute the same as plain ones."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from evaluators import Task, evaluate, trace
from evaluators.compression.dead_channels import find
from evaluators.slicing.plain_modules import make_plain
from evaluators.tracing.trace import network_of
from hardware import cost_function, load_device


class Conv1D(nn.Module):
    """As in transformers.pytorch_utils, which GPT-2 is made of."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.randn(nf))

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.size()[:-1], self.nf)
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(shape)


def test_a_transposed_linear_layer_becomes_a_linear_one() -> None:
    torch.manual_seed(0)
    shared = Conv1D(6, 6)
    model = nn.Sequential(Conv1D(6, 4), nn.ReLU(), shared, shared, Conv1D(3, 6)).eval()
    x = torch.randn(2, 5, 4)
    with torch.no_grad():
        before = model(x)
        plain = make_plain(model)
        assert torch.allclose(plain(x), before, atol=1e-6)
    assert [type(m) for m in plain] == [nn.Linear, nn.ReLU, nn.Linear, nn.Linear, nn.Linear]
    assert plain[2] is plain[3]


def test_its_channels_can_go_and_it_has_bits() -> None:
    network = network_of(nn.Sequential(Conv1D(6, 4), nn.ReLU(), Conv1D(3, 6)), (torch.randn(2, 4),))
    assert network.gene_layers == ("0", "2")
    assert network.group("0").prunable


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("extra", [{}, {"add_bias_kv": True}, {"add_zero_attn": True}])
def test_attention_made_of_linear_layers_answers_as_torchs(
    batch_first: bool, extra: dict[str, bool]
) -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=batch_first, **extra).eval()
    x = torch.randn(3, 5, 8)
    padding = torch.zeros(3 if batch_first else 5, 5 if batch_first else 3, dtype=torch.bool)
    padding[1, -1] = True
    with torch.no_grad():
        want, weights = attention(x, x, x, key_padding_mask=padding)
        got, same = make_plain(copy.deepcopy(attention))(x, x, x, key_padding_mask=padding)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(same, weights)


def test_attention_of_torch_goes_through_a_whole_trial() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 8), nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), nn.Linear(8, 2)
    )
    x, y = torch.randn(8, 5, 3), torch.randn(8, 5, 2)
    task = Task(
        model=model, train=[(x, y)], val=[(x, y)], test=[(x, y)], example_input=x[:2],
        loss=nn.functional.mse_loss, metric=lambda o, t: float((o - t).std()),
        metric_name="error", metric_mode="min",
    )  # fmt: skip
    network = trace(task)
    heads = "1.self_attn.q_proj"
    assert heads in network.gene_layers
    params = {f"{heads}.w_bits": 4, "1.linear1.prune": 0.5}
    result = evaluate(task, params, device="stm32h7a3", network=network, epochs=0)
    costs = cost_function(network, load_device("stm32h7a3"))(params)
    assert {name: result.metrics[name] for name in costs} == costs
    assert find(task, network).count == 0
