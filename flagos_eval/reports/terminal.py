"""For a terminal: within 100 columns, plain characters."""

from __future__ import annotations

from rich.cells import cell_len
from tabulate import tabulate

from ..records import Comparison
from . import _rows

SUFFIXES = (".txt",)

_TASK, _NAME, _LINE = 18, 12, 98
"""Columns of a task, of a run's name above its numbers, and of a line of text."""


def render(comparison: Comparison) -> str:
    """The whole comparison as text."""
    lines = [_wrap(_rows.comparability(comparison), _LINE), ""]
    if comparison.comparable:
        headers = [_wrap(_brief(header), _NAME) for header in _rows.headers(comparison)]
        rows = [[_wrap(task, _TASK), *numbers] for task, *numbers in _rows.rows(comparison)]
        lines += [*_table([headers, *rows]), "", _wrap(_rows.LEGEND, _LINE)]
    else:
        lines.append("No differences are shown: they would not be evidence.")
    lines += [_wrap(f"note: {_rows.inert(note)}", _LINE) for note in comparison.notes]
    lines += ["", _rows.NO_VERDICT]
    return "\n".join(lines) + "\n"


def _brief(name: str) -> str:
    """Both ends of a long name, which tell it from another one, in three lines of a header."""
    return name if len(name) <= 3 * _NAME else f"{name[:_NAME]}…{name[1 - 2 * _NAME :]}"


def _table(rows: list[list[str]]) -> list[str]:
    """Lines of a table whose cells may have several lines; numbers are to the right.

    The header goes in as a row: tabulate would pad it by two columns, for which there is no room.
    """
    shown = tabulate(
        rows,
        tablefmt="plain",
        colalign=["left"] + ["right"] * (len(rows[0]) - 1),
        disable_numparse=True,
    )
    lines = [line.rstrip() for line in shown.splitlines()]
    height = max(cell.count("\n") + 1 for cell in rows[0])
    rule = "-" * max(map(cell_len, lines))
    return [*lines[:height], rule, *lines[height:]]


def _wrap(text: str, width: int) -> str:
    """Lines of at most `width` columns; Chinese characters take two."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if cell_len(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return "\n".join(lines)
