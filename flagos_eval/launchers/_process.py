"""Starting a server process under the guard, watching it, and stopping all of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from ..errors import FileError, ServerDied, ServerStartFailed
from ..redact import HIDDEN, redact, secret_values
from ..store import atomic_write
from . import _log

_TELL_EVERY = 5.0
_CLIENTS = ("OPENAI_API_KEY", "FLAGOS_EVAL_JUDGE_API_KEY")
"""Keys of servers that are asked, which the server that is started has no use for."""
_GUARD = Path(__file__).with_name("_guard.py")


def free_port() -> int:
    """A port of this machine that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tail(log: Path, lines: int = 15, *, secrets: Sequence[str] = ()) -> str:
    """The last lines of a log, without `secrets`."""
    try:
        with log.open(encoding="utf-8", errors="replace") as content:
            last = deque(content, maxlen=lines)
    except OSError as error:
        return f"(cannot read {log}: {error.strerror})"
    shown = (redact(line, 300, also=secrets).rstrip() for line in last)
    return "".join(f"    {line}\n" for line in shown).rstrip()


class Listener(NamedTuple):
    """Who listens on a port."""

    pid: int | None
    """None without the right to see it."""


def listener(port: int) -> Listener | None:
    """The process that listens on a port of this machine; None if there is none."""
    for connection in psutil.net_connections(kind="tcp"):
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port:
            return Listener(connection.pid)
    return None


class GuardedProcess:
    """A server's process tree; a context manager, after which it is gone, whatever happened."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        after: Sequence[str] = (),
    ) -> None:
        """Start it.

        Args:
            command: The server; it stays in the foreground.
            environment: All of its variables.
            log: Gets its standard output and error.
            after: A command that is run when the server is gone, even if this process was killed.
        """
        self.command, self.log = tuple(command), log
        self.secrets = secret_values(environment)
        """Values of the server's variables that nobody may read."""
        last = ["--after", json.dumps(list(after))] if after else []
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as out:
                # By path: the guard needs the standard library only, and the server inherits what
                # we set.
                self._guard = subprocess.Popen(
                    [sys.executable, "-I", str(_GUARD), *last, *command],
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                    start_new_session=True,
                )
        except OSError as error:
            raise FileError(f"cannot start the server: {error}") from error

    def __enter__(self) -> GuardedProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        """Whether the server's first process still runs."""
        return self._guard.poll() is None

    @property
    def status(self) -> int | None:
        """The server's exit status once it has ended."""
        return self._guard.poll()

    def pids(self) -> set[int]:
        """All processes of the server."""
        try:
            return {child.pid for child in psutil.Process(self._guard.pid).children(recursive=True)}
        except psutil.NoSuchProcess:
            return set()

    def listens_on(self, port: int) -> bool | None:
        """Whether the process listening on `port` is one of ours; None if nobody listens yet."""
        listening = listener(port)
        # Without the right to see other users' processes, its id is None: then it is not ours.
        return listening.pid in self.pids() if listening else None

    def died(self) -> str:
        """A sentence for a server that is gone, with what its log says and its last words."""
        said = _log.cause(self.log, self.secrets)
        why = f": {said.line}" if said else ""
        last = tail(self.log, secrets=self.secrets)
        return f"the server ended with status {self.status}{why}; {self.log} ends:\n{last}"

    def failed(self) -> ServerStartFailed:
        """For a server that died before it was ready."""
        said = _log.cause(self.log, self.secrets)
        whole = f"the whole log: {self.log}"
        return ServerStartFailed(self.died(), hint=f"{said.hint}; {whole}" if said else whole)

    def check(self) -> None:
        """Raises `ServerDied` if the server is gone."""
        if not self.alive:
            raise ServerDied(
                self.died(), hint="run the same command to start it again: answers so far are kept"
            )

    def wait_until(
        self, ready: Callable[[], bool], *, on_log: Callable[[str], None], stall: float
    ) -> None:
        """Wait for readiness. There is no deadline while the process lives and its log moves.

        Loading hundreds of gigabytes or compiling kernels takes as long as it takes; a server that
        says nothing for `stall` seconds is stuck.

        Raises:
            ServerStartFailed: it died or is stuck.
        """
        size, moved = -1, time.monotonic()
        told = moved
        while not ready():
            if not self.alive:
                raise self.failed()
            now = self.log.stat().st_size
            if now != size:
                size, moved = now, time.monotonic()
                if moved - told >= _TELL_EVERY:
                    told = moved
                    on_log(tail(self.log, 1, secrets=self.secrets).strip())
            elif time.monotonic() - moved > stall:
                raise ServerStartFailed(
                    f"the server said nothing for {stall:.0f} s and is not ready; "
                    f"{self.log} ends:\n"
                    f"{tail(self.log, secrets=self.secrets)}",
                    hint="a larger FLAGOS_EVAL_BOOT_STALL (seconds) waits longer",
                )
            time.sleep(0.5)

    def stop(self) -> None:
        """End the whole tree, and wait until it has ended."""
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            self._guard.stdin.close()
        while True:
            try:
                self._guard.wait()
                break
            except KeyboardInterrupt:  # a second Ctrl-C must not leave a server behind
                continue
        hide(self.log, self.secrets)


def hide(log: Path, secrets: Sequence[str]) -> None:
    """Take secrets out of what a server wrote: what it prints of its variables is its own doing.

    Raises:
        FileError: the log cannot be written again.
    """
    values = [value.encode("utf-8", "surrogateescape") for value in secrets]
    try:
        with log.open("rb") as content:
            if not any(value in line for line in content for value in values):
                return
    except OSError:
        return  # there is none
    with log.open("rb") as content, atomic_write(log) as out:
        for line in content:
            for value in values:
                line = line.replace(value, HIDDEN.encode("ascii"))
            out.write(line)


def server_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment a server is started with: ours, less the client's keys, plus what was asked
    for."""
    kept = {name: value for name, value in os.environ.items() if name not in _CLIENTS}
    return kept | dict(extra)
