"""``--launcher docker``: vLLM or FlagScale in a container of an image, such as a FlagOS release.

A tag can mean another image tomorrow, so it is resolved to a digest, and the digest is what runs.
Devices are given as the platform needs them: the ``--gpus all`` of release cards is NVIDIA's. The
container is removed whatever happens, by the guard if this process is killed."""

from __future__ import annotations

import os
import re
import shlex
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .. import platforms
from ..errors import ServerStartFailed, UsageError
from ..operators import folder, installed
from ..operators._hook import VARIABLE
from ..platforms import _software
from ..records import Fact
from ..redact import redact_command, redact_variables
from . import _boot, _docker, _engine, _log, _operators, flagscale
from ._process import GuardedProcess, free_port, listener, server_environment
from .base import LaunchPlan, LaunchRequest
from .vllm import knows_script

_COMMON = (
    "--net=host",
    "--ipc=host",
    "--uts=host",
    "--security-opt",
    "seccomp=unconfined",
    "--ulimit",
    "stack=67108864",
    "--ulimit",
    "memlock=-1",
    "--ulimit",
    "nofile=1048576:1048576",
    "--shm-size=32G",
)
"""As the release cards start their containers, but for the devices."""
_HOST_SETTINGS = ("NetworkMode", "Privileged", "Devices", "DeviceRequests", "Binds")
_OURS = "/flagos-eval"
_PROBE_TIMEOUT = 600.0


@dataclass(frozen=True)
class DockerServer:
    """A server in a container that was started here."""

    urls: tuple[str, ...]
    model: str
    process: GuardedProcess
    """The ``docker run`` that the container is attached to."""
    facts: tuple[Fact, ...]
    container: str
    limits_images: bool
    operators: Path | None = None
    pid: int | None = None
    launcher: str = "docker"

    @property
    def log(self) -> Path:
        """What the container wrote."""
        return self.process.log

    def check(self) -> None:
        """Raises `ServerDied`, with the log's last lines, if it is gone."""
        self.process.check()


def run_command(
    request: LaunchRequest, reference: str, container: str, inner: str, mounts: Sequence[str]
) -> tuple[str, ...]:
    """The whole ``docker run``; values of variables are in the environment of the command, not in
    it."""
    platform = request.platform or platforms.detect()
    variables = [part for name in sorted(_asked(request)) for part in ("-e", name)]
    return (
        *("docker", "run", "--rm", "--init", "--name", container),
        *_COMMON,
        *platform.docker_flags,
        *(part for mount in mounts for part in ("-v", mount)),
        *variables,
        *request.docker_arguments,
        # An image's entry point may be a server already; its login shell activates environments.
        *("--entrypoint", "bash", reference, "-lc", inner),
    )


def _asked(request: LaunchRequest) -> dict[str, str]:
    platform = request.platform
    variable = platform.visible_devices if platform else None
    chosen = {variable: os.environ[variable]} if variable and variable in os.environ else {}
    return {**_boot.QUIET, **chosen, **request.environment}


def _inner(request: LaunchRequest, exp_dir: Path | None, port: int) -> str:
    """The command line of the container's shell."""
    if exp_dir is not None:
        parts = [
            "python3",
            f"{_OURS}/{flagscale.FOLLOW.name}",
            str(exp_dir),
            "flagscale",
            flagscale.experiment_name(request),
            str(exp_dir / "conf" / "serve.yaml"),
        ]
    else:
        model = _engine.model_of(request, "docker")
        flags = _engine.without_secrets(_engine.flags(request, port))
        parts = ["vllm", "serve", model, *_engine.as_arguments(flags)]
    start = f"exec {shlex.join(parts)}"
    records = operator_records(request)
    if records is None:
        return start
    # The image may have a PYTHONPATH of its own, which a variable of the container would replace.
    plugin = shlex.quote(str(records / folder.PLUGIN))
    # The same goes for a list of plug-ins to load; it would leave out ours.
    ours = folder.ENTRY_POINT
    return (
        f'export PYTHONPATH={plugin}"${{PYTHONPATH:+:$PYTHONPATH}}"; '
        f'case ",${{VLLM_PLUGINS-{ours}}}," in *,{ours},*) ;; '
        f'*) export VLLM_PLUGINS="$VLLM_PLUGINS,{ours}" ;; esac; {start}'
    )


def operator_records(request: LaunchRequest) -> Path | None:
    """Where the server writes down its operators: the same path inside and outside."""
    file = request.environment.get(VARIABLE)
    return Path(file).parent if file else None


def _mounts(request: LaunchRequest, exp_dir: Path | None) -> list[str]:
    """The weights, read-only and under the path that they have here, and what we bring."""
    found = [f"{folder}:{folder}:ro" for folder in weight_folders(Path(request.model or ""))]
    if exp_dir is not None:
        ours = [flagscale.FOLLOW, flagscale.FOLLOW.with_name("_guard.py")]
        found += [f"{path}:{_OURS}/{path.name}:ro" for path in ours]
        found.append(f"{exp_dir}:{exp_dir}")
    if (records := operator_records(request)) is not None:
        plugin = records / folder.PLUGIN
        # Python would leave compiled files there that belong to the container's user.
        found += [f"{records}:{records}", f"{plugin}:{plugin}:ro"]
    return found


def weight_folders(model: Path) -> list[Path]:
    """The folder of the weights, and those that links in it lead to, as in a hub's cache."""
    if not model.is_absolute():
        return []  # a hub's id: the container loads it
    found = [model]
    if model.is_dir():
        targets = {path.resolve().parent for path in model.rglob("*") if path.is_symlink()}
        found += sorted(target for target in targets if not target.is_relative_to(model))
    return found


class Docker:
    """A container on this machine's network, attached to and guarded."""

    name = "docker"
    serves_weights = True

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """Look the digest up, then run it; files where FlagScale is inside."""
        image = _image_of(request)
        nothing = installed.Installed()  # it is in the image, which is looked into at the start
        request, notes = _operators.planned(request, nothing, request.inside, path=False)
        exp_dir = None
        files: Mapping[str, str] = {}
        if request.inside == "flagscale":
            exp_dir = folder = (request.folder / f"{request.name}.flagscale-1").absolute()
            written = flagscale.configuration(request, folder, 0)
            files = {str(folder / name): content for name, content in written.items()}
        inner, mounts = _inner(request, exp_dir, 0), _mounts(request, exp_dir)
        command = run_command(request, f"{_docker.repository(image)}@DIGEST", "NAME", inner, mounts)
        return LaunchPlan(
            commands=(("docker", "image", "inspect", image), command),
            files=files,
            notes=(
                f"DIGEST is what {image} resolves to; the image is pulled if it is not here",
                "NAME is new for every start, and the container of that name is always removed",
                *notes,
            ),
            environment=_asked(request),
        )

    @contextmanager
    def start(self, request: LaunchRequest) -> Iterator[DockerServer]:
        """Resolve the image, start a container, wait until the server in it answers, remove it."""
        image = _docker.resolve(_image_of(request), request.on_event)
        request = replace(request, platform=request.platform or platforms.detect())
        model = Path(_engine.model_of(request, self.name)).expanduser()
        if model.exists():
            request = replace(request, model=str(model.absolute()))
        request, software, found = _look_inside(request, image)
        request, operators = _operators.arrange(request, found, request.inside, path=False)
        port, exp_dir = free_port(), None
        if request.inside == "flagscale":
            exp_dir = flagscale.new_folder(request.folder, request.name)
            flagscale.write(flagscale.configuration(request, exp_dir, port), exp_dir)
        container = _new_name(request)
        inner, mounts = _inner(request, exp_dir, port), _mounts(request, exp_dir)
        command = run_command(request, image.reference, container, inner, mounts)
        log = request.folder / f"{request.name}.server.log"
        url = f"http://127.0.0.1:{port}/v1"
        served = _engine.served_name(request)
        with (
            _operators.naming(operators),
            GuardedProcess(
                command,
                server_environment(_asked(request)),
                log,
                after=("docker", "rm", "-f", "-v", container),
            ) as process,
        ):
            request.on_event(f"starting {request.model} in {image.reference}; log: {log}")
            _boot.wait_ready(process, url, served, request, lambda: _owns(container, port))
            yield DockerServer(
                urls=(url,),
                model=served,
                process=process,
                facts=(
                    *_facts(request, image, container, command),
                    *_boot.effective_facts(_pids(container), port, _asked(request)),
                    _boot.fact("server:log", log.name),
                    *_log.facts(log, process.secrets),
                    *_software.facts(software),
                    *(flagscale.config_facts(exp_dir) if exp_dir else ()),
                ),
                container=container,
                limits_images=bool(_engine.image_limits(request)),
                operators=operators,
            )


def _image_of(request: LaunchRequest) -> str:
    if not request.image:
        raise UsageError(
            "--launcher docker needs an image", hint="--image REPOSITORY:TAG, as a release names it"
        )
    return request.image


def _new_name(request: LaunchRequest) -> str:
    stem = re.sub(r"[^a-zA-Z0-9_.-]+", "-", request.name)[:40]
    return f"flagos-eval-{stem}-{uuid.uuid4().hex[:12]}"


def _look_inside(
    request: LaunchRequest, image: _docker.Image
) -> tuple[LaunchRequest, dict[str, str], installed.Installed]:
    """(the request with the flags that the image's vLLM needs, versions and FlagGems in it)."""
    option = "trust_request_mm_kwargs"
    scripts = (_software.SCRIPT, knows_script(option), installed.script())
    inner = "; ".join(f"python3 -c {shlex.quote(script)}" for script in scripts)
    container = _new_name(request)
    command = ["run", "--rm", "--name", container, "--entrypoint", "bash", image.reference]
    try:
        done = _docker.call([*command, "-lc", inner], _PROBE_TIMEOUT)
    except ServerStartFailed:
        _docker.call(["rm", "-f", container], _docker.TIMEOUT)
        raise
    versions = _software.parse(done.stdout)
    if request.image_limits and "KNOWS True" in done.stdout:
        request = replace(request, settings={**request.settings, option.replace("_", "-"): ""})
    return request, versions, installed.parse(done.stdout) or installed.Installed()


def _owns(container: str, port: int) -> bool | None:
    """Whether the port's listener is a process of the container; None if nobody listens yet.

    Without the right to see other users' processes there is no telling: then the port, which was
    free before, counts as the container's, and the model that it lists decides.
    """
    listening = listener(port)
    if listening is None or listening.pid is None:
        return None if listening is None else True
    pids = _pids(container)
    return listening.pid in pids if pids else None


def _pids(container: str) -> set[int]:
    """The container's processes, as this machine numbers them; empty if it does not run."""
    top = _docker.call(["top", container, "-eo", "pid"], _docker.TIMEOUT)
    return {int(word) for word in top.stdout.split() if word.isdigit()}


def _facts(
    request: LaunchRequest,
    image: _docker.Image,
    container: str,
    command: Sequence[str],
) -> tuple[Fact, ...]:
    seen = _docker.call(["inspect", "--type", "container", container], _docker.TIMEOUT)
    entry = _docker.described(seen, f"container {container}")
    config, host = entry.get("Config") or {}, entry.get("HostConfig") or {}
    variables = dict(
        (name, value) for name, _, value in (v.partition("=") for v in config.get("Env") or [])
    )
    return (
        _boot.fact("server:image", image.asked),
        _boot.fact("server:image_digest", image.reference),
        _boot.fact("server:image_id", image.id),
        _boot.fact("server:image_created", image.created),
        _boot.fact("server:container", container),
        _boot.fact("server:command", list(redact_command(command))),
        _boot.fact("server:environment", redact_variables(_asked(request))),
        _boot.fact(
            "server:container_settings",
            {
                "Cmd": list(redact_command(config.get("Cmd") or [])),
                "Env": _boot.relevant(variables, _asked(request)),
                **{name: host.get(name) for name in _HOST_SETTINGS},
            },
        ),
    )


LAUNCHER = Docker()
