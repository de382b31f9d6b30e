"""Shards in any order make the run that would have been made in one piece, or nothing."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import protocol_server as ps
import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_server import ProtocolServer, fail_matching
from test_run import N, Workplace, asked, judged, number, right_answer

from flagos_eval import catalog, comparing, pack, policy, shards, store
from flagos_eval.clock import utc_now
from flagos_eval.comparing import Inputs
from flagos_eval.config import RunConfig
from flagos_eval.errors import (
    FlagosEvalError,
    IncompleteRun,
    InvalidRun,
    NotComparable,
    SettingsChanged,
    UsageError,
)
from flagos_eval.merging import merge
from flagos_eval.records import Run, Shard, Status
from flagos_eval.rescore import rescore
from flagos_eval.run import default_output
from flagos_eval.task import Scorer, Task
from flagos_eval.verification.comparison import Given
from flagos_eval.verify import verify

NEVER: Any = None


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer(answer=half_right) as running:
        yield running


def half_right(body: dict[str, Any]) -> str:
    index = number(body)
    return right_answer(body) if index is None or index % 3 else "no idea"


def load(work: Workplace) -> Callable[[str], Task]:
    return lambda name: catalog.load_task(name, work.tasks)


def parts(work: Workplace, server: Any, count: int, **settings: Any) -> list[Path]:
    for index in range(1, count + 1):
        work.run(server, name=f"part-{index}", shard=f"{index}/{count}", **settings)
    return [work.output(f"part-{index}") for index in range(1, count + 1)]


def merged(work: Workplace, paths: Any, name: str = "merged") -> Run:
    command = ("flagos-eval", "merge")
    return merge(list(paths), work.output(name), load(work), at=utc_now(), command=command)


def questions(run: Run) -> list[tuple[Any, ...]]:
    return [
        (r.task, r.sample_id, r.repeat, r.request_hash, r.text, r.error, r.order)
        for r in run.responses
    ]


def refused(work: Workplace, paths: Any, kind: type[FlagosEvalError], *words: str) -> None:
    before = sorted(work.results.rglob("*"))
    with pytest.raises(kind) as caught:
        merged(work, paths)
    assert type(caught.value) is kind
    for word in words:
        assert word in caught.value.message
    assert sorted(work.results.rglob("*")) == before, "a refusal writes nothing"


# --- The split ------------------------------------------------------------------------------------


@given(n=st.integers(1, 200), count=st.integers(1, 60))
def test_parts_are_a_partition_that_is_even_and_can_be_dealt_back(n: int, count: int) -> None:
    whole = list(range(n))
    found = [shards.share(whole, shards.Part(index, count)) for index in range(1, count + 1)]
    assert sorted(itertools.chain(*found)) == whole
    assert max(map(len, found)) - min(map(len, found)) <= 1
    assert list(shards.dealt(found)) == whole


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "2", "2/0", "a/b", "-1/4", "2/4/8", "", "²/4", "1 /4"]
)
def test_what_names_no_shard_is_refused(work: Workplace, text: str) -> None:
    with pytest.raises(UsageError, match="shard"):
        work.job(["http://127.0.0.1:9/v1"], shard=text)


def test_a_shard_without_an_item_is_refused_whichever_it_is(work: Workplace) -> None:
    for index in (1, 3):
        with pytest.raises(UsageError, match="2 items cannot be shared out to 3 shards"):
            work.job(["http://127.0.0.1:9/v1"], shard=f"{index}/3", limit=2)


# --- A shard --------------------------------------------------------------------------------------


def test_a_shard_asks_its_items_in_all_passes_and_no_other(
    work: Workplace, server: ProtocolServer
) -> None:
    run = work.run(server, shard="2/5", repeat=2)
    assert asked(server) == dict.fromkeys(range(1, N, 5), 2)
    assert run.shard is not None and (run.shard.index, run.shard.count) == (2, 5)
    assert [(whole.task, whole.n) for whole in run.shard.of] == [("pictures", N)]
    assert (run.state, run.phase) == ("complete", "official")


def test_all_shards_name_the_same_whole(work: Workplace, server: ProtocolServer) -> None:
    found = [store.load(path).shard for path in parts(work, server, 3)]
    assert len({shard.of for shard in found if shard}) == 1
    whole = work.run(server).tasks[0].dataset.fingerprint
    assert found[0] is not None and found[0].of[0].fingerprint == whole


def test_a_shard_verifies(work: Workplace, server: ProtocolServer) -> None:
    (path, *_) = parts(work, server, 3)
    assert verify_file(work, path) == []


def verify_file(work: Workplace, path: Path) -> list[object]:
    found = verify(path, load(work), Given(), today=NEVER)
    return [*found.mismatches, *found.absent]


def test_another_shard_does_not_mix_with_earlier_answers(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = fail_matching("Question 00", ps.Status(500))
    work.run(server, shard="1/3")
    with pytest.raises(SettingsChanged, match='shard was "1/3", is "2/3"'):
        work.run(server, shard="2/3")


def test_the_default_output_names_the_shard() -> None:
    config = RunConfig(base_url=("http://10.0.0.5:8000/v1",), shard="2/4")
    assert str(default_output(config, "")) == "results/10.0.0.5-8000.shard-2-of-4.json"


def test_a_shard_is_not_compared_followed_or_merged_as_a_run(
    work: Workplace, server: ProtocolServer
) -> None:
    whole, part = work.run(server), work.run(server, name="part", shard="1/2")
    inputs = Inputs(policy=policy.load("default"), today=NEVER)
    for pair in ((whole, part), (part, whole)):
        with pytest.raises(NotComparable, match="part is shard 1/2 of a run") as caught:
            comparing.compare(*pair, inputs)
        assert "merge all 2 shards" in str(caught.value.hint)
    with pytest.raises(NotComparable, match="is shard 1/2"):
        work.job(server, name="next", like=part)
    refused(work, [work.output()], UsageError, "is no shard of a run")


def test_a_shard_follows_the_same_part_of_a_whole_run(
    work: Workplace, server: ProtocolServer
) -> None:
    whole = work.run(server)
    part = work.run(server, name="part", like=whole, shard="3/4")
    assert [i.id for i in part.tasks[0].expected] == [f"item-{i:03}" for i in range(2, N, 4)]
    work.change_task("A, B, C or D?", "A, B or C?")
    with pytest.raises(NotComparable, match="items differ"):
        work.job(server, name="changed", like=whole, shard="3/4")


# --- The whole ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5, N])
def test_a_merged_run_is_the_run_in_one_piece(
    work: Workplace, server: ProtocolServer, count: int
) -> None:
    settings = {"repeat": 2, "logprobs": 1, "max_tokens": 32}
    whole = work.run(server, name="whole", **settings)
    run = merged(work, reversed(parts(work, server, count, **settings)))
    assert judged(run) == judged(whole)
    assert (run.results, run.scores, run.tasks) == (whole.results, whole.scores, whole.tasks)
    assert questions(run) == questions(whole)
    assert (run.state, run.phase, run.shard) == (whole.state, whole.phase, None)
    assert [f for f in run.files if f.kind == "samples"] == [
        f for f in whole.files if f.kind == "samples"
    ]
    assert store.load(work.output("merged")) == run
    assert verify_file(work, work.output("merged")) == []


def test_every_order_gives_the_same_file(work: Workplace, server: ProtocolServer) -> None:
    paths = parts(work, server, 3)
    found = [
        merged(work, order, f"m{index}").model_copy(update={"name": "m", "revisions": ()})
        for index, order in enumerate(itertools.permutations(paths))
    ]
    settings = {**found[0].settings, "name": None}
    assert all(
        run.model_copy(update={"settings": {}}) == found[0].model_copy(update={"settings": {}})
        for run in found
    )
    assert all({**run.settings, "name": None} == settings for run in found)
    assert found[0].parents == tuple(store.load(path).id for path in paths)


def test_a_preview_in_shards_is_a_preview(work: Workplace, server: ProtocolServer) -> None:
    whole = work.run(server, limit=7)
    run = merged(work, parts(work, server, 3, limit=7))
    assert (run.phase, judged(run)) == ("preview", judged(whole))
    assert verify_file(work, work.output("merged")) == []


def test_a_task_smaller_than_the_number_of_shards_is_in_some_of_them(
    work: Workplace, server: ProtocolServer
) -> None:
    source = (work.tasks / "pictures.py").read_text("utf-8")
    small = source.replace("N = 24", "N = 2").replace('name="pictures"', 'name="few"')
    (work.tasks / "few.py").write_text(small, "utf-8")
    settings = {"tasks": ("few", "pictures")}
    whole = work.run(server, **settings)
    paths = parts(work, server, 3, **settings)
    assert [task.name for task in store.load(paths[2]).tasks] == ["pictures"]
    run = merged(work, paths)
    assert judged(run) == judged(whole) and run.tasks == whole.tasks


def test_answers_name_the_start_and_the_line_that_are_theirs(
    work: Workplace, server: ProtocolServer
) -> None:
    with ProtocolServer(answer=half_right) as other:
        work.run(server, name="a", shard="1/2", logprobs=1)
        work.run(other, name="b", shard="2/2", logprobs=1)
    run = merged(work, [work.output("b"), work.output("a")])
    assert [epoch.endpoint for epoch in run.epochs] == [server.url, other.url]
    assert all(run.epochs[r.epoch or 0].endpoint == r.endpoint for r in run.responses)
    (file,) = [file for file in run.files if file.kind == "logprobs"]
    lines = gzip.decompress((work.results / file.path).read_bytes()).splitlines()
    for response in run.responses:
        assert response.logprobs_line is not None
        line = json.loads(lines[response.logprobs_line])
        assert "".join(token for token, _, _ in line["tokens"]) == response.text
    assert run.settings["base_url"].value == [server.url, other.url]


def test_one_start_that_all_shards_met_is_one(work: Workplace, server: ProtocolServer) -> None:
    run = merged(work, parts(work, server, 3))
    assert len(run.epochs) == 1 and {r.epoch for r in run.responses} == {0}


def test_what_shards_know_differently_is_named_by_shard(
    work: Workplace, server: ProtocolServer
) -> None:
    work.run(server, name="a", shard="1/2", concurrency=2)
    server.supports_logprobs = False
    work.run(server, name="b", shard="2/2", concurrency=3)
    run = merged(work, [work.output("a"), work.output("b")])
    facts = {fact.name: fact.value for fact in run.facts}
    assert facts["setting:concurrency (shard 1)"] == 2
    assert facts["setting:concurrency (shard 2)"] == 3
    assert run.parts == (), "the counters of shards that asked one server prove nothing"
    logprobs = {c.name: c for c in run.capabilities}["logprobs"]
    assert logprobs.state == "ignored"
    assert "shard 1: supported" in logprobs.detail and "shard 2: ignored" in logprobs.detail


def test_packs_are_merged_as_files_are(work: Workplace, server: ProtocolServer) -> None:
    paths = parts(work, server, 2, logprobs=1)
    zipped = work.results / "elsewhere" / "part-2.zip"
    zipped.parent.mkdir()
    pack.write(store.load(paths[1]), paths[1], zipped)
    assert judged(merged(work, [paths[0], zipped])) == judged(merged(work, paths, "again"))


def test_failures_count_together(work: Workplace, server: ProtocolServer) -> None:
    server.faults = fail_matching("Question 001", ps.Status(400))
    paths = parts(work, server, 4, max_error_rate=0.1)
    assert store.load(paths[1]).state == "incomplete", "1 of 6 is too many for a shard"
    run = merged(work, paths)
    assert (run.state, run.result("pictures").counts[Status.ERROR]) == ("complete", 1)
    assert verify_file(work, work.output("merged")) == []


def test_more_failures_than_allowed_make_an_incomplete_run_that_can_be_merged_again(
    work: Workplace, server: ProtocolServer
) -> None:
    server.faults = fail_matching("Question 001", ps.Status(500))
    paths = parts(work, server, 2)
    run = merged(work, paths)
    assert run.state == "incomplete" and run.reason is not None
    assert run.reason.startswith(f"1 of {N} requests failed, more than 0.5 %; most often: ")
    server.faults = None
    work.run(server, name="part-2", shard="2/2")
    assert merged(work, paths).state == "complete"


def test_scores_by_several_scorers_are_all_kept(work: Workplace, server: ProtocolServer) -> None:
    task = load(work)("pictures")
    other = Scorer("other", 3, task.scorers[0].score, "here")
    both = replace(task, scorers=(*task.scorers, other))
    paths = parts(work, server, 2)
    for path in paths:
        found = rescore(
            store.load(path), path, lambda name: both, scorer="other", at=utc_now(), command=()
        )
        store.save(found.run, path)
    run = merged(work, paths)
    assert [(r.scorer, r.scorer_version, r.n) for r in run.results] == [
        ("official", 1, N),
        ("other", 3, N),
    ]
    assert len(run.revisions) == 3


# --- What is no whole -----------------------------------------------------------------------------


def test_a_gap_is_named(work: Workplace, server: ProtocolServer) -> None:
    paths = parts(work, server, 4)
    missing = "2 of 4 shards missing: 1/4, 3/4 (12 of 24 items)"
    refused(work, [paths[3], paths[1]], IncompleteRun, missing)


def test_an_overlap_is_named(work: Workplace, server: ProtocolServer) -> None:
    paths = parts(work, server, 2)
    work.run(server, name="again", shard="2/2")
    for twice in (paths[1], work.output("again")):
        refused(work, [*paths, twice], NotComparable, "shard 2/2 is there twice", str(twice))


def test_parts_of_other_numbers_are_refused(work: Workplace, server: ProtocolServer) -> None:
    work.run(server, name="a", shard="1/2")
    work.run(server, name="b", shard="2/3")
    paths = [work.output("a"), work.output("b")]
    refused(work, paths, NotComparable, "is shard 1/2", "is shard 2/3", "no parts of one run")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"limit": 20}, "shards of other questions (pictures differ)"),
        ({"temperature": 0.5}, "temperature is 0.5, not 0.0"),
        ({"prompt": "polite"}, "prompt is 'polite', not None"),
        ({"repeat": 2}, "repeat is 2, not 1"),
        ({"max_tokens": 9}, "max_tokens is 9, not None"),
        ({"withhold_text": True}, "withhold_text is True"),
        ({"policy": "default"}, "the policy's hash is"),
        ({"arm": "b"}, "arm is 'b', not None"),
    ],
)
def test_a_shard_that_was_asked_otherwise_is_refused(
    work: Workplace, server: ProtocolServer, settings: dict[str, Any], said: str
) -> None:
    work.run(server, name="a", shard="1/2")
    work.run(server, name="b", shard="2/2", **settings)
    refused(work, [work.output("b"), work.output("a")], NotComparable)
    refused(work, [work.output("a"), work.output("b")], NotComparable, said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "0.33.0"}, "the server's version is '0.33.0'"),
        ({"model": "large", "root": "tiny"}, "the model is 'large', not 'tiny'"),
        ({"root": "other"}, "the server's model_root is 'other'"),
        ({"max_model_len": 4096}, "the server's max_model_len is '4096'"),
    ],
)
def test_a_shard_of_another_server_is_refused(
    work: Workplace, server: ProtocolServer, changes: dict[str, Any], said: str
) -> None:
    work.run(server, name="a", shard="1/2")
    with ProtocolServer(answer=right_answer, **changes) as other:
        work.run(other, name="b", shard="2/2")
    refused(work, [work.output("a"), work.output("b")], NotComparable, said)


def test_a_shard_of_other_data_is_refused(work: Workplace, server: ProtocolServer) -> None:
    work.run(server, name="a", shard="1/2")
    work.change_task('"ABCD"[index % 4]', '"ABCD"[index % 3]')
    work.run(server, name="b", shard="2/2")
    refused(work, [work.output("a"), work.output("b")], NotComparable, "other questions")


def test_a_shard_by_another_version_of_the_scorer_is_refused(
    work: Workplace, server: ProtocolServer
) -> None:
    work.run(server, name="a", shard="1/2")
    work.change_task('Scorer("official", 1,', 'Scorer("official", 2,')
    work.run(server, name="b", shard="2/2")
    with pytest.raises(NotComparable, match="the scorer of pictures is 'official v2'") as caught:
        merged(work, [work.output("a"), work.output("b")])
    assert "flagos-eval score" in str(caught.value.hint)


def test_another_version_of_the_benchmark_is_not_aggregated_by(
    work: Workplace, server: ProtocolServer
) -> None:
    paths = parts(work, server, 2)
    work.change_task("    version=1,", "    version=2,")
    refused(work, paths, UsageError, "pictures v1 was asked, and v2 is installed")


def edited(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text("utf-8"))
    edit(content)
    path.write_text(json.dumps(content), "utf-8")


def test_an_edited_shard_is_refused(work: Workplace, server: ProtocolServer) -> None:
    paths = parts(work, server, 2)
    edited(paths[1], lambda content: content["responses"][0].update(text="B"))
    refused(work, paths, InvalidRun, f"{paths[1]} was changed after it was written")


def test_a_shard_that_is_not_what_it_says_is_refused(
    work: Workplace, server: ProtocolServer
) -> None:
    paths = parts(work, server, 2)
    run = store.load(paths[0])
    assert run.shard is not None
    renumbered = Shard(index=2, count=2, of=run.shard.of)
    store.save(run.model_copy(update={"shard": renumbered}), paths[1])
    refused(work, paths, InvalidRun, "do not make up the items of the whole")


def test_a_missing_file_of_a_shard_is_named(work: Workplace, server: ProtocolServer) -> None:
    paths = parts(work, server, 2)
    (file,) = store.load(paths[0]).files
    (work.results / file.path).unlink()
    with pytest.raises(FlagosEvalError, match="cannot read"):
        merged(work, paths)
    assert not work.output("merged").exists()


def test_a_shard_is_never_overwritten_by_the_whole(work: Workplace, server: ProtocolServer) -> None:
    paths = parts(work, server, 2)
    with pytest.raises(UsageError, match="is one of the shards"):
        merged(work, paths, "part-2")
