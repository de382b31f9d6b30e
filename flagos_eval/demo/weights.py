"""The stored weights, and what a variant makes of them.

A safetensors file is a length, a JSON header and the tensors one after the other; reading it takes
no library. Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .variants import Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TYPES = {"F16": np.float16, "F32": np.float32}
_INT4_GROUP = 32


def read(path: Path) -> dict[str, NDArray[np.float32]]:
    """Tensors by name, in single precision."""
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    body = memoryview(data)[8 + size :]
    found = {}
    for name, about in header.items():
        if name == "__metadata__":
            continue
        start, end = about["data_offsets"]
        values = np.frombuffer(body[start:end], dtype=_TYPES[about["dtype"]])
        found[name] = values.reshape(about["shape"]).astype(np.float32)
    return found


def altered(
    weights: dict[str, NDArray[np.float32]], variant: Variant, head_width: int
) -> dict[str, NDArray[np.float32]]:
    """The weights as a variant computes with them. The reference's are as stored."""
    found = dict(weights)
    for name, values in weights.items():
        if values.ndim >= 2 and "embed_tokens" not in name and "lm_head" not in name:
            rows = values.reshape(len(values), -1)
            if variant.weights == "int8":
                found[name] = _rounded(rows, 127).reshape(values.shape)
            elif variant.weights == "int4":
                found[name] = _rounded(_grouped(rows), 7).reshape(values.shape)
    if variant.dropped_head is not None:
        layer, head = variant.dropped_head
        name = f"model.layers.{layer}.self_attn.o_proj.weight"
        kept = found[name].copy()
        kept[:, head * head_width : (head + 1) * head_width] = 0
        found[name] = kept
    return found


def _grouped(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows cut into groups with a scale each, where they divide evenly."""
    return rows.reshape(-1, _INT4_GROUP) if rows.shape[1] % _INT4_GROUP == 0 else rows


def _rounded(rows: NDArray[np.float32], largest: int) -> NDArray[np.float32]:
    """Symmetric rounding to integers of at most `largest`, one scale a row."""
    scale = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-12) / np.float32(largest)
    rounded: NDArray[np.float32] = np.round(rows / scale) * scale
    return rounded.astype(np.float32)
