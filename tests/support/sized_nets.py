"""Networks that keep sizes of their own, with the groups of units that they have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, weight_norm

from evaluators.slicing.plain_modules import make_plain
from support.hand_units import group, layer, makes, norm, reads, rows


@dataclass
class Settings:
    heads: int = 4
    width: int = 32


class Attention(nn.Module):
    """As in BERT: heads and their sum of widths are attributes, three layers for q, k and v."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.num_heads, self.head_size, self.all_size = heads, width // heads, width
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.num_heads, self.head_size).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        weights = (q @ k.transpose(-1, -2) / self.head_size**0.5).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(*x.shape[:2], self.all_size))


class Fused(nn.Module):
    """As in timm: one layer for q, k and v, the number of heads in a config object."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.qkv, self.proj = nn.Linear(settings.width, 3 * settings.width), nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.settings.heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(b, t, -1))


class Blocks(nn.Module):
    """Both attentions, a feed-forward layer, norms over a residual stream."""

    def __init__(self) -> None:
        super().__init__()
        settings = Settings()
        self.embed = nn.Linear(6, 32)
        self.a, self.b, self.c = Attention(), Fused(settings), Fused(settings)
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in range(5))
        self.up, self.down, self.head = nn.Linear(32, 48), nn.Linear(48, 32), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for norm_, block in zip(self.norms, (self.a, self.b, self.c), strict=False):
            x = x + block(norm_(x))
        x = x + self.down(functional.gelu(self.up(self.norms[3](x))))
        return self.head(self.norms[4](x)[:, 0])


def blocks():
    heads, units, wide = rows(4, 8), rows(32), rows(48)
    fused = rows(4, 8, parts=3, apart=32)
    inputs = ["a.q.weight", "a.k.weight", "a.v.weight", "b.qkv.weight", "c.qkv.weight"]
    norms = [cut for i in range(5) for cut in layer(f"norms.{i}", units)]
    sums = [cut for name in ("a.out", "b.proj", "c.proj", "down") for cut in layer(name, units)]
    return Blocks(), (torch.randn(3, 7, 6),), [
        group("a.q", [*layer("a.q", heads), *layer("a.k", heads), *layer("a.v", heads),
                      *reads(heads, "a.out.weight")], layers=("a.q", "a.k", "a.v")),
        group("b.qkv", [*layer("b.qkv", fused), *reads(heads, "b.proj.weight")]),
        group("c.qkv", [*layer("c.qkv", fused), *reads(heads, "c.proj.weight")]),
        group("up", [*layer("up", wide), *reads(wide, "down.weight")]),
        group("embed", [*layer("embed", units), *sums, *norms,
                        *reads(units, *inputs, "up.weight", "head.weight")],
              layers=("embed", "a.out", "b.proj", "c.proj", "down")),
    ]  # fmt: skip


class Torch(nn.Module):
    """Torch's own attention: alone, with other widths for keys, and inside of an encoder layer."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.one = nn.MultiheadAttention(24, 3, batch_first=batch_first)
        self.two = nn.MultiheadAttention(
            24, 3, kdim=10, vdim=6, batch_first=batch_first, add_bias_kv=True, add_zero_attn=True
        )
        self.layer = nn.TransformerEncoderLayer(24, 3, 40, batch_first=batch_first)

    def forward(self, x: Tensor, k: Tensor, v: Tensor) -> Tensor:
        y, _ = self.one(x, x, x)
        z, _ = self.two(y, k, v, need_weights=False)
        mask = nn.Transformer.generate_square_subsequent_mask(5)
        return self.layer(z, src_mask=mask)


def torch_attention(batch_first: bool = True):
    heads, hidden = rows(3, 8), rows(40)

    def own(name: str, *more):
        cuts = [cut for part in "qkv" for cut in layer(f"{name}.{part}_proj", heads)]
        return group(name, [*cuts, *more, *reads(heads, f"{name}.out_proj.weight")])

    two = own("two", *makes(heads, "two.bias_k", "two.bias_v", axis=2))
    wide = [*layer("layer.linear1", hidden), *reads(hidden, "layer.linear2.weight")]
    shape = (2, 5) if batch_first else (5, 2)
    inputs = tuple(torch.randn(*shape, n) for n in (24, 10, 6))
    return make_plain(Torch(batch_first)), inputs, [
        own("one"), two, own("layer.self_attn"), group("layer.linear1", wide)
    ]  # fmt: skip


class Recurrent(nn.Module):
    """Recurrent layers of two layers and both directions, and one with a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 8, num_layers=2, bidirectional=True, batch_first=True)
        self.lstm = nn.LSTM(16, 10, batch_first=True)
        self.proj = nn.LSTM(10, 12, proj_size=6, batch_first=True)
        self.rnn, self.fc = nn.RNN(6, 7, batch_first=True), nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.gru(x)
        x, _ = self.lstm(x)
        x, _ = self.proj(x)
        x, state = self.rnn(x)
        return self.fc(x[:, -1] + state[-1])


def recurrent():
    def gates(name: str, size: int, count: int, suffixes) -> list:
        units = rows(size, parts=count, apart=size)
        names = [f"{name}.{n}_{s}" for s in suffixes for n in ("weight_ih", "weight_hh")]
        biases = [n.replace("weight", "bias") for n in names]
        return makes(units, *names, *biases)

    both = ("l0", "l0_reverse", "l1", "l1_reverse")
    states = [f"gru.weight_hh_{s}" for s in both]
    two = rows(8, parts=2, apart=8)
    return Recurrent(), (torch.randn(3, 6, 5),), [
        group("gru", [*gates("gru", 8, 3, both), *reads(rows(8), *states),
                      *reads(two, "gru.weight_ih_l1", "gru.weight_ih_l1_reverse"),
                      *reads(two, "lstm.weight_ih_l0")]),
        group("lstm", [*gates("lstm", 10, 4, ("l0",)),
                       *reads(rows(10), "lstm.weight_hh_l0", "proj.weight_ih_l0")]),
        group("proj", [*makes(rows(6), "proj.weight_hr_l0"),
                       *reads(rows(6), "proj.weight_hh_l0", "rnn.weight_ih_l0")]),
        group("rnn", [*gates("rnn", 7, 1, ("l0",)),
                      *reads(rows(7), "rnn.weight_hh_l0", "fc.weight")]),
    ]  # fmt: skip


class Shuffled(nn.Module):
    """Chunk, split by a tuple of sizes, weight norms, group norm, grouped convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.sizes = 8, (12, 4)
        self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), weight_norm(nn.Conv2d(8, 8, 1))
        self.mix = parametrizations.weight_norm(nn.Conv2d(16, 16, 1))
        self.gn, self.part = nn.GroupNorm(4, 16), nn.Conv2d(4, 4, 1)
        self.grouped = nn.Conv2d(16, 24, 3, groups=4, padding=1)
        self.up = nn.ConvTranspose2d(24, 12, 2, 2, groups=3)
        self.norm, self.depth = nn.BatchNorm2d(12), nn.Conv2d(12, 24, 3, groups=12)
        self.spectral = parametrizations.spectral_norm(nn.Linear(24, 6))
        self.fc, self.gain = nn.Linear(6, 4), nn.Parameter(torch.rand(12, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.a(x).chunk(2, 1)
        x = self.mix(torch.cat([left * right, self.b(right)], 1))
        one, two = self.gn(x).split(self.sizes, 1)
        x = self.grouped(torch.cat([one, self.part(two)], 1).relu())
        x = self.depth(self.norm(self.up(x)) * self.gain)
        return self.fc(self.spectral(x.mean((2, 3)).sigmoid()))


def shuffled():
    pair, up, deep = rows(8, parts=2, apart=8), rows(12), rows(12, 2)
    eight, last = rows(8), rows(6)
    return Shuffled(), (torch.randn(2, 3, 6, 6),), [
        group("a", [*layer("a", pair), *reads(eight, "b.weight_v"),
                    *reads(eight, "mix.parametrizations.weight.original1")]),
        group("b", [*makes(eight, "b.weight_v", "b.weight_g", "b.bias"),
                    *reads(rows(8, start=8), "mix.parametrizations.weight.original1")]),
        group("grouped", [*layer("grouped", rows(24)), *reads(rows(24), "up.weight", axis=0)],
              step=12),
        group("up", [*makes(up, "up.weight", axis=1), *makes(up, "up.bias", "gain"),
                     *norm("norm", up), *makes(deep, "depth.weight", "depth.bias"),
                     *reads(deep, "spectral.parametrizations.weight.original")], step=3),
        group("spectral", [*makes(last, "spectral.parametrizations.weight.original"),
                           *makes(last, "spectral.bias", "spectral.parametrizations.weight.0._u"),
                           *reads(last, "fc.weight")]),
    ]  # fmt: skip


class Written(nn.Module):
    """A size as a number in the code, and a reduction over channels without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 10, 1), nn.Conv2d(10, 6, 1)
        self.d, self.fc = nn.Conv2d(6, 9, 1), nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        x = self.b(x.reshape(-1, 8, 16).reshape(-1, 8, 4, 4))
        x = self.c(x).sigmoid()
        x = self.d(x * x.mean(1, keepdim=True))
        return self.fc(x.mean((2, 3)))


def written():
    return Written(), (torch.randn(2, 3, 4, 4),), [
        group("a", [*layer("a", rows(8)), *reads(rows(8), "b.weight")]),
        group("b", [*layer("b", rows(10)), *reads(rows(10), "c.weight")]),
        group("c", [*layer("c", rows(6)), *reads(rows(6), "d.weight")]),
        group("d", [*layer("d", rows(9)), *reads(rows(9), "fc.weight")]),
    ]  # fmt: skip


class Tied(nn.Module):
    """A language model whose embedding is its output layer too, with a norm of its own kind."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 16), nn.Linear(16, 20, bias=False)
        self.head.weight = self.embed.weight
        self.place = nn.Parameter(torch.randn(1, 6, 16))
        self.norm = RMSNorm(16)
        self.up, self.down = nn.Linear(16, 24), nn.Linear(24, 16)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) + self.place[:, : ids.shape[1]]
        return self.head(x + self.down(self.up(self.norm(x)).relu()))


class RMSNorm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(size))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def tied():
    units, wide = rows(16), rows(24)
    cuts = [
        *makes(units, "embed.weight", axis=1), *makes(units, "place", axis=2),
        *makes(units, "norm.weight"), *layer("down", units), *reads(units, "up.weight"),
    ]  # fmt: skip
    return Tied(), (torch.randint(0, 20, (2, 6)),), [
        group("embed", cuts, layers=("embed", "down")),
        group("up", [*layer("up", wide), *reads(wide, "down.weight")]),
    ]  # fmt: skip


SIZED = {
    "blocks": blocks,
    "torch_attention": torch_attention,
    "recurrent": recurrent,
    "shuffled": shuffled,
    "tied": tied,
}
