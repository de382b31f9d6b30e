"""A file of arms says exactly what it means, or is refused with where and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagos_eval import arms_file
from flagos_eval.arms_file import ArmsFile, parse
from flagos_eval.config import RunConfig, combine
from flagos_eval.errors import FlagosEvalError, UnknownName, UsageError

TWO: dict[str, Any] = {"arms": {"native": {}, "gems": {"env": ["USE_FLAGGEMS=1"]}}}


def arms(*names: str, **tables: dict[str, Any]) -> dict[str, Any]:
    return {"arms": {**{name: {} for name in names}, **tables}}


def settings(file: ArmsFile, name: str) -> RunConfig:
    return combine({"file": file.settings(file.arm(name))}).config


# --- Settings -------------------------------------------------------------------------------------


def test_an_arm_has_what_is_common_and_its_own_counts() -> None:
    content = {"model": "m", "tensor-parallel": 2, "common": {"top_k": 5}}
    file = parse({**content, **arms("a", b={"tensor_parallel": 4})}, "x.toml")
    assert settings(file, "a") == RunConfig(model="m", tensor_parallel=2, top_k=5)
    assert settings(file, "b") == RunConfig(model="m", tensor_parallel=4, top_k=5)


def test_a_list_of_an_arm_replaces_the_common_one() -> None:
    file = parse({"env": ["A=1"], **arms("a", b={"env": ["B=2"]})}, "x.toml")
    assert settings(file, "b").env == ("B=2",)


def test_a_repetition_has_the_settings_of_what_it_repeats() -> None:
    file = parse(arms(a={"model": "m"}, again={"repeat-of": "a"}), "x.toml")
    assert settings(file, "again") == settings(file, "a") == RunConfig(model="m")


@pytest.mark.parametrize("name", sorted(set(RunConfig.model_fields) - {"name", "arm"}))
def test_every_setting_of_run_can_be_common_or_an_arms_own(name: str) -> None:
    value = combine({}).config.model_dump()[name]
    file = parse({name.replace("_", "-"): value, **arms("a", b={name: value})}, "x.toml")
    assert file.settings(file.arm("a")) == file.settings(file.arm("b")) == {name: value}


# --- What is compared -----------------------------------------------------------------------------


def test_every_arm_is_compared_with_the_first_and_with_the_one_before_it() -> None:
    file = parse(arms("cuda", "native", "gems"), "x.toml")
    assert file.baseline == "cuda"
    assert file.pairs == (("cuda", "native"), ("cuda", "gems"), ("native", "gems"))


def test_a_kept_run_is_the_baseline_wherever_it_stands() -> None:
    file = parse(arms("native", cuda={"reference": "c.json"}, gems={}), "x.toml")
    assert file.baseline == "cuda"
    assert file.pairs == (("cuda", "native"), ("cuda", "gems"), ("native", "gems"))


def test_a_baseline_can_be_named() -> None:
    file = parse({"baseline": "gems", **arms("native", "gems")}, "x.toml")
    assert file.pairs == (("gems", "native"),)


def test_a_repetition_is_noise_and_not_compared() -> None:
    file = parse(arms("a", "b", again={"repeat_of": "a"}), "x.toml")
    assert file.pairs == (("a", "b"),)


def test_pairs_can_be_named_and_a_repetition_among_them() -> None:
    content = {"compare": [["a", "again"]], **arms("a", "b", again={"repeat_of": "a"})}
    assert parse(content, "x.toml").pairs == (("a", "again"),)


def test_a_greatest_age_can_be_stated() -> None:
    assert parse({"reference-max-age": 30, **TWO}, "x.toml").max_age == 30
    assert parse(TWO, "x.toml").max_age is None


# --- Refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "[arms] must be a table"),
        ({"arms": {"a": 1}}, "[arms.a] must be a table"),
        ({"common": 3, **TWO}, "[common] must be a table"),
        (arms("a"), "two arms or more"),
        (arms(a={"reference": "x"}, b={"reference": "y"}), "nothing to run"),
        ({"temprature": 0, **TWO}, "x.toml: there is no setting 'temprature'"),
        (arms("a", b={"modell": "x"}), "[arms.b]: there is no setting 'modell'"),
        (arms("a", b={"name": "x"}), "a run is named as its arm"),
        ({"arm": "x", **TWO}, "a run is named as its arm"),
        ({"top-k": 1, "top_k": 2, **TWO}, "'top_k' is there twice"),
        ({"top-k": 1, "common": {"top_k": 2}, **TWO}, "'top_k' is there twice"),
        (arms("a", b={"top-k": 1, "top_k": 2}), "[arms.b]: 'top_k' is there twice"),
        (arms("a", b={"repeat_of": "a", "seed": 1}), "leave 'seed' out"),
        (arms("a", b={"reference": "r", "model": "m"}), "leave 'model' out"),
        (arms("a", b={"reference": 1}), "reference = 1: a name"),
        (arms("a", b={"repeat_of": ""}), "repeat_of = '': a name"),
        (arms("a", b={"repeat_of": "a"}, c={"repeat_of": "b"}), "which is a repetition"),
        (arms("a", b={"reference": "r"}, c={"repeat_of": "b"}), "give its run too"),
        (arms("a", "b-vs-c"), "'b-vs-c' cannot name an arm"),
        (arms("a", "../b"), "'../b' cannot name an arm"),
        (arms("a", ""), "'' cannot name an arm"),
        ({"baseline": 1, **TWO}, "baseline = 1: the name of an arm"),
        ({"compare": [], **TWO}, "a list of pairs"),
        ({"compare": ["native"], **TWO}, "is no pair"),
        ({"compare": [["native"]], **TWO}, "is no pair"),
        ({"compare": [["native", "native"]], **TWO}, "an arm and itself"),
        ({"compare": [["native", "gems"], ["native", "gems"]], **TWO}, "there twice"),
        ({"reference-max-age": 0, **TWO}, "a number of days"),
        ({"reference-max-age": True, **TWO}, "a number of days"),
        ({"reference-max-age": "long", **TWO}, "a number of days"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(content: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(content, "x.toml")
    assert caught.value.message.startswith("x.toml") and said in caught.value.message


@pytest.mark.parametrize(
    "content",
    [
        {"baseline": "nativ", **TWO},
        {"compare": [["nativ", "gems"]], **TWO},
        arms("native", again={"repeat_of": "nativ"}),
    ],
)
def test_an_arm_that_is_not_there_is_named_with_the_nearest(content: dict[str, Any]) -> None:
    with pytest.raises(UnknownName, match="no arm 'nativ'; did you mean 'native'"):
        parse(content, "x.toml")


def test_what_is_no_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("tasks = [\n[arms.a]\n")
    with pytest.raises(UsageError, match=r"x\.toml is not TOML: .*line"):
        arms_file.read(path)


_WORDS = st.sampled_from(
    ["a", "b", "arms", "model", "top-k", "top_k", "repeat_of", "reference", ""]
)
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | _WORDS
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=8,
)


@given(
    top=st.dictionaries(
        _WORDS | st.sampled_from(["common", "baseline", "compare", "reference-max-age"]),
        _VALUES,
        max_size=4,
    ),
    tables=st.dictionaries(_WORDS, st.dictionaries(_WORDS, _VALUES, max_size=3), max_size=3),
)
def test_any_content_is_a_sound_file_or_is_refused(
    top: dict[str, Any], tables: dict[str, Any]
) -> None:
    try:
        file = parse({**top, "arms": tables}, "x.toml")
    except FlagosEvalError as error:
        assert isinstance(error, UsageError)
        return
    names = {arm.name for arm in file.arms}
    assert len(file.arms) >= 2 and file.baseline in names
    assert all(one in names and other in names and one != other for one, other in file.pairs)
    assert len(set(file.pairs)) == len(file.pairs)


@given(st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), min_size=2, max_size=6, unique=True))
def test_without_being_told_no_arm_is_left_out_and_no_pair_comes_twice(names: list[str]) -> None:
    pairs = parse(arms(*names), "x.toml").pairs
    assert {name for pair in pairs for name in pair} == set(names)
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)
