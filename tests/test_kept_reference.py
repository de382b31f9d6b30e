"""A reference that is kept: which run may serve as one, and what a run that follows it does."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factories import Failed, run, saved
from protocol_server import ProtocolServer, fail_every
from protocol_server import Status as Fail
from test_cli import assert_says, flagos_eval
from test_run import TASK_FILE, right_answer

from flagos_eval import kept_reference, pack, store
from flagos_eval.errors import UsageError
from flagos_eval.records import Run, Setting
from flagos_eval.store import Stored

pytestmark = pytest.mark.once

ENDED = "2026-01-02T04:04:05Z"  # of the factories' runs


def days_later(days: float) -> str:
    end = datetime.datetime(2026, 1, 2, 4, 4, 5) + datetime.timedelta(days=days)  # noqa: DTZ001
    return f"{end.isoformat()}Z"


def load(path: Path, days: float = 1, max_age: float = 180) -> Stored:
    return kept_reference.load(str(path), max_age=max_age, now=days_later(days))


# --- Which run may serve --------------------------------------------------------------------------


def test_a_finished_run_serves_until_it_is_too_old(tmp_path: Path) -> None:
    path = saved(tmp_path)
    assert load(path, days=180).run == store.load(path)
    with pytest.raises(UsageError, match="ended on 2026-01-02, 181 days ago, and may be 180"):
        load(path, days=181)


def test_the_age_can_be_chosen(tmp_path: Path) -> None:
    path = saved(tmp_path)
    assert load(path, days=700, max_age=800).path == path
    with pytest.raises(UsageError, match=r"may be 0\.5 days old"):
        load(path, days=1, max_age=0.5)


def test_a_pack_serves_as_well(tmp_path: Path) -> None:
    path, packed = saved(tmp_path), tmp_path / "kept.zip"
    pack.write(store.load(path), path, packed)
    assert load(packed).run == store.load(packed)


def test_an_incomplete_run_does_not(tmp_path: Path) -> None:
    path = saved(tmp_path, ["0", Failed], state="incomplete", reason="1 of 2 requests failed")
    with pytest.raises(UsageError, match=r"incomplete \(1 of 2 requests failed\)"):
        load(path)


def test_a_run_that_was_changed_by_hand_does_not(tmp_path: Path) -> None:
    path = saved(tmp_path)
    changed = path.read_text().replace(ENDED, "2026-06-02T04:04:05Z")
    path.write_text(changed)
    with pytest.raises(UsageError, match="changed after it was written"):
        load(path)


def test_a_run_whose_seal_was_taken_off_does_not(tmp_path: Path) -> None:
    path = saved(tmp_path)
    body, _, _ = path.read_text().rpartition(',\n"seal"')
    path.write_text(body + "\n}\n")
    store.load(path)
    with pytest.raises(UsageError, match="has no seal"):
        load(path)


def preview(**settings: Any) -> Stored:
    recorded = {name: Setting(value=value, source="flag") for name, value in settings.items()}
    return Stored(run(phase="preview", settings=recorded), Path("kept.json"))


def test_a_preview_serves_for_previews_alone() -> None:
    kept_reference.refuse_preview(preview(limit=3), wanted=True)
    with pytest.raises(UsageError, match=r"kept\.json .* is a preview") as caught:
        kept_reference.refuse_preview(preview(limit=3), wanted=False)
    assert caught.value.hint == "make this run a preview too: --limit 3"


def test_a_whole_run_serves_for_both() -> None:
    whole = Stored(run(), Path("kept.json"))
    for wanted in (True, False):
        kept_reference.refuse_preview(whole, wanted=wanted)


# --- flagos-eval run --reference ------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer(answer=right_answer) as running:
        yield running


POLICY = """\
policy = 1
name = "pictures"
alpha = 0.05
max_error_rate = 0.005
[tasks.pictures]
tier = "critical"
margin = 20
"""


@pytest.fixture
def place(tmp_path: Path, server: ProtocolServer) -> Path:
    """A folder with a task, a policy and a reference that was just made."""
    (tmp_path / "pictures.py").write_text(TASK_FILE.replace("N = 24", "N = 60"), "utf-8")
    (tmp_path / "policy.toml").write_text(POLICY)
    said = flagos_eval(
        "run", "-t", "pictures", "--tasks-dir", ".", "--base-url", server.url, "-q",
        "--policy", "policy.toml", "--seed", 7, "-o", "kept.json", cwd=tmp_path,
    )  # fmt: skip
    assert_says(said, 0, "Saved kept.json")
    return tmp_path


def follow(place: Path, server: ProtocolServer, *more: object, **environment: str) -> Any:
    return flagos_eval(
        "run", "--reference", "kept.json", "--tasks-dir", ".", "--base-url", server.url, "-q",
        "--policy", "policy.toml", "-o", "new.json", *more, cwd=place, **environment,
    )  # fmt: skip


def change(path: Path, **fields: Any) -> Run:
    """A reference as it would have been made: written by the program, seal and all."""
    found = store.load(path.resolve()).model_copy(update=fields)
    store.save(found, path)
    return found


def test_a_run_asks_what_its_reference_asked_and_is_compared_with_it(
    place: Path, server: ProtocolServer
) -> None:
    assert_says(follow(place, server), 0, "Saved new.json", "RELEASE: 1 CONSISTENT")
    one, other = store.load(place / "kept.json"), store.load(place / "new.json")
    assert other.tasks == one.tasks and other.settings["seed"].value == 7


def test_the_exit_code_is_that_of_compare(place: Path) -> None:
    with ProtocolServer(answer=lambda body: "E is right") as wrong:
        assert_says(follow(place, wrong), 1, "DRIFT")


def test_an_incomplete_run_is_not_compared(place: Path, server: ProtocolServer) -> None:
    server.faults = fail_every(2, Fail(500))
    said = follow(place, server, "--max-retries", 0)
    assert_says(said, 5, "INCOMPLETE")
    assert "CONSISTENT" not in said.stdout
    server.faults = None
    assert_says(follow(place, server), 0, "RELEASE: 1 CONSISTENT")


def test_a_reference_by_an_older_scorer_is_scored_again_and_that_is_said(
    place: Path, server: ProtocolServer
) -> None:
    old = store.load(place / "kept.json")
    text = (place / "pictures.py").read_text()
    (place / "pictures.py").write_text(text.replace('Scorer("official", 1', 'Scorer("official", 2'))
    said = follow(place, server)
    assert_says(said, 0, "had scored the sides by v1 and by v2; both were scored again by v2")
    assert store.load(place / "kept.json") == old, "the kept file stays as it is"


def test_a_reference_that_is_too_old_is_refused_before_anything_is_asked(
    place: Path, server: ProtocolServer
) -> None:
    change(place / "kept.json", started_at="2020-01-01T00:00:00Z", ended_at="2020-01-01T00:00:00Z")
    before = len(server.requests)
    assert_says(follow(place, server), 2, "it ended on 2020-01-01", "--reference-max-age")
    assert len(server.requests) == before and not (place / "new.json").exists()
    assert_says(follow(place, server, "--reference-max-age", 100_000), 0, "RELEASE")


def test_a_preview_is_followed_only_by_one_that_is_asked_for(
    place: Path, server: ProtocolServer
) -> None:
    said = flagos_eval(
        "run", "-t", "pictures", "--tasks-dir", ".", "--base-url", server.url, "-q", "-L", 5,
        "-o", "part.json", cwd=place,
    )  # fmt: skip
    assert_says(said, 0)
    assert_says(follow(place, server, "--reference", "part.json"), 2, "preview", "--limit 5")
    assert_says(follow(place, server, "--reference", "part.json", "-L", 5), 3, "is a preview")


def test_a_reference_and_another_run_to_follow_are_too_much(
    place: Path, server: ProtocolServer
) -> None:
    said = follow(place, server, "--config-from", "kept.json")
    assert_says(said, 2, "--reference and --config-from both say what is asked")
