"""``--launcher flagscale``: FlagOS's serving engine, ``flagscale serve``, around vLLM.

It is given a configuration of our own rather than one of an image, whose paths, names and ports
differ from release to release. What shapes this file (more in docs/servers.md):

- ``use_fs_serve`` is on where it is not set, and then there are no plain vLLM routes;
- a nested engine argument is flattened and ``false`` is dropped: every value is text or a switch;
- variables are pasted into a shell script without quotes: only plain values go there, and all of
  them are in the environment that it is called with;
- it returns at once, with status 0 whatever happened, so ``_follow.py`` stays with the server.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import FileError, UsageError
from ..operators import _hook, folder, installed
from ..records import Fact
from ..redact import is_secret, redact
from . import _boot, _engine, _operators, _yaml
from ._process import GuardedProcess, free_port, listener, server_environment
from .base import LaunchPlan, LaunchRequest
from .vllm import knows

FOLLOW = Path(__file__).with_name("_follow.py")
_PLAIN = re.compile(r"[\w@%+=:,./-]*", re.ASCII)
"""What a shell takes for itself: nothing of this."""
_PASSED_ON = ("runner", "cmds")
"""Parts of ``experiment`` that ``--set runner.hostfile=...`` writes to: FlagScale's own business,
such as serving on several machines."""
_MAX_CONFIG = 65_536


@dataclass(frozen=True)
class FlagScaleServer:
    """A FlagScale server that was started here."""

    urls: tuple[str, ...]
    model: str
    process: GuardedProcess
    facts: tuple[Fact, ...]
    pid: int | None
    limits_images: bool
    operators: Path | None = None
    launcher: str = "flagscale"
    container: str | None = None

    @property
    def log(self) -> Path:
        """Everything that FlagScale and the engine wrote."""
        return self.process.log

    def check(self) -> None:
        """Raises `ServerDied`, with the log's last lines, if it is gone."""
        self.process.check()


def experiment_name(request: LaunchRequest) -> str:
    """The name that ``flagscale serve`` is given; with a file of our own it is only a name."""
    return re.sub(r"\W+", "_", _engine.served_name(request), flags=re.ASCII).strip("_") or "model"


def configuration(request: LaunchRequest, exp_dir: Path, port: int) -> dict[str, str]:
    """Path below `exp_dir` -> content of the two files of an experiment.

    Raises:
        UsageError: no model, or a setting that cannot be passed on.
    """
    passed, settings = _passed_on(request.settings)
    engine = _engine.without_secrets(_engine.flags(replace(request, settings=settings), port))
    arguments: dict[str, _yaml.Node] = {"model": _engine.model_of(request, "flagscale")}
    for name, value in engine.items():
        # An underscore becomes a dash on the way to the engine; "" is a switch.
        key = name.replace("-", "_")
        arguments[key] = True if value == "" else _yaml.number_or_text(value)
    variables = {**_boot.QUIET, **request.environment}
    plain = {
        name: value
        for name, value in variables.items()
        if _PLAIN.fullmatch(value) and not is_secret(name)
    }
    if _hook.VARIABLE in request.environment:
        # Its scripts set PYTHONPATH anew, by version before or after these; the shell that they are
        # made for puts what they set behind ours.
        plugin = Path(request.environment[_hook.VARIABLE]).parent / folder.PLUGIN
        plain["PYTHONPATH"] = f"{plugin}:$PYTHONPATH"
    deploy: dict[str, _yaml.Node] = {"use_fs_serve": False}
    experiment: dict[str, _yaml.Node] = {
        "exp_name": experiment_name(request),
        "exp_dir": str(exp_dir),
        "task": {"type": "serve", "backend": "vllm"},
        "deploy": deploy,  # where versions before 0.9 look
        "runner": {"ssh_port": 22, **passed["runner"], "deploy": deploy},
        "envs": plain,
    }
    if passed["cmds"]:
        experiment["cmds"] = dict(passed["cmds"])
    main: dict[str, _yaml.Node] = {
        "defaults": ["_self_", {"serve": "model"}],
        "experiment": experiment,
        "action": "run",
        "hydra": {"run": {"dir": str(exp_dir / "hydra")}},
    }
    served: list[_yaml.Node] = [
        {"serve_id": "vllm_model", "engine": "vllm", "engine_args": arguments}
    ]
    return {"conf/serve.yaml": _yaml.dump(main), "conf/serve/model.yaml": _yaml.dump(served)}


def _passed_on(
    settings: Mapping[str, str],
) -> tuple[dict[str, dict[str, _yaml.Node]], dict[str, str]]:
    """(parts of the experiment, flags of the engine) that ``--set`` names."""
    parts: dict[str, dict[str, _yaml.Node]] = {part: {} for part in _PASSED_ON}
    rest: dict[str, str] = {}
    for name, value in settings.items():
        part, dot, key = name.partition(".")
        if not dot or part not in parts:
            rest[name] = value
        elif "." in key or key == "deploy":
            raise UsageError(f"--set {name} cannot be passed on to FlagScale")
        else:
            parts[part][key] = _yaml.number_or_text(value)
    return parts, rest


def executable(python: str | None) -> str | None:
    """The ``flagscale`` of the server's environment: beside its interpreter, or on the path."""
    if python is not None and (beside := Path(python).with_name("flagscale")).exists():
        return str(beside)
    return shutil.which("flagscale")


def interpreter(python: str | None) -> str | None:
    """The ``python`` that FlagScale calls."""
    return shutil.which("python", path=path_with(python))


def path_with(python: str | None) -> str:
    """The path of the server's environment: FlagScale calls ``python`` and ``vllm`` by name."""
    path = os.environ.get("PATH", os.defpath)
    return f"{Path(python).absolute().parent}{os.pathsep}{path}" if python else path


def new_folder(parent: Path, name: str) -> Path:
    """A folder that nobody had before: FlagScale appends to logs and believes process ids."""
    number = 1
    while True:
        folder = (parent / f"{name}.flagscale-{number}").absolute()
        if not _PLAIN.fullmatch(str(folder)):
            raise UsageError(
                f"FlagScale's scripts cannot handle the path {folder}",
                hint="-o a file whose path has letters, digits and - _ . / only",
            )
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1
        except OSError as error:
            raise FileError(f"cannot make {folder}: {error.strerror}") from error


def write(files: Mapping[str, str], folder: Path) -> None:
    """The files of an experiment."""
    for name, content in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror}") from error


def config_facts(exp_dir: Path) -> tuple[Fact, ...]:
    """The configuration as it was written, and as FlagScale resolved it."""
    places = {
        "server:flagscale_config": exp_dir / "conf" / "serve.yaml",
        "server:flagscale_engine_args": exp_dir / "conf" / "serve" / "model.yaml",
        "server:flagscale_resolved": exp_dir / "serve_logs" / "scripts" / "serve.yaml",
    }
    found = []
    for name, path in places.items():
        if path.is_file():
            text = path.read_text("utf-8", "replace")
            found.append(_boot.fact(name, redact(text, _MAX_CONFIG)))
    return tuple(found)


def trusting(request: LaunchRequest, python: str | None) -> LaunchRequest:
    """The request with the flag that newer vLLM needs to heed image limits in requests."""
    if not (request.image_limits and python and knows(python, "trust_request_mm_kwargs")):
        return request
    return replace(request, settings={**request.settings, "trust-request-mm-kwargs": ""})


def _pid(port: int) -> int | None:
    found = listener(port)
    return found.pid if found else None


class FlagScale:
    """``flagscale serve`` on this machine, kept in the foreground."""

    name = "flagscale"
    serves_weights = True

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """The command and the two files, with the port left open."""
        exp_dir = (request.folder / f"{request.name}.flagscale-1").absolute()
        name = experiment_name(request)
        found = installed.of(interpreter(request.python))
        request, notes = _operators.planned(request, found, "flagscale")
        return LaunchPlan(
            commands=(("flagscale", "serve", name, "-c", f"{exp_dir}/conf/serve.yaml"),),
            files={
                str(exp_dir / path): content
                for path, content in configuration(request, exp_dir, 0).items()
            },
            environment={**_boot.QUIET, **request.environment},
            notes=("FlagScale before 1.0 takes the file without -c: its --help is asked", *notes),
        )

    @contextmanager
    def start(self, request: LaunchRequest) -> Iterator[FlagScaleServer]:
        """Start it and wait until the engine answers on our port."""
        flagscale = executable(request.python)
        if flagscale is None:
            raise UsageError(
                "there is no flagscale on the path",
                hint="--server-python names the interpreter of its environment; or --launcher vllm",
            )
        port, model = free_port(), _engine.served_name(request)
        _engine.model_of(request, self.name)
        found = installed.of(interpreter(request.python))
        request, operators = _operators.arrange(request, found, "flagscale")
        exp_dir = new_folder(request.folder, request.name)
        request = trusting(request, interpreter(request.python))
        write(configuration(request, exp_dir, port), exp_dir)
        asked = {**_boot.QUIET, **request.environment}
        environment = server_environment({**asked, "PATH": path_with(request.python)})
        called = (flagscale, experiment_name(request), str(exp_dir / "conf" / "serve.yaml"))
        command = (sys.executable, "-I", str(FOLLOW), str(exp_dir), *called)
        log = request.folder / f"{request.name}.server.log"
        url = f"http://127.0.0.1:{port}/v1"
        with _operators.naming(operators), GuardedProcess(command, environment, log) as process:
            request.on_event(f"starting {request.model} with FlagScale; log: {log}")
            _boot.wait_ready(process, url, model, request, lambda: process.listens_on(port))
            shown = ("flagscale", "serve", *called[1:])
            facts = _boot.process_facts(shown, asked, process, port, request.python)
            yield FlagScaleServer(
                urls=(url,),
                model=model,
                process=process,
                facts=(*facts, *config_facts(exp_dir)),
                pid=_pid(port),
                limits_images=bool(_engine.image_limits(request)),
                operators=operators,
            )


LAUNCHER = FlagScale()
