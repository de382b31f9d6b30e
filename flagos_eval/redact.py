"""Keeping keys out of files, logs and the process list."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping

# Not "max_tokens", "tokenizer" or "keyboard": what decides an answer has to stay on record.
_SECRET = re.compile(
    r"(?:KEYS?|TOKEN)(?![A-Z])|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|AUTHORIZATION",
    re.IGNORECASE,
)
# To the last @ before the path: a password may hold one that nobody escaped.
_LOGIN = re.compile(r"(?<=://)[^/\s]+(?=@)")
_BEARER = re.compile(
    r"(?:(?<=\bBearer )|(?<=\bAuthorization: Basic ))[\w.~+/=-]{6,}", re.IGNORECASE
)
_MEMBER = re.compile(r"""(["'])([\w.-]+)\1\s*:\s*(["'])(?P<value>(?:\\.|(?!\3).)*)\3""")
"""``"name": "value"``, as JSON and Python write it."""
HIDDEN = "(hidden)"
SHORTEST = 6
"""Characters of a value that is hidden wherever it is: a shorter one would blank out ordinary
text."""


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret; its value must then not reach a file."""
    return _SECRET.search(name) is not None


def secret_values(variables: Mapping[str, str]) -> tuple[str, ...]:
    """The values of secret variables, the longest first: one may begin another."""
    found = {v for name, v in variables.items() if is_secret(name) and len(v) >= SHORTEST}
    return tuple(sorted(found, key=len, reverse=True))


def redact(text: str, limit: int | None = None, *, also: Iterable[str] = ()) -> str:
    """A text without logins in addresses, bearer tokens, and the values of this process's secret
    variables.

    Args:
        text: What somebody else said: a server, a tool, a log, an exception.
        limit: Characters to keep. They are cut last: half a key would not be known as one.
        also: Further values to hide, the longest first: those of another process.
    """
    for value in (*also, *secret_values(os.environ)):
        text = text.replace(value, HIDDEN)
    return _BEARER.sub(HIDDEN, _LOGIN.sub(HIDDEN, text))[:limit]


def redact_command(command: Iterable[str]) -> tuple[str, ...]:
    """A command line without secrets, also ``NAME=value`` and ``--api-key value``, and those in a
    command line that is one argument, as a shell's is."""
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
        if is_secret(name) and not re.search(r"\s", name):
            return redact("=".join(names[:index])) + f"={HIDDEN}"
    return redact(_MEMBER.sub(_redact_member, _redact_words(argument)))


def _redact_words(argument: str) -> str:
    """An argument of several words, as it is unless one of them is a secret."""
    try:
        words = shlex.split(argument)
    except ValueError:  # a quotation mark without its other half
        words = argument.split()
    if len(words) < 2:
        return argument
    shown = redact_command(words)
    return argument if list(shown) == [redact(word) for word in words] else " ".join(shown)


def _redact_member(found: re.Match[str]) -> str:
    if not is_secret(found[2]):
        return found[0]
    start, end = found.span("value")
    return found[0][: start - found.start()] + HIDDEN + found[0][end - found.start() :]


def redact_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment variables with the values of secret ones hidden, and secrets within values, as
    in ``FLAGOS_EVAL_ENV="HF_TOKEN=value"``."""
    return {
        name: HIDDEN if is_secret(name) else _redact_argument(value)
        for name, value in sorted(variables.items())
    }
