"""What ``--flag-gems`` asks for."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from ..errors import UnknownName, UsageError

Mode = Literal["off", "all", "only", "not"]
_HINT = "--flag-gems off, all, only:mm,softmax or not:mm,softmax; a name may have * in it"
_NAME = re.compile(r"[A-Za-z_*?][\w*?]*", re.ASCII)
_SHOWN = 5


@dataclass(frozen=True)
class Selection:
    """Which operators are to be FlagGems'."""

    mode: Mode
    patterns: tuple[str, ...] = ()
    """Of ``only`` and ``not``: names of FlagGems' functions, ``*`` and ``?`` for any letters."""

    def __str__(self) -> str:
        return f"{self.mode}:{','.join(self.patterns)}" if self.patterns else self.mode

    def names(self, known: Collection[str], keys: Iterable[tuple[str, str]] = ()) -> list[str]:
        """The functions that the patterns name.

        Args:
            known: FlagGems' functions.
            keys: (torch's name of an operator, FlagGems' function) for a helpful message.

        Raises:
            UnknownName: a pattern names none: FlagGems would ignore it.
        """
        found: set[str] = set()
        for pattern in self.patterns:
            matching = set(fnmatch.filter(known, pattern))
            if not matching:
                raise _unknown(pattern, known, dict(keys))
            found |= matching
        return sorted(found)


def parse(text: str) -> Selection:
    """``only:mm,softmax`` -> a selection.

    Raises:
        UsageError: it is none.
    """
    mode, colon, rest = text.strip().partition(":")
    names = tuple(name.strip() for name in rest.split(",")) if colon else ()
    if mode in ("off", "all") and not colon:
        return Selection("off" if mode == "off" else "all")
    if mode in ("only", "not") and names and all(map(_NAME.fullmatch, names)):
        return Selection("only" if mode == "only" else "not", tuple(dict.fromkeys(names)))
    raise UsageError(f"--flag-gems {text!r} is no selection of operators", hint=_HINT)


def _unknown(pattern: str, known: Collection[str], keys: dict[str, str]) -> UnknownName:
    if pattern in keys:
        hint = f"that is torch's name; FlagGems' function is {keys[pattern]}"
    elif close := get_close_matches(pattern, known, n=_SHOWN):
        hint = f"did you mean {', '.join(close)}?"
    elif not known:
        hint = "its operators are not found in its source: --flag-gems all or off"
    else:
        hint = f"it has {len(known)} operators, such as {', '.join(sorted(known)[:_SHOWN])}"
    return UnknownName(f"the installed FlagGems has no operator {pattern!r}", hint=hint)
