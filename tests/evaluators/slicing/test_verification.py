"""What is offered works, and what doesn't is named with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from evaluators.slicing.attribute_repair import SizeAttribute
from evaluators.slicing.channel_units import UnitGroup
from evaluators.slicing.plan import UnitPlan
from evaluators.slicing.remove_units import remove_units
from evaluators.slicing.verification import _Trial, verified_plan, verify
from evaluators.slicing.weight_norms import copied
from evaluators.tracing.trace import read_units
from support.hand_units import group, layer, makes, norm, reads, rows
from support.public_cases import ScaledMap
from support.sized_nets import SIZED, blocks, torch_attention, written


@pytest.mark.parametrize("name", sorted(SIZED))
def test_every_group_goes(name: str) -> None:
    torch.manual_seed(0)
    model, inputs, groups = SIZED[name]()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    assert verify(model, inputs, groups) == {}
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert model.training


@pytest.mark.parametrize("name", sorted(SIZED))
def test_a_wrong_index_is_noticed(name: str) -> None:
    torch.manual_seed(0)
    model, inputs, groups = SIZED[name]()
    for place, one in enumerate(groups):
        # The reader's columns of one unit are those of the next one.
        cut = next(i for i, c in enumerate(one.cuts) if not c.produces)
        indices = one.cuts[cut].indices
        moved = replace(one.cuts[cut], indices=(*indices[1:], indices[0]))
        cuts = (*one.cuts[:cut], moved, *one.cuts[cut + 1 :])
        wrong = [*groups[:place], replace(one, cuts=cuts), *groups[place + 1 :]]
        assert set(verify(model, inputs, wrong)) == {one.name}


def test_numbers_that_follow_heads() -> None:
    model, inputs, groups = blocks()
    plan = verified_plan(model, inputs, groups)
    found = {(str(a), a.group, a.per_unit) for a in plan.attributes}
    assert found == {
        ("a.num_heads", "a.q", 1), ("a.all_size", "a.q", 8),
        ("b.settings.heads", "b.qkv", 1), ("c.settings.heads", "c.qkv", 1),
    }  # fmt: skip
    thin = copied(model)
    remove_units(thin, plan.groups, {"b.qkv": [0, 2, 3]}, plan.attributes)
    # Both blocks hold one object; only one of them lost heads.
    assert (thin.b.settings.heads, thin.c.settings.heads, model.b.settings.heads) == (1, 4, 4)
    assert UnitPlan.from_json(plan.to_json()) == plan


class RootMeanSquare(nn.Module):
    """A norm that is written out, over the channels of images."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(size) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.rsqrt(x.pow(2).mean(dim=1, keepdim=True) + 1e-6)
        return x * scale * self.weight[:, None, None]


def test_a_norm_that_is_written_out_is_over_the_channels_that_are_left() -> None:
    torch.manual_seed(0)
    norm = RootMeanSquare(6)
    model = nn.Sequential(nn.Conv2d(3, 6, 1), norm, nn.Conv2d(6, 2, 1)).eval()
    x = torch.randn(2, 3, 5, 5)
    plan = read_units(model, (x,))
    assert [g.name for g in plan.groups if not g.reason] == ["0"]
    thin = copied(model)
    remove_units(thin, plan.groups, {"0": [1, 4]}, plan.attributes)
    left = [0, 2, 3, 5]
    y = model[0](x)[:, left]
    y = y * torch.rsqrt(y.pow(2).mean(1, keepdim=True) + 1e-6) * norm.weight[left, None, None]
    want = nn.functional.conv2d(y, model[2].weight[:, left], model[2].bias)
    assert torch.allclose(thin(x), want, atol=1e-5)


def test_reasons() -> None:
    model, inputs, groups = written()
    reasons = verify(model, inputs, groups)
    assert set(reasons) == {"a", "c"}
    assert "a size written as a number" in reasons["a"]
    assert "sized_nets.py" in reasons["a"]
    assert "x.reshape(-1, 8, 16)" in reasons["a"]
    assert "mixed in a way that weights don't say" in reasons["c"]


def test_weights_that_are_averaged_over_heads_are_noticed() -> None:
    class Shown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch_attention()[0]

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.inner.one(x, x, x)

    _, inputs, groups = torch_attention()
    one = groups[0]
    cuts = tuple(replace(c, parameter=f"inner.{c.parameter}") for c in one.cuts)
    assert set(verify(Shown(), inputs[:1], [replace(one, cuts=cuts)])) == {"one"}


class Wide(nn.Module):
    """The width of a head is a multiple of their number, and must stay."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim = 4, 8, 32
        self.qkv, self.proj = nn.Linear(6, 96), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        qkv = self.qkv(x).reshape(b, t, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(b, t, self.attn_dim))


def test_the_width_of_a_head_stays() -> None:
    fused = layer("qkv", rows(4, 8, parts=3, apart=32))
    groups = [group("qkv", [*fused, *reads(rows(4, 8), "proj.weight")])]
    plan = verified_plan(Wide(), (torch.randn(2, 5, 6),), groups)
    assert not plan.groups[0].reason
    assert {str(a) for a in plan.attributes} == {"num_heads", "attn_dim"}


class Parts(nn.Module):
    """Res2Net's block: parts of one width, which each go through a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 4
        self.conv1, self.conv3 = nn.Conv2d(6, 12, 1), nn.Conv2d(12, 6, 1)
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in "ab")

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = self.conv1(x).split(self.width, 1)
        return x + self.conv3(torch.cat([self.convs[0](a), self.convs[1](b), c], 1))


def test_a_number_is_taken_for_groups_alike_only(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(Parts() for _ in range(6)), nn.Conv2d(6, 2, 1)).eval()
    tried: list[int] = []
    fault = _Trial.fault

    def counted(trial: _Trial, groups: list[UnitGroup], more: Sequence[SizeAttribute] = ()) -> str:
        tried.append(len(groups))
        return fault(trial, groups, more)

    monkeypatch.setattr(_Trial, "fault", counted)
    plan = read_units(model, (torch.randn(2, 6, 5, 5),))
    assert {g.name for g in plan.groups if not g.reason} >= {"0.conv1", "5.conv1", "3.convs.0"}
    assert {str(a) for a in plan.attributes} == {f"{i}.width" for i in range(6)}
    # A search for each group would take some eighty.
    assert len(tried) < 25


class Split(nn.Module):
    """Sizes in a tuple, in a list of a dict, and in a module without weights."""

    class View(nn.Module):
        def __init__(self, *shape: int) -> None:
            super().__init__()
            self.shape = shape

        def forward(self, x: Tensor) -> Tensor:
            return x.view(len(x), *self.shape)

    def __init__(self) -> None:
        super().__init__()
        self.sizes, self.config = (12, 4), {"widths": [6, 10]}
        self.a, self.view = nn.Conv2d(3, 16, 1), Split.View(16, 5, 5)
        self.b, self.c = nn.Conv2d(12, 6, 1), nn.Conv2d(4, 10, 1)
        self.d = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.view(self.a(x)).split(self.sizes, 1)
        x = torch.cat([self.b(one), self.c(two)], 1).mean((2, 3))
        return self.d(torch.cat(x.split(self.config["widths"], 1), 1))


def test_numbers_in_tuples_lists_and_other_modules() -> None:
    long, short = rows(12), rows(4, start=12)
    groups = [
        group("a", [*layer("a", long), *reads(long, "b.weight")]),
        group("a.2", [*layer("a", short), *reads(rows(4), "c.weight")]),
        group("b", [*layer("b", rows(6)), *reads(rows(6), "d.weight")]),
        group("c", [*layer("c", rows(10)), *reads(rows(10, start=6), "d.weight")]),
    ]
    plan = verified_plan(Split(), (torch.randn(2, 3, 5, 5),), groups)
    assert [g.reason for g in plan.groups] == [""] * 4
    assert {(str(a), a.group) for a in plan.attributes} == {
        ("sizes[0]", "a"), ("view.shape[0]", "a"), ("sizes[1]", "a.2"), ("view.shape[0]", "a.2"),
        (".config.widths[0]".lstrip("."), "b"), ("config.widths[1]", "c"),
    }  # fmt: skip


def test_a_mean_over_as_many_places_as_channels_is_no_norm() -> None:
    """The model itself holds a factor for each of its 8 channels, and its maps are 8 by 8."""
    units = rows(8)
    cuts = [*layer("a.0", units, bias=False), *norm("a.1", units), *makes(units, "gain")]
    groups = [group("a.0", [*cuts, *reads(units, "b.0.weight")])]
    assert verify(ScaledMap(), (torch.randn(2, 3, 8, 8),), groups) == {}


def test_zeros_hide_nothing() -> None:
    """Gates that start at zero and inputs of zeros would make any cut look right."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    nn.init.zeros_(model[1].weight)
    wrong = group("0", [*layer("0", rows(8)), *reads(rows(8), "2.weight")])
    assert set(verify(model, (torch.zeros(2, 4),), [wrong])) == {"0"}
