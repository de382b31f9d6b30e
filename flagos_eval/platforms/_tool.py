"""A platform that is recognised by what its vendor's tool prints.

A tool's name proves nothing: two vendors ship an ``xpu-smi``, and ``torch.cuda.is_available()`` is
true on metax, iluvatar, hygon and kunlunxin. So a platform is its tool *and* that tool's banner.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..records import Fact
from ..redact import redact
from .cpu import host_facts

_TIMEOUT = 20.0
"""Seconds that a tool may take: a wedged driver must not hang the run."""
_MAX_OUTPUT = 32_768
_VERSION = r"""(?ix) ^\s* v?(\d[\w.+-]*) \s*$ | version\w*"?\s*[=:]\s*["\[]?\s* v?(\d[\w.+-]*)"""
"""A file that is a version and nothing else, or the first version that one names."""


@dataclass(frozen=True)
class ToolRun:
    """One call of a vendor's tool, as it was."""

    command: tuple[str, ...]
    status: int | None
    """None if it did not end in time or could not be started."""
    output: str

    def record(self) -> dict[str, str | int | list[str] | None]:
        """For a fact."""
        return {
            "command": list(self.command),
            "status": self.status,
            "output": redact(self.output, _MAX_OUTPUT),
        }


def run_tool(command: tuple[str, ...], folders: tuple[str, ...] = ()) -> ToolRun | None:
    """Call a tool that is on the path, or in one of `folders`; None if it is nowhere."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *folders))
    found = shutil.which(command[0], path=path)
    if found is None:
        return None
    try:
        process = subprocess.Popen(
            [found, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError as error:
        return ToolRun(command, None, f"cannot be started: {error.strerror}")
    try:
        output, _ = process.communicate(timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        assert process.stdout is not None
        process.stdout.close()
        with suppress(subprocess.TimeoutExpired):  # a process stuck in the driver does not end
            process.wait(1)
        return ToolRun(command, None, f"did not end within {_TIMEOUT:g} s")
    return ToolRun(command, process.returncode, output.decode("utf-8", "replace"))


@dataclass(frozen=True)
class ToolPlatform:
    """A platform and how its vendor's tool is read. Patterns have one group, the value."""

    name: str
    title: str
    """As people call it."""
    tools: tuple[str, ...]
    """Names of the tool, the usual one first."""
    banner: str
    """A pattern in what the tool prints with no argument but `call`; nobody else prints it."""
    visible_devices: str
    docker_flags: tuple[str, ...]
    call: tuple[str, ...] = ()
    """Arguments of the first call."""
    further: tuple[tuple[str, ...], ...] = ()
    """Arguments of calls that tell more."""
    driver: str = ""
    device: str = ""
    sdk: str = ""
    sdk_name: str = ""
    sdk_files: tuple[str, ...] = ()
    """Files that hold the kit's version, with ``$VARIABLES`` and ``*``, tried in this order."""
    folders: tuple[str, ...] = ()
    """Where vendors install the tool without putting it on the path."""
    torch_tags: tuple[str, ...] = ()
    """What the vendor's torch has after the ``+`` of its version, as ``metax3.0.0.3``."""

    def detect(self) -> bool:
        """Whether a tool of this vendor answers with its banner."""
        return self._first() is not None

    def facts(self) -> tuple[Fact, ...]:
        """Platform, driver, kit, devices, the visible-devices variable, and the tool's words.

        A value that the tool does not show has no fact.
        """
        first = self._first()
        if first is None:
            return ()
        runs = [first]
        for arguments in self.further:
            run = run_tool((first.command[0], *arguments), self.folders)
            if run is not None:
                runs.append(run)
        text = "\n".join(run.output for run in runs)
        sdk = _first_group(self.sdk, text) or self._sdk_from_files()
        found: dict[str, object] = {
            "host:platform": self.name,
            "host:driver": _first_group(self.driver, text),
            "host:sdk": f"{self.sdk_name} {sdk}" if sdk else None,
            "host:devices": _groups(self.device, text),
            "host:visible_devices": _variable(self.visible_devices),
            "host:tool": [run.record() for run in runs],
        }
        seen = tuple(
            Fact.model_validate(
                {"name": name, "value": value, "source": "client", "verified": True}
            )
            for name, value in found.items()
            if value
        )
        return (*seen, *host_facts())

    def _first(self) -> ToolRun | None:
        for tool in self.tools:
            run = run_tool((tool, *self.call), self.folders)
            if run is not None and run.status == 0 and re.search(self.banner, run.output):
                return run
        return None

    def _sdk_from_files(self) -> str | None:
        for pattern in self.sdk_files:
            for path in _matching(pattern):
                try:
                    text = path.read_text("utf-8", "replace")[:4096]
                except OSError:
                    continue  # another of the places may be readable
                found = re.search(_VERSION, text)
                if found:
                    return found[1] or found[2]
        return None


def _matching(pattern: str) -> list[Path]:
    """Files that a pattern with variables names; none where a variable is not set."""
    expanded = os.path.expandvars(pattern)
    if "$" in expanded or not expanded.startswith("/"):
        return []
    return sorted(Path("/").glob(expanded[1:]))


def _first_group(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text) if pattern else None
    return found[1].strip() if found else None


def _groups(pattern: str, text: str) -> list[str]:
    return [" ".join(name.split()) for name in re.findall(pattern, text)] if pattern else []


def _variable(name: str) -> dict[str, str] | None:
    return {name: os.environ[name]} if name in os.environ else None
