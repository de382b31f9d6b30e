"""Several comparisons at once, arm by arm: a row for each task and reference, in 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len
from tabulate import tabulate

from ..records import Comparison
from . import _rows

_WIDTH = 100
_LINE = 98
_TASK, _ARM = 22, 18
"""Columns of a name at most."""

_LEGEND = (
    "A row is a reference, a column a candidate: verdict, delta in points (candidate minus "
    "reference), items worth +more/-less. *: flagged CHANGED or NUMERICS_CHANGED, as compare "
    "explains."
)


def matrix(found: Mapping[tuple[str, str], Comparison]) -> str:
    """The table and what it means; empty if there is no comparison.

    Args:
        found: (reference arm, candidate arm) -> their comparison.
    """
    cells = {pair: _cells(comparison) for pair, comparison in found.items()}
    tasks = _rows.in_card_order(dict.fromkeys(task for held in cells.values() for task in held))
    rows = list(dict.fromkeys(one for one, _ in found))
    columns = list(dict.fromkeys(other for _, other in found))
    blocks = [_table(block, tasks, rows, cells) for block in _blocks(columns, tasks, rows, cells)]
    if not blocks:
        return ""
    legend = textwrap.fill(_LEGEND, _LINE, break_on_hyphens=False)
    return "\n\n".join([*blocks, legend]) + "\n"


_Cells = Mapping[tuple[str, str], Mapping[str, str]]


def _cells(comparison: Comparison) -> dict[str, str]:
    """Task -> what fits into a cell."""
    return {d.task: _cell(comparison, d.task) for d in comparison.differences}


def _cell(comparison: Comparison, task: str) -> str:
    row = next(r for r in _rows.rows(comparison) if r.difference and r.difference.task == task)
    assert row.difference is not None
    verdict = row.verdict.replace("_", " ") + ("*" if row.difference.flags else "")
    delta = row.difference.delta
    if delta is None or row.verdict == "NOT_COMPARABLE":
        return verdict  # what is no evidence is not shown as if it were
    return f"{verdict} {delta:+.2f} {row.flips}"


def _blocks(
    columns: Sequence[str], tasks: Sequence[str], rows: Sequence[str], cells: _Cells
) -> Iterator[list[str]]:
    """As many candidates side by side as fit."""
    block: list[str] = []
    for column in columns:
        lines = _table([*block, column], tasks, rows, cells).splitlines()
        if block and max(map(cell_len, lines)) > _WIDTH:
            yield block
            block = []
        block.append(column)
    if block:
        yield block


def _table(columns: Sequence[str], tasks: Sequence[str], rows: Sequence[str], cells: _Cells) -> str:
    lines = []
    for task in tasks:
        shown = _short(_rows.inert(task), _TASK)
        for row in rows:
            held = [cells.get((row, column), {}).get(task, "") for column in columns]
            if any(held):
                lines.append([shown, _short(row, _ARM), *held])
                shown = ""
    headers = ["task", "reference", *(_short(column, _ARM) for column in columns)]
    text = tabulate([headers, *lines], tablefmt="plain", disable_numparse=True)
    first, *rest = (line.rstrip() for line in text.splitlines())
    rule = "-" * max(map(cell_len, (first, *rest)))
    return "\n".join([first, rule, *rest])


def _short(name: str, width: int) -> str:
    """Both ends of a long name, which tell it from another one."""
    if cell_len(name) <= width:
        return name
    head, tail = name[: width // 2], name[-(width // 2 - 1) :]
    while cell_len(head) + cell_len(tail) + 1 > width:  # Chinese characters take two columns
        head, tail = head[:-1], tail[1:]
    return f"{head}…{tail}"
