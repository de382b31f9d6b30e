"""A chat request to the token ids, positions and pictures that the model reads."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .pictures import MERGE, BadImage, Picture, read
from .variants import Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IMAGE, _END = "<|image_pad|>", "<|im_end|>"


class BadRequest(ValueError):
    """The request is not one that can be answered; the message says why."""


@dataclass(frozen=True)
class Conversation:
    """What the model reads before it answers."""

    ids: tuple[int, ...]
    pictures: tuple[Picture, ...]
    positions: NDArray[np.int64]
    """(3, tokens): time, row and column of every token."""
    next_position: int
    """Of the first token of the answer."""


class Chat:
    """The model's chat template and tokenizer."""

    def __init__(self, folder: Path, variant: Variant) -> None:
        import jinja2
        from tokenizers import Tokenizer

        self._variant = variant
        self._tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # As transformers and vLLM render chat templates.
        environment = jinja2.Environment(
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,  # noqa: S701 - of prompts, not of pages
        )
        source = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        self._template = environment.from_string(source)
        self.image_id, self.end_id = self._id(_IMAGE), self._id(_END)

    def _id(self, token: str) -> int:
        found: int | None = self._tokens.token_to_id(token)
        if found is None:
            raise ValueError(f"the tokenizer has no {token}")
        return found

    def read(self, body: dict[str, Any]) -> Conversation:
        """The conversation of a request.

        Raises:
            BadRequest: messages of another shape, or an image that cannot be read.
        """
        limits = body.get("mm_processor_kwargs") or {}
        max_pixels = limits.get("max_pixels") if isinstance(limits, dict) else None
        messages, pictures = self._messages(body.get("messages"), max_pixels)
        if self._variant.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self._variant.system_prompt})
        text = self._template.render(messages=messages, add_generation_prompt=True)
        parts = text.split(_IMAGE)
        if len(parts) != len(pictures) + 1:
            raise BadRequest("the text holds an image placeholder of its own")
        text = parts[0] + "".join(
            _IMAGE * picture.tokens + part
            for picture, part in zip(pictures, parts[1:], strict=True)
        )
        ids = self._tokens.encode(text, add_special_tokens=False).ids
        positions, following = place(ids, self.image_id, pictures)
        return Conversation(tuple(ids), tuple(pictures), positions, following)

    def _messages(
        self, given: object, max_pixels: int | None
    ) -> tuple[list[dict[str, Any]], list[Picture]]:
        if not isinstance(given, list) or not given:
            raise BadRequest("messages must be a list with at least one message")
        pictures: list[Picture] = []
        messages: list[dict[str, Any]] = []
        for message in given:
            if not isinstance(message, dict):
                raise BadRequest("a message must be an object")
            content = message.get("content")
            if isinstance(content, list):
                content = [self._part(part, pictures, max_pixels) for part in content]
            elif not isinstance(content, str):
                raise BadRequest("content must be a text or a list of parts")
            messages.append({"role": str(message.get("role")), "content": content})
        return messages, pictures

    def _part(
        self, part: object, pictures: list[Picture], max_pixels: int | None
    ) -> dict[str, Any]:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, dict) and kind == "text" and isinstance(part.get("text"), str):
            return {"type": "text", "text": part["text"]}
        if isinstance(part, dict) and kind == "image_url" and isinstance(part["image_url"], dict):
            try:
                pictures.append(read(_decoded(part["image_url"]), self._variant, max_pixels))
            except BadImage as error:
                raise BadRequest(f"Failed to load image: {error}") from error
            return {"type": "image"}
        raise BadRequest(f"a content part of type {kind!r} is not understood")

    def text(self, ids: list[int]) -> str:
        """The text of an answer's tokens."""
        decoded: str = self._tokens.decode(ids, skip_special_tokens=True)
        return decoded

    def token(self, number: int) -> str:
        """One token as text, special ones included."""
        decoded: str = self._tokens.decode([number], skip_special_tokens=False)
        return decoded


def _decoded(image_url: dict[str, Any]) -> bytes:
    head, separator, data = str(image_url.get("url")).partition(",")
    if not separator or not head.startswith("data:") or not head.endswith(";base64"):
        raise BadImage("only base64 data URLs are taken")
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise BadImage(f"not base64 ({error})") from error


def place(ids: list[int], image_id: int, pictures: list[Picture]) -> tuple[NDArray[np.int64], int]:
    """Qwen2.5-VL's positions: text counts on, a picture spans its rows and columns.

    Source: ``get_rope_index`` of transformers' ``modeling_qwen2_5_vl.py``, for still pictures.

    Returns:
        (3, tokens) positions, and the position of the next token.
    """
    positions = np.zeros((3, len(ids)), dtype=np.int64)
    at = now = 0
    waiting = iter(pictures)
    while at < len(ids):
        if ids[at] != image_id:
            positions[:, at] = now
            at, now = at + 1, now + 1
            continue
        picture = next(waiting)
        rows, columns = picture.rows // MERGE, picture.columns // MERGE
        until = at + picture.tokens
        positions[0, at:until] = now
        positions[1, at:until] = now + np.repeat(np.arange(rows), columns)
        positions[2, at:until] = now + np.tile(np.arange(columns), rows)
        at, now = until, now + max(rows, columns)
    return positions, now
