"""The table of targets: what holds, and what makes a check fail."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def targets(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, which finds the others as a script does."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import targets

    return targets


def check(
    targets: ModuleType, monkeypatch: pytest.MonkeyPatch, option: str, unit: str, value: float
) -> int:
    """The exit status with one figure whose limit is 2."""
    figure = targets.Target("it", (value,), unit, 2.0)
    monkeypatch.setattr(targets, "every_target", lambda rounds: iter([figure]))
    monkeypatch.setattr(sys, "argv", ["targets.py", option])
    status: int = targets.main()
    return status


@pytest.mark.parametrize("values", [(1.0, 2.0, 9.0), (2.0,)])
def test_the_median_counts(targets: ModuleType, values: tuple[float, ...]) -> None:
    assert targets.Target("it", values, "times", 2.0).holds


def test_a_lower_limit_is_one(targets: ModuleType) -> None:
    assert not targets.Target("it", (1.9,), "times", 2.0, least=True).holds


@pytest.mark.parametrize(
    ("option", "unit", "value", "status"),
    [
        ("--check", "times", 3.0, 1),
        ("--check", "MB", 3.0, 1),
        ("--check", "times", 1.0, 0),
        ("--check", "s", 3.0, 0),
        ("--check=all", "s", 3.0, 1),
    ],
)
def test_a_check_fails_on_a_ratio_and_on_request_on_a_time(
    targets: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    unit: str,
    value: float,
    status: int,
) -> None:
    assert check(targets, monkeypatch, option, unit, value) == status


def test_a_line_says_what_was_measured_and_whether_it_holds(targets: ModuleType) -> None:
    line = targets.row(targets.Target("it", (1.0, 3.0, 5.0), "times", 2.0))
    assert line == "| it | 3.00 (1.00-5.00) | times | at most 2 | FAILS |"
