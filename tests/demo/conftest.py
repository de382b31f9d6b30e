"""The embedded model, asked directly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="NOT RUN: the demo extra is not installed")

from flagos_eval import catalog, dataset, prompt
from flagos_eval.demo.chat import Chat
from flagos_eval.demo.engine import Completion, Engine, Job
from flagos_eval.demo.variants import VARIANTS, Variant
from flagos_eval.records import Sampling

MODEL = Path(catalog.__file__).parent / "demo" / "model"
TASK = catalog.load_task("shapes")


@cache
def items() -> dataset.Items:
    return dataset.load(TASK, dataset.Source())


@dataclass(frozen=True)
class Answers:
    """What a variant said to the questions."""

    jobs: tuple[Job, ...]
    completions: tuple[Completion, ...]
    texts: tuple[str, ...]

    @property
    def values(self) -> list[float]:
        pairs = zip(items().samples, self.texts, strict=False)
        return [TASK.scorers[0].score(sample, text).value for sample, text in pairs]

    @property
    def first_logprobs(self) -> list[float]:
        return [completion.logprobs[0][1] for completion in self.completions]


@cache
def ask(variant: Variant | str, n: int = 400, batch: int | None = None) -> Answers:
    chosen = VARIANTS[variant] if isinstance(variant, str) else variant
    chat = Chat(MODEL, chosen)
    engine = Engine(MODEL, chosen, end_id=chat.end_id, image_id=chat.image_id)
    jobs = []
    for sample in items().samples[:n]:
        request = prompt.request(sample, TASK.prompts[0], Sampling(max_tokens=64))
        body = prompt.body(request, "m", items().bank.read)
        job = Job(chat.read(body), max_tokens=chosen.max_tokens or 64, seed=0, top_logprobs=3)
        jobs.append(replace(job, temperature=chosen.temperature or 0.0))
    size = batch or chosen.max_batch
    found = [c for at in range(0, len(jobs), size) for c in engine.generate(jobs[at : at + size])]
    texts = tuple(chat.text(list(completion.ids)) for completion in found)
    return Answers(tuple(jobs), tuple(found), texts)
