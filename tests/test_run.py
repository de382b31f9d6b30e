"""A run from its settings to its file: nothing lost, nothing invented, resumable at any moment."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import protocol_server as ps
import pytest
from protocol_server import ProtocolServer, fail_first, fail_matching, prompt_text

from flagos_eval import config, plan, store
from flagos_eval.errors import (
    FileError,
    FinishedRun,
    NotComparable,
    ServerDied,
    ServerRefused,
    ServerUnreachable,
    SettingsChanged,
    UsageError,
)
from flagos_eval.job import Job
from flagos_eval.progress import Answered, Event, Note, Planned, Silent
from flagos_eval.records import ErrorKind, Run, Status, sha256_hex
from flagos_eval.run import execute, journal_path

N = 24
TASK_FILE = '''
"""Questions about tiny pictures; every picture is another one."""

from flagos_eval.pixels import Canvas
from flagos_eval.records import Sample, TextPart
from flagos_eval.task import GeneratedDataset, Judgement, Prompt, Scorer, Task

N = 24


def rows(split):
    for index in range(N):
        canvas = Canvas(16)
        canvas.box(0, 0, 1 + index % 16, 2 + index // 16, 1)
        yield {
            "id": f"item-{index:03}",
            "text": f"Question {index:03}: A, B, C or D?",
            "answer": "ABCD"[index % 4],
            "image": canvas.png([(0, 0, 0), (255, 255, 255)]),
        }


def to_sample(row):
    return Sample.create(
        task=TASK.name,
        id=row["id"],
        input=(row.image("image"), TextPart(text=row["text"])),
        target=row["answer"],
        group="even" if row["answer"] in "AC" else "odd",
    )


def score(sample, text):
    answer = text.strip()[:1]
    return Judgement(answer if answer in list("ABCD") else None, float(answer == sample.target[0]))


TASK = Task(
    name="pictures",
    version=1,
    title="Tiny pictures",
    dataset=GeneratedDataset(id="test/pictures", n={"test": N}, rows=rows),
    to_sample=to_sample,
    prompts=(
        Prompt("plain", 1, lambda sample: sample.input, "here"),
        Prompt("polite", 1, lambda sample: (*sample.input, TextPart(text="Please.")), "here"),
    ),
    scorers=(Scorer("official", 1, score, "here"),),
    max_tokens=64,
)
'''


def number(body: dict[str, Any]) -> int | None:
    """The number of the question that is asked; None for a probe."""
    found = re.search(r"Question (\d+)", prompt_text(body))
    return int(found[1]) if found else None


def right_answer(body: dict[str, Any]) -> str:
    index = number(body)
    return "a picture" if index is None else f"{'ABCD'[index % 4]} is right for {index:03}"


def asked(server: ProtocolServer) -> Counter[int]:
    """How often each question was asked, probes left out."""
    numbers = (number(request.body) for request in server.requests)
    return Counter(index for index in numbers if index is not None)


class Workplace:
    """A folder with a task file, and where runs of it go."""

    def __init__(self, folder: Path) -> None:
        self.tasks, self.results = folder / "tasks", folder / "results"
        self.tasks.mkdir()
        self.results.mkdir()
        self.change_task("", "")

    def change_task(self, old: str, new: str) -> None:
        (self.tasks / "pictures.py").write_text(TASK_FILE.replace(old, new, 1), "utf-8")

    def output(self, name: str = "run") -> Path:
        return self.results / f"{name}.json"

    def journal(self, name: str = "run") -> Path:
        return journal_path(self.output(name))

    def job(
        self,
        servers: ProtocolServer | Sequence[ProtocolServer | str],
        *,
        name: str = "run",
        like: Run | None = None,
        fresh: bool = False,
        api_key: str | None = None,
        **settings: Any,
    ) -> Job:
        several = [servers] if isinstance(servers, ProtocolServer) else servers
        urls = tuple(s.url if isinstance(s, ProtocolServer) else s for s in several)
        here = {"tasks": ("pictures",), "tasks_dir": str(self.tasks), "base_url": urls}
        quick = {"concurrency": 4, "timeout": 5.0, "max_retries": 0}
        layers: dict[config.Source, dict[str, Any]] = {
            "run": dict(config.from_run(like)) if like else {},
            "flag": {**here, **quick, **settings},
        }
        configured = config.combine(layers)
        planned = plan.make(configured.config, like=like)
        return Job(configured, planned, self.output(name), ("flagos-eval", "run"), api_key, fresh)

    def run(self, servers: Any, *, report: Any = None, **options: Any) -> Run:
        return execute(self.job(servers, **options), report or Silent())

    def command(self, server: ProtocolServer, *more: str, name: str = "run") -> list[str]:
        return [
            *(sys.executable, "-m", "flagos_eval", "run", "--plain"),
            *("-t", "pictures", "--tasks-dir", str(self.tasks)),
            *("--base-url", server.url, "-o", str(self.output(name))),
            *("--concurrency", "2", *more),
        ]


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer(answer=right_answer) as running:
        yield running
        assert running.errors == []


def judged(run: Run) -> list[tuple[object, ...]]:
    """What the answers are worth, and all that is computed from it."""
    scores = [(s.sample_id, s.repeat, s.status, s.value, s.answer) for s in run.scores]
    return [*scores, *((r.counts, r.metrics, r.groups) for r in run.results)]


def stop_after(n: int, action: Callable[[], object]) -> Callable[[Event], None]:
    """A reporter that does something when `n` answers are there."""
    count = 0

    def hear(event: Event) -> None:
        nonlocal count
        count += isinstance(event, Answered)
        if count == n and isinstance(event, Answered):
            action()

    return hear


# --- A complete run -------------------------------------------------------------------------------


def test_a_run_is_complete_and_official_when_everything_is_answered(
    work: Workplace, server: ProtocolServer
) -> None:
    run = work.run(server)
    assert (run.state, run.reason, run.phase) == ("complete", None, "official")
    assert len(run.responses) == N and all(r.text is not None for r in run.responses)


def test_every_question_is_asked_exactly_once(work: Workplace, server: ProtocolServer) -> None:
    work.run(server)
    assert asked(server) == dict.fromkeys(range(N), 1)


def test_every_answer_belongs_to_its_question(work: Workplace, server: ProtocolServer) -> None:
    run = work.run(server, concurrency=16)
    assert {r.sample_id[-3:] for r in run.responses} == {f"{i:03}" for i in range(N)}
    assert all(r.text and r.text.endswith(r.sample_id[-3:]) for r in run.responses)


def test_every_picture_arrives_with_its_own_question(
    work: Workplace, server: ProtocolServer
) -> None:
    job = work.job(server)
    execute(job, Silent())
    wanted = {s.id: s.images[0].sha256 for s in job.plan.tasks[0].items.samples}
    for request in server.requests:
        if (index := number(request.body)) is not None:
            url = request.body["messages"][0]["content"][0]["image_url"]["url"]
            sent = base64.b64decode(url.removeprefix("data:image/png;base64,"))
            assert sha256_hex(sent) == wanted[f"item-{index:03}"]


def test_right_answers_are_worth_one_hundred(work: Workplace, server: ProtocolServer) -> None:
    result = work.run(server).result("pictures")
    assert (result.n, result.counts) == (N, {Status.SCORED: N})
    assert result.metrics[0].low == result.metrics[0].value == result.metrics[0].high == 100


def test_what_is_saved_is_what_was_returned(work: Workplace, server: ProtocolServer) -> None:
    run = work.run(server, logprobs=1)
    assert store.load(work.output()) == run


def test_nothing_but_the_run_and_its_files_is_left(work: Workplace, server: ProtocolServer) -> None:
    run = work.run(server, logprobs=1)
    files = {str(p.relative_to(work.results)) for p in work.results.rglob("*") if p.is_file()}
    assert files == {"run.json", *(file.path for file in run.files)}


def test_the_server_is_on_record(work: Workplace, server: ProtocolServer) -> None:
    run = work.run(server)
    (epoch,) = run.epochs
    assert (run.model, epoch.model, epoch.endpoint) == ("tiny", "tiny", server.url)
    assert (epoch.version, epoch.process_start) == (server.version, server.start_time)
    assert {c.name: c.state for c in run.capabilities}["image"] == "supported"
    (counters,) = run.parts[0].counters
    assert counters.begin is not None and counters.end is not None
    before, after = counters.begin.counts.requests, counters.end.counts.requests
    assert before is not None and after is not None and after - before == N


def test_order_and_load_are_on_record(work: Workplace, server: ProtocolServer) -> None:
    server.delay = 0.05
    run = work.run(server, concurrency=3)
    assert [(r.order, r.sample_id) for r in run.responses] == [
        (index, f"item-{index:03}") for index in range(N)
    ]
    assert max(r.in_flight for r in run.responses) == server.max_in_flight == 3


def test_a_text_of_any_characters_is_kept(work: Workplace, server: ProtocolServer) -> None:
    text = "B \ud83d \x00 \u2028 答案"
    server.answer = lambda body: "a picture" if number(body) is None else text
    run = work.run(server, limit=3)
    assert {r.text for r in store.load(work.output()).responses} == {text}
    assert run.state == "complete"


def test_an_answer_cut_by_the_token_limit_is_counted_as_such(
    work: Workplace, server: ProtocolServer
) -> None:
    run = work.run(server, max_tokens=1)
    assert run.result("pictures").counts == {Status.TRUNCATED: N}
    assert {r.text for r in run.responses} == set("ABCD")


def test_each_item_is_asked_as_often_as_wanted(work: Workplace, server: ProtocolServer) -> None:
    run = work.run(server, repeat=3)
    assert asked(server) == dict.fromkeys(range(N), 3)
    assert Counter((r.sample_id, r.repeat) for r in run.responses) == {
        (f"item-{index:03}", repeat): 1 for index in range(N) for repeat in range(3)
    }
    assert run.result("pictures").n == len(run.scores) == 3 * N


def test_every_pass_has_an_order_of_its_own(work: Workplace, server: ProtocolServer) -> None:
    run = work.run(server, repeat=2)
    asked = sorted(run.responses, key=lambda response: response.order)
    first, second = ([r.sample_id for r in asked if r.repeat == k] for k in range(2))
    assert first == sorted(first)
    assert first != second
    assert sorted(second) == first


def test_repeats_are_draws_of_their_own(work: Workplace, server: ProtocolServer) -> None:
    run = work.run(server, repeat=3, temperature=1.0, seed=7)
    seeds = {
        request.body["seed"] for request in server.requests if number(request.body) is not None
    }
    assert seeds == {7, 8, 9}
    texts = [r.text for r in run.responses if r.sample_id == "item-000"]
    assert len(set(texts)) == 3


def test_a_limit_makes_a_preview(work: Workplace, server: ProtocolServer) -> None:
    run = work.run(server, limit=5)
    assert (run.phase, len(run.responses)) == ("preview", 5)


def test_a_limit_beyond_the_benchmark_is_none(work: Workplace, server: ProtocolServer) -> None:
    assert work.run(server, limit=N).phase == "official"


# --- Log-probabilities ----------------------------------------------------------------------------


def stored_logprobs(work: Workplace, run: Run) -> list[dict[str, Any]]:
    (file,) = [file for file in run.files if file.kind == "logprobs"]
    data = (work.results / file.path).read_bytes()
    assert sha256_hex(data) == file.sha256
    return [json.loads(line) for line in gzip.decompress(data).splitlines()]


def test_log_probabilities_are_the_lines_that_responses_name(
    work: Workplace, server: ProtocolServer
) -> None:
    run = work.run(server, logprobs=2, repeat=2)
    lines = stored_logprobs(work, run)
    assert len(lines) == 2 * N
    for response in run.responses:
        assert response.logprobs_line is not None
        line = lines[response.logprobs_line]
        assert (line["sample_id"], line["repeat"]) == (response.sample_id, response.repeat)
        assert "".join(token for token, _, _ in line["tokens"]) == response.text


def test_log_probabilities_of_every_start_are_kept(work: Workplace, server: ProtocolServer) -> None:
    server.faults = fail_matching("Question 005", ps.Status(400))
    assert work.run(server, logprobs=2).state == "incomplete"
    server.faults = None
    run = work.run(server, logprobs=2)
    lines = stored_logprobs(work, run)
    assert sorted(line["sample_id"] for line in lines) == [f"item-{i:03}" for i in range(N)]


def test_a_server_without_log_probabilities_leaves_no_line(
    work: Workplace, server: ProtocolServer
) -> None:
    server.supports_logprobs = False
    run = work.run(server, logprobs=2)
    assert stored_logprobs(work, run) == []
    assert {r.logprobs_line for r in run.responses} == {None}


# --- Failures -------------------------------------------------------------------------------------


def test_failures_above_the_limit_make_the_run_incomplete_and_saved(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = fail_matching("Question 00", ps.Status(500))
    run = work.run(server)
    assert run.state == "incomplete" and run.reason is not None
    assert run.reason.startswith(f"10 of {N} requests failed, more than 0.5 %; most often: ")
    assert store.load(work.output()) == run and work.journal().is_file()


def test_a_model_that_computes_nan_is_called_that(work: Workplace, server: ProtocolServer) -> None:
    """As vLLM 0.20.2 said it of FlagGems 5.0.2 on an H200: JSON has no such number."""
    body = b'{"error": {"message": "Out of range float values are not JSON compliant: nan"}}'
    server.faults = fail_matching("Question 00", ps.Status(400, body=body))
    reason = work.run(server).reason
    assert reason is not None and reason.endswith("(the model computes NaN)")


def test_a_failure_is_never_scored(work: Workplace, server: ProtocolServer) -> None:
    server.faults = fail_matching("Question 00", ps.Status(500))
    run = work.run(server)
    failed = {r.sample_id for r in run.responses if r.error is not None}
    assert failed == {s.sample_id for s in run.scores if s.value is None}
    assert {s.status for s in run.scores if s.value is None} == {Status.ERROR}
    metric = run.result("pictures").metrics[0]
    assert metric.value == 100 and metric.high == 100
    assert metric.low == pytest.approx(100 * (N - 10) / N)


def test_failures_within_the_limit_leave_the_run_complete(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = fail_matching("Question 007", ps.Status(400))
    run = work.run(server, max_error_rate=0.05)
    assert run.state == "complete"
    assert run.result("pictures").counts == {Status.SCORED: N - 1, Status.ERROR: 1}


def test_a_second_start_asks_only_what_failed(work: Workplace, server: ProtocolServer) -> None:
    server.faults = fail_matching("Question 00", ps.Status(500))
    work.run(server)
    first, server.faults = asked(server), None
    run = work.run(server)
    assert asked(server) - first == Counter(range(10))
    assert run.state == "complete" and not work.journal().exists()


def test_attempts_of_an_earlier_start_stay_on_record(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = fail_matching("Question 003", ps.Status(500))
    work.run(server)
    work.run(server)
    server.faults = None
    run = work.run(server)
    (response,) = [r for r in run.responses if r.sample_id == "item-003"]
    kinds = [attempt.error and attempt.error.kind for attempt in response.attempts]
    assert kinds == [ErrorKind.SERVER_ERROR, ErrorKind.SERVER_ERROR, None]
    assert all(len(r.attempts) == 1 for r in run.responses if r is not response)


def test_a_run_that_was_resumed_keeps_its_name_and_its_beginning(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = fail_matching("Question 003", ps.Status(500))
    first = work.run(server)
    server.faults = None
    second = work.run(server)
    assert (second.id, second.started_at) == (first.id, first.started_at)


def test_a_resumed_run_scores_as_an_undisturbed_one(
    work: Workplace, server: ProtocolServer
) -> None:
    undisturbed = work.run(server, name="undisturbed")
    server.faults = ps.fail_every(3, ps.Status(500))
    assert work.run(server).state == "incomplete"
    server.faults = None
    assert judged(work.run(server)) == judged(undisturbed)


def test_retries_within_a_start_leave_no_trace_in_the_scores(
    work: Workplace, server: ProtocolServer
) -> None:
    undisturbed = work.run(server, name="undisturbed")
    server.faults = lambda info: (
        ps.Status(429, retry_after=0)
        if number(info.body) is not None and info.times_seen < 4
        else None
    )
    run = work.run(server, max_retries=2)
    assert {len(r.attempts) for r in run.responses} == {3}
    assert judged(run) == judged(undisturbed)


def test_all_failures_together_are_retried_to_a_complete_run(
    work: Workplace, server: ProtocolServer
) -> None:
    broken = (ps.Status(503, retry_after=0), ps.Reset(16), ps.Garbage(), ps.Truncated(5))

    def faults(info: ps.RequestInfo) -> ps.Fault | None:
        index = number(info.body)
        return broken[index % 4] if index is not None and info.times_seen == 1 else None

    server.faults = faults
    run = work.run(server, max_retries=1, concurrency=16)
    assert run.state == "complete"
    assert {len(r.attempts) for r in run.responses} == {2}


def test_attempts_are_in_the_order_of_time(work: Workplace, server: ProtocolServer) -> None:
    again = fail_first(2, ps.Status(429, retry_after=0.05))
    server.faults = lambda info: None if number(info.body) is None else again(info)
    run = work.run(server, limit=4, max_retries=3)
    for response in run.responses:
        times = [attempt.started_at for attempt in response.attempts]
        assert len(times) == 3 and all(a < b for a, b in pairwise(times))


# --- Finished runs and other settings -------------------------------------------------------------


def test_a_finished_run_is_never_touched(work: Workplace, server: ProtocolServer) -> None:
    work.run(server)
    before, count = work.output().read_bytes(), len(server.requests)
    with pytest.raises(FinishedRun) as caught:
        work.run(server, fresh=True)
    assert "run-2.json" in str(caught.value.hint)
    assert (work.output().read_bytes(), len(server.requests)) == (before, count)


def test_other_settings_do_not_mix_with_earlier_answers(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = fail_matching("Question 003", ps.Status(500))
    work.run(server)
    with pytest.raises(SettingsChanged, match=r"temperature was 0.0, is 0.5"):
        work.run(server, temperature=0.5)


def test_changed_data_do_not_mix_with_earlier_answers(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = fail_matching("Question 003", ps.Status(500))
    work.run(server)
    work.change_task("A, B, C or D?", "A, B or C?")
    with pytest.raises(SettingsChanged, match="pictures items"):
        work.run(server)


def test_settings_of_transport_may_change_on_the_way(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = fail_matching("Question 003", ps.Status(500))
    work.run(server)
    server.faults = None
    run = work.run(server, concurrency=1, timeout=30.0, max_retries=2)
    assert run.state == "complete" and sum(asked(server).values()) == N + 1


def test_fresh_drops_the_answers_of_an_unfinished_run(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = fail_matching("Question 003", ps.Status(500))
    first = work.run(server)
    server.faults = None
    second = work.run(server, fresh=True)
    assert asked(server) == dict.fromkeys(range(N), 2)
    assert first.id != second.id


# --- Servers that go and come ---------------------------------------------------------------------


def test_a_server_that_dies_leaves_its_answers_and_no_run(
    work: Workplace, server: ProtocolServer
) -> None:
    with pytest.raises(ServerDied):
        work.run(server, report=stop_after(10, server.stop))
    assert work.journal().is_file() and not work.output().exists()


def test_after_a_servers_death_nothing_answered_is_asked_again(
    work: Workplace, server: ProtocolServer
) -> None:
    answered: set[str] = set()
    with pytest.raises(ServerDied):
        work.run(server, report=stop_after(10, server.stop), logprobs=1)
    for line in work.journal().read_text("ascii").splitlines():
        if '"text"' in line:
            answered.add(json.loads(line.split(" ", 1)[1])["response"]["sample_id"])
    first = asked(server)
    server.start()
    run = work.run(server, logprobs=1)
    assert run.state == "complete" and len(answered) >= 10
    assert not answered & {f"item-{index:03}" for index in asked(server) - first}


def test_each_start_of_the_server_is_an_epoch(work: Workplace, server: ProtocolServer) -> None:
    with pytest.raises(ServerDied):
        work.run(server, report=stop_after(10, server.stop))
    server.start()
    run = work.run(server)
    assert [epoch.index for epoch in run.epochs] == [0, 1]
    used = Counter(r.epoch for r in run.responses)
    assert used[0] >= 10 and used[1] > 0 and used[0] + used[1] == N


def test_the_same_start_of_the_server_is_one_epoch(work: Workplace, server: ProtocolServer) -> None:
    server.faults = fail_matching("Question 003", ps.Status(500))
    work.run(server)
    server.faults = None
    assert len(work.run(server).epochs) == 1


@pytest.mark.parametrize("change", [{"version": "0.33.0"}, {"root": "other"}])
def test_another_server_does_not_continue_a_run(
    work: Workplace, server: ProtocolServer, change: dict[str, str]
) -> None:
    server.faults = fail_matching("Question 003", ps.Status(500))
    work.run(server)
    for name, value in change.items():
        setattr(server, name, value)
    server.restart()
    before = asked(server)
    with pytest.raises(ServerDied, match="another server answers"):
        work.run(server)
    assert asked(server) == before


def test_a_run_whose_answers_are_all_there_needs_no_server(
    work: Workplace, server: ProtocolServer
) -> None:
    work.output().mkdir()
    with pytest.raises(FileError):
        work.run(server)
    server.stop()
    work.output().rmdir()
    run = work.run(server)
    assert (run.state, run.model, len(run.epochs)) == ("complete", "tiny", 1)


def test_a_server_that_is_not_there_is_said_at_once(
    work: Workplace, server: ProtocolServer
) -> None:
    server.stop()
    with pytest.raises(ServerUnreachable, match=re.escape(server.url)):
        work.run(server)


# --- Servers that will not do ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "settings", "said"),
    [
        ({"supports_images": False}, {}, "takes no images"),
        ({"honours_max_pixels": False}, {"max_pixels": 50176}, "takes no max_pixels"),
        ({"model": "large"}, {"model": "tiny"}, "serves no model 'tiny'"),
        ({"api_key": "hunter22"}, {}, "does not accept the API key"),
    ],
)
def test_a_server_that_will_not_do_is_refused_before_any_question(
    work: Workplace,
    server: ProtocolServer,
    changes: dict[str, Any],
    settings: dict[str, Any],
    said: str,
) -> None:
    for name, value in changes.items():
        setattr(server, name, value)
    with pytest.raises(ServerRefused, match=said):
        work.run(server, **settings)
    assert not asked(server)


def test_a_busy_moment_during_the_probes_does_not_refuse_the_server(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = lambda info: (
        ps.Status(503) if number(info.body) is None and b"image_url" in info.raw else None
    )
    assert work.run(server).state == "complete"


def test_without_a_server_nothing_is_done(work: Workplace) -> None:
    with pytest.raises(UsageError, match="no server was named"):
        work.run([])


def test_two_kinds_of_server_are_one_too_many(work: Workplace, server: ProtocolServer) -> None:
    with pytest.raises(UsageError, match="give one of them"):
        work.run(server, launcher="vllm")


# --- Several addresses ----------------------------------------------------------------------------


def test_two_addresses_share_a_run(work: Workplace, server: ProtocolServer) -> None:
    with ProtocolServer(answer=right_answer, delay=0.01) as other:
        server.delay = 0.01
        run = work.run([server, other])
        assert asked(server) + asked(other) == dict.fromkeys(range(N), 1)
        assert min(len(asked(server)), len(asked(other))) > N // 4
    assert {epoch.endpoint for epoch in run.epochs} == {server.url, other.url}
    where = {epoch.index: epoch.endpoint for epoch in run.epochs}
    assert all(r.epoch is not None and r.endpoint == where[r.epoch] for r in run.responses)


def test_two_addresses_that_are_not_alike_are_refused(
    work: Workplace, server: ProtocolServer
) -> None:
    with (
        ProtocolServer(answer=right_answer, honours_max_pixels=False) as other,
        pytest.raises(ServerRefused, match=f"{other.url} are not alike: max_pixels is supported"),
    ):
        work.run([server, other])
    assert asked(server) == asked(other) == {}


def test_what_an_address_does_not_show_is_no_difference(
    work: Workplace, server: ProtocolServer
) -> None:
    with ProtocolServer(answer=right_answer) as other:
        other.faults = lambda info: (
            ps.Status(503) if number(info.body) is None and b"image_url" in info.raw else None
        )
        assert work.run([server, other]).state == "complete"


def test_one_of_two_addresses_may_die(work: Workplace, server: ProtocolServer) -> None:
    with ProtocolServer(answer=right_answer, delay=0.01) as other:
        server.delay = 0.01
        run = work.run([server, other], report=stop_after(6, other.stop), max_retries=1)
    assert run.state == "complete"
    assert all(r.text is not None for r in run.responses)


def test_every_try_is_on_record_with_its_address(work: Workplace, server: ProtocolServer) -> None:
    with ProtocolServer(answer=right_answer, delay=0.01) as other:
        server.delay = 0.01
        again = fail_first(1, ps.Status(503, retry_after=0))
        other.faults = lambda info: None if number(info.body) is None else again(info)
        run = work.run([server, other], max_retries=1)
        saw = {s.url: sum(asked(s).values()) for s in (server, other)}
    stored = store.load(work.output())
    tries = Counter(a.endpoint for r in stored.responses for a in r.attempts)
    assert tries == saw and sum(tries.values()) > N
    assert run.state == "complete"


def test_a_drained_address_is_told(work: Workplace, server: ProtocolServer) -> None:
    events: list[Event] = []
    with ProtocolServer(answer=right_answer, delay=0.01) as other:
        server.delay = 0.01
        stop = stop_after(6, other.stop)

        def hear(event: Event) -> None:
            events.append(event)
            stop(event)

        run = work.run([server, other], report=hear)
    told = [event.text for event in events if isinstance(event, Note)]
    assert sum(f"{other.url} refuses connections: drained" in text for text in told) == 1
    assert all(r.text is not None for r in run.responses) and len(run.responses) == N


def test_two_names_of_one_server_are_two_addresses(work: Workplace, server: ProtocolServer) -> None:
    server.delay = 0.01
    run = work.run([server, server.url.replace("127.0.0.1", "localhost")])
    assert run.state == "complete"
    assert {r.epoch for r in run.responses} == {0, 1}


def test_different_servers_do_not_share_a_run(work: Workplace, server: ProtocolServer) -> None:
    with ProtocolServer(version="0.33.0") as other:
        with pytest.raises(ServerDied, match="version was"):
            work.run([server, other])
        assert not asked(server) and not asked(other)


def test_an_address_given_twice_is_refused(work: Workplace, server: ProtocolServer) -> None:
    with pytest.raises(UsageError, match="given twice"):
        work.run([server, server.url + "/"])


# --- Asking what another run asked ----------------------------------------------------------------


def hashes(run: Run) -> list[tuple[object, ...]]:
    return [(t.name, i.id, i.content_hash, i.request_hashes) for t in run.tasks for i in t.expected]


def test_following_a_run_asks_exactly_the_same(work: Workplace, server: ProtocolServer) -> None:
    settings = {"limit": 7, "repeat": 2, "temperature": 0.3, "seed": 5, "prompt": "polite"}
    first = work.run(server, name="first", max_tokens=32, **settings)
    asked_first = [sent.raw for sent in server.requests if number(sent.body) is not None]
    with ProtocolServer(answer=right_answer) as other:
        second = work.run(other, name="second", like=first)
        asked_second = [sent.raw for sent in other.requests if number(sent.body) is not None]
    assert hashes(second) == hashes(first)
    assert sorted(asked_second) == sorted(asked_first)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("A, B, C or D?", "A, B or C?", "items differ"),
        ('"ABCD"[index % 4]', '"ABCD"[index % 3]', "items differ"),
        ("2 + index // 16", "3 + index // 16", "items differ"),
        ("lambda sample: sample.input", "lambda sample: sample.input[::-1]", "prompts"),
    ],
)
def test_following_a_run_is_refused_when_it_would_ask_something_else(
    work: Workplace, server: ProtocolServer, old: str, new: str, what: str
) -> None:
    first = work.run(server, name="first")
    work.change_task(old, new)
    with pytest.raises(NotComparable, match=what):
        work.job(server, name="second", like=first)


def test_following_a_run_with_another_parameter_is_refused(
    work: Workplace, server: ProtocolServer
) -> None:
    first = work.run(server, name="first")
    with pytest.raises(NotComparable, match="prompts or parameters differ"):
        work.job(server, name="second", like=first, temperature=0.5)


# --- What is told on the way ----------------------------------------------------------------------


def test_every_answer_is_told(work: Workplace, server: ProtocolServer) -> None:
    events: list[Event] = []
    server.faults = fail_matching("Question 003", ps.Status(500))
    work.run(server, report=events.append)
    assert events[0] == Planned("pictures", N, 0)
    told = [event for event in events if isinstance(event, Answered)]
    assert Counter(event.error for event in told) == {False: N - 1, True: 1}


def test_a_resumed_run_tells_what_is_there(work: Workplace, server: ProtocolServer) -> None:
    server.faults = fail_matching("Question 00", ps.Status(500))
    work.run(server)
    events: list[Event] = []
    work.run(server, report=events.append)
    assert events[0] == Planned("pictures", N, N - 10)


def test_a_torn_journal_is_repaired_and_told(work: Workplace, server: ProtocolServer) -> None:
    server.faults = fail_matching("Question 003", ps.Status(500))
    work.run(server)
    data = work.journal().read_bytes()
    work.journal().write_bytes(data[:-20])
    server.faults, events = None, list[Event]()
    run = work.run(server, report=events.append)
    assert run.state == "complete"
    assert any(isinstance(e, Note) and "torn last line" in e.text for e in events)


# --- Signals --------------------------------------------------------------------------------------


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


@pytest.mark.parametrize("number_", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so_and_resumes(
    work: Workplace, server: ProtocolServer, number_: signal.Signals
) -> None:
    undisturbed = work.run(server, name="undisturbed")
    server.delay, before = 0.05, sum(asked(server).values())
    with subprocess.Popen(work.command(server), stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: sum(asked(server).values()) >= before + 10)
        process.send_signal(number_)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    kept = re.search(rf"stopped\. (\d+) of {N} responses kept", said)
    assert kept is not None and 8 <= int(kept[1]) < N
    server.delay = 0
    again = subprocess.run(work.command(server), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert f"{kept[1]} answered earlier" in again.stderr
    assert judged(store.load(work.output())) == judged(undisturbed)
    # Only what was in flight at the signal was asked twice.
    assert sum(asked(server).values()) - before <= N + 2


def test_an_interrupt_during_the_probes_is_heard(work: Workplace, server: ProtocolServer) -> None:
    server.faults = lambda info: ps.Hang()
    with subprocess.Popen(work.command(server), stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: len(server.requests) > 0)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"0 of {N} responses kept" in said


# --- Secrets --------------------------------------------------------------------------------------


def test_the_key_is_sent_and_reaches_no_file(work: Workplace, server: ProtocolServer) -> None:
    key = "sk-hunter22"
    server.api_key = key
    # A server that repeats what it was sent, as some do in their error messages.
    body = ps.error_body(500, f"the key {key} is overloaded", "InternalServerError")
    server.faults = fail_matching("Question 003", ps.Status(500, body=body))
    command = work.command(server, "--max-retries", "0", "--env", "MY_API_KEY")
    environment = {**os.environ, "OPENAI_API_KEY": key, "MY_API_KEY": key}

    def run() -> int:
        with (work.results / "log.txt").open("ab") as log:
            return subprocess.run(
                command, stdout=log, stderr=log, env=environment, check=False
            ).returncode

    def leaks() -> list[str]:
        found = []
        for path in work.results.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                data += gzip.decompress(data) if path.suffix == ".gz" else b""
                found += [path.name] if key.encode() in data else []
        return found

    assert run() == 5
    assert work.journal().is_file() and leaks() == []
    server.faults = None
    assert run() == 0
    assert leaks() == []
    assert {sent.headers["authorization"] for sent in server.requests} == {f"Bearer {key}"}
