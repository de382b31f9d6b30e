"""Several servers, asked the same one after the other: nothing is lost when one of them fails, and
every mistake is found before the first is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import protocol_server as ps
import pytest
from factories import LATER
from protocol_server import ProtocolServer, fail_every, fail_matching
from test_kept_reference import POLICY
from test_run import TASK_FILE, asked, number, right_answer

from flagos_eval import arms, arms_file, arms_run, catalog, comparison_file, errors, store
from flagos_eval.arms import Experiment, Given
from flagos_eval.arms_run import Compared, Outcome
from flagos_eval.errors import (
    FileError,
    FlagosEvalError,
    NotComparable,
    SettingsChanged,
    UsageError,
)
from flagos_eval.progress import Silent
from flagos_eval.run import journal_path

N = 24


def wrong_answer(body: dict[str, Any]) -> str:
    index = number(body)
    return "a picture" if index is None else f"E is wrong for {index:03}"


class Place:
    """A folder with a benchmark and a policy, and one server for each arm."""

    def __init__(self, folder: Path, servers: dict[str, ProtocolServer]) -> None:
        self.folder, self.servers = folder, servers
        self.change_task("", "")
        (folder / "policy.toml").write_text(POLICY)

    def change_task(self, old: str, new: str) -> None:
        (self.folder / "pictures.py").write_text(TASK_FILE.replace(old, new, 1), "utf-8")

    def arm(self, server: str, **settings: Any) -> dict[str, Any]:
        return {"base_url": [self.servers[server].url], **settings}

    def prepared(
        self,
        *,
        flags: dict[str, Any] | None = None,
        max_age: float | None = None,
        **content: Any,
    ) -> Experiment:
        common = {
            "tasks": ["pictures"],
            "tasks_dir": str(self.folder),
            "policy": str(self.folder / "policy.toml"),
            **{"concurrency": 4, "timeout": 5.0, "max_retries": 0},
        }
        file = arms_file.parse({**common, **content}, "x.toml")
        given = Given(
            folder=self.folder / "results",
            layers={"environment": {}, "flag": flags or {}},
            address=None,
            command=("flagos-eval", "arms", "x.toml"),
            now=LATER,
            max_age=max_age,
        )
        return arms.prepare(file, given, lambda text: None)

    def run(self, experiment: Experiment) -> tuple[list[Outcome], list[Compared]]:
        outcomes = list(arms_run.ask(experiment, Silent))
        tasks = lambda name: catalog.load_task(name, self.folder)  # noqa: E731
        results = self.folder / "results"
        return outcomes, list(arms_run.compare(experiment, outcomes, results, tasks))

    def states(self, experiment: Experiment) -> dict[str, str]:
        return {outcome.arm: outcome.state for outcome in self.run(experiment)[0]}

    def file(self, name: str) -> Path:
        return self.folder / "results" / f"{name}.json"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with (
        ProtocolServer(answer=right_answer) as native,
        ProtocolServer(answer=right_answer) as gems,
        ProtocolServer(answer=wrong_answer) as broken,
    ):
        yield Place(tmp_path, {"native": native, "gems": gems, "broken": broken})


@pytest.fixture
def two(place: Place) -> dict[str, Any]:
    return {"native": place.arm("native"), "gems": place.arm("gems")}


@pytest.fixture
def three(place: Place, two: dict[str, Any]) -> dict[str, Any]:
    return {**two, "broken": place.arm("broken")}


# --- Asked ----------------------------------------------------------------------------------------


def test_each_arm_is_a_run_of_its_own_by_its_name(place: Place, three: dict[str, Any]) -> None:
    outcomes, _ = place.run(place.prepared(arms=three))
    assert [(o.arm, o.state) for o in outcomes] == [(name, "finished") for name in three]
    runs = {name: store.load(place.file(name)) for name in three}
    assert {name: (run.name, run.arm) for name, run in runs.items()} == {n: (n, n) for n in three}
    assert len({run.id for run in runs.values()}) == 3
    assert {run.tasks for run in runs.values()} == {runs["native"].tasks}


def test_every_server_is_asked_everything_once(place: Place, three: dict[str, Any]) -> None:
    place.run(place.prepared(arms=three))
    for server in place.servers.values():
        assert asked(server) == dict.fromkeys(range(N), 1)


def test_the_questions_are_loaded_once(place: Place, three: dict[str, Any]) -> None:
    experiment = place.prepared(arms=three)
    tasks = {id(arm.job.plan.tasks) for arm in experiment.arms if arm.job is not None}
    assert tasks == {id(experiment.plan.tasks)}


def test_a_flag_holds_for_every_arm(place: Place, two: dict[str, Any]) -> None:
    experiment = place.prepared(arms=two, seed=3, flags={"seed": 9})
    for arm in experiment.arms:
        assert arm.job is not None
        assert (arm.job.config.seed, arm.job.configured.sources["seed"]) == (9, "flag")


# --- Again ----------------------------------------------------------------------------------------


def test_what_is_finished_is_not_asked_again(place: Place, three: dict[str, Any]) -> None:
    _, before = place.run(place.prepared(arms=three))
    requests = {name: len(server.requests) for name, server in place.servers.items()}
    experiment = place.prepared(arms=three)
    assert experiment.open == ()
    outcomes, after = place.run(experiment)
    assert {outcome.state for outcome in outcomes} == {"finished before"}
    assert requests == {name: len(server.requests) for name, server in place.servers.items()}
    assert [c.comparison for c in after] == [c.comparison for c in before]


def test_an_arm_that_is_added_later_is_the_only_one_that_is_asked(
    place: Place, three: dict[str, Any], two: dict[str, Any]
) -> None:
    place.run(place.prepared(arms=two))
    assert place.states(place.prepared(arms=three)) == {
        "native": "finished before",
        "gems": "finished before",
        "broken": "finished",
    }


def test_a_finished_arm_with_other_settings_is_an_error(place: Place, two: dict[str, Any]) -> None:
    place.run(place.prepared(arms=two))
    with pytest.raises(SettingsChanged, match=r"arm gems: .*temperature was 0\.0, is 0\.5"):
        place.prepared(arms=dict(reversed(two.items())), temperature=0.5)
    moved = {**two, "gems": place.arm("broken")}
    with pytest.raises(SettingsChanged, match=r"arm gems: .*base_url was") as caught:
        place.prepared(arms=moved)
    assert caught.value.hint is not None and "another name" in caught.value.hint


def test_a_finished_arm_of_other_questions_is_an_error(place: Place, two: dict[str, Any]) -> None:
    place.run(place.prepared(arms=two))
    place.change_task("A, B, C or D?", "A, B or C?")
    with pytest.raises(NotComparable, match="24 of 24 requests"):
        place.prepared(arms=two)


def test_how_fast_is_asked_may_change(place: Place, two: dict[str, Any]) -> None:
    place.run(place.prepared(arms=two))
    assert place.prepared(arms=two, concurrency=2).open == ()


def test_an_arm_that_was_begun_with_other_settings_is_an_error_before_any_server_is_asked(
    place: Place, two: dict[str, Any]
) -> None:
    place.servers["gems"].faults = fail_every(3, ps.Status(500))
    assert place.states(place.prepared(arms=two))["gems"] == "incomplete"
    place.file("native").unlink()
    before = len(place.servers["native"].requests)
    with pytest.raises(SettingsChanged, match=r"arm gems: .*begun with other settings: seed was 0"):
        place.prepared(arms=two, seed=1)
    assert len(place.servers["native"].requests) == before


# --- An arm that fails ----------------------------------------------------------------------------


def test_an_arm_that_fails_does_not_keep_the_others_from_running(
    place: Place, two: dict[str, Any]
) -> None:
    dead = {"native": place.arm("native"), "gone": {"base_url": ["http://127.0.0.1:9/v1"]}}
    outcomes, compared = place.run(place.prepared(arms={**dead, "gems": two["gems"]}))
    assert [o.state for o in outcomes] == ["finished", "failed", "finished"]
    assert [o.code for o in outcomes] == [0, errors.EXIT_IO, 0]
    assert {c.pair: c.why for c in compared if c.comparison is None} == {
        ("native", "gone"): "gone not finished",
        ("gone", "gems"): "gone not finished",
    }
    assert place.file("native-vs-gems").is_file() and not place.file("native-vs-gone").exists()


def test_an_incomplete_arm_goes_on_with_the_same_command(place: Place, two: dict[str, Any]) -> None:
    place.servers["native"].faults = fail_matching("Question 003", ps.Status(500))
    outcomes, compared = place.run(place.prepared(arms=two))
    assert [(o.state, o.code) for o in outcomes] == [("incomplete", 5), ("finished", 0)]
    assert outcomes[0].why is not None and "1 of 24 requests failed" in outcomes[0].why
    assert compared[0].comparison is None
    place.servers["native"].faults = None
    assert place.states(place.prepared(arms=two)) == {
        "native": "finished",
        "gems": "finished before",
    }
    assert asked(place.servers["native"]) == {**dict.fromkeys(range(N), 1), 3: 2}
    assert not journal_path(place.file("native")).exists()


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([0, 0], 0),
        ([], 0),
        ([0, 3, 1], 1),
        ([1, 5], 5),
        ([5, 4, 1], 4),
        ([0, 5, 74, 4], 74),
        ([2, 74], 2),
        ([74, 2], 74),
    ],
)
def test_what_could_not_be_made_counts_before_what_was_found(codes: list[int], code: int) -> None:
    assert arms_run.exit_code(codes) == code


# --- Checked beforehand ---------------------------------------------------------------------------


def refused(place: Place, **content: Any) -> FlagosEvalError:
    before = [len(server.requests) for server in place.servers.values()]
    with pytest.raises(FlagosEvalError) as caught:
        place.prepared(**content)
    assert [len(server.requests) for server in place.servers.values()] == before
    assert not (place.folder / "results").exists()
    return caught.value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("temperature", 0.5), ("limit", 3), ("max_pixels", 50_000), ("repeat", 2), ("seed", 1)),
        *(("policy", "demo"), ("revision", ["pictures=x"]), ("judge_model", "j")),
    ],
)
def test_what_is_asked_must_not_differ(place: Place, name: str, value: Any) -> None:
    differing = {"native": place.arm("native"), "gems": place.arm("gems", **{name: value})}
    error = refused(place, arms=differing)
    assert isinstance(error, UsageError)
    assert re.match(rf"{name} is .* in native and .* in gems: all arms are asked", error.message)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"launcher": "embedded", "model": "fp33"}, "there is no variant .* 'fp33'"),
        ({"launcher": "emebdded"}, "there is no launcher 'emebdded'"),
        ({"launcher": "vllm", "model": "/nowhere/at-all"}, "no weights at /nowhere/at-all"),
        ({"launcher": "embedded", "base_url": ["http://127.0.0.1:9/v1"]}, "give one of them"),
        ({"base_url": ["http://127.0.0.1:9/v1"], "facts": ["gone.json"]}, "cannot read gone.json"),
        ({"launcher": "docker", "model": "."}, "--launcher docker needs an image"),
        ({"launcher": "embedded", "tensor_parallel": 0}, "tensor_parallel = 0"),
        ({"launcher": "embedded", "platform": "cud"}, "there is no platform 'cud'"),
    ],
)
def test_the_last_arms_mistake_is_found_before_the_first_is_asked(
    place: Place, settings: dict[str, Any], said: str
) -> None:
    error = refused(place, arms={"native": place.arm("native"), "gems": settings})
    assert re.match(rf"arm gems: .*{said}", error.message), error.message


def test_a_flag_that_would_make_the_arms_alike_is_refused(
    place: Place, two: dict[str, Any]
) -> None:
    error = refused(place, arms=two, flags={"base_url": ("http://127.0.0.1:9/v1",)})
    assert "what native and gems differ in" in error.message


def test_a_policy_that_is_none_is_found_beforehand(place: Place, two: dict[str, Any]) -> None:
    assert isinstance(refused(place, arms=two, policy="gone.toml"), FileError)


# --- Compared -------------------------------------------------------------------------------------


def verdicts(compared: list[Compared]) -> dict[tuple[str, str], str]:
    return {c.pair: c.comparison.differences[0].verdict for c in compared if c.comparison}


def test_the_pairs_tell_which_step_made_the_difference(place: Place, three: dict[str, Any]) -> None:
    _, compared = place.run(place.prepared(arms=three))
    found = verdicts(compared)
    assert found.keys() == {("native", "gems"), ("native", "broken"), ("gems", "broken")}
    assert {pair for pair, verdict in found.items() if verdict == "DRIFT"} == {
        ("native", "broken"),
        ("gems", "broken"),
    }


def test_each_comparison_is_saved_beside_the_runs(place: Place, two: dict[str, Any]) -> None:
    _, (made,) = place.run(place.prepared(arms=two))
    assert made.path == place.file("native-vs-gems")
    assert comparison_file.parse(made.path.read_bytes(), made.path) == made.comparison


def test_runs_and_comparison_declare_the_files_policy(place: Place, two: dict[str, Any]) -> None:
    _, (made,) = place.run(place.prepared(arms=two))
    assert made.comparison is not None
    assert (made.comparison.suite.policy, made.comparison.suite.declared) == ("pictures", "both")


def test_a_repetition_is_the_noise_of_its_side(place: Place, two: dict[str, Any]) -> None:
    _, (alone,) = place.run(place.prepared(arms=two))
    again = {**two, "again": {"repeat_of": "native"}}
    outcomes, (made,) = place.run(place.prepared(arms=again))
    assert [o.state for o in outcomes] == ["finished before", "finished before", "finished"]
    assert alone.comparison is not None and alone.comparison.differences[0].noise is None
    assert made.comparison is not None and made.comparison.differences[0].noise is not None


def test_a_signed_comparison_is_never_replaced_by_another(
    place: Place, two: dict[str, Any]
) -> None:
    _, (made,) = place.run(place.prepared(arms=two))
    signature = made.path.with_name("native-vs-gems.signed.json")
    signature.write_text("{}")
    signed = made.path.read_bytes()
    _, (same,) = place.run(place.prepared(arms=two))
    assert same.error is None and same.comparison == made.comparison
    _, (other,) = place.run(place.prepared(arms={**two, "again": {"repeat_of": "native"}}))
    assert other.error is not None and "is signed and stays as it is" in other.error.message
    assert made.path.read_bytes() == signed


def test_a_pair_says_in_which_settings_its_servers_differ(place: Place) -> None:
    names = {"native": place.arm("native"), "gems": place.arm("native", env=["USE_FLAGGEMS=1"])}
    experiment = place.prepared(arms={**names, "again": {"repeat_of": "native"}})
    assert experiment.differing(("native", "gems")) == ("env",)
    assert experiment.differing(("native", "again")) == ()


# --- A kept reference -----------------------------------------------------------------------------


@pytest.fixture
def kept(place: Place) -> Path:
    """A reference of an earlier release, with a seed of its own."""
    arm = {"cuda": place.arm("native"), "other": place.arm("gems")}
    place.run(place.prepared(arms=arm, seed=5))
    path = place.folder / "cuda.json"
    store.save(store.load(place.file("cuda")), path)
    (place.folder / "results").rename(place.folder / "earlier")
    (place.folder / "earlier" / "samples").rename(place.folder / "samples")
    return path


def test_a_kept_run_is_an_arm_that_is_not_asked(
    place: Place, two: dict[str, Any], kept: Path
) -> None:
    outcomes, compared = place.run(place.prepared(arms={"cuda": {"reference": str(kept)}, **two}))
    assert [(o.arm, o.state, o.path) for o in outcomes] == [
        ("cuda", "kept", kept),
        ("native", "finished", place.file("native")),
        ("gems", "finished", place.file("gems")),
    ]
    assert {c.path.name for c in compared if c.comparison} == {
        *("cuda-vs-native.json", "cuda-vs-gems.json", "native-vs-gems.json"),
    }


def test_a_kept_run_says_what_is_asked(place: Place, two: dict[str, Any], kept: Path) -> None:
    experiment = place.prepared(arms={"cuda": {"reference": str(kept)}, **two})
    assert experiment.plan.config.seed == 5
    stated = {"arms": {"cuda": {"reference": str(kept)}, **two}, "seed": 0}
    with pytest.raises(UsageError, match="seed is 5 in cuda and 0 in native"):
        place.prepared(**stated)


def test_a_kept_run_of_other_questions_is_refused(
    place: Place, two: dict[str, Any], kept: Path
) -> None:
    place.change_task("A, B, C or D?", "A, B or C?")
    error = refused(place, arms={"cuda": {"reference": str(kept)}, **two})
    assert isinstance(error, NotComparable)


def test_how_old_a_kept_run_may_be_is_the_files_word_and_the_commands_counts_more(
    place: Place, two: dict[str, Any], kept: Path
) -> None:
    old = store.load(kept).model_copy(update={"ended_at": "2025-12-03T04:04:05Z"})
    store.save(old, kept)
    arms = {"cuda": {"reference": str(kept)}, **two}
    assert len(place.prepared(arms=arms).arms) == 3
    error = refused(place, arms=arms, reference_max_age=20)
    assert "30 days ago, and may be 20 days old" in error.message
    assert len(place.prepared(arms=arms, reference_max_age=20, max_age=40).arms) == 3


def test_a_kept_run_by_an_older_scorer_is_scored_again_in_every_comparison(
    place: Place, two: dict[str, Any], kept: Path
) -> None:
    place.change_task('Scorer("official", 1', 'Scorer("official", 2')
    _, compared = place.run(place.prepared(arms={"cuda": {"reference": str(kept)}, **two}))
    for made in compared:
        assert made.comparison is not None and made.comparison.comparable
        said = any("both were scored again by v2" in note for note in made.comparison.notes)
        assert said is ("cuda" in made.pair)


def test_a_comparison_that_cannot_be_made_does_not_lose_the_others(
    place: Place, two: dict[str, Any], kept: Path
) -> None:
    experiment = place.prepared(arms={"cuda": {"reference": str(kept)}, **two})
    kept.write_text(json.dumps({"not": "a run"}))
    outcomes, compared = place.run(experiment)
    assert [o.state for o in outcomes] == ["kept", "finished", "finished"]
    assert [c.comparison is not None for c in compared] == [False, False, True]
    assert compared[0].error is not None and compared[0].error.exit_code == errors.EXIT_USAGE
