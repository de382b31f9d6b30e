"""Scoring again, from the run and its samples alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import LATER, Failed, NotAsked, exact, saved, task

from flagos_eval import pack, store
from flagos_eval.errors import UnknownName, UsageError
from flagos_eval.records import Run, Status
from flagos_eval.rescore import Rescored, rescore
from flagos_eval.task import Scorer

STRICT = exact("strict", right="1")


def again(
    path: Path, *scorers: Scorer, run: Run | None = None, name: str | None = None
) -> Rescored:
    chosen = task(scorers=scorers or (exact(),))
    load: Callable[[str], Any] = {"sums": chosen}.__getitem__
    found = run or store.load(path)
    return rescore(found, path, load, scorer=name, at=LATER, command=("flagos-eval", "score"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(tmp_path, ["0", "wrong", "", Failed, NotAsked])


def test_the_same_scorer_changes_nothing(path: Path) -> None:
    before, outcome = store.load(path), again(path)
    assert outcome.changed == ()
    assert outcome.run.scores == before.scores
    assert outcome.run.results == before.results


def test_no_answer_is_altered(path: Path) -> None:
    assert again(path, exact(version=2, right="wrong")).run.responses == store.load(path).responses


def test_another_version_reports_what_it_changed(path: Path) -> None:
    outcome = again(path, exact(version=2, right="wrong"))
    assert [(was.sample_id, was.value, now.value) for was, now in outcome.changed] == [
        ("0", 1.0, 0.0),
        ("1", 0.0, 1.0),
    ]


def test_another_version_replaces_the_scores_and_the_result(path: Path) -> None:
    found = again(path, exact(version=2, right="wrong")).run
    assert {s.scorer_version for s in found.scores} == {2}
    assert [(r.scorer, r.scorer_version) for r in found.results] == [("official", 2)]
    assert [(s.name, s.version) for s in found.tasks[0].scorers] == [("official", 2)]


def test_failed_and_missing_answers_stay_without_value(path: Path) -> None:
    counts = again(path).run.results[0].counts
    assert (counts[Status.ERROR], counts[Status.NOT_RUN]) == (1, 1)


def test_a_further_scorer_is_added(path: Path) -> None:
    found = again(path, exact(), STRICT, name="strict").run
    assert [r.scorer for r in found.results] == ["official", "strict"]
    assert len(found.scores) == 10


def test_a_further_scorer_changes_no_score_that_was_there(path: Path) -> None:
    assert again(path, exact(), STRICT, name="strict").changed == ()


def test_the_result_the_run_was_made_with_stays_the_first(path: Path) -> None:
    both = again(path, exact(), STRICT, name="strict").run
    found = again(path, exact(version=2), STRICT, run=both).run
    assert [(r.scorer, r.scorer_version) for r in found.results] == [("official", 2), ("strict", 1)]
    assert [s.name for s in found.tasks[0].scorers] == ["official", "strict"]


def test_the_change_is_on_record(path: Path) -> None:
    revisions = again(path, STRICT, exact(), name="strict").run.revisions
    assert [(r.at, r.command, r.note) for r in revisions] == [
        (LATER, ("flagos-eval", "score"), "scored again by strict")
    ]


def test_a_scored_run_is_saved_and_scored_again(path: Path) -> None:
    store.save(again(path, exact(version=2)).run, path)
    assert again(path, exact(version=2)).changed == ()


def test_a_pack_is_scored_as_its_run_is(path: Path) -> None:
    out = path.with_suffix(".zip")
    pack.write(store.load(path), path, out)
    assert again(out, STRICT).run.scores == again(path, STRICT).run.scores


def test_withheld_texts_cannot_be_scored(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="withheld"):
        again(saved(tmp_path, withhold=True))


def test_an_unknown_scorer_is_refused_with_the_nearest(path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'official'"):
        again(path, name="oficial")


def test_repeats_are_each_scored(tmp_path: Path) -> None:
    path = saved(tmp_path, {"0": ["0", "x"], "1": ["1", "y"]})
    assert [s.value for s in again(path).run.scores] == [1.0, 1.0, 0.0, 0.0]
    assert again(path).changed == ()
