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


_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_MARKUP = re.compile(r"[\\`*~#\[\]|]|_(?![A-Za-z0-9])|(?<![A-Za-z0-9])_")
_BLOCK = re.compile(r"^(\d*)(?=[.)](?:\s|$))|^(?=[-+](?:[-\s]|$)|=)")
_ADDRESS = re.compile(r"(https?|ftp)(?=://)|(www)(?=\.)", re.IGNORECASE)


def _plain(text: str) -> str:
    """Names come from files: neither markup nor HTML, lists and links included, may get through."""
    text = _MARKUP.sub(r"\\\g<0>", _rows.inert(text).strip())
    text = _ADDRESS.sub(r"\g<0>\\", _BLOCK.sub(r"\1\\", text))
    return re.sub(r"[&<>]", lambda found: _ENTITIES[found[0]], text)
