"""The verdict on two runs: what the policy asks, and everything that takes a verdict back."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from factories import Failed, exact, items, joined, rebuilt, run, task
from hypothesis import given
from hypothesis import strategies as st

from flagos_eval.comparing import Inputs, compare
from flagos_eval.errors import UsageError
from flagos_eval.policy import LoadedPolicy, parse
from flagos_eval.records import Comparison, Difference, Dispatch, Run, Usage
from flagos_eval.task import Aggregation, macro

TODAY = datetime.date(2026, 3, 1)
HASH = "0" * 64
USAGE = Usage(prompt_tokens=9, completion_tokens=1)
SUMS = {"sums": {"tier": "critical", "margin": 5}}
WAIVER = {"task": "sums", "who": "Wang Li", "why": "known", "until": TODAY}


def policy(**changes: Any) -> LoadedPolicy:
    content: dict[str, Any] = {"policy": 1, "name": "test", "alpha": 0.05, "max_error_rate": 0.005}
    return LoadedPolicy(
        policy=parse(content | {"tasks": SUMS} | changes, "test"), sha256=HASH, source="test"
    )


def side(wrong: set[int] | range, n: int = 400, name: str = "one", **fields: Any) -> Run:
    """A run of `n` items with wrong answers to some."""
    answers = ["wrong" if i in wrong else str(i) for i in range(n)]
    given: dict[str, Any] = {"name": name, "id": name, "usage": USAGE, **fields}
    return run(answers, **given)


def judged(baseline: Run, candidate: Run, *again: Run, **changes: Any) -> Comparison:
    return compare(baseline, candidate, Inputs(policy(**changes), TODAY, baseline_again=again))


def found(baseline: Run, candidate: Run, *again: Run, **changes: Any) -> Difference:
    return judged(baseline, candidate, *again, **changes).differences[0]


# --- The rule ------------------------------------------------------------------------------------


def test_equal_sides_are_consistent_and_released() -> None:
    comparison = judged(side(range(40)), side(range(40), name="two"))
    assert comparison.differences[0].verdict == "CONSISTENT"
    assert comparison.suite.verdict == "RELEASE"


def test_a_loss_beyond_the_margin_is_drift_and_held() -> None:
    comparison = judged(side(set()), side(range(60), name="two"))
    assert comparison.differences[0].verdict == "DRIFT"
    assert comparison.suite.verdict == "HOLD"
    assert "below" in comparison.differences[0].reasons[0]


def test_a_gain_beyond_the_margin_is_drift_too() -> None:
    difference = found(side(range(60)), side(set(), name="two"))
    assert difference.verdict == "DRIFT"
    assert "above" in difference.reasons[0]


def test_a_difference_at_the_margin_is_inconclusive_with_the_items_that_would_settle_it() -> None:
    difference = found(side(set()), side(range(16), name="two"))
    assert difference.verdict == "INCONCLUSIVE"
    assert difference.needed_items is not None
    assert difference.needed_items > 400


def test_few_items_are_inconclusive_however_alike() -> None:
    assert found(side(set(), 20), side(set(), 20, "two")).verdict == "INCONCLUSIVE"


def test_a_task_that_the_policy_does_not_name_gets_no_verdict() -> None:
    tasks = {"other": {"tier": "critical", "margin": 5}}
    difference = found(side(set()), side(set(), name="two"), tasks=tasks)
    assert difference.verdict == "INCONCLUSIVE"
    assert difference.reasons == ("the policy declares no margin for this task",)


WRONG = st.sets(st.integers(0, 99), max_size=100)
MIRROR = {"CONSISTENT", "DRIFT", "INCONCLUSIVE"}


@given(WRONG, WRONG)
def test_swapping_the_sides_mirrors_the_verdict(one: set[int], other: set[int]) -> None:
    there = found(side(one, 100), side(other, 100, "two"))
    back = found(side(other, 100, "two"), side(one, 100))
    assert there.verdict == back.verdict
    assert there.interval is not None
    assert back.interval is not None
    assert there.interval.low == pytest.approx(-back.interval.high)
    assert (there.lost, there.gained, there.p_value) == (back.gained, back.lost, back.p_value)


@given(WRONG, WRONG, st.integers(1, 99))
def test_the_order_of_items_changes_nothing(one: set[int], other: set[int], turn: int) -> None:
    first, second = side(one, 100), side(other, 100, "two")
    turned = rebuilt(second, scores=(*second.scores[turn:], *second.scores[:turn]))
    assert judged(first, second).differences == judged(first, turned).differences


# --- What takes a verdict back --------------------------------------------------------------------


def test_answers_that_are_missing_can_undo_a_verdict() -> None:
    answers: list[Any] = ["wrong" if i < 6 else str(i) for i in range(400)]
    answers[399] = Failed
    thin = run(answers, name="two", id="two", usage=USAGE)
    whole = side(set())
    assert found(whole, side(range(6), name="two"), tasks=_margin(3.06)).verdict == "CONSISTENT"
    difference = found(whole, thin, tasks=_margin(3.06))
    assert difference.verdict == "INCONCLUSIVE"
    assert difference.bounds is not None
    assert (difference.bounds.missing, difference.bounds.verdict_moves) == (1, True)
    assert difference.reasons[0].startswith("1 items have no value on a side")


def _margin(points: float) -> dict[str, Any]:
    return {"sums": {"tier": "critical", "margin": points}}


def test_more_errors_than_the_policy_allows_make_a_run_invalid() -> None:
    answers: list[Any] = [Failed if i < 8 else str(i) for i in range(400)]
    difference = found(side(set()), run(answers, name="two", id="two", usage=USAGE))
    assert difference.verdict == "INVALID_RUN"
    assert difference.reasons[0] == "2.00 % of two's requests have no answer"


def test_errors_on_every_item_of_both_sides_are_no_agreement() -> None:
    sides = [run([Failed] * 40, name=name, id=name) for name in ("one", "two")]
    difference = found(sides[0], sides[1])
    assert (difference.verdict, difference.delta) == ("INVALID_RUN", None)


def test_a_preview_is_never_consistent() -> None:
    difference = found(side(set(), phase="preview"), side(set(), name="two"))
    assert difference.verdict == "INCONCLUSIVE"
    assert difference.reasons == ("a preview: only part of the benchmark was asked",)


def test_a_preview_can_show_drift() -> None:
    preview = side(range(60), name="two", phase="preview")
    assert found(side(set(), phase="preview"), preview).verdict == "DRIFT"


def test_what_nothing_verified_caps_the_verdict() -> None:
    silent = side(set(), name="two", usage=None)
    difference = found(side(set()), silent)
    assert difference.verdict == "INCONCLUSIVE"
    assert difference.reasons == ("not verified: sums: prompt tokens",)


def test_other_prompt_tokens_show_no_difference_at_all() -> None:
    other = side(set(), name="two", usage=Usage(prompt_tokens=8, completion_tokens=1))
    comparison = judged(side(set()), other)
    difference = comparison.differences[0]
    assert (difference.verdict, difference.delta, difference.interval) == (
        "NOT_COMPARABLE",
        None,
        None,
    )
    assert comparison.suite.verdict == "HOLD"
    assert comparison.checks[5].samples[:2] == ("0", "1")


def test_a_reference_that_differs_from_itself_beyond_the_margin_certifies_nothing() -> None:
    again = side(range(60), name="again")
    difference = found(side(set()), side(set(), name="two"), again)
    assert difference.verdict == "INCONCLUSIVE"
    assert "fix the reference first" in difference.reasons[0]


def test_noise_is_measured_and_never_widens_the_margin() -> None:
    again = side({1, 2}, name="again")
    difference = found(side({3}), side({4}, name="two"), again)
    assert difference.noise is not None
    assert difference.noise.rate == pytest.approx(100 * 3 / 400)
    assert (difference.verdict, difference.margin) == ("CONSISTENT", 5)


def test_a_further_run_that_asked_something_else_is_refused() -> None:
    with pytest.raises(UsageError, match="again is no repetition of one: sums: items differ"):
        judged(side(set()), side(set(), name="two"), side(set(), 300, "again"))


# --- Flags and waivers ----------------------------------------------------------------------------


def test_a_small_real_difference_is_changed_though_consistent() -> None:
    difference = found(side(set()), side(range(8), name="two"))
    assert (difference.verdict, difference.flags) == ("CONSISTENT", ("CHANGED",))


def test_more_flips_than_a_side_has_with_itself_hold_a_release_until_waived() -> None:
    one, again = side({1}), side({2}, name="again")
    other = side(range(10, 18), name="two")
    comparison = judged(one, other, again, again)
    assert "NUMERICS_CHANGED" in comparison.differences[0].flags
    assert comparison.suite.verdict == "HOLD"
    waiver = WAIVER | {"accepts": "NUMERICS_CHANGED"}
    accepted = judged(one, other, again, again, waiver=[waiver])
    assert accepted.suite.verdict == "RELEASE"
    assert accepted.differences[0].waived == (
        "NUMERICS_CHANGED waived by Wang Li until 2026-03-01: known",
    )


def test_a_supporting_task_may_be_inconclusive_if_waived_and_a_critical_one_may_not() -> None:
    one, other = side(set()), side(range(16), name="two")
    waiver = [WAIVER | {"accepts": "INCONCLUSIVE"}]
    supporting = {"sums": {"tier": "supporting", "margin": 5}}
    assert judged(one, other, tasks=supporting).suite.verdict == "INCONCLUSIVE"
    assert judged(one, other, tasks=supporting, waiver=waiver).suite.verdict == "RELEASE"
    assert judged(one, other, waiver=waiver).suite.verdict == "INCONCLUSIVE"


def test_a_waiver_ends() -> None:
    one, other = side(set()), side(range(16), name="two")
    supporting = {"sums": {"tier": "supporting", "margin": 5}}
    ended = [WAIVER | {"accepts": "INCONCLUSIVE", "until": TODAY - datetime.timedelta(days=1)}]
    assert judged(one, other, tasks=supporting, waiver=ended).suite.verdict == "INCONCLUSIVE"


# --- The suite ------------------------------------------------------------------------------------


def test_a_task_that_was_not_run_holds_a_release() -> None:
    tasks = SUMS | {"other": {"tier": "supporting", "margin": 5}}
    suite = judged(side(set()), side(set(), name="two"), tasks=tasks).suite
    assert (suite.verdict, suite.not_run) == ("HOLD", ("other",))
    assert suite.reasons == ("other: NOT_RUN",)


def test_an_advisory_task_decides_nothing() -> None:
    tasks = SUMS | {"other": {"tier": "advisory", "margin": 5}}
    suite = judged(side(set()), side(set(), name="two"), tasks=tasks).suite
    assert (suite.verdict, suite.not_run) == ("RELEASE", ("other",))


def test_a_pooled_figure_overrides_no_task() -> None:
    """Two tasks that drift in opposite directions have no difference together."""
    second = task("other")
    base = side(range(60))
    up = run([str(i) for i in range(400)], of=second, id="o1", name="o1", usage=USAGE)
    down = run(
        ["wrong" if i < 60 else str(i) for i in range(400)],
        of=second,
        id="o2",
        name="o2",
        usage=USAGE,
    )
    tasks = SUMS | {"other": {"tier": "critical", "margin": 5}}
    comparison = judged(joined(base, up), joined(side(set(), name="two"), down), tasks=tasks)
    assert comparison.suite.pooled is not None
    assert comparison.suite.pooled.delta == pytest.approx(0)
    assert comparison.suite.pooled.q_p_value < 1e-6
    assert comparison.suite.verdict == "HOLD"


@pytest.mark.parametrize(
    ("hashes", "said"),
    [
        ((HASH, HASH), "both"),
        ((HASH, None), "baseline"),
        ((None, HASH), "candidate"),
        ((None, "1" * 64), "neither"),
    ],
)
def test_it_is_said_which_runs_knew_the_policy_before_they_started(
    hashes: tuple[str | None, str | None], said: str
) -> None:
    one = side(set(), policy_sha256=hashes[0])
    other = side(set(), name="two", policy_sha256=hashes[1])
    assert judged(one, other).suite.declared == said


# --- What the interval depends on -----------------------------------------------------------------


def test_items_that_share_a_source_are_no_independent_evidence() -> None:
    asked = items(400, cluster=None)
    shared = [item.model_copy(update={"cluster": str(int(item.id) // 20)}) for item in asked]
    sides = [(set(), "one"), (set(range(20)), "two")]

    def both(samples: Any) -> list[Run]:
        return [
            run(
                ["wrong" if i in wrong else str(i) for i in range(400)],
                asked=samples,
                name=name,
                id=name,
                usage=USAGE,
            )
            for wrong, name in sides
        ]

    alone, together = found(*both(asked)), found(*both(shared))
    assert alone.interval is not None
    assert together.interval is not None
    assert together.clusters == 20
    assert together.interval.low < alone.interval.low
    assert "Tango" in together.interval.method


def test_a_mean_of_groups_has_an_interval_of_its_own() -> None:
    grouped = [
        item.model_copy(update={"group": "small" if int(item.id) < 40 else "large"})
        for item in items(400)
    ]
    of = task(aggregations=(Aggregation("macro", macro),))
    sides = [
        run(
            ["wrong" if i in wrong else str(i) for i in range(400)],
            of=of,
            asked=grouped,
            name=name,
            id=name,
            usage=USAGE,
        )
        for wrong, name in ((set(), "one"), (set(range(4)), "two"))
    ]
    difference = found(*sides)
    assert difference.metric == "macro"
    assert difference.delta == pytest.approx(-5.0)
    assert {g.name: g.lost for g in difference.groups} == {"large": 0, "small": 4}


def test_graded_values_that_never_differ_get_no_verdict() -> None:
    half = exact("half")
    sides = []
    for name in ("one", "two"):
        made = run([str(i) for i in range(60)], of=task(scorers=(half,)), name=name, usage=USAGE)
        graded = tuple(s.model_copy(update={"value": 0.5}) for s in made.scores)
        sides.append(rebuilt(made, scores=graded, id=name))
    difference = found(*sides)
    assert difference.verdict == "INCONCLUSIVE"
    assert "no graded value differs" in difference.reasons[0]


def test_lengths_and_early_signs_are_reported() -> None:
    long = side(range(4), name="two", usage=Usage(prompt_tokens=9, completion_tokens=3))
    difference = found(side(set()), long)
    assert difference.length_ratio == pytest.approx(3)
    empty: list[Any] = [str(i) for i in range(400)]
    empty[:7] = [""] * 7
    difference = found(side(set()), run(empty, name="two", id="two", usage=USAGE))
    indicator = difference.indicators[0]
    assert (indicator.name, indicator.baseline, indicator.candidate) == ("empty", 0, 7)
    assert difference.both_ended == 0.0
    assert difference.both_ended_n == 393


# --- Operators ------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1])
def test_a_run_whose_server_did_not_use_its_operators_gets_no_verdict(which: int) -> None:
    """However equal the answers are: they are not those of what is to be released."""
    why = "FlagGems was asked for (all), and dispatched nothing"
    dispatch = Dispatch(requested="all", how="flagscale", workers=8, problems=(why,))
    sides = [side(range(40)), side(range(40), name="two")]
    sides[which] = rebuilt(sides[which], dispatch=dispatch)
    comparison = judged(*sides)
    assert comparison.differences[0].verdict == "INVALID_RUN"
    assert comparison.differences[0].reasons == (f"{sides[which].name}: {why}",)
    assert comparison.suite.verdict == "HOLD"
