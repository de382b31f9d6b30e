"""What a plan promises: known answers, and what must hold of every design."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from factories import exact, items, run, task
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flagos_eval import planning_noise
from flagos_eval.errors import UsageError
from flagos_eval.planning import Design, Flips, Plan, Terms, plan, plan_task
from flagos_eval.planning_noise import Measured
from flagos_eval.records import Run
from flagos_eval.task import Aggregation, Judgement, Scorer, macro

CARD = {
    **{"cmmmu": (900, 4), "mmmu": (900, 4), "cii_bench": (765, 4), "mm_vet_v2": (517, 5)},
    **{"mmmu_pro_standard": (1730, 3), "mmmu_pro_vision": (1730, 3)},
    **{"mathvision": (3040, 3), "blink": (1901, 3)},
}
"""The eight comparable rows of the release card, with the default margins."""


def design(n: int = 900, margin: float = 1, **fields: Any) -> Design:
    return Design("x", n, margin, **{"flips": Flips(0.1, "given"), **fields})


def noisy(rate: float, design_effect: float = 1.0) -> Measured:
    return Measured(items=900, passes=2, rate=rate, interval=None, design_effect=design_effect)


def suite(rate: float) -> Plan:
    flips = Flips(rate, "given")
    return plan(
        [Design(name, n, margin, "critical", flips=flips) for name, (n, margin) in CARD.items()],
        Terms(),
    )


# --- Known answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "probability"), [(0.05, 0.99), (0.08, 0.90), (0.10, 0.75)])
def test_the_card_passes_as_often_as_it_did_in_simulation(rate: float, probability: float) -> None:
    """All eight tasks CONSISTENT with margins 3/4/5 and no true difference: 1,500 draws a cell."""
    joint = suite(rate).joint
    assert joint is not None
    assert joint.independent == pytest.approx(probability, abs=0.015)


@pytest.mark.parametrize(
    ("margin", "rate", "n"),
    [(1, 0.05, 4282), (1, 0.10, 8564), (1, 0.20, 17128), (2, 0.10, 2141), (2, 0.20, 4282)],
)
def test_needed_items_are_near_those_of_the_normal_formula(
    margin: float, rate: float, n: int
) -> None:
    """(z.95 + z.90)^2 flips / margin^2; the exact number is a little larger."""
    found = plan_task(design(margin=margin, flips=Flips(rate, "given")), Terms()).needed_items
    assert found == pytest.approx(n, rel=0.02)


@pytest.mark.parametrize(
    ("n", "probabilities"), [(900, (0, 0, 0.20, 0.71)), (1730, (0, 0.19, 0.70, 0.96))]
)
def test_repeats_are_worth_items_where_all_flips_vary_from_pass_to_pass(
    n: int, probabilities: Sequence[float]
) -> None:
    flips = Flips(0.1, "measured", noisy(0.1))
    found = [
        plan_task(design(n, flips=flips), Terms(repeat=repeat)).consistent
        for repeat in (1, 2, 4, 8)
    ]
    assert found == pytest.approx(probabilities, abs=0.03)


def test_repeats_reach_a_plateau_where_most_flips_are_fixed() -> None:
    """2 % flips of the reference against itself among 10 %: 0.34 at 2 points is all there is."""
    flips = Flips(0.1, "given", noisy(0.02))
    found = [
        plan_task(design(margin=2, flips=flips), Terms(repeat=repeat)).consistent
        for repeat in (8, 512)
    ]
    assert found == pytest.approx([0.33, 0.34], abs=0.02)


@pytest.mark.parametrize(("n", "passes"), [(900, 10), (1730, 5), (3040, 3), (765, 12)])
def test_passes_that_certify_one_point(n: int, passes: int) -> None:
    found = plan_task(design(n, flips=Flips(0.1, "measured", noisy(0.1))), Terms())
    assert (found.needed_passes, found.repeats_help) == (passes, "yes")


# --- What is said of repeats ----------------------------------------------------------------------


def test_no_number_of_passes_helps_against_fixed_flips() -> None:
    found = plan_task(design(flips=Flips(0.1, "given", noisy(0.02))), Terms())
    assert (found.needed_passes, found.repeats_help) == (None, "no")


def test_the_interval_that_repeats_leave_is_that_of_the_fixed_flips() -> None:
    found = plan_task(design(flips=Flips(0.1, "given", noisy(0.02))), Terms())
    assert found.least_half_width == pytest.approx(100 * 1.645 * (0.08 / 900) ** 0.5, abs=0.001)


def test_flips_that_nobody_measured_count_as_fixed() -> None:
    found = plan_task(design(), Terms())
    assert (found.needed_passes, found.repeats_help) == (None, "not measured")


def test_repeats_are_not_needed_where_one_pass_does() -> None:
    assert plan_task(design(5000, 3), Terms()).repeats_help == "not needed"


def test_the_rate_is_never_below_what_the_reference_does_to_itself() -> None:
    assert plan_task(design(flips=Flips(0.01, "given", noisy(0.05))), Terms()).flips == 5.0


# --- The policy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", [None, "advisory"])
def test_a_task_that_decides_nothing_is_not_in_the_joint_probability(tier: Any) -> None:
    found = plan([design(5000, 3, tier="critical"), design(100, 1, tier=tier)], Terms())
    assert found.joint is not None
    assert found.joint.independent > 0.9


def test_a_waived_supporting_task_fails_only_by_drift() -> None:
    found = plan_task(design(100, tier="supporting", waived=True), Terms())
    assert found.false_drift is not None
    assert found.passes_policy == pytest.approx(1 - found.false_drift)


def test_a_waiver_does_not_help_a_critical_task() -> None:
    found = plan_task(design(100, tier="critical", waived=True), Terms())
    assert found.passes_policy == found.consistent


def test_nothing_is_promised_where_the_flips_of_a_task_are_not_known() -> None:
    found = plan([design(tier="critical"), design(tier="critical", flips=None)], Terms())
    assert found.joint is None
    assert found.tasks[1].consistent is None


def test_without_a_rate_the_policy_is_shown_at_several() -> None:
    found = plan([design(tier="critical", margin=4)], Terms(), rates=(0.02, 0.1))
    assert [joint.flips for joint in found.at_other_rates] == [2, 10]


def test_hours_are_of_all_passes_and_items() -> None:
    found = plan([design(900, seconds=4), design(100, seconds=36)], Terms(repeat=2))
    assert [task.hours for task in found.tasks] == [2, 2]
    assert found.hours == 4


def test_hours_in_all_are_not_known_where_one_is_not() -> None:
    assert plan([design(900, seconds=4), design(100)], Terms()).hours is None


@pytest.mark.parametrize("bad", [{"n": 0}, {"margin": 100}, {"margin": 0}])
def test_a_design_without_meaning_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        plan_task(design(**bad), Terms())


# --- Whatever the design --------------------------------------------------------------------------

rates = st.floats(0, 1)
designs = st.builds(
    lambda n, margin, rate, again, effect: design(
        n, margin, tier="critical", flips=Flips(rate, "given", noisy(again, effect))
    ),
    st.integers(1, 1000),
    st.floats(0.1, 99),
    rates,
    rates,
    st.floats(1, 5),
)


TINY = design(1, 1.0, tier="critical", flips=Flips(0.0, "given", noisy(5e-324, 1.0)))


@settings(max_examples=15)
@example(TINY, 2)
@given(designs, st.integers(1, 8))
def test_probabilities_are_probabilities(drawn: Design, repeat: int) -> None:
    found = plan_task(drawn, Terms(repeat=repeat))
    assert found.consistent is not None
    assert found.false_drift is not None
    assert 0 <= found.consistent <= 1
    assert 0 <= found.false_drift <= 1
    assert found.consistent + found.false_drift <= 1 + 1e-9


@settings(max_examples=15)
@given(designs)
def test_a_detectable_drift_is_beyond_the_margin(drawn: Design) -> None:
    found = plan_task(drawn, Terms())
    for drift in (found.drift_at_power, found.drift_at_95):
        assert drift is None or drift > drawn.margin


# --- Runs of the reference ------------------------------------------------------------------------


def side(wrong: set[int], n: int = 100, **fields: Any) -> Run:
    return run(["wrong" if i in wrong else str(i) for i in range(n)], **fields)


def measured(*runs: Run) -> Measured:
    found = planning_noise.measure(runs, "sums", 0.05)
    assert found is not None
    return found


def test_the_flip_rate_between_two_runs_is_counted() -> None:
    assert measured(side({1, 2, 3}), side({3, 4})).rate == pytest.approx(0.03)


def test_the_rate_of_several_runs_is_over_all_pairs() -> None:
    found = measured(side(set()), side({1}), side({1, 2}))
    assert (found.passes, found.rate) == (3, pytest.approx((1 + 2 + 1) / 3 / 100))


def test_repeats_of_one_run_are_passes() -> None:
    asked = items(4)
    answers = {"0": ["0", "no"], "1": ["1", "1"], "2": ["2", "2"], "3": ["no", "no"]}
    assert measured(run(answers, asked=asked)).rate == pytest.approx(0.25)


def test_an_item_without_a_value_in_a_pass_is_left_out() -> None:
    from factories import Failed

    answers = [Failed, *map(str, range(1, 100))]
    assert measured(run(answers), side({0})).items == 99


@pytest.mark.parametrize("runs", [(), (side(set()),), (side(set(), 1), side(set(), 1))])
def test_one_pass_or_one_item_shows_no_noise(runs: tuple[Run, ...]) -> None:
    assert planning_noise.measure(runs, "sums", 0.05) is None


def test_a_task_that_no_run_asked_is_not_measured() -> None:
    assert planning_noise.measure((side(set()), side({1})), "mmmu", 0.05) is None


def test_flips_that_share_an_image_are_worth_less() -> None:
    asked = [item for cluster in range(25) for item in _cluster(cluster)]
    whole = {i for i in range(100) if i // 4 in (3, 9)}
    found = measured(side(set(), asked=asked), side(whole, asked=asked))
    assert found.design_effect == pytest.approx(4, abs=0.2)


def _cluster(cluster: int) -> list[Any]:
    return [item.model_copy(update={"cluster": f"image {cluster}"}) for item in items(100)][
        4 * cluster : 4 * cluster + 4
    ]


def test_groups_of_unequal_size_are_worth_less_in_a_macro_average() -> None:
    asked = [
        item.model_copy(update={"group": "small" if i < 10 else "large"})
        for i, item in enumerate(items(100))
    ]
    of = task(aggregations=(Aggregation("macro", macro),))
    found = measured(side(set(), of=of, asked=asked), side({1, 50, 60}, of=of, asked=asked))
    assert found.design_effect > 2


def test_graded_values_vary_as_their_square() -> None:
    def half(sample: Any, text: str) -> Judgement:
        return Judgement(text, 0.5 if text == "wrong" else 1.0)

    of = task(scorers=(Scorer("official", 1, half, "these tests"),))
    found = measured(side(set(), of=of), side({1, 2, 3, 4}, of=of))
    assert found.rate == pytest.approx(4 * 0.25 / 100)
    assert found.interval is None


def test_the_order_of_the_runs_makes_no_difference() -> None:
    one, other = side({1, 2}), side({3})
    assert measured(one, other) == measured(other, one)


def test_another_scorer_is_another_measurement() -> None:
    strict = task(scorers=(exact(right="never"),))
    assert measured(side({1}, of=strict), side({2}, of=strict)).rate == 0
