"""Token by token: where answers part, what is a near-tie, and what is more than rounding."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest
from factories import run
from hypothesis import given
from hypothesis import strategies as st

from flagos_eval import logprobs, store
from flagos_eval.errors import CorruptFile
from flagos_eval.logprobs import Token, Trace
from flagos_eval.records import StoredFile, Tokens, sha256_hex
from flagos_eval.verdict.tokens import FLOOR, part, tokens


def trace(*entries: tuple[str, float] | tuple[str, float, dict[str, float]]) -> Trace:
    return tuple(Token(e[0], e[1], e[2] if len(e) > 2 else {}) for e in entries)


RED = trace(("red", -0.1, {"red": -0.1, "blue": -0.4}), (".", -0.2))
BLUE = trace(("blue", -0.3, {"blue": -0.3, "red": -0.35}), (".", -0.2))


def test_equal_answers_do_not_part() -> None:
    found = part("1", RED, RED)
    assert (found.prefix, found.gap) == (2, None)
    assert found.differences == (0.0, 0.0)


def test_where_answers_part_the_larger_preference_counts() -> None:
    found = part("1", RED, BLUE)
    assert found.prefix == 0
    assert found.gap == pytest.approx(0.3)  # the reference: -0.1 against -0.4


def test_a_choice_that_the_other_side_did_not_report_is_no_near_tie() -> None:
    assert part("1", RED, trace(("green", -0.1, {}))).gap == math.inf


def test_an_answer_that_goes_on_parts_where_the_other_ends() -> None:
    found = part("1", RED, (*RED, *BLUE))
    assert (found.prefix, found.gap) == (2, math.inf)


def shifted(by: float, n: int = 60, *, sign: int = 1) -> list[tuple[Trace, Trace, str]]:
    """`n` equal answers whose log-probabilities differ by `by`, both ways or one."""
    pairs = []
    for i in range(n):
        way = sign if sign else (1 if i % 2 else -1)
        spread = by * (0.9 + 0.2 * (i % 5) / 4)
        one = trace(("a", -0.5), ("b", -0.6))
        other = trace(("a", -0.5 + way * spread), ("b", -0.6 + way * spread))
        pairs.append((one, other, str(i)))
    return pairs


def found(
    between: list[tuple[Trace, Trace, str]], within: list[tuple[Trace, Trace, str]] | None = None
) -> Tokens:
    clusters = {id: id for _, _, id in between}
    made = tokens(between, within or [], clusters=clusters, pixels={}, alpha=0.05)
    assert made is not None
    return made


def test_without_a_second_run_of_a_side_nothing_is_tested() -> None:
    made = found(shifted(0.02, sign=0))
    assert (made.p_value, made.calibrated) == (None, False)
    assert "cannot be told from noise" in made.reading


def test_rounding_that_a_side_shows_against_itself_is_rounding() -> None:
    made = found(shifted(0.005, sign=0), shifted(0.005, sign=0))
    assert made.p_value is not None
    assert made.p_value > 0.5
    assert made.reading.endswith("This looks like rounding.")


def test_differences_beyond_the_noise_floor_are_found() -> None:
    made = found(shifted(0.02, sign=0), shifted(1e-6, sign=0))
    assert made.p_value is not None
    assert made.p_value < 1e-6
    assert "more than a side differs from itself" in made.reading


def test_a_difference_below_the_rounding_of_bfloat16_is_no_sign() -> None:
    made = found(shifted(FLOOR / 2, sign=0), shifted(0.0))
    assert made.p_value is not None
    assert made.p_value > 0.5


def test_a_difference_that_leans_one_way_is_said() -> None:
    made = found(shifted(0.02), shifted(0.02, sign=0))
    assert made.mean_difference == pytest.approx(0.02, rel=0.1)
    assert "they lean one way (+0.02)" in made.reading


def test_the_threshold_of_near_ties_comes_from_the_side_itself() -> None:
    own = [(RED, BLUE, str(i)) for i in range(40)]
    made = found([(RED, trace(("green", -0.1, {})), str(i)) for i in range(40)], own)
    assert made.calibrated
    assert made.threshold == pytest.approx(0.3)
    assert (made.diverged, made.near_ties) == (40, 0)
    assert made.p_value is not None
    assert made.p_value < 1e-6
    assert "most partings are no near-ties" in made.reading


def test_differences_are_shown_by_position_and_picture_size() -> None:
    between = shifted(0.02, 40)
    made = tokens(
        between,
        [],
        clusters={id: id for _, _, id in between},
        pixels={id: 100 if int(id) < 20 else 100_000 for _, _, id in between},
        alpha=0.05,
    )
    assert made is not None
    assert [(name, count) for name, count, _ in made.by_position] == [("0", 40), ("1-3", 40)]
    assert [(name, count) for name, count, _ in made.by_image_size] == [
        ("1-65535", 40),
        ("65536-262143", 40),
    ]


def test_no_answers_are_no_evidence() -> None:
    assert tokens([((), (), "1")], [], clusters={}, pixels={}, alpha=0.05) is None


TRACE = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(-20, 0)).map(lambda e: trace(e)[0]), max_size=6
).map(tuple)


@given(TRACE, TRACE)
def test_swapping_the_sides_mirrors_the_differences(one: Trace, other: Trace) -> None:
    there, back = part("1", one, other), part("1", other, one)
    assert (there.prefix, there.gap) == (back.prefix, back.gap)
    assert there.differences == tuple(-d for d in back.differences)


# --- Reading --------------------------------------------------------------------------------------


def kept(folder: Path, *lines: object) -> Path:
    """A run with one answer whose log-probabilities are the first line."""
    data = gzip.compress("".join(f"{json.dumps(line)}\n" for line in lines).encode())
    (folder / "run.logprobs.jsonl.gz").write_bytes(data)
    file = StoredFile(kind="logprobs", path="run.logprobs.jsonl.gz", sha256=sha256_hex(data))
    made = run(["0"])
    answers = tuple(r.model_copy(update={"logprobs_line": 0}) for r in made.responses)
    path = folder / "run.json"
    store.save(made.model_copy(update={"files": (file,), "responses": answers}), path)
    return path


def test_log_probabilities_are_read_back_by_item(tmp_path: Path) -> None:
    path = kept(tmp_path, {"tokens": [["a", -0.5, [["a", -0.5], ["b", -2]]]]})
    traces = logprobs.read(store.load(path), path, "sums")
    assert traces == {"0": (Token("a", -0.5, {"a": -0.5, "b": -2.0}),)}


@pytest.mark.parametrize(
    "line",
    [
        {},
        5,
        {"tokens": [1]},
        {"tokens": [["a", "x", []]]},
        {"tokens": [["a", float("nan"), []]]},
        {"tokens": [["a", -0.5, [["b", float("-inf")]]]]},
        {"tokens": [["a", 10**400, []]]},
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: object) -> None:
    path = kept(tmp_path, line)
    with pytest.raises(CorruptFile, match="line 1 is damaged"):
        logprobs.read(store.load(path), path, "sums")


def test_a_run_that_kept_none_has_none(tmp_path: Path) -> None:
    assert logprobs.read(run(["0"]), tmp_path / "run.json", "sums") == {}
