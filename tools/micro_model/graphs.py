"""The micro model as ONNX graphs without weights: an engine puts those in when it starts.

Written out operation by operation rather than traced, so that pictures of any size up to one
attention window, the norms' epsilon and the key-value cache are inputs. Every weight is an external
initializer under its name in the checkpoint; matrices keep the shape in which they are stored.

Source of the architecture: transformers, ``models/qwen2_5_vl/modeling_qwen2_5_vl.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tools.micro_model.network import MERGE, Shape

_OPSET = 17
_FLOAT, _HALF, _INT = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64


@dataclass
class Graph:
    """Nodes, constants and weights of a graph in the making; methods return a value's name."""

    half: bool
    """Compute the layers in half precision; sums of squares and angles stay in single."""
    eight: bool
    """Round what goes into a linear layer to 8 bits, with a scale found as it passes."""
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    weights: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def do(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operation with one result."""
        name = f"v{len(self.nodes)}_0"
        # Some runtimes name a fused node after the one it replaces, and want names to be unique.
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: object, dtype: type = np.int64) -> str:
        """Add a constant."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype=dtype), name))
        return name

    def weight(self, name: str, *shape: int) -> str:
        """Use a weight; it is computed with in the precision of the layers."""
        self.weights[name] = shape
        return self.do("Cast", name, to=_HALF) if self.half else name

    def shape(self, x: str, *sizes: int) -> str:
        """Reshape; 0 keeps a size, -1 is what remains."""
        return self.do("Reshape", x, self.constant(sizes))

    def single(self, x: str) -> str:
        """The value in single precision."""
        return self.do("Cast", x, to=_FLOAT) if self.half else x

    def back(self, x: str) -> str:
        """The value in the precision of the layers."""
        return self.do("Cast", x, to=_HALF) if self.half else x

    def linear(self, x: str, name: str, into: int, out: int, *, bias: bool) -> str:
        """A linear layer whose weight is stored as (out, into)."""
        weight = self.do("Transpose", self.weight(f"{name}.weight", out, into), perm=[1, 0])
        if self.eight:
            x = self.eight_bits(x)
        y = self.do("MatMul", x, weight)
        return self.do("Add", y, self.weight(f"{name}.bias", out)) if bias else y

    def eight_bits(self, x: str) -> str:
        """The value after rounding to 8 bits with one scale for the whole tensor."""
        names = [f"v{len(self.nodes)}_{n}" for n in range(3)]
        self.nodes.append(helper.make_node("DynamicQuantizeLinear", [x], names, name=names[0]))
        return self.do("DequantizeLinear", *names)

    def norm(self, x: str, name: str, width: int) -> str:
        """RMS normalisation of the last dimension, with the input ``epsilon``."""
        wide = self.single(x)
        mean = self.do("ReduceMean", self.do("Mul", wide, wide), axes=[-1], keepdims=1)
        root = self.do("Sqrt", self.do("Add", mean, "epsilon"))
        scaled = self.back(self.do("Div", wide, root))
        return self.do("Mul", scaled, self.weight(f"{name}.weight", width))

    def mlp(self, x: str, name: str, width: int, inner: int, *, bias: bool) -> str:
        """A gated feed-forward layer."""
        gate = self.linear(x, f"{name}.gate_proj", width, inner, bias=bias)
        gate = self.do("Mul", gate, self.do("Sigmoid", gate))
        up = self.linear(x, f"{name}.up_proj", width, inner, bias=bias)
        return self.linear(self.do("Mul", gate, up), f"{name}.down_proj", inner, width, bias=bias)

    def turned(self, x: str, cos: str, sin: str, width: int) -> str:
        """Rotary positions: the halves of each head as the two parts of a complex number."""
        wide = self.single(x)
        low = self.cut(wide, 0, width // 2)
        high = self.cut(wide, width // 2, width)
        other = self.do("Concat", self.do("Neg", high), low, axis=-1)
        mixed = self.do("Add", self.do("Mul", wide, cos), self.do("Mul", other, sin))
        return self.back(mixed)

    def cut(self, x: str, start: int, end: int, axis: int = -1) -> str:
        """Part of a dimension."""
        places = (self.constant([start]), self.constant([end]), self.constant([axis]))
        return self.do("Slice", x, *places)

    def attend(self, query: str, key: str, value: str, width: int, mask: str | None) -> str:
        """Attention over (..., tokens, width)."""
        last = self.do("Transpose", key, perm=[0, 1, 3, 2])
        scale = self.constant(1 / math.sqrt(width), np.float16 if self.half else np.float32)
        scores = self.single(self.do("Mul", self.do("MatMul", query, last), scale))
        if mask is not None:
            scores = self.do("Add", scores, mask)
        return self.do("MatMul", self.back(self.do("Softmax", scores, axis=-1)), value)

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: dict[str, tuple[str, Sequence[Any]]],
    ) -> onnx.ModelProto:
        """The finished graph; `outputs` maps a name to (value, sizes)."""
        ends = []
        for public, (value, sizes) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [value], [public], name=public))
            ends.append(helper.make_tensor_value_info(public, _FLOAT, list(sizes)))
        outside = [_outside(weight, sizes) for weight, sizes in self.weights.items()]
        graph = helper.make_graph(
            self.nodes, name, list(inputs), ends, initializer=[*self.constants, *outside]
        )
        opset = helper.make_opsetid("", _OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8, producer_name="")


def _outside(name: str, sizes: tuple[int, ...]) -> onnx.TensorProto:
    """A weight that is not in the graph's file."""
    tensor = TensorProto(name=name, dims=sizes, data_type=_FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="model.safetensors")
    return tensor


def _input(name: str, kind: int, *sizes: Any) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(sizes))


def vision(shape: Shape, *, half: bool = False, eight: bool = False) -> onnx.ModelProto:
    """One picture's patches to its tokens.

    Inputs: ``patches`` (n, values), ``places`` (n, 2) row and column of each patch, ``epsilon`` ().
    Output: ``tokens`` (n / 4, hidden).
    """
    g = Graph(half, eight)
    width, heads = shape.vision_hidden, shape.vision_heads
    head, values = width // heads, 3 * 2 * 14 * 14
    quarter = head // 4
    turns = g.constant(10_000.0 ** (-np.arange(quarter) / quarter), np.float32)
    places = g.do("Unsqueeze", g.do("Cast", "places", to=_FLOAT), g.constant([2]))
    half_angles = g.shape(g.do("Mul", places, turns), -1, 2 * quarter)
    angles = g.do("Concat", half_angles, half_angles, axis=-1)
    cos, sin = g.do("Cos", angles), g.do("Sin", angles)
    kernel = g.weight("visual.patch_embed.proj.weight", width, 3, 2, 14, 14)
    kernel = g.do("Transpose", g.shape(kernel, width, values), perm=[1, 0])
    x = g.do("MatMul", g.back("patches"), kernel)
    for layer in range(shape.vision_layers):
        name = f"visual.blocks.{layer}"
        y = g.norm(x, f"{name}.norm1", width)
        mixed = g.linear(y, f"{name}.attn.qkv", width, 3 * width, bias=True)
        parts = g.do("Transpose", g.shape(mixed, -1, 3, heads, head), perm=[1, 2, 0, 3])
        query, key, value = (g.cut(parts, n, n + 1, axis=0) for n in range(3))
        query, key = (g.turned(part, cos, sin, head) for part in (query, key))
        seen = g.attend(query, key, value, head, None)
        flat = g.shape(g.do("Transpose", seen, perm=[0, 2, 1, 3]), -1, width)
        x = g.do("Add", x, g.linear(flat, f"{name}.attn.proj", width, width, bias=True))
        y = g.norm(x, f"{name}.norm2", width)
        inner = shape.vision_intermediate
        x = g.do("Add", x, g.mlp(y, f"{name}.mlp", width, inner, bias=True))
    wide = width * MERGE**2
    y = g.shape(g.norm(x, "visual.merger.ln_q", width), -1, wide)
    y = g.linear(y, "visual.merger.mlp.0", wide, wide, bias=True)
    y = g.linear(_gelu(g, y), "visual.merger.mlp.2", wide, shape.hidden, bias=True)
    inputs = (
        _input("patches", _FLOAT, "n", values),
        _input("places", _INT, "n", 2),
        _input("epsilon", _FLOAT),
    )
    return g.model("vision", inputs, {"tokens": (g.single(y), ("tokens", shape.hidden))})


def _gelu(g: Graph, x: str) -> str:
    """The exact form, with the error function."""
    wide = g.single(x)
    inner = g.do("Erf", g.do("Div", wide, g.constant(math.sqrt(2), np.float32)))
    one, half = g.constant(1, np.float32), g.constant(0.5, np.float32)
    return g.back(g.do("Mul", g.do("Mul", wide, half), g.do("Add", inner, one)))


def language(shape: Shape, *, half: bool = False, eight: bool = False) -> onnx.ModelProto:
    """New tokens, after those in the cache, to the logits that follow the last one.

    Inputs: ``embeddings`` (rows, new, hidden), ``positions`` (3, rows, new), ``mask`` (rows, 1,
    new, past + new) added to the scores, ``epsilon`` (), ``past_key_i`` and ``past_value_i``
    (rows, heads, past, width). Outputs: ``logits`` (rows, vocabulary), ``key_i`` and ``value_i``
    with the new tokens at their end."""
    g = Graph(half, eight)
    width, head = shape.hidden, shape.hidden // shape.heads
    cos, sin = _angles(g, shape, head)
    x = g.back("embeddings")
    outputs: dict[str, tuple[str, Sequence[Any]]] = {}
    cached = ("rows", shape.kv_heads, "all", head)
    for layer in range(shape.layers):
        name = f"model.layers.{layer}"
        y = g.norm(x, f"{name}.input_layernorm", width)
        parts = []
        for part, heads in (("q", shape.heads), ("k", shape.kv_heads), ("v", shape.kv_heads)):
            flat = g.linear(y, f"{name}.self_attn.{part}_proj", width, heads * head, bias=True)
            parts.append(g.do("Transpose", g.shape(flat, 0, 0, heads, head), perm=[0, 2, 1, 3]))
        query, key, value = parts
        query, key = (g.turned(part, cos, sin, head) for part in (query, key))
        key = g.do("Concat", g.back(f"past_key_{layer}"), key, axis=2)
        value = g.do("Concat", g.back(f"past_value_{layer}"), value, axis=2)
        outputs[f"key_{layer}"] = (g.single(key), cached)
        outputs[f"value_{layer}"] = (g.single(value), cached)
        shared = [_shared(g, part, shape, head) for part in (key, value)]
        seen = g.attend(query, shared[0], shared[1], head, "mask")
        flat = g.shape(g.do("Transpose", seen, perm=[0, 2, 1, 3]), 0, 0, width)
        x = g.do("Add", x, g.linear(flat, f"{name}.self_attn.o_proj", width, width, bias=False))
        y = g.norm(x, f"{name}.post_attention_layernorm", width)
        x = g.do("Add", x, g.mlp(y, f"{name}.mlp", width, shape.intermediate, bias=False))
    last = g.do("Gather", x, g.constant(-1), axis=1)
    logits = g.linear(
        g.norm(last, "model.norm", width), "lm_head", width, shape.vocabulary, bias=False
    )
    outputs = {"logits": (g.single(logits), ("rows", shape.vocabulary)), **outputs}
    past = ("rows", shape.kv_heads, "past", head)
    inputs = [
        _input("embeddings", _FLOAT, "rows", "new", width),
        _input("positions", _INT, 3, "rows", "new"),
        _input("mask", _FLOAT, "rows", 1, "new", "all"),
        _input("epsilon", _FLOAT),
    ]
    for layer in range(shape.layers):
        inputs += [_input(f"past_{part}_{layer}", _FLOAT, *past) for part in ("key", "value")]
    return g.model("language", inputs, outputs)


def _angles(g: Graph, shape: Shape, head: int) -> tuple[str, str]:
    """Cosine and sine of every token's rotary angles, (rows, 1, new, head): time, row, column."""
    frequencies = shape.rope_theta ** (-np.arange(head // 2) / (head // 2))
    turns = g.constant(frequencies, np.float32)
    places = g.do("Unsqueeze", g.do("Cast", "positions", to=_FLOAT), g.constant([3]))
    angles = g.do("Mul", places, turns)
    parts, start = [], 0
    for axis, size in enumerate(shape.mrope):
        of_axis = g.cut(angles, axis, axis + 1, axis=0)
        parts.append(g.cut(of_axis, start, start + size))
        start += size
    half = g.do("Squeeze", g.do("Concat", *parts, axis=-1), g.constant([0]))
    both = g.do("Unsqueeze", g.do("Concat", half, half, axis=-1), g.constant([1]))
    return g.do("Cos", both), g.do("Sin", both)


def _shared(g: Graph, x: str, shape: Shape, head: int) -> str:
    """Keys or values for every query head: neighbours share one."""
    groups = shape.heads // shape.kv_heads
    spread = g.do("Unsqueeze", x, g.constant([2]))
    spread = g.do("Concat", *[spread] * groups, axis=2)
    return g.shape(spread, 0, shape.heads, -1, head)
