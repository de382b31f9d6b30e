"""Machines for the launchers: stand-ins on the path, and a way to see what they started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import standins

from flagos_eval.launchers import _process
from flagos_eval.launchers import docker as docker_module
from flagos_eval.launchers import flagscale as flagscale_module
from flagos_eval.launchers import vllm as vllm_module
from flagos_eval.launchers.base import LaunchRequest

TESTS = Path(__file__).resolve().parent.parent
IMAGE = "registry.example/flagrelease:metax_qwenvl"
DIGEST = "registry.example/flagrelease@sha256:" + "5" * 64


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@dataclass
class Machine:
    """A folder of stand-ins on the path, and what was started through them."""

    folder: Path
    told: list[str] = field(default_factory=list)

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def request(self, **changes: Any) -> LaunchRequest:
        """A launch of a model whose name is ``tiny``, which records how its engine was called."""
        model = self.folder / "weights" / "tiny"
        model.mkdir(parents=True, exist_ok=True)
        environment = {"STANDIN_RECORD": str(self.folder / "record.jsonl")}
        environment |= changes.pop("environment", {})
        return replace(
            LaunchRequest(
                model=str(model),
                folder=self.results,
                name="run",
                environment=environment,
                on_event=self.told.append,
            ),
            **changes,
        )

    @property
    def calls(self) -> list[dict[str, Any]]:
        """How the engine was called: argv, pid, env."""
        path = self.folder / "record.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def processes(self) -> list[psutil.Process]:
        """Everything that runs with a variable that only this test's servers have."""
        mark = str(self.folder / "record.jsonl")
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and mark in process.environ().values():
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return [p for p in found if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    def engine(self) -> psutil.Process:
        """The process that listens."""
        return psutil.Process(self.calls[-1]["pid"])


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine with the stand-in vLLM and nothing else; whatever it left is ended."""
    found = Machine(tmp_path)
    standins.put_server(found.bin, "vllm", "standin_vllm")
    standins.put_python(found.bin)
    monkeypatch.setenv("PATH", f"{found.bin}{os.pathsep}{os.environ['PATH']}")
    yield found
    for process in found.processes():
        process.kill()


@pytest.fixture
def short_grace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard that waits two seconds, not ten, for those who do not listen."""
    source = _process._GUARD.read_text("utf-8")
    guard = tmp_path / "_guard.py"
    guard.write_text(source.replace("\nGRACE = 10.0\n", "\nGRACE = 2.0\n"), "utf-8")
    monkeypatch.setattr(_process, "_GUARD", guard)


@pytest.fixture
def flagscale(machine: Machine) -> Machine:
    """A machine with the stand-in FlagScale."""
    standins.put_server(machine.bin, "flagscale", "standin_flagscale")
    return machine


@dataclass
class DockerMachine(Machine):
    """A machine with the stand-in docker, its daemon, and a metax device."""

    def docker_calls(self, command: str) -> list[list[str]]:
        """Arguments of the calls of one docker command."""
        lines = (self.folder / "docker" / "calls.jsonl").read_text().splitlines()
        return [call for call in map(json.loads, lines) if call[0] == command]

    def containers(self) -> list[str]:
        """Names of the containers that there are."""
        sys.path.insert(0, str(TESTS))
        import socket

        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.folder / "docker" / "docker.sock"))
            with connection.makefile("rwb") as stream:
                stream.write(b'{"op": "list"}\n')
                stream.flush()
                names: list[str] = json.loads(json.loads(stream.readline())["text"])
                return names


@pytest.fixture
def docker(machine: Machine) -> Iterator[DockerMachine]:
    """The daemon runs in a session of its own: killing who calls docker does not end it."""
    place = machine.folder / "docker"
    (place / "home").mkdir(parents=True)
    # The image's login shell finds its programs, as an image's .bashrc activates an environment.
    (place / "home" / ".profile").write_text(f'export PATH="{machine.bin}:{os.environ["PATH"]}"\n')
    image = {"Id": "sha256:" + "1" * 64, "RepoDigests": [DIGEST], "Created": "2025-09-12T08:00:00Z"}
    local = {"Id": "sha256:" + "2" * 64, "RepoDigests": [], "Created": "2026-01-01T00:00:00Z"}
    (place / "images.json").write_text(json.dumps({IMAGE: image, "mine:latest": local}))
    pulled = {"Id": "sha256:" + "3" * 64, "RepoDigests": ["far.example/vl@sha256:" + "4" * 64]}
    (place / "registry.json").write_text(json.dumps({"far.example/vl:1": pulled}))
    script = TESTS / "standin_docker.py"
    daemon = subprocess.Popen(
        [sys.executable, str(script), "daemon", str(place)], start_new_session=True
    )
    standins.put(
        machine.bin,
        "docker",
        f"""
        import sys
        sys.path.insert(0, {str(TESTS)!r})
        import standin_docker, pathlib
        sys.exit(standin_docker.client(pathlib.Path({str(place)!r}), sys.argv[1:]))
        """,
    )
    standins.put_tool(machine.bin, "mx-smi")
    standins.put_server(machine.bin, "flagscale", "standin_flagscale")
    wait_until((place / "ready").exists)
    found = DockerMachine(machine.folder, machine.told)
    yield found
    for process in found.processes():
        process.kill()
    daemon.terminate()
    daemon.wait()


class Case:
    """One launcher on its machine."""

    def __init__(self, machine: Machine, module: Any, **request: Any) -> None:
        self.machine, self.module, self.always = machine, module, request

    def request(self, **changes: Any) -> LaunchRequest:
        return self.machine.request(**{**self.always, **changes})

    def start(self, **changes: Any) -> Any:
        return self.module.LAUNCHER.start(self.request(**changes))


@pytest.fixture(params=["vllm", "flagscale", "docker", "docker-flagscale"])
def case(request: pytest.FixtureRequest) -> Case:
    machine: Machine = request.getfixturevalue("machine")
    if request.param == "vllm":
        return Case(machine, vllm_module, python=str(machine.bin / "python"))
    if request.param == "flagscale":
        return Case(request.getfixturevalue("flagscale"), flagscale_module)
    inside = "flagscale" if request.param.endswith("flagscale") else "vllm"
    found = request.getfixturevalue("docker")
    return Case(found, docker_module, image=IMAGE, inside=inside)
