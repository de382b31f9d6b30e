"""What vLLM's own benchmark is given is what flagos-eval asks, and unequal work does not pass."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from benchmarks import against_vllm, drivers, vllm_bench
from benchmarks.throughput import Measured
from flagos_eval import config, plan, prompt
from flagos_eval.plan import Plan
from flagos_eval.records import Counts, ImagePart

VLLM = os.environ.get("FLAGOS_EVAL_TEST_VLLM")


@cache
def planned(task: str, repeat: int = 1) -> Plan:
    settings = {"base_url": ("http://127.0.0.1:1/v1",), "tasks": (task,), "repeat": repeat}
    return plan.make(config.combine({"flag": settings}).config)


def bodies(task: str, repeat: int = 1) -> list[dict[str, Any]]:
    """The requests as they go over the wire."""
    made = planned(task, repeat)
    sent = [prompt.encoded(request, "m", made.read_image) for request in made.requests()]
    return [json.loads(body) for body in sent]


def on_file(task: str, *, parts: bool) -> list[dict[str, Any]]:
    lines = [json.dumps(row) for row in vllm_bench.rows(bodies(task), parts=parts)]
    return [json.loads(line) for line in lines]


def pictures(content: list[dict[str, Any]]) -> Iterator[bytes]:
    for part in content:
        if part["type"] == "image_url":
            yield base64.b64decode(part["image_url"]["url"].partition(",")[2])


def test_every_message_is_on_the_file_part_for_part():
    asked = [body["messages"][0]["content"] for body in bodies("shapes")]
    assert [row["content"] for row in on_file("shapes", parts=True)] == asked
    assert len(asked) == 400


def test_the_pictures_on_the_file_are_those_of_the_items():
    made = planned("shapes")
    expected = [
        [made.read_image(part) for part in message.content if isinstance(part, ImagePart)]
        for request in made.requests()
        for message in request.messages
    ]
    assert [list(pictures(row["content"])) for row in on_file("shapes", parts=True)] == expected


def test_a_version_without_parts_puts_the_same_message_together():
    asked = [body["messages"][0]["content"] for body in bodies(against_vllm.TEXT_FIRST)]
    built = [
        [
            {"type": "text", "text": row["prompt"]},
            *({"type": "image_url", "image_url": {"url": url}} for url in row["image_files"]),
        ]
        for row in on_file(against_vllm.TEXT_FIRST, parts=False)
    ]
    assert built == asked


def test_the_questions_with_the_text_first_are_those_of_shapes_with_one_picture():
    shapes = [body["messages"][0]["content"] for body in bodies("shapes")]
    turned = [body["messages"][0]["content"] for body in bodies(against_vllm.TEXT_FIRST)]
    assert [content[::-1] for content in turned] == [c for c in shapes if len(c) == 2]


def test_what_a_version_cannot_send_is_refused():
    with pytest.raises(vllm_bench.CannotSend):
        vllm_bench.rows(bodies("shapes"), parts=False)


def test_all_settings_but_the_repeats_seed_go_to_every_request():
    most, rest = vllm_bench.settings(bodies("shapes", repeat=2))
    body = bodies("shapes")[0]
    left = {name: body[name] for name in body if name not in ("messages", "model", "stream")}
    assert {"max_tokens": most, **rest} == left


def test_requests_of_different_settings_are_refused():
    first, second = bodies("shapes")[:2]
    with pytest.raises(vllm_bench.CannotSend):
        vllm_bench.settings([first, {**second, "max_tokens": 1}])
    with pytest.raises(vllm_bench.CannotSend):
        vllm_bench.settings([first, {**second, "temperature": 1.0}])


def found(*tokens: tuple[int, int]) -> dict[str, list[drivers.Round]]:
    """Rounds of both drivers, by the tokens of their answers."""
    measured = Measured(9, 1.0, 0.1)

    def round_of(n: int) -> drivers.Round:
        counts = Counts(requests=9, prompt_tokens=90, completion_tokens=n)
        return drivers.Round(measured, counts)

    return {
        name: [round_of(pair[nth]) for pair in tokens]
        for nth, name in enumerate((drivers.OWN, drivers.VLLM))
    }


def test_a_round_with_other_tokens_is_not_the_same_work():
    assert against_vllm.unequal(found((40, 40), (41, 41))) == []
    (problem,) = against_vllm.unequal(found((40, 40), (41, 40)))
    assert problem.startswith("round 2: ")


@pytest.mark.vllm
@pytest.mark.skipif(VLLM is None, reason="NOT RUN: no real vLLM; make test-vllm")
def test_vllm_reads_the_messages_from_the_file_as_they_were_sent(tmp_path):
    file = tmp_path / "requests.jsonl"
    rows = on_file("shapes", parts=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    script = (
        "import json, sys\n"
        "from vllm.benchmarks.datasets.datasets import CustomImageDataset\n"
        "data = CustomImageDataset(dataset_path=sys.argv[1], disable_shuffle=True)\n"
        "read = data.sample(tokenizer=None, num_requests=400, output_len=64)\n"
        "open(sys.argv[2], 'w').write(json.dumps([each.prompt for each in read]))\n"
    )
    read = tmp_path / "read.json"
    subprocess.run([str(VLLM), "-c", script, str(file), str(read)], check=True)
    assert json.loads(read.read_text()) == [row["content"] for row in rows]
    assert vllm_bench.able(str(VLLM)) == vllm_bench.Able("custom_image", parts=True)
