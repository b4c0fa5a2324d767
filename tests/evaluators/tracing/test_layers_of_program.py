"""Layers of programs: multiplications as torch counts them, and every parameter priced."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrizations
from torch.utils.flop_counter import FlopCounterMode

from evaluators.trace_error import TraceError
from evaluators.tracing.layers_of_program import check_priced, fallbacks, traced_layers, unpriced
from evaluators.tracing.program import read_program
from evaluators.tracing.traced_layer import NO_AXIS, TracedLayer, unbatched
from hardware import Layer, estimate, load_device


class Function(nn.Module):
    """Modules as attributes, and what is done with them."""

    def __init__(self, forward: Callable[..., object], **parts: object) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self._forward = forward

    def forward(self, *inputs: Tensor) -> object:
        return self._forward(self, *inputs)


def read(model: nn.Module, *inputs: Tensor) -> list[TracedLayer]:
    program = read_program(model.eval(), inputs)
    layers = traced_layers(program, model)
    check_priced(program, layers)
    return layers


def by_name(layers: list[TracedLayer]) -> dict[str, Layer]:
    return {traced.layer.name: traced.layer for traced in layers}


def macs_of(layers: list[TracedLayer]) -> int:
    return sum(traced.layer.macs for traced in layers)


def flops_of(model: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Per example; with gradients, so that torch takes no fused kernel that it can't count."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.eval()(*inputs)
    return counter.get_total_flops() // len(inputs[0])


def spotter() -> nn.Module:
    """A keyword spotter as in S1: a convolution and a recurrent layer."""
    return Function(
        lambda m, x: m.out(m.gru(functional.relu(m.norm(m.conv(x))).transpose(1, 2))[0][:, -1]),
        conv=nn.Conv1d(10, 16, 3, stride=2, padding=1), norm=nn.BatchNorm1d(16),
        gru=nn.GRU(16, 24, num_layers=2, bidirectional=True, batch_first=True),
        out=nn.Linear(48, 12),
    )  # fmt: skip


def attention(fused: bool) -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> object:
        q, k, v = m.qkv(x).view(x.shape[0], -1, 3, 2, 16).permute(2, 0, 3, 1, 4)
        if fused:
            y = functional.scaled_dot_product_attention(q, k, v)
        else:
            y = (q @ k.transpose(-1, -2)).softmax(-1) @ v
        return m.out(y.transpose(1, 2).flatten(2))

    return Function(forward, qkv=nn.Linear(32, 96), out=nn.Linear(32, 32))


IMAGE, TOKENS = torch.rand(2, 4, 9, 9), torch.rand(2, 16, 32)
STRUCTURES = {
    "gru": (spotter(), torch.rand(2, 10, 16)),
    "lstm": (
        Function(lambda m, x: m.r(x)[0], r=nn.LSTM(8, 12, 2, batch_first=True, proj_size=5)),
        torch.rand(2, 20, 8),
    ),
    "rnn": (
        Function(lambda m, x: m.r(x)[1], r=nn.RNN(8, 12, batch_first=True)), torch.rand(2, 7, 8),
    ),
    "attention of T=256": (attention(fused=True), torch.rand(2, 256, 32)),
    "attention by products": (attention(fused=False), torch.rand(2, 256, 32)),
    "MultiheadAttention": (
        Function(lambda m, x: m.a(x, x, x)[0], a=nn.MultiheadAttention(32, 4, batch_first=True)),
        TOKENS,
    ),
    "TransformerEncoderLayer": (
        nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True), TOKENS,
    ),
    "grouped and depthwise": (
        nn.Sequential(
            nn.Conv2d(4, 8, 3, groups=2, stride=2), nn.Conv2d(8, 8, 3, groups=8, dilation=2,
                                                              padding="same"),
        ), IMAGE,
    ),
    "transposed": (
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), IMAGE,
    ),
    "conv3d": (nn.Conv3d(1, 4, 3, padding=1), torch.rand(2, 1, 5, 6, 7)),
    "circular": (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), IMAGE),
    "parameter": (
        Function(lambda m, x: functional.linear(x, m.w), w=nn.Parameter(torch.rand(5, 32))), TOKENS,
    ),
    "parameter on the left": (
        Function(lambda m, x: m.w @ x, w=nn.Parameter(torch.rand(5, 16))), TOKENS,
    ),
    "addmm": (
        Function(lambda m, x: torch.addmm(m.b, x.view(-1, 32), m.w).view(2, 16, 5),
                 w=nn.Parameter(torch.rand(32, 5)), b=nn.Parameter(torch.rand(5))),
        TOKENS,
    ),
    "einsum": (
        Function(lambda m, x: torch.einsum("bte,bse->bts", m.q(x), m.k(x)),
                 q=nn.Linear(32, 8), k=nn.Linear(32, 8)),
        TOKENS,
    ),
    "weight norm": (parametrizations.weight_norm(nn.Conv2d(4, 6, 3)), IMAGE),
}  # fmt: skip


@pytest.mark.parametrize("name", STRUCTURES)
def test_multiplications_are_those_that_torch_counts(name: str) -> None:
    model, inputs = STRUCTURES[name]
    layers = read(model, inputs)
    assert 2 * macs_of(layers) == flops_of(model, (inputs,)) > 0
    costs = estimate([t.layer for t in layers], load_device("stm32h7a3"))
    numbers = sum(p.numel() for p in model.parameters())
    assert costs.size_kb > numbers / 1024
    assert costs.latency_ms > 0


def test_attention_holds_its_scores_as_the_written_out_one_does() -> None:
    device = load_device("stm32h7a3")
    fused, written = (
        estimate([t.layer for t in read(attention(f), torch.rand(2, 256, 32))], device)
        for f in (True, False)
    )
    assert fused.macs == written.macs == 2 * 2 * 256 * 256 * 16 + 256 * 32 * (96 + 32)
    assert fused.ram_kb == written.ram_kb > 2 * 2 * 256 * 256 / 1024


def test_shapes_name_axes_of_the_values() -> None:
    for model, inputs in STRUCTURES.values():
        for traced in read(model, inputs):
            parts = (
                (traced.layer.in_shape, traced.in_axes, traced.source),
                (traced.layer.out_shape, traced.out_axes, traced.target),
            )
            for shape, axes, value in parts:
                assert len(shape) == len(axes)
                for size, axis in zip(shape, axes, strict=True):
                    assert axis == NO_AXIS or value.shape[axis] in (size, 2 * size)


def test_batch_norms_fold_only_behind_the_layer_that_they_alone_read() -> None:
    before = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 1, bias=False))
    layers = by_name(read(before, IMAGE))
    assert (layers["0"].op, layers["0"].params, layers["2"].bias) == ("affine", 16, False)
    behind = nn.Sequential(nn.Conv2d(4, 6, 1, bias=False), nn.Dropout(), nn.BatchNorm2d(6))
    layers = by_name(read(behind, IMAGE))
    assert list(layers) == ["0"]
    assert layers["0"].bias
    twice = Function(
        lambda m, x: (y := m.conv(x)) + m.norm(y),
        conv=nn.Conv2d(4, 6, 1, bias=False), norm=nn.BatchNorm2d(6),
    )  # fmt: skip
    layers = by_name(read(twice, IMAGE))
    assert [x.op for x in layers.values()] == ["conv", "affine", "add"]
    assert not layers["conv"].bias


def test_zero_padding_belongs_to_the_convolutions_that_alone_read_it() -> None:
    folded = Function(lambda m, x: m.conv(functional.pad(x, (1, 2, 0, 1))), conv=nn.Conv2d(4, 6, 3))
    layers = by_name(read(folded, IMAGE))
    assert list(layers) == ["conv"]
    assert layers["conv"].padding == (0, 1, 1, 2)
    assert layers["conv"].in_shape == (4, 9, 9)
    kept = Function(
        lambda m, x: m.conv(functional.pad(x, (1, 1, 1, 1), mode="reflect")),
        conv=nn.Conv2d(4, 6, 3),
    )
    assert list(by_name(read(kept, IMAGE))) == ["pad", "conv"]


def test_names_are_those_of_modules_and_of_torch_fx() -> None:
    def forward(m: nn.Module, x: Tensor) -> object:
        y = m.conv(m.conv(x)) + x
        y = m.act(y[:, 1:3, ::2, None] + 1)
        return functional.interpolate(y[:, :, :, 0], scale_factor=2).sigmoid() + 0.5

    model = Function(forward, conv=nn.Conv2d(4, 4, 3, padding=1), act=nn.ReLU())
    layers = by_name(read(model, IMAGE))
    assert list(layers) == [
        "conv", "conv@2", "add", "getitem", "add_1", "act", "getitem_1", "interpolate", "sigmoid",
        "add_2",
    ]  # fmt: skip
    assert layers["conv@2"].module == "conv"
    assert layers["getitem"].op == "slice"
    assert layers["getitem"].in_shape == (4, 9, 9)
    assert layers["getitem"].out_shape == (2, 5, 1, 9)


def test_a_module_with_several_names_is_one_layer() -> None:
    """A recurrent cell that all blocks hold, each under a name of its own."""
    cell = nn.Conv2d(4, 4, 1)
    blocks = [
        Function(lambda m, x: m.cell(m.own(x)), own=nn.Conv2d(4, 4, 1), cell=cell) for _ in "ab"
    ]
    layers = by_name(read(nn.Sequential(*blocks), IMAGE))
    assert [x.module for x in layers.values()] == ["0.own", "0.cell", "1.own", "0.cell"]


def test_constants_are_priced_where_they_are_read_once() -> None:
    def forward(m: nn.Module, x: Tensor) -> object:
        tokens = (
            torch.cat([m.token.expand(x.shape[0], -1, -1), x], 1) + m.table[:, : x.shape[1] + 1]
        )
        return m.norm(m.slopes(tokens)) * m.gain + m.shift[m.places], m.gain * tokens

    model = Function(
        forward, token=nn.Parameter(torch.rand(1, 1, 32)),
        table=nn.Parameter(torch.rand(1, 50, 32)), norm=nn.LayerNorm(32), slopes=nn.PReLU(17),
        gain=nn.Parameter(torch.rand(32)),
        shift=nn.Parameter(torch.rand(5, 32)), never=nn.Linear(3, 3),
    )  # fmt: skip
    model.register_buffer("places", torch.arange(17) % 5)
    layers = by_name(read(model, TOKENS))
    counted = {name: layer.params for name, layer in layers.items() if layer.params}
    # The table whole, though only a part of it is read; a gather by a constant is worked out.
    assert counted == {
        "cat": 32, "add": 50 * 32, "slopes": 17, "norm": 64, "mul": 32, "add_1": 17 * 32,
    }  # fmt: skip
    costs = estimate(tuple(layers.values()), load_device("stm32h7a3"))
    assert costs.size_kb * 1024 == 4 * sum(counted.values())


def test_weights_that_are_worked_out_are_stored_once() -> None:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        weight = m.weight - m.weight.mean((1, 2, 3), keepdim=True)
        return functional.conv2d(x, weight / weight.std() * m.gain, m.bias)

    model = Function(
        forward, weight=nn.Parameter(torch.rand(6, 4, 3, 3)), bias=nn.Parameter(torch.rand(6)),
        gain=nn.Parameter(torch.rand(6, 1, 1, 1)),
    )  # fmt: skip
    layers = by_name(read(model, IMAGE))
    assert [(x.op, x.params) for x in layers.values()] == [("fixed_conv", 6 * 4 * 9 + 6 + 6)]


def test_what_no_layer_counts_is_named() -> None:
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.PReLU(6)).eval()
    model.register_parameter("spare", nn.Parameter(torch.rand(3)))
    program = read_program(model, (IMAGE,))
    layers = traced_layers(program, model)
    assert unpriced(program, layers) == {"spare": "not used"}
    check_priced(program, layers)
    with pytest.raises(TraceError, match=r"2\.weight"):
        check_priced(program, layers[:-1])


def test_only_what_leads_to_an_output_counts() -> None:
    model = Function(
        lambda m, x: m.attention(x, x, x, need_weights=True)[0],
        attention=nn.MultiheadAttention(32, 4, batch_first=True),
    )  # fmt: skip
    assert not any(t.operation.kind == "mean" for t in read(model, TOKENS))


def test_an_operator_without_an_entry_is_priced_by_its_elements_and_marked() -> None:
    layers = read(Function(lambda m, x: torch.special.bessel_j0(x) + 1), IMAGE)
    assert fallbacks(layers) == {"special_bessel_j0": "special_bessel_j0"}
    opaque, added = (t.layer for t in layers)
    assert opaque.op == "opaque"
    device = load_device("stm32h7a3")
    assert estimate([opaque], device).latency_ms > estimate([added], device).latency_ms > 0


def test_weights_that_no_quantizer_reaches_are_fixed_numbers() -> None:
    model = Function(
        lambda m, x: m.attention(x, x, x)[0] + functional.linear(m.linear(x), m.w),
        attention=nn.MultiheadAttention(32, 4, batch_first=True), linear=nn.Linear(32, 8),
        w=nn.Parameter(torch.rand(32, 8)),
    )  # fmt: skip
    layers = read(model, TOKENS)
    fixed = [t.layer for t in layers if t.layer.op == "fixed_linear"]
    assert [x.params for x in fixed] == [3 * 32 * 33, 32 * 33, 32 * 8]
    assert not any(x.is_weighted for x in fixed)
    assert [t.weight for t in layers if t.layer.is_weighted] == ["linear.weight"]


@pytest.mark.parametrize(
    ("shape", "batch", "expected"),
    [
        ((2, 3, 8), 2, ((3, 8), (1, 2))),
        ((6, 4, 8), 2, ((3, 4, 8), (0, 1, 2))),
        ((7, 2, 8), 2, ((7, 8), (0, 2))),
        ((7, 3), 2, ((7, 3), (0, 1))),
        ((2,), 2, ((1,), (NO_AXIS,))),
        ((1, 4), 1, ((4,), (1,))),
    ],
)
def test_the_part_of_one_example(shape, batch, expected) -> None:
    assert unbatched(shape, batch) == expected
