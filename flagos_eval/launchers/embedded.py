"""``--launcher embedded``: the micro model of this package on the CPU, in a named variant.

For demonstrations and tests: ``--model`` names the variant, as ``fp32``, ``int8`` or a fault.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..records import Fact
from ..server import Server
from ._process import GuardedProcess, free_port, server_environment
from .base import LaunchPlan, LaunchRequest

_MODULE = "flagos_eval.demo.server"
_NAME = "shapes-micro-vl"
_NEEDS = ("onnxruntime", "tokenizers", "jinja2", "aiohttp")


@dataclass(frozen=True)
class EmbeddedServer:
    """The embedded model's server."""

    urls: tuple[str, ...]
    process: GuardedProcess
    facts: tuple[Fact, ...]
    pid: int | None
    model: str = _NAME
    launcher: str = "embedded"
    container: str | None = None
    limits_images: bool = False
    operators: Path | None = None

    @property
    def log(self) -> Path:
        """Its standard output and error."""
        return self.process.log

    def check(self) -> None:
        """Raises `ServerDied`, with the log's last lines, if it is gone."""
        self.process.check()


class Embedded:
    """A server of the embedded model on a free port of this machine."""

    name = "embedded"
    serves_weights = False

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """The command, with the port left open."""
        return LaunchPlan(commands=(_command(request, 0),))

    @contextmanager
    def start(self, request: LaunchRequest) -> Iterator[EmbeddedServer]:
        """Start it and wait until it answers."""
        missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
        if missing:
            raise UsageError(
                f"the embedded server needs {', '.join(missing)}",
                hint="pip install 'flagos-eval[demo]'",
            )
        if request.flag_gems is not None:
            raise UsageError("the embedded server has no FlagGems: leave --flag-gems out")
        port = free_port()
        command = _command(request, port)
        log = request.folder / f"{request.name}.server.log"
        url = f"http://127.0.0.1:{port}/v1"
        with GuardedProcess(command, server_environment(request.environment), log) as process:
            server = Server(url, timeout=5)
            process.wait_until(
                lambda: bool(process.listens_on(port)) and server.healthy(),
                on_log=request.on_event,
                stall=60,
            )
            facts = (
                Fact(
                    name="server:command", value=list(command[1:]), source="client", verified=True
                ),
            )
            yield EmbeddedServer((url,), process, facts, min(process.pids(), default=None))


def _command(request: LaunchRequest, port: int) -> tuple[str, ...]:
    from ..catalog import unknown
    from ..demo.variants import VARIANTS, find

    variant = request.model or "fp32"
    try:
        find(variant)
    except KeyError as error:
        raise unknown("variant of the embedded model", error.args[0], VARIANTS) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    return (sys.executable, "-m", _MODULE, "--port", str(port), "--variant", variant)


LAUNCHER = Embedded()
