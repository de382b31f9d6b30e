"""Keeping keys out of files and logs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL")
HIDDEN = "(hidden)"


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret; its value must then not reach a file."""
    return any(word in name.upper() for word in _WORDS)


def redact(text: str) -> str:
    """A text without the values of this process's secret variables."""
    for name, value in os.environ.items():
        # Very short values would blank out ordinary text.
        if is_secret(name) and len(value) >= 6:
            text = text.replace(value, HIDDEN)
    return text


def redact_command(command: Iterable[str]) -> tuple[str, ...]:
    """A command line without secrets, also those passed on with ``NAME=value``."""
    shown = []
    for argument in command:
        head, separator, _ = argument.partition("=")
        hide = bool(separator) and is_secret(head)
        shown.append(f"{head}={HIDDEN}" if hide else redact(argument))
    return tuple(shown)


def redact_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment variables with the values of secret ones hidden."""
    return {
        name: HIDDEN if is_secret(name) else redact(value)
        for name, value in sorted(variables.items())
    }
