"""The table of ``docs/security.md`` is that of the targets, and each names a function that is."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from tabulate import tabulate

from .found import FOUND
from .targets import TARGETS, Target

PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"
BEGIN, END = "<!-- table: tests/fuzz/targets.py -->\n", "\n<!-- end -->"
HEADERS = ["target", "input", "parser", "who can write it", "limits", "beyond, or no such input"]


def table() -> str:
    """All targets, as Markdown."""
    rows = [(t.name, t.input, f"`{t.parser}`", t.writer, t.limits, t.beyond) for t in TARGETS]
    return tabulate(rows, headers=HEADERS, tablefmt="github", disable_numparse=True)


def test_the_page_has_the_table_of_the_targets(pytestconfig: pytest.Config) -> None:
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    shown, _, tail = rest.partition(END)
    if pytestconfig.getoption("--security-table"):
        PAGE.write_text(f"{head}{BEGIN}{table()}{END}{tail}", "utf-8")
    else:
        assert shown == table(), "pytest tests/fuzz/test_table.py --security-table writes it"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_parser_of_a_target_exists(target: Target) -> None:
    module, _, name = f"flagos_eval.{target.parser}".rpartition(".")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:  # a method: its class comes before it
        module, _, of = module.rpartition(".")
        found = getattr(importlib.import_module(module), of)
    assert hasattr(found, name)


def test_no_two_targets_have_a_name_in_common() -> None:
    assert len({target.name for target in TARGETS}) == len(TARGETS)


def test_what_was_found_is_of_a_target() -> None:
    assert FOUND.keys() <= {target.name for target in TARGETS}
