"""Foreign text that is shown."""

from __future__ import annotations

import unicodedata


def inert(text: str) -> str:
    """Foreign text for a terminal or a table: no control characters, which could act on it."""
    return "".join(c if c.isprintable() else _replaced(c) for c in text)


def inert_lines(text: str) -> str:
    """Foreign text of several lines, each as `inert` has it, tabs as spaces."""
    return "\n".join(inert(line) for line in text.expandtabs(4).split("\n"))


def _replaced(character: str) -> str:
    return " " if unicodedata.category(character) == "Zs" else "�"  # Zs: as the wide Chinese space
