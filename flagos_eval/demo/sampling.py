"""From a row of logits to the next token, as vLLM's request fields ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .engine import Job


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities of a row of logits."""
    shifted = logits.astype(np.float64) - float(np.max(logits))
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return found


def choose(
    logits: NDArray[np.float32],
    job: Job,
    seen: NDArray[np.int64],
    generator: np.random.Generator,
) -> int:
    """The next token: the likeliest at temperature 0, else a draw.

    Args:
        logits: (vocabulary)
        job: Its sampling fields.
        seen: Tokens of the conversation and the answer so far, which the repetition penalty counts.
        generator: Of this request alone, so that a seed gives one text in any company.
    """
    if job.repetition_penalty != 1.0:
        logits = logits.copy()
        known = logits[seen]
        penalised = np.where(
            known > 0, known / job.repetition_penalty, known * job.repetition_penalty
        )
        logits[seen] = penalised
    if job.temperature < 1e-5 or job.top_k == 1:
        return int(np.argmax(logits))
    probabilities = np.exp(log_softmax(logits / np.float32(job.temperature)))
    order = np.argsort(-probabilities, kind="stable")
    kept = probabilities[order]
    kept[kept < job.min_p * kept[0]] = 0.0
    if job.top_k > 0:
        kept[job.top_k :] = 0.0
    before = np.cumsum(kept) - kept
    kept[before >= job.top_p * kept.sum()] = 0.0
    return int(order[generator.choice(len(kept), p=kept / kept.sum())])
