"""From the settings of a run to a server: which launcher, told what."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import catalog, facts, platforms, weights
from .config import Configured, RunConfig, pairs
from .errors import UsageError
from .facts import FactsFile
from .job import Session
from .journal import Learnt
from .launchers import flagscale
from .launchers.base import EngineSettings, Launcher, LaunchRequest
from .operators import evidence, selection
from .platforms.base import Platform
from .progress import Note
from .records import Weights


def platform_of(config: RunConfig) -> Platform:
    """The platform that was named, or the one that recognises this machine.

    Raises:
        UnknownName: there is none of that name.
    """
    return platforms.named(config.platform) if config.platform else platforms.detect()


@dataclass(frozen=True)
class Choice:
    """A launcher that fits what is installed here."""

    launcher: str | None
    """None if no engine is here."""
    python: str | None
    """The interpreter that has it, where that is not this one."""
    why: str


def choose(config: RunConfig, platform: Platform) -> Choice:
    """The launcher for a run that names neither a server nor a launcher.

    FlagScale before plain vLLM: it is how FlagOS serves. An image that was named is meant to run.
    """
    if config.image:
        return Choice("docker", config.server_python, f"{platform.name}: --image names a container")
    if flagscale.executable(config.server_python):
        why = f"{platform.name}, and flagscale is here: --launcher flagscale"
        return Choice("flagscale", config.server_python, why)
    for python in _interpreters(config):
        if _has_vllm(python):
            why = f"{platform.name}, and {python} has vLLM: --launcher vllm"
            return Choice("vllm", python, why)
    return Choice(None, None, f"{platform.name}, without flagscale, vLLM or --image")


def chosen(configured: Configured) -> tuple[Configured, Choice | None]:
    """The settings with a launcher, and how it was chosen; None where a server was named.

    A launcher that was chosen here counts as a default: nobody asked for it.
    """
    config = configured.config
    if config.launcher or config.base_url:
        return configured, None
    choice = choose(config, platform_of(config))
    update = {"launcher": choice.launcher, "server_python": choice.python}
    return configured.model_copy(update={"config": config.model_copy(update=update)}), choice


def _interpreters(config: RunConfig) -> list[str]:
    """Where an engine may be installed: an image's own interpreter is on its path."""
    if config.server_python:
        return [config.server_python]
    found = [sys.executable, shutil.which("python3"), shutil.which("python")]
    return list(dict.fromkeys(path for path in found if path))


def _has_vllm(python: str) -> bool:
    script = "import importlib.util as u; print('FOUND', u.find_spec('vllm') is not None)"
    try:
        done = subprocess.run(
            [python, "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return "FOUND True" in done.stdout


def no_server(choice: Choice | None = None) -> UsageError:
    """The error for a run that has nobody to ask, with the ways on."""
    found = f" and no engine was found to start ({choice.why})" if choice else ""
    return UsageError(
        f"no server was named{found}: give --base-url http://HOST:8000/v1 of one that runs, or "
        "--launcher with --server-python or --image to start one, or try flagos-eval demo",
        hint="flagos-eval doctor shows what is here",
    )


def launch_request(config: RunConfig, output: Path, tell: Callable[[str], None]) -> LaunchRequest:
    """What the launcher is told."""
    return LaunchRequest(
        model=config.model,
        served_name=weights.short_name(config.model) if config.model else None,
        base_urls=config.base_url,
        python=config.server_python,
        engine=EngineSettings(
            tensor_parallel=config.tensor_parallel,
            data_parallel=config.data_parallel,
            max_model_len=config.max_model_len,
            max_pixels=config.max_pixels,
            min_pixels=config.min_pixels,
            seed=config.seed,
            prefix_caching=config.prefix_caching,
            eager=config.eager,
        ),
        settings=_switches(config.set),
        environment=variables(config.env),
        flag_gems=selection.parse(config.flag_gems) if config.flag_gems else None,
        platform=platforms.named(config.platform) if config.platform else None,
        image=config.image,
        inside=config.inside,
        docker_arguments=config.docker_arg,
        folder=output.parent,
        name=output.stem,
        image_limits=config.max_pixels is not None or config.min_pixels is not None,
        on_event=tell,
    )


def with_weights(
    launcher: Launcher, request: LaunchRequest
) -> tuple[LaunchRequest, Weights | None]:
    """(the request with weights that are on this machine, their fingerprint).

    Raises:
        UsageError: ``--model`` names no weights.
        FileError: they cannot be fetched or read.
    """
    if not request.model or not launcher.serves_weights:
        return request, None
    local = weights.fetch(request.model, request.on_event)
    found = weights.fingerprint(local)
    if found is None:
        request.on_event(f"{local.folder} holds no file of a model: no fingerprint")
    return replace(request, model=str(local.folder), served_name=local.served_name), found


def weights_at_hand(config: RunConfig) -> Weights | None:
    """The fingerprint of weights that a launcher was given, if they are a folder here."""
    launcher = catalog.load_module("launchers", config.launcher or "external", "launcher").LAUNCHER
    if not config.model or not launcher.serves_weights:
        return None
    if weights.parse(config.model).origin != "folder":
        return None
    return weights.fingerprint(weights.fetch(config.model, lambda text: None))


def with_facts(
    session: Session, told: Sequence[FactsFile], report: Callable[[Note], None]
) -> Session:
    """The session with what was stated about the machines of its servers."""
    for file in told:
        if not facts.is_about(file, session.epochs):
            report(
                Note(
                    "facts",
                    "nothing ties the facts to the server that answered: they are told, not "
                    "verified (flagos-eval facts --base-url URL there, while the server runs)",
                )
            )
    attached = tuple(fact for file in told for fact in facts.attach(file, session.epochs))
    served = next((file.weights for file in told if file.weights), None)
    # Operators of another start than the one that answered say nothing.
    proven = [file for file in told if file.dispatch and facts.is_about(file, session.epochs)]
    dispatch = evidence.together([file.dispatch for file in proven if file.dispatch])
    learnt = session.learnt.then(Learnt(facts=attached))
    learnt = replace(learnt, weights=learnt.weights or served)
    return replace(session, learnt=learnt, dispatch=dispatch)


def variables(values: tuple[str, ...]) -> dict[str, str]:
    """``NAME=VALUE``, or ``NAME`` alone for the value that it has here, as docker has it: a secret
    is then in no command line.

    Raises:
        UsageError: there is no such variable here.
    """
    found: dict[str, str] = {}
    for value in values:
        if value and "=" not in value:
            if value not in os.environ:
                raise UsageError(
                    "--env NAME takes the value that the variable has here, and it has none",
                    hint="export it, or --env NAME=VALUE",
                )
            found[value] = os.environ[value]
        else:
            found |= pairs("env", (value,))
    return found


def _switches(values: tuple[str, ...]) -> dict[str, str]:
    return {name: rest for name, _, rest in (value.partition("=") for value in values)}
