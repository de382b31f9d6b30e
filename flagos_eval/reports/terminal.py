"""For a terminal: within 100 columns, plain characters."""

from __future__ import annotations

import textwrap

from tabulate import tabulate

from ..records import Comparison
from . import _rows

SUFFIXES = (".txt",)


def render(comparison: Comparison) -> str:
    """The whole comparison as text."""
    lines = [_wrap(_rows.comparability(comparison)), ""]
    if comparison.comparable:
        table = tabulate(
            _rows.rows(comparison),
            headers=[_rows.inert(h) for h in _rows.headers(comparison)],
            colalign=["left"] + ["right"] * 8,
            disable_numparse=True,
            maxheadercolwidths=14,
        )
        lines += [
            table,
            "",
            _wrap(_rows.LEGEND),
        ]
    else:
        lines.append("No differences are shown: they would not be evidence.")
    lines += [_wrap(f"note: {_rows.inert(note)}") for note in comparison.notes]
    lines += ["", _rows.NO_VERDICT]
    return "\n".join(lines) + "\n"


def _wrap(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 98)) or ""
