"""Runs whose answers a judge grades: asked with or without one, judged later, scored again, and
compared."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import judged_task as jt
import protocol_server as ps
import pytest
from judged_task import TASK, N, graded, verdict
from protocol_server import ProtocolServer, prompt_text

from flagos_eval import config, plan, store
from flagos_eval.checks import checks
from flagos_eval.clock import utc_now
from flagos_eval.errors import JudgeChanged, NotComparable, ServerRefused, UsageError
from flagos_eval.job import Job
from flagos_eval.merging import merge
from flagos_eval.progress import Silent
from flagos_eval.records import Check, JudgeRecord, Run, Status
from flagos_eval.rescore import answers, rescore
from flagos_eval.run import execute
from flagos_eval.task import Task

WORDS = ("right", "wrong", "rule: right")


def answer(body: dict[str, Any]) -> str:
    """The model's answer to riddle 0, 1, 2, 3, ...: right, wrong, by rule, right, ..."""
    found = re.search(r"Riddle (\d+)", prompt_text(body))
    return WORDS[int(found[1]) % 3] if found else "a picture"


@pytest.fixture
def model() -> Iterator[ProtocolServer]:
    with ProtocolServer(answer=answer) as running:
        yield running


@pytest.fixture
def judge() -> Iterator[ProtocolServer]:
    with ProtocolServer(answer=verdict, model="judge-1") as running:
        yield running
        assert running.errors == []


class Workplace:
    """A folder with the benchmark, and where runs of it go."""

    def __init__(self, folder: Path) -> None:
        self.tasks, self.results = folder / "tasks", folder / "results"
        self.tasks.mkdir()
        (self.tasks / "riddles.py").write_text("from judged_task import TASK\n")

    def output(self, name: str = "run") -> Path:
        return self.results / f"{name}.json"

    def job(
        self,
        model: ProtocolServer,
        judge: ProtocolServer | None,
        name: str = "run",
        shard: str | None = None,
    ) -> Job:
        given: dict[str, Any] = {
            "shard": shard,
            "tasks": ("riddles",),
            "tasks_dir": str(self.tasks),
            "base_url": (model.url,),
            "concurrency": 4,
            "timeout": 5.0,
            "max_retries": 0,
        }
        if judge is not None:
            given |= {"judge_base_url": judge.url, "judge_model": judge.model}
            given |= {"judge_concurrency": 1}
        configured = config.combine({"flag": given})
        planned = plan.make(configured.config)
        return Job(configured, planned, self.output(name), ("flagos-eval", "run"))

    def run(
        self, model: ProtocolServer, judge: ProtocolServer | None = None, name: str = "run"
    ) -> Run:
        return execute(self.job(model, judge, name), Silent())

    def merged(self, shards: Sequence[Run]) -> Run:
        paths = [self.output(shard.name) for shard in shards]
        return merge(paths, self.output("merged"), lambda _: TASK, at=utc_now(), command=())

    def command(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("FLAGOS_", "OPENAI_"))}
        paths = (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))
        clean["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        return subprocess.run(
            [sys.executable, "-m", "flagos_eval", *map(str, arguments)],
            env={**clean, **environment},
            cwd=self.results.parent,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def score(self, *arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        return self.command("score", *arguments, "--tasks-dir", self.tasks, **more)


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def by(judge: ProtocolServer) -> list[str]:
    return ["--judge-base-url", judge.url, "--judge-model", judge.model]


def counts(run: Run, scorer: str = "official") -> dict[Status, int]:
    return run.result("riddles", scorer).counts


ALL = {Status.SCORED: N}
WAITING = {Status.SCORED: N // 3, Status.UNJUDGED: N - N // 3}


# --- Without a judge ------------------------------------------------------------------------------


def test_without_a_judge_a_run_is_complete_and_its_answers_wait(
    work: Workplace, model: ProtocolServer
) -> None:
    run = work.run(model)
    assert (run.state, run.judges) == ("complete", ())
    assert counts(run) == WAITING
    assert {s.judge for s in run.scores} == {None}


def test_answers_that_wait_are_neither_right_nor_wrong(
    work: Workplace, model: ProtocolServer
) -> None:
    metric = work.run(model).result("riddles").metrics[0]
    assert (metric.value, metric.high) == (100.0, 100.0)
    assert metric.low == pytest.approx(100 / 3)


def test_a_run_without_a_judge_says_what_is_missing_and_how_to_get_it(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    base = ["-t", "riddles", "--tasks-dir", work.tasks, "--base-url", model.url, "-q"]
    told = work.command("run", *base, "-o", work.output())
    assert told.returncode == 0, told.stderr
    (line,) = [line for line in told.stderr.splitlines() if "judge" in line]
    assert f"{N - N // 3} of {N} answers wait for a judge" in line
    typed = line[line.index("flagos-eval score") :]
    typed = typed.replace("URL", judge.url).replace("NAME", judge.model)
    done = work.command(*shlex.split(typed)[1:], "--tasks-dir", work.tasks)
    assert done.returncode == 0, done.stderr
    assert counts(store.load(work.output("run-judged"))) == ALL


# --- With a judge ---------------------------------------------------------------------------------


def test_with_a_judge_everything_is_graded_in_one_go(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    run = work.run(model, judge)
    assert counts(run) == ALL
    assert [(j.model, j.endpoint, j.graded) for j in run.judges] == [("judge-1", judge.url, 8)]
    assert {s.judge for s in run.scores} == {"judge-1"}


def test_replies_are_kept_beside_the_output(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    work.run(model, judge)
    kept = (work.results / "judge" / "judge-1.jsonl").read_text().splitlines()
    assert len(kept) == 8 + 2


def test_the_second_side_asks_the_judge_only_what_is_new(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    work.run(model, judge, "one")
    model.answer = lambda body: "right" if "Riddle 1?" in prompt_text(body) else answer(body)
    work.run(model, judge, "other")
    assert graded(judge).total() == 8 + 1


def test_a_judge_of_no_use_is_noticed_before_the_model_is_asked(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    judge.faults = lambda info: ps.Status(400)
    with pytest.raises(ServerRefused, match="takes no such request"):
        work.run(model, judge)
    assert model.requests == []


def test_a_changed_judge_is_noticed_before_the_model_is_asked(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    work.run(model, judge, "one")
    judge.answer = lambda body: "grade 1"
    before = len(model.requests)
    with pytest.raises(JudgeChanged):
        work.run(model, judge, "other")
    assert len(model.requests) == before


def test_half_a_judge_is_refused(work: Workplace, model: ProtocolServer) -> None:
    job = work.job(model, None)
    half = job.configured.model_copy(
        update={"config": job.config.model_copy(update={"judge_model": "m"})}
    )
    with pytest.raises(UsageError, match="both"):
        execute(replace(job, configured=half), Silent())


def test_a_run_is_saved_although_its_judge_dies(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    judge.faults = lambda info: ps.Status(401) if info.index >= 4 + 3 else None
    with pytest.raises(ServerRefused, match=r"run\.json is saved"):
        work.run(model, judge)
    run = store.load(work.output())
    assert run.state == "complete"
    assert counts(run) == {Status.SCORED: N // 3 + 3, Status.JUDGE_FAILED: 5}


def test_a_run_is_saved_although_its_judge_changes_meanwhile(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    judge.answer = lambda body: "grade 1" if len(judge.requests) > 2 else verdict(body)
    with pytest.raises(JudgeChanged):
        work.run(model, judge)
    assert counts(store.load(work.output())) == WAITING


def test_a_judge_that_came_back_grades_the_rest_alone(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    judge.faults = lambda info: ps.Status(401) if info.index >= 4 + 3 else None
    with pytest.raises(ServerRefused):
        work.run(model, judge)
    judge.faults, before = None, graded(judge).total()
    new = work.output("new")
    done = work.score(work.output(), *by(judge), "-o", new)
    assert done.returncode == 0, done.stderr
    assert counts(store.load(new)) == ALL
    assert graded(judge).total() - before == 5


def test_the_key_comes_from_its_variable_alone_and_reaches_no_file(
    work: Workplace, model: ProtocolServer
) -> None:
    with ProtocolServer(answer=verdict, model="judge-1", api_key="judge-secret") as locked:
        told = work.command(
            *("run", "-t", "riddles", "--tasks-dir", work.tasks, "--base-url", model.url, "-q"),
            *(*by(locked), "-o", work.output()),
            FLAGOS_EVAL_JUDGE_API_KEY="judge-secret",
            OPENAI_API_KEY="model-secret",
        )
    assert told.returncode == 0, told.stderr
    written = b"".join(p.read_bytes() for p in work.results.rglob("*") if p.is_file())
    assert b"judge-secret" not in written
    assert counts(store.load(work.output())) == ALL


# --- Later ----------------------------------------------------------------------------------------


def again(run: Run, path: Path, task: Task = TASK, **options: Any) -> Run:
    return rescore(run, path, lambda name: task, at=run.ended_at, command=("score",), **options).run


def test_a_judged_run_is_scored_again_without_its_judge(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    run = work.run(model, judge)
    found = again(run, work.output())
    assert found.scores == run.scores
    assert found.results == run.results
    assert found.judges == run.judges


def test_another_version_of_a_scorer_finds_the_grades_again(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    run = work.run(model, judge)
    newer = replace(TASK, scorers=(replace(jt.OFFICIAL, version=2), *TASK.scorers[1:]))
    assert counts(again(run, work.output(), newer)) == ALL


def test_a_scorer_that_asks_otherwise_finds_no_grade(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    run = work.run(model, judge)
    assert counts(again(run, work.output(), scorer="stern"), "stern") == {Status.UNJUDGED: N}


def test_a_scorer_that_asks_the_same_needs_no_judge(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    run = work.run(model, judge)
    found = again(run, work.output(), scorer="sharing")
    assert counts(found, "sharing") == ALL
    assert found.result("riddles", "sharing").judge == "judge-1"


def test_a_further_scorer_is_judged_and_the_first_stays(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    before = work.run(model, judge)
    new = work.output("new")
    done = work.score(work.output(), "--scorer", "stern", *by(judge), "-o", new)
    assert done.returncode == 0, done.stderr
    run = store.load(new)
    assert [r.scorer for r in run.results] == ["official", "stern"]
    assert run.result("riddles") == before.result("riddles")
    assert counts(run, "stern") == ALL
    (record,) = run.judges
    assert set(record.anchors) == {
        f"riddles: {s}{n}" for s in ("", "stern ") for n in ("good", "bad")
    }


def test_another_judge_stands_beside_the_first(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    work.run(model, judge)
    new = work.output("new")
    with ProtocolServer(answer=verdict, model="judge-2") as other:
        work.score(work.output(), "--scorer", "stern", *by(other), "-o", new)
    run = store.load(new)
    assert [record.model for record in run.judges] == ["judge-1", "judge-2"]
    assert [r.judge for r in run.results] == ["judge-1", "judge-2"]


def test_a_judge_that_dies_while_scoring_again_leaves_a_file_and_says_so(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    work.run(model)
    judge.faults = lambda info: ps.Status(401) if info.index >= 2 + 3 else None
    new = work.output("new")
    done = work.score(work.output(), *by(judge), "--judge-concurrency", 1, "-o", new)
    assert done.returncode == 2
    assert "FLAGOS_EVAL_JUDGE_API_KEY" in done.stderr
    assert counts(store.load(new)) == {Status.SCORED: N // 3 + 3, Status.JUDGE_FAILED: 5}


def test_answers_from_elsewhere_are_judged_too(
    work: Workplace, judge: ProtocolServer, tmp_path: Path
) -> None:
    lines = [{"id": f"item-{n:02}", "text": WORDS[n % 3]} for n in range(N)]
    given = tmp_path / "answers.jsonl"
    given.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    new = work.output("new")
    done = work.score(
        *("--tasks", "riddles", "--responses", given, "--json", "-o", new), *by(judge)
    )
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)["tasks"]
    assert (told["judge"], told["counts"]["unjudged"]) == ("judge-1", 0)
    assert [record.model for record in store.load(new).judges] == ["judge-1"]


def test_the_answers_to_be_judged_are_those_that_are_scored(
    work: Workplace, model: ProtocolServer
) -> None:
    run = work.run(model)
    found = list(answers(run, work.output(), lambda name: TASK, scorer="stern"))
    assert [sample.id for sample, _, _ in found] == [f"item-{n:02}" for n in range(N)]
    assert {scorer.name for _, _, scorer in found} == {"stern"}


# --- Comparing ------------------------------------------------------------------------------------


def judge_check(one: Run, other: Run) -> Check | None:
    found = [check for check in checks(one, other, "riddles") if check.name.endswith(": judge")]
    return found[0] if found else None


def changed(run: Run, **fields: Any) -> Run:
    (record,) = run.judges
    return run.model_copy(update={"judges": (record.model_copy(update=fields),)})


@pytest.fixture
def run(work: Workplace, model: ProtocolServer, judge: ProtocolServer) -> Run:
    return work.run(model, judge)


def test_the_same_judge_is_equal(run: Run) -> None:
    check = judge_check(run, run)
    assert check is not None
    assert (check.state, check.blocking) == ("equal", True)


def test_without_a_judge_on_either_side_there_is_no_check(
    work: Workplace, model: ProtocolServer
) -> None:
    bare = work.run(model)
    assert judge_check(bare, bare) is None


def test_a_judge_on_one_side_alone_is_not_verified(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    check = judge_check(work.run(model, judge, "one"), work.run(model, name="other"))
    assert check is not None
    assert check.state == "not_verified"


def test_judges_of_different_names_differ(work: Workplace, model: ProtocolServer, run: Run) -> None:
    with ProtocolServer(answer=verdict, model="judge-2") as second:
        check = judge_check(run, work.run(model, second, "other"))
    assert check is not None
    assert check.state == "differs"


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"anchors": {"riddles: good": "1", "riddles: bad": "1"}}, "differs"),
        ({"anchors": {"riddles: good": "1"}}, "equal"),
        ({"anchors": {}}, "not_verified"),
        ({"served": ("judge-1-of-another-day",)}, "differs"),
        ({"served": ()}, "equal"),
        ({"endpoint": "http://elsewhere/v1"}, "equal"),
        ({"graded": 3}, "equal"),
    ],
)
def test_judges_of_one_name_are_the_same_by_the_known_questions(
    run: Run, fields: dict[str, Any], state: str
) -> None:
    check = judge_check(run, changed(run, **fields))
    assert check is not None
    assert check.state == state


def test_a_judge_record_needs_no_anchors() -> None:
    assert JudgeRecord(model="m", endpoint="http://h/v1", graded=0, failed=0).anchors == {}


# --- In shards ------------------------------------------------------------------------------------


def judged_shards(
    work: Workplace, model: ProtocolServer, *judges: ProtocolServer | None
) -> list[Run]:
    jobs = [
        work.job(model, judge, f"part-{index}", f"{index}/{len(judges)}")
        for index, judge in enumerate(judges, 1)
    ]
    return [execute(job, Silent()) for job in jobs]


def test_graded_shards_make_the_graded_run(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    whole = work.run(model, judge)
    run = work.merged(judged_shards(work, model, judge, judge))
    assert (run.results, run.scores) == (whole.results, whole.scores)
    assert run.judges == whole.judges


def test_ungraded_shards_are_merged_and_then_graded(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    whole = work.run(model, judge)
    work.merged(judged_shards(work, model, None, None))
    done = work.score(work.output("merged"), *by(judge), "-o", work.output("graded"))
    assert done.returncode == 0, done.stderr
    assert store.load(work.output("graded")).results == whole.results


def test_a_graded_and_an_ungraded_shard_are_not_merged(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    with pytest.raises(NotComparable, match="the judge of riddles is") as caught:
        work.merged(judged_shards(work, model, judge, None))
    assert "flagos-eval score" in str(caught.value.hint)


def test_shards_that_two_judges_of_one_name_graded_are_not_merged(
    work: Workplace, model: ProtocolServer, judge: ProtocolServer
) -> None:
    shards = judged_shards(work, model, judge, judge)
    known = shards[1].judges[0]
    anchors = dict.fromkeys(known.anchors, "another grade")
    other = known.model_copy(update={"anchors": anchors})
    store.save(shards[1].model_copy(update={"judges": (other,)}), work.output("part-2"))
    with pytest.raises(NotComparable, match="graded a known question"):
        work.merged(shards)
