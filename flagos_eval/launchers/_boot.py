"""From a started process to a server that may be asked, and what is known about it then."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ..environment import variables
from ..errors import ServerStartFailed
from ..platforms import _software
from ..records import Fact
from ..redact import redact, redact_command, redact_variables
from ..server import Server
from . import _log
from ._process import GuardedProcess, listener
from .base import LaunchRequest

QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
"""Servers that are measured send nothing home."""


def wait_ready(
    process: GuardedProcess,
    url: str,
    model: str,
    request: LaunchRequest,
    owned: Callable[[], bool | None],
) -> None:
    """Wait: process alive, the port is ours, /health 200, our model listed.

    Args:
        process: The server.
        url: Its base URL.
        model: The name it must serve.
        request: Who is told what the log says.
        owned: Whether the server's port is ours; None while nobody listens.

    Raises:
        ServerStartFailed: it died, is stuck, or is not the server that was asked for.
    """
    # A server that was given a key asks for it; the client's is the one that will be used.
    server = Server(url, api_key=os.environ.get("OPENAI_API_KEY"), timeout=5)

    def ready() -> bool:
        ours = owned()
        if ours is False and process.alive:
            raise ServerStartFailed(
                f"another process took the port of {url} while the server started",
                hint="run the same command again; another port will be chosen",
            )
        return bool(ours) and server.healthy()

    process.wait_until(ready, on_log=request.on_event, stall=stall())
    names = [entry.id for entry in server.identity().models]
    if model not in names:
        raise ServerStartFailed(f"the server at {url} serves {', '.join(names)}, not {model!r}")


def stall() -> float:
    """Seconds of silence after which a server that starts is stuck."""
    return float(os.environ.get("FLAGOS_EVAL_BOOT_STALL", "600"))


def fact(name: str, value: object) -> Fact:
    """Something that was seen here."""
    return Fact.model_validate({"name": name, "value": value, "source": "client", "verified": True})


def process_facts(
    command: tuple[str, ...],
    asked: Mapping[str, str],
    process: GuardedProcess,
    port: int,
    python: str | None,
) -> tuple[Fact, ...]:
    """What was asked for, and what the listening process really has.

    Both are kept because they can differ: wrappers drop flags, and variables get lost on the way to
    the process that computes.
    """
    return (
        fact("server:command", list(redact_command(command))),
        fact("server:environment", redact_variables(asked)),
        fact("server:log", process.log.name),
        *effective_facts(process.pids(), port, asked),
        *_log.facts(process.log, process.secrets),
        *_software.facts(_software.packages(python)),
    )


def effective_facts(pids: set[int], port: int, asked: Mapping[str, str]) -> tuple[Fact, ...]:
    """Command and variables of the listening process, and processes that lack a variable.

    A variable that was asked for can get lost when an engine process is spawned, and with it a list
    of operators. A process that gives itself a title, as newer vLLM's workers do, overwrites what
    the system shows of its variables: it is passed over.
    """
    found = []
    listening = listener(port)
    if listening is not None and listening.pid is not None:
        line, environment = _of_process(listening.pid)
        if line:
            found.append(fact("server:effective_command", list(redact_command(line))))
        if environment:
            found.append(fact("server:effective_environment", relevant(environment, asked)))
    lost: dict[str, list[str]] = {}
    for pid in sorted(pids):
        line, environment = _of_process(pid)
        missing = [name for name in sorted(asked) if environment.get(name) != asked[name]]
        if environment and missing:
            lost[f"{pid} {redact(' '.join(redact_command(line)), 200)}"] = missing
    if lost:
        found.append(fact("server:variables_lost", lost))
    return tuple(found)


def relevant(environment: Mapping[str, str], asked: Mapping[str, str]) -> dict[str, str]:
    """Variables that were asked for or can change an answer, without secrets."""
    named = {name: value for name, value in environment.items() if name in asked}
    return {**variables(environment), **redact_variables(named)}


def _of_process(pid: int) -> tuple[tuple[str, ...], dict[str, str]]:
    """(command line, environment) of a process; empty where they cannot be read or trusted."""
    folder = Path("/proc") / str(pid)
    try:
        line = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
        variables = (folder / "environ").read_bytes().decode("utf-8", "replace")
    except OSError:
        return (), {}
    pairs = (entry.partition("=") for entry in variables.split("\0") if "=" in entry)
    found = {name: value for name, _, value in pairs}
    # A title is written over the command line and the variables; every server was given a path.
    return tuple(part for part in line.split("\0") if part), found if "PATH" in found else {}
