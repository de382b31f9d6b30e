"""A dataset's table -> what lmms-eval asks about each document, with the images' own bytes.

lmms-eval hands its task functions decoded images and encodes what they return as PNG. Where a
returned image shows exactly what an image of the document holds, the document's bytes are sent
instead; otherwise it is encoded, which is recorded."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DatasetError, FlagosEvalError, UsageError
from ..records import ImagePart, Sample, TextPart
from ..task import Row
from . import codec
from .describe import Description
from .images import Held, held_images, same_pixels, to_png

_ID_FIELDS = ("id", "idx", "question_id", "questionId", "pid", "qid", "uid", "index")
"""Fields that may name a document; the first that does so uniquely is used, else its number."""


@dataclass(frozen=True)
class _Image:
    """An image of a question: the document's own, by its place, or one that was made of it."""

    held: Held | None
    png: bytes | None
    converted_from: str | None


class Documents:
    """A table's documents as rows: ``id``, ``parts``, ``target``, ``doc``, ``converted`` and images
    by name. By its number, a document gives its images again."""

    def __init__(self, task: Description, table: Any) -> None:
        """Run the task's own preparation of its documents.

        Raises:
            DatasetError: it fails.
        """
        self._task = task
        encoded = _decoding(table, False)
        prepare = task.settings.get("process_docs")
        if prepare is not None:
            encoded = _prepared(task, prepare, encoded)
        self._encoded = encoded
        self._decoded = _decoding(encoded, True)
        self._media = {name for name, kind in encoded.features.items() if _is_media(kind)}
        self._ids = _ids(encoded)
        self._places: dict[int, dict[str, int]] = {}

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """The documents in order.

        Raises:
            DatasetError: the task's code fails on one, or draws random numbers.
            UsageError: a question is of a kind that cannot be asked.
        """
        return (self._row(index) for index in range(len(self._encoded)))

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """A document's images by name; without the task's code where all are the document's own."""
        if index not in self._places:
            return self._row(index)
        held = list(held_images(self._encoded[index]))
        return {name: {"bytes": held[place].read()} for name, place in self._places[index].items()}

    def _row(self, index: int) -> Mapping[str, Any]:
        where = f"lmms:{self._task.name}, document {index}"
        encoded = self._encoded[index]
        text_only = {name: value for name, value in encoded.items() if name not in self._media}
        content, target = self._asked(self._decoded[index], text_only, where)
        candidates = list(held_images(encoded))
        parts: list[dict[str, str]] = []
        images: dict[str, _Image] = {}
        for kind, value in content:
            if kind == "text":
                parts.append({"text": value})
                continue
            name = f"image_{len(images)}"
            images[name] = _image(value, candidates, where)
            parts.append({"image": name})
        places = {n: candidates.index(i.held) for n, i in images.items() if i.held is not None}
        if len(places) == len(images):
            self._places[index] = places
        return {
            "id": self._ids(index),
            "parts": parts,
            "target": target,
            "doc": codec.encode(text_only),
            "converted": {name: image.converted_from for name, image in images.items()},
            **{
                name: {"bytes": image.png if image.held is None else image.held.read()}
                for name, image in images.items()
            },
        }

    def _asked(
        self, doc: dict[str, Any], text_only: dict[str, Any], where: str
    ) -> tuple[list[tuple[str, Any]], list[str]]:
        """The user's message and the accepted answers, by the task's functions."""
        try:
            with self._task.sandbox.call() as seen:
                content = _content(messages(self._task, doc), where)
                target = targets(self._task, text_only)
        except FlagosEvalError:
            raise
        except Exception as error:  # the task's code on a document that it may not expect
            raise DatasetError(f"{where}: {type(error).__name__}: {error}") from error
        if seen.random:
            raise DatasetError(
                f"{where}: the question is drawn at random, so that no two runs would ask the same"
            )
        return content, target


def to_sample(task: Description) -> Callable[[Row], Sample]:
    """What turns a row of `Documents` into a sample."""

    def convert(row: Row) -> Sample:
        parts: list[TextPart | ImagePart] = []
        for part in row["parts"]:
            if "text" in part:
                parts.append(TextPart(text=part["text"]))
                continue
            image = row.image(part["image"])
            source = row["converted"][part["image"]]
            parts.append(image.model_copy(update={"converted_from": source}) if source else image)
        return Sample.create(
            task=f"lmms:{task.name}",
            id=row["id"],
            input=parts,
            target=row["target"],
            metadata={"doc": row["doc"]},
        )

    return convert


# --- Tables ---------------------------------------------------------------------------------------


def _decoding(table: Any, decode: bool) -> Any:
    """The table with its images, also those in lists, decoded or as they are."""
    for name, kind in table.features.items():
        if _is_media(kind):
            table = table.cast_column(name, _decoded_kind(kind, decode))
    return table


def _decoded_kind(kind: Any, decode: bool) -> Any:
    if type(kind).__name__ in ("Image", "Audio", "Video"):
        # Sounds and videos are never shown here.
        return type(kind)(decode=decode and type(kind).__name__ == "Image")
    inner = _decoded_kind(kind[0] if isinstance(kind, list) else kind.feature, decode)
    return [inner] if isinstance(kind, list) else type(kind)(inner)


def _is_media(kind: Any) -> bool:
    """Whether lmms-eval leaves the column out of what it scores."""
    while isinstance(kind, list) or type(kind).__name__ in ("Sequence", "List", "LargeList"):
        kind = kind[0] if isinstance(kind, list) else kind.feature
    return type(kind).__name__ in ("Image", "Audio", "Video")


def _prepared(task: Description, prepare: Callable[[Any], Any], table: Any) -> Any:
    """The documents after the task's own preparation.

    First with images as they are: a preparation that hands decoded images on would have them
    encoded again, some with losses."""
    import datasets

    cached = datasets.is_caching_enabled()
    datasets.disable_caching()  # a result is kept under the function's name, whatever it does today
    try:
        with task.sandbox.call():
            try:
                return _decoding(prepare(table), False)
            except Exception:  # it wants pictures
                return _decoding(prepare(_decoding(table, True)), False)
    except Exception as error:
        raise DatasetError(
            f"lmms:{task.name}: its documents cannot be prepared ({type(error).__name__}: {error})"
        ) from error
    finally:
        if cached:
            datasets.enable_caching()


def _ids(table: Any) -> Callable[[int], str]:
    for name in _ID_FIELDS:
        if name in table.column_names:
            values = table[name][:]
            named = all(isinstance(value, str | int) and str(value) for value in values)
            if named and len({str(value) for value in values}) == len(values):
                return lambda index, values=values: str(values[index])  # type: ignore[misc]
    return str


# --- Questions ------------------------------------------------------------------------------------


def messages(task: Description, doc: dict[str, Any]) -> Any:
    """A document's messages as lmms-eval's chat models get them (``doc_to_messages`` in 0.7.3)."""
    build, settings = task.settings.get("doc_to_messages"), task.prompt_settings
    if callable(build):
        named = inspect.signature(build).parameters
        anything = any(p.kind is p.VAR_KEYWORD for p in named.values())
        told = "lmms_eval_specific_kwargs" in named or anything or len(named) == 2
        if settings is not None and told:
            return build(doc, lmms_eval_specific_kwargs=settings)
        return build(doc)
    shown = _visuals(task, doc, settings) or []
    text = _text(task.settings["doc_to_text"], doc, settings)
    content = [{"type": "image", "url": image} for image in shown]
    return [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]


def _visuals(task: Description, doc: dict[str, Any], settings: dict[str, Any] | None) -> Any:
    show = task.settings["doc_to_visual"]
    if isinstance(show, str):
        return [doc[show]]
    if settings is not None and len(inspect.signature(show).parameters) == 2:
        return show(doc, settings)
    return show(doc)


def _text(rule: Any, doc: dict[str, Any], settings: dict[str, Any] | None) -> Any:
    if callable(rule):
        return rule(doc) if settings is None else rule(doc, settings)
    return _filled(rule, doc)


def targets(task: Description, doc: dict[str, Any]) -> list[str]:
    """The accepted answers of a document, as texts."""
    rule = task.settings.get("doc_to_target")
    if callable(rule):
        settings = task.settings.get("model_specific_target_kwargs")
        chosen = settings.get("default") if settings else None
        value = rule(doc) if chosen is None else rule(doc, chosen)
    else:
        value = _filled(rule, doc)
        if isinstance(value, str) and value[:1] == "[" and value[-1:] == "]":
            value = _literal(value)
    found = value if isinstance(value, list | tuple) else [value]
    return [one if isinstance(one, str) else json.dumps(codec.encode(one)) for one in found]


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _filled(rule: Any, doc: Mapping[str, Any]) -> Any:
    """A field by its name, or a template over the fields."""
    if not isinstance(rule, str):
        return rule
    if rule in doc:
        return doc[rule]
    if "{" not in rule:
        return rule
    import re

    from jinja2 import BaseLoader, Environment, StrictUndefined

    def replace(text: str, pattern: str, by: str, count: int = 0) -> str:
        return re.sub(pattern, by, text, count=count)

    # The templates are lmms-eval's own, documents are but their variables; prompts are no pages.
    environment = Environment(loader=BaseLoader(), undefined=StrictUndefined)  # noqa: S701
    environment.filters["regex_replace"] = replace
    return environment.from_string(rule).render(**doc)


def _content(asked: Any, where: str) -> list[tuple[str, Any]]:
    """The user's one message as ("text", str) and ("image", image) in order."""
    roles = [message["role"] for message in asked]
    if roles != ["user"]:
        raise UsageError(f"{where}: {len(roles)} messages ({', '.join(roles)}), not one question")
    parts = asked[0]["content"]
    if isinstance(parts, str):
        return [("text", parts)]
    found = []
    for part in parts:
        kind = part["type"]
        if kind not in ("text", "image"):
            raise UsageError(f"{where}: its question holds {kind}, not texts and images alone")
        found.append((kind, part["text"] if kind == "text" else part["url"]))
    return found


def _image(shown: Any, candidates: list[Held], where: str) -> _Image:
    from PIL import Image

    if isinstance(shown, str) and Path(shown).is_file():
        return _Image(None, Path(shown).read_bytes(), None)
    if not isinstance(shown, Image.Image):
        raise UsageError(f"{where}: its question shows {type(shown).__name__}, not images alone")
    for held in candidates:
        if same_pixels(shown, held):
            return _Image(held, None, None)
    source = candidates[0].media_type if len(candidates) == 1 else None
    return _Image(None, to_png(shown), source or "pixels")
