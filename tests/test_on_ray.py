"""Spreading over Ray, as far as it needs no Ray: the task, and what is refused before one."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import protocol_server as ps
import pytest
from protocol_server import ProtocolServer, fail_matching
from test_run import N, Workplace, asked, judged, right_answer

from flagos_eval import catalog, on_ray, store
from flagos_eval.clock import utc_now
from flagos_eval.errors import FlagosEvalError, IncompleteRun, SettingsChanged, UsageError
from flagos_eval.merging import merge
from flagos_eval.progress import Silent
from flagos_eval.records import Run


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer(answer=right_answer) as running:
        yield running


def whole(work: Workplace, server: Any, count: int = 2, **settings: Any) -> on_ray.Whole:
    job = work.job(server, **settings)
    return on_ray.Whole(job.configured, count, job.output, ("flagos-eval", "run"))


def spread(work: Workplace, given: on_ray.Whole) -> Run:
    def load(name: str) -> Any:
        return catalog.load_task(name, work.tasks)

    return on_ray.spread(given, load, at=utc_now(), report=Silent())


def save(given: on_ray.Whole, found: on_ray.Returned) -> None:
    for name, data in found.files.items():
        path = given.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_a_task_goes_there_and_back_as_bytes(work: Workplace, server: ProtocolServer) -> None:
    given = pickle.loads(pickle.dumps(whole(work, server)))
    for index in (1, 2):
        found = pickle.loads(pickle.dumps(on_ray.ask_shard(given, index, None)))
        assert found.error is None
        save(given, found)
    run = merge(
        [given.path(1), given.path(2)],
        given.output,
        lambda name: catalog.load_task(name, work.tasks),
        at=utc_now(),
        command=(),
    )
    assert judged(run) == judged(work.run(server, name="one-piece"))


def test_a_task_that_fails_returns_what_it_got_and_the_next_goes_on(
    work: Workplace, server: ProtocolServer
) -> None:
    given = whole(work, server)
    server.faults = fail_matching("Question 004", ps.Status(500))
    first = on_ray.ask_shard(given, 1, None)
    assert first.error is None and "1-of-2.journal.jsonl" in first.files
    server.faults, before = None, asked(server)
    second = on_ray.ask_shard(given, 1, first.files["1-of-2.journal.jsonl"])
    assert asked(server) - before == {4: 1}
    assert sorted(second.files) == ["1-of-2.json", *[n for n in second.files if "samples/" in n]]


def test_an_error_comes_back_as_itself(work: Workplace, server: ProtocolServer) -> None:
    given = whole(work, server)
    server.stop()
    found = pickle.loads(pickle.dumps(on_ray.ask_shard(given, 1, None)))
    assert isinstance(found.error, FlagosEvalError)
    assert server.url in found.error.message and found.error.hint


def test_finished_shards_are_merged_without_a_cluster(
    work: Workplace, server: ProtocolServer
) -> None:
    given = whole(work, server, 3)
    for index in (1, 2, 3):
        save(given, on_ray.ask_shard(given, index, None))
    run = spread(work, given)
    assert (run.state, len(run.responses)) == ("complete", N)
    assert store.load(given.output) == run and not given.folder.exists()


def test_finished_shards_of_other_settings_are_not_taken(
    work: Workplace, server: ProtocolServer
) -> None:
    given = whole(work, server, 2)
    for index in (1, 2):
        save(given, on_ray.ask_shard(given, index, None))
    with pytest.raises(SettingsChanged, match=r"temperature 0\.0, not 0\.5"):
        spread(work, whole(work, server, 2, temperature=0.5))
    with pytest.raises(SettingsChanged, match="policy None, not 'default'"):
        spread(work, whole(work, server, 2, policy="default"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base_url": (), "launcher": "embedded"}, "name them with --base-url"),
        ({"shard": "1/2"}, "--engine ray asks all"),
    ],
)
def test_what_cannot_be_spread_is_refused(
    work: Workplace, server: ProtocolServer, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        spread(work, whole(work, server, **settings))
    assert not asked(server)


def test_without_ray_it_says_what_to_install(
    work: Workplace, server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="needs ray") as caught:
        spread(work, whole(work, server))
    assert "flagos-eval[ray]" in str(caught.value.hint)


def test_an_interrupted_task_is_an_unfinished_shard(
    work: Workplace, server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise on_ray.run.Interrupted(3, 12)

    monkeypatch.setattr(on_ray.run, "execute", stopped)
    found = on_ray.ask_shard(whole(work, server), 1, None)
    assert isinstance(found.error, IncompleteRun) and "3 of 12" in found.error.message
