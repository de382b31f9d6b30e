"""One value for everything a run can be told, and where each part of it came from.

Precedence: flag, then ``FLAGOS_EVAL_*``, then the run given with ``--config-from``, then the config
    file, then the default."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationError

from . import bounded, toml_file
from .errors import UsageError
from .records import Record, Run, Setting
from .redact import HIDDEN, is_secret, redact, redact_command

Source = Literal["flag", "environment", "file", "run", "default"]


class RunConfig(Record):
    """The settings of ``flagos-eval run``. A name here is the long flag, with underscores."""

    tasks: tuple[str, ...] = ()
    tasks_dir: str | None = None
    model: str | None = None
    base_url: tuple[str, ...] = ()
    launcher: str | None = None
    server_python: str | None = None
    set: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    """Files of ``flagos-eval facts`` about the machines of ``base_url``."""
    flag_gems: str | None = None
    """Which operators of a started server are FlagGems'; None leaves that to the server."""
    platform: str | None = None
    """None asks the machine."""
    image: str | None = None
    inside: Literal["vllm", "flagscale"] = "vllm"
    """What runs in the container of ``--launcher docker``."""
    docker_arg: tuple[str, ...] = ()
    tensor_parallel: int = Field(1, ge=1)
    data_parallel: int = Field(1, ge=1)
    max_model_len: int | None = Field(None, ge=1)
    """None takes the model's own."""
    prefix_caching: bool = False
    eager: bool = True
    name: str | None = None
    arm: str | None = None
    policy: str | None = None
    data_dir: str | None = None
    split: tuple[str, ...] = ()
    revision: tuple[str, ...] = ()
    prompt: str | None = None
    limit: int | None = Field(None, ge=1)
    shard: str | None = None
    """``I/N``: ask only part I of N. Which questions there are does not depend on it."""
    repeat: int = Field(1, ge=1)
    temperature: float = Field(0.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(-1, ge=-1)
    min_p: float = Field(0.0, ge=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0)
    seed: int = 0
    max_tokens: int | None = Field(None, ge=1)
    """None takes each benchmark's own."""
    max_pixels: int | None = Field(None, ge=1)
    min_pixels: int | None = Field(None, ge=1)
    logprobs: int | None = Field(None, ge=0, le=20)
    concurrency: int = Field(32, ge=1)
    timeout: float = Field(600.0, ge=0.1)
    max_retries: int = Field(5, ge=0)
    max_error_rate: float = Field(0.005, ge=0, le=1)
    withhold_text: bool = False
    judge_base_url: str | None = None
    judge_model: str | None = None
    judge_repeat: int = Field(1, ge=1)
    judge_cache: str | None = None
    """None keeps a judge's replies in ``judge/`` beside the output."""
    judge_concurrency: int = Field(8, ge=1)


ASKED = (
    "tasks",
    "split",
    "prompt",
    "limit",
    "repeat",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "seed",
    "max_tokens",
    "max_pixels",
    "min_pixels",
    "logprobs",
)
"""Settings that decide what is asked: what ``--config-from`` takes over from another run."""

SERVED = ("max_model_len", "prefix_caching", "eager")
"""Settings of a started server that change what it computes and do not depend on the chip:
``--config-from`` takes them over too, so that both sides are served alike."""
LAUNCHED = (
    "model",
    "launcher",
    "set",
    "env",
    "flag_gems",
    "image",
    "inside",
    "docker_arg",
    "tensor_parallel",
    "data_parallel",
    *SERVED,
)
"""Settings that decide which server answers: answers of two servers are not mixed in one run."""


class Configured(Record):
    """A configuration and where each value came from."""

    config: RunConfig
    sources: dict[str, Source]

    def settings(self) -> dict[str, Setting]:
        """For the run file, without secrets: every setting with its value and source."""
        values = self.config.model_dump(mode="json")
        return {
            name: Setting(
                value=value if name in ASKED else _without_secrets(value),
                source=self.sources.get(name, "default"),
            )
            for name, value in values.items()
        }


def with_address(
    layers: Mapping[Source, Mapping[str, Any]], address: str | None
) -> dict[Source, Mapping[str, Any]]:
    """The layers, with the address of ``OPENAI_BASE_URL`` where no layer says who is asked."""
    said = any("base_url" in layer or "launcher" in layer for layer in layers.values())
    if not address or said:
        return dict(layers)
    environment = {**layers.get("environment", {}), "base_url": (address,)}
    # A key that is there keeps its place, which is its strength.
    return {**layers, "environment": environment}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return list(redact_command(value))
    return redact(value) if isinstance(value, str) else value


def _holds_secret(value: Any) -> bool:
    """Whether a value of any kind would not be on record as it is."""
    words = value if isinstance(value, list | tuple) else [value]
    texts = [str(word) for word in words]
    return list(redact_command(texts)) != texts or any(is_secret(text) for text in texts)


def combine(layers: Mapping[Source, Mapping[str, Any]]) -> Configured:
    """Merge layers, given from weakest to strongest.

    Raises:
        UsageError: an unknown setting, or a value of the wrong kind; names it.
    """
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for source, layer in layers.items():
        for name, value in layer.items():
            if name not in RunConfig.model_fields:
                raise UsageError(f"there is no setting {name!r}", hint="flagos-eval run --help")
            values[name], sources[name] = value, source
    try:
        return Configured(config=RunConfig.model_validate(values), sources=sources)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        shown = HIDDEN if _holds_secret(values[name]) else repr(values[name])
        raise UsageError(f"{name} = {shown} ({sources[name]}): {first['msg']}") from error


def read_file(path: Path) -> dict[str, Any]:
    """Settings from a TOML file, names as the long flags, with dashes or underscores.

    Raises:
        FileError: it cannot be read.
        UsageError: it is not TOML; names the place. Or it has a setting twice.
    """
    return named(read_toml(path), str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as it is.

    Raises:
        FileError: it cannot be read.
        UsageError: it is not TOML; names the place.
    """
    return toml_file.parse(bounded.read_bytes(path, toml_file.MOST_BYTES), str(path))


def named(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A table's values under the names of settings; `where` is for the message.

    Raises:
        UsageError: it has a setting twice.
    """
    found: dict[str, Any] = {}
    for spelling, value in content.items():
        name = spelling.replace("-", "_")
        if name in found:
            raise UsageError(f"{where}: {name!r} is there twice, with a dash and without")
        found[name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, str) or not isinstance(value, list):
        return value
    return tuple(value)


def from_run(run: Run) -> dict[str, JsonValue]:
    """The settings of a run that decide what is asked, and how a started server computes.

    Raises:
        UsageError: the run was made elsewhere, and what it asked is not known.
    """
    if run.imported is not None:
        raise UsageError(
            f"{run.name} was imported from {run.imported.source}: what it asked is not known",
            hint="take a run that flagos-eval made",
        )
    names = (*ASKED, *SERVED)
    found = {name: run.settings[name].value for name in names if name in run.settings}
    tasks = found.get("tasks")
    if isinstance(tasks, list) and any(str(name).endswith(".py") for name in tasks):
        # Task files are code, and the run may be a stranger's: it names benchmarks, and
        # --tasks-dir says where they are.
        found["tasks"] = [record.name for record in run.tasks]
    return found


def pairs(option: str, values: tuple[str, ...]) -> dict[str, str]:
    """``("mathvision=testmini",)`` -> ``{"mathvision": "testmini"}``.

    Raises:
        UsageError: no ``=`` in a value.
    """
    found: dict[str, str] = {}
    for value in values:
        name, separator, rest = value.partition("=")
        if not separator or not name:
            shown = HIDDEN if _holds_secret(value) else repr(value)
            raise UsageError(f"--{option} {shown}: expected NAME=VALUE")
        found[name] = rest
    return found
