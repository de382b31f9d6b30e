"""The test server keeps its promises: each endpoint and each fault does what it says."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import math
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import protocol_server as ps
import pytest
from protocol_server import Fault, ProtocolServer


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


class Reply:
    """A complete HTTP response."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.data = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def text(self) -> Any:
        return self.json["choices"][0]["message"]["content"]

    @property
    def message(self) -> Any:
        return self.json["error"]["message"]


@contextlib.contextmanager
def connect(server: ProtocolServer, timeout: float = 5) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    with contextlib.closing(connection):
        yield connection


def chat(prompt: Any = "Which one?", **settings: Any) -> bytes:
    messages = [{"role": "user", "content": prompt}]
    body = {"model": "tiny", "messages": messages, "temperature": 0} | settings
    return json.dumps(body).encode()


def post(
    server: ProtocolServer, prompt: Any = "Which one?", *, timeout: float = 5, **settings: Any
) -> Reply:
    with connect(server, timeout) as connection:
        connection.request("POST", ps.CHAT, chat(prompt, **settings))
        return Reply(connection.getresponse())


def get(server: ProtocolServer, path: str, **headers: str) -> Reply:
    with connect(server) as connection:
        connection.request("GET", path, headers=headers)
        return Reply(connection.getresponse())


def metric(server: ProtocolServer, start: str) -> float:
    lines = get(server, "/metrics").data.decode().splitlines()
    (line,) = (line for line in lines if line.startswith(start))
    return float(line.split()[-1])


def image(data: bytes, kind: str = "png") -> list[dict[str, Any]]:
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return [{"type": "text", "text": "Look."}, {"type": "image_url", "image_url": {"url": url}}]


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes((width + 1) * height)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    """Returns the markers of a JPEG; nobody here decodes its pixels."""
    app = b"\xff\xe0" + struct.pack(">H", 16) + bytes(14)
    size = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + bytes(3)
    return b"\xff\xd8" + app + size + b"\xff\xd9"


# ---------------------------------------------------------------------------- the protocol


def test_a_reply_has_the_shape_of_vllm() -> None:
    with ProtocolServer(answer=lambda body: "The answer\nis B.") as server:
        reply, again = post(server), post(server)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json["object"] == "chat.completion"
    assert reply.json["model"] == "tiny"
    assert abs(reply.json["created"] - time.time()) < 60
    assert reply.json["id"].startswith("chatcmpl-")
    assert reply.json["id"] != again.json["id"]
    assert reply.json["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "The answer\nis B.",
                "reasoning_content": None,
            },
            "finish_reason": "stop",
            "stop_reason": None,
            "logprobs": None,
        }
    ]
    usage = reply.json["usage"]
    assert usage["completion_tokens"] == 4
    assert usage["total_tokens"] == usage["prompt_tokens"] + 4
    assert again.json["usage"] == usage


def test_default_answers_are_deterministic_and_varied() -> None:
    prompts = [f"Question {number}" for number in range(30)]
    with ProtocolServer() as server:
        first = [post(server, prompt).text for prompt in prompts]
    with ProtocolServer() as server:
        assert [post(server, prompt).text for prompt in prompts] == first
    assert {"A", "B", "C", "D"} < set(first)


def test_requests_are_recorded_on_one_connection() -> None:
    with ProtocolServer() as server, connect(server) as connection:
        local = set()
        for prompt in ("one apple", "two apples", "one apple"):
            connection.request("POST", ps.CHAT, chat(prompt), {"X-Try": "7"})
            assert Reply(connection.getresponse()).status == 200
            local.add(connection.sock.getsockname())
        records = server.requests
    assert len(local) == 1
    assert [record.index for record in records] == [0, 1, 2]
    assert [record.times_seen for record in records] == [1, 1, 2]
    assert records[0].raw == chat("one apple")
    assert records[0].body["messages"][0]["content"] == "one apple"
    assert records[0].headers["x-try"] == "7"
    assert records[0].arrived <= records[1].arrived <= time.monotonic()
    assert (server.count("apple"), server.count("one"), server.count("pear")) == (3, 2, 0)
    assert server.calls[ps.CHAT] == 3
    assert server.max_in_flight == 1


def test_endpoints_that_describe_the_server() -> None:
    with ProtocolServer(version="0.7.2", root="org/tiny", max_model_len=4096) as server:
        health = get(server, "/health")
        assert (health.status, health.data) == (200, b"")
        assert get(server, "/version").json == {"version": "0.7.2"}
        (card,) = get(server, "/v1/models").json["data"]
        assert get(server, "/nowhere").status == 404
        assert server.calls["/health"] == 1
    assert (card["id"], card["root"], card["max_model_len"]) == ("tiny", "org/tiny", 4096)
    assert (card["object"], card["owned_by"]) == ("model", "vllm")


def test_metrics_count_what_was_generated() -> None:
    with ProtocolServer(answer=lambda body: "one two three") as server:
        prompt = post(server).json["usage"]["prompt_tokens"]
        assert post(server, max_tokens=2).status == 200
        assert post(server, model="other").status == 404
        label = '{engine="0",model_name="tiny"}'
        assert metric(server, f"vllm:prompt_tokens_total{label}") == 2 * prompt
        assert metric(server, f"vllm:generation_tokens_total{label}") == 5
        assert metric(server, f"vllm:num_preemptions_total{label}") == 0
        success = 'vllm:request_success_total{engine="0",finished_reason='
        assert metric(server, f'{success}"stop"') == 1
        assert metric(server, f'{success}"length"') == 1
        assert abs(metric(server, "process_start_time_seconds") - time.time()) < 60


def test_max_tokens_cuts_the_answer_and_says_so() -> None:
    with ProtocolServer(answer=lambda body: "one two  three") as server:
        for name in ("max_tokens", "max_completion_tokens"):
            reply = post(server, **{name: 2})
            assert reply.text == "one two"
            assert reply.json["choices"][0]["finish_reason"] == "length"
            assert reply.json["usage"]["completion_tokens"] == 2
            assert post(server, **{name: 3}).json["choices"][0]["finish_reason"] == "stop"


def test_logprobs() -> None:
    with ProtocolServer(answer=lambda body: "B because\n") as server:
        reply = post(server, logprobs=True, top_logprobs=5)
        none_asked = post(server, logprobs=True)
        refused = post(server, top_logprobs=5)
    tokens = reply.json["choices"][0]["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == "B because\n" == reply.text
    for token in tokens:
        top = token["top_logprobs"]
        assert len(top) == 5
        assert {key: token[key] for key in ("token", "logprob", "bytes")} == top[0]
        assert [e["logprob"] for e in top] == sorted((e["logprob"] for e in top), reverse=True)
        assert len({e["token"] for e in top}) == 5
        assert sum(math.exp(e["logprob"]) for e in top) <= 1
        assert bytes(token["bytes"]).decode() == token["token"]
    assert none_asked.json["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []
    assert refused.status == 400
    with ProtocolServer(supports_logprobs=False) as server:
        assert post(server, logprobs=True).json["choices"][0]["logprobs"] is None


def test_a_wrong_model_is_not_found() -> None:
    with ProtocolServer() as server:
        reply = post(server, model="other")
    message = "The model `other` does not exist."
    error = {"message": message, "type": "NotFoundError", "param": "model", "code": 404}
    assert (reply.status, reply.json) == (404, {"error": error})


def test_the_api_key_guards_v1_only() -> None:
    with ProtocolServer(api_key="secret") as server:
        refused = post(server)
        assert (refused.status, refused.json) == (401, {"error": "Unauthorized"})
        assert get(server, "/v1/models", Authorization="Bearer wrong").status == 401
        assert get(server, "/v1/models", Authorization="Bearer secret").status == 200
        assert get(server, "/health").status == 200
    assert server.requests == []


@pytest.mark.parametrize(
    "body", [b"not JSON", b"[]", b"{}", chat(stream=True), chat(n=2)], ids=range(5)
)
def test_requests_that_make_no_sense_are_refused(body: bytes) -> None:
    with ProtocolServer() as server, connect(server) as connection:
        connection.request("POST", ps.CHAT, body)
        assert Reply(connection.getresponse()).status == 400


def test_a_prompt_that_is_too_long_is_refused_in_the_words_of_vllm() -> None:
    with ProtocolServer(max_model_len=100) as server:
        assert post(server, "x" * 200, max_tokens=46).status == 200
        reply = post(server, "x" * 200, max_tokens=47)
    assert reply.status == 400
    assert reply.message.startswith(
        "This model's maximum context length is 100 tokens. However, you requested 47 output "
        "tokens and your prompt contains at least 54 input tokens"
    )
    assert reply.json["error"]["type"] == "BadRequestError"


# ---------------------------------------------------------------------------- images


@pytest.mark.parametrize(("make", "kind"), [(png, "png"), (jpeg, "jpeg")])
def test_image_tokens_follow_the_pixels(make: Any, kind: str) -> None:
    with ProtocolServer() as server:

        def tokens(width: int, height: int, **settings: Any) -> int:
            reply = post(server, image(make(width, height), kind), **settings)
            return int(reply.json["usage"]["prompt_tokens"])

        small = tokens(28, 28)
        assert tokens(280, 280) == small + 99
        assert tokens(280, 280, mm_processor_kwargs={"max_pixels": 10 * 784}) == small + 9
        assert tokens(28, 28, mm_processor_kwargs={"min_pixels": 10 * 784}) == small + 9
        server.honours_max_pixels = False
        assert tokens(280, 280, mm_processor_kwargs={"max_pixels": 10 * 784}) == small + 99


@pytest.mark.parametrize(
    "content",
    [
        image(png(28, 28)[:-20]),
        image(png(28, 28).replace(b"IDAT", b"IDAX")),
        image(jpeg(28, 28)[:-2], "jpeg"),
        image(b"no image"),
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,@@@"}}],
        [{"type": "image_url", "image_url": {"url": "http://example.org/image.png"}}],
    ],
    ids=["truncated png", "broken png", "truncated jpeg", "no image", "no base64", "remote"],
)
def test_undecodable_images_are_refused(content: Any) -> None:
    with ProtocolServer() as server:
        reply = post(server, content)
    assert reply.status == 400
    assert reply.message.startswith("Failed to load image: ")


def test_a_text_model_refuses_images() -> None:
    with ProtocolServer(supports_images=False) as server:
        reply = post(server, image(png(28, 28)))
        assert post(server).status == 200
    assert (reply.status, reply.message) == (400, "tiny is not a multimodal model")


# ---------------------------------------------------------------------------- sampling


def test_sampling_switches() -> None:
    with ProtocolServer(answer=lambda body: "B") as server:

        def texts(**settings: Any) -> set[str]:
            return {post(server, temperature=1.0, **settings).text for _ in range(3)}

        assert len(texts()) == 3
        assert len(texts(seed=1)) == 1
        assert texts(seed=1) != texts(seed=2)
        assert texts(top_k=1) == {"B"} == {post(server).text}
        assert all(text.startswith("B ") for text in texts())
        server.honours_seed = server.honours_top_k = False
        assert len(texts(seed=1)) == 3
        assert len(texts(top_k=1)) == 3


# ---------------------------------------------------------------------------- faults


def with_fault(fault: Fault) -> ProtocolServer:
    return ProtocolServer(answer=lambda body: "B", faults=lambda info: fault)


@pytest.mark.parametrize("code", [500, 503, 429, 520])
def test_status(code: int) -> None:
    with with_fault(ps.Status(code)) as server:
        reply = post(server)
    assert (reply.status, reply.json["error"]["code"]) == (code, code)


def test_status_with_its_own_body_and_headers() -> None:
    with with_fault(ps.Status(502, body=b"<html>", headers={"X-Proxy": "yes"})) as server:
        reply = post(server)
    assert (reply.status, reply.data, reply.headers["X-Proxy"]) == (502, b"<html>", "yes")


def test_retry_after_in_both_forms() -> None:
    with with_fault(ps.Status(429, retry_after=2)) as server:
        assert post(server).headers["Retry-After"] == "2"
    with with_fault(ps.Status(429, retry_after=2, as_date=True)) as server:
        date = parsedate_to_datetime(post(server).headers["Retry-After"])
    assert 1 < date.timestamp() - time.time() <= 3


def test_hang_never_answers() -> None:
    with with_fault(ps.Hang()) as server:
        with pytest.raises(TimeoutError):
            post(server, timeout=0.2)
        deadline = time.monotonic() + 5
        while metric(server, 'vllm:request_success_total{engine="0",finished_reason="abort"') == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    with with_fault(ps.Hang(0.1)) as server, pytest.raises(http.client.RemoteDisconnected):
        post(server)


def test_stop_ends_a_hang() -> None:
    with with_fault(ps.Hang()) as server, ThreadPoolExecutor() as pool:
        future = pool.submit(post, server)
        while not server.requests:
            time.sleep(0.01)
        server.stop()
        assert isinstance(future.exception(5), ConnectionError)


@pytest.mark.parametrize("after", [0, 20])
def test_reset_in_the_body(after: int) -> None:
    with with_fault(ps.Reset(after)) as server, connect(server) as connection:
        connection.request("POST", ps.CHAT, chat())
        response = connection.getresponse()
        assert response.status == 200
        assert len(response.read(after)) == after
        with pytest.raises(ConnectionResetError):
            response.read()
        response.close()


def test_reset_before_the_headers() -> None:
    with with_fault(ps.Reset(None)) as server, pytest.raises(ConnectionResetError):
        post(server)


@pytest.mark.parametrize("n", [0, 20, 100_000])
def test_truncated(n: int) -> None:
    with with_fault(ps.Truncated(n)) as server, pytest.raises(http.client.IncompleteRead) as caught:
        post(server)
    assert len(caught.value.partial) <= n


def test_garbage_and_the_wrong_content_type() -> None:
    with with_fault(ps.Garbage(b"\xff\xfe")) as server:
        reply = post(server)
    assert (reply.status, reply.data) == (200, b"\xff\xfe")
    assert reply.headers["Content-Type"] == "application/json"
    with with_fault(ps.WrongContentType()) as server:
        reply = post(server)
    assert (reply.text, reply.headers["Content-Type"]) == ("B", "text/html; charset=utf-8")
    with with_fault(ps.WrongContentType("text/plain", b"busy")) as server:
        reply = post(server)
    assert (reply.data, reply.headers["Content-Type"]) == (b"busy", "text/plain")


def test_faults_that_edit_the_reply() -> None:
    def reply(fault: Fault) -> Any:
        with with_fault(fault) as server:
            return post(server, logprobs=True, top_logprobs=2).json

    assert reply(ps.EmptyChoices())["choices"] == []
    assert reply(ps.NullContent())["choices"][0]["message"]["content"] is None
    assert "usage" not in reply(ps.MissingUsage())
    assert reply(ps.WrongModel("large"))["model"] == "large"
    assert reply(ps.DuplicateId("chatcmpl-1"))["id"] == "chatcmpl-1"
    assert len(reply(ps.Huge(3_000_000))["choices"][0]["message"]["content"]) == 3_000_000
    (token,) = reply(ps.NanLogprobs())["choices"][0]["logprobs"]["content"]
    assert math.isnan(token["logprob"])
    assert math.isnan(token["top_logprobs"][1]["logprob"])


def test_nan_logprobs_need_logprobs() -> None:
    with with_fault(ps.NanLogprobs()) as server:
        assert post(server).text == "B"


def test_slow_body_and_delay_take_their_time() -> None:
    for fault in (
        ps.SlowBody(2000),
        ps.Delay(0.2),
        ps.Delay(0.1, then=ps.Delay(0.1)),
    ):
        start = time.monotonic()
        with with_fault(fault) as server:
            assert post(server).text == "B"
        assert time.monotonic() - start > 0.15
    with with_fault(ps.Delay(0.01, then=ps.Status(500))) as server:
        assert post(server).status == 500


def test_a_connection_survives_an_error() -> None:
    faults = ps.fail_first(1, ps.Status(500))
    with ProtocolServer(faults=faults) as server, connect(server) as connection:
        seen = []
        for _ in range(2):
            connection.request("POST", ps.CHAT, chat())
            seen.append(Reply(connection.getresponse()).status)
    assert seen == [500, 200]


def test_fault_builders() -> None:
    prompts = [f"Question {number}" for number in range(40)]

    def statuses(faults: ps.Faults) -> list[int]:
        with ProtocolServer(faults=faults) as server:
            return [post(server, prompt).status for prompt in [*prompts, *prompts]]

    error = ps.Status(500)
    assert statuses(ps.fail_first(1, error)) == [500] * 40 + [200] * 40
    share = statuses(ps.fail_every(4, error))
    assert share[:40] == share[40:]
    assert 4 <= share[:40].count(500) <= 16
    matching = statuses(ps.fail_matching("Question 3", error))
    assert matching[:40].count(500) == 11


def test_errors_of_a_callable_are_reported() -> None:
    def answer(body: ps.Json) -> str:
        raise KeyError("no such item")

    with ProtocolServer(answer=answer) as server:
        reply = post(server)
    assert (reply.status, reply.message) == (500, "KeyError('no such item')")
    assert [type(error) for error in server.errors] == [KeyError]


# ---------------------------------------------------------------------------- life


def test_many_requests_at_once() -> None:
    n = 256
    barrier = threading.Barrier(n)

    def answer(body: ps.Json) -> str:
        barrier.wait(20)
        return "B"

    with ProtocolServer(answer=answer) as server, ThreadPoolExecutor(n) as pool:
        replies = list(pool.map(lambda number: post(server, f"{number}", timeout=20), range(n)))
    assert {reply.status for reply in replies} == {200}
    assert server.max_in_flight == n


def test_in_flight_never_exceeds_the_clients() -> None:
    def work(_: int) -> None:
        with connect(server) as connection:
            for _ in range(50):
                connection.request("POST", ps.CHAT, chat())
                Reply(connection.getresponse())

    with ProtocolServer() as server, ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    assert len(server.requests) == 150
    assert server.max_in_flight <= 3


def test_slow_start() -> None:
    with ProtocolServer(ready_after=600) as server:
        assert get(server, "/health").status == 503
        assert post(server).status == 503
        server.ready_after = 0.1
        server.restart()
        while not server.ready:
            time.sleep(0.01)
        assert get(server, "/health").status == 200
        assert post(server).status == 200
    assert len(server.requests) == 1


def test_stop_and_restart() -> None:
    with ProtocolServer() as server:
        port = server.port
        with connect(server) as idle:
            idle.request("POST", ps.CHAT, chat())
            assert Reply(idle.getresponse()).status == 200
            started = metric(server, "process_start_time_seconds")
            server.stop()
            assert idle.sock.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            post(server)
        server.restart()
        assert server.port == port
        assert post(server).status == 200
        assert metric(server, "process_start_time_seconds") > started
        success = 'vllm:request_success_total{engine="0",finished_reason="stop"'
        assert metric(server, success) == 1
        assert [record.times_seen for record in server.requests] == [1, 2]
    server.stop()


def start_process(port: int, answers: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, ps.__file__, "--port", str(port), "--answers-file", str(answers)]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as output:
        return process, output.readline().strip()


def test_as_a_process_that_is_killed_and_started_again(tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps({"capital": "Paris"}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    client = ProtocolServer(port=port)  # never started: only the address is used
    for ending in (signal.SIGKILL, signal.SIGTERM):
        process, line = start_process(port, answers, "--delay-ms", "50", "--fail-first", "1")
        try:
            assert line == f"listening {client.url}"
            start = time.monotonic()
            assert post(client, "The capital?").status == 500
            assert time.monotonic() - start > 0.05
            assert post(client, "The capital?").text == "Paris"
            process.send_signal(ending)
            assert process.wait(5) == (-ending if ending == signal.SIGKILL else 0)
        finally:
            process.kill()
            process.wait()
        with pytest.raises(ConnectionRefusedError):
            post(client)
