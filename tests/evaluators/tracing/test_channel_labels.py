"""Which channels go together: index sets worked out by hand against those that labels give."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.slicing.channel_units import UnitGroup
from evaluators.tracing.channel_labels import follow
from evaluators.tracing.layers_of_program import traced_layers
from evaluators.tracing.operators.registry import operator_of
from evaluators.tracing.program import read_program
from evaluators.tracing.unit_groups import unit_groups


class Net(nn.Module):
    """Modules by name, and a forward as a function of them."""

    def __init__(self, forward: Callable[[Net, Tensor], Tensor], **parts: object) -> None:
        super().__init__()
        self.rule = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.rule(self, x)


def groups_of(model: nn.Module, x: Tensor) -> dict[str, UnitGroup]:
    program = read_program(model.eval(), (x,))
    flow = follow(program, lambda operation: operator_of(operation.kind).channels)
    classes = flow.settle()
    layers = traced_layers(program, model)
    names = {one.operation: one.layer.name for one in layers if one.layer.is_weighted}
    return {group.name: group for group in unit_groups(flow, classes, names)[0]}


def entries(group: UnitGroup, parameter: str, axis: int) -> tuple[tuple[int, ...], ...]:
    (cut,) = [c for c in group.cuts if (c.parameter, c.axis) == (parameter, axis)]
    return cut.indices


IMAGE = torch.randn(2, 3, 6, 6)
TOKENS = torch.randn(2, 5, 8)


def test_a_flatten_repeats_each_channel() -> None:
    net = Net(lambda m, x: m.b(m.a(x).flatten(1)), a=nn.Conv2d(3, 4, 3), b=nn.Linear(64, 5))
    group = groups_of(net, IMAGE)["a"]
    assert group.units == 4
    assert entries(group, "b.weight", 1)[1] == tuple(range(16, 32))


def test_halves_of_a_chunk_go_in_pairs() -> None:
    def forward(m: Net, x: Tensor) -> Tensor:
        one, two = m.a(x).chunk(2, 1)
        return m.b(torch.cat([two, one * 2], 1)).mean((2, 3))

    group = groups_of(Net(forward, a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(8, 5, 1)), IMAGE)["a"]
    assert entries(group, "a.weight", 0) == ((0, 4), (1, 5), (2, 6), (3, 7))
    assert entries(group, "b.weight", 1) == ((0, 4), (1, 5), (2, 6), (3, 7))


def test_a_channel_shuffle_is_followed_to_its_places() -> None:
    def forward(m: Net, x: Tensor) -> Tensor:
        x = m.a(x)
        x = x.view(2, 2, 4, 6, 6).transpose(1, 2).reshape(2, 8, 6, 6)
        return m.b(x).mean((2, 3))

    group = groups_of(Net(forward, a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(8, 5, 1)), IMAGE)["a"]
    assert entries(group, "a.weight", 0) == ((0, 4), (1, 5), (2, 6), (3, 7))
    assert entries(group, "b.weight", 1) == ((0, 1), (2, 3), (4, 5), (6, 7))


def attention(heads: int, shared: int) -> Net:
    """Attention in which ``shared`` heads of the query read one of the keys and values."""

    def forward(m: Net, x: Tensor) -> Tensor:
        q = m.q(x).view(2, 5, heads, 2).transpose(1, 2)
        k, v = (
            p(x).view(2, 5, heads // shared, 2).transpose(1, 2).repeat_interleave(shared, 1)
            for p in (m.k, m.v)
        )
        scores = (q @ k.transpose(-2, -1) * 0.5 + m.bias).softmax(-1)
        y = (scores @ v).transpose(1, 2).reshape(2, 5, -1)
        return m.out(y)

    width = heads // shared * 2
    return Net(
        forward, q=nn.Linear(8, heads * 2), k=nn.Linear(8, width), v=nn.Linear(8, width),
        out=nn.Linear(heads * 2, 5), bias=nn.Parameter(torch.randn(heads, 1, 1)),
    )  # fmt: skip


def test_an_attention_head_is_one_unit() -> None:
    group = groups_of(attention(4, 1), TOKENS)["q"]
    assert group.layers == ("q", "k", "v")
    assert group.units == 4
    assert entries(group, "k.weight", 0)[1] == (2, 3)
    assert entries(group, "out.weight", 1)[3] == (6, 7)
    assert entries(group, "bias", 0) == ((0,), (1,), (2,), (3,))


def test_a_shared_key_goes_with_all_heads_that_read_it() -> None:
    group = groups_of(attention(4, 2), TOKENS)["q"]
    assert group.units == 2
    assert entries(group, "q.weight", 0)[1] == (4, 5, 6, 7)
    assert entries(group, "v.weight", 0)[1] == (2, 3)


def test_a_class_token_and_places_lose_the_width() -> None:
    def forward(m: Net, x: Tensor) -> Tensor:
        x = torch.cat([m.token.expand(2, -1, -1), m.a(x)], 1) + m.places
        return m.b(m.norm(x)[:, 0])

    net = Net(
        forward, a=nn.Linear(8, 6), b=nn.Linear(6, 3), norm=nn.LayerNorm(6),
        token=nn.Parameter(torch.randn(1, 1, 6)), places=nn.Parameter(torch.randn(1, 6, 6)),
    )  # fmt: skip
    group = groups_of(net, TOKENS)["a"]
    assert group.units == 6
    assert not group.reason
    assert entries(group, "token", 2) == entries(group, "places", 2) == entries(group, "a.bias", 0)
    assert entries(group, "norm.weight", 0)[4] == (4,)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_hidden_unit_lies_in_every_gate(bidirectional: bool) -> None:
    gru = nn.GRU(8, 4, 2, batch_first=True, bidirectional=bidirectional)
    net = Net(lambda m, x: m.b(m.gru(x)[0]), gru=gru, b=nn.Linear(8 if bidirectional else 4, 3))
    group = groups_of(net, TOKENS)["gru"]
    assert entries(group, "gru.weight_ih_l0", 0)[1] == (1, 5, 9)
    assert entries(group, "gru.weight_hh_l1", 1)[1] == (1,)
    assert entries(group, "b.weight", 1)[1] == ((1, 5) if bidirectional else (1,))


def test_conv_groups_keep_alike_and_depthwise_goes_along() -> None:
    def forward(m: Net, x: Tensor) -> Tensor:
        return m.c(m.deep(m.grouped(m.a(x)))).mean((2, 3))

    net = Net(
        forward, a=nn.Conv2d(3, 8, 1), grouped=nn.Conv2d(8, 12, 1, groups=4),
        deep=nn.Conv2d(12, 12, 3, padding=1, groups=12), c=nn.Conv2d(12, 5, 1),
    )  # fmt: skip
    found = groups_of(net, IMAGE)
    assert entries(found["a"], "a.weight", 0) == ((0, 2, 4, 6), (1, 3, 5, 7))
    assert entries(found["a"], "grouped.weight", 1) == ((0,), (1,))
    assert found["grouped"].layers == ("grouped", "deep")
    assert entries(found["grouped"], "deep.weight", 0)[2] == (2, 5, 8, 11)


def test_an_index_of_the_inputs_may_pick_tokens_but_not_channels() -> None:
    def tokens(m: Net, x: Tensor) -> Tensor:
        y = m.a(x)
        return m.b(y[torch.arange(2), y.sum(2).argmax(1)])

    def channels(m: Net, x: Tensor) -> Tensor:
        y = m.a(x)
        return m.b(y[:, :, y.sum((0, 1)).argsort()])

    parts = {"a": nn.Linear(8, 6), "b": nn.Linear(6, 3)}
    assert not groups_of(Net(tokens, **parts), TOKENS)["a"].reason
    assert "aren't followed" in groups_of(Net(channels, **parts), TOKENS)["a"].reason


@pytest.mark.parametrize(
    ("through", "reason"),
    [
        (lambda x: functional.softmax(x, 1), "softmax"),
        (lambda x: x * x.mean(1, keepdim=True), "mean"),
        (lambda x: x + torch.ones(8, 6, 6), "the network's input or a constant"),
        (lambda x: torch.cat(x.split([3, 5], 1)[::-1], 1), "parts of different sizes"),
        (lambda x: x[:, 1:7], "takes channels 1 to 7 of 8"),
        (lambda x: torch.linalg.inv(x), "channels aren't followed"),
    ],
)
def test_what_stays_whole_has_the_reason(through: Callable[[Tensor], Tensor], reason: str) -> None:
    width = 6 if "takes" in reason else 8
    net = Net(
        lambda m, x: m.b(through(m.a(x))).mean((2, 3)),
        a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(width, 2, 1),
    )  # fmt: skip
    assert reason in groups_of(net, IMAGE)["a"].reason


def test_what_leads_nowhere_holds_nothing_back() -> None:
    def forward(m: Net, x: Tensor) -> Tensor:
        y = m.a(x)
        y.softmax(1)
        return m.b(y).mean((2, 3))

    assert not groups_of(Net(forward, a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(8, 5, 1)), IMAGE)[
        "a"
    ].reason
