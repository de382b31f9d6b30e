"""Several comparisons on one screen."""

from __future__ import annotations

import datetime
from itertools import pairwise

import pytest
from factories import rebuilt, run, task
from rich.cells import cell_len

from flagos_eval import policy
from flagos_eval.comparing import Inputs, compare
from flagos_eval.records import Comparison, Usage
from flagos_eval.reports._matrix import matrix

RIGHT = [str(i) for i in range(40)]


def compared(answers: list[str], name: str = "sums") -> Comparison:
    """A reference that is right throughout, against a candidate with these answers."""
    of = task(name)
    held = policy.LoadedPolicy(
        policy=policy.parse(
            {
                **{"policy": 1, "name": "p", "alpha": 0.05, "max_error_rate": 0.005},
                "tasks": {name: {"tier": "critical", "margin": 20}},
            },
            "p",
        ),
        sha256="0" * 64,
        source="p",
    )
    used = Usage(prompt_tokens=5, completion_tokens=1)
    other = rebuilt(run(answers, of=of, usage=used), id="r2")
    return compare(run(RIGHT, of=of, usage=used), other, Inputs(held, datetime.date(2026, 1, 1)))


def lines(text: str) -> list[str]:
    return text.partition("\n\n")[0].splitlines()


def test_a_cell_says_verdict_delta_and_flips_of_its_pair() -> None:
    worse = ["wrong"] * 30 + RIGHT[30:]
    text = matrix({("native", "gems"): compared(RIGHT), ("native", "rope"): compared(worse)})
    header, _, row = lines(text)
    assert header.split() == ["task", "reference", "gems", "rope"]
    assert row.split()[:2] == ["sums", "native"]
    assert "CONSISTENT +0.00 +0/-0" in row and "-75.00 +0/-30" in row and "DRIFT" in row


def test_a_pair_that_was_not_compared_is_an_empty_cell() -> None:
    found = {("a", "b"): compared(RIGHT), ("b", "zz"): compared(RIGHT)}
    header, _, first, second = lines(matrix(found))
    assert first.rstrip().endswith("+0/-0") and len(first) < header.index("zz")
    assert second[: header.index("zz")].split() == ["b"]


def test_what_is_not_comparable_has_no_numbers() -> None:
    one = compared(RIGHT)
    changed = one.differences[0].model_copy(update={"verdict": "NOT_COMPARABLE"})
    text = matrix({("a", "b"): one.model_copy(update={"differences": (changed,)})})
    assert lines(text)[-1].split() == ["sums", "a", "NOT", "COMPARABLE"]


def test_a_flag_is_marked() -> None:
    one = compared(RIGHT)
    changed = one.differences[0].model_copy(update={"flags": ("NUMERICS_CHANGED",)})
    text = matrix({("a", "b"): one.model_copy(update={"differences": (changed,)})})
    assert "CONSISTENT* +0.00" in text and "NUMERICS_CHANGED" in text


@pytest.mark.parametrize("arms", [3, 7, 12])
@pytest.mark.parametrize("name", ["x", "a-name-as-long-as-an-arm-may-have-it-----"])
def test_any_number_of_arms_fits_into_100_columns(arms: int, name: str) -> None:
    names = [f"{name}{i}" for i in range(arms)]
    found = {pair: compared(RIGHT, "很长的任务名" * 4) for pair in pairwise(names)}
    text = matrix(found)
    assert max(map(cell_len, text.splitlines())) <= 100
    assert text.count("CONSISTENT +0.00") == arms - 1


def test_without_comparisons_there_is_nothing() -> None:
    assert matrix({}) == ""
