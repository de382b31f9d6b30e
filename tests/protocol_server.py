"""A real HTTP server that speaks vLLM's chat-completions protocol, with faults on demand.

The tests point the ordinary client at this server instead of patching the client, so that timeouts,
broken connections and malformed replies take the same path as in production. The shapes of replies
and errors follow vLLM; only the standard library is used.

In a test::

    with ProtocolServer(answer=lambda body: "B", faults=fail_first(1, Status(503))) as server:
        ask(server.url)

As a process that a test can kill: ``python tests/protocol_server.py --port 8123``.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import http.client
import json
import math
import os
import re
import select
import signal
import socket
import struct
import sys
import threading
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Json = dict[str, Any]
CHAT = "/v1/chat/completions"
_PIXELS_PER_TOKEN = 28 * 28  # as the Qwen-VL processors merge patches


# ------------------------------------------------------------------------------------- requests


@dataclass(frozen=True)
class RequestInfo:
    """One chat request, as handed to ``faults`` and kept in ``ProtocolServer.requests``.

    Attributes:
        body: The parsed JSON object; empty when the body was not one.
        index: Position among the chat requests of this server, from 0.
        times_seen: How often this message list has been asked, this time included.
        raw: The bytes of the body.
        headers: The request headers, names in lower case.
        arrived: ``time.monotonic()`` when the body had been read.
    """

    body: Json
    index: int
    times_seen: int
    raw: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    arrived: float = 0.0


def _parts(body: Json) -> Iterator[Json]:
    """Yields the content parts of all messages, plain strings as text parts."""
    for message in body.get("messages") or []:
        content = message.get("content") or ""
        yield from [{"type": "text", "text": content}] if isinstance(content, str) else content


def prompt_text(body: Json) -> str:
    """Returns the text of all messages, one part per line, without the images."""
    return "\n".join(part["text"] for part in _parts(body) if part.get("type") == "text")


def prompt_hash(body: Json) -> int:
    """Returns a hash of the message list, images included; the same in every process."""
    packed = json.dumps(body.get("messages"), sort_keys=True).encode()
    return int.from_bytes(hashlib.sha256(packed).digest()[:8], "big")


def default_answer(body: Json) -> str:
    """Returns a short answer that depends on nothing but the messages."""
    value = prompt_hash(body)
    return "ABCD"[value % 5] if value % 5 < 4 else f"\\boxed{{{value % 10}}}"


def default_sample(text: str, draw: str) -> str:
    """Returns ``text`` followed by the draw, so that it still parses as the same answer."""
    return f"{text} {draw[:8]}"


def _pixels(url: str) -> int:
    """Returns the number of pixels of an image in a data URL, or raises ValueError.

    PNG and JPEG are checked to their end, because a truncated upload must fail here as it does in
    vLLM. Other formats are only recognised, and count one pixel per byte.
    """
    if not url.startswith("data:image/") or ";base64," not in url:
        raise ValueError("only base64 data URLs of images are served")
    data = base64.b64decode(url.split(";base64,", 1)[1], validate=True)
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            at, kind = 8, b""
            while kind != b"IEND":
                length, kind = struct.unpack_from(">I4s", data, at)
                at += 12 + length
                if struct.unpack_from(">I", data, at - 4)[0] != zlib.crc32(
                    data[at - length - 8 : at - 4]
                ):
                    raise ValueError("broken PNG chunk")
            return math.prod(struct.unpack_from(">II", data, 16))
        if data.startswith(b"\xff\xd8") and b"\xff\xd9" in data:
            at = 2
            # The size is in SOF0..SOF15; C4, C8 and CC lie in that range and are other markers.
            while not 0xC0 <= data[at + 1] <= 0xCF or data[at + 1] in (0xC4, 0xC8, 0xCC):
                at += 2 + struct.unpack_from(">H", data, at + 2)[0]
            return math.prod(struct.unpack_from(">HH", data, at + 5))
    except (struct.error, IndexError) as error:
        raise ValueError("image file is truncated") from error
    if data[:4] in (b"GIF8", b"RIFF") or data[:2] == b"BM":
        return len(data)
    raise ValueError("cannot identify image file")


# --------------------------------------------------------------------------------------- faults


@dataclass(frozen=True)
class Fault:
    """What happens to one request. This base answers normally; a test may derive its own."""

    def serve(self, call: Exchange) -> None:
        """Answers the request, or fails to."""
        call.send(200, call.payload(self.edit))

    def edit(self, reply: Json) -> None:
        """Changes a complete reply before it is sent."""


@dataclass(frozen=True)
class Status(Fault):
    """An HTTP error.

    Attributes:
        code: The status code.
        body: Bytes, or an object to send as JSON; by default an error object of vLLM's shape.
        headers: Additional headers.
        retry_after: Seconds for a ``Retry-After`` header.
        as_date: Whether that header is an HTTP date instead of a number.
    """

    code: int
    body: bytes | Json | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    as_date: bool = False

    def serve(self, call: Exchange) -> None:
        headers = dict(self.headers)
        if self.retry_after is not None:
            # Computed now, not on construction: one fault object serves many requests.
            date = formatdate(math.ceil(time.time() + self.retry_after), usegmt=True)
            headers["Retry-After"] = date if self.as_date else f"{self.retry_after:g}"
        phrase = http.client.responses.get(self.code, "Unknown Error")
        body = self.body
        if body is None:
            body = error_body(self.code, f"{phrase} (injected)", phrase.replace(" ", ""))
        call.send(self.code, body, headers=headers)


@dataclass(frozen=True)
class Hang(Fault):
    """Accepts the request, never answers, and closes the connection after ``seconds``."""

    seconds: float = 3600.0

    def serve(self, call: Exchange) -> None:
        call.pause(self.seconds)
        call.close_connection = True


@dataclass(frozen=True)
class Delay(Fault):
    """Waits, then answers normally, or as ``then`` does."""

    seconds: float
    then: Fault = field(default_factory=Fault)

    def serve(self, call: Exchange) -> None:
        call.pause(self.seconds)
        self.then.serve(call)


@dataclass(frozen=True)
class Reset(Fault):
    """Resets the connection (RST) after the headers and ``after_bytes`` bytes of the body.

    With ``after_bytes=None`` not even the headers are sent.
    """

    after_bytes: int | None = 16

    def serve(self, call: Exchange) -> None:
        payload = call.payload()
        if self.after_bytes is not None:
            call.send(200, payload[: self.after_bytes], claimed=len(payload))
        call.reset()


@dataclass(frozen=True)
class Truncated(Fault):
    """Announces more bytes than the ``n`` that it sends, then closes the connection."""

    n: int = 16

    def serve(self, call: Exchange) -> None:
        payload = call.payload()
        call.send(200, payload[: self.n], claimed=max(len(payload), self.n + 1))
        call.close_connection = True


@dataclass(frozen=True)
class Garbage(Fault):
    """Status 200, declared as JSON, with a body that is not."""

    data: bytes = b"<html>502 Bad Gateway</html>"

    def serve(self, call: Exchange) -> None:
        call.send(200, self.data)


@dataclass(frozen=True)
class WrongContentType(Fault):
    """A correct reply, or the given ``data``, under a content type that is not JSON."""

    content_type: str = "text/html; charset=utf-8"
    data: bytes | None = None

    def serve(self, call: Exchange) -> None:
        body = call.payload() if self.data is None else self.data
        call.send(200, body, content_type=self.content_type)


@dataclass(frozen=True)
class SlowBody(Fault):
    """A correct reply that trickles in."""

    bytes_per_second: float

    def serve(self, call: Exchange) -> None:
        call.send(200, call.payload(), bytes_per_second=self.bytes_per_second)


class EmptyChoices(Fault):
    """A reply without choices."""

    def edit(self, reply: Json) -> None:
        reply["choices"] = []


class NullContent(Fault):
    """A reply whose content is null."""

    def edit(self, reply: Json) -> None:
        reply["choices"][0]["message"]["content"] = None


class MissingUsage(Fault):
    """A reply without token counts."""

    def edit(self, reply: Json) -> None:
        del reply["usage"]


class NanLogprobs(Fault):
    """Log probabilities, where they were asked for, that are the bare word NaN."""

    def edit(self, reply: Json) -> None:
        for token in (reply["choices"][0]["logprobs"] or {"content": []})["content"]:
            for entry in (token, *token["top_logprobs"]):
                entry["logprob"] = math.nan


@dataclass(frozen=True)
class WrongModel(Fault):
    """A reply that names another model."""

    name: str = "another-model"

    def edit(self, reply: Json) -> None:
        reply["model"] = self.name


@dataclass(frozen=True)
class DuplicateId(Fault):
    """A reply with a given id, so that several replies can share one."""

    id: str = "chatcmpl-duplicate"

    def edit(self, reply: Json) -> None:
        reply["id"] = self.id


@dataclass(frozen=True)
class Huge(Fault):
    """A reply whose content is ``n_bytes`` long."""

    n_bytes: int

    def edit(self, reply: Json) -> None:
        reply["choices"][0]["message"]["content"] = "x" * self.n_bytes


Faults = Callable[[RequestInfo], "Fault | None"]


def fail_first(n: int, fault: Fault) -> Faults:
    """Returns faults for the first ``n`` times that each message list is asked."""
    return lambda info: fault if info.times_seen <= n else None


def fail_every(k: int, fault: Fault) -> Faults:
    """Returns faults for one in ``k`` message lists, the same ones in every run."""
    return lambda info: fault if prompt_hash(info.body) % k == 0 else None


def fail_matching(substring: str, fault: Fault) -> Faults:
    """Returns faults for the requests whose text contains ``substring``."""
    return lambda info: fault if substring in prompt_text(info.body) else None


# ---------------------------------------------------------------------------------- connections


def error_body(code: int, message: str, kind: str, param: str | None = None) -> Json:
    """Returns an error object of vLLM's shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


class _Refusal(Exception):
    """A request that vLLM would refuse; the arguments are those of ``error_body``."""


class _Listener(ThreadingHTTPServer):
    """The listening socket; knows its threads and connections, so that it can end them all."""

    request_queue_size = 1024  # the default of 5 drops connections that open at the same moment
    daemon_threads = True

    def __init__(self, owner: ProtocolServer) -> None:
        self.owner = owner
        self.threads: list[threading.Thread] = []
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", owner.port), Exchange)

    def process_request(self, request: Any, client_address: Any) -> None:
        arguments = (request, client_address)
        thread = threading.Thread(target=self.process_request_thread, args=arguments, daemon=True)
        with self.owner.lock:
            self.threads = [thread, *(other for other in self.threads if other.is_alive())]
            self.connections.add(request)
            thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self.owner.lock:
            self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        # A client that has gone away is what half of these tests are about.
        if isinstance(error, Exception) and not isinstance(error, ConnectionError):
            self.owner.errors.append(error)

    def end(self) -> None:
        """Stops listening, cuts every connection and waits for every thread."""
        self.shutdown()
        self.server_close()
        with self.owner.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):  # the client may have been faster
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(10)
            if thread.is_alive():
                raise RuntimeError("a request is still being answered")


class Exchange(BaseHTTPRequestHandler):
    """One connection; the public methods are the vocabulary of the faults."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    info: RequestInfo
    _in_flight = False

    @property
    def owner(self) -> ProtocolServer:
        """The server that this connection belongs to."""
        assert isinstance(self.server, _Listener)
        return self.server.owner

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps the output of the tests clean."""

    def do_GET(self) -> None:
        """Answers the endpoints that describe the server."""
        if not self._admitted():
            return
        page = self.owner.page(self.path)
        if page is None:
            self.send(404, {"detail": "Not Found"})
        else:
            kind = "application/json" if isinstance(page, dict) else "text/plain; version=0.0.4"
            speed = self.owner.page_speed
            self.send(200, page, content_type=kind, bytes_per_second=speed)

    def do_POST(self) -> None:
        """Answers a chat request."""
        # Read in any case: bytes left over would be taken for the next request.
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self._admitted():
            return
        if self.path != CHAT:
            self.send(404, {"detail": "Not Found"})
            return
        self.info = self.owner.enter(raw, {k.lower(): v for k, v in self.headers.items()})
        self._in_flight = True
        try:
            fault = self.owner.faults(self.info) if self.owner.faults else None
            self.pause(self.owner.delay)
            (fault or Fault()).serve(self)
        except _Refusal as refusal:
            self.send(refusal.args[0], error_body(*refusal.args))
        except ConnectionError:
            self.owner.aborted(self.info.body)
            raise
        except Exception as error:  # from the test's own callables
            self.owner.errors.append(error)
            self.send(500, error_body(500, repr(error), "InternalServerError"))
        finally:
            self._leave()

    def _admitted(self) -> bool:
        """Returns whether the request may pass; if not, it has been answered."""
        owner, key = self.owner, self.owner.api_key
        with owner.lock:
            owner.calls[self.path] += 1
        if not owner.ready:
            self.send(503, error_body(503, "The server is starting.", "ServiceUnavailable"))
            return False
        if key and self.path.startswith("/v1") and self.headers["Authorization"] != f"Bearer {key}":
            self.send(401, {"error": "Unauthorized"})  # in vLLM, too, a string and no object
            return False
        return True

    def _leave(self) -> None:
        if self._in_flight:
            self._in_flight = False
            self.owner.leave()

    def pause(self, seconds: float) -> None:
        """Waits.

        Raises:
            ConnectionAbortedError: As soon as the client hangs up or the server stops; vLLM, too,
                drops a request that nobody waits for.
        """
        poller = select.poll()
        poller.register(self.connection, select.POLLIN)
        if seconds > 0 and poller.poll(min(seconds, 86_400) * 1000):
            raise ConnectionAbortedError("the client has gone")

    def payload(self, edit: Callable[[Json], None] | None = None) -> bytes:
        """Returns the bytes of the correct reply, changed by ``edit``."""
        reply = self.owner.reply(self.info.body)
        if edit is not None:
            edit(reply)
        return json.dumps(reply).encode()

    def send(
        self,
        status: int,
        body: bytes | str | Json,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        claimed: int | None = None,
        bytes_per_second: float | None = None,
    ) -> None:
        """Sends a response; ``claimed`` is a content length to announce instead of the true one."""
        text = json.dumps(body) if isinstance(body, dict) else body
        payload = text.encode() if isinstance(text, str) else text
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(payload) if claimed is None else claimed))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        step = max(1, round(bytes_per_second / 20) if bytes_per_second else len(payload))
        # The request must stop counting as in flight before the client can see the end of the
        # reply: its next request may arrive before this thread runs again.
        if step >= len(payload):
            self._leave()
        self.end_headers()
        for start in range(0, len(payload), step):
            if start and bytes_per_second:
                self.pause(step / bytes_per_second)
            if start + step >= len(payload):
                self._leave()
            self.wfile.write(payload[start : start + step])

    def reset(self) -> None:
        """Ends the connection with RST instead of FIN."""
        linger_zero = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
        self._leave()
        self.close_connection = True
        # Closing the socket object would come too late: socketserver first sends a FIN.
        os.close(self.connection.detach())


# --------------------------------------------------------------------------------------- server


@dataclass(kw_only=True, eq=False, repr=False)
class ProtocolServer:
    """The server; use it as a context manager, or call ``start`` and ``stop``.

    Attributes:
        answer: Computes the greedy text of a reply from the request body.
        faults: Chooses what goes wrong with a chat request, if anything.
        sample: Turns the greedy text and random hexadecimal digits into a sampled text.
        model: The served name.
        root: The model path in the list of models; by default the served name.
        version: vLLM's version.
        api_key: The key that requests under ``/v1`` must carry.
        max_model_len: The most prompt tokens plus requested tokens.
        port: The port, the same after a restart; 0 takes a free one.
        delay: Seconds that every chat request takes.
        ready_after: Seconds after the start during which everything is answered with 503.
        honours_seed: Whether a seed makes sampling repeatable.
        honours_top_k: Whether ``top_k=1`` makes sampling greedy.
        honours_max_pixels: Whether ``mm_processor_kwargs`` bounds the tokens of an image.
        supports_logprobs: Whether log probabilities are returned when asked for.
        supports_images: Whether the model takes images; if not, they are refused.
        counts: Whether requests are counted; if not, as behind a proxy that answers by itself.
        labels_reasons: Whether finished requests are counted by reason, as vLLM does.
        shows_start: Whether ``/metrics`` says when the process started; vLLM 0.7 does not.
        shows_counters: Whether ``/metrics`` has vLLM's counters.
        preemptions: What ``/metrics`` says of them.
        prefix_hits: Likewise.
        page_speed: Bytes per second at which the pages that describe the server trickle in.
        calls: How often each path was requested, whatever the outcome.
        errors: Exceptions from ``answer`` or ``faults`` (the client got a 500), or unexpected ones.
        max_in_flight: The most chat requests that were being answered at the same time.
        start_time: When the server last started, in seconds since the epoch.
    """

    answer: Callable[[Json], str] = default_answer
    faults: Faults | None = None
    sample: Callable[[str, str], str] = default_sample
    model: str = "tiny"
    root: str | None = None
    version: str = "0.32.0"
    api_key: str | None = None
    max_model_len: int = 32_768
    port: int = 0
    delay: float = 0.0
    ready_after: float = 0.0
    honours_seed: bool = True
    honours_top_k: bool = True
    honours_max_pixels: bool = True
    supports_logprobs: bool = True
    supports_images: bool = True
    counts: bool = True
    labels_reasons: bool = True
    shows_start: bool = True
    shows_counters: bool = True
    preemptions: int = 0
    prefix_hits: int = 0
    page_speed: float | None = None

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self.errors: list[Exception] = []
        self.max_in_flight = self._in_flight = 0
        self.start_time = self._ready_at = 0.0
        self._requests: list[RequestInfo] = []
        self._seen: Counter[int] = Counter()
        self._counters: Counter[str] = Counter()
        self._running: tuple[_Listener, threading.Thread] | None = None

    def start(self) -> None:
        """Starts listening, as a new process would: with the counters of /metrics at zero."""
        listener = _Listener(self)
        self.port = listener.server_port
        self.start_time, self._ready_at = time.time(), time.monotonic() + self.ready_after
        self._counters = Counter()
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        self._running = listener, thread

    def stop(self) -> None:
        """Stops, cutting every connection; further connections are refused."""
        if self._running is not None:
            (listener, thread), self._running = self._running, None
            listener.end()
            thread.join()

    def restart(self) -> None:
        """Stops and starts on the same port; the recorded requests stay."""
        self.stop()
        self.start()

    def __enter__(self) -> ProtocolServer:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL for a client."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def ready(self) -> bool:
        """Whether the slow start is over."""
        return time.monotonic() >= self._ready_at

    @property
    def requests(self) -> list[RequestInfo]:
        """The chat requests so far (a copy), without those that got 401 or 503 at the door."""
        with self.lock:
            return list(self._requests)

    def count(self, substring: str) -> int:
        """Returns the number of chat requests whose text contains ``substring``."""
        return sum(substring in prompt_text(request.body) for request in self.requests)

    def enter(self, raw: bytes, headers: Mapping[str, str]) -> RequestInfo:
        """Records a chat request and counts it as in flight."""
        arrived, body = time.monotonic(), None
        with contextlib.suppress(ValueError):
            body = json.loads(raw)
        body = body if isinstance(body, dict) else {}
        key = prompt_hash(body)
        with self.lock:
            self._seen[key] += 1
            info = RequestInfo(body, len(self._requests), self._seen[key], raw, headers, arrived)
            self._requests.append(info)
            self._in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self._in_flight)
        return info

    def leave(self) -> None:
        """Counts a chat request as no longer in flight."""
        with self.lock:
            self._in_flight -= 1

    def finished(self, reason: str, prompt: int = 0, generated: int = 0) -> None:
        """Updates the counters of ``/metrics``; a test may call it for somebody else's requests."""
        with self.lock:
            self._counters.update({reason: 1, "prompt": prompt, "generation": generated})

    def aborted(self, body: Json) -> None:
        """Counts a request that nobody waits for any more: vLLM had read it and begun to answer."""
        with contextlib.suppress(_Refusal, KeyError):
            if self.counts:
                self.finished("abort", self._prompt_tokens(body), 1)

    def page(self, path: str) -> Json | str | None:
        """Returns the answer to a GET: an object, a text, or None where there is nothing."""
        if path == "/v1/models":
            card: Json = {"id": self.model, "object": "model", "created": int(self.start_time)}
            card |= {"owned_by": "vllm", "root": self.root or self.model, "parent": None}
            card |= {"max_model_len": self.max_model_len, "permission": []}
            return {"object": "list", "data": [card]}
        if path == "/metrics":
            return self._metrics()
        if path == "/version":
            return {"version": self.version}
        return "" if path == "/health" else None

    def _metrics(self) -> str:
        name = f'model_name="{self.model}"'
        lines: list[str] = []
        if self.shows_start:
            lines += ["# TYPE process_start_time_seconds gauge"]
            lines += [f"process_start_time_seconds {self.start_time!r}"]
        if not self.shows_counters:
            return "\n".join([*lines, ""])
        with self.lock:
            for key in ("prompt", "generation"):
                lines += [f"# TYPE vllm:{key}_tokens_total counter"]
                lines += [f'vllm:{key}_tokens_total{{engine="0",{name}}} {self._counters[key]}.0']
            lines += ["# TYPE vllm:request_success_total counter"]
            for key in ("stop", "length", "abort", "error"):
                if self.labels_reasons:
                    labels = f'engine="0",finished_reason="{key}",{name}'
                    lines += [f"vllm:request_success_total{{{labels}}} {self._counters[key]}.0"]
            if not self.labels_reasons:
                done = self._counters["stop"] + self._counters["length"]
                lines += [f"vllm:request_success_total {done}.0"]
        for key, value in (
            ("num_preemptions_total", self.preemptions),
            ("prefix_cache_hits_total", self.prefix_hits),
        ):
            lines += [f"# TYPE vllm:{key} counter"]
            lines += [f'vllm:{key}{{engine="0",{name}}} {value}.0']
        lines += [""]
        return "\n".join(lines)

    def _prompt_tokens(self, body: Json) -> int:
        """Returns a token count that changes with the text, the images and ``max_pixels``."""
        limits = body.get("mm_processor_kwargs") or {} if self.honours_max_pixels else {}
        total = 4 * len(body["messages"]) + math.ceil(len(prompt_text(body).encode()) / 4)
        for part in _parts(body):
            if part.get("type") != "image_url":
                continue
            if not self.supports_images:
                raise _Refusal(400, f"{self.model} is not a multimodal model", "BadRequestError")
            try:
                pixels = max(_pixels(part["image_url"]["url"]), limits.get("min_pixels", 0))
            except ValueError as error:
                raise _Refusal(400, f"Failed to load image: {error}", "BadRequestError") from error
            pixels = min(pixels, limits.get("max_pixels", pixels))
            total += max(1, math.ceil(pixels / _PIXELS_PER_TOKEN))
        return total

    def _text(self, body: Json) -> str:
        """Returns the whole text of the reply: the greedy one, or a sample."""
        text, seed, temperature = self.answer(body), body.get("seed"), body.get("temperature")
        greedy = temperature is not None and temperature < 1e-5  # vLLM's default is 1.0
        if greedy or (self.honours_top_k and body.get("top_k") == 1):
            return text
        if seed is None or not self.honours_seed:
            return self.sample(text, uuid.uuid4().hex)
        return self.sample(text, hashlib.sha256(f"{seed} {prompt_hash(body)}".encode()).hexdigest())

    def reply(self, body: Json) -> Json:
        """Returns the correct reply to a request, or raises ``_Refusal``."""
        bad, top = "BadRequestError", body.get("top_logprobs") or 0
        if body.get("model", self.model) != self.model:
            message = f"The model `{body['model']}` does not exist."
            raise _Refusal(404, message, "NotFoundError", "model")
        if not isinstance(body.get("messages"), list):
            raise _Refusal(400, "The body is no JSON object with a list of messages.", bad)
        if body.get("stream") or (body.get("n") or 1) != 1:
            raise _Refusal(400, "This test server knows neither stream nor n.", bad)
        if top and not body.get("logprobs"):
            message = "when using `top_logprobs`, `logprobs` must be set to true."
            raise _Refusal(400, message, bad, "top_logprobs")
        prompt = self._prompt_tokens(body)
        wanted = body.get("max_completion_tokens") or body.get("max_tokens") or 0
        if prompt + wanted > self.max_model_len:
            message = (
                f"This model's maximum context length is {self.max_model_len} tokens. However, "
                f"you requested {wanted} output tokens and your prompt contains at least {prompt} "
                f"input tokens, for a total of at least {prompt + wanted} tokens. Please reduce "
                "the length of the input prompt or the number of requested output tokens. "
                f"(parameter=input_tokens, value={prompt})"
            )
            raise _Refusal(400, message, bad, "input_tokens")
        text = self._text(body)
        tokens: list[str] = re.findall(r"\s*\S+(?:\s+$)?", text)
        limit = wanted or self.max_model_len - prompt
        reason = "stop" if len(tokens) <= limit else "length"
        if reason == "length":
            tokens = tokens[:limit]
            text = "".join(tokens)
        count = len(tokens)
        if self.counts:
            self.finished(reason, prompt, count)
        choice: Json = {"index": 0, "finish_reason": reason, "stop_reason": None, "logprobs": None}
        choice["message"] = {"role": "assistant", "content": text, "reasoning_content": None}
        if body.get("logprobs") and self.supports_logprobs:
            choice["logprobs"] = {"content": [_token_logprobs(token, top) for token in tokens]}
        usage: Json = {"prompt_tokens": prompt, "total_tokens": prompt + count}
        usage |= {"completion_tokens": count, "prompt_tokens_details": None}
        reply: Json = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion"}
        reply |= {"created": int(time.time()), "model": self.model, "choices": [choice]}
        return reply | {"usage": usage, "system_fingerprint": None, "prompt_logprobs": None}


def _token_logprobs(token: str, top: int) -> Json:
    """Returns one token in vLLM's shape; the chosen token is the first of its alternatives."""
    chosen = 0.5 + zlib.crc32(token.encode("utf-8", "surrogatepass")) % 4000 / 10_000
    others = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter != token.strip()]
    shares = {token: chosen}
    shares |= {other: (1 - chosen) / 2**rank for rank, other in enumerate(others, start=1)}
    entries: list[Json] = [
        {
            "token": name,
            "logprob": math.log(share),
            "bytes": list(name.encode("utf-8", "surrogatepass")),
        }
        for name, share in shares.items()
    ]
    return {**entries[0], "top_logprobs": entries[:top]}


def main() -> None:
    """Runs the server as a process until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--version", default="0.32.0")
    parser.add_argument("--api-key")
    parser.add_argument("--max-model-len", type=int, default=32_768)
    parser.add_argument("--ready-after", type=float, default=0.0, help="seconds")
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--fail-first", type=int, default=0, help="answer so many tries with 500")
    parser.add_argument("--answers-file", type=Path, help="JSON: {text in the prompt: answer}")
    for name in (
        "honours_seed",
        "honours_top_k",
        "honours_max_pixels",
        "supports_logprobs",
        "supports_images",
    ):
        parser.add_argument(f"--no-{name.replace('_', '-')}", dest=name, action="store_false")
    options = vars(parser.parse_args())
    options["delay"] = options.pop("delay_ms") / 1000
    options["faults"] = fail_first(options.pop("fail_first"), Status(500))
    path = options.pop("answers_file")
    answers: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path else {}

    def answer(body: Json) -> str:
        text = prompt_text(body)
        return next((answers[key] for key in answers if key in text), default_answer(body))

    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    with ProtocolServer(answer=answer, **options) as server:
        print(f"listening {server.url}", flush=True)
        done.wait()


if __name__ == "__main__":
    main()
