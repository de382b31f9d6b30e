"""Sample -> Request, and Request -> the body of an HTTP call. Pure: no server, no clock, no order.

`request` decides what is asked and hashes it; `body` writes it in the words of the OpenAI API, with
the image bytes in their places; `encoded` is the same as bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import JsonValue

from .errors import DatasetError
from .records import ImagePart, Message, Request, Sample, Sampling, TextPart
from .task import Prompt

_ENCODER = json.JSONEncoder(separators=(",", ":"))


def request(
    sample: Sample,
    prompt: Prompt,
    sampling: Sampling,
    *,
    repeat: int = 0,
    mm_processor_kwargs: Mapping[str, JsonValue] | None = None,
    digest: str | None = None,
) -> Request:
    """The question that is asked about a sample.

    Repeats are separate draws: each adds its number to the seed, which changes nothing at
    temperature 0. `digest` is the request's hash where it has been built before."""
    limits = dict(mm_processor_kwargs or {})
    chosen = sampling.model_copy(update={"seed": sampling.seed + repeat}) if repeat else sampling
    if any(image.absent for image in sample.images):
        raise DatasetError(f"{sample.task}: an image of item {sample.id} is not at hand")
    messages = (Message(role="user", content=prompt.build(sample)),)
    return Request(
        task=sample.task,
        sample_id=sample.id,
        repeat=repeat,
        messages=messages,
        sampling=chosen,
        mm_processor_kwargs=limits,
        hash=digest or Request.hash_body(messages, chosen, limits),
    )


def body(
    request: Request,
    model: str,
    read_image: Callable[[ImagePart], bytes],
    *,
    logprobs: int | None = None,
) -> dict[str, Any]:
    """The JSON body of a chat completion.

    Every sampling parameter is in it, because defaults differ between server versions: vLLM before
    0.8 ignores a model's generation_config and later ones apply it.

    Args:
        request: What to ask.
        model: The name the server gives the model.
        read_image: Image part -> its bytes, sent as they are.
        logprobs: Alternatives per token to report (``top_logprobs``), None for no log-
            probabilities.
    """
    return {
        "messages": [
            {
                "role": message.role,
                "content": [
                    _image(part, read_image)
                    if isinstance(part, ImagePart)
                    else {"type": "text", "text": part.text}
                    for part in message.content
                ],
            }
            for message in request.messages
        ],
        **_settings(request, model, logprobs),
    }


def _settings(request: Request, model: str, logprobs: int | None) -> dict[str, Any]:
    """Everything but the messages."""
    fields: dict[str, Any] = {"model": model, "stream": False, **request.sampling.model_dump()}
    if request.mm_processor_kwargs:
        fields["mm_processor_kwargs"] = request.mm_processor_kwargs
    if logprobs is not None:
        fields |= {"logprobs": True, "top_logprobs": logprobs}
    return fields


def encoded(
    request: Request,
    model: str,
    read_image: Callable[[ImagePart], bytes],
    *,
    logprobs: int | None = None,
) -> bytes:
    """The JSON of `body`.

    A picture goes from its bytes straight to its place: as a string among others it would be looked
    through for characters to escape and copied, which takes longer than encoding it."""
    rest = _settings(request, model, logprobs)
    messages = b",".join(
        b'{"role":%s,"content":[%s]}'
        % (_json(message.role), b",".join(_part(part, read_image) for part in message.content))
        for message in request.messages
    )
    return b'{"messages":[%s],%s' % (messages, _json(rest)[1:])


def _part(part: TextPart | ImagePart, read_image: Callable[[ImagePart], bytes]) -> bytes:
    if isinstance(part, TextPart):
        return b'{"type":"text","text":%s}' % _json(part.text)
    return b'{"type":"image_url","image_url":{"url":"data:%s;base64,%s"}}' % (
        _json(part.media_type)[1:-1],
        base64.b64encode(read_image(part)),
    )


def _json(value: Any) -> bytes:
    return _ENCODER.encode(value).encode("ascii")


def _image(part: ImagePart, read_image: Callable[[ImagePart], bytes]) -> dict[str, Any]:
    encoded = base64.b64encode(read_image(part)).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:{part.media_type};base64,{encoded}"}}
