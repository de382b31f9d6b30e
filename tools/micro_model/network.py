"""Qwen2.5-VL for pictures of one size: the same weights under the same names, batched.

The stock implementation splits its pictures apart in Python, so that they can differ in size. Here
all are 8 x 8 patches, which one attention window covers: the window order is the identity, the
rotary angles are constants, and a batch of pictures is one tensor. `MicroModel.state_dict` has the
names of the released checkpoints, so what is trained here is what a stock server loads.
"""

# Torch is absent where types are checked.
# mypy: disable-error-code="misc, untyped-decorator"

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flagos_eval.pixels import SIDE

PATCH, MERGE, TEMPORAL = 14, 2, 2
GRID = SIDE // PATCH
TOKENS = (GRID // MERGE) ** 2
"""Tokens that a picture is to the language model."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
EPS = 1e-6


@dataclass(frozen=True)
class Shape:
    """The sizes of a model."""

    vocabulary: int
    hidden: int = 256
    intermediate: int = 512
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    mrope: tuple[int, int, int] = (8, 12, 12)
    """Halves of a head's width that turn with time, height and width."""
    rope_theta: float = 10_000.0
    vision_hidden: int = 128
    vision_intermediate: int = 384
    vision_layers: int = 4
    vision_heads: int = 4


class Packed(NamedTuple):
    """A batch of questions, padded on the right."""

    ids: Tensor
    """(rows, length)"""
    positions: Tensor
    """(3, rows, length): time, height and width of every token."""
    pixels: Tensor
    """(pictures, SIDE, SIDE / 2): two palette entries in a byte."""
    palettes: Tensor
    """(pictures, 16, 3)"""
    image_at: Tensor
    """(pictures * TOKENS): the flat places of the pictures' tokens."""
    predict_at: Tensor
    """(rows, answer): the flat places whose next token belongs to the answer."""
    targets: Tensor
    """(rows, answer): those next tokens, -100 behind the end."""

    def to(self, device: torch.device) -> Packed:
        """The same batch elsewhere."""
        return Packed(*(part.to(device, non_blocking=True) for part in self))


def patches(pixels: Tensor, palettes: Tensor) -> Tensor:
    """What the image processor makes of the pictures: (pictures, patches, values)."""
    entries = torch.stack((pixels >> 4, pixels & 15), dim=-1).flatten(1).long()
    rows = torch.arange(len(pixels), device=pixels.device)[:, None]
    rgb = palettes[rows, entries].float().unflatten(1, (SIDE, SIDE))
    mean, std = (torch.tensor(values, device=pixels.device) * 255 for values in (MEAN, STD))
    blocks = ((rgb - mean) / std).unflatten(2, (-1, MERGE, PATCH)).unflatten(1, (-1, MERGE, PATCH))
    # (picture, block row, row, y, block column, column, x, channel)
    ordered = blocks.permute(0, 1, 4, 2, 5, 7, 3, 6).unsqueeze(6)
    return ordered.expand(*(-1,) * 6, TEMPORAL, -1, -1).reshape(len(pixels), GRID**2, -1)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-high, low), dim=-1) * sin


class Norm(nn.Module):
    """RMS normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return F.rms_norm(x.float(), self.weight.shape, self.weight, EPS)


class Mlp(nn.Module):
    """A gated feed-forward layer."""

    def __init__(self, width: int, inner: int, bias: bool) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=bias)
        self.up_proj = nn.Linear(width, inner, bias=bias)
        self.down_proj = nn.Linear(inner, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class VisionAttention(nn.Module):
    """Attention among the patches of a picture."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.vision_heads
        self.qkv = nn.Linear(shape.vision_hidden, 3 * shape.vision_hidden)
        self.proj = nn.Linear(shape.vision_hidden, shape.vision_hidden)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Apply the layer."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key = (_turn(part.float(), cos, sin).to(value.dtype) for part in (query, key))
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class VisionBlock(nn.Module):
    """One layer of the vision tower."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm1, self.norm2 = Norm(shape.vision_hidden), Norm(shape.vision_hidden)
        self.attn = VisionAttention(shape)
        self.mlp = Mlp(shape.vision_hidden, shape.vision_intermediate, bias=True)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Apply the layer."""
        x = x + self.attn(self.norm1(x), cos, sin)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Merger(nn.Module):
    """Four neighbouring patches become one token."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        wide = shape.vision_hidden * MERGE**2
        self.ln_q = Norm(shape.vision_hidden)
        self.mlp = nn.Sequential(nn.Linear(wide, wide), nn.GELU(), nn.Linear(wide, shape.hidden))

    def forward(self, x: Tensor) -> Tensor:
        """Merge (pictures, patches, width)."""
        out: Tensor = self.mlp(self.ln_q(x).unflatten(1, (-1, MERGE**2)).flatten(2))
        return out


class Vision(nn.Module):
    """The vision tower."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.width = shape.vision_hidden // shape.vision_heads
        self.patch_embed = nn.Module()
        # Used as a matrix, kept in the shape in which it is stored.
        size = (shape.vision_hidden, 3, TEMPORAL, PATCH, PATCH)
        self.patch_embed.proj = nn.Module()
        self.patch_embed.proj.weight = nn.Parameter(torch.empty(size))
        self.blocks = nn.ModuleList(VisionBlock(shape) for _ in range(shape.vision_layers))
        self.merger = Merger(shape)

    def angles(self) -> Tensor:
        """The rotary angle of every patch, in the patches' order: (patches, head width)."""
        quarter = self.width // 4
        turns = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float32) / quarter)
        grid = torch.arange(GRID).unflatten(0, (-1, MERGE))
        down = grid[:, None, :, None].expand(GRID // 2, GRID // 2, 2, 2).flatten()
        right = grid[None, :, None, :].expand(GRID // 2, GRID // 2, 2, 2).flatten()
        half = torch.cat((down[:, None] * turns, right[:, None] * turns), dim=1)
        return torch.cat((half, half), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """(pictures, patches, values) -> (pictures, TOKENS, hidden)."""
        weight: Tensor = self.patch_embed.proj.weight
        angles = self.angles().to(x.device)
        cos, sin = angles.cos(), angles.sin()
        x = F.linear(x, weight.flatten(1)).float()
        for block in self.blocks:
            x = block(x, cos, sin)
        out: Tensor = self.merger(x)
        return out


class Attention(nn.Module):
    """Causal attention with fewer keys than queries."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.width, self.groups = shape.hidden // shape.heads, shape.heads // shape.kv_heads
        self.q_proj = nn.Linear(shape.hidden, shape.hidden)
        self.k_proj = nn.Linear(shape.hidden, shape.kv_heads * self.width)
        self.v_proj = nn.Linear(shape.hidden, shape.kv_heads * self.width)
        self.o_proj = nn.Linear(shape.hidden, shape.hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Apply the layer."""
        query, key, value = (
            project(x).unflatten(-1, (-1, self.width)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = (_turn(part.float(), cos, sin).to(value.dtype) for part in (query, key))
        key, value = (part.repeat_interleave(self.groups, dim=1) for part in (key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        out: Tensor = self.o_proj(mixed.transpose(1, 2).flatten(2))
        return out


class Layer(nn.Module):
    """One layer of the language model."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(shape)
        self.mlp = Mlp(shape.hidden, shape.intermediate, bias=False)
        self.input_layernorm = Norm(shape.hidden)
        self.post_attention_layernorm = Norm(shape.hidden)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Apply the layer."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Language(nn.Module):
    """The language model."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.hidden)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """(rows, length, hidden) and (3, rows, length) -> (rows, length, hidden).

        Padding is on the right, where no earlier token sees it: the causal mask is enough.
        """
        half = sum(self.shape.mrope)
        turns = self.shape.rope_theta ** (
            -torch.arange(half, dtype=torch.float32, device=x.device) / half
        )
        angles = (positions[..., None].float() * turns).split(self.shape.mrope, dim=-1)
        mixed = torch.cat([part[axis] for axis, part in enumerate(angles)], dim=-1)
        angle = torch.cat((mixed, mixed), dim=-1)[:, None]
        cos, sin = angle.cos(), angle.sin()
        for layer in self.layers:
            x = layer(x, cos, sin)
        out: Tensor = self.norm(x)
        return out


class MicroModel(nn.Module):
    """The whole model."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.visual, self.model = Vision(shape), Language(shape)
        self.lm_head = nn.Linear(shape.hidden, shape.vocabulary, bias=False)

    def begin(self, seed: int) -> None:
        """Draw the weights from one generator, in the order of their names."""
        generator = torch.Generator().manual_seed(seed)
        depth = {"model": len(self.model.layers), "visual": len(self.visual.blocks)}
        with torch.no_grad():
            for name, parameter in sorted(self.named_parameters()):
                if parameter.ndim == 1:
                    parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                    continue
                scale = 1 / math.sqrt(parameter[0].numel())
                if "embed_tokens" in name:
                    scale = 0.5
                elif name.endswith(("o_proj.weight", "attn.proj.weight", "down_proj.weight")):
                    # What each layer adds: small enough that the sum of all stays near 1.
                    scale /= math.sqrt(2 * depth[name.split(".")[0]])
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)

    def see(self, batch: Packed) -> Tensor:
        """The tokens of all pictures: (pictures * TOKENS, hidden)."""
        out: Tensor = self.visual(patches(batch.pixels, batch.palettes)).flatten(0, 1)
        return out

    def read(self, batch: Packed, seen: Tensor) -> Tensor:
        """The hidden states of every token: (rows, length, hidden)."""
        words = self.model.embed_tokens(batch.ids)
        mixed = words.flatten(0, 1).index_copy(0, batch.image_at, seen.to(words.dtype))
        out: Tensor = self.model(mixed.view_as(words), batch.positions)
        return out

    def forward(self, batch: Packed) -> Tensor:
        """The mean loss of the answers' tokens."""
        hidden = self.read(batch, self.see(batch)).flatten(0, 1)[batch.predict_at.flatten()]
        return F.cross_entropy(self.lm_head(hidden).float(), batch.targets.flatten())

    @torch.no_grad()
    def greedy(self, batch: Packed, starts: Tensor, end: int, n: int) -> Tensor:
        """The likeliest next tokens, (rows, n); a row's answer begins at its place in `starts`.

        Every step reads the whole question again: nothing to go wrong, and fast enough to measure
        with.
        """
        seen = self.see(batch)
        ids, positions = batch.ids.clone(), batch.positions.clone()
        rows = torch.arange(len(ids), device=ids.device)
        said = torch.full((len(ids), n), end, device=ids.device)
        done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        for step in range(n):
            hidden = self.read(batch._replace(ids=ids, positions=positions), seen)
            last = starts + step - 1
            token = self.lm_head(hidden[rows, last]).float().argmax(-1)
            said[~done, step] = token[~done]
            done |= token == end
            if done.all() or step == n - 1:
                break
            ids[rows, last + 1] = token
            positions[:, rows, last + 1] = positions[:, rows, last] + 1
        return said

    def stored(self) -> Iterator[tuple[str, Tensor]]:
        """The weights as they are stored."""
        for name, tensor in sorted(self.state_dict().items()):
            yield name, tensor.detach().to("cpu", torch.float16).contiguous()
