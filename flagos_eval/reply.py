"""What a server sent, read with suspicion: bytes -> `Reply`, or `InvalidReply`.

The client library builds its models without validation, so garbage with status 200 would pass as an
answer. Here a chat completion must have the documented shape before its text counts."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from .records import Usage
from .redact import redact

MAX_REPLY_BYTES = 32 * 2**20
"""Of an answer's body; more is not read off the connection (see `transport`)."""
_QUOTED = 4096
"""Bytes of a bad reply that are searched for keys before its beginning is quoted."""
_MOST_COUNT = 2**53
"""Of tokens or seconds: what is added up with others must stay exact, and a float."""
_LARGEST = sys.float_info.max
"""JSON has integers that no float can hold, and 1e999."""


class InvalidReply(ValueError):
    """The server said 200, and what it sent is no chat completion."""


@dataclass(frozen=True)
class Reply:
    """A chat completion's first choice."""

    text: str
    reasoning: str | None
    refusal: str | None
    finish_reason: str | None
    usage: Usage | None
    id: str | None
    created: int | None
    model: str | None
    logprobs: JsonValue
    """Per token ``[token, logprob, [[token, logprob], ...]]``, or None."""


def parse_reply(data: bytes) -> Reply:
    """Read the body of a chat completion.

    Raises:
        InvalidReply: not JSON, no choice, or fields of the wrong type; says which.
    """
    if len(data) > MAX_REPLY_BYTES:
        raise InvalidReply(f"the reply has more than {MAX_REPLY_BYTES} bytes")
    try:
        content = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidReply(f"the reply is not JSON ({error}): {_start(data)}") from error
    if not isinstance(content, dict):
        raise InvalidReply(f"the reply is not an object: {_start(data)}")
    choices = content.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise InvalidReply(f"the reply has no choices: {_start(data)}")
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        raise InvalidReply(f"the reply's choice has no message: {_start(data)}")
    return Reply(
        text=_text(message.get("content")),
        # vLLM renamed reasoning_content to reasoning.
        reasoning=_optional_text(message.get("reasoning_content") or message.get("reasoning")),
        refusal=_optional_text(message.get("refusal")),
        finish_reason=_shared(_optional_text(choice.get("finish_reason"))),
        usage=_usage(content.get("usage")),
        id=_optional_text(content.get("id")),
        created=_optional_count(content.get("created")),
        model=_shared(_optional_text(content.get("model"))),
        logprobs=_logprobs(choice.get("logprobs")),
    )


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _start(data: bytes) -> str:
    # Where a key could end in the middle: a part of one would not be known as one.
    return repr(redact(data[:_QUOTED].decode("utf-8", "replace"))[:80])


def _text(content: object) -> str:
    """The text of a message; None, as after reasoning that used every token, is an empty one."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        if parts and all(isinstance(part, str) for part in parts):
            return "".join(parts)  # type: ignore[arg-type]
    raise InvalidReply(f"the reply's content is {type(content).__name__}, not text")


def _optional_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    raise InvalidReply(f"{type(value).__name__} where text was expected")


def _shared(text: str | None) -> str | None:
    """A text that thousands of replies have in common, once in memory."""
    return text and sys.intern(text)


def _optional_count(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _MOST_COUNT:
        return None
    return value


def _usage(value: object) -> Usage | None:
    """Token counts, or None where the server gives none: nothing is estimated."""
    if not isinstance(value, dict):
        return None
    prompt = _optional_count(value.get("prompt_tokens"))
    completion = _optional_count(value.get("completion_tokens"))
    if prompt is None or completion is None or prompt < 0 or completion < 0:
        return None
    details = value.get("prompt_tokens_details")
    cached = _optional_count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return Usage(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached)


def _logprobs(value: object) -> JsonValue:
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(content, list):
        return None
    return [_token(entry, with_top=True) for entry in content]


def _token(entry: Any, *, with_top: bool = False) -> JsonValue:
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        raise InvalidReply("a log-probability without its token")
    value = entry.get("logprob")
    if not isinstance(value, (int, float)) or isinstance(value, bool) or abs(value) > _LARGEST:
        raise InvalidReply(f"log-probability {str(value)[:80]}")
    if not with_top:
        return [entry["token"], value]
    others = entry.get("top_logprobs") or []
    if not isinstance(others, list):
        raise InvalidReply(f"alternatives of a token are {type(others).__name__}, not a list")
    return [entry["token"], value, [_token(other) for other in others]]
