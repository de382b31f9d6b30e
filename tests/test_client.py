"""The client against a real HTTP server: every fault ends as a text or as the right error, with
every attempt on record."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import protocol_server as ps
import pytest
from protocol_server import Faults, ProtocolServer, fail_first, fail_matching, prompt_text

from flagos_eval import prompt
from flagos_eval.client import Answer, Client, ClientSettings
from flagos_eval.clock import utc_now
from flagos_eval.errors import ServerDied, ServerRefused
from flagos_eval.incoming import at_hand
from flagos_eval.probe import checkerboard
from flagos_eval.records import (
    Epoch,
    ErrorKind,
    ImagePart,
    Request,
    Response,
    Sample,
    Sampling,
    TextPart,
    sha256_hex,
)
from flagos_eval.server import Server
from flagos_eval.task import Parts, Prompt

IMAGE = checkerboard(16)
PICTURE = ImagePart(
    sha256=sha256_hex(IMAGE), media_type="image/png", width=16, height=16, size=len(IMAGE)
)
FAST = ClientSettings(concurrency=4, timeout=5, max_retries=3, backoff=0.01)


def _build(sample: Sample) -> Parts:
    return sample.input


def request(name: str) -> Request:
    sample = Sample.create(
        task="faults", id=name, input=(PICTURE, TextPart(text=f"item {name}.")), target="A"
    )
    return prompt.request(sample, Prompt("plain", 1, _build, "here"), Sampling(max_tokens=64))


def named(n: int) -> list[Request]:
    return [request(f"{index:03}") for index in range(n)]


@dataclass
class Asked:
    """What became of some requests."""

    answers: list[Answer] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    """Those that began while asking."""
    stopped: Exception | None = None

    @property
    def responses(self) -> list[Response]:
        return [answer.response for answer in self.answers]

    @property
    def only(self) -> Response:
        (response,) = self.responses
        return response

    def of(self, name: str) -> Response:
        return next(r for r in self.responses if r.sample_id == name)


def first_epochs(servers: Sequence[Server], model: str) -> list[Epoch]:
    found = []
    for index, server in enumerate(servers):
        identity = server.identity()
        found.append(
            Epoch(
                index=index,
                endpoint=server.url,
                first_seen=utc_now(),
                model=model,
                version=identity.version,
                model_root=identity.models[0].root,
                max_model_len=identity.models[0].max_model_len,
                process_start=identity.process_start,
                launcher="external",
            )
        )
    return found


def ask(
    running: ProtocolServer | Sequence[ProtocolServer],
    requests: Sequence[Request],
    settings: ClientSettings = FAST,
    *,
    model: str = "tiny",
    api_key: str | None = None,
    on_answer: Callable[[Answer], object] = lambda answer: None,
    before: Callable[[], object] = lambda: None,
    tell: Callable[[str], None] = lambda text: None,
) -> Asked:
    """Ask and collect; `before` is called when the client knows the servers."""
    known = [running] if isinstance(running, ProtocolServer) else running
    servers = [Server(server.url, api_key=server.api_key) for server in known]
    asked = Asked()

    def keep(answer: Answer) -> None:
        asked.answers.append(answer)
        on_answer(answer)

    async def work() -> None:
        client = Client(
            servers,
            first_epochs(servers, model),
            model,
            settings,
            read_image=lambda part: IMAGE,
            api_key=api_key,
            on_epoch=asked.epochs.append,
            tell=tell,
        )
        async with client:
            before()
            await client.complete(at_hand(requests), keep)

    try:
        asyncio.run(work())
    except (ServerDied, ServerRefused) as error:
        asked.stopped = error
    return asked


def ask_one(faults: Faults | None = None, settings: ClientSettings = FAST, **options: Any) -> Asked:
    with ProtocolServer(faults=faults, **options) as server:
        return ask(server, [request("one")], settings)


def after(n: int, action: Callable[[], object]) -> Callable[[Answer], None]:
    """Do something when `n` answers are there."""
    count = 0

    def count_and_act(answer: Answer) -> None:
        nonlocal count
        count += 1
        if count == n:
            action()

    return count_and_act


def attempt_kinds(response: Response) -> list[ErrorKind | None]:
    return [attempt.error.kind if attempt.error else None for attempt in response.attempts]


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer(answer=lambda body: "The answer is B") as running:
        yield running


# --- An answer ------------------------------------------------------------------------------------


def test_an_answer_is_recorded_in_full(server: ProtocolServer) -> None:
    asked = ask(server, [request("one")])
    found, wanted = asked.only, request("one")
    assert found.key == wanted.key
    assert (found.text, found.error, found.finish_reason) == ("The answer is B", None, "stop")
    assert found.usage is not None and found.usage.completion_tokens == 4
    assert found.server_id is not None and found.server_id.startswith("chatcmpl-")
    assert found.server_time == pytest.approx(time.time(), abs=60)
    assert (found.server_model, found.endpoint, found.epoch) == ("tiny", server.url, 0)
    assert (found.order, found.in_flight) == (0, 1)


def test_the_image_arrives_byte_for_byte(server: ProtocolServer) -> None:
    ask(server, [request("one")])
    (sent,) = server.requests
    url = sent.body["messages"][0]["content"][0]["image_url"]["url"]
    assert base64.b64decode(url.removeprefix("data:image/png;base64,")) == IMAGE


def test_every_sampling_parameter_is_sent(server: ProtocolServer) -> None:
    ask(server, [request("one")])
    (sent,) = server.requests
    assert Sampling(max_tokens=64).model_dump().items() <= sent.body.items()


def test_an_attempt_is_recorded_with_its_time_and_length(server: ProtocolServer) -> None:
    server.delay = 0.15
    start = datetime.fromisoformat(utc_now().replace("Z", "+00:00"))
    (attempt,) = ask(server, [request("one")]).only.attempts
    began = datetime.fromisoformat(attempt.started_at.replace("Z", "+00:00"))
    assert 0 <= (began - start).total_seconds() < 5
    assert 0.15 <= attempt.latency < 5


def test_log_probabilities_come_with_the_answer(server: ProtocolServer) -> None:
    asked = ask(server, [request("one")], replace(FAST, logprobs=2))
    tokens: Any = asked.answers[0].logprobs
    assert [token[0] for token in tokens] == ["The", " answer", " is", " B"]
    assert all(len(token[2]) == 2 for token in tokens)


def test_an_answer_of_nothing_is_an_answer() -> None:
    found = ask_one(lambda info: ps.NullContent()).only
    assert (found.text, found.error, len(found.attempts)) == ("", None, 1)


def test_an_answer_without_token_counts_is_an_answer() -> None:
    found = ask_one(lambda info: ps.MissingUsage()).only
    assert found.text is not None and found.usage is None


def test_another_model_name_in_the_reply_is_recorded() -> None:
    assert ask_one(lambda info: ps.WrongModel("large")).only.server_model == "large"


def test_two_answers_with_one_id_are_two_answers() -> None:
    with ProtocolServer(faults=lambda info: ps.DuplicateId("same")) as server:
        asked = ask(server, named(2))
    assert [r.server_id for r in asked.responses] == ["same", "same"]


def test_a_correct_reply_of_another_content_type_is_an_answer() -> None:
    assert ask_one(lambda info: ps.WrongContentType()).only.text is not None


def test_a_long_answer_arrives_whole() -> None:
    assert len(ask_one(lambda info: ps.Huge(3_000_000)).only.text or "") == 3_000_000


@pytest.mark.parametrize("text", ["\ud83d alone", "\x00 and \u2028", "答案是 B 😀"])
def test_an_unusual_text_arrives_unchanged(text: str) -> None:
    with ProtocolServer(answer=lambda body: text) as server:
        assert ask(server, [request("one")]).only.text == text


# --- Failures -------------------------------------------------------------------------------------

RETRIED = {
    "status 429": (ps.Status(429), ErrorKind.RATE_LIMITED),
    "status 408": (ps.Status(408), ErrorKind.SERVER_ERROR),
    "status 409": (ps.Status(409), ErrorKind.SERVER_ERROR),
    "status 500": (ps.Status(500), ErrorKind.SERVER_ERROR),
    "status 502 in HTML": (ps.Status(502, body=b"<html>"), ErrorKind.SERVER_ERROR),
    "status 503": (ps.Status(503), ErrorKind.SERVER_ERROR),
    "status 504 without a body": (ps.Status(504, body=b""), ErrorKind.SERVER_ERROR),
    "hang": (ps.Hang(), ErrorKind.TIMEOUT),
    "slow answer": (ps.Delay(3600), ErrorKind.TIMEOUT),
    "slow body": (ps.SlowBody(100), ErrorKind.TIMEOUT),
    "closed without a word": (ps.Hang(0), ErrorKind.CONNECTION),
    "reset before the headers": (ps.Reset(None), ErrorKind.CONNECTION),
    "reset in the body": (ps.Reset(16), ErrorKind.CONNECTION),
    "cut body": (ps.Truncated(16), ErrorKind.CONNECTION),
    "no body": (ps.Truncated(0), ErrorKind.CONNECTION),
    "garbage": (ps.Garbage(), ErrorKind.INVALID_REPLY),
    "nothing": (ps.Garbage(b""), ErrorKind.INVALID_REPLY),
    "an error with status 200": (
        ps.Garbage(b'{"object":"error","message":"engine died"}'),
        ErrorKind.INVALID_REPLY,
    ),
    "text for JSON": (ps.WrongContentType(data=b"ok"), ErrorKind.INVALID_REPLY),
    "no choices": (ps.EmptyChoices(), ErrorKind.INVALID_REPLY),
}


def patience(kind: ErrorKind) -> ClientSettings:
    """Settings that wait for what is not going to come only where that is the fault."""
    return replace(FAST, timeout=0.4) if kind is ErrorKind.TIMEOUT else FAST


@pytest.mark.parametrize("fault", RETRIED)
def test_a_passing_failure_is_retried_until_there_is_an_answer(fault: str) -> None:
    broken, kind = RETRIED[fault]
    with ProtocolServer(faults=fail_first(2, broken), answer=lambda body: "B") as server:
        found = ask(server, [request("one")], patience(kind)).only
    assert found.text == "B"
    assert attempt_kinds(found) == [kind, kind, None]


@pytest.mark.parametrize("fault", RETRIED)
def test_a_failure_that_stays_becomes_an_error_of_its_kind(fault: str) -> None:
    broken, kind = RETRIED[fault]
    found = ask_one(lambda info: broken, replace(patience(kind), max_retries=1)).only
    assert found.text is None and found.error is not None
    assert found.error.kind is kind
    assert attempt_kinds(found) == [kind, kind]


def test_log_probabilities_that_are_not_numbers_are_an_invalid_reply() -> None:
    settings = replace(FAST, logprobs=2, max_retries=1)
    found = ask_one(lambda info: ps.NanLogprobs(), settings).only
    assert found.error is not None and found.error.kind is ErrorKind.INVALID_REPLY


def test_what_the_server_said_is_in_the_error() -> None:
    body = ps.error_body(500, "CUDA out of memory", "InternalServerError")
    found = ask_one(lambda info: ps.Status(500, body=body), replace(FAST, max_retries=0)).only
    assert found.error is not None
    assert (found.error.status_code, found.error.message) == (500, "CUDA out of memory")


def test_an_endless_error_message_is_shortened() -> None:
    body = ps.error_body(500, "x" * 100_000, "InternalServerError")
    found = ask_one(lambda info: ps.Status(500, body=body), replace(FAST, max_retries=0)).only
    assert found.error is not None and len(found.error.message) < 1000


def test_a_key_that_the_server_repeats_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter22")
    body = ps.error_body(500, "the key sk-hunter22 is overloaded", "InternalServerError")
    found = ask_one(lambda info: ps.Status(500, body=body), replace(FAST, max_retries=0)).only
    assert "hunter22" not in found.model_dump_json()


@pytest.mark.parametrize("code", [400, 405, 413, 415, 422])
def test_a_deterministic_refusal_is_asked_exactly_once(code: int) -> None:
    with ProtocolServer(faults=lambda info: ps.Status(code)) as server:
        found = ask(server, [request("one")]).only
        assert len(server.requests) == 1
    assert found.error is not None
    assert (found.error.kind, found.error.status_code) == (ErrorKind.REJECTED, code)


def test_a_prompt_too_long_is_refused_once_with_the_reason() -> None:
    found = ask_one(max_model_len=10).only
    assert found.error is not None and "maximum context length" in found.error.message
    assert attempt_kinds(found) == [ErrorKind.REJECTED]


def test_one_refused_question_does_not_stop_the_others() -> None:
    with ProtocolServer(faults=fail_matching("item 003.", ps.Status(400))) as server:
        asked = ask(server, named(8))
    assert [r.sample_id for r in asked.responses if r.error] == ["003"]
    assert len(asked.responses) == 8


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_wrong_key_or_model_stops_everything(code: int) -> None:
    with ProtocolServer(faults=lambda info: ps.Status(code)) as server:
        asked = ask(server, named(30))
        assert len(server.requests) <= FAST.concurrency
    assert isinstance(asked.stopped, ServerRefused)
    assert asked.responses == []


def test_an_unknown_model_is_refused_by_name(server: ProtocolServer) -> None:
    asked = ask(server, [request("one")], model="large")
    assert isinstance(asked.stopped, ServerRefused) and "large" in asked.stopped.message


# --- Retries --------------------------------------------------------------------------------------


def test_every_request_that_the_server_saw_is_an_attempt_on_record() -> None:
    broken = (ps.Status(503), ps.Reset(16), ps.Garbage(), ps.Status(400))

    def faults(info: ps.RequestInfo) -> ps.Fault | None:
        share = ps.prompt_hash(info.body) % 5
        return broken[share] if share < 4 and info.times_seen <= share + 1 else None

    with ProtocolServer(faults=faults) as server:
        asked = ask(server, named(60))
        seen = Counter(prompt_text(sent.body) for sent in server.requests)
    recorded = Counter({f"item {r.sample_id}.": len(r.attempts) for r in asked.responses})
    assert recorded == seen
    assert set(recorded.values()) > {1, 2, 3}


def test_retries_are_as_many_as_allowed() -> None:
    with ProtocolServer(faults=lambda info: ps.Status(500)) as server:
        ask(server, [request("one")], replace(FAST, max_retries=3))
        assert len(server.requests) == 4


def test_the_library_does_not_retry_by_itself() -> None:
    with ProtocolServer(faults=fail_first(1, ps.Status(500))) as server:
        found = ask(server, [request("one")], replace(FAST, max_retries=0)).only
        assert len(server.requests) == len(found.attempts) == 1
    assert found.error is not None


def test_waits_between_attempts_grow() -> None:
    with ProtocolServer(faults=lambda info: ps.Status(500)) as server:
        ask(server, [request("one")], replace(FAST, max_retries=3, backoff=0.1))
        times = [sent.arrived for sent in server.requests]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits[0] >= 0.1 and waits[1] >= 0.2 and waits[2] >= 0.4


def wait_after(fault: ps.Fault) -> float:
    with ProtocolServer(faults=fail_first(1, fault)) as server:
        found = ask(server, [request("one")]).only
        first, second = (sent.arrived for sent in server.requests)
    assert found.text is not None
    return second - first


@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_in_seconds_is_honoured(code: int) -> None:
    assert 0.6 <= wait_after(ps.Status(code, retry_after=0.6)) < 5


def test_retry_after_as_a_date_is_honoured() -> None:
    # The date has whole seconds: rounded up, so between one and two seconds away.
    assert 0.9 <= wait_after(ps.Status(429, retry_after=1, as_date=True)) < 5


def test_retry_after_of_nothing_is_a_retry_at_once() -> None:
    settings = replace(FAST, backoff=30.0)
    assert ask_one(fail_first(1, ps.Status(429, retry_after=0)), settings).only.text is not None


@pytest.mark.parametrize(
    "value", ["soon", "", "nan", "-5", "Wed, 21 Oct 2015 07:28:00 GMT", "21 Oct", "9" * 20 + " x"]
)
def test_retry_after_that_says_nothing_useful_is_no_obstacle(value: str) -> None:
    fault = ps.Status(429, headers={"Retry-After": value})
    assert wait_after(fault) < 3


# --- Time -----------------------------------------------------------------------------------------


def test_the_time_limit_counts_the_whole_attempt_however_its_bytes_trickle() -> None:
    settings = replace(FAST, timeout=0.6, max_retries=0)
    start = time.monotonic()
    found = ask_one(lambda info: ps.SlowBody(200), settings).only
    assert found.error is not None and found.error.kind is ErrorKind.TIMEOUT
    assert 0.6 <= found.latency < 3 and time.monotonic() - start < 5


def test_an_answer_that_trickles_in_within_the_time_limit_is_an_answer() -> None:
    assert ask_one(lambda info: ps.SlowBody(2000)).only.text is not None


def test_the_time_limit_is_named_in_the_error() -> None:
    settings = replace(FAST, timeout=0.2, max_retries=0)
    found = ask_one(lambda info: ps.Hang(), settings).only
    assert found.error is not None and found.error.message == "no answer within 0.2 s"


# --- Concurrency ----------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_concurrency_is_used_and_never_exceeded(concurrency: int) -> None:
    with ProtocolServer(delay=0.1) as server:
        asked = ask(server, named(3 * concurrency), replace(FAST, concurrency=concurrency))
        assert server.max_in_flight == concurrency
    assert max(r.in_flight for r in asked.responses) == concurrency


def test_concurrency_is_never_exceeded_by_retries() -> None:
    with ProtocolServer(delay=0.03, faults=fail_first(2, ps.Status(503))) as server:
        ask(server, named(20), replace(FAST, concurrency=3))
        assert server.max_in_flight == 3


def test_a_request_that_hangs_holds_up_no_other() -> None:
    settings = replace(FAST, concurrency=2, timeout=1, max_retries=0)
    with ProtocolServer(faults=fail_matching("item 000.", ps.Hang())) as server:
        asked = ask(server, named(20), settings)
    assert asked.responses[-1].sample_id == "000"
    assert sum(r.text is not None for r in asked.responses) == 19


def test_answers_keep_their_place_in_the_queue(server: ProtocolServer) -> None:
    asked = ask(server, named(20))
    assert sorted((r.order, r.sample_id) for r in asked.responses) == [
        (index, f"{index:03}") for index in range(20)
    ]


def test_a_request_is_built_when_it_is_sent_and_not_before(server: ProtocolServer) -> None:
    server.delay = 0.02
    taken = 0

    def queue() -> Iterator[Request]:
        nonlocal taken
        for item in named(20):
            taken += 1
            yield item

    def look(answer: Answer) -> None:
        ahead.append(taken - len(ahead))

    ahead: list[int] = []
    ask(server, queue(), replace(FAST, concurrency=3), on_answer=look)  # type: ignore[arg-type]
    assert max(ahead) <= 3


# --- Several addresses ----------------------------------------------------------------------------


def test_two_addresses_share_the_load() -> None:
    with ProtocolServer(delay=0.02) as one, ProtocolServer(delay=0.02) as two:
        asked = ask([one, two], named(40))
        assert len(one.requests) + len(two.requests) == 40
        assert min(len(one.requests), len(two.requests)) >= 10
    assert {r.endpoint for r in asked.responses} == {one.url, two.url}


def test_the_slower_of_two_addresses_gets_less() -> None:
    with ProtocolServer(delay=0.01) as fast, ProtocolServer(delay=0.1) as slow:
        ask([slow, fast], named(40))
        assert len(fast.requests) > 2 * len(slow.requests)


def test_answers_say_which_start_of_which_address_gave_them() -> None:
    with ProtocolServer(delay=0.02) as one, ProtocolServer(delay=0.02) as two:
        asked = ask([one, two], named(10))
    assert {(r.endpoint, r.epoch) for r in asked.responses} == {(one.url, 0), (two.url, 1)}


def test_a_dead_address_among_two_is_drained_and_all_answers_arrive() -> None:
    with ProtocolServer() as dead, ProtocolServer(delay=0.01) as alive:
        asked = ask([dead, alive], named(30), before=dead.stop)
        assert len(alive.requests) == 30
    assert all(r.text is not None and r.endpoint == alive.url for r in asked.responses)
    assert len(asked.responses) == 30


def test_an_address_that_dies_on_the_way_loses_no_answer() -> None:
    with ProtocolServer(delay=0.02) as dying, ProtocolServer(delay=0.02) as alive:
        asked = ask([dying, alive], named(60), on_answer=after(20, dying.stop))
        assert len(dying.requests) > 4
    assert sorted(r.sample_id for r in asked.responses if r.text is not None) == [
        f"{index:03}" for index in range(60)
    ]


def test_a_drained_address_is_not_asked_again() -> None:
    with ProtocolServer() as dead, ProtocolServer(delay=0.01) as alive:
        asked = ask([dead, alive], named(30), replace(FAST, concurrency=1), before=dead.stop)
    lost = [r for r in asked.responses if len(r.attempts) > 1]
    assert len(lost) == 1 and len(lost[0].attempts) == 2


# --- A server that goes away ----------------------------------------------------------------------


def test_a_server_that_goes_away_stops_the_run_and_leaves_no_errors(
    server: ProtocolServer,
) -> None:
    server.delay = 0.01
    asked = ask(server, named(60), on_answer=after(20, server.stop))
    assert isinstance(asked.stopped, ServerDied)
    assert server.url in asked.stopped.message and "same command" in str(asked.stopped.hint)
    assert 20 <= len(asked.responses) < 20 + FAST.concurrency
    assert all(r.text is not None for r in asked.responses)


def test_a_server_that_fails_everything_is_not_asked_everything() -> None:
    settings = replace(FAST, max_retries=0)
    with ProtocolServer(faults=lambda info: ps.Status(500)) as server:
        asked = ask(server, named(300), settings)
        assert len(server.requests) < 100
    assert isinstance(asked.stopped, ServerDied) and "Internal Server Error" in str(asked.stopped)


def test_failures_with_answers_between_them_do_not_stop_the_run() -> None:
    settings = replace(FAST, max_retries=0)
    with ProtocolServer(faults=ps.fail_every(2, ps.Status(500))) as server:
        asked = ask(server, named(150), settings)
    assert asked.stopped is None
    assert sum(r.error is not None for r in asked.responses) > 50


def test_refused_questions_do_not_stop_the_run() -> None:
    with ProtocolServer(faults=lambda info: ps.Status(400)) as server:
        asked = ask(server, named(100))
    assert asked.stopped is None and len(asked.responses) == 100


def test_an_answer_that_cannot_be_kept_stops_the_run(server: ProtocolServer) -> None:
    def full(answer: Answer) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        ask(server, named(100), on_answer=full)
    assert len(server.requests) <= 2 * FAST.concurrency


# --- A server that is started again ---------------------------------------------------------------

ONE_BY_ONE = replace(FAST, concurrency=1)


def restart_after(n: int, server: ProtocolServer, **changes: Any) -> Callable[[Answer], None]:
    """Restart the server, changed, when `n` answers are there."""

    def restart() -> None:
        for name, value in changes.items():
            setattr(server, name, value)
        server.restart()

    return after(n, restart)


def test_a_restart_between_answers_begins_a_new_epoch(server: ProtocolServer) -> None:
    asked = ask(server, named(6), ONE_BY_ONE, on_answer=restart_after(3, server))
    assert [r.epoch for r in asked.responses] == [0, 0, 0, 1, 1, 1]
    (begun,) = asked.epochs
    assert (begun.index, begun.process_start) == (1, server.start_time)


def fifth_waits(info: ps.RequestInfo) -> ps.Fault | None:
    """A question without an answer until the server is started again."""
    waits = "item 005." in prompt_text(info.body) and info.times_seen == 1
    return ps.Delay(3600) if waits else None


def test_a_restart_in_the_middle_of_answers_begins_one_new_epoch(server: ProtocolServer) -> None:
    server.faults = fifth_waits
    asked = ask(server, named(40), on_answer=restart_after(20, server))
    assert [epoch.index for epoch in asked.epochs] == [1]
    assert {r.epoch for r in asked.responses} == {0, 1}
    assert sum(r.text is not None for r in asked.responses) == 40


def test_a_lost_connection_alone_begins_no_epoch() -> None:
    with ProtocolServer(faults=fail_first(1, ps.Reset(16))) as server:
        asked = ask(server, named(10))
    assert asked.epochs == []
    assert {r.epoch for r in asked.responses} == {0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "0.33.0"}, "version was '0.32.0', is '0.33.0'"),
        ({"root": "/models/other"}, "model root was 'tiny', is '/models/other'"),
        ({"max_model_len": 4096}, "max_model_len was 32768, is 4096"),
    ],
)
def test_another_server_after_a_restart_is_refused(
    server: ProtocolServer, changes: dict[str, Any], said: str
) -> None:
    asked = ask(server, named(6), ONE_BY_ONE, on_answer=restart_after(3, server, **changes))
    assert isinstance(asked.stopped, ServerDied) and said in asked.stopped.message
    assert len(asked.responses) == 3


def test_another_model_after_a_restart_is_refused(server: ProtocolServer) -> None:
    asked = ask(server, named(6), ONE_BY_ONE, on_answer=restart_after(3, server, model="large"))
    assert isinstance(asked.stopped, ServerRefused)
    assert len(asked.responses) == 3


class WithoutMetrics(ProtocolServer):
    """A server that does not tell when it was started."""

    def page(self, path: str) -> Any:
        return None if path == "/metrics" else super().page(path)


def test_a_start_that_cannot_be_told_is_one_epoch_while_connections_hold() -> None:
    with WithoutMetrics() as server:
        asked = ask(server, named(20))
    assert asked.epochs == [] and {r.epoch for r in asked.responses} == {0}


def test_a_start_that_cannot_be_told_ends_with_a_lost_connection() -> None:
    with WithoutMetrics(faults=fifth_waits) as server:
        asked = ask(server, named(20), on_answer=restart_after(10, server))
    assert {r.epoch for r in asked.responses} >= {0, 1}


# --- Several addresses that go and come -----------------------------------------------------------

WATCHED = replace(FAST, check_every=0.05)


def at(response: Response) -> list[tuple[str | None, ErrorKind | None]]:
    """Where each attempt was made, and how it ended."""
    return [(a.endpoint, a.error.kind if a.error else None) for a in response.attempts]


def test_every_attempt_names_its_address() -> None:
    with (
        ProtocolServer(faults=fail_first(1, ps.Status(500))) as one,
        ProtocolServer(faults=fail_first(1, ps.Status(500))) as two,
    ):
        asked = ask([one, two], named(12))
    seen = Counter(a.endpoint for r in asked.responses for a in r.attempts)
    assert seen == {one.url: len(one.requests), two.url: len(two.requests)}


def test_a_failed_request_is_tried_elsewhere() -> None:
    with (
        ProtocolServer(faults=lambda info: ps.Status(500)) as broken,
        ProtocolServer() as well,
    ):
        asked = ask([broken, well], named(20), ONE_BY_ONE)
    assert all(r.text is not None and r.endpoint == well.url for r in asked.responses)
    assert {tuple(at(r)) for r in asked.responses} <= {
        ((broken.url, ErrorKind.SERVER_ERROR), (well.url, None)),
        ((well.url, None),),
    }


def test_an_address_that_fails_at_once_does_not_draw_all_requests() -> None:
    settings = replace(FAST, concurrency=8)
    with (
        ProtocolServer(faults=lambda info: ps.Status(503)) as broken,
        ProtocolServer(delay=0.02) as well,
    ):
        asked = ask([broken, well], named(150), settings)
        assert len(broken.requests) < 20
    assert all(r.text is not None for r in asked.responses)


def test_an_address_that_is_well_again_is_asked_again() -> None:
    with ProtocolServer(faults=lambda info: ps.Status(503)) as ill, ProtocolServer() as well:
        ill.delay = well.delay = 0.01

        def cure() -> None:
            ill.faults = None

        asked = ask([ill, well], named(300), WATCHED, on_answer=after(50, cure))
    assert sum(r.endpoint == ill.url for r in asked.responses) > 50


def test_a_drained_address_costs_no_retry() -> None:
    with ProtocolServer() as dead, ProtocolServer(delay=0.01) as alive:
        asked = ask([dead, alive], named(30), replace(FAST, max_retries=0), before=dead.stop)
    assert all(r.text is not None and r.endpoint == alive.url for r in asked.responses)


def test_an_address_that_comes_back_is_asked_again_as_another_start() -> None:
    with ProtocolServer(delay=0.01) as one, ProtocolServer(delay=0.02) as two:
        told: list[str] = []
        back = after(60, two.start)
        gone = after(20, two.stop)

        def both(answer: Answer) -> None:
            gone(answer)
            back(answer)

        asked = ask([one, two], named(300), WATCHED, on_answer=both, tell=told.append)
    assert sorted(r.sample_id for r in asked.responses if r.text is not None) == [
        f"{index:03}" for index in range(300)
    ]
    (begun,) = asked.epochs
    assert (begun.endpoint, begun.process_start) == (two.url, two.start_time)
    assert {r.epoch for r in asked.responses if r.endpoint == two.url} == {1, begun.index}
    assert ["drained" in text or "again" in text for text in told] == [True, True]


def test_a_return_counts_as_a_restart_where_a_server_does_not_tell() -> None:
    with WithoutMetrics(delay=0.01) as one, WithoutMetrics(delay=0.01) as two:
        gone, back = after(20, two.stop), after(60, two.start)

        def both(answer: Answer) -> None:
            gone(answer)
            back(answer)

        asked = ask([one, two], named(300), WATCHED, on_answer=both)
    assert two.url in {epoch.endpoint for epoch in asked.epochs}


class Frozen(ProtocolServer):
    """A server that keeps its connections and says nothing more, as a machine that hangs."""

    frozen = False

    def page(self, path: str) -> Any:
        if self.frozen and path in ("/health", "/v1/models"):
            return None
        return super().page(path)


def test_what_waits_at_a_server_that_went_silent_is_asked_elsewhere() -> None:
    with Frozen(delay=0.02) as silent, ProtocolServer(delay=0.02) as well:

        def freeze() -> None:
            silent.frozen = True
            silent.faults = lambda info: ps.Hang()

        start = time.monotonic()
        settings = replace(WATCHED, timeout=60)
        asked = ask([silent, well], named(60), settings, on_answer=after(20, freeze))
        assert time.monotonic() - start < 20, "nobody waited for the time limit"
    assert sum(r.text is not None for r in asked.responses) == 60
    moved = [at(r) for r in asked.responses if len(r.attempts) > 1]
    lost, found = (silent.url, ErrorKind.CONNECTION), (well.url, None)
    assert moved and all(attempts == [lost, found] for attempts in moved)


def test_all_addresses_that_die_stop_the_run_and_leave_no_errors() -> None:
    with ProtocolServer(delay=0.01) as one, ProtocolServer(delay=0.01) as two:

        def stop() -> None:
            one.stop()
            two.stop()

        asked = ask([one, two], named(60), WATCHED, on_answer=after(20, stop))
    assert isinstance(asked.stopped, ServerDied)
    assert one.url in asked.stopped.message and two.url in asked.stopped.message
    assert all(r.text is not None for r in asked.responses)


def test_the_last_address_is_waited_for() -> None:
    with ProtocolServer(delay=0.01) as one, ProtocolServer(delay=0.01) as two:

        def stop() -> None:
            one.stop()
            two.stop()
            threading.Timer(0.3, two.start).start()

        settings = replace(WATCHED, max_retries=6, backoff=0.1)
        asked = ask([one, two], named(60), settings, on_answer=after(20, stop))
    assert asked.stopped is None
    assert sum(r.text is not None for r in asked.responses) == 60


def test_another_server_that_comes_back_at_an_address_stops_the_run() -> None:
    with ProtocolServer(delay=0.01) as one, ProtocolServer(delay=0.01) as two:

        def other() -> None:
            two.version = "0.33.0"
            two.restart()

        asked = ask([one, two], named(200), WATCHED, on_answer=after(20, other))
    assert isinstance(asked.stopped, ServerDied)
    assert "version was '0.32.0', is '0.33.0'" in asked.stopped.message


def test_no_answer_is_counted_twice_while_addresses_come_and_go() -> None:
    with (
        ProtocolServer(delay=0.005) as one,
        ProtocolServer(delay=0.005) as two,
        ProtocolServer(delay=0.005) as three,
    ):
        actions = [
            after(n, action)
            for n, action in (
                *((40, one.stop), (90, one.start), (130, two.stop), (180, two.start)),
                *((220, three.stop), (260, one.stop), (300, one.start), (320, three.start)),
            )
        ]

        def act(answer: Answer) -> None:
            for action in actions:
                action(answer)

        asked = ask([one, two, three], named(400), WATCHED, on_answer=act)
    assert asked.stopped is None
    assert sorted(r.sample_id for r in asked.responses) == [f"{i:03}" for i in range(400)]
    assert all(r.text is not None for r in asked.responses)
    where = {0: one.url, 1: two.url, 2: three.url} | {e.index: e.endpoint for e in asked.epochs}
    assert all(r.endpoint == where[r.epoch or 0] for r in asked.responses)
    assert all(r.attempts[-1].endpoint == r.endpoint for r in asked.responses)


# --- Stopping -------------------------------------------------------------------------------------


def stop_after(server: ProtocolServer, turns: int) -> float:
    """Cancel so many turns of the loop after the third answer; seconds until the client stops."""

    async def work() -> float:
        servers = [Server(server.url)]
        client = Client(
            servers,
            first_epochs(servers, "tiny"),
            "tiny",
            replace(FAST, concurrency=1),
            read_image=lambda part: IMAGE,
        )
        answers: list[Answer] = []
        async with client:
            running = asyncio.ensure_future(client.complete(at_hand(named(300)), answers.append))
            while len(answers) < 3:
                await asyncio.sleep(0)
            for _ in range(turns):
                await asyncio.sleep(0)
            start = time.monotonic()
            running.cancel()
            await asyncio.wait({running}, timeout=10)
            return time.monotonic() - start

    return asyncio.run(work())


@pytest.mark.parametrize("turns", range(6))
def test_a_stop_that_comes_together_with_an_answer_is_not_lost(
    server: ProtocolServer, turns: int
) -> None:
    server.delay = 0.005
    assert stop_after(server, turns) < 2
    assert len(server.requests) < 20


def test_nothing_is_asked_after_a_stop(server: ProtocolServer) -> None:
    server.delay, answers = 0.01, list[Answer]()

    async def work() -> None:
        servers = [Server(server.url)]
        client = Client(
            servers, first_epochs(servers, "tiny"), "tiny", FAST, read_image=lambda part: IMAGE
        )
        async with client:
            running = asyncio.ensure_future(client.complete(at_hand(named(500)), answers.append))
            await asyncio.sleep(0.2)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await asyncio.sleep(0.2)

    asyncio.run(work())
    assert len(server.requests) <= len(answers) + FAST.concurrency


# --- Keys and proxies -----------------------------------------------------------------------------


def test_the_key_is_sent_as_bearer() -> None:
    with ProtocolServer(api_key="hunter22") as server:
        found = ask(server, [request("one")], api_key="hunter22").only
        (sent,) = server.requests
    assert found.text is not None
    assert sent.headers["authorization"] == "Bearer hunter22"


def test_a_key_in_the_environment_alone_is_not_sent(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hunter22")
    ask(server, [request("one")])
    (sent,) = server.requests
    assert "hunter22" not in str(sent.headers)


def test_a_proxy_is_not_used_for_this_machine(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{nobody.getsockname()[1]}")
        assert ask(server, [request("one")]).only.text is not None
