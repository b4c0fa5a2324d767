"""The oracle of the sweep must see a pruned network that computes something else."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from benchmarks.coverage.masked import NotFoundError, comparison, flat
from benchmarks.coverage.zoo import settle


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.b, self.head = nn.ConvTranspose2d(8, 6, 2), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.b(torch.sigmoid(self.norm(self.a(x))))
        return self.head(x.mean((2, 3)))


def cut(
    model: Net, a: list[int], norm: list[int], b_in: list[int], b_out: list[int]
) -> tuple[Net, Net]:
    """The model and a copy with these channels of `a` and of `b`."""
    small = copy.deepcopy(model)
    small.a.weight.data, small.a.bias.data = model.a.weight.data[a], model.a.bias.data[a]
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(small.norm, name).data = getattr(model.norm, name).data[norm]
    small.b.weight.data = model.b.weight.data[b_in][:, b_out]
    small.b.bias.data = model.b.bias.data[b_out]
    small.head.weight.data = model.head.weight.data[:, b_out]
    return model, small


@pytest.fixture
def net() -> Net:
    model = Net().eval()
    settle(model, torch.randn(8, 3, 8, 8))
    return model


X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
KEPT, OTHER = [0, 2, 3, 7], [0, 2, 4, 7]


def test_right_cut_is_equal_though_a_removed_channel_is_not_zero_behind_its_activation(
    net: Net,
) -> None:
    error, effect = comparison(*cut(net, KEPT, KEPT, KEPT, [1, 2, 5]), X)
    assert error < 1e-12
    assert effect > 0.01


@pytest.mark.parametrize(
    ("a", "norm", "b_in"), [(OTHER, KEPT, KEPT), (KEPT, OTHER, KEPT), (KEPT, KEPT, OTHER)]
)
def test_one_tensor_cut_at_another_index_is_seen(
    net: Net, a: list[int], norm: list[int], b_in: list[int]
) -> None:
    error, _ = comparison(*cut(net, a, norm, b_in, [1, 2, 5]), X)
    assert error > 1e-3


def test_grouped_convolution_may_lose_other_inputs_in_each_group() -> None:
    class Grouped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv1d(2, 8, 1), nn.Conv1d(8, 6, 1, groups=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x))

    model = Grouped().eval()
    x = torch.randn(2, 2, 5)
    settle(model, x)
    small = copy.deepcopy(model)
    kept = torch.tensor([0, 3, 5, 6])
    small.a.weight.data, small.a.bias.data = model.a.weight.data[kept], model.a.bias.data[kept]
    weight = model.b.weight.data
    small.b.weight.data = torch.cat([weight[:3][:, [0, 3]], weight[3:][:, [1, 2]]])
    assert comparison(model, small, x)[0] < 1e-12
    small.b.weight.data = torch.cat([weight[:3][:, [0, 3]], weight[3:][:, [0, 3]]])
    assert comparison(model, small, x)[0] > 1e-3


def test_weights_that_are_computed_at_each_call_are_compared_as_they_are_used() -> None:
    norm = nn.utils.parametrizations.weight_norm
    model = nn.Sequential(norm(nn.Conv1d(3, 8, 1)), norm(nn.Conv1d(8, 4, 1))).eval()
    x = torch.randn(2, 3, 5)
    settle(model, x)
    small = nn.Sequential(nn.Conv1d(3, 4, 1), nn.Conv1d(4, 4, 1)).eval()
    small[0].weight.data, small[0].bias.data = model[0].weight[KEPT], model[0].bias[KEPT]
    small[1].weight.data, small[1].bias.data = model[1].weight[:, KEPT], model[1].bias
    assert comparison(model, small, x)[0] < 1e-6
    small[1].weight.data = model[1].weight[:, OTHER]
    assert comparison(model, small, x)[0] > 1e-3


@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm])
def test_norm_over_channels_sees_those_that_are_left(kind: type[nn.LayerNorm]) -> None:
    model = nn.Sequential(nn.Linear(5, 8), kind(8), nn.Linear(8, 3)).eval()
    x = torch.randn(2, 7, 5)
    settle(model, x)
    small = nn.Sequential(nn.Linear(5, 4), kind(4), nn.Linear(4, 3)).eval()
    small[0].weight.data, small[0].bias.data = model[0].weight.data[KEPT], model[0].bias.data[KEPT]
    for name, parameter in small[1].named_parameters():
        parameter.data = getattr(model[1], name).data[KEPT]
    small[2].weight.data, small[2].bias.data = model[2].weight.data[:, KEPT], model[2].bias.data
    assert comparison(model, small, x)[0] < 1e-12
    small[1].weight.data = model[1].weight.data[OTHER]
    assert comparison(model, small, x)[0] > 1e-3


def test_foreign_weights_are_not_compared(net: Net) -> None:
    model, small = cut(net, KEPT, KEPT, KEPT, [1, 2, 5])
    small.head.weight.data = small.head.weight.data + 1.0
    with pytest.raises(NotFoundError, match=r"head\.weight"):
        comparison(model, small, X)


def test_all_outputs_of_a_dict_count_and_whole_numbers_do_not() -> None:
    outputs = {"a": torch.ones(2), "b": (torch.zeros(1, 2), [torch.arange(3)])}
    assert flat(outputs).tolist() == [1.0, 1.0, 0.0, 0.0]
