"""What FlagGems an interpreter has, read from its files.

Importing FlagGems imports torch, touches a device and fails where there is none; the names of its
operators are in its source."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCRIPT = Path(__file__).with_name("_installed.py")
MARK = "FLAGOS_EVAL_FLAG_GEMS "
_TIMEOUT = 120.0


@dataclass(frozen=True)
class Installed:
    """What switches operators in an interpreter."""

    version: str | None = None
    """Of FlagGems; None if it is not there."""
    functions: frozenset[str] = frozenset()
    """What ``only:`` and ``not:`` name."""
    keys: tuple[tuple[str, str], ...] = ()
    """(torch's name of an operator, FlagGems' function)."""
    plugin: str | None = None
    """Version of vllm-plugin-FL; None if it is not there."""
    plugin_left_out: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(platform, operators that the plugin leaves out there by itself)."""


def script() -> str:
    """The program that prints what its interpreter has, for ``python -c``."""
    return _SCRIPT.read_text("utf-8")


def parse(output: str) -> Installed | None:
    """What the program printed; None if it did not get that far, or printed something else."""
    found = re.search(rf"(?m)^{MARK}(.*)$", output)
    if found is None:
        return None
    try:
        said: dict[str, Any] = json.loads(found[1])
        return Installed(
            version=_text(said["version"]),
            functions=frozenset(str(function) for _, function in said["operators"]),
            keys=tuple((str(key), str(function)) for key, function in said["operators"]),
            plugin=_text(said["plugin"]),
            plugin_left_out=tuple(
                (platform, tuple(map(str, names)))
                for platform, names in sorted(said["left_out"].items())
            ),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def of(python: str | None) -> Installed:
    """What an interpreter has, by default this one; nothing if it cannot be asked."""
    try:
        done = subprocess.run(
            [python or sys.executable, "-c", script()],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return Installed()
    return parse(done.stdout) or Installed()
