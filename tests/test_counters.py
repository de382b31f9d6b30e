"""A run keeps what its servers counted, through every way of ending and going on."""

from __future__ import annotations

import json
import signal
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import protocol_server as ps
import pytest
from protocol_server import ProtocolServer, fail_first, fail_matching
from test_run import N, Workplace, asked, number, right_answer, stop_after, wait_until

from flagos_eval import store
from flagos_eval.cli import cli
from flagos_eval.errors import CorruptFile, FileError, InvalidRun, ServerDied
from flagos_eval.records import Fact, Run
from flagos_eval.tally import Tally, tally
from flagos_eval.verification.run import verify_run

pytestmark = pytest.mark.once


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer(answer=right_answer) as running:
        yield running
        assert running.errors == []


def counts(run: Run) -> Tally:
    found = tally(run)
    assert found is not None
    assert found.ours.requests == sum(r.error is None for r in run.responses)
    return found


def billed(run: Run) -> tuple[int, int, int]:
    used = [r.usage for r in run.responses if r.usage]
    prompt, completion = (sum(getattr(u, f"{n}_tokens") for u in used) for n in _TOKENS)
    return len(used), prompt, completion


_TOKENS = ("prompt", "completion")


# --- One part -------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 16])
def test_an_undisturbed_run_and_its_server_count_the_same(
    work: Workplace, server: ProtocolServer, concurrency: int
) -> None:
    server.finished("stop", prompt=1000, generated=100)  # somebody else's, before
    run = work.run(server, concurrency=concurrency, repeat=2)
    found = counts(run)
    assert (found.state, found.detail) == ("equal", "the server counted as many")
    ours = (found.ours.requests, found.ours.prompt_tokens, found.ours.completion_tokens)
    assert ours == billed(run) and ours[0] == 2 * N
    (part,) = run.parts
    assert (part.dropped, part.ended_at is not None) == ((), True)


def test_probes_are_not_counted_as_answers(work: Workplace, server: ProtocolServer) -> None:
    run = work.run(server)
    assert len(server.requests) > N
    begin = run.parts[0].counters[0].begin
    assert begin is not None and begin.counts.requests == len(server.requests) - N


def test_one_request_of_somebody_else_is_seen(work: Workplace, server: ProtocolServer) -> None:
    run = work.run(server, report=stop_after(5, lambda: server.finished("stop", 100, 7)))
    found = counts(run)
    assert found.state == "more"
    assert found.detail == (
        "the server counted 1 request, 100 prompt tokens and 7 completion tokens more than this "
        "run can have sent: somebody else used it"
    )


def test_a_server_that_answers_uncounted_is_seen(work: Workplace, server: ProtocolServer) -> None:
    """As behind a proxy that has some answers in its cache."""
    run = work.run(server, report=stop_after(20, lambda: setattr(server, "counts", False)))
    found = counts(run)
    assert found.state == "less" and "something else answered" in found.detail


@pytest.mark.parametrize("silent", ["shows_counters", "shows_start", "labels_reasons"])
def test_what_a_server_does_not_count_is_not_guessed(
    work: Workplace, server: ProtocolServer, silent: str
) -> None:
    setattr(server, silent, False)
    found = counts(work.run(server))
    if silent == "shows_counters":
        assert found.state == "not_verified"
        assert found.detail == ("start 1 does not count requests, prompt tokens, completion tokens")
    else:
        assert found.state == "equal"


def test_answers_without_token_counts_are_not_verified(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = fail_matching("Question 007", ps.MissingUsage())
    found = counts(work.run(server))
    assert (found.state, found.detail) == (
        "not_verified",
        "start 1 gave answers without token counts",
    )


# --- Tries that are given up ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        ps.Reset(None),
        ps.Reset(),
        ps.Truncated(),
        ps.Status(500),
        ps.Status(502),
        ps.Status(429, retry_after=0),
        ps.EmptyChoices(),
        ps.Garbage(),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_tries_that_failed_may_have_been_counted(
    work: Workplace, server: ProtocolServer, fault: ps.Fault
) -> None:
    again = fail_first(1, fault)
    server.faults = lambda info: None if number(info.body) is None else again(info)
    run = work.run(server, max_retries=2)
    assert run.state == "complete"
    assert all(len(r.attempts) == 2 for r in run.responses)
    assert counts(run).state == "equal"


def test_a_try_that_ran_out_of_time_is_counted_as_given_up(
    work: Workplace, server: ProtocolServer
) -> None:
    again = fail_first(1, ps.Delay(2.0))
    server.faults = lambda info: again(info) if number(info.body) in (3, 4) else None
    run = work.run(server, max_retries=2, timeout=0.5)
    found = counts(run)
    assert found.state == "equal" and "of tries that were given up" in found.detail


def test_more_than_what_was_given_up_is_somebody_elses(
    work: Workplace, server: ProtocolServer
) -> None:
    again = fail_first(1, ps.Reset())
    server.faults = lambda info: again(info) if number(info.body) == 3 else None

    def foreign() -> None:
        server.finished("stop", 5, 5)
        server.finished("stop", 5, 5)

    found = counts(work.run(server, max_retries=2, report=stop_after(5, foreign)))
    assert found.state == "more"
    assert "2 requests" in found.detail


def test_requests_that_failed_for_good_may_have_been_counted(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = fail_matching("Question 00", ps.Reset())
    run = work.run(server)
    assert run.state == "incomplete" and counts(run).state == "equal"


# --- Several parts --------------------------------------------------------------------------------


def test_a_resumed_run_has_the_counters_of_all_its_parts(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = fail_matching("Question 00", ps.Status(500))
    work.run(server)
    server.faults = None
    server.finished("stop", 1000, 1000)  # somebody else's, in between
    run = work.run(server)
    assert [part.index for part in run.parts] == [0, 1]
    answered = [part.counters[0].answered.requests for part in run.parts]
    assert answered == [N - 10, 10]
    assert counts(run).state == "equal"


def test_a_run_over_two_starts_of_a_server_has_the_counters_of_both(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = fail_matching("Question 00", ps.Status(500))
    work.run(server)
    server.faults = None
    server.restart()
    run = work.run(server)
    assert [c.epoch for part in run.parts for c in part.counters] == [0, 1]
    assert counts(run).state == "equal"


def test_the_counters_of_a_server_that_died_are_not_verified(
    work: Workplace, server: ProtocolServer
) -> None:
    with pytest.raises(ServerDied):
        work.run(server, report=stop_after(10, server.stop))
    server.start()
    found = counts(run := work.run(server))
    assert (found.state, found.detail) == (
        "not_verified",
        "the counters of start 1 could not be read at the end",
    )
    assert run.parts[0].dropped is not None


def test_a_server_that_is_started_anew_on_the_way_counts_from_zero(
    work: Workplace, server: ProtocolServer
) -> None:
    server.delay = 0.02
    run = work.run(server, report=stop_after(8, server.restart), max_retries=8)
    assert len(run.epochs) == 2
    first, second = run.parts[0].counters
    assert (first.end, second.begin, second.fresh) == (None, None, True)
    found = counts(run)
    assert found.state == "not_verified" and "start 1" in found.detail
    # The second start is checked: what it did not count is missed.
    server.counts = False
    less = work.run(server, name="less", report=stop_after(8, server.restart), max_retries=8)
    assert counts(less).state == "less"


def test_a_silent_server_that_lost_a_connection_is_not_verified(
    work: Workplace, server: ProtocolServer
) -> None:
    """Nobody knows whether it was started anew, and from where it counts."""
    server.shows_start = False
    server.faults = lambda info: ps.Delay(0.5) if number(info.body) == 2 else None
    run = work.run(server, report=stop_after(8, server.restart), max_retries=8)
    assert len(run.epochs) > 1 and counts(run).state == "not_verified"


def test_an_interrupted_part_is_read_at_its_end(work: Workplace, server: ProtocolServer) -> None:
    server.delay = 0.05
    with subprocess.Popen(work.command(server), stderr=subprocess.PIPE) as process:
        wait_until(lambda: sum(asked(server).values()) >= 10)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    server.delay = 0
    run = work.run(server)
    first, second = run.parts
    assert first.dropped and len(first.dropped) <= 2 and first.tries == 6
    assert first.counters[0].end is not None and second.dropped == ()
    assert counts(run).state == "equal"


def test_a_killed_part_is_read_when_the_next_begins(
    work: Workplace, server: ProtocolServer
) -> None:
    server.delay = 0.05
    with subprocess.Popen(work.command(server), stderr=subprocess.PIPE) as process:
        wait_until(lambda: sum(asked(server).values()) >= 10)
        process.kill()
        process.communicate(timeout=30)
    server.delay = 0
    run = work.run(server)
    first = run.parts[0]
    assert (first.ended_at, first.dropped) == (None, None)
    assert first.counters[0].end is not None and first.counters[0].answered.requests
    # How many requests were on their way is not known; fewer than were answered would be seen.
    assert counts(run).state in ("equal", "not_verified")


def test_a_killed_part_on_a_server_that_was_started_anew_is_not_verified(
    work: Workplace, server: ProtocolServer
) -> None:
    server.delay = 0.05
    with subprocess.Popen(work.command(server), stderr=subprocess.PIPE) as process:
        wait_until(lambda: sum(asked(server).values()) >= 10)
        process.kill()
        process.communicate(timeout=30)
    server.delay = 0
    server.restart()
    run = work.run(server)
    assert run.parts[0].counters[0].end is None
    assert counts(run).state == "not_verified"


def test_a_journal_of_an_earlier_version_is_continued_and_not_verified(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = fail_matching("Question 00", ps.Status(500))
    work.run(server)
    lines = work.journal().read_bytes().splitlines(keepends=True)
    kinds = [next(iter(json.loads(line.partition(b" ")[2]))) for line in lines]
    assert {"part", "learnt"} <= set(kinds)
    old = [x for x, kind in zip(lines, kinds, strict=True) if kind not in ("part", "learnt")]
    work.journal().write_bytes(b"".join(old))
    server.faults = None
    run = work.run(server)
    answered = [part.counters[0].answered.requests for part in run.parts]
    assert answered == [N - 10, 10]
    assert counts(run).state == "not_verified"


def test_a_part_that_is_no_part_is_a_damaged_line(work: Workplace, server: ProtocolServer) -> None:
    server.faults = fail_matching("Question 00", ps.Status(500))
    work.run(server)
    data = json.dumps({"part": {"index": -1}}).encode()
    with work.journal().open("ab") as journal:
        journal.write(b"%08x %s\n" % (zlib.crc32(data), data))
    with pytest.raises(CorruptFile, match="is damaged"):
        work.run(server)


# --- What earlier parts learnt --------------------------------------------------------------------


def test_a_run_that_needs_no_server_any_more_loses_nothing(
    work: Workplace, server: ProtocolServer
) -> None:
    work.output().mkdir()
    with pytest.raises(FileError):
        work.run(server)
    server.stop()
    work.output().rmdir()
    run = work.run(server)
    assert {c.name: c.state for c in run.capabilities}["image"] == "supported"
    assert counts(run).state == "equal"


def test_a_killed_run_whose_answers_are_all_there_counts_them(
    work: Workplace, server: ProtocolServer
) -> None:
    work.output().mkdir()
    with pytest.raises(FileError):
        work.run(server)
    # As if it had been killed after the last answer: without the entry of its end.
    lines = work.journal().read_bytes().splitlines(keepends=True)
    assert b'"part"' in lines.pop()
    work.journal().write_bytes(b"".join(lines))
    work.output().rmdir()
    found = counts(work.run(server))
    assert found.state == "not_verified" and found.ours.requests == N


def test_the_facts_of_every_part_are_kept_the_last_one_last(tmp_path: Path) -> None:
    from flagos_eval.journal import Learnt

    def fact(name: str, value: str) -> Fact:
        return Fact(name=name, value=value, source="client", verified=True)

    first = Learnt(facts=(fact("host:driver", "1"), fact("host:platform", "metax")))
    second = Learnt(facts=(fact("host:driver", "2"), fact("host:platform", "metax")))
    both = first.then(second)
    assert [f.value for f in both.facts if f.name == "host:driver"] == ["1", "2"]
    assert [f.value for f in both.facts if f.name == "host:platform"] == ["metax"]
    assert {f.name: f.value for f in both.then(first).facts}["host:driver"] == "1"


# --- Several addresses ----------------------------------------------------------------------------


def test_two_servers_are_counted_each(work: Workplace, server: ProtocolServer) -> None:
    with ProtocolServer(answer=right_answer, delay=0.01) as other:
        server.delay = 0.01
        run = work.run([server, other])
        assert [len(part.counters) for part in run.parts] == [2]
        assert counts(run).state == "equal"
        foreign = stop_after(3, lambda: other.finished("stop", 3, 3))
        assert counts(work.run([server, other], name="b", report=foreign)).state == "more"


def test_two_names_of_one_server_are_not_counted_twice(
    work: Workplace, server: ProtocolServer
) -> None:
    server.delay = 0.01
    run = work.run([server, server.url.replace("127.0.0.1", "localhost")])
    assert {r.epoch for r in run.responses} == {0, 1}
    assert counts(run).state == "equal"


def test_two_servers_that_were_started_at_the_same_moment_are_two(
    work: Workplace, server: ProtocolServer
) -> None:
    with ProtocolServer(answer=right_answer, delay=0.01) as other:
        server.delay, other.start_time = 0.01, server.start_time
        # The first address gets more probes than the second: the other way round, and the counts
        # begin the same, too.
        assert _probes(work, other, server)
        run = work.run([server, other])
        first, second = run.parts[0].counters
        assert first.begin is not None and second.begin is not None
        assert first.begin.counts == second.begin.counts
        assert counts(run).state == "equal"


def _probes(work: Workplace, *servers: ProtocolServer) -> int:
    """Let servers answer the probes and nothing else; how many the first has got."""
    for server in servers:
        server.faults = lambda info: None if number(info.body) is None else ps.Status(400)
    work.run(list(servers), name="probes")
    for server in servers:
        server.faults = None
    return sum(number(request.body) is None for request in servers[0].requests)


# --- What is said of it ---------------------------------------------------------------------------


def invoke(*arguments: str) -> Any:
    from click.testing import CliRunner

    return CliRunner().invoke(cli, list(arguments))


def test_the_command_says_when_counters_differ_and_show_says_it_always(
    work: Workplace, server: ProtocolServer
) -> None:
    arguments = work.command(server)[3:]
    quiet = invoke(*arguments)
    assert quiet.exit_code == 0 and "COUNTERS" not in quiet.output
    assert "server counters equal: 24 requests" in invoke("show", str(work.output())).output
    server.faults = lambda info: _Uncounted(server) if number(info.body) == 7 else None
    arguments[arguments.index("-o") + 1] = str(work.output("b"))
    loud = invoke(*arguments)
    assert "COUNTERS DIFFER: the server counted 1 request" in loud.output
    assert "server counters less" in invoke("show", str(work.output("b"))).output


class _Uncounted(ps.Fault):
    """An answer that the engine does not know of."""

    def __init__(self, server: ProtocolServer) -> None:
        self._server = server

    def serve(self, call: ps.Exchange) -> None:
        self._server.counts = False
        payload = call.payload()
        self._server.counts = True
        call.send(200, payload)


def load_task(work: Workplace) -> Any:
    from flagos_eval import catalog

    return lambda name: catalog.load_tasks((name,), work.tasks)[0]


def test_verify_counts_again(work: Workplace, server: ProtocolServer) -> None:
    work.run(server)
    found = verify_run(work.output(), load_task(work))
    assert found.holds and any("the server's counters (24 requests" in c for c in found.checked)
    content = work.output().read_text()
    run = json.loads(content)
    run["responses"][0]["usage"]["completion_tokens"] += 1
    run.pop("seal")
    work.output("edited").write_text(json.dumps(run))
    found = verify_run(work.output("edited"), load_task(work))
    assert [m.where for m in found.mismatches] == ["parts: answers of start 1.completion_tokens"]


def test_counters_that_lack_answers_do_not_verify(work: Workplace, server: ProtocolServer) -> None:
    work.run(server)
    run = json.loads(work.output().read_text())
    run["parts"][0]["counters"][0]["end"]["counts"]["requests"] -= 1
    run.pop("seal")
    work.output("edited").write_text(json.dumps(run))
    found = verify_run(work.output("edited"), load_task(work))
    assert [m.where for m in found.mismatches] == ["server counters"]


def test_counters_of_a_start_that_is_not_there_are_an_invalid_run(
    work: Workplace, server: ProtocolServer
) -> None:
    work.run(server)
    run = json.loads(work.output().read_text())
    run["parts"][0]["counters"][0]["epoch"] = 5
    work.output("edited").write_text(json.dumps(run))
    with pytest.raises(InvalidRun, match="start of a server"):
        store.load(work.output("edited"))
