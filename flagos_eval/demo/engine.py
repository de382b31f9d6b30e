"""The micro Qwen2.5-VL on onnxruntime: conversations in, tokens out, several at a time."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from . import weights
from .chat import Conversation
from .pictures import Picture
from .sampling import choose, log_softmax
from .variants import Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

Token = tuple[int, float, tuple[tuple[int, float], ...]]
"""Token, its log-probability, and the likeliest alternatives."""
_MASKED = np.float32(-1e9)


@dataclass(frozen=True)
class Job:
    """One request."""

    conversation: Conversation
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = -1
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    top_logprobs: int | None = None
    crowded: bool = False
    """Others were being served when it came."""


@dataclass(frozen=True)
class Completion:
    """One answer."""

    ids: tuple[int, ...]
    finish_reason: str
    logprobs: tuple[Token, ...]


@dataclass
class _Row:
    """An answer in the making."""

    job: Job
    generator: np.random.Generator
    ids: list[int] = field(default_factory=list)
    logprobs: list[Token] = field(default_factory=list)
    ended: bool = False

    @property
    def done(self) -> bool:
        return self.ended or len(self.ids) >= self.job.max_tokens


class Engine:
    """The model of one variant. `generate` is not for several threads at a time; it locks."""

    def __init__(self, folder: Path, variant: Variant, *, end_id: int, image_id: int) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        text = config.get("text_config", config)
        self._layers: int = text["num_hidden_layers"]
        self._kv_heads: int = text["num_key_value_heads"]
        self._width: int = text["hidden_size"] // text["num_attention_heads"]
        self._variant, self._end, self._image = variant, end_id, image_id
        tensors = weights.altered(weights.read(folder / "model.safetensors"), variant, self._width)
        self._words = tensors["model.embed_tokens.weight"]
        kind = f"-{variant.weights}" if variant.weights in ("fp16", "int8") else ""
        self._vision = _session(folder / f"vision{kind}.onnx", tensors, variant.threads)
        self._language = _session(folder / f"language{kind}.onnx", tensors, variant.threads)
        self._served = 0
        self._lock = threading.Lock()

    def generate(self, jobs: list[Job]) -> list[Completion]:
        """Answer several requests together."""
        with self._lock:
            return self._generate(jobs)

    def first_logits(self, job: Job) -> NDArray[np.float32]:
        """The logits of an answer's first token: (vocabulary)."""
        with self._lock:
            logits, _ = self._step(*self._inputs([job]), self._empty(1))
        first: NDArray[np.float32] = logits[0]
        return first

    def _generate(self, jobs: list[Job]) -> list[Completion]:
        rows = [_Row(job, np.random.default_rng(job.seed)) for job in jobs]
        embeddings, positions, padding = self._inputs(jobs)
        logits, cache = self._step(embeddings, positions, padding, self._empty(len(jobs)))
        self._mix_up(jobs, logits, cache)
        following = np.array([job.conversation.next_position for job in jobs], dtype=np.int64)
        while True:
            tokens = [self._extend(row, found) for row, found in zip(rows, logits, strict=True)]
            if all(row.done for row in rows):
                return [self._completion(row) for row in rows]
            shift = self._shift(padding)
            padding = np.concatenate([padding, np.zeros((len(jobs), 1), dtype=bool)], axis=1)
            places = np.broadcast_to((following + shift)[None, :, None], (3, len(jobs), 1))
            words = self._words[np.array(tokens)][:, None]
            logits, cache = self._step(words, places, padding, cache)
            following = following + 1

    def _inputs(
        self, jobs: list[Job]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
        """Embeddings, positions and padding of conversations, aligned at their ends."""
        longest = max(len(job.conversation.ids) for job in jobs)
        embeddings = np.zeros((len(jobs), longest, self._words.shape[1]), dtype=np.float32)
        positions = np.zeros((3, len(jobs), longest), dtype=np.int64)
        padding = np.ones((len(jobs), longest), dtype=bool)
        seen = self._see([picture for job in jobs for picture in job.conversation.pictures])
        for index, job in enumerate(jobs):
            ids = np.array(job.conversation.ids)
            words = self._words[ids]
            places = np.flatnonzero(ids == self._image)
            words[places] = seen[: len(places)]
            seen = seen[len(places) :]
            start = longest - len(ids)
            embeddings[index, start:] = words
            positions[:, index, start:] = job.conversation.positions
            padding[index, start:] = False
            if self._variant.rope_shift_after is not None:
                positions[:, index, start + self._variant.rope_shift_after :] += 1
        return embeddings, positions, padding

    def _shift(self, padding: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How far the positions of new tokens are off, by the rope fault."""
        after = self._variant.rope_shift_after
        lengths: NDArray[np.int64] = (~padding).sum(axis=1)
        off: NDArray[np.int64] = np.zeros_like(lengths)
        if after is not None:
            off[lengths >= after] = 1
        return off

    def _see(self, pictures: list[Picture]) -> NDArray[np.float32]:
        """Every picture's tokens, one after the other: (tokens, hidden)."""
        found = [
            self._vision.run(
                None,
                {
                    "patches": picture.patches,
                    "places": _places(picture),
                    "epsilon": np.array(self._variant.norm_epsilon, dtype=np.float32),
                },
            )[0]
            for picture in pictures
        ]
        return np.concatenate(found) if found else np.zeros((0, self._words.shape[1]), np.float32)

    def _empty(self, rows: int) -> list[NDArray[np.float32]]:
        shape = (rows, self._kv_heads, 0, self._width)
        return [np.zeros(shape, dtype=np.float32) for _ in range(2 * self._layers)]

    def _step(
        self,
        embeddings: NDArray[np.float32],
        positions: NDArray[np.int64],
        padding: NDArray[np.bool_],
        cache: list[NDArray[np.float32]],
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Logits after the last token, (rows, vocabulary), and the cache with the new tokens."""
        new, total = embeddings.shape[1], padding.shape[1]
        # Of the new tokens, each sees what came before it and itself, and nothing sees padding.
        hidden = np.triu(np.ones((new, total), dtype=bool), k=total - new + 1)
        mask = np.where(hidden[None] | padding[:, None, :], _MASKED, np.float32(0))[:, None]
        feed: dict[str, Any] = {
            "embeddings": embeddings,
            "positions": np.ascontiguousarray(positions),
            "mask": mask.astype(np.float32),
            "epsilon": np.array(self._variant.norm_epsilon, dtype=np.float32),
        }
        for layer in range(self._layers):
            feed[f"past_key_{layer}"] = cache[2 * layer]
            feed[f"past_value_{layer}"] = cache[2 * layer + 1]
        logits, *present = self._language.run(None, feed)
        return logits, present

    def _mix_up(
        self, jobs: list[Job], logits: NDArray[np.float32], cache: list[NDArray[np.float32]]
    ) -> None:
        """The stale-cache fault: a request goes on from its neighbour's state."""
        every = self._variant.stale_cache_every
        for index in range(len(jobs)):
            self._served += 1
            if every and len(jobs) > 1 and self._served % every == 0:
                other = (index + 1) % len(jobs)
                logits[index] = logits[other]
                for part in cache:
                    part[index] = part[other]

    def _extend(self, row: _Row, logits: NDArray[np.float32]) -> int:
        """Add a token to an answer that is not done; what is fed next either way."""
        if row.done:
            return self._end
        job = row.job
        seen = np.array([*job.conversation.ids, *row.ids])
        token = choose(logits, job, seen, row.generator)
        if job.top_logprobs is not None:
            row.logprobs.append(_logprob(logits, token, job.top_logprobs))
        row.ids.append(token)
        row.ended = token == self._end
        return token

    def _completion(self, row: _Row) -> Completion:
        reason = "stop" if row.ended else "length"
        return Completion(tuple(row.ids), reason, tuple(row.logprobs))


def _logprob(logits: NDArray[np.float32], token: int, n: int) -> Token:
    values = log_softmax(logits)
    best = np.argsort(-values, kind="stable")[:n]
    top = tuple((int(other), float(values[other])) for other in best)
    return int(token), float(values[token]), top


def _places(picture: Picture) -> NDArray[np.int64]:
    """Row and column of every patch, in their order of blocks of 2x2: (patches, 2)."""
    rows, columns = np.indices((picture.rows, picture.columns))
    both = np.stack([rows, columns], axis=-1)
    blocks = both.reshape(picture.rows // 2, 2, picture.columns // 2, 2, 2)
    return np.ascontiguousarray(blocks.transpose(0, 2, 1, 3, 4).reshape(-1, 2), dtype=np.int64)


def _session(
    path: Path, tensors: dict[str, NDArray[np.float32]], threads: int
) -> onnxruntime.InferenceSession:
    """A graph with our weights put into it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A thread that spins between steps would take the core from the other server.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    graph = path.read_bytes()
    # The graph names the weights that it uses; the runtime wants no others.
    used = {name: values for name, values in tensors.items() if name.encode() in graph}
    held = [onnxruntime.OrtValue.ortvalue_from_numpy(values) for values in used.values()]
    options.add_external_initializers(list(used), held)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
