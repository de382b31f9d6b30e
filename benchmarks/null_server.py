"""A server that costs next to nothing: one process, one answer, after a fixed time.

    python benchmarks/null_server.py [--delay-ms N [--uneven]] [--wrong-every N] [--questions]

Speaks as much of vLLM's protocol as `flagos-eval run` and other harnesses need. It counts what it
gets (``/stats``) and reads of a body only the length, which its token counts follow, so that a
picture shows in them. With ``--uneven`` an answer takes between half of N and one and a half, so
that requests which came together do not end together. With ``--questions`` it looks for
``[item N]`` in every body: ``/questions`` lists those that say so, with their times and the size of
the picture. Prints its address when it listens, and ends with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from dataclasses import dataclass
from typing import Any

MODEL = "null"
TEXT = (
    "Let us look at the figure. The two marked segments are equal and the angle between them is a "
    "right angle, so the triangle is half of a square. With the given side this leaves one of the "
    "five options, as the others are larger than the whole figure. The answer is \\boxed{B}."
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect: *100-continue", re.IGNORECASE)
_ITEM = b"[item "
_PICTURE = b";base64,"


class Counts:
    """What came in since the start."""

    def __init__(self) -> None:
        self.started = time.time()
        self.first_request = 0.0
        """When it came; 0 before."""
        self.requests = self.completed = self.body_bytes = self.in_flight = self.most_in_flight = 0
        self.connections = 0
        self._low: list[int] = []
        """The fewest in flight between each request and the next."""

    def arrived(self, body: int) -> None:
        """A request of so many bytes."""
        self.requests += 1
        self.first_request = self.first_request or time.time()
        self.body_bytes += body
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self._low.append(self.in_flight)

    def ended(self) -> None:
        """One was answered."""
        self.completed += 1
        self.in_flight -= 1
        self._low[-1] = min(self._low[-1], self.in_flight)

    def page(self) -> dict[str, Any]:
        """What `/stats` says.

        `lowest_in_flight` is the fewest requests at any moment between the first at which 90 % of
        the most were there and the last 1 % of the requests: not far below the most if the client's
        queue never ran dry, and near 0 if it did. `requests_below_half` is how many came in that
        time when fewer than half of the most were there.
        """
        full = (n for n, low in enumerate(self._low) if 10 * low >= 9 * self.most_in_flight)
        inner = self._low[next(full, 0) : len(self._low) - len(self._low) // 100]
        return {
            **{name: value for name, value in vars(self).items() if not name.startswith("_")},
            "lowest_in_flight": min(inner, default=0),
            "requests_below_half": sum(2 * low < self.most_in_flight for low in inner),
        }


@dataclass
class Question:
    """A request that says ``[item N]``."""

    number: int
    body_bytes: int
    picture_bytes: int
    """Characters of base64 of its first picture; 0 without one."""
    received: float
    """Seconds since 1970 at which it was whole."""
    answered: float = 0.0
    """Seconds since 1970; 0 before."""


def question(body: bytes | bytearray) -> Question | None:
    """What a body asks; None if it names no item."""
    start = body.find(_ITEM)
    end = body.find(b"]", start)
    if start < 0 or end < 0:
        return None
    picture = body.find(_PICTURE)
    length = 0
    if picture >= 0:
        picture += len(_PICTURE)
        length = body.find(b'"', picture) - picture
    return Question(int(body[start + len(_ITEM) : end]), len(body), length, time.time())


class Connection(asyncio.Protocol):
    """One client; requests on a connection follow each other."""

    def __init__(
        self,
        counts: Counts,
        questions: list[Question] | None,
        delay: float,
        wrong_every: int,
        uneven: bool,
    ) -> None:
        self._counts, self._questions, self._delay = counts, questions, delay
        self._wrong_every, self._uneven = wrong_every, uneven
        self._received = bytearray()
        self._needed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._counts.connections += 1

    def data_received(self, data: bytes) -> None:
        """Answer when a request is whole."""
        self._received += data
        if len(self._received) < self._needed:
            return
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._received[:end])
        length = _LENGTH.search(head)
        body = int(length[1]) if length else 0
        self._needed = end + 4 + body
        if len(self._received) < self._needed:
            if _EXPECT.search(head):
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        content = self._received[end + 4 : self._needed]
        del self._received[: self._needed]
        self._needed = 0
        self._answer(head.split(b" ", 2)[1].decode("ascii"), content)

    def _answer(self, path: str, content: bytearray) -> None:
        counts, body = self._counts, len(content)
        if path != "/v1/chat/completions":
            self._send(_page(path, counts, self._questions))
            return
        asked = None
        if self._questions is not None and (asked := question(content)):
            self._questions.append(asked)
        counts.arrived(body)
        delay = self._delay
        if self._uneven:
            delay *= 0.5 + counts.requests * 0.618034 % 1
        if delay:
            asyncio.get_running_loop().call_later(delay, self._complete, body, asked)
        else:
            self._complete(body, asked)

    def _complete(self, body: int, asked: Question | None) -> None:
        self._counts.ended()
        wrong = self._wrong_every > 0 and self._counts.completed % self._wrong_every == 0
        self._send(_completion(body, self._counts.requests, wrong))
        if asked:
            asked.answered = time.time()

    def _send(self, payload: bytes | None) -> None:
        status = b"200 OK" if payload is not None else b"404 Not Found"
        payload = payload or b""
        if not self._transport.is_closing():
            self._transport.write(
                b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (status, len(payload), payload)
            )


def _completion(body: int, number: int, wrong: bool) -> bytes:
    filled = _TEMPLATE % (number, time.time(), body // 64 + 1, body // 64 + 81)
    return filled.replace(b"boxed{B}", b"boxed{C}") if wrong else filled


_TEMPLATE = (
    b'{"id":"chatcmpl-%032x","object":"chat.completion","created":%d,"model":"'
    + MODEL.encode()
    + b'","choices":[{"index":0,"message":{"role":"assistant","content":'
    + json.dumps(TEXT).encode().replace(b"%", b"%%")
    + b',"reasoning_content":null,"tool_calls":[]},"logprobs":null,"finish_reason":"stop",'
    b'"stop_reason":null}],"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":80,'
    b'"prompt_tokens_details":null},"prompt_logprobs":null}'
)


def _page(path: str, counts: Counts, questions: list[Question] | None) -> bytes | None:
    if path == "/metrics":
        return b"process_start_time_seconds %.3f\n" % counts.started
    if path == "/questions" and questions is not None:
        return json.dumps([vars(asked) for asked in questions]).encode()
    pages: dict[str, dict[str, Any]] = {
        "/v1/models": {
            "object": "list",
            "data": [{"id": MODEL, "object": "model", "root": MODEL, "max_model_len": 32768}],
        },
        "/version": {"version": "0.11.0"},
        "/health": {},
        "/stats": counts.page(),
    }
    return json.dumps(pages[path]).encode() if path in pages else None


async def serve(delay: float, wrong_every: int, look: bool, uneven: bool) -> None:
    """Listen on a free port until standard input ends; `look` for questions in bodies or not."""
    counts, loop = Counts(), asyncio.get_running_loop()
    questions: list[Question] | None = [] if look else None
    server = await loop.create_server(
        lambda: Connection(counts, questions, delay, wrong_every, uneven),
        "127.0.0.1",
        0,
        backlog=1024,
    )
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}/v1", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--wrong-every", type=int, default=0, help="answer C instead of B")
    parser.add_argument("--questions", action="store_true", help="look for [item N] in bodies")
    parser.add_argument("--uneven", action="store_true", help="0.5 to 1.5 times the delay")
    options = parser.parse_args()
    asyncio.run(
        serve(options.delay_ms / 1000, options.wrong_every, options.questions, options.uneven)
    )
