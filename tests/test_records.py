"""What a record promises: nothing lost, nothing contradictory, nothing that changes unnoticed."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import pytest
from factories import (
    ZERO,
    Failed,
    NotAsked,
    failure,
    image,
    items,
    joined,
    rebuilt,
    request,
    response,
    run,
    sample,
    task,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flagos_eval import metrics
from flagos_eval.records import (
    WITHOUT_VALUE,
    Attempt,
    Fact,
    Message,
    Metric,
    Request,
    Response,
    Result,
    Run,
    Sample,
    Sampling,
    Score,
    Status,
    StoredFile,
    TextPart,
    canonical_json,
    sha256_hex,
)

OTHER = "1" * 64
STATUSES = st.lists(st.sampled_from(Status), min_size=1, max_size=40)


def scored(status: Status, value: float | None, sample_id: str = "0") -> Score:
    return Score(
        task="sums",
        sample_id=sample_id,
        scorer="official",
        scorer_version=1,
        status=status,
        value=value,
    )


# --- Canonical bytes ------------------------------------------------------------------------------


def test_canonical_json_is_sorted_compact_ascii() -> None:
    assert canonical_json({"b": [1, 0.5, None, True], "a": "é\ud800"}) == (
        rb'{"a":"\u00e9\ud800","b":[1,0.5,null,true]}'
    )


@given(st.dictionaries(st.text(), st.integers(), max_size=6))
def test_the_order_of_keys_changes_no_bytes(value: dict[str, int]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_canonical_json_refuses_what_is_no_json_number(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json([value])


def test_sha256_is_that_of_the_standard() -> None:
    # FIPS 180-2, appendix B.1.
    assert sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# --- Sample ---------------------------------------------------------------------------------------

WHOLE = {
    "input": (TextPart(text="Which?"), image(ZERO), TextPart(text="Say.")),
    "choices": ("red", "blue"),
    "target": ("A", "red"),
}


def content_hash(**changes: Any) -> str:
    fields = WHOLE | changes
    return Sample.hash_content(fields["input"], fields["choices"], fields["target"])


def test_the_content_hash_is_pinned() -> None:
    by_hand = (
        '[[["text","Which?"],["image","' + ZERO + '"],["text","Say."]],["red","blue"],["A","red"]]'
    )
    assert content_hash() == hashlib.sha256(by_hand.encode()).hexdigest()
    assert content_hash() == "365d1dc466b33d0c1f911124af5cd1e82b4da09293016bd50c972111856615af"


@pytest.mark.parametrize(
    "changes",
    [
        {"input": (TextPart(text="Which? "), image(ZERO), TextPart(text="Say."))},
        {"input": (TextPart(text="Which?"), image(OTHER), TextPart(text="Say."))},
        {"input": (image(ZERO), TextPart(text="Which?"), TextPart(text="Say."))},
        {"input": (TextPart(text="Which?"), TextPart(text="Say."))},
        {"input": (TextPart(text="Which?Say."), image(ZERO))},
        {"choices": ("blue", "red")},
        {"choices": ("red", "blue", "")},
        {"choices": ("red,blue",)},
        {"target": ("A",)},
        {"target": ("red", "A")},
        {"choices": (), "target": ("red", "blue", "A", "red")},
    ],
    ids=str,
)
def test_the_content_hash_changes_with_what_is_asked(changes: dict[str, Any]) -> None:
    assert content_hash(**changes) != content_hash()


def test_a_text_that_looks_like_an_image_has_another_hash() -> None:
    assert content_hash(input=(TextPart(text=ZERO),)) != content_hash(input=(image(ZERO),))


@pytest.mark.parametrize(
    "fields", [{"group": "g"}, {"cluster": "c"}, {"license": "MIT"}, {"metadata": {"a": 1}}]
)
def test_the_content_hash_ignores_what_is_not_asked(fields: dict[str, Any]) -> None:
    assert sample(**fields).content_hash == sample().content_hash


def test_the_content_hash_ignores_how_an_image_is_described() -> None:
    described = image(ZERO, media_type="image/webp", width=9, converted_from="image/bmp")
    assert content_hash(input=(described,)) == content_hash(input=(image(ZERO),))


def test_a_sample_whose_content_was_edited_is_refused() -> None:
    edited = sample().model_dump() | {"target": ("3",)}
    with pytest.raises(ValidationError, match="content does not match its hash"):
        Sample.model_validate(edited)


def test_a_withheld_sample_keeps_the_hash_of_what_was_left_out() -> None:
    bare = sample().model_dump() | {"target": (), "input": (), "withheld": True}
    assert Sample.model_validate(bare).content_hash == sample().content_hash


# --- Request --------------------------------------------------------------------------------------


def test_the_request_hash_is_pinned() -> None:
    by_hand = (
        '[[["user",[["text","1 + 1?"],["image","' + ZERO + '"]]]],'
        '{"max_tokens":4096,"min_p":0.0,"repetition_penalty":1.0,"seed":0,"temperature":0.0,'
        '"top_k":-1,"top_p":1.0},{"max_pixels":1003520}]'
    )
    asked = request(
        [TextPart(text="1 + 1?"), image(ZERO)], mm_processor_kwargs={"max_pixels": 1003520}
    )
    assert asked.hash == hashlib.sha256(by_hand.encode()).hexdigest()
    assert asked.hash == "156d3925b3e2ede107252fc04223f8743a52dde56784ec85b5ac8f93988ae3fc"


@pytest.mark.parametrize(
    "changes",
    [
        {"parts": [TextPart(text="1 + 1 ?")]},
        {"parts": [TextPart(text="1 + 1?"), image(ZERO)]},
        {"mm_processor_kwargs": {"max_pixels": 1}},
        {"sampling": Sampling(temperature=0.1)},
        {"sampling": Sampling(top_p=0.9)},
        {"sampling": Sampling(top_k=20)},
        {"sampling": Sampling(min_p=0.1)},
        {"sampling": Sampling(repetition_penalty=1.1)},
        {"sampling": Sampling(seed=1)},
        {"sampling": Sampling(max_tokens=4095)},
    ],
    ids=str,
)
def test_the_request_hash_changes_with_what_is_sent(changes: dict[str, Any]) -> None:
    assert request(**changes).hash != request().hash


def test_the_list_above_names_every_sampling_field() -> None:
    assert set(Sampling.model_fields) == {
        *("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "max_tokens")
    }


def test_the_request_hash_changes_with_an_image_and_with_the_order() -> None:
    one, two = image(ZERO), image(OTHER)
    assert len({request(parts).hash for parts in ([one], [two], [one, two], [two, one])}) == 4


def test_the_request_hash_changes_with_the_role() -> None:
    hashes = {
        Request.hash_body((Message(role=role, content=(TextPart(text="x"),)),), Sampling(), {})
        for role in ("system", "user", "assistant")
    }
    assert len(hashes) == 3


@pytest.mark.parametrize("changes", [{"task": "other"}, {"sample_id": "9"}, {"repeat": 1}])
def test_the_request_hash_ignores_whose_question_it_is(changes: dict[str, Any]) -> None:
    assert request(**changes).hash == request().hash


def test_a_whole_number_and_its_float_are_one_temperature() -> None:
    assert request(sampling=Sampling(temperature=1)).hash == (
        request(sampling=Sampling(temperature=1.0)).hash
    )


# --- Response and Score ---------------------------------------------------------------------------


def test_a_response_has_a_text_or_an_error() -> None:
    with pytest.raises(ValidationError, match="a text or an error"):
        response(text="2", error=failure())


def test_a_response_without_text_and_error_is_refused() -> None:
    with pytest.raises(ValidationError, match="a text or an error"):
        response(text=None)


def test_an_empty_text_is_an_answer() -> None:
    assert response(text="").error is None


@given(st.sampled_from(Status), st.none() | st.floats(0, 1))
def test_a_score_has_no_value_exactly_if_its_status_says_nothing_about_the_model(
    status: Status, value: float | None
) -> None:
    silent = {Status.ERROR, Status.JUDGE_FAILED, Status.UNJUDGED, Status.NOT_RUN}
    silent |= {Status.DROPPED, Status.UNSCORED}
    if (value is None) == (status in silent):
        assert scored(status, value).value == value
    else:
        with pytest.raises(ValidationError, match="with status"):
            scored(status, value)


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf])
def test_a_value_is_between_0_and_1(value: float) -> None:
    with pytest.raises(ValidationError):
        scored(Status.SCORED, value)


@given(STATUSES)
def test_counts_sum_to_n(statuses: list[Status]) -> None:
    asked = items(len(statuses))
    scores = [
        scored(status, None if status in WITHOUT_VALUE else 0.0, item.id)
        for status, item in zip(statuses, asked, strict=True)
    ]
    result = metrics.aggregate(task(), asked, scores)
    assert sum(result.counts.values()) == result.n == len(statuses)


def test_counts_that_do_not_sum_to_n_are_refused() -> None:
    with pytest.raises(ValidationError, match="do not sum to 3"):
        Result(
            task="sums",
            scorer="official",
            scorer_version=1,
            n=3,
            counts={Status.SCORED: 2},
            metrics=(Metric(name="accuracy", value=0, low=0, high=0),),
        )


# --- What every record refuses --------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, {"deep": [math.nan]}])
def test_no_record_holds_what_is_no_json_number(value: Any) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Fact(name="x", value=value, source="client", verified=True)


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Response.model_validate(response().model_dump() | {"score": 1})


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        response().text = "3"  # type: ignore[misc]


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64, ZERO + "\n"])
def test_a_hash_is_64_lower_case_hexadecimal_digits(digest: str) -> None:
    with pytest.raises(ValidationError, match="pattern"):
        image(digest)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "a/../../x", "a/..", "..", ".", "", "a//b", "a/", "./a", "a\0"]
)
def test_a_stored_file_lies_below_the_run_file(path: str) -> None:
    with pytest.raises(ValidationError, match="not a path below"):
        StoredFile(kind="log", path=path, sha256=ZERO)


@pytest.mark.parametrize("path", ["a", "samples/a.gz", "我的 run.log", "...", "a..b/c"])
def test_an_ordinary_path_is_accepted(path: str) -> None:
    assert StoredFile(kind="log", path=path, sha256=ZERO).path == path


# --- Run ------------------------------------------------------------------------------------------


def refused(because: str, record: Run, **changes: Any) -> None:
    with pytest.raises(ValidationError, match=because):
        rebuilt(record, **changes)


def test_a_run_with_every_kind_of_answer_is_valid() -> None:
    assert run(["0", "wrong", "", Failed, NotAsked]).results[0].counts == {
        Status.SCORED: 2,
        Status.EMPTY: 1,
        Status.ERROR: 1,
        Status.NOT_RUN: 1,
    }


@given(st.lists(st.sampled_from(["0", "x", "", Failed, NotAsked]), min_size=1, max_size=8))
def test_a_run_is_equal_to_what_is_read_back_from_its_json(answers: list[Any]) -> None:
    record = run(answers)
    assert Run.model_validate(json.loads(json.dumps(record.model_dump()))) == record


def test_a_run_refuses_the_same_answer_twice() -> None:
    record = run()
    refused("answered twice", record, responses=(*record.responses, record.responses[0]))


def test_a_run_refuses_two_answers_to_one_request() -> None:
    record = run()
    other = record.responses[0].model_copy(update={"text": "another"})
    refused("answered twice", record, responses=(*record.responses[1:], record.responses[0], other))


@pytest.mark.parametrize(
    "foreign", [{"sample_id": "99"}, {"task": "other"}, {"repeat": 1}, {"request_hash": OTHER}]
)
def test_a_run_refuses_an_answer_to_what_was_not_asked(foreign: dict[str, Any]) -> None:
    record = run()
    strange = record.responses[0].model_copy(update=foreign)
    refused("was not expected", record, responses=(strange, *record.responses[1:]))


def test_a_complete_run_refuses_a_missing_answer() -> None:
    refused("1 requests have no response", run(), responses=run().responses[1:])


def test_an_incomplete_run_has_missing_answers() -> None:
    assert run(["0", NotAsked]).state == "incomplete"


def test_a_run_refuses_counts_that_are_not_those_of_its_scores() -> None:
    record = run(["0", ""])
    counts = {Status.SCORED: 1, Status.UNPARSED: 1}
    edited = record.results[0].model_copy(update={"counts": counts})
    refused("its count says otherwise", record, results=(edited,))


def test_a_run_refuses_a_result_over_fewer_items() -> None:
    record = run()
    edited = record.results[0].model_copy(update={"n": 2, "counts": {Status.SCORED: 2}})
    refused("3 scores", record, results=(edited,))


def test_a_run_refuses_a_result_that_leaves_out_items_with_their_scores() -> None:
    record = run()
    edited = record.results[0].model_copy(update={"n": 2, "counts": {Status.SCORED: 2}})
    refused("for 2 expected", record, results=(edited,), scores=record.scores[:2])


def test_a_run_refuses_a_missing_score() -> None:
    refused("2 scores", run(), scores=run().scores[1:])


def test_a_run_refuses_one_score_twice_in_the_place_of_another() -> None:
    scores = run().scores
    refused("not those that were asked", run(), scores=(*scores[:2], scores[0]))


def test_a_run_refuses_a_score_that_belongs_to_no_result() -> None:
    stray = run().scores[0].model_copy(update={"scorer": "lenient"})
    refused("belong to no result", run(), scores=(*run().scores, stray))


def test_a_run_refuses_a_value_for_a_failed_request() -> None:
    record = run(["0", Failed])
    worth = record.scores[1].model_copy(update={"status": Status.SCORED, "value": 1.0})
    refused("its response says otherwise", record, scores=(record.scores[0], worth))


def test_a_run_refuses_an_answer_that_is_scored_as_a_failed_request() -> None:
    record = run(["0", "wrong"])
    hidden = record.scores[1].model_copy(update={"status": Status.ERROR, "value": None})
    refused("its response says otherwise", record, scores=(record.scores[0], hidden))


def test_a_run_refuses_a_value_for_a_request_that_was_not_made() -> None:
    record = run(["0", NotAsked])
    worth = record.scores[1].model_copy(update={"status": Status.SCORED, "value": 1.0})
    refused("its response says otherwise", record, scores=(record.scores[0], worth))


@pytest.mark.parametrize("bound", ["low", "value", "high"])
def test_a_run_refuses_an_edited_metric_when_every_item_has_a_value(bound: str) -> None:
    record = run()
    edited = record.results[0].metrics[0].model_copy(update={bound: 99.0})
    refused("is uncertain", record, results=(replaced_metric(record, edited),))


def replaced_metric(record: Run, metric: Metric) -> Result:
    return record.results[0].model_copy(update={"metrics": (metric,)})


def test_a_run_refuses_a_task_without_result() -> None:
    refused("no result", run(), results=(), scores=())


def test_a_run_refuses_a_result_without_metric() -> None:
    with pytest.raises(ValidationError, match="metrics"):
        Result.model_validate(run().results[0].model_dump() | {"metrics": ()})


def test_a_run_refuses_one_task_twice() -> None:
    with pytest.raises(ValidationError, match="twice"):
        joined(run(["0"]), run(["0"]))


def test_a_run_refuses_one_item_twice() -> None:
    record = run()
    doubled = record.tasks[0].model_copy(
        update={"expected": (*record.tasks[0].expected, record.tasks[0].expected[0])}
    )
    refused("the same item is there twice", record, tasks=(doubled,))


def test_a_run_refuses_an_item_that_was_not_asked_as_often_as_the_others() -> None:
    record = run({"0": ["0", "0"], "1": ["1", "1"]})
    first, second = record.tasks[0].expected
    fewer = second.model_copy(update={"request_hashes": second.request_hashes[:1]})
    edited = record.tasks[0].model_copy(update={"expected": (first, fewer)})
    refused("not asked 2 times", record, tasks=(edited,))


def test_a_run_finds_its_tasks_and_results_by_name() -> None:
    both = joined(run(["0"]), run(["0"], of=task("other")))
    assert both.task("other").name == both.result("other").task == "other"


@pytest.mark.parametrize("scorer", [None, "official"])
def test_a_run_without_that_task_has_no_result_of_it(scorer: str | None) -> None:
    with pytest.raises(KeyError):
        run().result("other", scorer)


def test_records_share_the_names_of_their_fields_and_a_copy_does_not_change_them() -> None:
    one, other = (
        Attempt(started_at="2026-01-01T00:00:00Z", latency=latency) for latency in (1.0, 2.0)
    )
    assert one.model_fields_set is other.model_fields_set
    one.model_copy(update={"error": None})
    assert other.model_fields_set == {"started_at", "latency"}
