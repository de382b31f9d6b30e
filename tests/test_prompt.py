"""What is asked: every parameter, and the image bytes as they are."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from factories import image, png, request, sample
from hypothesis import given
from hypothesis import strategies as st

from flagos_eval import prompt
from flagos_eval.images import ImageBank
from flagos_eval.records import ImagePart, Sampling, TextPart, sha256_hex
from flagos_eval.task import Prompt

PLAIN = Prompt("plain", 1, lambda sample: sample.input, "these tests")
SAMPLING = Sampling(
    temperature=0.5, top_p=0.9, top_k=20, min_p=0.1, repetition_penalty=1.1, seed=7, max_tokens=99
)


def no_image(part: ImagePart) -> bytes:
    raise AssertionError(part)


def body(**fields: Any) -> dict[str, Any]:
    return prompt.body(request(**fields), "m", no_image)


# --- Sample -> Request ----------------------------------------------------------------------------


def test_the_question_is_one_message_of_the_user() -> None:
    asked = prompt.request(sample(text="Why?"), PLAIN, SAMPLING)
    assert [(m.role, m.content) for m in asked.messages] == [("user", (TextPart(text="Why?"),))]
    assert (asked.task, asked.sample_id, asked.repeat, asked.sampling) == ("sums", "1", 0, SAMPLING)


def test_the_hash_is_that_of_what_is_asked() -> None:
    asked = prompt.request(sample(), PLAIN, SAMPLING, mm_processor_kwargs={"max_pixels": 9})
    assert asked.hash == request(sampling=SAMPLING, mm_processor_kwargs={"max_pixels": 9}).hash


def test_a_repeat_is_another_draw() -> None:
    asked = [prompt.request(sample(), PLAIN, SAMPLING, repeat=n) for n in range(3)]
    assert [one.sampling.seed for one in asked] == [7, 8, 9]
    assert len({one.hash for one in asked}) == 3


def test_a_repeat_differs_in_nothing_but_the_seed() -> None:
    first, second = (prompt.request(sample(), PLAIN, SAMPLING, repeat=n) for n in (0, 1))
    assert first.messages == second.messages
    assert first.sampling.model_copy(update={"seed": 8}) == second.sampling


# --- Request -> body ------------------------------------------------------------------------------


def test_every_sampling_parameter_is_sent_even_if_it_is_the_default() -> None:
    sent = body()
    assert {name: sent[name] for name in Sampling.model_fields} == Sampling().model_dump()


def test_the_body_is_exactly_this() -> None:
    assert body(sampling=SAMPLING, mm_processor_kwargs={"max_pixels": 9}) == {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "1 + 1?"}]}],
        "stream": False,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "seed": 7,
        "max_tokens": 99,
        "mm_processor_kwargs": {"max_pixels": 9},
    }


def test_image_limits_are_left_out_when_there_are_none() -> None:
    assert "mm_processor_kwargs" not in body()


@pytest.mark.parametrize("alternatives", [0, 5])
def test_log_probabilities_are_asked_for_when_they_are_wanted(alternatives: int) -> None:
    sent = prompt.body(request(), "m", no_image, logprobs=alternatives)
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, alternatives)


def test_log_probabilities_are_not_asked_for_otherwise() -> None:
    assert not {"logprobs", "top_logprobs"} & set(body())


def test_image_bytes_are_sent_unchanged_and_in_their_place() -> None:
    bank = ImageBank()
    pictures = [png(1, 2, 3), png(4, 5, 6)]
    parts = [bank.add(lambda data=data: data, where="x") for data in pictures]
    asked = request([parts[0], TextPart(text="and"), parts[1]])
    content = prompt.body(asked, "m", bank.read)["messages"][0]["content"]
    assert [part["type"] for part in content] == ["image_url", "text", "image_url"]
    for part, data in zip(content[::2], pictures, strict=True):
        kind, _, encoded = part["image_url"]["url"].partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(encoded, validate=True) == data


@given(st.binary(max_size=100), st.sampled_from(["image/jpeg", "image/webp", "image/gif"]))
def test_any_bytes_are_sent_unchanged_under_their_own_type(data: bytes, kind: str) -> None:
    asked = request([image(media_type=kind)])
    sent = prompt.body(asked, "m", lambda part: data)["messages"][0]["content"][0]
    encoded = base64.b64encode(data).decode()
    assert sent == {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{encoded}"}}


@given(st.text())
def test_a_text_is_sent_as_it_is(text: str) -> None:
    sent = json.loads(json.dumps(body(parts=[TextPart(text=text)])))
    assert sent["messages"][0]["content"] == [{"type": "text", "text": text}]


def test_the_body_follows_from_what_is_hashed() -> None:
    # Whose question it is stays out of the body, as it stays out of the hash.
    assert body(sample_id="9", task="other", repeat=1) == body()


# --- The body as bytes ----------------------------------------------------------------------------


@given(
    st.lists(st.one_of(st.text(), st.binary(min_size=1, max_size=50)), min_size=1, max_size=4),
    st.sampled_from([None, 0, 5]),
    st.sampled_from([{}, {"max_pixels": 9, "min_pixels": 4}]),
)
def test_the_bytes_are_the_json_of_the_body(
    pieces: list[str | bytes], alternatives: int | None, limits: dict[str, Any]
) -> None:
    pictures = {sha256_hex(piece): piece for piece in pieces if isinstance(piece, bytes)}
    parts = [
        TextPart(text=piece) if isinstance(piece, str) else image(sha256_hex(piece))
        for piece in pieces
    ]
    asked = request(parts, sampling=SAMPLING, mm_processor_kwargs=limits)

    def read(part: ImagePart) -> bytes:
        return pictures[part.sha256]

    sent = prompt.encoded(asked, 'mod"el', read, logprobs=alternatives)
    assert json.loads(sent) == prompt.body(asked, 'mod"el', read, logprobs=alternatives)


def test_a_lone_surrogate_of_a_dataset_can_be_sent() -> None:
    sent = prompt.encoded(request([TextPart(text="\ud83d")]), "m", no_image)
    assert json.loads(sent)["messages"][0]["content"][0]["text"] == "\ud83d"


def test_a_picture_takes_a_third_more_than_its_file() -> None:
    data = bytes(range(256)) * 400
    with_picture = prompt.encoded(request([image()]), "m", lambda part: data)
    without = prompt.encoded(request([image()]), "m", lambda part: b"")
    assert len(with_picture) - len(without) <= 1.34 * len(data)
