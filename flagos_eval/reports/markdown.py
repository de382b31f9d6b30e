"""For a release page or a pull request."""

from __future__ import annotations

import re

from tabulate import tabulate

from ..records import Comparison
from . import _rows

SUFFIXES = (".md",)


def render(comparison: Comparison) -> str:
    """The whole comparison as Markdown."""
    names = _rows.headers(comparison)[1:3]
    parts = [f"# {_plain(comparison.baseline)} and {_plain(comparison.candidate)}", ""]
    parts += [_plain(_rows.comparability(comparison)), ""]
    if comparison.comparable:
        parts += [_table(_rows.rows(comparison), _rows.headers(comparison)), ""]
        parts += [_rows.LEGEND, ""]
    parts += [
        "## Data health",
        "",
        _table(_rows.statuses(comparison), ["task", "status", *names]),
        "",
    ]
    parts += [f"- {_plain(note)}" for note in comparison.notes]
    parts += ["", _rows.NO_VERDICT]
    return "\n".join(parts) + "\n"


def _table(rows: list[list[str]], headers: list[str]) -> str:
    return tabulate(
        [[_plain(cell) for cell in row] for row in rows],
        headers=[_plain(h) for h in headers],
        tablefmt="github",
        disable_numparse=True,
    )


def _plain(text: str) -> str:
    """Names come from files: neither markup nor HTML may get through."""
    escaped = re.sub(r"([\\`*\[\]|<>])", r"\\\1", _rows.inert(text))
    return escaped.replace("\\<", "&lt;").replace("\\>", "&gt;")
