"""``--launcher vllm``: start vLLM's OpenAI server from an interpreter that has it.

Requests leave nothing to the server's defaults, and neither does its start: seed, prefix caching
and eager mode are the same on every side. Flags of ``--set`` go to vLLM as they are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..operators import installed
from ..records import Fact
from . import _boot, _engine, _operators
from ._process import GuardedProcess, free_port, server_environment
from .base import LaunchPlan, LaunchRequest

_MODULE = "vllm.entrypoints.openai.api_server"


@dataclass(frozen=True)
class VllmServer:
    """A vLLM that was started here."""

    urls: tuple[str, ...]
    model: str
    process: GuardedProcess
    facts: tuple[Fact, ...]
    pid: int | None
    limits_images: bool
    operators: Path | None = None
    launcher: str = "vllm"
    container: str | None = None

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
    model = _engine.model_of(request, "vllm")
    flags = _engine.as_arguments(_engine.without_secrets(_engine.flags(request, port)))
    return ["-m", _MODULE, "--model", model, *flags]


def _interpreter(request: LaunchRequest) -> str:
    python = request.python or sys.executable
    if not Path(python).exists():
        raise UsageError(f"--server-python {python} does not exist")
    return python


def knows_script(option: str) -> str:
    """A program that prints whether its interpreter's vLLM has an option.

    It looks into vLLM's source without importing it, which would take tens of seconds. The files
    move between versions; their names have not changed.
    """
    return (
        "import importlib.util as u, pathlib\n"
        "spec = u.find_spec('vllm')\n"
        "root = pathlib.Path(spec.submodule_search_locations[0]) if spec else None\n"
        "files = [*root.rglob('cli_args.py'), *root.rglob('arg_utils.py')] if root else []\n"
        f"print('KNOWS', any({option!r} in f.read_text() for f in files))"
    )


def knows(python: str, option: str) -> bool:
    """Whether that interpreter's vLLM has an option."""
    found = subprocess.run(
        [python, "-c", knows_script(option)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return "KNOWS True" in found.stdout


class Vllm:
    """vLLM in a process group of its own, on a free port of this machine."""

    name = "vllm"
    serves_weights = True

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """The command, with the port left open."""
        python = request.python or sys.executable
        request, notes = _operators.planned(request, installed.of(python), "vllm")
        return LaunchPlan(
            commands=((python, *arguments(request, 0)),),
            environment={**_boot.QUIET, **request.environment},
            notes=notes,
        )

    @contextmanager
    def start(self, request: LaunchRequest) -> Iterator[VllmServer]:
        """Start it and wait: process alive, /health 200, our model listed, and the port is ours."""
        port = free_port()
        python = _interpreter(request)
        request, operators = _operators.arrange(request, installed.of(python), "vllm")
        command = [python, *arguments(request, port)]
        if request.image_limits and knows(python, "trust_request_mm_kwargs"):
            # Newer versions refuse mm_processor_kwargs in a request unless they are told to trust
            # it.
            command.append("--trust-request-mm-kwargs")
        asked = {**_boot.QUIET, **request.environment}
        log = request.folder / f"{request.name}.server.log"
        url = f"http://127.0.0.1:{port}/v1"
        model = _engine.served_name(request)
        with (
            _operators.naming(operators),
            GuardedProcess(command, server_environment(asked), log) as process,
        ):
            request.on_event(f"starting {request.model} with vLLM; log: {log}")
            _boot.wait_ready(process, url, model, request, lambda: process.listens_on(port))
            yield VllmServer(
                urls=(url,),
                model=model,
                process=process,
                facts=_boot.process_facts(tuple(command), asked, process, port, python),
                pid=min(process.pids(), default=None),
                limits_images=bool(_engine.image_limits(request)),
                operators=operators,
            )


LAUNCHER = Vllm()
