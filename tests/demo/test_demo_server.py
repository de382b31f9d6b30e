"""The embedded server over real HTTP, driven by the product."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from flagos_eval import load_run
from flagos_eval.launchers import embedded
from flagos_eval.launchers.base import LaunchRequest


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> str:
    request = LaunchRequest(model="fp32", folder=tmp_path_factory.mktemp("server"))
    with embedded.LAUNCHER.start(request) as handle:
        yield handle.urls[0]


def post(url: str, **body: object) -> tuple[int, dict]:
    body = {"model": "shapes-micro-vl", "temperature": 0, "max_tokens": 4, **body}
    request = urllib.request.Request(
        f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def asking(text: str = "What?", image: str | None = None) -> list[dict]:
    content: list[dict] = [{"type": "text", "text": text}]
    if image is not None:
        content.append({"type": "image_url", "image_url": {"url": image}})
    return [{"role": "user", "content": content}]


def test_an_answer_has_the_documented_shape(url):
    status, reply = post(url, messages=asking(), logprobs=True, top_logprobs=3)
    assert status == 200
    choice = reply["choices"][0]
    assert choice["finish_reason"] in ("stop", "length")
    entry = choice["logprobs"]["content"][0]
    assert entry["logprob"] <= 0 and len(entry["top_logprobs"]) == 3
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"model": "other"}, 404, "does not exist"),
        ({"messages": asking(image="data:image/png;base64,AAAA")}, 400, "Failed to load image"),
        ({"messages": asking(image="http://host/x.png")}, 400, "data URLs"),
        ({"messages": []}, 400, "messages"),
        ({"messages": asking("word " * 4000)}, 400, "maximum context length"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"stream": True}, 400, "streams"),
    ],
)
def test_a_bad_request_is_refused_with_a_reason(url, body, status, said):
    found, reply = post(url, **{"messages": asking(), **body})
    assert found == status
    assert said in reply["error"]["message"]


def test_a_seed_fixes_a_hot_answer(url):
    texts = {
        post(url, messages=asking(), temperature=2.0, seed=7, max_tokens=12)[1]["choices"][0][
            "message"
        ]["content"]
        for _ in range(3)
    }
    assert len(texts) == 1


def flagos_eval(folder: Path, *arguments: object, code: int = 0) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("FLAGOS_EVAL_", "OPENAI_"))}
    result = subprocess.run(
        [sys.executable, "-m", "flagos_eval", *map(str, arguments)],
        cwd=folder, env=clean, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout


def test_every_capability_is_found(url, tmp_path):
    flagos_eval(tmp_path, "run", "-t", "shapes", "-L", 4, "--base-url", url, "-q", "-o", "x.json")
    states = {c.name: c.state for c in load_run(tmp_path / "x.json").capabilities}
    assert {
        states[name] for name in ("image", "max_pixels", "logprobs", "seed", "top_k", "min_p")
    } == {"supported"}


def test_two_runs_one_at_a_time_are_identical_to_the_last_log_probability(url, tmp_path):
    for name in ("one", "two"):
        flagos_eval(
            tmp_path, "run", "-t", "shapes", "-L", 30, "--base-url", url, "-q", "--concurrency", 1,
            "--logprobs", 3, "-o", f"{name}.json",
        )  # fmt: skip
    packed = [(tmp_path / f"{name}.logprobs.jsonl.gz").read_bytes() for name in ("one", "two")]
    assert packed[0] == packed[1]


def test_the_demonstration_shows_a_fault_and_leaves_nothing_running(tmp_path):
    before = {p.pid for p in psutil.process_iter()}
    said = flagos_eval(tmp_path, "demo", "--fault", "channels", "-L", 40, "--plain")
    assert "The reference against channels" in said
    folder = tmp_path / "results" / "demo" / "channels"
    assert {"comparison.md", "comparison.json", "channels.json"} <= {
        p.name for p in folder.iterdir()
    }
    left = [
        p.pid
        for p in psutil.process_iter(["cmdline"])
        if p.pid not in before and "flagos_eval.demo.server" in (p.info["cmdline"] or [])
    ]
    assert left == []
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_requests_that_the_fail_fault_refuses_make_the_run_incomplete_and_have_no_value(tmp_path):
    flagos_eval(
        tmp_path, "run", "-t", "shapes", "--launcher", "embedded", "-m", "fail", "-q",
        "--max-retries", 0, "-o", "x.json", code=5,
    )  # fmt: skip
    run = load_run(tmp_path / "x.json")
    failed = {r.sample_id for r in run.responses if r.error is not None}
    assert 2 <= len(failed) <= 20
    assert {s.sample_id for s in run.scores if s.value is None} == failed


def test_the_list_names_every_fault(tmp_path):
    from flagos_eval.demo.variants import VARIANTS

    said = flagos_eval(tmp_path, "demo", "--list")
    assert all(name in said for name in VARIANTS)
