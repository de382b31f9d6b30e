"""A request travels as bytes, over aiohttp or over httpx, with the same outcome."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import openai
import protocol_server as ps
import pytest
from protocol_server import ProtocolServer

from flagos_eval import transport
from flagos_eval.transport import Link

BODY = json.dumps(
    {"model": "tiny", "messages": [{"role": "user", "content": "图 one"}], "temperature": 0}
).encode()


@pytest.fixture(params=["aiohttp", "httpx"])
def carried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What carries the bytes in this test."""
    if request.param == "aiohttp":
        pytest.importorskip("aiohttp")
    monkeypatch.setattr(transport, "has_aiohttp", lambda: request.param == "aiohttp")
    return str(request.param)


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer(answer=lambda body: "B") as running:
        yield running


def posted(
    server: ProtocolServer, *bodies: bytes, at_once: bool = False, api_key: str | None = None
) -> tuple[list[bytes], int]:
    """The answers, and how many connections there were."""

    async def work() -> tuple[list[bytes], int]:
        link = Link(server.url, api_key, 5)
        try:
            if at_once:
                answers = await asyncio.gather(*(link.post(body) for body in bodies))
            else:
                answers = [await link.post(body) for body in bodies]
        finally:
            await link.close()
        return list(answers), link.opened

    return asyncio.run(work())


def test_bytes_arrive_as_they_are_with_their_type(carried: str, server: ProtocolServer) -> None:
    answers, _ = posted(server, BODY, api_key="hunter22")
    (sent,) = server.requests
    assert sent.raw == BODY
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["content-length"] == str(len(BODY))
    assert sent.headers["authorization"] == "Bearer hunter22"
    assert sent.headers["user-agent"].startswith("AsyncOpenAI/")
    assert json.loads(answers[0])["choices"][0]["message"]["content"] == "B"


@pytest.mark.parametrize("size", [2**20 - 1, 2**20, 3 * 2**20])
def test_a_large_body_arrives_whole(carried: str, size: int) -> None:
    body = BODY + b" " * (size - len(BODY))
    with ProtocolServer() as server:
        posted(server, body)
        assert [sent.raw for sent in server.requests] == [body]


def test_a_connection_is_used_again_and_counted_once(carried: str, server: ProtocolServer) -> None:
    assert posted(server, *[BODY] * 5)[1] == 1


def test_every_connection_is_counted(carried: str) -> None:
    with ProtocolServer(delay=0.1) as server:
        assert posted(server, *[BODY] * 5, at_once=True)[1] == 5


def test_more_connections_than_the_library_keeps_by_itself_are_kept() -> None:
    pytest.importorskip("aiohttp")
    with ProtocolServer(delay=0.2) as server:

        async def work() -> int:
            link = Link(server.url, None, 10)
            for _ in range(2):
                await asyncio.gather(*(link.post(BODY) for _ in range(120)))
            await link.close()
            return link.opened

        assert asyncio.run(work()) == 120


def test_a_connection_whose_first_answer_is_a_refusal_counts(carried: str) -> None:
    async def work(server: ProtocolServer) -> list[int]:
        link, counts = Link(server.url, None, 5), []
        for _ in range(2):
            with contextlib.suppress(openai.InternalServerError):
                await link.post(BODY)
            counts.append(link.opened)
        await link.close()
        return counts

    with ProtocolServer(faults=ps.fail_first(1, ps.Status(503))) as server:
        assert asyncio.run(work(server)) == [1, 1]


@dataclass(frozen=True)
class Packed(ps.Fault):
    """A correct reply, compressed."""

    def serve(self, call: ps.Exchange) -> None:
        packed = gzip.compress(call.payload())
        call.send(200, packed, headers={"Content-Encoding": "gzip"})


def test_a_compressed_answer_is_read(carried: str) -> None:
    with ProtocolServer(faults=lambda info: Packed()) as server:
        (answer,), _ = posted(server, BODY)
    assert json.loads(answer)["object"] == "chat.completion"


BROKEN = {
    "closed": ps.Hang(0),
    "reset before the headers": ps.Reset(None),
    "reset in the body": ps.Reset(16),
    "cut": ps.Truncated(16),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_connection_is_the_librarys_error_with_its_cause(carried: str, fault: str) -> None:
    with (
        ProtocolServer(faults=lambda info: BROKEN[fault]) as server,
        pytest.raises(openai.APIConnectionError) as caught,
    ):
        posted(server, BODY)
    assert type(caught.value.__cause__).__name__ in ("ReadError", "RemoteProtocolError")


def test_nobody_there_is_the_librarys_error_with_a_reason(carried: str) -> None:
    with ProtocolServer() as server:
        pass
    with pytest.raises(openai.APIConnectionError) as caught:
        posted(server, BODY)
    assert str(caught.value.__cause__)


def test_a_status_is_the_librarys_error_with_what_was_said(carried: str) -> None:
    refusal = ps.Status(400, body=ps.error_body(400, "too many pixels", "BadRequestError"))
    with (
        ProtocolServer(faults=lambda info: refusal) as server,
        pytest.raises(openai.BadRequestError, match="too many pixels"),
    ):
        posted(server, BODY)


def test_a_proxy_of_the_environment_is_asked_for_other_machines(
    carried: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProtocolServer(answer=lambda body: "by proxy") as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)

        async def work() -> None:
            link = Link("http://flagos-eval.invalid:8000/v1", None, 5)
            with pytest.raises(openai.NotFoundError):
                await link.post(BODY)  # the stand-in does not know an address in full
            await link.close()

        asyncio.run(work())
        assert proxy.calls["http://flagos-eval.invalid:8000/v1/chat/completions"] == 1


def test_no_proxy_is_asked_for_this_machine(
    carried: str, server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        assert len(posted(server, BODY)[0]) == 1


class Endless(asyncio.Protocol):
    """Answers whatever comes with a body that never ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.going = transport, False

    def data_received(self, data: bytes) -> None:
        if not self.going:
            self.going = True
            self.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            self.more()

    def more(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"%x\r\n%b\r\n" % (2**16, bytes(2**16)))
            # What the client has not read stays here, and waits.
            waits = self.transport.get_write_buffer_size() > 2**20
            asyncio.get_running_loop().call_later(0.001 if waits else 0, self.more)


def test_an_answer_without_end_is_cut_where_it_is_too_long(
    carried: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_MOST", 2**20 + 1)

    async def work() -> bytes:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Endless, "127.0.0.1", 0)
        link = Link(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", None, 60)
        try:
            return await link.post(BODY)
        finally:
            await link.close()
            server.close()

    assert len(asyncio.run(work())) == 2**20 + 1


def test_a_packed_answer_is_unpacked_no_further_than_it_can_be_of_use(
    carried: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_MOST", 2**20 + 1)
    packed = gzip.compress(bytes(2**26))
    headers = {"Content-Encoding": "gzip", "Content-Length": str(len(packed))}
    assert answered_with(200, headers, packed) == bytes(2**20 + 1)


def answered_with(status: int, headers: dict[str, str], body: bytes) -> bytes:
    """What is made of an answer, which a redirect sends to /elsewhere."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
        sent = await reader.readexactly(length)
        if b"/elsewhere" in head.split(b"\r\n", 1)[0]:
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(sent), sent)
        else:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            answer = f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + body
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def work() -> bytes:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        link = Link(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", None, 60)
        try:
            return await link.post(BODY)
        finally:
            await link.close()
            server.close()

    return asyncio.run(work())


def test_a_redirect_is_followed_with_the_whole_question(carried: str) -> None:
    headers = {"Location": "/elsewhere", "Content-Length": "0", "Connection": "close"}
    assert answered_with(307, headers, b"") == BODY
