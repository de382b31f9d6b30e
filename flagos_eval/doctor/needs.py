"""What a run needs beside an engine: room, a port, weights, data, a judge."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from .. import weights as model_weights
from ..config import RunConfig
from ..redact import redact
from ..server import Server
from .base import Finding, Patient, call, ok, skipped

_DATA_TIMEOUT = 3600.0
_ROOM = 2 * 2**30
"""Bytes that results, logs and journals of a suite may take."""


def disk(patient: Patient) -> Finding:
    """Whether there is room for what a run writes."""
    folder = patient.output.parent.absolute()
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        return Finding("disk", "failed", f"{folder} cannot be written", "-o another file")
    free = shutil.disk_usage(folder).free
    if free < _ROOM:
        return Finding(
            "disk", "failed", f"{free / 2**30:.1f} GiB free in {folder}",
            f"free {_ROOM / 2**30:.0f} GiB, or -o elsewhere",
        )  # fmt: skip
    return ok("disk", f"{free / 2**30:.0f} GiB free in {folder}")


def port(patient: Patient) -> Finding:
    """Whether the server that was named answers, or one could be started and recognised."""
    if patient.config.base_url:
        return _reachable(patient)
    if patient.starts is None:
        return skipped("server", "nothing is started or asked")
    try:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            seen = any(
                c.laddr and c.laddr.port == port and c.pid == os.getpid()
                for c in psutil.net_connections(kind="tcp")
            )
    except (OSError, psutil.Error) as error:
        return Finding(
            "server", "failed", f"no port can be opened here: {error}", "look at limits and rights"
        )
    if not seen:
        return Finding(
            "server",
            "failed",
            "a server's process cannot be told from another's on a port",
            "run as the user that starts the server, with /proc as usual",
        )
    return ok("server", "a port can be opened and its owner seen")


def _reachable(patient: Patient) -> Finding:
    names = []
    for url in patient.config.base_url:
        identity = Server(url, api_key=patient.api_key).identity()
        model = identity.model(patient.config.model, url)
        names.append(f"{url} serves {model.id} (version {identity.version or 'unknown'})")
    return ok("server", "; ".join(names))


def weights(patient: Patient) -> Finding:
    """Whether the weights are here and whole."""
    model = patient.config.model
    if patient.starts is None:
        return skipped("weights", "of the server's own machine: flagos-eval doctor there")
    if not model:
        return Finding("weights", "failed", "no model was named", "--model FOLDER, or a hub's id")
    source = model_weights.parse(model)
    if source.origin != "folder":
        return skipped("weights", f"{model} is fetched when the run starts")
    wrong = model_weights.problems(Path(source.name))
    if wrong:
        return Finding(
            "weights",
            "failed",
            f"{source.name}: {'; '.join(wrong)}",
            "download them again: modelscope download --model ORG/NAME --local_dir FOLDER "
            "goes on where it stopped",
        )
    found = model_weights.fingerprint(model_weights.fetch(model, lambda text: None))
    return ok("weights", f"{source.name}, {found.fingerprint[:12] if found else 'no fingerprint'}")


def data(patient: Patient) -> Finding:
    """Whether every benchmark can be read whole without the network."""
    config = patient.config
    if not config.tasks:
        return skipped("data", "no task was named (--tasks)")
    options = [f"--{name}={value}" for name, value in _data_options(config)]
    command = [sys.executable, "-m", "flagos_eval", "fetch", *options]
    done = call(command, _DATA_TIMEOUT, HF_HUB_OFFLINE="1")
    if done.returncode == 0:
        return ok("data", f"{', '.join(config.tasks)}: whole")
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    failed = [line for line in lines if re.match("failed |error: ", line)]
    told = [re.sub(r"^(?:failed|error:)\s+", "", line) for line in failed] or lines[-1:]
    folder = Path(config.data_dir) if config.data_dir else None
    return Finding(
        "data",
        "failed",
        "; ".join(redact(line.strip(), 200) for line in told[:3]) or "cannot be read",
        f"flagos-eval fetch --tasks {','.join(config.tasks)}"
        + (f", or look into {folder}" if folder else " while there is a network"),
    )


def _data_options(config: RunConfig) -> Iterator[tuple[str, str]]:
    yield "tasks", ",".join(config.tasks)
    if config.tasks_dir:
        yield "tasks-dir", config.tasks_dir
    if config.data_dir:
        yield "data-dir", config.data_dir
    yield from (("split", value) for value in config.split)
    yield from (("revision", value) for value in config.revision)


def judge(patient: Patient) -> Finding:
    """Whether the judge answers under its name."""
    config = patient.config
    if config.judge_base_url is None:
        return skipped("judge", "none was named (--judge-base-url)")
    identity = Server(config.judge_base_url, api_key=patient.judge_key).identity()
    model = identity.model(config.judge_model, config.judge_base_url)
    return ok("judge", f"{config.judge_base_url} serves {model.id}")
