"""What the server can do, found once at the start by the shape of its answers.

vLLM ignores request fields it does not know and says 200, so a feature counts as supported only
when the answer shows it. What cannot be told from an answer is *not verified*."""

from __future__ import annotations

import asyncio
import base64
import struct
import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import openai

from .client import Client
from .errors import ServerRefused, ServerUnreachable
from .interruptible import together
from .records import Capability, Sampling
from .redact import redact
from .reply import InvalidReply, Reply

_SMALL = 56 * 56
"""The lower limit of Qwen2-VL's image processor: any server that heeds limits can go down to it."""
_Ask = Callable[[dict[str, Any]], Awaitable[Reply]]
_Check = Callable[[_Ask, str], Awaitable[Capability]]


def checkerboard(side: int) -> bytes:
    """A PNG of black and white squares, `side` pixels wide and high."""
    row = b"".join(b"\xff\xff\xff" if (x // 8) % 2 else b"\x00\x00\x00" for x in range(side))
    pixels = (b"\x00" + row) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _body(model: str, image: bytes | None = None, **fields: Any) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": "Describe the picture."}]
    if image is not None:
        url = "data:image/png;base64," + base64.b64encode(image).decode("ascii")
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    sampling = Sampling(max_tokens=8).model_dump()
    return {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "stream": False,
        **sampling,
        **fields,
    }


async def probe(client: Client) -> tuple[Capability, ...]:
    """Ask once per optional feature: all of them at the first address, and at the others those that
    show in the shape of an answer, as texts can differ between servers that are alike.

    Raises:
        ServerRefused: the key or the model's name is not accepted, or the addresses differ: an
            answer would hang on where it was asked for.
        ServerUnreachable: even a plain question gets no answer.
    """
    first = await _probe(client, 0, (*_SHAPES, *_TEXTS))
    others = range(1, len(client.addresses))
    for place, found in zip(
        others, await together(_probe(client, place, _SHAPES) for place in others), strict=True
    ):
        _must_be_alike(client.addresses[0], first, client.addresses[place], found)
    return first


async def _probe(client: Client, place: int, checks: Sequence[_Check]) -> tuple[Capability, ...]:
    url = client.addresses[place]

    async def ask(body: dict[str, Any]) -> Reply:
        return await client.post(body, place)

    try:
        await ask(_body(client.model))
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        raise ServerRefused(
            f"the server at {url} does not accept the API key", hint="set OPENAI_API_KEY"
        ) from error
    except openai.NotFoundError as error:
        raise ServerRefused(
            f"the server at {url} does not know the model {client.model!r}"
        ) from error
    except (openai.OpenAIError, InvalidReply, asyncio.TimeoutError) as error:
        raise ServerUnreachable(
            f"the server at {url} does not answer a plain question: {redact(str(error))}"
        ) from error
    return tuple([await _guarded(check, ask, client.model) for check in checks])


def _must_be_alike(
    one: str, first: Sequence[Capability], other: str, second: Sequence[Capability]
) -> None:
    known = {capability.name: capability for capability in first}
    for capability in second:
        before = known[capability.name]
        states = {before.state, capability.state}
        if len(states) > 1 and "not_verified" not in states:
            raise ServerRefused(
                f"{one} and {other} are not alike: {before.name} is {before.state} at the first "
                f"({before.detail}) and {capability.state} at the second ({capability.detail})",
                hint="start both with the same version and settings",
            )


async def _guarded(check: _Check, ask: _Ask, model: str) -> Capability:
    name = check.__name__.removeprefix("_")
    try:
        return await check(ask, model)
    except openai.APIStatusError as error:
        # A busy or broken server says nothing about the feature.
        passing = error.status_code in (408, 409, 429) or error.status_code >= 500
        state = "not_verified" if passing else "rejected"
        return Capability(name=name, state=state, detail=f"HTTP {error.status_code}")
    except (openai.OpenAIError, InvalidReply, asyncio.TimeoutError) as error:
        detail = redact(f"{type(error).__name__}: {error}", 200)
        return Capability(name=name, state="not_verified", detail=detail)


async def _image(ask: _Ask, model: str) -> Capability:
    without, with_image = await ask(_body(model)), await ask(_body(model, checkerboard(112)))
    if without.usage is None or with_image.usage is None:
        return Capability(
            name="image", state="not_verified", detail="no token counts in the answer"
        )
    more = with_image.usage.prompt_tokens - without.usage.prompt_tokens
    state = "supported" if more > 0 else "ignored"
    return Capability(
        name="image", state=state, detail=f"an image of 112x112 adds {more} prompt tokens"
    )


async def _max_pixels(ask: _Ask, model: str) -> Capability:
    image = checkerboard(448)
    limits = {"max_pixels": _SMALL}
    free, limited = (
        await ask(_body(model, image)),
        await ask(_body(model, image, mm_processor_kwargs=limits)),
    )
    if free.usage is None or limited.usage is None:
        return Capability(
            name="max_pixels", state="not_verified", detail="no token counts in the answer"
        )
    before, after = free.usage.prompt_tokens, limited.usage.prompt_tokens
    return Capability(
        name="max_pixels",
        state="supported" if after < before else "ignored",
        detail=f"448x448: {before} prompt tokens, {after} when limited to {_SMALL} pixels",
    )


async def _logprobs(ask: _Ask, model: str) -> Capability:
    reply = await ask(_body(model, logprobs=True, top_logprobs=2))
    tokens = reply.logprobs if isinstance(reply.logprobs, list) else []
    state = "supported" if tokens else "ignored"
    return Capability(
        name="logprobs", state=state, detail=f"{len(tokens)} tokens with log-probabilities"
    )


async def _seed(ask: _Ask, model: str) -> Capability:
    texts = [(await ask(_body(model, temperature=1.5, seed=1234))).text for _ in range(3)]
    others = [(await ask(_body(model, temperature=1.5, seed=seed))).text for seed in (1, 2, 3)]
    if len(set(texts)) > 1:
        return Capability(
            name="seed", state="ignored", detail="one seed, several texts at temperature 1.5"
        )
    if set(others) == set(texts):
        return Capability(
            name="seed", state="not_verified", detail="every seed gives the same text"
        )
    return Capability(
        name="seed", state="supported", detail="one seed, one text; other seeds, others"
    )


async def _greedy_when(name: str, ask: _Ask, model: str, **fields: Any) -> Capability:
    """A field that must make hot sampling greedy: if texts still vary, it is ignored."""
    greedy = (await ask(_body(model))).text
    hot = [(await ask(_body(model, temperature=2.0, seed=s, **fields))).text for s in (1, 2)]
    if any(text != greedy for text in hot):
        return Capability(
            name=name, state="ignored", detail=f"{fields} at temperature 2 is not greedy"
        )
    free = [(await ask(_body(model, temperature=2.0, seed=s))).text for s in (1, 2)]
    if all(text == greedy for text in free):
        return Capability(
            name=name, state="not_verified", detail="temperature 2 is greedy without it too"
        )
    return Capability(name=name, state="supported", detail=f"{fields} makes temperature 2 greedy")


async def _top_k(ask: _Ask, model: str) -> Capability:
    return await _greedy_when("top_k", ask, model, top_k=1)


async def _min_p(ask: _Ask, model: str) -> Capability:
    return await _greedy_when("min_p", ask, model, min_p=1.0)


async def _repetition_penalty(ask: _Ask, model: str) -> Capability:
    """A penalty can only be seen where it changes the text; an unchanged text shows nothing."""
    plain = (await ask(_body(model, max_tokens=24))).text
    penalised = (await ask(_body(model, max_tokens=24, repetition_penalty=10.0))).text
    state = "supported" if plain != penalised else "not_verified"
    return Capability(
        name="repetition_penalty", state=state, detail="1 against 10, at temperature 0"
    )


_SHAPES = (_image, _max_pixels, _logprobs)
_TEXTS = (_seed, _top_k, _min_p, _repetition_penalty)
