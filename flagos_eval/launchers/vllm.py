"""``--launcher vllm``: start vLLM's OpenAI server from an interpreter that has it.

Requests leave nothing to the server's defaults, and neither does its start: seed, prefix caching
and eager mode are the same on every side. Flags of ``--set`` go to vLLM as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import ServerStartFailed, UsageError
from ..records import Fact
from ..redact import redact_command, redact_variables
from ..server import Server
from ._process import GuardedProcess, free_port, server_environment
from .base import LaunchRequest

_MODULE = "vllm.entrypoints.openai.api_server"
_DEFAULTS = {
    "seed": "0",
    # A first request and a later one with a cached prefix are computed differently (vllm#40896).
    "no-enable-prefix-caching": "",
    "enforce-eager": "",
    "max-logprobs": "20",
}
_OPPOSITES = {
    "enable-prefix-caching": "no-enable-prefix-caching",
    "no-enforce-eager": "enforce-eager",
}


@dataclass(frozen=True)
class VllmServer:
    """A vLLM that was started here."""

    urls: tuple[str, ...]
    model: str
    process: GuardedProcess
    facts: tuple[Fact, ...]
    pid: int | None
    launcher: str = "vllm"

    @property
    def log(self) -> Path:
        """Its standard output and error."""
        return self.process.log

    def check(self) -> None:
        """Raises `ServerDied`, with the log's last lines, if it is gone."""
        self.process.check()


def arguments(request: LaunchRequest, port: int) -> list[str]:
    """The command line, without the interpreter.

    ``--set name=value`` becomes ``--name value``, ``--set name`` or ``name=`` the switch
    ``--name``."""
    if not request.model:
        raise UsageError("--launcher vllm needs a model", hint="--model /path/to/weights")
    settings = {
        name.strip("-").replace("_", "-"): value for name, value in request.settings.items()
    }
    for name in ("port", "host", "model"):
        if name in settings:
            raise UsageError(f"--set {name} is the launcher's own; it cannot be set")
    overruled = {_OPPOSITES[name] for name in settings if name in _OPPOSITES}
    chosen = {name: value for name, value in _DEFAULTS.items() if name not in overruled} | settings
    chosen.setdefault("served-model-name", Path(request.model).name)
    flags = [part for name, value in chosen.items() for part in _flag(name, value)]
    return [
        "-m",
        _MODULE,
        "--model",
        request.model,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        *flags,
    ]


def _interpreter(request: LaunchRequest) -> str:
    python = request.python or sys.executable
    if not Path(python).exists():
        raise UsageError(f"--server-python {python} does not exist")
    return python


def _flag(name: str, value: str) -> list[str]:
    return [f"--{name}"] if value in ("", "true") else [f"--{name}", value]


def _knows(python: str, option: str) -> bool:
    """Whether that interpreter's vLLM has an option; found in its source, without importing it."""
    # The files move between versions; their names have not changed.
    script = (
        "import importlib.util as u, pathlib\n"
        "spec = u.find_spec('vllm')\n"
        "root = pathlib.Path(spec.submodule_search_locations[0]) if spec else None\n"
        "files = [*root.rglob('cli_args.py'), *root.rglob('arg_utils.py')] if root else []\n"
        f"print(any({option!r} in f.read_text() for f in files))"
    )
    found = subprocess.run(
        [python, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    return found.stdout.strip() == "True"


class Vllm:
    """vLLM in a process group of its own, on a free port of this machine."""

    name = "vllm"

    def plan(self, request: LaunchRequest) -> tuple[str, ...]:
        """The command, with the port left open."""
        return (request.python or sys.executable, *arguments(request, 0))

    @contextmanager
    def start(self, request: LaunchRequest) -> Iterator[VllmServer]:
        """Start it and wait: process alive, /health 200, our model listed, and the port is ours."""
        port = free_port()
        python = _interpreter(request)
        command = [python, *arguments(request, port)]
        if request.image_limits and _knows(python, "trust_request_mm_kwargs"):
            # Newer versions refuse mm_processor_kwargs in a request unless they are told to trust
            # it.
            command.append("--trust-request-mm-kwargs")
        quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        environment = server_environment({**quiet, **request.environment})
        log = request.folder / f"{request.name}.server.log"
        url = f"http://127.0.0.1:{port}/v1"
        model = command[command.index("--served-model-name") + 1].split()[0]
        with GuardedProcess(command, environment, log) as process:
            request.on_event(f"starting {request.model} with vLLM; log: {log}")
            self._wait(process, url, port, model, request)
            yield VllmServer(
                urls=(url,),
                model=model,
                process=process,
                facts=_facts(command, {**quiet, **request.environment}, process),
                pid=min(process.pids(), default=None),
            )

    def _wait(
        self, process: GuardedProcess, url: str, port: int, model: str, request: LaunchRequest
    ) -> None:
        server = Server(url, timeout=5)

        def ready() -> bool:
            ours = process.listens_on(port)
            if ours is False and process.alive:
                raise ServerStartFailed(
                    f"another process took port {port} while the server started"
                )
            return bool(ours) and server.healthy()

        stall = float(os.environ.get("FLAGOS_EVAL_BOOT_STALL", "600"))
        process.wait_until(ready, on_log=request.on_event, stall=stall)
        names = [entry.id for entry in server.identity().models]
        if model not in names:
            raise ServerStartFailed(f"the server at {url} serves {names}, not {model!r}")


def _facts(
    command: list[str], environment: dict[str, str], process: GuardedProcess
) -> tuple[Fact, ...]:
    found = {
        "server:command": list(redact_command(command)),
        "server:environment": redact_variables(environment),
        "server:log": process.log.name,
    }
    return tuple(
        Fact(name=name, value=value, source="client", verified=True)
        for name, value in found.items()
    )


LAUNCHER = Vllm()
