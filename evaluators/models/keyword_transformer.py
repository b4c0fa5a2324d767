"""A small keyword transformer (after Berg et al., "Keyword Transformer", Interspeech 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence on itself, (N, T, dim) to (N, T, dim).

    Args:
        dim: features of a token.
        heads: of ``dim / heads`` features each.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.head_dim = dim // heads
        self.q, self.k, self.v = (nn.Linear(dim, dim) for _ in range(3))
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Scaled dot-product attention, head by head."""
        q, k, v = (
            part.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for part in (self.q(x), self.k(x), self.v(x))
        )
        mixed = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class EncoderBlock(nn.Module):
    """Attention and a feed-forward part, each with a skip and a norm behind it.

    Args:
        dim: features of a token.
        heads: of the attention.
        hidden: features within the feed-forward part.
    """

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads)
        self.norm1 = nn.LayerNorm(dim)
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, dim) to the same."""
        x = self.norm1(x + self.attention(x))
        out: Tensor = self.norm2(x + self.down(functional.gelu(self.up(x))))
        return out


class KeywordTransformer(nn.Module):
    """(N, 1, T, F) features to (N, classes): a token per frame, and a class token.

    The norms stand behind the skips, and positions are learned, as in KWT. KWT-1 has 12 blocks of
    64 features with one head and 256 hidden features; this one is for microcontrollers.

    Args:
        classes: number of outputs.
        frames: T.
        features: F, of a frame.
        dim: features of a token.
        depth: number of blocks.
        heads: of each attention.
    """

    def __init__(
        self,
        classes: int = 12,
        frames: int = 49,
        features: int = 10,
        *,
        dim: int = 32,
        depth: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(features, dim)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.position = nn.Parameter(0.02 * torch.randn(1, frames + 1, dim))
        self.blocks = nn.Sequential(*(EncoderBlock(dim, heads, 4 * dim) for _ in range(depth)))
        self.fc = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Embeds the frames, mixes them, and reads the class token."""
        x = self.embed(x.squeeze(1))
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        out: Tensor = self.fc(self.blocks(x)[:, 0])
        return out
