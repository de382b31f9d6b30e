"""Whatever happens to a run: one sentence, the right exit code, nothing lost, the same scores."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flagos_eval.records import Run

from . import SCENARIOS
from .place import Place
from .scenario import Scenario, play

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "fault-matrix.md"
CASES = [pytest.param(s, id=s.name, marks=() if s.fast else pytest.mark.faults) for s in SCENARIOS]


@pytest.mark.parametrize("scenario", CASES)
def test_a_run_survives(
    scenario: Scenario, place: Place, undisturbed: Run, request: pytest.FixtureRequest
) -> None:
    outcome = play(scenario, place, undisturbed)
    table = request.config.pluginmanager.get_plugin("fault-table")
    if table is not None:
        table.outcomes[outcome.name] = outcome


def test_the_documents_list_every_scenario(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--fault-table"):
        pytest.skip("the table is being written")
    listed = re.findall(r"^\| (.*?) +\|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert listed[1:] == [scenario.name for scenario in SCENARIOS]


def test_scenarios_have_names_of_their_own() -> None:
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
