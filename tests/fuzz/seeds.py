"""Valid inputs of every parser of what strangers write."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import factories

from flagos_eval import (
    facts,
    judge_cache,
    pack,
    samples,
    signing,
    store,
)
from flagos_eval.catalog import load_module
from flagos_eval.compare_files import compare_files
from flagos_eval.journal import open_journal
from flagos_eval.operators import _hook
from flagos_eval.records import Grade, sha256_hex

BEGAN = "2026-01-02T03:04:05Z"


ANSWERED = ("0", "wrong", factories.Failed, factories.NotAsked)


def valid_runs(folder: Path) -> list[bytes]:
    """Run files of one and of two tasks, with failures, repeats and questions not asked."""
    again = {"0": ["0", "1"], "1": ["1", factories.Failed], "2": ["2", "2"]}
    paths = [
        factories.saved(
            folder, ("0", "wrong", factories.Failed, factories.NotAsked), path="a.json"
        ),
        factories.saved(folder, again, path="b.json", epochs=(factories.epoch(),)),
    ]
    return [path.read_bytes() for path in paths]


def valid_pack(folder: Path) -> list[bytes]:
    path = factories.saved(folder, ("0", "1"))
    out = folder / "run.zip"
    pack.write(store.load(path), path, out, images={sha256_hex(b"x"): b"x"})
    return [out.read_bytes()]


def valid_unpacked(folder: Path, kind: str) -> list[bytes]:
    path = factories.saved(folder, ("0", "1", "2"))
    stored = next(f for f in store.load(path).files if f.kind == kind)
    return [gzip.decompress(samples.read_stored(path, stored))]


def valid_traces(folder: Path) -> list[bytes]:
    lines = [{"tokens": [["a", -0.5, [["a", -0.5], ["b", -1]]], ["b", -1.5, []]]}] * 3
    return [b"".join(json.dumps(line).encode() + b"\n" for line in lines)]


def valid_comparison(folder: Path) -> list[bytes]:
    one = factories.saved(folder, ("0", "1", "x"), path="a.json")
    other = factories.saved(folder, ("0", "2", "x"), path="b.json")
    found, sides = compare_files(
        str(one), str(other), policy_name="default", load_task=lambda name: factories.task()
    )
    return [load_module("reports", "json", "format").render(found, sides).encode()]


def valid_signature(folder: Path) -> list[bytes]:
    path = folder / "c.json"
    path.write_bytes(valid_comparison(folder)[0])
    decided = signing.Decision(by="Li Na", decision="hold", note="why")
    return [signing.sign(path, decided, at="2026-01-01T00:00:00Z")[1].read_bytes()]


def valid_facts_file(folder: Path) -> list[bytes]:
    from flagos_eval.platforms.cpu import PLATFORM

    return [facts.dump(facts.collect(PLATFORM)).encode()]


def valid_journal(folder: Path) -> list[bytes]:
    """The events of a journal, without their checksums."""
    path = folder / "j.jsonl"
    with open_journal(path, {"tasks": ["x"]}, run_id="r", started_at=BEGAN) as made:
        made.epoch(factories.epoch())
        made.response(factories.response(text="A"), [["A", -0.1, []]])
        made.response(factories.response(sample_id="2", text=None, error=factories.failure()))
    lines = path.read_bytes().split(b"\n")[:-1]
    return [b"".join(line[9:] + b"\n" for line in lines)]


def valid_cache(folder: Path) -> list[bytes]:
    path = folder / "judge.jsonl"
    grade = Grade(text="grade 1", question="0" * 64)
    with judge_cache.open_cache(path) as made:
        made.keep("judge", grade)
        made.keep("judge", grade, anchor="good")
    return [path.read_bytes()]


REQUEST = {
    **{"selection": "only:mm", "how": "vllm", "enable": "only", "names": ["mm"], "workers": 1},
    **{"allowed": ["mm"], "version": "5.0", "functions": ["mm", "softmax"]},
}
EVENTS = [
    {"event": "switched", "version": "5.0", "vendor": "metax", "registered": ["mm"]},
    {"event": "worker"},
    {"event": "operator", "module": "m", "name": "mm", "direct": True},
    {"event": "count", "module": "m", "name": "mm", "direct": True, "count": 3},
    {"event": "last", "names": ["mm"]},
]


def valid_evidence(folder: Path) -> list[bytes]:
    start = {"start": 1, "event": "start", "request": REQUEST, "epochs": [0], "fallbacks": []}
    lines = [start, *({"start": 1, "process": 7, **event} for event in EVENTS)]
    return [b"".join(json.dumps(line).encode() + b"\n" for line in lines)]


def valid_counts(folder: Path) -> list[bytes]:
    path = folder / "7.counts"
    made = _hook.Counts(path)
    for name in ("mm", "softmax"):
        slot = made.slot(json.dumps(["m", name, True]))
        assert slot is not None
        made.add(slot)
    return [path.read_bytes()[: 8 + 2 * _hook.RECENT + 4 * _hook.SLOT]]


def valid_json(*values: Any) -> Callable[[Path], list[bytes]]:
    return lambda folder: [json.dumps(value, ensure_ascii=False).encode() for value in values]


def valid_lines(values: Sequence[Any]) -> Callable[[Path], list[bytes]]:
    data = b"".join(json.dumps(value).encode() + b"\n" for value in values)
    return lambda folder: [data]


def valid_texts(*values: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [value.encode() for value in values]


CHAT = {
    **{"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "tiny"},
    "choices": [
        {
            **{"index": 0, "finish_reason": "stop", "logprobs": None},
            "message": {"role": "assistant", "content": "B", "reasoning_content": "hm"},
        }
    ],
    "usage": {
        **{"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 13},
        "prompt_tokens_details": {"cached_tokens": 0},
    },
}
TOP = [{"token": "B", "logprob": -0.1}]
TOLD = {
    **CHAT,
    "choices": [
        {
            **{"message": {"content": [{"type": "text", "text": "B"}]}, "finish_reason": "length"},
            "logprobs": {"content": [{"token": "B", "logprob": -0.1, "top_logprobs": TOP}]},
        }
    ],
}
PAGES = {
    "/v1/models": json.dumps(
        {"object": "list", "data": [{"id": "tiny", "root": "/w", "max_model_len": 4096}]}
    ),
    "/version": '{"version": "0.8.5"}',
    "/metrics": (
        "# HELP vllm:request_success_total x\n"
        'vllm:request_success_total{finished_reason="stop",model_name="tiny"} 12.0\n'
        'vllm:prompt_tokens_total{model_name="tiny"} 1.2e+03\n'
        "process_start_time_seconds 1.7e+09\n"
    ),
}
CARD = """\
# A release

| Metrics | CUDA | MetaX |
|---|---:|:---:|
| mmmu_val | 54.1 | **53.9** |
| blink_val | 60.00% | [61.2](x) |
"""
LOG = """\
INFO 11-22 22:00:00 [utils.py:1] non-default args: {'model': 'x', 'seed': 0}
INFO Initializing a V1 LLM engine (v0.8.5) with config: model='x', Using FLASH_ATTN backend.
flag_gems: RuntimeError fallback to torch
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.02 GiB. GPU 0
"""
ANSWERS = (
    "The answer is (B).",
    "\\boxed{\\frac{1}{2}}",
    "Let x = 3.5\\times 10^{-2}, so the answer is 12,345 cm.",
    "答案是A。因此选择 B 和 C",
    '{"extracted_answer": "A", "score": 1}',
    '```json\n{"T1": {"score": 1}, "T2": {"score": 0}}\n```',
    "0.5",
)


SAMPLES = "20260102_030405_samples_mathvision_test.jsonl"
RESULTS = "20260102_030405_results.json"
CONFIG = {
    **{"model_name": "x", "date": "2026", "config": {"model": "vllm", "model_args": "a=b"}},
    "results": {"mathvision_test": {"mathvision_standard_eval,none": 66.7}},
}
POLICY = """\
policy = 1
name = "x"
alpha = 0.05
max_error_rate = 0.005
[tasks.shapes]
margin = 5.0
tier = "critical"
[[waiver]]
task = "shapes"
accepts = "NUMERICS_CHANGED"
who = "Li Na"
why = "known"
until = 2026-12-31
"""
ARMS = """\
tasks = ["shapes"]
baseline = "one"
compare = [["one", "two"]]
[arms.one]
base-url = ["http://h:1/v1"]
[arms.two]
launcher = "vllm"
env = ["A=1"]
"""
SETTINGS = """\
tasks = ["mmmu", "blink"]
temperature = 0.5
max-tokens = 512
env = ["A=1"]
eager = true
"""
