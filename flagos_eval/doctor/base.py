"""What a check is given and what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..config import RunConfig
from ..platforms.base import Platform
from ..redact import redact

State = Literal["ok", "failed", "not_checked"]


@dataclass(frozen=True)
class Finding:
    """One check's outcome."""

    name: str
    state: State
    detail: str
    fix: str | None = None
    """What to do; only of a check that failed."""

    def record(self) -> dict[str, str | None]:
        """For ``--json``."""
        return asdict(self)


@dataclass(frozen=True)
class Patient:
    """What is checked: the settings of the run to come, and where it goes."""

    config: RunConfig
    platform: Platform
    output: Path
    api_key: str | None = None
    judge_key: str | None = None

    @property
    def python(self) -> str:
        """The server's interpreter."""
        return self.config.server_python or sys.executable

    @property
    def starts(self) -> str | None:
        """The launcher that would start a server of an engine; None if none is started here."""
        launcher = self.config.launcher
        return launcher if launcher not in (None, "external", "embedded") else None


def ok(name: str, detail: str) -> Finding:
    """A check that passed."""
    return Finding(name, "ok", detail)


def skipped(name: str, why: str) -> Finding:
    """A check that was not made."""
    return Finding(name, "not_checked", why)


def call(command: list[str], timeout: float, **extra: str) -> subprocess.CompletedProcess[str]:
    """A program's outcome; status 124 if it did not end in time, 127 if it is not there."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False,
            stdin=subprocess.DEVNULL, env={**os.environ, **extra},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"not done after {timeout:g} s")
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]}: {error.strerror}")


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """The last thing that a program said, where errors are."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return redact(lines[-1], 300) if lines else f"status {done.returncode}"
