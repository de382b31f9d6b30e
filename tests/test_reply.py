"""What a server sent becomes a `Reply` or an `InvalidReply`, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagos_eval.records import Usage
from flagos_eval.reply import MAX_REPLY_BYTES, InvalidReply, Reply, parse_reply


def completion(message: Any = None, choice: Any = None, **fields: Any) -> dict[str, Any]:
    """A reply as vLLM sends it, with parts replaced."""
    inner = {"role": "assistant", "content": "B"} | (message or {})
    outer = {"index": 0, "message": inner, "finish_reason": "stop"} | (choice or {})
    return {"id": "chatcmpl-1", "created": 1, "model": "tiny", "choices": [outer]} | fields


def parse(content: Any) -> Reply:
    return parse_reply(json.dumps(content).encode())


def with_logprobs(*tokens: Any) -> dict[str, Any]:
    return completion(choice={"logprobs": {"content": list(tokens)}})


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**320)
    | st.floats()
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["content", "reasoning", "reasoning_content", "refusal", "role", "tool_calls"]
)
TOKENS = st.fixed_dictionaries(
    {"token": st.text() | ANY_JSON, "logprob": st.floats() | ANY_JSON},
    optional={"top_logprobs": ANY_JSON, "bytes": ANY_JSON},
)
ALMOST_REPLIES = st.fixed_dictionaries(
    {
        "choices": st.lists(
            st.fixed_dictionaries(
                {"message": st.dictionaries(FIELDS, ANY_JSON) | ANY_JSON},
                optional={
                    "finish_reason": ANY_JSON,
                    "logprobs": st.fixed_dictionaries({"content": st.lists(TOKENS, max_size=2)})
                    | ANY_JSON,
                },
            ),
            max_size=2,
        )
        | ANY_JSON
    },
    optional={
        "id": ANY_JSON,
        "created": ANY_JSON,
        "model": ANY_JSON,
        "usage": st.dictionaries(
            st.sampled_from(["prompt_tokens", "completion_tokens", "prompt_tokens_details"]),
            ANY_JSON | st.dictionaries(st.just("cached_tokens"), ANY_JSON),
        )
        | ANY_JSON,
    },
)


def is_reply_or_refused(data: bytes) -> bool:
    try:
        return isinstance(parse_reply(data), Reply)
    except InvalidReply as error:
        return len(str(error)) < 1000


# --- Anything at all ------------------------------------------------------------------------------


@given(st.binary())
def test_any_bytes_are_a_reply_or_refused(data: bytes) -> None:
    assert is_reply_or_refused(data)


@given(ANY_JSON)
def test_any_json_is_a_reply_or_refused(content: Any) -> None:
    assert is_reply_or_refused(json.dumps(content).encode())


@given(ALMOST_REPLIES)
def test_any_almost_correct_reply_is_a_reply_or_refused(content: Any) -> None:
    assert is_reply_or_refused(json.dumps(content).encode())


@given(ALMOST_REPLIES, st.sampled_from(["utf-8", "utf-16", "utf-32"]), st.integers(0, 400))
def test_a_reply_cut_anywhere_is_a_reply_or_refused(content: Any, encoding: str, n: int) -> None:
    text = json.dumps(content, ensure_ascii=False).encode(encoding, "surrogatepass")
    assert is_reply_or_refused(text[:n])


@given(st.text(st.characters()))
def test_a_text_arrives_unchanged(text: str) -> None:
    assert parse(completion({"content": text})).text == text


# --- What counts as an answer ---------------------------------------------------------------------


def test_a_complete_reply_is_read_in_full() -> None:
    reply = parse(
        completion(
            usage={
                "prompt_tokens": 12,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 8},
            }
        )
    )
    assert reply == Reply(
        text="B",
        reasoning=None,
        refusal=None,
        finish_reason="stop",
        usage=Usage(prompt_tokens=12, completion_tokens=3, cached_tokens=8),
        id="chatcmpl-1",
        created=1,
        model="tiny",
        logprobs=None,
    )


def test_null_content_is_an_empty_text() -> None:
    assert parse(completion({"content": None})).text == ""


def test_content_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]
    assert parse(completion({"content": parts})).text == "AB"


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_is_kept_apart_from_the_text(field: str) -> None:
    reply = parse(completion({field: "because", "content": "B"}))
    assert (reply.reasoning, reply.text) == ("because", "B")


def test_reasoning_without_content_is_an_empty_text() -> None:
    reply = parse(completion({"reasoning": "I ran out of", "content": None}))
    assert (reply.reasoning, reply.text) == ("I ran out of", "")


def test_a_refusal_is_kept() -> None:
    assert parse(completion({"refusal": "No.", "content": None})).refusal == "No."


def test_log_probabilities_are_kept_with_their_alternatives() -> None:
    other = {"token": "C", "logprob": -2.5}
    token = {"token": "B", "logprob": -0.1, "bytes": [66], "top_logprobs": [other]}
    assert parse(with_logprobs(token)).logprobs == [["B", -0.1, [["C", -2.5]]]]


def test_an_ordinary_large_reply_is_read() -> None:
    assert len(parse(completion({"content": "x" * 2**20})).text) == 2**20


@pytest.mark.parametrize(
    "usage",
    [
        None,
        "12",
        {},
        {"prompt_tokens": "12", "completion_tokens": 3},
        {"prompt_tokens": -1, "completion_tokens": 3},
        {"prompt_tokens": True, "completion_tokens": 3},
    ],
)
def test_token_counts_that_are_none_are_not_estimated(usage: Any) -> None:
    assert parse(completion(usage=usage)).usage is None


# --- What never counts as an answer ---------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b"null",
        b"[]",
        b'"B"',
        b"\xff\xfe\xfd",
        json.dumps(completion())[:-1].encode(),
        b'{"object":"error","message":"CUDA error","code":500}',
    ],
)
def test_what_is_no_object_with_choices_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidReply):
        parse_reply(data)


@pytest.mark.parametrize(
    "content",
    [
        completion(choices=[]),
        completion(choices=None),
        completion(choices={}),
        completion(choices=["B"]),
        completion(choices=[{"index": 0}]),
        completion(choices=[{"message": "B"}]),
        completion({"content": 5}),
        completion({"content": {"text": "B"}}),
        completion({"content": []}),
        completion({"content": [{"type": "image_url"}]}),
        completion({"reasoning": ["because"]}),
        completion(choice={"finish_reason": 1}),
        completion(model=["tiny"]),
    ],
)
def test_a_field_of_the_wrong_type_is_refused(content: Any) -> None:
    with pytest.raises(InvalidReply):
        parse(content)


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400, "true", "null", '"0"']
)
def test_a_log_probability_that_is_no_number_is_refused(number: str) -> None:
    data = json.dumps(with_logprobs({"token": "B", "logprob": 4321})).replace("4321", number)
    with pytest.raises(InvalidReply):
        parse_reply(data.encode())


@pytest.mark.parametrize(
    "token",
    [
        "B",
        {"logprob": -0.1},
        {"token": 5, "logprob": -0.1},
        {"token": "B", "logprob": -0.1, "top_logprobs": 5},
        {"token": "B", "logprob": -0.1, "top_logprobs": {"C": -2}},
        {"token": "B", "logprob": -0.1, "top_logprobs": [None]},
    ],
)
def test_log_probabilities_of_another_shape_are_refused(token: Any) -> None:
    with pytest.raises(InvalidReply):
        parse(with_logprobs(token))


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(InvalidReply):
        parse_reply(b"[" * 200_000)


def test_a_reply_too_large_for_any_answer_is_refused() -> None:
    with pytest.raises(InvalidReply, match=str(MAX_REPLY_BYTES)):
        parse_reply(b" " * (MAX_REPLY_BYTES + 1))


def test_a_refusal_shows_the_start_of_what_was_sent() -> None:
    with pytest.raises(InvalidReply, match="502 Bad Gateway"):
        parse_reply(b"<html>502 Bad Gateway</html>" + b"." * 10_000)
