"""The engine's flags, the same for every launcher that starts one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..errors import UsageError
from ..redact import is_secret
from .base import LaunchRequest

_OWN = ("port", "host", "model")
"""Flags that a launcher decides: it has to find the server again."""
_OPPOSITES = {
    "enable-prefix-caching": "no-enable-prefix-caching",
    "no-enable-prefix-caching": "enable-prefix-caching",
    "no-enforce-eager": "enforce-eager",
}
MAX_LOGPROBS = 20


def model_of(request: LaunchRequest, launcher: str) -> str:
    """The weights to serve.

    Raises:
        UsageError: none were named.
    """
    if not request.model:
        raise UsageError(
            f"--launcher {launcher} needs a model", hint="--model /path/to/weights, or a hub id"
        )
    return request.model


def served_name(request: LaunchRequest) -> str:
    """The name that the server will list: one that was set, or the weights'."""
    for name, value in request.settings.items():
        if _dashes(name) == "served-model-name":
            return value.split()[0]
    return request.served_name or Path(request.model or "").name


def flags(request: LaunchRequest, port: int) -> dict[str, str]:
    """Every flag but the model, without dashes in front; a switch has the value "".

    Nothing is left to an engine's defaults, which differ between versions: seed, prefix caching and
    eager mode are always there. ``--set`` overrules, and goes to the engine as it is.

    Raises:
        UsageError: ``--set`` names a flag that is the launcher's own.
    """
    settings = {_dashes(name): value for name, value in request.settings.items()}
    for name in _OWN:
        if name in settings:
            raise UsageError(f"--set {name} is the launcher's own; it cannot be set")
    chosen = _defaults(request)
    for name in settings:
        chosen.pop(_OPPOSITES.get(name, name), None)
    chosen |= {name: "" if value == "true" else value for name, value in settings.items()}
    chosen.setdefault("served-model-name", served_name(request))
    return {"host": "127.0.0.1", "port": str(port), **chosen}


def without_secrets(chosen: dict[str, str]) -> dict[str, str]:
    """The same flags, which end in a command line that every process of the machine can read, and
    some in a file.

    Raises:
        UsageError: one of them holds a secret.
    """
    for name in chosen:
        if is_secret(name):
            raise UsageError(
                f"--set {name} would be shown by the list of processes, or written to files",
                hint="export VLLM_API_KEY, and --env VLLM_API_KEY hands it on",
            )
    return chosen


def _defaults(request: LaunchRequest) -> dict[str, str]:
    engine = request.engine
    found = {"tensor-parallel-size": str(engine.tensor_parallel)}
    if engine.data_parallel > 1:  # vLLM before 0.8 does not know the flag
        found["data-parallel-size"] = str(engine.data_parallel)
    if engine.max_model_len is not None:
        found["max-model-len"] = str(engine.max_model_len)
    limits = image_limits(request)
    if limits:
        found["mm-processor-kwargs"] = json.dumps(limits, separators=(",", ":"))
    found["seed"] = str(engine.seed)
    found["enable-prefix-caching" if engine.prefix_caching else "no-enable-prefix-caching"] = ""
    if engine.eager:
        found["enforce-eager"] = ""
    found["max-logprobs"] = str(MAX_LOGPROBS)
    return found


def image_limits(request: LaunchRequest) -> dict[str, int]:
    """Limits of the image processor that were asked for."""
    limits = {"max_pixels": request.engine.max_pixels, "min_pixels": request.engine.min_pixels}
    return {name: value for name, value in limits.items() if value is not None}


def as_arguments(chosen: Mapping[str, str]) -> list[str]:
    """Flags as a command line has them."""
    return [part for name, value in chosen.items() for part in _flag(name, value)]


def _flag(name: str, value: str) -> list[str]:
    return [f"--{name}"] if value == "" else [f"--{name}", value]


def _dashes(name: str) -> str:
    return name.strip("-").replace("_", "-")
