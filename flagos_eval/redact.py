"""Keeping keys out of files and logs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

# Not "max_tokens", "tokenizer" or "keyboard": what decides an answer has to stay on record.
_SECRET = re.compile(r"(?:KEYS?|TOKEN)(?![A-Z])|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/\s@]+(?=@)")
HIDDEN = "(hidden)"


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret; its value must then not reach a file."""
    return _SECRET.search(name) is not None


def redact(text: str) -> str:
    """A text without logins in addresses and the values of this process's secret variables."""
    # Very short values would blank out ordinary text. Longest first: one may begin another.
    secrets = {value for name, value in os.environ.items() if is_secret(name) and len(value) >= 6}
    for value in sorted(secrets, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return _LOGIN.sub(HIDDEN, text)


def redact_command(command: Iterable[str]) -> tuple[str, ...]:
    """A command line without secrets, also ``NAME=value`` and ``--api-key value``."""
    shown: list[str] = []
    flag = ""
    for argument in command:
        follows = is_secret(flag) and not argument.startswith("-")
        shown.append(HIDDEN if follows else _redact_argument(argument))
        flag = argument if argument.startswith("-") and "=" not in argument else ""
    return tuple(shown)


def _redact_argument(argument: str) -> str:
    names = argument.split("=")[:-1]  # of --env=HF_TOKEN=value the second is the one
    for index, name in enumerate(names, 1):
        if is_secret(name):
            return redact("=".join(names[:index])) + f"={HIDDEN}"
    return redact(argument)


def redact_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment variables with the values of secret ones hidden."""
    return {
        name: HIDDEN if is_secret(name) else redact(value)
        for name, value in sorted(variables.items())
    }
